"""Empty batches of models with convolutions, which TensorFlow's oneDNN kernels of float32 get wrong by themselves."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from mlconvert.onnx_model.files import onnx_signature

HEAD = '<ir_version: 8, opset_import: ["" : 17]>'
FIRST, SECOND = ", ".join(["0.5"] * 108), ", ".join(["0.25"] * 180)
TWO = f""" g (float[n, 3, 8, 8] x, float[2, n] scale, string[n] name)
  => (float[n, 5, 4, 4] y, float[2, n] z, string[n] t) <
  float[4, 3, 3, 3] w = {{{FIRST}}}, float[5, 4, 3, 3] v = {{{SECOND}}}> {{
  a = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, w)
  b = Relu(a)
  y = Conv <pads = [1, 1, 1, 1]> (b, v)
  z = Neg(scale)
  t = Identity(name)
}}"""


@pytest.fixture
def served(tmp_path):
    """The signature of a graph's SavedModel."""
    from mlconvert.readers.tensorflow_runtime import import_tensorflow

    tf = import_tensorflow()
    from mlconvert.tensorflow.saving import save

    def load(text):
        model = onnx.parser.parse_model(HEAD + text)
        save(model, onnx_signature(model), tmp_path / "m", read=onnx.numpy_helper.to_array, entries={})
        loaded = tf.saved_model.load(str(tmp_path / "m"))  # the function lives as long as what it was loaded with
        return lambda **feeds: {
            name: found.numpy()
            for name, found in loaded.signatures["serving_default"](
                **{key: tf.constant(value) for key, value in feeds.items()}
            ).items()
        }

    return load


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_every_output_has_the_batch_s_length(served, rows):
    import onnxruntime

    feeds = {"x": np.ones((rows, 3, 8, 8), np.float32), "scale": np.ones((2, rows), np.float32)}
    feeds["name"] = np.array(["a", "b", "c"][:rows], object)
    found = served(TWO)(**feeds)
    model = onnx.parser.parse_model(HEAD + TWO).SerializeToString()
    wanted = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, feeds)
    for name, reference in zip("yz", wanted[:2], strict=True):
        assert found[name].shape == reference.shape
        np.testing.assert_allclose(found[name], reference, rtol=1e-5)
    assert [text.decode() for text in found["t"]] == list(wanted[2])


def test_an_output_without_the_batch_s_axis_leaves_the_model_as_it_is(served):
    """Its answer for an empty batch is not that for a batch of one."""
    call = served(" g (float[n, 3] x) => (float s) { s = ReduceSum <keepdims = 0> (x) }")
    assert call(x=np.ones((0, 3), np.float32))["s"] == 0


def test_a_wrong_name_of_an_output_s_axis_cuts_nothing(served):
    text = """ g (float[n, 1, 2, 2] x) => (float[n, 1] y) <float[1, 1, 2, 2] w = {1, 1, 1, 1}, int64[2] s = {-1, 1}> {
      c = Conv(x, w) d = Concat <axis = 0> (c, c) y = Reshape(d, s)
    }"""
    assert served(text)(x=np.ones((3, 1, 2, 2), np.float32))["y"].shape == (6, 1)
