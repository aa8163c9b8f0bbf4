"""Features of ai.onnx.ml against ONNX Runtime, with known lengths and unknown ones."""

from __future__ import annotations

import numpy as np
import pytest

from mlconvert.errors import ConversionFailed

ML = "ai.onnx.ml"
TINY = np.array([[1e-45], [-1e-45], [0.0], [-0.0], [1e-44], [-1e-43]], np.float32)
X = np.array([[1.5, -2.0, np.nan], [0.0, 7.0, -0.0]], np.float32)


def test_scaler(agrees):
    agrees("Scaler", {"x": X[:, :2]}, domain=ML, offset=[0.5, 1.0], scale=[2.0, -3.0])


def test_imputer(agrees):
    agrees("Imputer", {"x": X}, domain=ML, imputed_value_floats=[9.0, 8.0, 7.0], replaced_value_float=float("nan"))
    agrees("Imputer", {"x": np.array([[1, 2], [3, 1]])}, domain=ML, imputed_value_int64s=[5, 6], replaced_value_int64=1)


def test_a_value_beside_the_missing_one_is_kept(agrees):
    agrees("Imputer", {"x": TINY}, domain=ML, imputed_value_floats=[9.0], replaced_value_float=0.0)


def test_binarizer(agrees):
    agrees("Binarizer", {"x": X[:, :2]}, domain=ML, threshold=0.0)
    agrees("Binarizer", {"x": TINY}, domain=ML, threshold=0.0)
    agrees("Binarizer", {"x": TINY}, domain=ML, threshold=-1e-44)


@pytest.mark.parametrize("values", [[4, 2, 9, 4], [0, 2, 3]])
def test_one_hot(agrees, values):
    agrees("OneHotEncoder", {"x": np.array(values)}, domain=ML, cats_int64s=[9, 4, 2])


def test_array_feature_extractor(agrees):
    agrees("ArrayFeatureExtractor", {"x": X[:, :2], "y": np.array([1, 0, 1])}, domain=ML)


def test_labels_of_numbers(agrees):
    agrees(
        "LabelEncoder", {"x": np.array([[3, -5], [2**40, 0]])}, domain=ML,
        keys_int64s=[3, 2**40, -5], values_floats=[0.5, 1.5, 2.5], default_float=-1.0,
    )  # fmt: skip
    agrees(
        "LabelEncoder", {"x": np.array([1.5, np.nan, -0.0, 1e-42], np.float32)}, domain=ML,
        keys_floats=[0.0, 1.5, float("nan")], values_int64s=[10, 11, 12], default_int64=-7,
    )  # fmt: skip


def test_labels_of_strings(agrees):
    words = np.array(["a", "b", "ü", "", "zz"])
    agrees(
        "LabelEncoder", {"x": words}, domain=ML,
        keys_strings=["zz", "ü", "a", ""], values_int64s=[1, 2, 3, 4], default_int64=-7,
    )  # fmt: skip


@pytest.mark.parametrize("norm", ["MAX", "L1", "L2"])
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int32, np.int64])
def test_normalizer(agrees, norm, kind):
    """A row of negative numbers has a negative largest one, and a row of zeros stays what it is."""
    x = np.array([[3, -4, 0], [0, 0, 0], [-2, -1, -7], [9, 0, 0]], kind)
    wanted = {
        "MAX": x / np.array([[3], [1], [-1], [9]]),
        "L1": x / np.array([[7], [1], [10], [9]]),
        "L2": x / np.array([[5], [1], [54**0.5], [9]]),
    }[norm].astype(np.float32)
    agrees("Normalizer", {"x": x}, domain=ML, norm=norm)
    agrees("Normalizer", {"x": x}, domain=ML, norm=norm, wanted=[wanted])
    agrees("Normalizer", {"x": x[0]}, domain=ML, norm=norm)
    agrees("Normalizer", {"x": x[:0]}, domain=ML, norm=norm)


def test_rows_of_double_are_normalized_in_double(agrees):
    wanted = [np.array([[0.6, -0.8]], np.float32)]
    agrees("Normalizer", {"x": np.array([[3e30, -4e30]])}, domain=ML, norm="L2", wanted=wanted)


@pytest.mark.parametrize(
    ("feed", "given"), [(X[None], {"norm": "L1"}), (X, {"norm": "L3"})], ids=["three axes", "unknown norm"]
)
def test_what_a_normalizer_refuses(agrees, feed, given):
    with pytest.raises(ConversionFailed, match="Normalizer"):
        agrees("Normalizer", {"x": feed}, domain=ML, wanted=[], **given)


def test_categories_are_mapped_both_ways(agrees):
    """The last of the values that a key has counts."""
    given = {
        "cats_strings": ["a", "ü", "", "a"], "cats_int64s": [3, -5, 2**40, 3], "default_int64": -7,
        "default_string": "?", "domain": ML,
    }  # fmt: skip
    words = np.array(["a", "b", "ü", "", "u"], object)
    agrees("CategoryMapper", {"x": words}, wanted=[np.array([3, -7, -5, 2**40, -7])], **given)
    numbers = np.array([[3, 2**40], [-5, 0]])
    named = np.array([[b"a", b""], ["ü".encode(), b"?"]], object)
    agrees("CategoryMapper", {"x": numbers}, wanted=[named], **given)
    with pytest.raises(ConversionFailed, match="2 strings and 1 numbers"):
        agrees("CategoryMapper", {"x": numbers}, wanted=[], **given | {"cats_strings": ["a", "b"], "cats_int64s": [1]})


def test_every_operator_that_is_not_of_maps_has_a_row():
    """Of every version that ONNX has."""
    from onnx import defs

    from mlconvert.tensorflow.operators import find

    found = {(one.name, one.since_version) for one in defs.get_all_schemas_with_history() if one.domain == ML}
    assert {name for name, version in found if find(ML, name, version) is None} == {
        "ZipMap",
        "CastMap",
        "DictVectorizer",
    }
