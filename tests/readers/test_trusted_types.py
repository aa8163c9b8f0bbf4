"""The list of trusted types: every family of estimators loads by it, and nothing on it acts on anything but data."""

from __future__ import annotations

import functools
import importlib
import inspect
import io
import operator
import os
import subprocess
import warnings
from pathlib import Path

import catboost
import lightgbm
import numpy as np
import pandas as pd
import pytest
import skops.io
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingRegressor,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - it makes the next import possible
from sklearn.feature_selection import SelectKBest, mutual_info_classif
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.impute import IterativeImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, TweedieRegressor
from sklearn.model_selection import GridSearchCV, TunedThresholdClassifierCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)

from mlconvert.errors import UsageError
from mlconvert.formats.pickle_dangers import is_dangerous
from mlconvert.formats.skops_files import read_skops
from mlconvert.readers.estimator_files import load_skops, untrusted_types
from mlconvert.readers.trusted_types import TRUSTED_CLASSES, TRUSTED_FUNCTIONS, not_trusted

RANDOM = np.random.default_rng(8)
X = RANDOM.normal(size=(80, 3))
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.8)
TWO, VALUE, ABOVE = (X[:, 0] > 0).astype(int), X[:, 0] * 2 + X[:, 1], np.abs(X[:, 0]) + 0.1
FRAME = pd.DataFrame({"a": X[:, 0], "b": pd.Categorical(RANDOM.choice(["u", "v"], 80))})
FEW = {"n_estimators": 3, "random_state": 0}
ONE_THREAD = {"n_estimators": 3, "n_jobs": 1}


def trees():
    yield RandomForestClassifier(**FEW), X, Y
    yield ExtraTreesRegressor(**FEW, bootstrap=True), X, VALUE
    yield RandomForestClassifier(**FEW, class_weight="balanced"), np.where(X > 1, np.nan, X), Y
    yield AdaBoostClassifier(**FEW), X, Y
    yield BaggingRegressor(**FEW, max_features=0.7), X, VALUE
    yield IsolationForest(**FEW, max_features=2), X, None
    for loss in ("squared_error", "absolute_error", "huber", "quantile"):
        yield GradientBoostingRegressor(**FEW, loss=loss), X, VALUE
    yield GradientBoostingRegressor(**FEW, init=LinearRegression()), X, VALUE
    for loss, labels in (("log_loss", Y), ("exponential", TWO)):
        yield GradientBoostingClassifier(**FEW, loss=loss), X, labels
    for loss in ("squared_error", "absolute_error", "gamma", "poisson"):
        yield HistGradientBoostingRegressor(max_iter=3, loss=loss), X, ABOVE
    yield HistGradientBoostingRegressor(max_iter=3, loss="quantile", quantile=0.3), X, VALUE
    yield HistGradientBoostingClassifier(max_iter=3, early_stopping=True), X, Y
    yield HistGradientBoostingClassifier(max_iter=3, categorical_features="from_dtype"), FRAME, Y


def boosters():
    for labels in (TWO, Y):
        yield lightgbm.LGBMClassifier(**ONE_THREAD, verbose=-1), X, labels
        yield xgboost.XGBClassifier(**ONE_THREAD), X, labels
        yield catboost.CatBoostClassifier(3, verbose=0, allow_writing_files=False, thread_count=1), X, labels
    yield lightgbm.LGBMRegressor(**ONE_THREAD, verbose=-1), X, VALUE
    yield xgboost.XGBRegressor(**ONE_THREAD), X, VALUE
    yield xgboost.XGBRFRegressor(**ONE_THREAD), X, VALUE
    yield catboost.CatBoostRegressor(3, verbose=0, allow_writing_files=False, thread_count=1), X, VALUE


def around():
    yield CalibratedClassifierCV(LogisticRegression(), method="isotonic", cv=2), X, Y
    yield CalibratedClassifierCV(RandomForestClassifier(**FEW), method="sigmoid", cv=2), X, Y
    yield CalibratedClassifierCV(LogisticRegression(), method="temperature", cv=2), X, Y
    yield TunedThresholdClassifierCV(LogisticRegression(), cv=2), X, TWO
    yield TunedThresholdClassifierCV(RandomForestClassifier(**FEW), scoring="f1", cv=2), X, TWO
    yield GridSearchCV(LogisticRegression(), {"C": [1.0, 2.0]}, scoring="roc_auc", cv=2), X, TWO
    yield GridSearchCV(Ridge(), {"alpha": [1.0, 2.0]}, scoring="neg_mean_squared_error", cv=2), X, VALUE
    yield VotingClassifier([("a", LogisticRegression()), ("b", RandomForestClassifier(**FEW))]), X, Y
    yield StackingClassifier([("a", LogisticRegression()), ("b", RandomForestClassifier(**FEW))], cv=2), X, Y
    yield TransformedTargetRegressor(Ridge(), func=np.log, inverse_func=np.exp), X, ABOVE
    yield make_pipeline(SelectKBest(mutual_info_classif, k=2), KNeighborsClassifier(algorithm="ball_tree")), X, Y
    yield make_pipeline(SplineTransformer(), IterativeImputer(max_iter=1, tol=9), TweedieRegressor(power=1.5)), X, ABOVE
    yield (
        make_pipeline(QuantileTransformer(n_quantiles=9), KBinsDiscretizer(3, quantile_method="linear"), Ridge()),
        X,
        Y,
    )
    yield GaussianProcessClassifier(random_state=0), X, Y
    columns = ColumnTransformer(
        [
            ("numbers", StandardScaler(), make_column_selector(dtype_include=float)),
            ("words", OneHotEncoder(handle_unknown="ignore"), ["b"]),
            ("targets", TargetEncoder(cv=2), ["b"]),
        ]
    )
    yield make_pipeline(columns, FunctionTransformer(np.abs), LogisticRegression()), FRAME, TWO


@pytest.mark.parametrize("family", [trees, boosters, around], ids=lambda family: family.__name__)
def test_every_family_of_estimators_loads_without_trust(tmp_path, family):
    path = tmp_path / "model.skops"
    for model, rows, labels in family():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of models that are too small to converge
            model.fit(rows, labels)
        skops.io.dump(model, path)
        assert untrusted_types(path) == [], model
        loaded = load_skops(path, trusted=False)
        assert np.array_equal(loaded.predict(rows), model.predict(rows)), model


# --- the list ---


def found(name: str):
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("name", sorted(TRUSTED_CLASSES))
def test_trusted_classes_are_classes_under_their_own_names(name):
    cls = found(name)
    assert isinstance(cls, type)
    assert not issubclass(cls, (type, io.IOBase))  # a metaclass makes classes
    assert name.startswith(("functools.", "numpy.", "collections.")) or f"{cls.__module__}.{cls.__qualname__}" == name
    assert not is_dangerous(name)


@pytest.mark.parametrize("name", sorted(TRUSTED_FUNCTIONS))
def test_trusted_functions_only_compute(name):
    """They are scikit-learn's and numpy's own, take data, and their code opens, imports and evaluates nothing."""
    function = inspect.unwrap(found(name))
    assert not is_dangerous(name)
    assert name.startswith(("sklearn.metrics.", "sklearn.feature_selection.", "sklearn.cluster.", "sklearn.utils.",
                            "numpy.", "scipy._lib.array_api_compat."))  # fmt: skip
    used = set(function.__code__.co_names)
    assert not used & {"open", "eval", "exec", "compile", "__import__", "import_module", "system", "Popen", "loads",
                       "load", "unlink", "remove", "write", "setattr", "delattr"}  # fmt: skip


def test_the_list_names_things_one_by_one():
    """A prefix would also trust what a module imports: `sklearn.gaussian_process.kernels` has namedtuple, clone, …"""
    assert not_trusted({"sklearn.gaussian_process.kernels.namedtuple", "sklearn.gaussian_process.kernels.RBF"}) == [
        "sklearn.gaussian_process.kernels.namedtuple"
    ]
    assert not any(name.partition(".")[0] in ("__main__", "builtins", "operator", "os") for name in TRUSTED_CLASSES)
    assert not any(name.partition(".")[0] in ("__main__", "builtins", "operator", "os") for name in TRUSTED_FUNCTIONS)


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (os.system, "posix.system"),
        (subprocess.run, "subprocess.run"),
        (np.load, "numpy.load"),
        (np.save, "numpy.save"),
        (np.memmap, "numpy.memmap"),
        (eval, "builtins.eval"),
        (open, "io.open"),
        (getattr, "builtins.getattr"),
        (str.split, "builtins.method_descriptor"),
        (operator.attrgetter("system"), "operator.attrgetter"),
        (operator.methodcaller("system", "true"), "operator.methodcaller"),
        (functools.partial(os.system, "true"), "posix.system"),
        (functools.partial(np.fromfile, count=1), "numpy.fromfile"),
        (StandardScaler().fit, "StandardScaler.fit"),
        (Path("x").touch, "Path"),
        (pd.read_pickle, "read_pickle"),
        (skops.io.load, "skops.io._persist.load"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # the text of a function holds its address
)
def test_functions_that_act_take_trust(tmp_path, function, named):
    """A FunctionTransformer calls whatever function it has: that function is named in the file, and not on the list."""
    path = tmp_path / "model.skops"
    skops.io.dump(make_pipeline(FunctionTransformer(function), LogisticRegression()), path)
    assert any(named in name for name in untrusted_types(path))
    assert set(untrusted_types(path)) <= set(read_skops(path).types)
    with pytest.raises(UsageError, match="not on the list of trusted ones") as caught:
        load_skops(path, trusted=False)
    assert named in caught.value.message
