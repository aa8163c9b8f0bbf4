"""TensorFlow operators that tf2onnx lacks, as it wants them: a table from operator to handler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Handler = Callable[..., Any]


def erfc(graph: Any, node: Any, name: str, args: Any) -> None:  # noqa: ARG001 - what tf2onnx calls
    """1 - Erf(x), in the type of x."""
    import numpy as np
    from tf2onnx import utils

    given = node.output[0]
    kind, shape = graph.get_dtype(given), graph.get_shape(given)
    inner = graph.make_node("Erf", [node.input[0]], dtypes=[kind], shapes=[shape]).output[0]
    one = graph.make_const(utils.make_name("one"), np.array(1, utils.map_onnx_to_numpy_type(kind))).output[0]
    graph.remove_node(node.name)
    graph.make_node("Sub", [one, inner], outputs=[given], dtypes=[kind], shapes=[shape])


def broadcast_args(graph: Any, node: Any, name: str, args: Any) -> None:  # noqa: ARG001 - what tf2onnx calls
    """The shape that two shapes broadcast to: both filled up with ones in front, then the one that is not 1."""
    import numpy as np
    from tf2onnx import utils

    def const(values: Any) -> str:
        result: str = graph.make_const(utils.make_name("shape"), np.array(values, np.int64)).output[0]
        return result

    def make(kind: str, *inputs: str, **attributes: Any) -> str:
        result: str = graph.make_node(kind, list(inputs), attr=attributes).output[0]
        return result

    given = node.output[0]
    kind, shape = graph.get_dtype(given), graph.get_shape(given)
    wide = [make("Cast", one, to=7) for one in node.input]  # TensorProto.INT64
    ranks = [make("Shape", one) for one in wide]
    rank = make("Max", *ranks)
    ones = [make("Expand", const([1]), make("Sub", rank, one)) for one in ranks]
    first, second = (make("Concat", front, one, axis=0) for front, one in zip(ones, wide, strict=True))
    chosen = make("Where", make("Equal", first, const([1])), second, first)
    graph.remove_node(node.name)
    graph.make_node("Cast", [chosen], attr={"to": kind}, outputs=[given], dtypes=[kind], shapes=[shape])


HANDLERS: Mapping[str, tuple[Handler, list[Any]]] = {"BroadcastArgs": (broadcast_args, []), "Erfc": (erfc, [])}
