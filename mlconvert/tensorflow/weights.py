"""What is constant in a model: arrays on demand, and the tf.Variables and constants that stand for them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

CONSTANT = 1024
"""Arrays of up to this many bytes are constants of the graph, where TensorFlow's shape inference and its optimiser see
them; larger ones are variables, so that saved_model.pb stays small."""

STANDARD = ("bool", "float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16")
"""Types of variables; the others have no kernels to be read from one, and strings no fixed size."""


def as_tensorflow(array: np.ndarray) -> np.ndarray:
    """The array as tf.constant takes it: strings as UTF-8 bytes."""
    if array.dtype.kind in "UO":
        flat = [item if isinstance(item, bytes) else str(item).encode() for item in array.reshape(-1)]
        return np.array(flat, dtype=object).reshape(array.shape)
    return array


class Weights:
    """The variables of a model, by key; `holder` is the tf.Module that SavedModel saves them with."""

    def __init__(self, holder: tf.Module) -> None:
        self._holder = holder
        self._holder.weights = []
        self._made: dict[tuple[str, ...], Any] = {}

    def tensor(self, key: tuple[str, ...], array: Callable[[], np.ndarray] | np.ndarray) -> Any:
        """The array as a tensor of the graph that is being traced; a key is one variable, however often it is asked."""
        if key not in self._made:
            array = as_tensorflow(array if isinstance(array, np.ndarray) else array())
            large = array.nbytes > CONSTANT and array.dtype in STANDARD
            self._made[key] = self._variable(key, array) if large else array
        made = self._made[key]
        return made.read_value() if isinstance(made, tf.Variable) else tf.constant(made)

    def made(self, key: tuple[str, ...]) -> bool:
        return key in self._made

    def _variable(self, key: tuple[str, ...], array: np.ndarray) -> tf.Variable:
        name = re.sub(r"[^A-Za-z0-9_.\-/]", "_", "/".join(key)).lstrip("_./-") or "weight"
        with tf.init_scope():
            # Of a tensor: TensorFlow copies an array once more, slowly.
            variable = tf.Variable(tf.constant(array), trainable=False, name=name)
        self._holder.weights.append(variable)
        return variable


Arrays = Mapping[str, Callable[[], np.ndarray]]
"""Constants of a graph, by name, each read when it is asked for."""
