"""Generators, Fourier transforms and losses."""

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper


def ints(*values):
    return np.array(values, np.int64)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.int32, np.int64])
def test_ranges(agrees, dtype):
    for start, limit, delta in ((0, 5, 1), (10, 4, -2), (3, 3, 1), (5, 0, 1), (1, 10, 4)):
        agrees("Range", {"a": np.array(start, dtype), "b": np.array(limit, dtype), "c": np.array(delta, dtype)})


def test_a_long_range_has_no_drift(agrees):
    start, limit, delta = np.float32(0), np.float32(1000), np.float32(0.1)
    feeds = {"a": np.array(start), "b": np.array(limit), "c": np.array(delta)}
    agrees("Range", feeds, wanted=[np.arange(10000, dtype=np.float32) * delta], rtol=1e-6)


@pytest.mark.parametrize("fixed", [True, False])
def test_constant_of_shape(agrees, fixed):
    constants = ("s",) if fixed else ()
    agrees("ConstantOfShape", {"s": ints(2, 0, 3)}, constants=constants)
    agrees("ConstantOfShape", {"s": ints(2, 3)}, constants, value=numpy_helper.from_array(np.array([7], np.int32)))
    agrees("ConstantOfShape", {"s": ints()}, constants, value=numpy_helper.from_array(np.array([True])))


def test_eye_like(agrees):
    agrees("EyeLike", {"x": np.zeros((3, 4), np.int64)}, k=1)
    agrees("EyeLike", {"x": np.zeros((4, 3), np.float32)}, k=-1, dtype=TensorProto.DOUBLE)


@pytest.mark.parametrize("op", ["HannWindow", "HammingWindow", "BlackmanWindow"])
@pytest.mark.parametrize("periodic", [0, 1])
def test_windows(agrees, op, periodic):
    agrees(op, {"n": ints(10)[0:1].reshape(())}, periodic=periodic)


def test_chance_has_the_range_and_moments_that_it_should():
    import tensorflow as tf

    from mlconvert.tensorflow.families import generators

    tf.random.set_seed(0)
    uniform = generators.random_uniform(shape=(20000,), low=2.0, high=4.0, dtype=TensorProto.DOUBLE).numpy()
    assert uniform.dtype == np.float64
    assert uniform.min() >= 2 and uniform.max() < 4 and abs(uniform.mean() - 3) < 0.02  # noqa: PT018
    normal = generators.random_normal_like(tf.zeros([20000], tf.float16), mean=1.0, scale=3.0).numpy()
    assert normal.dtype == np.float16
    assert abs(normal.astype(np.float64).std() - 3) < 0.1
    drawn = generators.bernoulli(tf.fill([20000], 0.25), dtype=TensorProto.INT32).numpy()
    assert drawn.dtype == np.int32
    assert abs(drawn.mean() - 0.25) < 0.02
    classes = generators.multinomial(tf.math.log([[0.7, 0.3]]), sample_size=20000, dtype=TensorProto.INT64).numpy()
    assert classes.shape == (1, 20000)
    assert abs(classes.mean() - 0.3) < 0.02


def parts(spectrum, dtype=np.float32):
    return np.stack([spectrum.real, spectrum.imag], -1).astype(dtype)


@pytest.mark.parametrize("length", [None, 5, 12])
@pytest.mark.parametrize("onesided", [0, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_transforms_of_real_signals(agrees, dtype, onesided, length):
    x = np.random.default_rng(0).standard_normal((2, 8, 3, 1)).astype(dtype)
    spectrum = (np.fft.rfft if onesided else np.fft.fft)(x[..., 0].astype(np.float64), length, axis=1)
    feeds = {"x": x} if length is None else {"x": x, "n": np.array(length, np.int64)}
    feeds = {**feeds, "a": np.array(1, np.int64)}
    inputs = ["x", "n" if length else "", "a"]
    agrees("DFT", feeds, inputs=inputs, onesided=onesided, opset=20, wanted=[parts(spectrum, dtype)])
    agrees(
        "DFT",
        feeds,
        ("n", "a") if length else ("a",),
        inputs=inputs,
        onesided=onesided,
        wanted=[parts(spectrum, dtype)],
    )


def test_the_inverse_of_a_transform(agrees):
    x = np.random.default_rng(0).standard_normal((2, 8, 2)).astype(np.float32)
    signal = x[..., 0] + 1j * x[..., 1]
    agrees("DFT", {"x": x}, axis=1, inverse=1, opset=17, wanted=[parts(np.fft.ifft(signal, axis=1))])


@pytest.mark.parametrize("onesided", [0, 1])
def test_short_time_transforms(agrees, onesided):
    x = np.random.default_rng(0).standard_normal((2, 50, 1)).astype(np.float32)
    window = np.hanning(16).astype(np.float32)
    frames = np.stack([x[:, i : i + 16, 0] * window for i in range(0, 50 - 16 + 1, 5)], 1)
    spectrum = (np.fft.rfft if onesided else np.fft.fft)(frames.astype(np.float64))
    feeds = {"x": x, "s": np.array(5, np.int64), "w": window, "n": np.array(16, np.int64)}
    agrees("STFT", feeds, onesided=onesided, wanted=[parts(spectrum)], opset=17)
    agrees("STFT", feeds, ("s", "w", "n"), onesided=onesided, wanted=[parts(spectrum)], opset=17)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("op", ["NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"])
def test_losses(agrees, op, weighted, reduction):
    rng = np.random.default_rng(0)
    feeds = {"x": rng.standard_normal((3, 5, 2)).astype("f4"), "t": rng.integers(0, 5, (3, 2))}
    if weighted:
        feeds["w"] = rng.random(5).astype("f4")
    agrees(op, feeds, reduction=reduction, opset=13)
    agrees(op, {**feeds, "t": np.array([[0, -1], [-1, 2], [3, 4]])}, reduction=reduction, ignore_index=-1, opset=13)
