"""Estimators in jars: their steps, their texts, their answers against scikit-learn's own, in a JVM."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.feature_selection import VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, RidgeClassifier, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import LinearSVC

from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.jars.estimators import jar_model
from mlconvert.jars.stream import open_stream
from mlconvert.jars.verification import answer_columns
from mlconvert.jars.writing import write_jar

RANDOM = np.random.default_rng(4)
COUNT = 240
TABLE = pd.DataFrame({
    "age": RANDOM.normal(size=COUNT), "income": np.exp(RANDOM.normal(size=COUNT)),
    "town": RANDOM.choice(["Ulm", "Ely", "Łódź", "東京", "\U0001f600"], COUNT), "rooms": RANDOM.integers(0, 6, COUNT),
})  # fmt: skip
TABLE.loc[::7, "age"] = np.nan
TWO = ((TABLE["income"] > 1) ^ (TABLE["town"] == "Ulm")).astype(int)
THREE = np.array(["low", "mid", "high"])[np.digitize(TABLE["income"], [0.6, 1.5])]
VALUE = TABLE["income"] * TABLE["rooms"] + 1
NEW = pd.DataFrame({"age": [0.1, np.nan], "income": [1.0, 2.0], "town": ["Oslo", "Ulm"], "rooms": [2, 5]})


def prepared(**changes: Any) -> ColumnTransformer:
    steps: dict[str, Any] = {
        "number": (make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), ["age", "income"]),
        "town": (OneHotEncoder(handle_unknown="ignore", min_frequency=30), ["town"]),
        "rooms": (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["rooms"]),
        **changes,
    }
    return ColumnTransformer([(name, *step) for name, step in steps.items()])


ESTIMATORS = {
    "forest": (make_pipeline(prepared(), RandomForestClassifier(8, random_state=0)), THREE),
    "histograms of texts": (
        HistGradientBoostingClassifier(max_iter=9, categorical_features=["town"], early_stopping=False),
        TWO,
    ),
    "logistic": (make_pipeline(prepared(), LogisticRegression()), TWO),
    "softmax": (make_pipeline(prepared(), MaxAbsScaler(clip=True), LogisticRegression()), THREE),
    "scores": (make_pipeline(prepared(), LinearSVC()), TWO),
    "scores of several": (make_pipeline(prepared(), RidgeClassifier()), THREE),
    "search": (
        GridSearchCV(make_pipeline(prepared(), SGDClassifier(random_state=0)), {"sgdclassifier__alpha": [0.1]}, cv=2),
        TWO,
    ),
    "values": (
        make_pipeline(
            prepared(town=(make_pipeline(SimpleImputer(strategy="most_frequent"), OrdinalEncoder(
                handle_unknown="use_encoded_value", unknown_value=np.nan)), ["town"])),
            ExtraTreesRegressor(5, random_state=0),
        ),
        VALUE,
    ),
    "products": (
        make_pipeline(
            prepared(), PolynomialFeatures(2), FeatureUnion([("some", VarianceThreshold(0.05)), ("drop", "drop")]),
            MinMaxScaler(clip=True), LinearRegression(),
        ),
        VALUE,
    ),
    "counts": (
        make_pipeline(
            prepared(
                town=(TargetEncoder(), ["town"]),
                rooms=(make_pipeline(FunctionTransformer(), Binarizer(threshold=2.0)), ["rooms"]),
                again=(RobustScaler(), ["rooms"]),
                bins=(KBinsDiscretizer(4, strategy="uniform"), ["income"]),
                places=(KBinsDiscretizer(3, encode="ordinal", strategy="uniform"), ["income", "rooms"]),
                rest=("drop", ["age"]),
            ),
            PoissonRegressor(max_iter=500),
        ),
        VALUE,
    ),
}  # fmt: skip


def asked(java, jar, table: pd.DataFrame, texts: set[int]) -> np.ndarray:
    rows = np.full(table.shape, np.nan)
    for index in set(range(table.shape[1])) - texts:
        rows[:, index] = table.iloc[:, index]
    with open_stream(java, jar) as stream:
        return stream.answers(rows, [list(table.iloc[:, index]) for index in sorted(texts)])


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_pipeline_answers_as_in_python(name, java, self_test, tmp_path):
    estimator, target = ESTIMATORS[name]
    table = TABLE.astype({"town": "category"}) if name == "histograms of texts" else TABLE
    estimator = estimator.fit(table, target)
    model = jar_model(estimator, list(TABLE.columns), frozenset({2}), "here")
    made = write_jar(model, tmp_path / "m.jar", style="code" if name in ("forest", "histograms of texts") else "arrays")
    every = pd.concat([TABLE, NEW], ignore_index=True)
    got = asked(java, made.path, every, {2})
    if name == "histograms of texts":
        known = table["town"].cat.categories
        every = every.assign(town=pd.Categorical(every["town"].where(every["town"].isin(known)), known))
    if name in ("values", "products", "counts"):
        wanted = estimator.predict(every).reshape(-1, 1)
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)
        return
    classes = [str(one) for one in estimator.classes_]
    assert [classes[int(place)] for place in got[:, 0]] == [str(one) for one in estimator.predict(every)]
    method = estimator.predict_proba if hasattr(estimator, "predict_proba") else estimator.decision_function
    np.testing.assert_allclose(got[:, 1:], method(every).reshape(len(every), -1), rtol=1e-12, atol=1e-12)
    done = self_test(made.path)
    assert done.returncode == 0, done.stderr


def test_outliers(java, tmp_path):
    columns = TABLE[["income", "rooms"]]
    estimator = IsolationForest(n_estimators=9, contamination=0.1, random_state=0).fit(columns.to_numpy())
    made = write_jar(jar_model(estimator, ["f0", "f1"], frozenset(), "here"), tmp_path / "m.jar")
    got = asked(java, made.path, columns, set())
    assert np.array_equal(got[:, 0], estimator.predict(columns.to_numpy()))
    np.testing.assert_allclose(got[:, 1], estimator.decision_function(columns.to_numpy()), rtol=1e-12, atol=1e-12)


def test_a_category_that_the_encoder_refuses_is_refused_in_java_too(java, tmp_path):
    estimator = make_pipeline(prepared(town=(OneHotEncoder(), ["town"])), LogisticRegression()).fit(TABLE, TWO)
    made = write_jar(jar_model(estimator, list(TABLE.columns), frozenset({2}), "here"), tmp_path / "m.jar")
    with pytest.raises(ConversionFailed, match="a category that the model has not met"):
        asked(java, made.path, NEW, {2})
    assert asked(java, made.path, TABLE, {2}).shape == (COUNT, 3)  # another stream: the first has ended


def test_missing_categories(java, tmp_path):
    table = pd.DataFrame({"a": [0.0, 1.0, np.nan, 1.0, 5.0, 0.0] * 20, "b": [1.0, np.nan, 2.0, 2.0, 1.0, 3.0] * 20})
    target = np.arange(120) % 3
    ordinal = OrdinalEncoder(encoded_missing_value=np.nan, handle_unknown="use_encoded_value", unknown_value=-7)
    encoders = ColumnTransformer([
        ("a", ordinal, ["a"]),
        ("b", OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=3, drop="first"), ["b"]),
    ])  # fmt: skip
    estimator = make_pipeline(encoders, RandomForestClassifier(6, random_state=0)).fit(table, target)
    made = write_jar(jar_model(estimator, ["a", "b"], frozenset(), "here"), tmp_path / "m.jar")
    new = pd.DataFrame({"a": [9.0, np.nan, 0.0, -0.0], "b": [2.0, 1.0, np.nan, 9.0]})
    got = asked(java, made.path, new, set())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn says that a category is new
        wanted = estimator.predict_proba(new)
    np.testing.assert_allclose(got[:, 1:], wanted, rtol=1e-12)


def test_what_has_no_form_in_a_jar_is_named_with_its_place():
    pipeline = Pipeline([("scale", StandardScaler()), ("reduce", PCA(1)), ("model", LogisticRegression())])
    pipeline.fit(TABLE[["income", "rooms"]], TWO)
    with pytest.raises(ConversionFailed, match="Pipeline > reduce > PCA has no form in a jar") as refused:
        jar_model(pipeline, ["income", "rooms"], frozenset(), "here")
    assert "--to onnx" in refused.value.hint
    logs = make_pipeline(FunctionTransformer(np.log1p), LinearRegression()).fit(TABLE[["income"]], VALUE)
    with pytest.raises(ConversionFailed, match="a function of Python's"):
        jar_model(logs, ["income"], frozenset(), "here")
    huber = SGDClassifier(loss="modified_huber").fit(TABLE[["income"]], TWO)
    with pytest.raises(ConversionFailed, match="modified_huber"):
        jar_model(huber, ["income"], frozenset(), "here")


def test_columns_of_another_type_are_wrong_use():
    estimator = make_pipeline(prepared(), LogisticRegression()).fit(TABLE, TWO)
    with pytest.raises(UsageError, match="the column 'town' holds numbers"):
        jar_model(estimator, list(TABLE.columns), frozenset(), "here")
    with pytest.raises(UsageError, match="the column 'age' holds text"):
        jar_model(estimator, list(TABLE.columns), frozenset({0, 2}), "here")


def test_numpy_makes_the_same_answers_as_the_jar():
    """What the self-test's rows are answered with: of the same steps, in Python."""
    estimator = make_pipeline(prepared(), LogisticRegression()).fit(TABLE, TWO)
    model = jar_model(estimator, list(TABLE.columns), frozenset({2}), "here")
    codes = {text: place for place, text in enumerate(model.texts[2])}
    rows = TABLE.assign(town=[codes.get(town, -1) for town in TABLE["town"]]).to_numpy(np.float64)
    np.testing.assert_allclose(answer_columns(model, rows)[:, 1:], estimator.predict_proba(TABLE), rtol=1e-12)
