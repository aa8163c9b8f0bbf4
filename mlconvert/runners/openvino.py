"""Runs OpenVINO models on the CPU, in float32: left alone, its CPU plugin computes in bfloat16 where the CPU can."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlconvert.artifact import Artifact
from mlconvert.converter import Session
from mlconvert.errors import ConversionFailed, NotVerified, OutOfResources
from mlconvert.readers.openvino_files import import_openvino, openvino_signature, reason
from mlconvert.signature import Signature

if TYPE_CHECKING:
    import numpy as np

WIDEST = 2**31  # the CPU plugin keeps integers in 32 bits, whatever the model says


def signature(artifact: Artifact) -> Signature:
    """Read from the XML; OpenVINO is not asked."""
    return openvino_signature(artifact.path)


def load(artifact: Artifact) -> Session:
    """Raises ConversionFailed when the files are not a whole model, NotVerified when this CPU has no kernel for it.

    A model with strings is NotVerified too: OpenVINO 2026.4 takes them, and the process dies as it ends.
    """
    known = openvino_signature(artifact.path)
    where = artifact.location
    for spec in (*known.inputs, *known.outputs):
        if spec.dtype in ("string", "bfloat16"):
            what = f"'{spec.name}' is a tensor of {spec.dtype}, which OpenVINO cannot pass to Python safely"
            raise NotVerified(what, where=where, hint="add --no-verify, or serve the model with ONNX Runtime")
    core = import_openvino().Core()
    try:
        model = core.read_model(str(artifact.path), str(artifact.path.with_suffix(".bin")))
    except RuntimeError as error:
        raise ConversionFailed(f"OpenVINO cannot read the model: {reason(error)}", where=where) from error
    try:
        compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"})
    except RuntimeError as error:
        what = f"OpenVINO's CPU plugin cannot run the model: {reason(error)}"
        raise NotVerified(what, where=where, hint="verify it on its own hardware, or add --no-verify") from error
    names = [spec.name for spec in known.outputs]
    places = [_place_of(compiled, name, where) for name in names]

    def run(samples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        for name, array in samples.items():
            _check_integers(name, array, where)
        try:
            answers = compiled(dict(samples))
        except MemoryError as error:
            raise OutOfResources("memory ran out while the model ran", where=where) from error
        except (RuntimeError, TypeError, ValueError, KeyError) as error:
            hint = f"its inputs: {', '.join(str(spec) for spec in known.inputs)}"
            what = f"the model does not run on the samples: {reason(error)}"
            raise ConversionFailed(what, where=where, hint=hint) from error
        return {name: answers[place] for name, place in zip(names, places, strict=True)}

    return Session(known, run)


def _place_of(compiled: object, name: str, where: str) -> int:
    for place, output in enumerate(compiled.outputs):  # type: ignore[attr-defined]
        if name in output.get_names():
            return place
    raise ConversionFailed(f"OpenVINO does not know the output '{name}'", where=where)


def _check_integers(name: str, array: np.ndarray, where: str) -> None:
    """Raise ConversionFailed for numbers that OpenVINO would cut off without a word."""
    if array.dtype.kind not in "iu" or array.dtype.itemsize < 4 or not array.size:
        return
    low, high = int(array.min()), int(array.max())
    if low < -WIDEST or high >= WIDEST:
        what = (
            f"the input '{name}' holds {low if low < -WIDEST else high}, and OpenVINO's CPU plugin has 32 bits for it"
        )
        raise ConversionFailed(what, where=where, hint="give smaller numbers, or serve the model with ONNX Runtime")
