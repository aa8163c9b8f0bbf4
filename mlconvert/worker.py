"""The child's side of a job: `python -m mlconvert.worker request.json`.

Reads the request, does the one job that it names, writes `result.json` beside it: what the job gave, or the error.
The request of a failed job runs again by this same command.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import traceback
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlconvert import progress
from mlconvert.artifact import Artifact
from mlconvert.converter import Session
from mlconvert.ensembles.chain import formats_in
from mlconvert.ensembles.values import shaped
from mlconvert.errors import (
    ConversionFailed,
    MlconvertError,
    NotVerified,
    OutOfResources,
    ParityFailed,
    RepositoryInvalid,
)
from mlconvert.registry import registry
from mlconvert.signature import Signature

if TYPE_CHECKING:
    import numpy as np

ROWS_KEPT = 32
BASE_ROWS = 256  # random ones, of which rows on boundaries are made where those alone are asked for
ROWS_BYTES = 4 << 20  # rows in a record: fewer than 32 where that many would weigh more than this
LIBRARY_JOBS = (
    "convert",
    "inspect",
    "split",
    "untrusted",
)  # whatever a library raises there is a failed conversion, not a bug of ours


def _samples(request: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Read or generate samples for a model; leave them under out/ as a folder of tensors."""
    from mlconvert.samples import check_samples, read_samples
    from mlconvert.tensors import write_tensors

    source = Artifact.from_json(request["source"])
    signature = source.signature or registry().runner(source.format).signature(source)
    if request.get("base") is not None:
        samples = check_samples(shaped(_renamed_tensors(request["base"]), signature), signature)
    elif request["file"] is not None:
        samples = read_samples(Path(request["file"]), signature)
        samples = check_samples(samples, signature)
    else:
        from mlconvert.samples.generation import generate_samples

        if signature is None and request["kind"] != "boundary":  # some trees tell by themselves what they take
            raise NotVerified(
                f"a model of the format {source.format} does not say what it takes, so no samples can be made for it",
                hint="--samples FILE (.npz, .npy, .csv or .parquet)",
            )
        samples = (
            {}
            if signature is None
            else generate_samples(
                signature, count=request["count"] if request["kind"] == "random" else BASE_ROWS, seed=request["seed"]
            )
        )
    samples, boundary = _with_boundary(request, source, signature, samples)
    write_tensors(out, samples)
    rows = len(next(iter(samples.values())))
    return {"rows": rows, "boundary": boundary, "signature": signature.as_json() if signature else None}


def _renamed_tensors(base: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """What goes along the edges of an ensemble to one of its models, under the names that the model has for it.

    `folders`: where tensors lie; `names`: the model's input -> the tensor, None: all of them, as they are called.
    """
    from mlconvert.tensors import read_tensors

    tensors = {name: array for folder in base["folders"] for name, array in read_tensors(Path(folder)).items()}
    return tensors if base["names"] is None else {name: tensors[tensor] for name, tensor in base["names"].items()}


def _with_boundary(
    request: Mapping[str, Any], source: Artifact, signature: Signature | None, samples: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], int]:
    """The samples with rows at the thresholds of the source's trees behind them (or those alone), and how many."""
    import numpy as np

    from mlconvert.samples import check_samples

    alone = request["kind"] == "boundary"
    count = request["count"] if alone else request["boundary"]
    made = None
    if count:
        runner = registry().runner(source.format)
        made = runner.boundary_samples(source, samples, count=count, seed=request["seed"])
    if made is None:
        if alone:
            what = f"boundary samples are made for trees, and no trees were found that rows of {source.format} reach"
            raise NotVerified(what, hint="--kind random")
        return samples, 0
    edges = check_samples(made, signature)
    rows = len(next(iter(edges.values())))
    return edges if alone else {name: np.concatenate([samples[name], edges[name]]) for name in samples}, rows


def _convert(request: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Run one converter; the result carries the artifact with its signature as its own runner reads it."""
    from mlconvert.onnx_model.digests import known_sha256
    from mlconvert.tensors import read_tensors

    source = Artifact.from_json(request["source"])
    converter = registry().converter(request["converter"])
    options = {name: _typed(value) for name, value in request["options"].items()}
    if converter.uses_samples:
        options["samples"] = _as_taken_by(source, read_tensors(Path(request["samples"]))) if request["samples"] else {}
    made: Artifact = converter.load()(source, out / request["filename"], **options)
    if made.format != converter.target:
        raise ConversionFailed(f"{converter.id} made {made.format}, which is not what it says it makes")
    missing = [path.name for path in made.files if not path.is_file()]
    if missing or not made.files:
        raise ConversionFailed(f"{converter.id} left no file {', '.join(missing) or 'at all'}")
    signature = made.signature or _signature_of(made)
    renamed = {old: made.renamed.get(new, new) for old, new in source.renamed.items()}
    renamed |= {old: new for old, new in made.renamed.items() if old not in source.renamed.values()}
    return {
        "artifact": {
            **made.as_json(),
            "location": str(made.path.relative_to(out)),
            "files": [str(path.relative_to(out)) for path in made.files],
            "signature": signature.as_json() if signature else None,
            "renamed": renamed,
            "trusted": made.trusted or source.trusted,
        },
        "depends": _dependencies(source),
        "sha256": {str(path.relative_to(out)): known for path in made.files if (known := known_sha256(path))},
    }


def _signature_of(made: Artifact) -> Signature | None:
    runner = next((row for row in registry().runners if row.format == made.format), None)
    return runner.signature(made) if runner else None


def _as_taken_by(source: Artifact, samples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Samples under the names and in the dtypes of an artifact, which an earlier step may have changed."""
    from mlconvert.inference import cast_to_contract

    named = {source.renamed.get(name, name): values for name, values in samples.items()}
    return dict(cast_to_contract(named, source.signature))


def _reference(request: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Run the source on the samples, as the candidate's inputs see them, and leave its outputs under out/."""
    from mlconvert.inference import run_samples
    from mlconvert.tensors import TensorWriter, read_tensors

    source = Artifact.from_json(request["source"])
    session = _giving(registry().runner(source.format).load(source), request["more"])
    with TensorWriter(out) as writer:
        rows = run_samples(
            session,
            read_tensors(Path(request["samples"])),
            writer,
            signature=session.signature,
            contract=request["contract"],
            role="reference",
        )
    return {"rows": rows, "depends": _dependencies(source)}


def _giving(session: Session, more: Sequence[str]) -> Session:
    """The session with those of its further outputs that the candidate has too."""
    asked = {name: session.more[name] for name in more if name in session.more}
    if not asked:
        return session

    def run(batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return session.run(batch) | {name: answer(batch) for name, answer in asked.items()}

    return replace(session, run=run)


def _verify(request: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Run the candidate on the samples and compare its outputs with the reference's, memory-mapped."""
    from mlconvert.inference import run_samples
    from mlconvert.parity.compare import compare
    from mlconvert.parity.frozen_axes import frozen_axes
    from mlconvert.parity.result import OutputParity, Parity
    from mlconvert.parity.tolerance import Tolerances
    from mlconvert.tensors import TensorWriter, read_tensors
    from mlconvert.tensors.rows import encode_rows

    candidate = Artifact.from_json(request["candidate"])
    told = request.get("reference_signature")
    tolerances = Tolerances.from_json(request["tolerances"])
    samples = read_tensors(Path(request["samples"]))
    reference = read_tensors(Path(request["reference"]))
    spilled = out.parent / "candidate"
    session = registry().runner(candidate.format).load(candidate)
    frozen = frozen_axes(Signature.from_json(told) if told else None, session.signature, candidate.renamed)
    try:
        with TensorWriter(spilled) as writer:
            run_samples(
                session, samples, writer, signature=session.signature, renamed=candidate.renamed, role="candidate"
            )
        del session  # never two models, and no model beside the comparison
        parity = compare(reference, read_tensors(spilled), tolerances, renamed=candidate.renamed)
    except ParityFailed as error:
        rows, default = len(next(iter(samples.values()))), tolerances.default
        names = (error.where or "").split(", ")  # of the outputs that have no row for each row of the samples
        failed = tuple(OutputParity(name, ok=False, reason=error.message) for name in names)
        parity = Parity(False, rows, default.rtol, default.atol, failed)
    if frozen:
        parity = replace(parity, ok=False, outputs=(*frozen, *parity.outputs))
    rows_kept = encode_rows(samples, reference, count=ROWS_KEPT, limit=ROWS_BYTES) if parity.ok else None
    return {
        "parity": {
            **parity.as_json(),
            "samples_sha256": request["samples_sha256"],
            "boundary_samples": request["boundary"],
        },
        "rows": rows_kept,
        "depends": {**request.get("depends", {}), **_dependencies(candidate)},
    }


def _split(request: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Write the two parts of a scikit-learn pipeline under out/, each in a folder of its own."""
    from mlconvert.readers.estimator_parts import write_parts

    source = Artifact.from_json(request["source"])
    places = [f"{part}/model.skops" for part in request["parts"]]
    first, second = (out / place for place in places)
    between = write_parts(source, request["before"], first, second)
    return {"between": between, "parts": dict(zip(request["parts"], places, strict=True))}


def _rows(request: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Unpack the rows of a record: samples under out/samples, reference outputs under out/reference."""
    from mlconvert.tensors import write_tensors
    from mlconvert.tensors.rows import decode_rows

    try:
        samples, reference = decode_rows(request["rows"])
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise RepositoryInvalid(
            f"the rows in the record are damaged: {error}", hint="convert the model again"
        ) from error
    write_tensors(out / "samples", samples)
    write_tensors(out / "reference", reference)
    return {"rows": request["rows"]["count"]}


def _export_samples(request: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Write a folder of tensors as one sample file."""
    from mlconvert.samples import write_samples
    from mlconvert.tensors import read_tensors

    told = request["signature"]
    signature = Signature.from_json(told) if told else None
    write_samples(out / request["filename"], read_tensors(Path(request["samples"])), signature=signature)
    return {}


def _inspect(request: Mapping[str, Any], out: Path) -> dict[str, Any]:  # noqa: ARG001 - one shape for all jobs
    """The signature of a model, as its runner reads it."""
    artifact = Artifact.from_json(request["source"])
    signature: Signature | None = registry().runner(artifact.format).signature(artifact)
    return {"signature": signature.as_json() if signature else None}


def _untrusted(request: Mapping[str, Any], out: Path) -> dict[str, Any]:  # noqa: ARG001 - one shape for all jobs
    """The types in a .skops file that are not on the list of trusted ones."""
    from mlconvert.readers.estimator_files import untrusted_types

    return {"untrusted": untrusted_types(Artifact.from_json(request["source"]).path)}


JOBS: Mapping[str, Callable[[Mapping[str, Any], Path], dict[str, Any]]] = {
    "convert": _convert,
    "export-samples": _export_samples,
    "inspect": _inspect,
    "reference": _reference,
    "rows": _rows,
    "samples": _samples,
    "split": _split,
    "untrusted": _untrusted,
    "verify": _verify,
}


def _typed(value: Any) -> Any:
    """JSON has no tuples; options have no lists."""
    if isinstance(value, list):
        return tuple(_typed(item) for item in value)
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    return value


def _dependencies(source: Artifact) -> dict[str, str]:
    if "torch" not in formats_in(source):
        return {}
    from mlconvert.readers.torch_modules import local_dependencies

    return dict(local_dependencies())


def _error(error: Exception, job: str) -> MlconvertError:
    """Any exception as one of ours; the log has the whole of it."""
    if isinstance(error, MlconvertError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutOfResources(
            f"no space is left for {error.filename or 'the result'}", hint="free some disk space, or give another -o"
        )
    if isinstance(error, MemoryError):
        return OutOfResources("out of memory", hint="give the machine more memory, or use fewer samples")
    first = (str(error).strip().splitlines() or [""])[0]
    text = f"{type(error).__name__}: {first}"
    return ConversionFailed(text) if job in LIBRARY_JOBS else MlconvertError(text)


def _die_with_parent() -> None:
    """Ask Linux to end this process when its parent ends, however that happens."""
    if sys.platform == "linux":
        import ctypes
        import signal

        parent = os.getppid()
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG, <linux/prctl.h>
        ctypes.CDLL(None, use_errno=True).prctl(set_parent_death_signal, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before it was asked
            os._exit(OutOfResources.exit_code)


def _peak_rss_bytes() -> int | None:
    """The peak of this process alone: what the kernel tells the parent starts at the parent's own size."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None


def main(argv: list[str]) -> int:
    path = Path(argv[0]).absolute()
    request = json.loads(path.read_bytes())
    _die_with_parent()
    # As the parent sets them, for whoever runs the request by hand.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if request.get("cwd"):
        os.chdir(request["cwd"])
    sys.path[:0] = [folder for folder in request.get("sys_path", []) if folder not in sys.path]
    out = path.parent / "out"
    out.mkdir(exist_ok=True)
    progress.write_to(path.with_name(progress.FILENAME))
    status = 0
    try:
        told = JOBS[request["job"]](request, out)
        text = json.dumps({"result": told, "peak_rss_bytes": _peak_rss_bytes()}, allow_nan=False)
    except Exception as error:  # noqa: BLE001 - reported to the parent, which decides
        with contextlib.suppress(OSError):  # a full disk must not hide the error
            traceback.print_exc()
        failure = _error(error, request["job"])
        status, text = failure.exit_code, json.dumps(failure.as_json())
    staged = path.with_name("result.json.part")
    with contextlib.suppress(OSError):  # a full disk: the parent sees that no result came
        staged.write_text(text)
        os.replace(staged, path.with_name("result.json"))  # noqa: PTH105
        return status
    return OutOfResources.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
