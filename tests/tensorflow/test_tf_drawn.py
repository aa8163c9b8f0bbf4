"""Graphs drawn at random, around the operators that keep channels last: each answers as in ONNX Runtime.

The operators have tests of their own; this one holds how values go from one to the next, in either layout. More seeds
than the suite takes: `python tests/tensorflow/test_tf_drawn.py 1000 2000`.
"""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass, field

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

SEEDS = 24
NODES = 14
LARGEST = 20_000  # elements of a value
UNARY = ("Relu", "Sigmoid", "Tanh", "Neg", "Abs", "LeakyRelu", "HardSwish", "Softplus", "Identity")
BINARY = ("Add", "Sub", "Mul", "Max", "Min")


@dataclass
class Drawing:
    """A graph in the making; `values` are names with the shapes that they have at run time."""

    rng: np.random.Generator
    values: dict[str, tuple[int, ...]] = field(default_factory=dict)
    nodes: list = field(default_factory=list)
    initializers: list = field(default_factory=list)

    def one(self, things):
        return things[int(self.rng.integers(len(things)))]

    def any(self, fits=lambda shape: True):
        """One of the last values of such a shape; the last come more often."""
        found = [name for name, shape in self.values.items() if fits(shape)][-4:]
        return self.one(found) if found else None

    def constant(self, array):
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weight(self, *shape, low=-1.0, high=1.0):
        return self.constant(self.rng.uniform(low, high, shape).astype(np.float32))

    def add(self, op, inputs, shapes, **given):
        """A node; `shapes` are those of its outputs."""
        outputs = [f"v{len(self.values) + index}" for index in range(len(shapes))]
        self.nodes.append(helper.make_node(op, inputs, outputs, **given))
        self.values |= dict(zip(outputs, map(tuple, shapes), strict=True))


def image(shape):
    return len(shape) >= 3 and min(shape[2:]) >= 2


def draw_convolution(draw):
    name = draw.any(image)
    if name is None:
        return
    shape = draw.values[name]
    filters, group = draw.one([(4, 1), (6, 1), (shape[1], shape[1])])
    kernel = [draw.one([1, 2, 3]) for _ in shape[2:]]
    strides = [draw.one([1, 1, 2]) for _ in shape[2:]]
    pads = [draw.one([0, 1]) for _ in (*shape[2:], *shape[2:])]
    rank = len(shape) - 2
    lengths = [
        (length + pads[axis] + pads[axis + rank] - kernel[axis]) // strides[axis] + 1
        for axis, length in enumerate(shape[2:])
    ]
    if min(lengths) < 1:
        return
    inputs = [name, draw.weight(filters, shape[1] // group, *kernel)]
    if draw.rng.random() < 0.5:
        inputs.append(draw.weight(filters))
    draw.add(
        "Conv", inputs, [(shape[0], filters, *lengths)], group=group, strides=strides, pads=pads, kernel_shape=kernel
    )


def draw_pool(draw):
    name = draw.any(image)
    if name is None:
        return
    shape = draw.values[name]
    op = draw.one(["MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"])
    if op.startswith("Global"):
        draw.add(op, [name], [(*shape[:2], *[1] * (len(shape) - 2))])
    else:
        lengths = [length // 2 for length in shape[2:]]
        draw.add(op, [name], [(*shape[:2], *lengths)], kernel_shape=[2] * len(lengths), strides=[2] * len(lengths))


def draw_normalization(draw):
    name = draw.any(image)
    if name is None:
        return
    shape = draw.values[name]
    channels = shape[1]
    if draw.rng.random() < 0.5:
        inputs = [name, *(draw.weight(channels) for _ in range(3)), draw.weight(channels, low=0.5, high=2.0)]
        draw.add("BatchNormalization", inputs, [shape])
    else:
        draw.add("InstanceNormalization", [name, draw.weight(channels), draw.weight(channels)], [shape], epsilon=0.1)


def draw_unary(draw):
    name = draw.any()
    draw.add(draw.one(UNARY), [name], [draw.values[name]])


def draw_prelu(draw):
    name = draw.any(lambda shape: len(shape) >= 3)
    if name is not None:
        shape = draw.values[name]
        draw.add("PRelu", [name, draw.weight(shape[1], *[1] * (len(shape) - 2))], [shape])


def draw_binary(draw):
    """With another value of a shape that goes with it, or a constant of fewer axes or with axes of one."""
    name = draw.any()
    shape = draw.values[name]
    if draw.rng.random() < 0.5:
        other = draw.any(lambda given: broadcasts(given, shape))
        both = np.broadcast_shapes(shape, draw.values[other])
    else:
        kept = shape[int(draw.rng.integers(len(shape) + 1)) :]
        other = draw.weight(*(draw.one([1, length]) for length in kept))
        both = shape
    if np.prod(both) <= LARGEST:
        inputs = [name, other]
        draw.rng.shuffle(inputs)
        draw.add(draw.one(BINARY), inputs, [both])


def broadcasts(one, other):
    return all(a == b or 1 in (a, b) for a, b in zip(one[::-1], other[::-1], strict=False))


def draw_concat(draw):
    name = draw.any(lambda shape: len(shape) > 0)
    if name is None:
        return
    shape = draw.values[name]
    axis = int(draw.rng.integers(len(shape)))

    def fits(given):
        return len(given) == len(shape) and all(
            a == b for place, (a, b) in enumerate(zip(given, shape, strict=True)) if place != axis
        )

    names = [name, draw.any(fits)]
    length = sum(draw.values[each][axis] for each in names)
    if np.prod(shape) / shape[axis] * length <= LARGEST:
        draw.add(
            "Concat", names, [(*shape[:axis], length, *shape[axis + 1 :])], axis=draw.one([axis, axis - len(shape)])
        )


def draw_transpose(draw):
    name = draw.any(lambda shape: len(shape) > 1)
    if name is None:
        return
    shape = draw.values[name]
    rank = len(shape)
    usual = [(0, *range(2, rank), 1), (0, rank - 1, *range(1, rank - 1))]
    order = draw.one([*usual, tuple(int(place) for place in draw.rng.permutation(rank))])
    draw.add("Transpose", [name], [tuple(shape[place] for place in order)], perm=order)


def draw_along(draw):
    name = draw.any(lambda shape: len(shape) > 0)
    if name is None:
        return
    shape = draw.values[name]
    axis = int(draw.rng.integers(-len(shape), len(shape)))
    op = draw.one(["Softmax", "LogSoftmax", "LpNormalization", "CumSum"])
    if op == "CumSum":
        draw.add(op, [name, draw.constant(np.int64(axis))], [shape])
    else:
        draw.add(op, [name], [shape], axis=axis)


def draw_reduction(draw):
    name = draw.any(lambda shape: len(shape) > 1)
    if name is None:
        return
    shape = draw.values[name]
    places = [place for place in range(len(shape)) if draw.rng.random() < 0.5] or [1]
    if draw.rng.random() < 0.4:
        places = list(range(2, len(shape))) or [1]
    keep = int(draw.rng.integers(2))
    left = [1 if place in places else length for place, length in enumerate(shape) if keep or place not in places]
    axes = draw.constant(np.array([draw.one([place, place - len(shape)]) for place in places]))
    draw.add(draw.one(["ReduceMean", "ReduceMax", "ReduceSum", "ReduceL2"]), [name, axes], [left], keepdims=keep)


def draw_slice(draw):
    name = draw.any(lambda shape: len(shape) > 0 and max(shape) > 1)
    if name is None:
        return
    shape = draw.values[name]
    axis = draw.one([place for place, length in enumerate(shape) if length > 1])
    start, step = int(draw.rng.integers(shape[axis] - 1)), draw.one([1, 2, -1])
    limits = (start, shape[axis], 1) if step == 1 else (start, 2**40, 2) if step == 2 else (-1, -(2**40), -1)
    length = len(range(shape[axis])[slice(*limits)]) if step != -1 else shape[axis]
    numbers = [draw.constant(np.array([number])) for number in (*limits[:2], axis, limits[2])]
    draw.add("Slice", [name, *numbers], [(*shape[:axis], length, *shape[axis + 1 :])])


def draw_split(draw):
    name = draw.any(lambda shape: any(length % 2 == 0 for length in shape))
    if name is None:
        return
    shape = draw.values[name]
    axis = draw.one([place for place, length in enumerate(shape) if length % 2 == 0])
    half = (*shape[:axis], shape[axis] // 2, *shape[axis + 1 :])
    draw.add("Split", [name], [half, half], axis=axis, num_outputs=2)


def draw_pad(draw):
    name = draw.any(lambda shape: len(shape) > 1 and np.prod([length + 2 for length in shape]) <= LARGEST)
    if name is None:
        return
    shape = draw.values[name]
    pads = draw.rng.integers(0, 2, (2, len(shape)))
    draw.add(
        "Pad",
        [name, draw.constant(pads.reshape(-1))],
        [np.add(shape, pads.sum(0))],
        mode=draw.one(["constant", "edge"]),
    )


def draw_gather(draw):
    name = draw.any(lambda shape: len(shape) > 0)
    if name is None:
        return
    shape = draw.values[name]
    axis = int(draw.rng.integers(len(shape)))
    indices = draw.rng.integers(-shape[axis], shape[axis], draw.one([(), (3,), (1, 2)]))
    made = (*shape[:axis], *indices.shape, *shape[axis + 1 :])
    if np.prod(made) <= LARGEST and len(made) < 6:
        draw.add("Gather", [name, draw.constant(indices)], [made], axis=axis)


def draw_axes(draw):
    name = draw.any()
    shape = draw.values[name]
    ones = [place for place, length in enumerate(shape) if length == 1]
    if ones and draw.rng.random() < 0.5:
        place = draw.one(ones)
        draw.add("Squeeze", [name, draw.constant(np.array([place]))], [(*shape[:place], *shape[place + 1 :])])
    elif len(shape) < 5:
        place = int(draw.rng.integers(len(shape) + 1))
        draw.add("Unsqueeze", [name, draw.constant(np.array([place]))], [(*shape[:place], 1, *shape[place:])])


def draw_reshape(draw):
    name = draw.any(lambda shape: len(shape) > 2)
    if name is None:
        return
    shape = draw.values[name]
    wanted = draw.one([[0, 0, -1], [0, -1], [-1, shape[-1]]])
    made = (
        np.zeros(shape).reshape([shape[place] if length == 0 else length for place, length in enumerate(wanted)]).shape
    )
    draw.add("Reshape", [name, draw.constant(np.array(wanted))], [made])


def draw_matmul(draw):
    name = draw.any(lambda shape: len(shape) > 1)
    if name is not None:
        shape = draw.values[name]
        draw.add("MatMul", [name, draw.weight(shape[-1], 4)], [(*shape[:-1], 4)])


def draw_resize(draw):
    name = draw.any(lambda shape: len(shape) == 4 and np.prod(shape) * 4 <= LARGEST)
    if name is not None:
        shape = draw.values[name]
        scales = draw.constant(np.array([1, 1, 2, 2], np.float32))
        mode = draw.one(["nearest", "linear"])
        draw.add("Resize", [name, "", scales], [(*shape[:2], shape[2] * 2, shape[3] * 2)], mode=mode)


def draw_choice(draw):
    name = draw.any()
    shape = draw.values[name]
    other = draw.any(lambda given: given == shape)
    draw.nodes.append(helper.make_node("Less", [name, other], [f"b{len(draw.values)}"]))
    draw.add("Where", [f"b{len(draw.values)}", name, other], [shape])


def draw_layer_normalization(draw):
    name = draw.any(lambda shape: len(shape) > 1 and shape[-1] > 1)
    if name is not None:
        shape = draw.values[name]
        draw.add("LayerNormalization", [name, draw.weight(shape[-1])], [shape], epsilon=0.1)


DRAWS = [
    *[draw_convolution] * 4, draw_pool, *[draw_normalization] * 2, *[draw_unary] * 2, draw_prelu, *[draw_binary] * 4,
    *[draw_concat] * 2, *[draw_transpose] * 2, draw_along, *[draw_reduction] * 2, draw_slice, draw_split, draw_pad,
    draw_gather, draw_axes, draw_reshape, draw_matmul, draw_resize, draw_choice, draw_layer_normalization,
]  # fmt: skip


def drawn(seed):
    """A model and its feeds."""
    draw = Drawing(np.random.default_rng(seed))
    shape = draw.one([(2, 3, 8, 8), (1, 4, 7, 6), (3, 2, 9), (2, 2, 5, 4, 6)])
    draw.values["x"] = shape
    while len(draw.nodes) < NODES:
        draw.one(DRAWS)(draw)
    used = {name for node in draw.nodes for name in node.input}
    names = [name for name in draw.values if name not in used and name != "x"]
    info = itertools.starmap(
        lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * len(shape)),
        draw.values.items(),
    )
    infos = dict(zip(draw.values, info, strict=True))
    infos["x"] = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    graph = helper.make_graph(draw.nodes, "drawn", [infos["x"]], [infos[name] for name in names], draw.initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return model, {"x": draw.rng.standard_normal(shape).astype(np.float32)}


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_graph_drawn_at_random(graph_agrees, seed):
    graph_agrees(*drawn(seed), rtol=1e-4, atol=1e-5)


if __name__ == "__main__":
    sys.path.insert(0, __file__.rpartition("/")[0])
    import conftest

    for seed in range(int(sys.argv[1]), int(sys.argv[2])):
        try:
            conftest.check_model(*drawn(seed), rtol=1e-4, atol=1e-5)
        except Exception as error:
            print(seed, type(error).__name__, " ".join(str(error).split())[:300], flush=True)
