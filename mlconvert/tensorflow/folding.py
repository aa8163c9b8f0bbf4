"""A BatchNormalization behind a convolution becomes part of its filters and bias, where all of them are constant.

TensorFlow's optimiser joins the two itself for plain 2-d convolutions in float32 alone. The factors are computed in
double (as in Jacob et al. 2017, arXiv:1712.05877, section 3.2), so that a filter is rounded once more and no further.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from mlconvert.tensorflow.lowering import names_used

if TYPE_CHECKING:
    import onnx

    from mlconvert.tensorflow.weights import Arrays

EPSILON = float(np.float32(1e-5))  # an attribute's default is a float32, as any attribute is
SINCE = 7  # BatchNormalization: before, attributes alone told training from inference


def fold_normalizations(
    graph: onnx.GraphProto, arrays: Arrays, version: int
) -> tuple[list[onnx.NodeProto], dict[str, Callable[[], np.ndarray]]]:
    """The nodes and constants of a graph whose operators are of that opset, convolutions with what they have folded.

    Left alone are: a convolution whose result is used elsewhere, filters that are not constant or are shared, and
    statistics that give a factor which is not finite.
    """
    from onnx import TensorProto

    constants: dict[str, Callable[[], np.ndarray]] = dict(arrays)
    kinds = {t.name: t.data_type for t in graph.initializer if t.data_type in (TensorProto.FLOAT, TensorProto.DOUBLE)}
    uses = Counter(name for node in graph.node for name in names_used(node))
    uses.update(output.name for output in graph.output)
    makers = {node.output[0]: place for place, node in enumerate(graph.node) if _is(node, "Conv", "ConvTranspose")}
    nodes: list[Any] = list(graph.node)
    for place, node in enumerate(graph.node):
        if version < SINCE or not _is_inference(node) or node.input[0] not in makers or uses[node.input[0]] > 1:
            continue
        start = makers[node.input[0]]
        convolution = graph.node[start]
        x, filters, *bias = convolution.input
        needed = [filters, *filter(None, bias), *node.input[1:5]]
        axis = _features_axis(convolution)
        if len({kinds.get(name) for name in needed}) > 1 or filters not in kinds or uses[filters] > 1 or axis is None:
            continue
        scale, offset, mean, spread = (constants[name]().astype(np.float64) for name in node.input[1:5])
        with np.errstate(all="ignore"):
            factor = scale / np.sqrt(spread + _attribute(node, "epsilon", EPSILON))
        if not np.isfinite(factor).all():
            continue
        before = constants[bias[0]]().astype(np.float64) if any(bias) else 0.0
        shift = (before - mean) * factor + offset
        joined = type(convolution)()
        joined.CopyFrom(convolution)
        joined.input[:] = [x, _new(f"{filters}/folded", uses), _new(f"{node.output[0]}/bias", uses)]
        constants[joined.input[1]] = _scaled(constants[filters], factor, axis)
        constants[joined.input[2]] = _of_type(shift, kinds[filters])
        joined.output[:] = node.output[:1]
        nodes[start], nodes[place] = None, joined
    return [node for node in nodes if node is not None], constants


def _is(node: onnx.NodeProto, *names: str) -> bool:
    return node.op_type in names and node.domain in ("", "ai.onnx")


def _is_inference(node: onnx.NodeProto) -> bool:
    """Whether a node normalizes each channel by statistics that are known beforehand."""
    return (
        _is(node, "BatchNormalization")
        and not any(node.output[1:])
        and not _attribute(node, "training_mode", 0)
        and bool(_attribute(node, "spatial", 1))
    )


def _features_axis(convolution: onnx.NodeProto) -> int | None:
    """The axis of the filters that the channels of the result go along; None: they go along two."""
    if convolution.op_type == "Conv":
        return 0
    return 1 if _attribute(convolution, "group", 1) == 1 else None


def _attribute(node: onnx.NodeProto, name: str, default: float) -> float:
    from onnx import AttributeProto

    for one in node.attribute:
        if one.name == name:
            return float(one.f if one.type == AttributeProto.FLOAT else one.i)
    return default


def _new(name: str, uses: Counter[str]) -> str:
    """The name, or one like it that nothing in the graph has."""
    while name in uses:
        name += "_"
    uses[name] = 1
    return name


def _scaled(read: Callable[[], np.ndarray], factor: np.ndarray, axis: int) -> Callable[[], np.ndarray]:
    def scaled() -> np.ndarray:
        filters = read()
        shape = [-1 if place == axis else 1 for place in range(filters.ndim)]
        made: np.ndarray = (filters * factor.reshape(shape)).astype(filters.dtype)
        return made

    return scaled


def _of_type(array: np.ndarray, kind: int) -> Callable[[], np.ndarray]:
    from onnx import helper

    made = array.astype(helper.tensor_dtype_to_np_dtype(kind))
    return lambda: made
