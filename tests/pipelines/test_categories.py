"""Encoders and imputers of data frames: known, rare, dropped, unknown and missing categories, of text and numbers."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, MissingIndicator, SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder

from mlconvert.errors import ConversionFailed, UsageError

from .conftest import X, called, columns, fitted, gaps, nasty

RNG = np.random.default_rng(4)
COUNT = 160
FRAME = pd.DataFrame(
    {
        "age": RNG.integers(18, 90, COUNT),
        "income": RNG.normal(5, 2, COUNT),
        "city": RNG.choice(["Rome", "Oslo", "Łódź", "", "new york"], COUNT, p=[0.4, 0.3, 0.2, 0.05, 0.05]),
        "member": RNG.integers(0, 2, COUNT).astype(bool),
        "code": RNG.choice([1.5, 2.5, np.nan, 7.0], COUNT),
        "size": RNG.choice(["s", "m", "l"], COUNT),
    }
)
BOUGHT = ((FRAME["age"] > 50) & (FRAME["city"] == "Rome")).astype(int)
STRANGE = FRAME.assign(
    city=FRAME["city"].where(FRAME.index > 20, "Paris"),
    age=FRAME["age"].where(FRAME.index > 40, 5),
    code=FRAME["code"].where(FRAME.index % 5 > 0, 2.4999999999999996),
    size=FRAME["size"].where(FRAME.index % 7 > 0, "xxl"),
)
CATEGORIES = ["age", "city", "member", "code", "size"]


@pytest.mark.parametrize("names", [["city"], ["city", "size"], ["age", "code"], CATEGORIES], ids=",".join)
@pytest.mark.parametrize(
    "part",
    [
        OneHotEncoder(handle_unknown="ignore"),
        OneHotEncoder(handle_unknown="ignore", min_frequency=30),
        OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=30),
        OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=2),
        OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=30, drop="first"),
        OneHotEncoder(handle_unknown="warn", min_frequency=0.2),
        OneHotEncoder(handle_unknown="ignore", drop="first"),
        OneHotEncoder(handle_unknown="ignore", drop="if_binary", sparse_output=False),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-7),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, min_frequency=30),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, max_categories=2),
    ],
    ids=called,
)
def test_encoders(assert_exact, part, names):
    assert_exact(fitted(part, FRAME[names]), columns(STRANGE[names]))


@pytest.mark.parametrize("target", [BOUGHT, FRAME["age"] // 30, FRAME["income"]], ids=["binary", "classes", "values"])
def test_targets(assert_exact, target):
    names = ["city", "size", "code"]
    assert_exact(fitted(TargetEncoder(cv=2), FRAME[names], target), columns(STRANGE[names]))


def test_lists_of_categories(assert_exact):
    sizes = OrdinalEncoder(categories=[["s", "m", "l"]])
    assert_exact(fitted(sizes, FRAME[["size"]]), columns(FRAME[["size"]]))
    dropped = OneHotEncoder(drop=["Rome", "m"], handle_unknown="ignore", dtype=int)
    made = assert_exact(fitted(dropped, FRAME[["city", "size"]]), columns(STRANGE[["city", "size"]]))
    assert made.model.graph.output[0].type.tensor_type.elem_type == 7  # TensorProto.INT64


def test_large_integers_are_told_apart(assert_exact):
    """As float64, 2**53 and 2**53 + 1 are the same."""
    frame = pd.DataFrame({"id": np.tile([2**53, 2**53 + 1, 2**53 + 2], 10)})
    part = fitted(OneHotEncoder(handle_unknown="ignore"), frame)
    assert_exact(part, columns(pd.DataFrame({"id": 2**53 + np.arange(-1, 4)})))


def test_a_matrix_of_numbers(assert_exact):
    rows = np.where(np.isnan(gaps(X)), np.nan, np.round(X))
    part = fitted(OneHotEncoder(handle_unknown="ignore"), rows)
    assert_exact(part, np.concatenate([rows, np.nextafter(rows, np.inf), rows + 0.5]))
    assert_exact(part, np.concatenate([rows, rows + 0.5]), floats="float32")


@pytest.mark.parametrize("part", [OneHotEncoder(), OrdinalEncoder()], ids=called)
@pytest.mark.parametrize("name", ["city", "age", "code"])
def test_an_unknown_category_is_an_error_where_it_is_one_in_the_library(assert_exact, part, name):
    made = assert_exact(fitted(part, FRAME[[name]]), columns(FRAME[[name]]))
    session = onnxruntime.InferenceSession(made.model.SerializeToString(), providers=["CPUExecutionProvider"])
    unknown = columns(STRANGE[[name]])[name]
    with pytest.raises(ValueError, match="unknown categories"):
        part.transform(STRANGE[[name]])
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument, match="out of data bounds"):
        session.run(None, {name: unknown.astype(object) if unknown.dtype.kind == "U" else unknown})


def test_text_and_numbers_in_one_column_are_refused(assert_exact):
    part = fitted(OneHotEncoder(handle_unknown="ignore"), FRAME[["size"]])
    part.categories_ = [np.array(["s", "m", 1], dtype=object)]  # scikit-learn fits no such encoder
    with pytest.raises(ConversionFailed, match="OneHotEncoder: its categories are texts and numbers"):
        assert_exact(part, columns(FRAME[["size"]]))


@pytest.mark.parametrize(
    ("part", "name", "given", "said"),
    [
        (OneHotEncoder(), "city", "age", "the column 'city' holds numbers"),
        (OneHotEncoder(), "age", "city", "the column 'age' holds text"),
        (StandardScaler(), "age", "city", "the column 'age' holds text"),
        (SimpleImputer(strategy="most_frequent"), "city", "age", "the column 'city' holds numbers"),
        (SimpleImputer(), "age", "city", "the column 'age' holds text"),
    ],
)
def test_a_column_of_another_type(assert_exact, part, name, given, said):
    model = make_pipeline(ColumnTransformer([("one", part, [name])]))
    fitted(model, FRAME[[name, "income"]])
    samples = columns(FRAME[[name, "income"]]) | {name: columns(FRAME)[given]}
    with pytest.raises(UsageError, match=said) as caught:
        assert_exact(model, samples)
    assert f"ColumnTransformer > one > {type(part).__name__}" in caught.value.message


# --- imputers ---


@pytest.mark.parametrize("indicator", [False, True])
@pytest.mark.parametrize(
    "part",
    [
        SimpleImputer(),
        SimpleImputer(strategy="median"),
        SimpleImputer(strategy="most_frequent"),
        SimpleImputer(strategy="constant", fill_value=-7.25),
        SimpleImputer(keep_empty_features=True),
        IterativeImputer(max_iter=3, random_state=0),
        IterativeImputer(max_iter=2, random_state=0, min_value=-1, max_value=1, initial_strategy="median"),
        IterativeImputer(max_iter=2, random_state=0, n_nearest_features=2, keep_empty_features=True),
    ],
    ids=called,
)
@pytest.mark.parametrize("empty", [False, True])
def test_imputers(assert_exact, part, indicator, empty):
    train, rows = gaps(X), gaps(nasty(X))
    if empty:
        train = np.where(np.arange(5) == 1, np.nan, train)
    part.set_params(add_indicator=indicator)
    assert_exact(fitted(part, train), rows[~np.isnan(rows).all(axis=1)], 1e-10)


def test_another_mark_of_what_is_missing(assert_exact):
    rows = np.where(np.isnan(gaps(X)), -9, X)
    assert_exact(fitted(SimpleImputer(missing_values=-9, add_indicator=True), rows), np.concatenate([rows, X]))


def test_imputers_of_text(assert_exact):
    names = ["city", "size"]
    assert_exact(fitted(SimpleImputer(strategy="most_frequent"), FRAME[names]), columns(STRANGE[names]))
    part = SimpleImputer(strategy="constant", fill_value="none", missing_values="")
    assert_exact(fitted(part, FRAME[names]), columns(STRANGE[names]))


def test_indicators(assert_exact):
    assert_exact(fitted(MissingIndicator(error_on_new=False), np.c_[gaps(X[:, :2]), X[:, 2:]]), gaps(nasty(X)))
    assert_exact(fitted(MissingIndicator(features="all"), gaps(X)), gaps(nasty(X)))


@pytest.mark.parametrize(
    ("part", "named"),
    [
        (KNNImputer(), "KNNImputer: which of several donors"),
        (IterativeImputer(max_iter=1, sample_posterior=True), "IterativeImputer: with sample_posterior"),
    ],
)
def test_imputers_that_are_refused(assert_exact, part, named):
    with pytest.raises(ConversionFailed, match=named) as caught:
        assert_exact(fitted(part, gaps(X)), X)
    assert caught.value.hint
