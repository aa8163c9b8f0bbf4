"""Shapes, slices and pads: lengths known, unknown, zero; axes and shapes that are computed; older opsets."""

import numpy as np
import pytest

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def ints(*values):
    return np.array(values, np.int64)


@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize(
    ("op", "feeds", "attributes"),
    [
        ("Reshape", {"x": X, "s": ints(0, -1)}, {}),
        ("Reshape", {"x": X, "s": ints(4, 0, -1)}, {}),
        ("Reshape", {"x": X[:0], "s": ints(0, 12)}, {}),
        ("Reshape", {"x": X[:0], "s": ints(3, 0, 5)}, {"allowzero": 1}),
        ("Squeeze", {"x": X[:1, :, :1], "a": ints(0, -1)}, {}),
        ("Unsqueeze", {"x": X, "a": ints(-1, 0)}, {}),
        ("Expand", {"x": X[:, :1], "s": ints(3, 1)}, {}),
        ("Expand", {"x": X[:1], "s": ints(5, 2, 1, 1)}, {}),
        ("Tile", {"x": X, "r": ints(1, 2, 3)}, {}),
        ("Slice", {"x": X, "s": ints(-1, 1), "e": ints(-(2**63), 2**63 - 1), "a": ints(-1, 1), "t": ints(-2, 1)}, {}),
        ("Slice", {"x": X, "s": ints(0, 5), "e": ints(1, 9)}, {}),
        ("Slice", {"x": X, "s": ints(3), "e": ints(-9), "a": ints(2), "t": ints(-1)}, {}),
        ("Pad", {"x": X, "p": ints(0, 1, 2, 0, 0, 1)}, {}),
        ("Pad", {"x": X, "p": ints(0, -1, 2, 0, 0, -1), "v": np.array(7, np.float32)}, {}),
        ("Pad", {"x": X, "p": ints(0, 1, 2, 0, 2, 3)}, {"mode": "reflect"}),
        ("Pad", {"x": X, "p": ints(0, 1, 2, 1, 4, 5)}, {"mode": "edge"}),
        ("Pad", {"x": X, "p": ints(0, 1, 2, 0, 2, 3)}, {"mode": "wrap"}),
        ("CenterCropPad", {"x": X, "s": ints(5, 1, 4)}, {}),
        ("CenterCropPad", {"x": X, "s": ints(1, 7)}, {"axes": [-1, 0]}),
        ("Trilu", {"x": X, "k": np.array(-1, np.int64)}, {"upper": 0}),
        ("Split", {"x": X, "s": ints(1, 3)}, {"axis": -1, "outputs": 2}),
    ],
)
def test_given_as_a_constant_and_computed(agrees, op, feeds, attributes, fixed):
    if op == "CenterCropPad":
        attributes = {**attributes, "opset": 18}
    agrees(op, feeds, constants=tuple(feeds)[1:] if fixed else (), **attributes)


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.float16, np.float64, bool])
def test_other_types_are_moved(agrees, dtype):
    x = (X.astype(np.int64) % 3).astype(dtype)
    agrees("Transpose", {"x": x}, perm=[2, 0, 1])
    agrees("Concat", {"x": x, "y": x}, axis=-2)
    agrees("Expand", {"x": x[:1], "s": ints(2, 1, 1)})
    agrees("Tile", {"x": x, "r": ints(2, 1, 1)})


def test_strings_are_moved():
    import tensorflow as tf

    from mlconvert.tensorflow.families import indexing, shapes, slices

    x = tf.constant([["a", "b"], ["ü", ""]])
    umlaut = "ü".encode()
    assert shapes.transpose(x).numpy().tolist() == [[b"a", umlaut], [b"b", b""]]
    assert shapes.concat(x, x, axis=1).numpy().tolist()[0] == [b"a", b"b", b"a", b"b"]
    assert indexing.gather_elements(x, tf.constant([[-1, 0]])).numpy().tolist() == [[umlaut, b"b"]]
    assert slices.pad(x, tf.constant([0, 1, 0, 0])).numpy().tolist()[0] == [b"", b"a", b"b"]


@pytest.mark.parametrize("count", [2, 3])
def test_split_into_parts_of_which_the_last_is_smaller(agrees, count):
    agrees("Split", {"x": np.arange(10, dtype=np.float32).reshape(2, 5)}, axis=1, num_outputs=count, outputs=count)


@pytest.mark.parametrize(
    ("op", "opset", "attributes", "wanted"),
    [
        ("Reshape", 1, {"shape": [0, -1]}, X.reshape(2, 12)),
        ("Squeeze", 11, {"axes": [0]}, X[:1][0]),
        ("Unsqueeze", 11, {"axes": [0, 2]}, X[None][:, :, None]),
        ("Slice", 1, {"starts": [1, 0], "ends": [1000, -1], "axes": [1, 2]}, X[:, 1:, :-1]),
        ("Split", 2, {"split": [1, 2], "axis": 1, "outputs": 2}, (X[:, :1], X[:, 1:])),
        ("Pad", 2, {"pads": [0, 0, 1, 0, 0, 0], "value": 2.0}, np.pad(X, [(0, 0), (0, 0), (1, 0)], constant_values=2)),
        ("Flatten", 9, {"axis": 0}, X.reshape(1, 24)),
        ("Flatten", 13, {"axis": -1}, X.reshape(6, 4)),
        ("Shape", 15, {"start": -2, "end": 100}, ints(3, 4)),
        ("Size", 13, {}, np.array(24, np.int64)),
        ("Concat", 3, {}, X),
    ],
)
def test_attributes_of_older_opsets(agrees, op, opset, attributes, wanted):
    x = X[:1] if op == "Squeeze" else X
    agrees(op, {"x": x}, opset=opset, wanted=list(wanted) if isinstance(wanted, tuple) else [wanted], **attributes)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
@pytest.mark.parametrize("length", [1, 0])
def test_depth_to_space(agrees, mode, length):
    x = np.arange(2 * 8 * 2 * 3, dtype=np.float32).reshape(2, 8, 2, 3)[:, :, :length]
    agrees("DepthToSpace", {"x": x}, blocksize=2, mode=mode)


def test_space_to_depth(agrees):
    agrees("SpaceToDepth", {"x": np.arange(2 * 3 * 4 * 6, dtype=np.float32).reshape(2, 3, 4, 6)}, blocksize=2)


def _shape_after(text, *signature):
    """What TensorFlow knows of the output's shape."""
    import onnx.parser
    import tensorflow as tf

    from mlconvert.tensorflow.layouts import Value
    from mlconvert.tensorflow.lowering import Graph, constants_of
    from mlconvert.tensorflow.weights import Weights

    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 21]> {text}')

    def call(*tensors):
        graph = Graph(Weights(tf.Module()), {"": 21}, {})
        graph.hold(constants_of(model.graph))
        for spec, tensor in zip(model.graph.input, tensors, strict=True):
            graph.bind(spec.name, Value.of(tensor))
        graph.run(model.graph.node)
        return graph.tensor(model.graph.output[0].name)

    traced = tf.function(call, input_signature=[tf.TensorSpec(one, tf.float32) for one in signature], autograph=False)
    return traced.get_concrete_function().outputs[0].shape.as_list()


def test_lengths_stay_known_through_shape_arithmetic():
    """As exporters write the heads of an attention: batch and sequence from the input, the rest constant."""
    text = """
        g (float[b,s,12] x) => (float[b,4,s,3] y) {
            shape = Shape(x)
            zero = Constant<value_int = 0>()
            one = Constant<value_int = 1>()
            b = Gather<axis = 0>(shape, zero)
            s = Gather<axis = 0>(shape, one)
            first = Constant<value_ints = [0]>()
            bs = Unsqueeze(b, first)
            ss = Unsqueeze(s, first)
            rest = Constant<value_ints = [4, 3]>()
            whole = Concat<axis = 0>(bs, ss, rest)
            cut = Reshape(x, whole)
            y = Transpose<perm = [0, 2, 1, 3]>(cut)
        }"""
    assert _shape_after(text, [None, None, 12]) == [None, 4, None, 3]
    assert _shape_after(text, [2, None, 12]) == [2, 4, None, 3]
    assert _shape_after(text, [2, 5, 12]) == [2, 4, 5, 3]


def test_lengths_stay_known_through_slices_casts_and_expand():
    text = """
        g (float[b,s] x, float[1,1,8] w) => (float[b,s,8] y) {
            shape = Shape(x)
            start = Constant<value_ints = [0]>()
            end = Constant<value_ints = [1]>()
            b = Slice(shape, start, end)
            tail = Constant<value_ints = [6, 1]>()
            whole = Concat<axis = 0>(b, tail)
            y = Expand(w, whole)
        }"""
    assert _shape_after(text, [None, 6], [1, 1, 8]) == [None, 6, 8]
    assert _shape_after(text, [3, 6], [1, 1, 8]) == [3, 6, 8]
