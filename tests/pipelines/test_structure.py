"""Pipelines, unions and column transformers over arrays and data frames, selections, and what skl2onnx writes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import Birch, BisectingKMeans
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import (
    RFE,
    RFECV,
    SelectFdr,
    SelectFromModel,
    SelectKBest,
    SelectPercentile,
    SequentialFeatureSelector,
    VarianceThreshold,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    PolynomialFeatures,
    StandardScaler,
)

from mlconvert.errors import ConversionFailed

from .conftest import BINARY, CLASSES, X, called, columns, fitted, nasty, written

MODEL = LogisticRegression(max_iter=300)
ROWS = nasty(X)


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(StandardScaler(), PCA(3), MODEL),
        Pipeline([("none", "passthrough"), ("scale", StandardScaler()), ("nothing", None), ("model", MODEL)]),
        make_pipeline(make_pipeline(StandardScaler(), MinMaxScaler()), MODEL),
        make_pipeline(PolynomialFeatures(2), StandardScaler(), MODEL),
        make_pipeline(make_union(StandardScaler(), PCA(2), "passthrough"), MODEL),
        make_pipeline(FeatureUnion([("a", StandardScaler()), ("b", "drop")], transformer_weights={"a": 0.5}), MODEL),
        make_pipeline(ColumnTransformer([("a", StandardScaler(), [0, 2])], remainder="passthrough"), MODEL),
        make_pipeline(ColumnTransformer([("a", StandardScaler(), slice(1, 3)), ("b", "drop", [0])]), MODEL),
        make_pipeline(ColumnTransformer([("a", "passthrough", [-1]), ("b", PCA(1), [2, 0, 1])]), MODEL),
        make_pipeline(
            ColumnTransformer(
                [("a", StandardScaler(), [4, 0])], remainder=MinMaxScaler(), transformer_weights={"a": 3}
            ),
            MODEL,
        ),
        make_pipeline(ColumnTransformer([("a", StandardScaler(), lambda rows: [1, 3])]), MODEL),
        make_pipeline(FunctionTransformer(), MODEL),
    ],
    ids=called,
)
def test_steps_over_arrays(assert_exact, model):
    assert_exact(fitted(model, X, CLASSES), ROWS)


def test_a_pipeline_may_end_in_a_transformation(assert_exact):
    assert_exact(fitted(make_pipeline(StandardScaler(), PCA(2), "passthrough"), X), ROWS)


@pytest.mark.parametrize(
    "part",
    [
        SelectKBest(k=2),
        SelectPercentile(percentile=40),
        SelectFdr(),
        SelectFromModel(RandomForestClassifier(5, random_state=0)),
        VarianceThreshold(0.5),
        RFE(LogisticRegression(), n_features_to_select=2),
        RFECV(LogisticRegression(), cv=2),
        SequentialFeatureSelector(LogisticRegression(), n_features_to_select=2, cv=2),
    ],
    ids=called,
)
def test_selections(assert_exact, part):
    assert_exact(fitted(make_pipeline(part, LogisticRegression()), X, BINARY), ROWS)
    assert_exact(fitted(part, X, BINARY), ROWS)  # RFE and RFECV answer as their estimator


FRAME = pd.DataFrame(
    {
        "age": np.arange(160) % 71 + 18,
        "income": X[:, 0],
        "home city": np.array(["Rome", "Oslo", "Łódź"])[CLASSES],
        "member": BINARY.astype(bool),
        "small": X[:, 1].astype(np.float32),
    }
)


@pytest.mark.parametrize("remainder", ["drop", "passthrough"])
@pytest.mark.parametrize("output", ["default", "pandas"])
def test_columns_of_a_data_frame(assert_exact, remainder, output):
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    names = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    parts = [
        ("numbers", numbers, make_column_selector(dtype_include="number")),
        ("names", names, ["home city"]),
    ]
    model = make_pipeline(ColumnTransformer(parts, remainder=remainder), MODEL).set_output(transform=output)
    made = assert_exact(fitted(model, FRAME, BINARY), columns(FRAME))
    assert [value.name for value in made.model.graph.input] == list(FRAME)
    kinds = [value.type.tensor_type.elem_type for value in made.model.graph.input]
    assert kinds == [7, 11, 8, 9, 11]  # int64, double, string, bool; the reference computes in double, too


def test_text_among_the_results_of_a_step(assert_exact):
    """What a first ColumnTransformer lets through keeps its type for the next: an array of objects in scikit-learn."""
    fill = ColumnTransformer(
        [("city", SimpleImputer(strategy="most_frequent"), ["home city"]), ("age", SimpleImputer(), ["age", "income"])]
    )
    encode = ColumnTransformer([("city", OneHotEncoder(), [0]), ("rest", StandardScaler(), [1, 2])])
    assert_exact(fitted(make_pipeline(fill, encode, MODEL), FRAME, BINARY), columns(FRAME))


def test_text_and_numbers_as_a_result_are_refused(assert_exact):
    model = ColumnTransformer([("both", "passthrough", ["home city", "age"])])
    with pytest.raises(ConversionFailed, match="text and numbers side by side"):
        assert_exact(fitted(model, FRAME), columns(FRAME))


def test_text_as_a_result(assert_exact):
    model = ColumnTransformer([("city", "passthrough", ["home city"])])
    assert_exact(fitted(model, FRAME), columns(FRAME))


def test_a_column_named_as_an_output_is_refused(assert_exact):
    frame = FRAME.rename(columns={"age": "label"})[["label", "income"]]
    with pytest.raises(ConversionFailed, match="'label'"):
        assert_exact(fitted(MODEL, frame, BINARY), columns(frame))


@pytest.mark.parametrize("name", ["input", "inner/constant1", "x y", "probabilitiesé"])
def test_a_column_may_have_any_other_name(assert_exact, name):
    frame = FRAME.rename(columns={"age": name})[[name, "income"]]
    assert_exact(fitted(MODEL, frame, BINARY), columns(frame))


class Doubling(StandardScaler):
    """A class of the user's own, which may do anything."""

    def transform(self, X, copy=None):  # noqa: N803
        return super().transform(X) * 2


@pytest.mark.parametrize(
    ("step", "named"),
    [
        (Doubling(), "Doubling: there is no converter for .*Doubling"),
        (FunctionTransformer(np.sinc), "FunctionTransformer: its function sinc has no ONNX form"),
        (FunctionTransformer(np.clip, kw_args={"a_min": 0, "a_max": 1}), "its function clip with arguments"),
        (FunctionTransformer(lambda rows: rows + 1), "FunctionTransformer: its function a lambda"),
    ],
)
def test_steps_that_are_refused_are_named_with_their_place(assert_exact, step, named):
    nested = ColumnTransformer([("odd", step, [0, 1])], remainder=MaxAbsScaler())
    model = Pipeline([("columns", nested), ("model", MODEL)])
    with pytest.raises(ConversionFailed, match=named) as caught:
        assert_exact(fitted(model, X, BINARY), X)
    assert caught.value.message.startswith("Pipeline > columns > ColumnTransformer > odd > ")
    assert caught.value.where == "model.skops"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (Birch(), "Birch: there is no converter for sklearn.cluster"),
        (BisectingKMeans(2, random_state=0), "BisectingKMeans: there is no converter for sklearn.cluster"),
    ],
)
def test_classes_without_a_converter_are_named(assert_exact, model, named):
    with pytest.raises(ConversionFailed, match=named):
        assert_exact(fitted(model, X), X)


def test_a_part_given_another_number_of_features_is_named(assert_exact):
    model = fitted(make_pipeline(StandardScaler(), MODEL), X, BINARY)
    model[1].n_features_in_ = 7
    with pytest.raises(ConversionFailed, match="LogisticRegression takes 7 features, and is given 5"):
        written(model, {"input": X}, {})
