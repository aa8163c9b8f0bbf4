"""Features of ai.onnx.ml: scaling, encoding, tables from labels to labels. Maps are no tensors: they have no rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from mlconvert.tensorflow import grappler
from mlconvert.tensorflow.node import Node
from mlconvert.tensorflow.operators import Operator
from mlconvert.tensorflow.trees import key_of, keys_of

ML = "ai.onnx.ml"
_BUCKETS = 1 << 62


def array_feature_extractor(x: Any, indices: Any) -> Any:
    """The columns at these indices of the last axis; of a vector a matrix of one row, as ONNX Runtime has it."""
    found = tf.gather(x, tf.reshape(indices, [-1]), axis=-1)
    return found[None, :] if x.shape.rank == 1 else found


def binarizer(x: Any, *, threshold: float = 0.0) -> Any:
    """Compared by bits: TensorFlow's comparisons take subnormal numbers for zeros."""
    if not x.dtype.is_floating:
        return tf.cast(x > tf.cast(threshold, x.dtype), x.dtype)
    keys, missing = key_of(x)
    return tf.cast((keys > keys_of(np.array(threshold, x.dtype.as_numpy_dtype))) & ~missing, x.dtype)


def scaler(x: Any, *, offset: tuple[float, ...] = (), scale: tuple[float, ...] = ()) -> Any:
    """(x - offset) * scale in float32, which is what the operator gives for every type."""
    made = tf.cast(x, tf.float32)
    made = made - tf.constant(offset, tf.float32) if offset else made
    return made * tf.constant(scale, tf.float32) if scale else made


def normalizer(x: Any, *, norm: str = "MAX", node: Node) -> Any:
    """Each row divided by its largest value (not the largest without its sign), its sum of sizes or its length.

    A row whose divisor is zero stays as it is.
    """
    if x.shape.rank not in (1, 2):
        raise node.refuse(f"gets a tensor of shape {x.shape}: it takes [N, C] and [C]")
    made = x if x.dtype == tf.float64 else tf.cast(x, tf.float32)
    if norm == "MAX":
        whole = tf.reduce_max(grappler.fenced(made), axis=-1, keepdims=True)
    elif norm == "L1":
        whole = tf.reduce_sum(tf.abs(made), axis=-1, keepdims=True)
    elif norm == "L2":
        whole = tf.sqrt(tf.reduce_sum(made * made, axis=-1, keepdims=True))
    else:
        raise node.refuse(f"has norm={norm!r}", "known: MAX, L1 and L2")
    return tf.cast(tf.where(tf.equal(whole, 0), made, made / whole), tf.float32)


def imputer(
    x: Any,
    *,
    imputed_value_floats: tuple[float, ...] = (),
    imputed_value_int64s: tuple[int, ...] = (),
    replaced_value_float: float = 0.0,
    replaced_value_int64: int = 0,
    node: Node,
) -> Any:
    """A value that stands for a missing one, NaN perhaps, replaced by that of its column."""
    is_float = x.dtype.is_floating
    values = imputed_value_floats if is_float else imputed_value_int64s
    if not values:
        raise node.refuse(f"has no values to put into {x.dtype.name}")
    missing = tf.constant(replaced_value_float if is_float else replaced_value_int64, x.dtype)
    hit = tf.equal(_codes(x), _codes(missing))
    return tf.where(hit, tf.constant(values, x.dtype), x)


def feature_vectorizer(*inputs: Any, inputdimensions: tuple[int, ...] = (), node: Node) -> Any:
    """The inputs as float32, side by side."""
    if any(one.shape.rank != 2 for one in inputs):
        raise node.refuse("joins matrices alone")
    for one, width in zip(inputs, inputdimensions, strict=False):
        if one.shape[1] not in (None, width):
            raise node.refuse(f"says an input has {width} columns, and it has {one.shape[1]}")
    return tf.concat([tf.cast(one, tf.float32) for one in inputs], 1)


def one_hot_encoder(
    x: Any, *, cats_int64s: tuple[int, ...] = (), cats_strings: tuple[str, ...] = (), zeros: int = 1, node: Node
) -> Any:
    """One column a category, float32; a value that is none of them has zeros throughout."""
    if not zeros:
        raise node.refuse("stops at an unknown category (zeros=0), which a graph of TensorFlow cannot")
    if x.dtype == tf.string:
        return tf.cast(tf.equal(x[..., None], tf.constant(cats_strings, tf.string)), tf.float32)
    return tf.cast(tf.equal(tf.cast(x, tf.int64)[..., None], tf.constant(cats_int64s, tf.int64)), tf.float32)


# --- tables ---


def category_mapper(
    x: Any,
    *,
    cats_int64s: tuple[int, ...] = (),
    cats_strings: tuple[str, ...] = (),
    default_int64: int = -1,
    default_string: str = "_Unused",
    node: Node,
) -> Any:
    """Strings to numbers or numbers to strings; of a key that is there twice, the last value."""
    if not cats_strings or len(cats_int64s) != len(cats_strings):
        raise node.refuse(f"has {len(cats_strings)} strings and {len(cats_int64s)} numbers")
    strings, numbers = np.array(cats_strings[::-1], object), np.array(cats_int64s[::-1], np.int64)
    if x.dtype == tf.string:
        return _looked_up(x, strings, numbers, np.array(default_int64, np.int64))
    return _looked_up(x, numbers, strings, np.array(default_string, object))


def label_encoder_1(
    x: Any, *, classes_strings: tuple[str, ...] = (), default_int64: int = -1, default_string: str = "_Unused"
) -> Any:
    """Strings to their places, or places to strings."""
    classes, places = np.array(classes_strings, object), np.arange(len(classes_strings))
    if x.dtype == tf.string:
        return _looked_up(x, classes, places, np.array(default_int64, np.int64))
    return _looked_up(x, places, classes, np.array(default_string, object))


def label_encoder(
    x: Any,
    *,
    keys_int64s: tuple[int, ...] = (),
    keys_floats: tuple[float, ...] = (),
    keys_strings: tuple[str, ...] = (),
    keys_tensor: np.ndarray | None = None,
    values_int64s: tuple[int, ...] = (),
    values_floats: tuple[float, ...] = (),
    values_strings: tuple[str, ...] = (),
    values_tensor: np.ndarray | None = None,
    default_int64: int = -1,
    default_float: float = -0.0,
    default_string: str = "_Unused",
    default_tensor: np.ndarray | None = None,
    node: Node,
) -> Any:
    """A table from keys to values, with a default for what is no key. NaN is a key like any other."""
    keys = _table(keys_int64s, keys_floats, keys_strings, keys_tensor)
    values = _table(values_int64s, values_floats, values_strings, values_tensor)
    if keys is None or values is None or keys.shape != values.shape:
        raise node.refuse("has not as many values as keys")
    if default_tensor is not None:
        default = default_tensor.reshape(-1)[0]
    elif values.dtype == object:
        default = default_string
    else:
        default = default_float if values.dtype.kind == "f" else default_int64
    return _looked_up(x, keys, values, np.array(default, values.dtype))


def _table(
    whole: tuple[int, ...], floats: tuple[float, ...], strings: tuple[str, ...], tensor: np.ndarray | None
) -> np.ndarray | None:
    if tensor is not None:
        return tensor.reshape(-1).astype(object) if tensor.dtype.kind in "USO" else tensor.reshape(-1)
    if strings:
        return np.array(strings, object)
    if floats:
        return np.array(floats, np.float32)
    return np.array(whole, np.int64) if whole else None


def _looked_up(x: Any, keys: np.ndarray, values: np.ndarray, default: np.ndarray) -> Any:
    """Search in sorted whole numbers: the keys themselves, the bits of floats, or hashes of strings.

    Of strings, the key that is found is compared, so that a hash decides nothing by itself.
    """
    _, first = np.unique(keys.astype(str) if keys.dtype == object else keys, return_index=True)
    keys, values = keys[first], values[first]
    with tf.init_scope():
        codes = _codes(tf.constant(keys)).numpy()
    order = np.argsort(codes, kind="stable")
    codes, keys, values = codes[order], keys[order], values[order]
    found = tf.searchsorted(tf.constant(codes), tf.reshape(_codes(x), [-1]))
    place = tf.reshape(tf.minimum(found, len(codes) - 1), tf.shape(x))
    place.set_shape(x.shape)
    if x.dtype != tf.string:
        hit = tf.equal(tf.gather(tf.constant(codes), place), _codes(x))
    else:
        # Keys of the same hash stand side by side: as many are compared as ever do.
        most = int(np.unique(codes, return_counts=True)[1].max())
        hit = tf.zeros_like(place, tf.bool)
        start = place
        for step in range(most):
            here = tf.minimum(start + step, len(codes) - 1)
            same = tf.equal(tf.gather(tf.constant(keys), here), x)
            place, hit = tf.where(same, here, place), hit | same
    return tf.where(hit, tf.gather(tf.constant(values), place), tf.constant(default))


def _codes(x: Any) -> Any:
    """An int64 a value; equal values have equal ones: both zeros, and every NaN."""
    if x.dtype == tf.string:
        return tf.strings.to_hash_bucket_fast(x, _BUCKETS)
    if not x.dtype.is_floating:
        return tf.cast(x, tf.int64)
    # Bits are compared, not floats: TensorFlow's comparisons take denormals for zeros.
    wide = x.dtype == tf.float64
    x = x if wide else tf.cast(x, tf.float32)
    bits = tf.cast(tf.bitcast(x, tf.int64 if wide else tf.int32), tf.int64)
    bits = tf.where(tf.equal(bits, np.iinfo(np.int64 if wide else np.int32).min), tf.zeros_like(bits), bits)
    return tf.where(tf.math.is_nan(x), tf.fill(tf.shape(bits), tf.constant(np.iinfo(np.int64).max)), bits)


OPERATORS = (
    Operator("ArrayFeatureExtractor", 1, array_feature_extractor, domain=ML),
    Operator("Binarizer", 1, binarizer, domain=ML),
    Operator("CategoryMapper", 1, category_mapper, domain=ML),
    Operator("FeatureVectorizer", 1, feature_vectorizer, domain=ML),
    Operator("Imputer", 1, imputer, domain=ML),
    Operator("LabelEncoder", 1, label_encoder_1, until=1, domain=ML),
    Operator("LabelEncoder", 2, label_encoder, domain=ML),
    Operator("Normalizer", 1, normalizer, domain=ML),
    Operator("OneHotEncoder", 1, one_hot_encoder, domain=ML, note="not zeros=0, which stops at an unknown category"),
    Operator("Scaler", 1, scaler, domain=ML),
)
