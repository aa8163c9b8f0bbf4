"""Fourier transforms: DFT and STFT. A complex number is an axis of length 2 at the end, a real one of length 1."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from mlconvert.tensorflow import dimensions, kernels
from mlconvert.tensorflow.operators import Operator

# A transform of floats sums terms that cancel, 1e-6 is left where there should be 0; the inverse is a mean.
_COMPUTED = frozenset({tf.float64})


def dft_17(
    x: tf.Tensor,
    dft_length: tf.Tensor | None = None,
    *,
    axis: int = 1,
    inverse: int = 0,
    onesided: int = 0,
) -> tf.Tensor:
    return _dft(x, dft_length, axis, inverse, onesided)


def dft_20(
    x: tf.Tensor,
    dft_length: tf.Tensor | None = None,
    axis: tf.Tensor | None = None,
    *,
    inverse: int = 0,
    onesided: int = 0,
) -> tf.Tensor:
    known = -2 if axis is None else kernels.known(axis)
    if known is None:
        return _along_computed_axis(x, dft_length, axis, inverse, onesided)
    return _dft(x, dft_length, int(known), inverse, onesided)


def _along_computed_axis(
    x: tf.Tensor, dft_length: tf.Tensor | None, axis: Any, inverse: int, onesided: int
) -> tf.Tensor:
    """The signal's axis is brought to the end at run time."""
    rank = x.shape.rank
    place = kernels.scalar(axis, tf.int32) % rank
    order = tf.range(rank - 1)
    others = tf.boolean_mask(order, order != place)
    forth = tf.ensure_shape(tf.concat([others, [place, rank - 1]], 0), [rank])
    x = tf.ensure_shape(tf.transpose(x, forth), [*[None] * (rank - 1), x.shape[-1]])
    back = tf.argsort(forth)
    return tf.transpose(_dft(x, dft_length, rank - 2, inverse, onesided), back)


def _dft(x: tf.Tensor, dft_length: tf.Tensor | None, axis: int, inverse: int, onesided: int) -> tf.Tensor:
    rank = x.shape.rank
    axis = axis % rank
    order = [one for one in range(rank - 1) if one != axis] + [axis]
    back = [*(order.index(one) for one in range(rank - 1)), rank - 1]
    count = None if dft_length is None else kernels.scalar(dft_length, tf.int32)

    def transformed(x: tf.Tensor) -> tf.Tensor:
        x = tf.transpose(x, [*order, rank - 1])
        signal = _complex(x)
        if inverse and onesided:
            length = 2 * (tf.shape(signal)[-1] - 1) if count is None else count
            return tf.transpose(tf.signal.irfft(signal, [length])[..., None], back)
        if count is not None:
            signal = _of_length(signal, count)
        spectrum = tf.signal.ifft(signal) if inverse else tf.signal.fft(signal)
        if onesided:
            spectrum = spectrum[..., : tf.shape(spectrum)[-1] // 2 + 1]
        return tf.transpose(_parts(spectrum), back)

    return kernels.widened(kernels.DOUBLES if inverse else _COMPUTED, transformed, x)


def _complex(x: tf.Tensor) -> tf.Tensor:
    """The last axis as complex numbers; what is not there is no part of a sum."""
    if x.shape[-1] == 2:
        return tf.complex(x[..., 0], x[..., 1])
    return tf.complex(x[..., 0], tf.reduce_sum(x[..., 1:], axis=-1))


def _parts(spectrum: tf.Tensor) -> tf.Tensor:
    return tf.stack([tf.math.real(spectrum), tf.math.imag(spectrum)], axis=-1)


def _of_length(signal: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """The last axis cut, or filled up with zeros."""
    rank = signal.shape.rank
    signal = signal[..., :count]
    known = kernels.known(count)
    pads = tf.concat([tf.zeros([rank - 1, 2], tf.int32), [[0, count - tf.shape(signal)[-1]]]], 0)
    return tf.ensure_shape(tf.pad(signal, pads), [*signal.shape[:-1], None if known is None else int(known)])


def stft(
    signal: tf.Tensor,
    frame_step: tf.Tensor,
    window: tf.Tensor | None = None,
    frame_length: tf.Tensor | None = None,
    *,
    onesided: int = 1,
) -> tf.Tensor:
    """Frames that lie wholly within the signal, each times the window."""
    step = kernels.scalar(frame_step, tf.int64)
    if frame_length is not None:
        length: Any = kernels.scalar(frame_length, tf.int64)
    else:
        length = tf.cast(dimensions.dims(window)[0], tf.int64)
    if signal.shape.rank == 2:
        signal = signal[..., None]

    def transformed(signal: tf.Tensor, window: tf.Tensor | None) -> tf.Tensor:
        total = tf.cast(dimensions.dims(signal)[1], tf.int64)
        starts = tf.range((total - length) // step + 1) * step
        frames = tf.gather(signal, starts[:, None] + tf.range(length), axis=1)
        if window is not None:
            frames *= window[:, None]
        spectrum = tf.signal.fft(_complex(frames))
        return _parts(spectrum[..., : length // 2 + 1] if onesided else spectrum)

    return kernels.widened(_COMPUTED, transformed, signal, window)


OPERATORS: tuple[Operator, ...] = (
    Operator("DFT", 17, dft_17, until=19),
    Operator("DFT", 20, dft_20),
    Operator("STFT", 17, stft),
)
