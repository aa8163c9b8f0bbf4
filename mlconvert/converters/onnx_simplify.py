"""ONNX to ONNX: onnxsim, which folds constants and shapes and compares its result with the original on random rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed, UsageError, suggest
from mlconvert.onnx_model.files import read_onnx, weight_bytes
from mlconvert.onnx_model.passes import contained, interface_of, write_pass
from mlconvert.signature import Signature

PROTOBUF_LIMIT = 2 << 30


def convert(
    source: Artifact,
    target: Path,
    *,
    checks: Annotated[int, "how many random inputs onnxsim compares original and result on; 0: none"] = 3,
    shapes: Annotated[
        dict[str, tuple[int, ...]], "shapes of the random inputs, where more than the first axis is dynamic"
    ] = {},  # noqa: B006 - read only
    fuse_batch_norm: Annotated[bool, "fold batch normalisation into the convolution before it"] = True,
) -> Artifact:
    """Raises ConversionFailed when onnxsim fails or its own check does, UsageError for shapes of unknown inputs."""
    import onnxsim

    model = read_onnx(source.path)
    if weight_bytes(model) >= PROTOBUF_LIMIT:
        what = "onnxsim needs the whole model in one protobuf, below 2 GB"
        raise ConversionFailed(what, where=source.location, hint="use the pass 'optimize'")
    before = interface_of(model)
    test_shapes = _test_shapes(before.signature, shapes)
    if test_shapes is None:
        checks = 0
    nodes = len(model.graph.node)
    try:
        with contained(target):
            simplified, same = onnxsim.simplify(
                model,
                check_n=checks,
                test_input_shapes=test_shapes,
                skip_fuse_bn=not fuse_batch_norm,
                certify=False,
            )
    except Exception as error:
        raise ConversionFailed(f"onnxsim failed: {error}", where=source.location) from error
    if not same:
        what = "the model that onnxsim made does not answer as the original does"
        raise ConversionFailed(what, where=source.location, hint="use the pass 'optimize'")
    facts = {"nodes_before": nodes, "nodes_after": len(simplified.graph.node), "onnxsim_checks": checks}
    return write_pass(simplified, target, before, "onnxsim", facts=facts)


def _test_shapes(signature: Signature, given: dict[str, tuple[int, ...]]) -> dict[str, list[int]] | None:
    """A shape for every input, one row where the first axis is dynamic; None where another axis is not known."""
    known = {spec.name: spec for spec in signature.inputs}
    for name, shape in given.items():
        if name not in known:
            raise UsageError(f"shapes: the model has no input '{name}'.{suggest(name, known)}")
        if len(shape) != len(known[name].shape):
            raise UsageError(f"shapes: '{name}' has {len(known[name].shape)} axes, and {len(shape)} were given")
    shapes: dict[str, list[int]] = {}
    for name, spec in known.items():
        if name in given:
            shapes[name] = list(given[name])
            continue
        axes = [1 if place == 0 and not isinstance(axis, int) else axis for place, axis in enumerate(spec.shape)]
        if spec.dtype == "string" or not all(isinstance(axis, int) for axis in axes):
            return None
        shapes[name] = [int(axis) for axis in axes if isinstance(axis, int)]
    return shapes
