"""ONNX to ONNX: float16 but for the nodes whose values it cannot hold, found by running the samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mlconvert import progress
from mlconvert.artifact import Artifact
from mlconvert.converters import onnx_float16
from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.onnx_model.files import external_bytes, onnx_artifact, read_onnx, write_onnx
from mlconvert.onnx_model.graphs import all_names, infer_types, inline_functions, onnx_signature, value_types
from mlconvert.onnx_model.passes import contained
from mlconvert.onnx_model.sessions import error_text, open_session
from mlconvert.signature import Signature

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import onnxruntime

ROWS = 16  # of a call: every value of the graph is an output of it
AT_ONCE = 64  # values that are asked for together, so that memory does not grow with the graph


def convert(
    source: Artifact,
    target: Path,
    *,
    samples: Mapping[str, np.ndarray],
    margin: Annotated[float, "keep nodes whose values times this are beyond float16's range (65504)"] = 2.0,
    rows: Annotated[int, "at most this many rows of the samples are run"] = 512,
    keep_nodes: Annotated[tuple[str, ...], "operators or names of nodes that stay float32 in any case"] = (),
    keep_io_types: Annotated[bool, "inputs and outputs stay float32, with casts inside"] = True,
) -> Artifact:
    """Infinities are no overflow: float16 has them too. What a node adds up inside of itself is not seen.

    Raises UsageError without samples that fit the model, ConversionFailed when nothing can be converted.
    """
    if margin < 1 or rows < 1:
        raise UsageError(f"margin={margin:g}, rows={rows}: both are 1 or more")
    model = infer_types(inline_functions(read_onnx(source.path, external_data=False), source.path), source.path)
    batches = list(_batches(onnx_signature(model), samples, rows))
    with contained(target) as folder:
        _name_nodes(model)
        named = folder / "named.onnx"
        files = write_onnx(model, named, weights_of=source.path)
        limit = onnx_float16.LARGEST / margin
        wide = {name: value for name, value in _largest(named, folder, batches).items() if value > limit}
        kept = [node.name for node in model.graph.node if not wide.keys().isdisjoint((*node.input, *node.output))]
        prepared = replace(onnx_artifact(named, files), renamed=source.renamed)
        try:
            made = onnx_float16.convert(prepared, target, keep_io_types=keep_io_types, keep_nodes=(*keep_nodes, *kept))
        except ConversionFailed as error:
            error.where = source.location
            raise
    largest = sorted(wide.items(), key=lambda item: -item[1])[:20]
    facts = {"kept_in_float32": kept, "largest_values": dict(largest)}
    return replace(made, facts={**made.facts, **facts})


def _batches(signature: Signature, samples: Mapping[str, np.ndarray], rows: int) -> Iterator[dict[str, np.ndarray]]:
    """The samples in calls that the model takes."""
    from mlconvert.samples import check_samples, has_batch_axis

    if not samples:
        what = "mixed-float16 finds what float16 cannot hold by running samples, and there are none"
        raise UsageError(what, hint="give rows that the model will really see: --samples FILE")
    taken = check_samples({name: array[:rows] for name, array in samples.items()}, signature)
    count = len(next(iter(taken.values())))
    inputs = {spec.name: spec for spec in signature.inputs}
    bare = {name for name, array in taken.items()
            if array.ndim == len(inputs[name].shape) + 1 and not has_batch_axis(inputs[name])}  # fmt: skip
    fixed = [spec.shape[0] for spec in signature.inputs if spec.shape and spec.name not in bare]
    step = 1 if bare else next((axis for axis in fixed if isinstance(axis, int)), ROWS)
    for start in range(0, count, step):
        if start + step > count and any(isinstance(axis, int) for axis in fixed):
            return  # a rest that a fixed model does not take
        yield {name: array[start] if name in bare else array[start : start + step] for name, array in taken.items()}


def _name_nodes(model: onnx.ModelProto) -> None:
    """Give every node of the main graph a name of its own: they are kept by their names."""
    taken, seen = all_names(model) | {node.name for node in model.graph.node}, set()
    for number, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            name = f"{node.op_type}_{number}"
            while name in taken:
                name += "_"
            node.name = name
        seen.add(node.name)
        taken.add(node.name)


def _largest(path: Path, folder: Path, batches: list[dict[str, np.ndarray]]) -> dict[str, float]:
    """The largest finite magnitude of every float32 value of the main graph, its inputs and weights among them."""
    import onnx

    model = read_onnx(path, external_data=False)
    types = value_types(model)
    outputs = {value.name for value in model.graph.output}
    found = {tensor.name: _magnitude(onnx.numpy_helper.to_array(tensor, str(folder)))
             for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}  # fmt: skip
    for batch in batches:
        for name, array in batch.items():
            if array.dtype.kind == "f":
                found[name] = max(found.get(name, 0.0), _magnitude(array))
    asked = [name for node in model.graph.node for name in node.output
             if name and types.get(name) == onnx.TensorProto.FLOAT]  # fmt: skip
    for start in range(0, len(asked), AT_ONCE):
        names = asked[start : start + AT_ONCE]
        progress.report(start / len(asked), f"largest values, {start} of {len(asked)}")
        probe = onnx.ModelProto()
        probe.CopyFrom(model)
        probe.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
                                  for name in names if name not in outputs)  # fmt: skip
        file = folder / "probe.onnx"
        file.write_bytes(probe.SerializeToString())
        for name, value in _observed(open_session(file, external_bytes(model)), names, batches):
            found[name] = max(found.get(name, 0.0), value)
    return found


def _observed(
    session: onnxruntime.InferenceSession, names: list[str], batches: list[dict[str, np.ndarray]]
) -> Iterator[tuple[str, float]]:
    for batch in batches:
        try:
            values = session.run(names, batch)
        except Exception as error:
            raise ConversionFailed(f"the model does not run on the samples: {error_text(error)}") from error
        for name, array in zip(names, values, strict=True):
            yield name, _magnitude(array)


def _magnitude(array: np.ndarray) -> float:
    import numpy as np

    finite = array[np.isfinite(array)]
    return float(np.max(np.abs(finite))) if finite.size else 0.0
