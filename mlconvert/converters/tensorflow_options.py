"""What the converters from TensorFlow to ONNX share: their options, and how the result is written and checked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mlconvert.errors import ConversionFailed, NotVerified

if TYPE_CHECKING:
    import onnx

    from mlconvert.artifact import Artifact
    from mlconvert.signature import Signature, TensorSpec

Opset = Annotated[int, "version of the ai.onnx operators, 13 to 18"]


def write_checked(model: onnx.ModelProto, target: Path, expected: Signature, where: str) -> Artifact:
    """Write the model and open it in ONNX Runtime.

    Raises ConversionFailed, and leaves no file, when it does not open there, or when a name, a type, a number of axes
    or an input's dynamic axis is not that of the source.
    """
    from mlconvert.onnx_model.files import external_bytes, onnx_artifact, read_outline, write_onnx
    from mlconvert.onnx_model.sessions import open_session

    _keep_axes(model, expected)
    files = write_onnx(model, target)
    try:
        written = read_outline(target)
        artifact = onnx_artifact(target, files, model=written)
        if artifact.signature is not None:
            _compare(artifact.signature, expected, where)
        try:
            open_session(target, external_bytes(written))
        except NotVerified as error:
            raise ConversionFailed(error.message, where=where) from error
    except BaseException:
        for file in files:
            file.unlink(missing_ok=True)
        raise
    half = any(spec.dtype == "float16" for spec in expected.outputs)
    return replace(artifact, facts={**artifact.facts, "precision": "float16"}) if half else artifact


def _keep_axes(model: onnx.ModelProto, expected: Signature) -> None:
    """tf2onnx loses the length of some outputs' axes, or their number, which the source knows."""
    known = {spec.name: spec.shape for spec in expected.outputs}
    for value in model.graph.output:
        if value.name in known and not value.type.tensor_type.HasField("shape"):
            for length in known[value.name]:
                axis = value.type.tensor_type.shape.dim.add()
                if isinstance(length, str):
                    axis.dim_param = length
        axes = value.type.tensor_type.shape.dim
        for axis, length in zip(axes, known.get(value.name, ()), strict=False):
            if isinstance(length, int) and not axis.HasField("dim_value"):
                axis.dim_value = length


def _compare(found: Signature, expected: Signature, where: str) -> None:
    for side, have, wanted in (
        ("input", found.inputs, expected.inputs),
        ("output", found.outputs, expected.outputs),
    ):
        known = {spec.name: spec for spec in have}
        if set(known) != {spec.name for spec in wanted}:
            told, asked = (", ".join(sorted(spec.name for spec in specs)) or "none" for specs in (have, wanted))
            raise ConversionFailed(f"tf2onnx gave the {side}s {told} in place of {asked}", where=where)
        for spec in wanted:
            if not _agrees(known[spec.name], spec, exact=side == "input"):
                what = f"tf2onnx changed the {side} '{spec.name}': it is {known[spec.name]}, and was {spec}"
                raise ConversionFailed(what, where=where)


def _agrees(found: TensorSpec, wanted: TensorSpec, *, exact: bool) -> bool:
    """An output's axis may turn out to be fixed; an input's may not become so."""
    if found.dtype != wanted.dtype or len(found.shape) != len(wanted.shape):
        return False
    pairs = list(zip(found.shape, wanted.shape, strict=True))
    same = all(have == want for have, want in pairs if isinstance(want, int) and isinstance(have, int))
    return same and (not exact or all(isinstance(have, int) == isinstance(want, int) for have, want in pairs))
