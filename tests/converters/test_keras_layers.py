"""Keras' layers as ONNX: each one's answers, compared with Keras' own; those that are converted wrongly are refused.

Layers of one input stand side by side in one model, as a conversion's own cost is far above a layer's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlconvert.artifact import Artifact
from mlconvert.converters import keras_to_onnx
from mlconvert.errors import ConversionFailed
from mlconvert.readers.tensorflow_runtime import import_keras
from mlconvert.runners import keras as keras_runner
from mlconvert.runners import onnx as onnx_runner

keras = import_keras()
layers = keras.layers

# Keras' own saving with this numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")

Shape = tuple[int | None, ...]
Layers = Mapping[str, Callable[[Any], Any]]

ROW: Layers = {
    "dense": layers.Dense(3, activation="tanh"),
    "identity": layers.Identity(),
    "normalization": layers.Normalization(mean=[1.0, 2, 3, 4], variance=[1.0, 2, 3, 4]),
    "discretization": layers.Discretization([-1.0, 0.0, 0.5]),
    "discretization_one_hot": layers.Discretization([-1.0, 0.0, 0.5], output_mode="multi_hot"),
    "rescaling": layers.Rescaling(2.0, 1.0),
    "noise": layers.GaussianNoise(0.1),
    "dropout": layers.Dropout(0.5),
    "alpha_dropout": layers.AlphaDropout(0.5),
    "regularization": layers.ActivityRegularization(0.1),
    "reshape": layers.Reshape((2, -1)),
    "repeat": layers.RepeatVector(3),
    "relu": layers.ReLU(max_value=1.0, negative_slope=0.1, threshold=0.2),
    "leaky_relu": layers.LeakyReLU(0.2),
    "prelu": layers.PReLU(alpha_initializer="random_normal"),
    "elu": layers.ELU(0.5),
    "spectral": layers.SpectralNormalization(layers.Dense(3)),
    "half": layers.Dense(3, dtype="mixed_float16"),
    **{
        f"act_{name}": layers.Activation(name)
        for name in (
            "celu", "elu", "exponential", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh",
            "leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu",
            "soft_shrink", "softmax", "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "sparsemax",
            "squareplus", "tanh", "tanh_shrink",
        )
    },
}  # fmt: skip

STEPS: Layers = {
    "einsum": layers.EinsumDense("abc,cd->abd", output_shape=(None, 5), bias_axes="d"),
    "masked": lambda x: layers.LSTM(3)(layers.Masking(0.0)(x)),
    "lstm": layers.LSTM(3, return_sequences=True),
    "lstm_backwards": layers.LSTM(3, go_backwards=True),
    "gru": layers.GRU(3),
    "gru_reset_before": layers.GRU(3, reset_after=False, return_sequences=True),
    "simple_rnn": layers.SimpleRNN(3),
    "bidirectional": layers.Bidirectional(layers.LSTM(3), merge_mode="sum"),
    "layer_norm": layers.LayerNormalization(),
    "rms_norm": layers.RMSNormalization(),
    "unit_norm": layers.UnitNormalization(),
    "softmax": layers.Softmax(axis=1),
    "average": layers.GlobalAveragePooling1D(),
    "self_attention": lambda x: layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True),
    "grouped_attention": lambda x: layers.GroupQueryAttention(3, 4, 2)(x, x),
    "attention": lambda x: layers.Attention()([x, x]),
    "additive_attention": lambda x: layers.AdditiveAttention()([x, x]),
    "dot": lambda x: layers.Dot(axes=(2, 2), normalize=True)([x, x]),
    **{
        name.lower(): lambda x, name=name: getattr(layers, name)()([x, x * 2, x + 1])
        for name in ("Add", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")
    },
    "subtract": lambda x: layers.Subtract()([x, x * 2]),
}

LINE: Layers = {
    "conv": layers.Conv1D(4, 3, padding="causal", dilation_rate=2),
    "conv_same": layers.Conv1D(4, 3, padding="same", strides=2),
    "separable": layers.SeparableConv1D(4, 3),
    "depthwise": layers.DepthwiseConv1D(3, depth_multiplier=2),
    "transposed": layers.Conv1DTranspose(4, 3, strides=2),
    "max": layers.MaxPooling1D(3, padding="same"),
    "mean": layers.AveragePooling1D(3, 2, padding="same"),
    "global_max": layers.GlobalMaxPooling1D(),
    "cropped": layers.Cropping1D((1, 2)),
    "up": layers.UpSampling1D(2),
    "padded": layers.ZeroPadding1D(2),
    "distributed": layers.TimeDistributed(layers.Dense(3)),
}

IMAGE: Layers = {
    "conv": layers.Conv2D(4, 3, 2, "same"),
    "dilated": layers.Conv2D(4, 3, dilation_rate=2),
    "grouped": layers.Conv2D(4, 3, groups=2),
    "separable": layers.SeparableConv2D(4, 3, strides=2),
    "depthwise": layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2),
    "depthwise_dilated": layers.DepthwiseConv2D(3, dilation_rate=2),
    "transposed": layers.Conv2DTranspose(3, 3, strides=2, padding="same"),
    "max": layers.MaxPooling2D(2, padding="same"),
    "mean": layers.AveragePooling2D(2, padding="same"),
    "global_max": layers.GlobalMaxPooling2D(keepdims=True),
    "global_mean": layers.GlobalAveragePooling2D(),
    "batch_norm": layers.BatchNormalization(),
    "layer_norm": layers.LayerNormalization(axis=(1, 2)),
    "group_norm": layers.GroupNormalization(2),
    "resized": layers.Resizing(5, 7),
    "resized_nearest": layers.Resizing(15, 17, interpolation="nearest"),
    "resized_aspect": layers.Resizing(5, 7, crop_to_aspect_ratio=True),
    "centre": layers.CenterCrop(5, 5),
    "flip": layers.RandomFlip(),
    "spatial_dropout": layers.SpatialDropout2D(0.5),
    "flat": layers.Flatten(),
    "permuted": layers.Permute((3, 1, 2)),
    "cropped": layers.Cropping2D(((1, 2), (0, 1))),
    "up": layers.UpSampling2D(2),
    "up_bilinear": layers.UpSampling2D(2, interpolation="bilinear"),
    "up_bicubic": layers.UpSampling2D(2, interpolation="bicubic"),
    "padded": layers.ZeroPadding2D(((1, 2), (3, 0))),
    "prelu": layers.PReLU(shared_axes=[1, 2], alpha_initializer="random_normal"),
}

SPACE: Layers = {
    "conv": layers.Conv3D(4, 3, strides=2, padding="same"),
    "transposed": layers.Conv3DTranspose(3, 3, strides=2),
    "max": layers.MaxPooling3D(2),
    "mean": layers.AveragePooling3D(2),
    "global_max": layers.GlobalMaxPooling3D(),
    "global_mean": layers.GlobalAveragePooling3D(),
    "cropped": layers.Cropping3D(1),
    "up": layers.UpSampling3D(2),
    "padded": layers.ZeroPadding3D(1),
    "lstm": layers.ConvLSTM2D(3, 3),
}

NUMBERS: Layers = {
    "embedding": layers.Embedding(9, 4),
    "masked_lstm": lambda x: layers.LSTM(3)(layers.Embedding(9, 4, mask_zero=True)(x)),
    "multi_hot": layers.CategoryEncoding(9, output_mode="multi_hot"),
    "count": layers.CategoryEncoding(9, output_mode="count"),
    "lookup": layers.IntegerLookup(vocabulary=[1, 2, 5]),
    "words": layers.StringLookup(vocabulary=["a", "b", "c", "d", "e", "f"], invert=True),
}

WORDS: Layers = {"lookup": layers.StringLookup(vocabulary=["a", "föhn"])}

GROUPS: Mapping[str, tuple[Shape, str, Layers]] = {
    "row": ((4,), "float32", ROW),
    "steps": ((None, 4), "float32", STEPS),
    "line": ((12, 3), "float32", LINE),
    "image": ((9, 9, 4), "float32", IMAGE),
    "space": ((6, 6, 6, 2), "float32", SPACE),
    "numbers": ((3,), "int64", NUMBERS),
    "words": ((3,), "string", WORDS),
}


def artifact(path: Path) -> Artifact:
    return Artifact("keras", str(path), (path,))


def drawn(shape: Shape, dtype: str, rows: int) -> np.ndarray:
    random = np.random.default_rng(rows)
    lengths = (rows, *(rows + 3 if length is None else length for length in shape))
    if dtype == "string":
        return random.choice(["a", "föhn", "hail"], lengths)
    if dtype == "int64":
        return random.integers(0, 7, lengths)
    return random.normal(size=lengths).astype(dtype)


@pytest.mark.parametrize("group", GROUPS)
def test_layers_answer_as_in_keras(group, tmp_path):
    shape, dtype, parts = GROUPS[group]
    keras.utils.set_random_seed(1)
    x = keras.Input(shape, dtype=dtype, name="x")
    path = tmp_path / "m.keras"
    keras.Model(x, {name: part(x) for name, part in parts.items()}).save(path)
    session = onnx_runner.load(keras_to_onnx.convert(artifact(path), tmp_path / "m.onnx"))
    reference = keras_runner.load(artifact(path))
    for rows in (2, 5):
        inputs = {"x": drawn(shape, dtype, rows)}
        wanted, told = reference.run(inputs), session.run(inputs)
        assert set(told) == set(parts)
        for name, answer in wanted.items():
            assert (told[name].shape, told[name].dtype.kind) == (answer.shape, answer.dtype.kind), name
            if answer.dtype.kind == "f":
                loss = 2e-3 if answer.dtype == np.float16 else 1e-5
                np.testing.assert_allclose(told[name], answer, rtol=max(loss, 1e-4), atol=loss, err_msg=name)
            else:
                assert np.array_equal(told[name], answer), name


REFUSED = {
    "resized to means over areas": ((8, 8, 3), layers.Resizing(4, 4, interpolation="area"), "ResizeArea: tf2onnx"),
    "hashed numbers": ((3,), layers.Hashing(5), r"no conversion for AsString|StringToHashBucketFast \(1\)"),
    "padding of an output": (
        (5, 5, 2), layers.Conv2DTranspose(3, 3, strides=2, output_padding=1), "ONNX Runtime cannot load the model",
    ),
    "rows and steps mixed up": ((None, 4), layers.TimeDistributed(layers.Dense(3), name="mine"), "length: mine"),
    "unknown lengths in a graph": (
        (None, None, 3), layers.UpSampling2D(2, interpolation="bilinear"), "TensorFlow cannot make a graph",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name, tmp_path):
    shape, layer, words = REFUSED[name]
    path = tmp_path / "m.keras"
    dtype = "int64" if isinstance(layer, layers.Hashing) else "float32"
    keras.Sequential([keras.Input(shape, dtype=dtype), layer]).save(path)
    with pytest.raises(ConversionFailed, match=words):
        keras_to_onnx.convert(artifact(path), tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()
