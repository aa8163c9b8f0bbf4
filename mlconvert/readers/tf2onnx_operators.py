"""TensorFlow operators that tf2onnx lacks, as it wants them: a table from operator to handler."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

Handler = Callable[..., Any]

# The types of a table's keys and values, as TensorProto numbers them: their name in LabelEncoder's attributes, and the
# type that it has for them.
_TABLES: Mapping[int, tuple[str, int]] = {8: ("string", 8), 7: ("int64", 7), 6: ("int64", 7), 1: ("float", 1)}


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


def bucketize(graph: Any, node: Any, name: str, args: Any) -> None:  # noqa: ARG001 - what tf2onnx calls
    """How many boundaries are not above x; NaN is above all of them, as for std::upper_bound, which TensorFlow uses."""
    import numpy as np
    from tf2onnx import utils

    given = node.output[0]
    shape = graph.get_shape(given)
    bounds = np.array(node.get_attr_value("boundaries"), np.float64)
    wide = graph.make_node("Cast", [node.input[0]], attr={"to": 11}).output[0]  # TensorProto.DOUBLE
    apart = _unsqueezed(graph, wide)
    # The boundaries are kept as float32, and compared with x as it is.
    table = graph.make_const(utils.make_name("boundaries"), bounds.astype(np.float32).astype(np.float64)).output[0]
    below = graph.make_node("Less", [apart, table]).output[0]
    counted = graph.make_node("Cast", [below], attr={"to": 6}).output[0]  # TensorProto.INT32
    axes = graph.make_const(utils.make_name("axes"), np.array([-1], np.int64)).output[0]
    above = graph.make_node("ReduceSum", [counted, axes], attr={"keepdims": 0}).output[0]
    count = graph.make_const(utils.make_name("count"), np.array(len(bounds), np.int32)).output[0]
    graph.remove_node(node.name)
    graph.make_node("Sub", [count, above], outputs=[given], dtypes=[6], shapes=[shape])


def _unsqueezed(graph: Any, tensor: str) -> str:
    import numpy as np
    from tf2onnx import utils

    axes = graph.make_const(utils.make_name("axes"), np.array([-1], np.int64)).output[0]
    result: str = graph.make_node("Unsqueeze", [tensor, axes]).output[0]
    return result


def expm1(graph: Any, node: Any, name: str, args: Any) -> None:  # noqa: ARG001 - what tf2onnx calls
    """tanh(x / 2) * (exp(x) + 1), which is exp(x) - 1 and loses nothing near 0."""
    given = node.output[0]
    kind, shape = graph.get_dtype(given), graph.get_shape(given)
    make, const = _writer(graph, kind)
    half = make("Tanh", make("Mul", node.input[0], const(0.5)))
    more = make("Add", make("Exp", node.input[0]), const(1))
    graph.remove_node(node.name)
    graph.make_node("Mul", [half, more], outputs=[given], dtypes=[kind], shapes=[shape])


def lite_gelu(graph: Any, node: Any, name: str, args: Any) -> None:  # noqa: ARG001 - what tf2onnx calls
    """Half of x times 1 + erf(x / sqrt 2), or its approximation by tanh."""
    given, x = node.output[0], node.input[0]
    kind, shape = graph.get_dtype(given), graph.get_shape(given)
    make, const = _writer(graph, kind)
    if node.get_attr_value("approximate"):
        cubed = make("Mul", make("Mul", x, x), x)
        inner = make(
            "Tanh", make("Mul", const((2 / math.pi) ** 0.5), make("Add", x, make("Mul", cubed, const(0.044715))))
        )
    else:
        inner = make("Erf", make("Mul", x, const(0.5**0.5)))
    more = make("Mul", make("Add", inner, const(1)), const(0.5))
    graph.remove_node(node.name)
    graph.make_node("Mul", [x, more], outputs=[given], dtypes=[kind], shapes=[shape])


def lite_relu_n1_to_1(graph: Any, node: Any, name: str, args: Any) -> None:  # noqa: ARG001 - what tf2onnx calls
    """The input, cut to the range from -1 to 1."""
    given, x = node.output[0], node.input[0]
    kind, shape = graph.get_dtype(given), graph.get_shape(given)
    _, const = _writer(graph, kind)
    graph.remove_node(node.name)
    graph.make_node("Clip", [x, const(-1), const(1)], outputs=[given], dtypes=[kind], shapes=[shape])


def lookup(graph: Any, node: Any, name: str, args: Any) -> None:
    """A table as ai.onnx.ml's LabelEncoder; `args` has the contents of all tables by their names."""
    from tf2onnx import constants

    table = node.inputs[0]
    while table.type == "Identity":
        table = table.inputs[0]
    shared = table.get_attr_value("shared_name")
    if shared not in args[0]:
        raise ValueError(f"the contents of the table that {name} looks things up in are not known")
    if not node.inputs[2].is_const():
        raise ValueError(f"what {name} gives for what is not in its table is no constant")
    default = node.inputs[2].get_tensor_value()
    given, keys = node.output[0], node.input[1]
    key_kind, kind, shape = graph.get_dtype(keys), graph.get_dtype(given), graph.get_shape(given)
    for side, dtype in (("keys", key_kind), ("values", kind)):
        if dtype not in _TABLES:
            raise ValueError(f"{name} looks things up in a table whose {side} are of a type that ONNX's have not")
    (key_suffix, key_wide), (suffix, wide) = _TABLES[key_kind], _TABLES[kind]
    known, values = (column.reshape(-1).tolist() for column in args[0][shared])
    attributes = {f"keys_{key_suffix}s": known, f"values_{suffix}s": values, f"default_{suffix}": default}
    asked = graph.make_node("Cast", [keys], attr={"to": key_wide}).output[0] if key_wide != key_kind else keys
    graph.remove_node(node.name)
    domain = constants.AI_ONNX_ML_DOMAIN
    same = {"outputs": [given]} if wide == kind else {}
    made = graph.make_node(
        "LabelEncoder", [asked], attr=attributes, domain=domain, dtypes=[wide], shapes=[shape], **same
    )
    if wide != kind:
        graph.make_node("Cast", made.output, attr={"to": kind}, outputs=[given], dtypes=[kind], shapes=[shape])
    if not graph.find_output_consumers(table.output[0]):
        graph.remove_node(table.name)


def _writer(graph: Any, kind: int) -> tuple[Callable[..., str], Callable[[float], str]]:
    """Functions that add a node, and a constant of that type; each gives the name of its output."""
    import numpy as np
    from tf2onnx import utils

    dtype = utils.map_onnx_to_numpy_type(kind)

    def make(operator: str, *inputs: str) -> str:
        result: str = graph.make_node(operator, list(inputs), dtypes=[kind]).output[0]
        return result

    def const(value: float) -> str:
        result: str = graph.make_const(utils.make_name("const"), np.array(value, dtype)).output[0]
        return result

    return make, const


HANDLERS: Mapping[str, tuple[Handler, list[Any]]] = {
    "BroadcastArgs": (broadcast_args, []),
    "Bucketize": (bucketize, []),
    "Erfc": (erfc, []),
    "Expm1": (expm1, []),
    "TFL_BUCKETIZE": (bucketize, []),
    "TFL_GELU": (lite_gelu, []),
    "TFL_RELU_N1_TO_1": (lite_relu_n1_to_1, []),
}


def handlers(tables: Mapping[Any, Any]) -> dict[str, tuple[Handler, list[Any]]]:
    """All of them; `tables` are the keys and values of each table of the graph."""
    return {**HANDLERS, "LookupTableFindV2": (lookup, ["LabelEncoder", tables])}
