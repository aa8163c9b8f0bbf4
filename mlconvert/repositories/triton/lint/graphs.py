"""The configuration against the real model of each version, and the model against what a release can load."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlconvert.errors import ConversionFailed, MlconvertError
from mlconvert.onnx_model.releases import runtime_limits, tree_operators, triton_runtime
from mlconvert.repositories.findings import Finding
from mlconvert.repositories.triton.config import Contradiction, told_by_server
from mlconvert.repositories.triton.lint import tensors
from mlconvert.repositories.triton.lint.model import ModelFolder, VersionFolder
from mlconvert.signature import Signature

# Names are told by `_names`, the others by `configuration`.
_TOLD_ELSEWHERE = ("input", "output", "name", "default_model_filename", "backend")


def graphs(model: ModelFolder) -> Iterator[Finding]:
    file = model.model_file
    if model.is_ensemble or model.backend is None or file is None:
        return
    for version in model.versions:
        folder = model.path / version.name
        names = (file, *sorted(model.config.cc_model_filenames.values()))
        there = next((name for name in names if (folder / name).exists()), None)
        if version.plain and there is not None:
            yield from _version(model, version, folder, there)


def _version(model: ModelFolder, version: VersionFolder, folder: Path, file: str) -> Iterator[Finding]:
    assert model.backend is not None
    graph: Any = None
    try:
        if model.backend.name == "onnxruntime":
            from mlconvert.onnx_model.files import onnx_signature, read_outline

            main = folder / file / "model.onnx" if (folder / file).is_dir() else folder / file
            if not main.is_file():
                return
            graph = read_outline(main)
            signature: Signature | None = onnx_signature(graph)
        else:
            signature = model.backend.load().published_signature(folder, model.config)
    except ConversionFailed as error:
        code = "output-not-tensor" if graph is not None and _not_tensors(graph) else "model-unreadable"
        fix = error.hint or f"convert the model again and publish it as '{model.name}'"
        if code == "output-not-tensor":
            fix = "convert the model without ZipMap: mlconvert convert SOURCE --to onnx"
        yield model.of_version(version, code, None, error.message, fix, file=file)
    except MlconvertError as error:
        fix = error.hint or f"publish the model again as '{model.name}'"
        yield model.of_version(version, "model-unreadable", None, error.message, fix, file=file)
    else:
        yield from _against(model, version, signature, file)
    if graph is not None and model.release is not None:
        yield from _release(model, version, graph, file)


def _not_tensors(graph: Any) -> bool:
    return any(not value.type.HasField("tensor_type") for value in (*graph.graph.input, *graph.graph.output))


def _against(model: ModelFolder, version: VersionFolder, signature: Signature | None, file: str) -> Iterator[Finding]:
    assert model.backend is not None
    module = model.backend.load()
    if signature is None and model.backend.name == "python":
        return  # code that somebody wrote: nothing but itself says what it takes, and the server compares nothing
    if signature is None:
        what = "the model's file does not say what it takes, and no record beside it does"
        fix = "load it into the server: mlconvert lint REPOSITORY --serve"
        yield model.finding("unchecked", "signature-unknown", None, what, fix, file=f"{version.name}/{file}")
        return
    for side, specs in (("input", signature.inputs), ("output", signature.outputs)):
        for spec in specs:
            if spec.dtype not in module.ABILITIES.dtypes:
                what = f"the backend '{model.backend.name}' does not take {spec.dtype}"
                fix = "convert the model with float32 inputs and outputs"
                yield model.of_version(version, "data-type-unsupported", f"{side} '{spec.name}'", what, fix, file=file)
    yield from _names(model, version, signature)
    if model.backend_name == "onnxruntime":
        yield from _controls(model, version, signature)
    # What is wrong in itself is told by `tensors`: there is no use in comparing it too.
    wrong = {one.field for rule in tensors.RULES for one in rule(model) if one.level == "error" and one.field}
    for problem in module.misfits(model.config, signature, model.name):
        tensor = re.match(r"(?:in|out)put '.*?'(?= |$)", problem.field)
        if problem.field in _TOLD_ELSEWHERE or model.config.max_batch_size < 0:
            continue
        if tensor and any(field == tensor[0] or field.startswith(f"{tensor[0]} ") for field in wrong):
            continue
        code, fix = _advice(problem)
        yield _on_configuration(
            model, version, code, problem.field, f"{problem.configured}, the model has {problem.model}", fix
        )


def _names(model: ModelFolder, version: VersionFolder, signature: Signature) -> Iterator[Finding]:
    told = told_by_server(model.config)
    for side, specs, rows in (
        ("input", signature.inputs, model.config.input),
        ("output", signature.outputs, model.config.output),
    ):
        known = [spec.name for spec in specs]
        configured = [tensor.name for tensor in rows if tensor.name]
        listed = ", ".join(known) or "none"
        for name in dict.fromkeys(configured):
            if name not in known:
                what = f"the model has no {side} '{name}'; it has {listed}"
                yield _on_configuration(
                    model, version, "tensor-unknown", f"{side} '{name}'", what, f"write one of {listed}"
                )
        missing = [name for name in known if name not in configured and name not in told[side]]
        if side == "input":
            for name in missing:
                what = f"the model's input '{name}' is not configured"
                fix = f'add input {{ name: "{name}" … }}'
                yield _on_configuration(model, version, "input-missing", f"input '{name}'", what, fix)
        elif not configured and missing:
            what = f"no output is configured: nothing is answered; the model has {listed}"
            fix = f'add output {{ name: "{missing[0]}" … }}'
            yield model.warning("output-missing", "output", what, fix)


def _controls(model: ModelFolder, version: VersionFolder, signature: Signature) -> Iterator[Finding]:
    known = {spec.name for spec in signature.inputs}
    for row in model.config.sequence_batching.control_input:
        if row.name and row.name not in known:
            what = f"the model has no input '{row.name}' for the control of sequences"
            field = f"sequence_batching control_input '{row.name}'"
            yield _on_configuration(model, version, "sequence-control", field, what, f"remove the control '{row.name}'")


def _on_configuration(
    model: ModelFolder, version: VersionFolder, code: str, field: str, what: str, fix: str
) -> Finding:
    """About the configuration, which all versions share: an error where this version is served."""
    served = version.number in model.live
    several = len(model.versions) > 1
    told = f"{what} (version {version.number}{'' if served else ', which is not served now'})" if several else what
    return model.finding("error" if served else "warning", code, field, told, fix)


def _advice(problem: Contradiction) -> tuple[str, str]:
    if problem.field.endswith("data_type"):
        return "data-type-mismatch", f"write data_type: {problem.model}"
    if problem.field.endswith("with max_batch_size > 0"):
        return "cannot-batch", "write max_batch_size: 0 and the whole shape in dims"
    if problem.field.endswith("shape"):
        return "shape-mismatch", f"write dims that make {problem.model}"
    return "model-mismatch", f"write {problem.model}"


# --- what a release can load ---


def _release(model: ModelFolder, version: VersionFolder, graph: Any, file: str) -> Iterator[Finding]:
    assert model.release is not None
    runtime = triton_runtime(model.release)
    limits = runtime_limits(runtime)
    who = f"Triton {model.release} (ONNX Runtime {runtime})"
    fix = f"mlconvert convert MODEL --to onnx --via lower --set lower.release={model.release}"
    if graph.ir_version > limits.ir:
        what = f"the IR version is {graph.ir_version}, and {who} loads up to {limits.ir}"
        yield model.of_version(version, "release-ir", "ir_version", what, fix, file=file)
    highest = {"ai.onnx": limits.opset, "ai.onnx.ml": limits.ml_opset}
    for row in graph.opset_import:
        domain = row.domain or "ai.onnx"
        if row.version > highest.get(domain, row.version):
            what = f"opset {row.version} of {domain}, and {who} has up to {highest[domain]}"
            yield model.of_version(version, "release-opset", f"opset_import '{domain}'", what, fix, file=file)
    trees = [node for node in graph.graph.node if node.domain == "ai.onnx.ml" and node.op_type == "TreeEnsemble"]
    if trees and tree_operators(runtime).version < 5:
        what = f"{who} has no kernel for TreeEnsemble of ai.onnx.ml 5"
        hint = f"mlconvert convert SOURCE --to onnx --set onnx.target_runtime={runtime}"
        yield model.of_version(version, "release-operator", "TreeEnsemble", what, hint, file=file)


RULES = (graphs,)
