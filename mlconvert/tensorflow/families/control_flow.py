"""If, Loop and Scan as `tf.cond` and `tf.while_loop`.

TensorFlow wants to know before a loop which shapes its variables keep, ONNX does not say it: the body is lowered in a
graph that is thrown away, the shapes that it changes are given up, and so on until nothing changes. A sequence that is
carried along is a TensorList.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from mlconvert.tensorflow import kernels
from mlconvert.tensorflow.families.sequences import WITHIN, Sequence
from mlconvert.tensorflow.kinds import Kind, flat, kind_of, traced
from mlconvert.tensorflow.node import Node
from mlconvert.tensorflow.operators import Operator

if TYPE_CHECKING:
    import onnx

_ROUNDS = 8  # of giving up shapes: an axis can only become unknown, a rank only once more


def _scalar(tensor: Any, dtype: tf.DType) -> Any:
    return tf.cast(tf.reshape(tensor, []), dtype)


# --- If ---


def if_(condition: Any, *, then_branch: onnx.GraphProto, else_branch: onnx.GraphProto, node: Node) -> Any:
    known = node.constant(0)
    if known is not None:
        return node.lower(then_branch if known.reshape(-1)[0] else else_branch)
    found: list[list[Kind]] = []

    def branch(graph: onnx.GraphProto) -> Callable[[], list[Any]]:
        def lowered() -> list[Any]:
            values = node.lower(graph)
            found.append([kind_of(value, node) for value in values])
            return [flat(value) for value in values]

        return lowered

    tensors = tf.cond(_scalar(condition, tf.bool), branch(then_branch), branch(else_branch))
    kinds = [one.joined(other, node) for one, other in zip(found[0], found[1], strict=True)]
    return tuple(kind.value(tensor) for kind, tensor in zip(kinds, tensors, strict=True))


# --- loops ---

_Step = Callable[..., tuple[tuple[Any, ...], tuple[Any, ...], Any]]
"""(count, *carried) -> what is carried on, what is collected, whether to go on (None: always)."""


def _looped(
    limit: Any, go_on: Any, carried: tuple[Any, ...], step: _Step, node: Node, reserve: Any = None
) -> tuple[list[Any], list[Any], list[Kind]]:
    """Run `step` while its count is below `limit` (None: without limit) and it says so.

    Gives what is carried at last, the TensorLists of what was collected, and the kinds of the latter. `reserve` is the
    number of steps where nothing ends the loop early.
    """
    kinds, collected = _settled(carried, step, node)
    conditional = go_on is not None
    variables: list[Any] = [tf.constant(0, tf.int64), go_on if conditional else tf.constant(True)]
    variables += [flat(value) for value in carried]
    lists = []
    for kind in collected:
        if kind.sequence:
            raise node.refuse("collects a sequence in each step")
        if reserve is None:
            made = tf.raw_ops.EmptyTensorList(element_shape=-1, max_num_elements=-1, element_dtype=kind.dtype)
        else:
            made = tf.raw_ops.TensorListReserve(element_shape=-1, num_elements=reserve, element_dtype=kind.dtype)
        lists.append(made)

    def test(count: Any, go_on: Any, *_: Any) -> Any:
        if limit is None:
            return go_on
        return tf.logical_and(count < limit, go_on) if conditional else count < limit

    def body(count: Any, go_on: Any, *rest: Any) -> tuple[Any, ...]:
        values = [kind.value(tensor) for kind, tensor in zip(kinds, rest[: len(kinds)], strict=True)]
        new, items, more = step(count, *values)
        kept = []
        for handle, item in zip(rest[len(kinds) :], items, strict=True):
            if reserve is None:
                kept.append(tf.raw_ops.TensorListPushBack(input_handle=handle, tensor=item))
            else:
                at = tf.cast(count, tf.int32)
                kept.append(tf.raw_ops.TensorListSetItem(input_handle=handle, index=at, item=item))
        return (count + 1, more if conditional and more is not None else go_on, *map(flat, new), *kept)

    scalar = tf.TensorShape([])
    invariants = (scalar, scalar, *(kind.invariant for kind in kinds), *(scalar for _ in lists))
    _, _, *last = tf.while_loop(test, body, (*variables, *lists), shape_invariants=invariants)
    values = [kind.value(tensor) for kind, tensor in zip(kinds, last[: len(kinds)], strict=True)]
    return values, last[len(kinds) :], collected


def _settled(carried: tuple[Any, ...], step: _Step, node: Node) -> tuple[list[Kind], list[Kind]]:
    """The kinds that what is carried keeps in all steps, and those of what is collected."""
    kinds = [kind_of(value, node) for value in carried]
    for _ in range(_ROUNDS):
        sizes: list[int] = []

        def both(*values: Any, sizes: list[int] = sizes) -> tuple[Any, ...]:
            new, items, _ = step(tf.compat.v1.placeholder(tf.int64, []), *values)
            sizes.append(len(new))
            return (*new, *items)

        given = traced(both, kinds, node)
        new, collected = given[: sizes[0]], given[sizes[0] :]
        joined = [one.joined(other, node) for one, other in zip(kinds, new, strict=True)]
        if all(_same(one, other) for one, other in zip(kinds, joined, strict=True)):
            return kinds, collected
        kinds = joined
    raise node.refuse("carries values whose shapes do not settle")


def _same(one: Kind, other: Kind) -> bool:
    def key(kind: Kind) -> Any:
        if kind.shape is None:
            return None
        return "any" if kind.shape.rank is None else tuple(kind.shape.as_list())

    return bool(key(one) == key(other))


def _stacked(handle: Any, kind: Kind, count: int | None = None) -> Any:
    """What was collected, as a tensor. Where there was no step an unknown length is 0."""
    if kind.shape is None or kind.shape.rank is None:
        rows: Any = -1
    elif kind.shape.is_fully_defined():
        rows = tf.constant(kind.shape.as_list(), tf.int32)
    else:
        known = [-1 if size is None else size for size in kind.shape.as_list()]
        none = [max(size, 0) for size in known]
        rows = tf.where(tf.raw_ops.TensorListLength(input_handle=handle) > 0, known, none)
    stacked = tf.raw_ops.TensorListStack(input_handle=handle, element_shape=rows, element_dtype=kind.dtype)
    if kind.shape is not None and kind.shape.rank is not None:
        stacked.set_shape([count, *kind.shape])
    return stacked


def _declared_rank(graph: onnx.GraphProto, index: int) -> int:
    """The rank that a body declares for its counter or condition: a scalar, or in some models a vector of one."""
    spec = graph.input[index].type.tensor_type
    return len(spec.shape.dim) if spec.HasField("shape") else 0


def loop(trips: Any = None, condition: Any = None, *initial: Any, body: onnx.GraphProto, node: Node) -> tuple[Any, ...]:
    """ONNX says that without `condition` what the body says of going on is ignored; ONNX Runtime and ONNX's own
    reference heed it all the same, and so does this.
    """
    ranks = [_declared_rank(body, at) for at in range(2)]
    limit = None if trips is None else kernels.scalar(trips, tf.int64)

    def lowered(count: Any, go_on: Any, *values: Any) -> tuple[Any, ...]:
        scalars = [tf.reshape(one, [1] * rank) for one, rank in zip((count, go_on), ranks, strict=True)]
        return node.lower(body, *scalars, *values)

    def step(count: Any, *values: Any) -> tuple[tuple[Any, ...], tuple[Any, ...], Any]:
        more, *rest = lowered(count, tf.constant(True), *values)
        return tuple(rest[: len(initial)]), tuple(rest[len(initial) :]), _scalar(more, tf.bool)

    # The condition that a step gets is always true: it would not run otherwise.
    endless = _always_true(body, node)
    start = None if endless and (condition is None or _is_true(condition)) else tf.constant(True)
    if start is not None and condition is not None:
        start = _scalar(condition, tf.bool)
    if start is None and limit is None:
        start = tf.constant(True)
    reserve = count = None
    if start is None:
        known = kernels.known(limit)
        count = None if known is None else max(int(known), 0)
        reserve = tf.cast(tf.maximum(limit, 0), tf.int32) if count is None else tf.constant(count)
    values, lists, kinds = _looped(limit, start, initial, step, node, reserve)
    return (*values, *(_stacked(handle, kind, count) for handle, kind in zip(lists, kinds, strict=True)))


def _is_true(condition: Any) -> bool:
    known = kernels.known(condition)
    return known is not None and bool(known.reshape(-1)[0])


def _always_true(body: onnx.GraphProto, node: Node) -> bool:
    """Whether a body only passes its condition on, or gives a constant that is true."""
    from onnx import numpy_helper

    name = body.output[0].name
    makers = {output: maker for maker in body.node for output in maker.output}
    while name in makers and makers[name].op_type == "Identity":
        name = makers[name].input[0]
    if name == body.input[1].name:
        return True
    for tensor in body.initializer:
        if tensor.name == name:
            return bool(numpy_helper.to_array(tensor).reshape(-1)[0])
    maker = makers.get(name)
    if maker is None:
        outer = node.surroundings.constant(name)
        return outer is not None and bool(outer.reshape(-1)[0])
    for attribute in maker.attribute:
        if maker.op_type == "Constant" and attribute.name == "value":
            return bool(numpy_helper.to_array(attribute.t).reshape(-1)[0])
    return False


def iterated(count: Any, once: Callable[[Any], tuple[Any, ...]], node: Node) -> tuple[Sequence, ...]:
    """The sequences of what a function gives for 0 to count - 1."""

    def step(at: Any) -> tuple[tuple[Any, ...], tuple[Any, ...], Any]:
        return (), once(tf.cast(at, tf.int32)), None

    count = tf.cast(count, tf.int32)
    _, lists, kinds = _looped(tf.cast(count, tf.int64), None, (), step, node, count)
    return tuple(Sequence(kind.dtype, None, handle, kind.shape) for handle, kind in zip(lists, kinds, strict=True))


# --- Scan ---


@dataclass(frozen=True)
class _Scanned:
    """An input of Scan, the scanned axis first, and whether it is read from its end."""

    rows: Any
    backwards: bool

    @classmethod
    def along(cls, tensor: Any, axis: int, backwards: bool) -> _Scanned:
        return cls(_moved_to_front(tensor, axis), backwards)

    def at(self, time: Any, steps: Any) -> Any:
        place = steps - 1 - time if self.backwards else time
        return kernels.moved(lambda rows: tf.gather(rows, place), self.rows)


def _moved_to_front(tensor: Any, axis: int) -> Any:
    axis = axis % tensor.shape.rank
    if axis == 0:
        return tensor
    return kernels.moved(
        lambda t: tf.transpose(t, [axis, *(one for one in range(t.shape.rank) if one != axis)]), tensor
    )


def _moved_from_front(tensor: Any, axis: int) -> Any:
    rank = tensor.shape.rank
    if axis in (0, -rank):
        return tensor
    axis = axis % rank
    return kernels.moved(lambda t: tf.transpose(t, [*range(1, axis + 1), 0, *range(axis + 1, rank)]), tensor)


def scan(
    *inputs: Any,
    body: onnx.GraphProto,
    num_scan_inputs: int,
    scan_input_axes: tuple[int, ...] = (),
    scan_input_directions: tuple[int, ...] = (),
    scan_output_axes: tuple[int, ...] = (),
    scan_output_directions: tuple[int, ...] = (),
    node: Node,
) -> tuple[Any, ...]:
    count = len(inputs) - num_scan_inputs
    axes = scan_input_axes or (0,) * num_scan_inputs
    directions = scan_input_directions or (0,) * num_scan_inputs
    read = [
        _Scanned.along(tensor, axis, bool(backwards))
        for tensor, axis, backwards in zip(inputs[count:], axes, directions, strict=True)
    ]
    states, outputs = _scan(body, inputs[:count], read, scan_output_directions, node)
    places = scan_output_axes or (0,) * len(outputs)
    return (*states, *(_moved_from_front(out, axis) for out, axis in zip(outputs, places, strict=True)))


def _scan(
    body: onnx.GraphProto, states: tuple[Any, ...], read: list[_Scanned], directions: tuple[int, ...], node: Node
) -> tuple[list[Any], list[Any]]:
    """The last states, and what the steps gave, stacked along axis 0."""
    steps = tf.shape(read[0].rows)[0]

    def step(time: Any, *values: Any) -> tuple[tuple[Any, ...], tuple[Any, ...], Any]:
        now = [one.at(tf.cast(time, tf.int32), steps) for one in read]
        given = node.lower(body, *values, *now)
        return tuple(given[: len(states)]), tuple(given[len(states) :]), None

    last, lists, kinds = _looped(tf.cast(steps, tf.int64), None, states, step, node, steps)
    stacked = [_stacked(handle, kind, read[0].rows.shape[0]) for handle, kind in zip(lists, kinds, strict=True)]
    turned = directions or (0,) * len(stacked)
    outputs = [
        kernels.moved(lambda t: tf.reverse(t, [0]), out) if backwards else out
        for out, backwards in zip(stacked, turned, strict=True)
    ]
    return last, outputs


def scan_8(
    lengths: Any,
    *inputs: Any,
    body: onnx.GraphProto,
    num_scan_inputs: int,
    directions: tuple[int, ...] = (),
    node: Node,
) -> tuple[Any, ...]:
    """Opset 8: a batch of scans, each as long as it says; what is beyond the end of one is 0."""
    count = len(inputs) - num_scan_inputs
    backwards = [bool(one) for one in directions or (0,) * num_scan_inputs]
    longest, kinds = tf.shape(inputs[count])[1], list[tf.DType]()
    if lengths is None:
        lengths = tf.fill([tf.shape(inputs[0])[0]], longest)

    def one(values: tuple[Any, ...]) -> tuple[Any, ...]:
        steps, *rest = values
        steps = tf.cast(steps, tf.int32)
        read = [_Scanned(tensor[:steps], back) for tensor, back in zip(rest[count:], backwards, strict=True)]
        last, outputs = _scan(body, tuple(rest[:count]), read, (), node)
        padded = [tf.pad(out, [[0, longest - steps], *([[0, 0]] * (out.shape.rank - 1))]) for out in outputs]
        return (*last, *padded)

    def spied(*values: Any) -> tuple[Any, ...]:
        found = one(values)
        kinds.extend(value.dtype for value in found)
        return found

    traced(spied, [Kind(tensor.dtype, tensor.shape[1:]) for tensor in (lengths, *inputs)], node)
    signature = tuple(tf.TensorSpec(None, dtype) for dtype in kinds)
    return tuple(tf.map_fn(one, (lengths, *inputs), fn_output_signature=signature))


def sequence_map(*inputs: Any, body: onnx.GraphProto, node: Node) -> tuple[Sequence, ...]:
    """The body once for each element of the first sequence; tensors among the inputs are the same for all."""
    first = inputs[0]
    sequences = [value for value in inputs if isinstance(value, Sequence)]
    if all(value.elements is not None for value in sequences) and first.elements:
        count = len(first.elements)
        columns = [(value.elements or ()) if isinstance(value, Sequence) else (value,) * count for value in inputs]
        rows = [node.lower(body, *row) for row in zip(*columns, strict=True)]
        return tuple(Sequence.of(column) for column in zip(*rows, strict=True))

    def once(index: Any) -> tuple[Any, ...]:
        return node.lower(body, *(value.at(index) if isinstance(value, Sequence) else value for value in inputs))

    return iterated(first.length(), once, node)


OPERATORS = (
    Operator("If", 1, if_, folds=False),
    Operator("Loop", 1, loop, folds=False),
    Operator("Scan", 8, scan_8, until=8, folds=False),
    Operator("Scan", 9, scan, folds=False),
    Operator("SequenceMap", 17, sequence_map, folds=False, note=WITHIN),
)
