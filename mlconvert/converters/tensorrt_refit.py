"""The weights of an ONNX model put into an engine that was built without them, or with others: nothing is timed again.

Which engines take weights is said when they are built (NVIDIA's "Refitting an Engine"): with `refit=all` those of any
model of the same structure, with `refit=identical` just those that they were built with; other ones would give wrong
answers without a word, so that this is held by the digest of the ONNX file in the engine's record.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlconvert import progress, records
from mlconvert.artifact import Artifact, file_sha256
from mlconvert.converters.tensorrt_build import Engine, described
from mlconvert.converters.tensorrt_operators import SHOWN
from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.readers.hardware_builds import require_fits
from mlconvert.readers.tensorrt_engines import load_engine
from mlconvert.readers.tensorrt_messages import failure, import_tensorrt, parser_errors, short, version_of


def engine_to_refit(plan: Path, source: Artifact, onnx_sha256: str, precision: str) -> tuple[Artifact, dict[str, Any]]:
    """The engine in a file that is to get the weights of an ONNX model, and its record.

    Raises UsageError where it cannot: it is not trusted, has no record, takes no weights, or was built of another
    model; RepositoryInvalid where it was changed since; HardwareMismatch where it does not run here.
    """
    where = str(plan)
    if not source.trusted:
        what = "weights_into: a TensorRT plan is native code, and loading it runs it"
        raise UsageError(what, where=where, hint="add --trust if you made the file yourself")
    artifact, record = records.with_record(Artifact("tensorrt", where, (plan,), trusted=True))
    if record is None or artifact.format != "tensorrt":
        what = "weights_into: no record of an engine lies beside the file, so that nothing says what it was built of"
        raise UsageError(what, where=where, hint="bring the folder with the engine and its record along")
    facts = record.get("facts", {})
    flags = facts.get("hardware", {}).get("flags", ())
    if not {"REFIT", "REFIT_IDENTICAL"} & set(flags):
        what = "weights_into: the engine was not built to take weights"
        raise UsageError(what, where=where, hint="build it with --set tensorrt.refit=all, or stripped=yes")
    if "REFIT" not in flags and facts.get("onnx_sha256") != onnx_sha256:
        what = (
            "weights_into: the engine takes just the weights that it was built with, and was built of another ONNX "
            f"model (sha256 {str(facts.get('onnx_sha256'))[:12]}…, this one {onnx_sha256[:12]}…)"
        )
        raise UsageError(
            what,
            where=where,
            hint="give that model, by the same steps, or build the engine with --set tensorrt.refit=all",
        )
    if facts.get("precision") != precision:
        what = f"weights_into: the engine computes in {facts.get('precision')}, and the model in {precision}"
        raise UsageError(what, where=where, hint="take the steps before it that the engine was built with")
    whole = {**facts["hardware"], "flags": [flag for flag in flags if flag != "STRIP_PLAN"]}
    require_fits(artifact, {**record, "facts": {**facts, "hardware": whole}})  # that it lacks weights is no obstacle
    return artifact, record


def refit(artifact: Artifact, onnx: Path, built: Mapping[str, Any], *, where: str) -> Engine:
    """The engine with the weights of the ONNX file. What its record says of its hardware (`built`) has its flags: with
    `REFIT` among them it can be refitted again.

    Raises what `load_engine` raises; ConversionFailed, naming weights and nodes, where not all of them fit.
    """
    progress.report(None, "loading the engine")
    flags = built.get("flags", ())
    trt = import_tensorrt()
    runtime, engine, log = load_engine(artifact, built)
    refitter = trt.Refitter(engine, log)
    parser = trt.OnnxParserRefitter(refitter, log)
    progress.report(None, "reading the weights")
    if not parser.refit_from_file(str(onnx)):
        told = parser_errors(parser) or [short(message) for message in log.errors[-2:]]
        what = (
            f"the weights of the model do not fit the engine: {'; '.join(told[:SHOWN]) or 'TensorRT does not say why'}"
        )
        raise ConversionFailed(what, where=where, hint="is it the model that the engine was built of?")
    if lacking := refitter.get_missing_weights():
        more = f" and {len(lacking) - SHOWN} more" if len(lacking) > SHOWN else ""
        what = f"the engine lacks the weights {', '.join(lacking[:SHOWN])}{more}, which the model does not have"
        raise ConversionFailed(what, where=where, hint="is it the model that the engine was built of?")
    if not refitter.refit_cuda_engine():
        raise failure("TensorRT does not put the weights into the engine", log.errors, where=where)
    config = engine.create_serialization_config()
    config.clear_flag(trt.SerializationFlag.EXCLUDE_WEIGHTS)
    if "REFIT" in flags:
        config.set_flag(trt.SerializationFlag.INCLUDE_REFIT)
    if "EXCLUDE_LEAN_RUNTIME" in flags:
        config.set_flag(trt.SerializationFlag.EXCLUDE_LEAN_RUNTIME)
    plan = engine.serialize_with_config(config)
    if plan is None:
        raise failure("TensorRT does not write the engine", log.errors, where=where)
    names = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
    sides: dict[Any, dict[str, Any]] = {trt.TensorIOMode.INPUT: {}, trt.TensorIOMode.OUTPUT: {}}
    for name in names:
        shape = engine.get_tensor_shape(name)
        sides[engine.get_tensor_mode(name)][name] = described(engine.get_tensor_dtype(name), shape)
    del parser, refitter, engine, runtime  # in this order: each lives of the next
    return Engine(
        plan,
        None,
        version_of(trt),
        sides[trt.TensorIOMode.INPUT],
        sides[trt.TensorIOMode.OUTPUT],
        tuple(flag for flag in flags if flag not in ("STRIP_PLAN", "REFIT_IDENTICAL")),
        tuple(dict.fromkeys(short(message) for message in log.warnings)),
    )


def refitted_facts(
    record: Mapping[str, Any], engine: Engine, plan: Path, version: str, onnx_sha256: str
) -> dict[str, Any]:
    """The facts of a refitted engine: those of the one that it was made of, but for what has changed.

    `version`: of TensorRT, which the new plan's own header says.
    """
    facts = {key: value for key, value in record["facts"].items() if key != "warnings"}
    return {
        **facts,
        **({"warnings": list(engine.warnings[:20])} if engine.warnings else {}),
        "tensorrt": version,
        "fingerprint": record["fingerprint"],  # of the machine that it was built on, which may be another one
        "hardware": {**facts["hardware"], "tensorrt_version": version, "flags": list(engine.flags)},
        "onnx_sha256": onnx_sha256,
        "refitted_from": file_sha256(plan),
    }
