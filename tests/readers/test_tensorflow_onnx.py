"""A TensorFlow function as ONNX: names and axes kept, what tf2onnx lacks mended, or named."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from mlconvert.errors import ConversionFailed, MissingPackage, UsageError
from mlconvert.readers import tensorflow_runtime
from mlconvert.readers.tensorflow_onnx import onnx_of

tf = tensorflow_runtime.import_tensorflow()

SPEC = tf.TensorSpec((None, None, 4), tf.float32, "the rows")


def shape_of_both(x):
    return tf.broadcast_dynamic_shape(tf.shape(x), tf.constant([1, 1, 4]))


@pytest.mark.parametrize(
    "answer",
    [
        tf.nn.gelu,
        tf.math.erfc,
        lambda x: tf.broadcast_to(x[:, :1], shape_of_both(x)) + x,
        lambda x: tf.broadcast_dynamic_shape(tf.shape(x), tf.shape(x)[1:]),
    ],
    ids=["gelu", "erfc", "broadcast", "shapes"],
)
def test_answers_are_those_of_the_function(answer):
    model = onnx_of(lambda **given: {"out/1": answer(given["the rows"])}, [SPEC], opset=18, where="here")
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    assert [(one.name, one.shape) for one in session.get_inputs()] == [("the rows", ["batch", "the rows_1", 4])]
    for lengths in ((3, 5, 4), (1, 2, 4)):
        rows = np.random.default_rng(0).normal(size=lengths).astype(np.float32)
        (told,) = session.run(["out/1"], {"the rows": rows})
        wanted = answer(tf.constant(rows)).numpy()
        assert told.dtype == wanted.dtype
        np.testing.assert_allclose(told, wanted, rtol=1e-6, atol=1e-6)


def test_operators_without_a_conversion_are_all_named():
    def function(**given):
        x = given["the rows"]
        return {"y": tf.math.igamma(tf.abs(x), tf.abs(x)) + tf.math.zeta(x, x)}

    with pytest.raises(ConversionFailed, match=r"no conversion for Igamma \(1\), Zeta \(1\)"):
        onnx_of(function, [SPEC], opset=18, where="here")


@pytest.mark.parametrize("order", ["forwards", "backwards"])
def test_what_a_loop_writes_elsewhere_than_next_is_refused(order):
    def function(**given):
        x = tf.transpose(given["the rows"], [1, 0, 2])
        steps = tf.shape(x)[0]
        kept = tf.raw_ops.TensorListReserve(
            element_shape=tf.constant([-1, 4]), num_elements=steps, element_dtype=tf.float32
        )

        def body(count, kept, total):
            total = total + x[count]
            at = steps - 1 - count if order == "backwards" else count
            return count + 1, tf.raw_ops.TensorListSetItem(input_handle=kept, index=at, item=total), total

        _, kept, _ = tf.while_loop(lambda count, *_: count < steps, body, (tf.constant(0), kept, tf.zeros_like(x[0])))
        return {
            "y": tf.raw_ops.TensorListStack(
                input_handle=kept, element_shape=tf.constant([-1, 4]), element_dtype=tf.float32
            )
        }

    if order == "backwards":
        with pytest.raises(ConversionFailed, match=r"converts wrongly: TensorListSetItem \(.*what comes next"):
            onnx_of(function, [SPEC], opset=18, where="here")
        return
    model = onnx_of(function, [SPEC], opset=18, where="here")
    rows = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
    (told,) = onnxruntime.InferenceSession(model.SerializeToString()).run(["y"], {"the rows": rows})
    np.testing.assert_allclose(told, np.cumsum(rows, axis=1).transpose(1, 0, 2), rtol=1e-5, atol=1e-6)


def test_convolutions_that_are_left_to_xla():
    weight = tf.constant(np.random.default_rng(1).normal(size=(1, 2, 6)).astype(np.float32))
    inner = tf.function(lambda x: tf.nn.conv1d(x, weight, 1, "SAME"), jit_compile=True)
    model = onnx_of(lambda **given: {"y": tf.exp(-inner(given["the rows"]) * 2)}, [SPEC], opset=18, where="here")
    rows = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
    (told,) = onnxruntime.InferenceSession(model.SerializeToString()).run(["y"], {"the rows": rows})
    np.testing.assert_allclose(told, np.exp(-2 * tf.nn.conv1d(rows, weight, 1, "SAME")), rtol=1e-5, atol=1e-6)


def test_an_opset_that_it_does_not_write():
    with pytest.raises(UsageError, match="opset 99"):
        onnx_of(lambda **given: given, [SPEC], opset=99, where="here")


def test_a_keras_whose_safe_mode_does_not_hold_is_refused(monkeypatch):
    monkeypatch.setattr(tensorflow_runtime, "version", lambda package: "3.13.2")
    with pytest.raises(MissingPackage, match=r"keras 3\.13\.2"):
        tensorflow_runtime.import_keras()
