"""Features of ai.onnx.ml against ONNX Runtime, with known lengths and unknown ones."""

from __future__ import annotations

import numpy as np
import pytest

ML = "ai.onnx.ml"
X = np.array([[1.5, -2.0, np.nan], [0.0, 7.0, -0.0]], np.float32)


def test_scaler(agrees):
    agrees("Scaler", {"x": X[:, :2]}, domain=ML, offset=[0.5, 1.0], scale=[2.0, -3.0])


def test_imputer(agrees):
    agrees("Imputer", {"x": X}, domain=ML, imputed_value_floats=[9.0, 8.0, 7.0], replaced_value_float=float("nan"))
    agrees("Imputer", {"x": np.array([[1, 2], [3, 1]])}, domain=ML, imputed_value_int64s=[5, 6], replaced_value_int64=1)


def test_binarizer(agrees):
    agrees("Binarizer", {"x": X[:, :2]}, domain=ML, threshold=0.0)


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
