"""A frozen TensorFlow graph before tf2onnx sees it: what it cannot take is put otherwise, what it gets wrong refused.

What tf2onnx 1.17 gets wrong was found by comparing answers: it writes no word about it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mlconvert.errors import ConversionFailed

_XLA, _NOT_INLINED = "_XlaMustCompile", "_noinline"  # functions have the second with the first
_LOOPS = ("While", "StatelessWhile")

WRONG: Mapping[str, str] = {
    "ResizeArea": "tf2onnx writes another interpolation than the mean over areas",
}


def without_xla(graph: Any, inputs: list[str], outputs: list[str]) -> Any:
    """The graph with the functions inlined that TensorFlow keeps apart for XLA: Keras' convolutions in groups."""
    import tensorflow as tf
    from tf2onnx.tf_loader import tf_optimize

    parts = [*graph.node, *graph.library.function, *(node for one in graph.library.function for node in one.node_def)]
    kept = [part for part in parts if _XLA in part.attr]
    for part in kept:
        for name in (_XLA, _NOT_INLINED):
            part.attr.pop(name, None)
    if not kept:
        return graph
    with tf.Graph().as_default():
        return tf_optimize(inputs, outputs, graph)


def check_right(graph: Any, where: str) -> None:
    """Raise ConversionFailed, naming them all, for operators that tf2onnx converts to something else."""
    nodes = [*graph.node, *(node for one in graph.library.function for node in one.node_def)]
    told = [f"{name}: {WRONG[name]}" for name in sorted({node.op for node in nodes} & WRONG.keys())]
    moved = sorted(set(_out_of_order(graph)))
    if moved:
        told.append(f"TensorListSetItem ({', '.join(moved)}): tf2onnx takes what a loop writes for what comes next")
    if told:
        raise ConversionFailed(
            f"the model uses operators that tf2onnx converts wrongly: {'; '.join(told)}", where=where
        )


def _out_of_order(graph: Any) -> Iterator[str]:
    """What writes into a list, in a loop, at another place than 0, 1, 2, … in turn."""
    bodies = {one.signature.name: one for one in graph.library.function}
    for nodes in (graph.node, *(one.node_def for one in graph.library.function)):
        around = {node.name: node for node in nodes}
        for loop in nodes:
            if loop.op in _LOOPS:
                body = bodies[loop.attr["body"].func.name]
                inside = {node.name: node for node in body.node_def}
                for node in body.node_def:
                    if node.op == "TensorListSetItem" and not _counts_up(node.input[1], body, inside, loop, around):
                        yield node.name


def _counts_up(index: str, body: Any, inside: Mapping[str, Any], loop: Any, around: Mapping[str, Any]) -> bool:
    """Whether the index is a variable of the loop that begins with 0 and becomes one more each time.

    It may be 0 each time too: Keras keeps the last answer alone so, and reads the last of all that tf2onnx keeps.
    """
    arguments = [one.name for one in body.signature.input_arg]
    variable = _origin(index, inside)
    if variable not in arguments:
        return _is_constant(inside.get(variable), 0)
    place = arguments.index(variable)
    after = inside.get(_origin(body.ret[body.signature.output_arg[place].name], inside))
    if after is None or after.op not in ("Add", "AddV2"):
        return False
    terms = [_origin(name, inside) for name in after.input[:2]]
    others = [name for name in terms if name != variable]
    first = around.get(_origin(loop.input[place], around))
    return len(others) == 1 and _is_constant(inside.get(others[0]), 1) and _is_constant(first, 0)


def _origin(name: str, nodes: Mapping[str, Any]) -> str:
    """The node, or the argument, that a tensor comes from, past what only hands it on."""
    found = name.partition(":")[0]
    while found in nodes and nodes[found].op == "Identity":
        found = nodes[found].input[0].partition(":")[0]
    return found


def _is_constant(node: Any, value: int) -> bool:
    import tensorflow as tf

    return node is not None and node.op == "Const" and bool((tf.make_ndarray(node.attr["value"].tensor) == value).all())
