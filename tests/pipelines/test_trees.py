"""Ensembles of trees behind steps and inside other estimators, rows at their thresholds among those compared."""

from __future__ import annotations

import importlib

import numpy as np
import pandas as pd
import pytest
from sklearn import ensemble, tree
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder, StandardScaler

from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.forests.boundary_estimators import estimator_rows
from mlconvert.onnx_model.releases import TreeOperators

from .conftest import BINARY, CLASSES, NAMES, POSITIVE, VALUES, X, called, columns, fitted, gaps, nasty

FLOAT32 = 2e-6  # where the library itself adds up in float32


def lightgbm(kind: str, **options):
    settings = {"n_estimators": 4, "min_child_samples": 5, "verbose": -1, "n_jobs": 1, **options}
    return getattr(importlib.import_module("lightgbm"), f"LGBM{kind}")(**settings)


def xgboost(kind: str, **options):
    settings = {"n_estimators": 4, "max_depth": 3, "n_jobs": 1, **options}
    return getattr(importlib.import_module("xgboost"), f"XGB{kind}")(**settings)


def catboost(kind: str):
    settings = {"iterations": 4, "depth": 3, "verbose": 0, "allow_writing_files": False, "thread_count": 1}
    return getattr(importlib.import_module("catboost"), f"CatBoost{kind}")(**settings)


CLASSIFIERS = {
    "tree": lambda: tree.DecisionTreeClassifier(max_depth=4),
    "forest": lambda: ensemble.RandomForestClassifier(5, random_state=0),
    "extra": lambda: ensemble.ExtraTreesClassifier(5, random_state=0),
    "gradient": lambda: ensemble.GradientBoostingClassifier(n_estimators=4),
    "histogram": lambda: ensemble.HistGradientBoostingClassifier(max_iter=4),
    "ada": lambda: ensemble.AdaBoostClassifier(n_estimators=4),
    "bagging": lambda: ensemble.BaggingClassifier(n_estimators=4, max_features=0.8, random_state=0),
    "lightgbm": lambda: lightgbm("Classifier"),
    "lightgbm-rf": lambda: lightgbm("Classifier", boosting_type="rf", subsample=0.5, subsample_freq=1),
    "xgboost": lambda: xgboost("Classifier"),
    "catboost": lambda: catboost("Classifier"),
}
REGRESSORS = {
    "forest": lambda: ensemble.RandomForestRegressor(5, random_state=0),
    "histogram": lambda: ensemble.HistGradientBoostingRegressor(max_iter=4),
    "histogram-poisson": lambda: ensemble.HistGradientBoostingRegressor(loss="poisson", max_iter=4),
    "gradient": lambda: ensemble.GradientBoostingRegressor(n_estimators=4),
    "lightgbm": lambda: lightgbm("Regressor"),
    "xgboost": lambda: xgboost("Regressor"),
    "catboost": lambda: catboost("Regressor"),
}


def tolerance(name: str) -> float:
    return FLOAT32 if "xgboost" in name else 1e-12


def at_thresholds(model, rows: np.ndarray) -> np.ndarray:
    """The rows, and rows that the steps before the trees bring to their thresholds."""
    edges = estimator_rows(model, {"input": rows}, "", count=400, seed=1)
    return rows if edges is None else np.concatenate([rows, edges["input"]])


@pytest.mark.parametrize("labels", [BINARY, NAMES], ids=["binary", "names"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_behind_a_scaler(assert_exact, name, labels):
    if name == "xgboost" and labels is NAMES:
        labels = CLASSES  # it takes no names
    model = fitted(make_pipeline(StandardScaler(), CLASSIFIERS[name]()), X, labels)
    rows = at_thresholds(model, nasty(X))
    assert len(rows) > len(nasty(X))
    made = assert_exact(model, rows, tolerance(name))
    assert bool(made.rounding) == (name == "xgboost")


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors_behind_a_scaler(assert_exact, name):
    model = fitted(make_pipeline(StandardScaler(), REGRESSORS[name]()), X, POSITIVE)
    assert_exact(model, at_thresholds(model, nasty(X)), tolerance(name))


@pytest.mark.parametrize("name", ["forest", "histogram", "lightgbm", "xgboost"])
def test_missing_values_behind_a_scaler(assert_exact, name):
    model = fitted(make_pipeline(StandardScaler(), CLASSIFIERS[name]()), gaps(X), CLASSES)
    assert_exact(model, at_thresholds(model, gaps(nasty(X))), tolerance(name))


@pytest.mark.parametrize("name", ["forest", "gradient", "histogram", "lightgbm", "xgboost", "catboost"])
@pytest.mark.parametrize(
    "around",
    [
        lambda inner: CalibratedClassifierCV(inner, cv=2, method="isotonic"),
        lambda inner: CalibratedClassifierCV(inner, cv=2),
        lambda inner: ensemble.VotingClassifier([("trees", inner), ("line", LogisticRegression())], voting="soft"),
        lambda inner: ensemble.StackingClassifier([("trees", inner), ("line", LogisticRegression())], cv=2),
        lambda inner: ensemble.StackingClassifier([("line", LogisticRegression())], inner, cv=2, passthrough=True),
        lambda inner: ensemble.BaggingClassifier(inner, 2, random_state=0),
        OneVsRestClassifier,
        lambda inner: FixedThresholdClassifier(inner, threshold=0.3),
    ],
    ids=["isotonic", "sigmoid", "voting", "stacking", "final", "bagging", "one-vs-rest", "threshold"],
)
def test_inside_other_classifiers(assert_exact, around, name):
    model = around(CLASSIFIERS[name]())
    threshold = isinstance(model, FixedThresholdClassifier)
    fitted(model, X, BINARY if threshold else CLASSES)
    # An isotonic calibrator is steep: a last digit of a float32 probability counts a hundredfold behind it.
    factor = 100 if getattr(model, "method", "") == "isotonic" else 1
    assert_exact(model, at_thresholds(model, nasty(X)), factor * tolerance(name))


@pytest.mark.parametrize("name", ["forest", "histogram", "lightgbm", "xgboost"])
@pytest.mark.parametrize(
    "around",
    [
        lambda inner: TransformedTargetRegressor(inner, func=np.log1p, inverse_func=np.expm1),
        lambda inner: ensemble.VotingRegressor([("trees", inner), ("line", Ridge())]),
        lambda inner: ensemble.StackingRegressor([("trees", inner), ("line", Ridge())], Ridge(), cv=2),
        lambda inner: ensemble.AdaBoostRegressor(inner, n_estimators=3, random_state=0),
        lambda inner: ensemble.BaggingRegressor(inner, 2, random_state=0),
    ],
    ids=["target", "voting", "stacking", "ada", "bagging"],
)
def test_inside_other_regressors(assert_exact, around, name):
    assert_exact(fitted(around(REGRESSORS[name]()), X, POSITIVE), nasty(X), tolerance(name))


def test_several_outputs(assert_exact):
    targets = np.c_[VALUES, POSITIVE]
    assert_exact(fitted(make_pipeline(StandardScaler(), ensemble.ExtraTreesRegressor(4)), X, targets), nasty(X))
    assert_exact(fitted(MultiOutputRegressor(lightgbm("Regressor")), X, targets), nasty(X))


def test_detectors(assert_exact):
    model = fitted(make_pipeline(StandardScaler(), ensemble.IsolationForest(n_estimators=5, random_state=0)), X)
    assert_exact(model, at_thresholds(model, nasty(X)))


@pytest.mark.parametrize("name", ["forest", "histogram", "lightgbm", "xgboost"])
def test_a_runtime_without_double_trees(assert_exact, name):
    """Decisions are exact there too; sums are float32 numbers."""
    model = fitted(make_pipeline(StandardScaler(), CLASSIFIERS[name]()), X, CLASSES)
    made = assert_exact(model, at_thresholds(model, nasty(X)), 1e-6, operators=TreeOperators(3, sets=False))
    assert {entry.domain: entry.version for entry in made.model.opset_import}["ai.onnx.ml"] == 3


def test_opsets_without_what_trees_need_are_refused(assert_exact):
    model = fitted(make_pipeline(StandardScaler(), CLASSIFIERS["forest"]()), X, BINARY)
    with pytest.raises(UsageError, match="opset 13 is out of range"):
        assert_exact(model, X, opset=13)


# --- categories ---

FRAME = pd.DataFrame(
    {
        "age": np.arange(160) % 71 + 18,
        "income": X[:, 0],
        "city": np.array(["Rome", "Oslo", "Łódź"])[CLASSES],
        "code": np.round(X[:, 1]),
    }
)
STRANGE = FRAME.assign(
    city=FRAME["city"].where(FRAME.index > 20, "Paris"),
    code=FRAME["code"].where(FRAME.index % 3 > 0, 99.0),
)


@pytest.mark.parametrize("names", [["city"], ["city", "code"], ["code"]], ids=",".join)
@pytest.mark.parametrize("behind", [False, True])
def test_histogram_boosting_with_categories_of_a_data_frame(assert_exact, names, behind):
    model = ensemble.HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=4, categorical_features=names)
    if behind:
        keep = FunctionTransformer()
        model = make_pipeline(keep.set_output(transform="pandas"), model)
    kept = [name for name in FRAME if name != "city" or name in names]
    assert_exact(fitted(model, FRAME[kept], BINARY), columns(STRANGE[kept]))


def test_histogram_boosting_with_columns_of_the_dtype_category(assert_exact):
    model = ensemble.HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=4, categorical_features="from_dtype")
    frame = FRAME.assign(city=FRAME["city"].astype("category"))
    assert_exact(fitted(model, frame, BINARY), columns(STRANGE))


def test_histogram_boosting_behind_an_encoder(assert_exact):
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    encode = ColumnTransformer([("city", encoder, ["city"])], remainder="passthrough")
    model = make_pipeline(encode, ensemble.HistGradientBoostingClassifier(max_iter=4, categorical_features=[0]))
    assert_exact(fitted(model, FRAME, BINARY), columns(STRANGE))


def test_a_column_of_numbers_where_text_was_learnt(assert_exact):
    model = ensemble.HistGradientBoostingClassifier(max_iter=3, categorical_features=["city"])
    samples = columns(FRAME) | {"city": columns(FRAME)["age"]}
    with pytest.raises(UsageError, match="the column 'city' holds numbers"):
        assert_exact(fitted(model, FRAME, BINARY), samples)


def frame_of_categories():
    frame = FRAME.assign(city=FRAME["city"].astype("category"))
    return fitted(lightgbm("Classifier"), frame, BINARY), frame


@pytest.mark.parametrize("around", [False, True])
def test_lightgbm_with_columns_of_the_dtype_category_is_refused(assert_exact, around):
    from .conftest import written

    inner, frame = frame_of_categories()
    model = inner
    if around:
        model = CalibratedClassifierCV(inner, cv=2)
        fitted(model, frame, BINARY)
    with pytest.raises(ConversionFailed, match=r"LGBMClassifier: .*dtype category") as caught:
        written(model, columns(frame), {})
    assert caught.value.hint
    assert caught.value.message.startswith("CalibratedClassifierCV > 0 > estimator > LGBM" if around else "LGBM")


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (ensemble.RandomTreesEmbedding(3), "RandomTreesEmbedding: .* holds other models"),
        (xgboost("Classifier", booster="gblinear"), "XGBClassifier: .*gblinear"),
    ],
    ids=called,
)
def test_trees_that_are_refused_are_named_with_their_place(assert_exact, model, named):
    with pytest.raises(ConversionFailed, match=f"Pipeline > {type(model).__name__.lower()} > {named}"):
        assert_exact(fitted(make_pipeline(StandardScaler(), model), X, BINARY), X)
