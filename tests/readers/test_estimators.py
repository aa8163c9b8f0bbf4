"""Loading estimators: a pickle runs nothing without trust, .skops files go by their types, errors name the fault."""

from __future__ import annotations

import pickle
from pathlib import Path

import joblib
import numpy as np
import pytest
import skops.io
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.readers.estimators import load_estimator, walk

X = np.random.default_rng(5).normal(size=(80, 4))
Y = (X[:, 0] > 0).astype(int)


def artifact(path: Path, *, trusted: bool = False) -> Artifact:
    return Artifact("sklearn", str(path), (path,), trusted=trusted)


class WritesAFile:
    """What an attacker puts into a pickle: code that runs when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("suffix", [".pkl", ".joblib"])
def test_an_untrusted_pickle_is_not_opened(tmp_path, suffix):
    path, mark = tmp_path / f"m{suffix}", tmp_path / "it-ran"
    path.write_bytes(pickle.dumps(WritesAFile(mark)))
    with pytest.raises(UsageError, match="can run code") as caught:
        load_estimator(artifact(path))
    assert "--trust" in (caught.value.hint or "")
    assert not mark.exists()
    # The same file does what it was made for once it is trusted: the check above is not idle.
    with pytest.raises(ConversionFailed, match="NoneType"):
        load_estimator(artifact(path, trusted=True))
    assert mark.exists()


def test_pickle_and_joblib_load_when_trusted(tmp_path):
    model = LogisticRegression().fit(X, Y)
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(model))
    joblib.dump(model, tmp_path / "m.joblib", compress=3)
    for name in ("m.pkl", "m.joblib"):
        loaded = load_estimator(artifact(tmp_path / name, trusted=True))
        assert loaded.predict(X).tolist() == model.predict(X).tolist()


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"a": 1}, "builtins.dict"),
        (StandardScaler, "StandardScaler"),
        (LogisticRegression(), "not fitted"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "not fitted"),
    ],
)
def test_what_is_no_fitted_estimator_is_refused_by_name(tmp_path, value, named):
    path = tmp_path / "m.pkl"
    path.write_bytes(pickle.dumps(value))
    with pytest.raises(ConversionFailed, match=named):
        load_estimator(artifact(path, trusted=True))


def test_a_bare_booster_is_refused_with_the_way_out(tmp_path):
    import lightgbm

    settings = {"objective": "binary", "verbose": -1, "num_threads": 1}
    path = tmp_path / "m.pkl"
    path.write_bytes(pickle.dumps(lightgbm.train(settings, lightgbm.Dataset(X, Y), 2)))
    with pytest.raises(ConversionFailed, match=r"lightgbm\.basic\.Booster") as caught:
        load_estimator(artifact(path, trusted=True))
    assert "save_model" in (caught.value.hint or "")


@pytest.mark.parametrize("data", [b"", b"hello", pickle.dumps(LogisticRegression())[:-40]])
def test_damaged_pickles_are_refused(tmp_path, data):
    path = tmp_path / "m.pkl"
    path.write_bytes(data)
    with pytest.raises(ConversionFailed):
        load_estimator(artifact(path, trusted=True))


def test_a_pickle_that_needs_an_absent_module_names_it(tmp_path):
    path = tmp_path / "m.pkl"
    path.write_bytes(b"cno_such_module_here\nThing\n.")
    with pytest.raises(ConversionFailed, match="no_such_module_here"):
        load_estimator(artifact(path, trusted=True))


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        RandomForestClassifier(3, random_state=0),
        HistGradientBoostingClassifier(max_iter=3),
        KNeighborsClassifier(),
        MLPClassifier((3,), max_iter=400, random_state=0, tol=1.0),
        GridSearchCV(LogisticRegression(), {"C": [0.5, 1.0]}, cv=2),
        make_pipeline(StandardScaler(), LogisticRegression()),
    ],
    ids=lambda model: type(model).__name__,
)
def test_skops_files_load_without_trust(tmp_path, model):
    path = tmp_path / "m.skops"
    model.fit(X, Y)
    skops.io.dump(model, path)
    assert load_estimator(artifact(path)).predict(X).tolist() == model.predict(X).tolist()


@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_skops_files_of_boosters_load_without_trust(tmp_path, library):
    import lightgbm
    import xgboost

    model = {
        "lightgbm": lightgbm.LGBMClassifier(n_estimators=3, verbose=-1, n_jobs=1),
        "xgboost": xgboost.XGBClassifier(n_estimators=3, n_jobs=1),
    }[library].fit(X, Y)
    path = tmp_path / "m.skops"
    skops.io.dump(model, path)
    assert load_estimator(artifact(path)).predict(X).tolist() == model.predict(X).tolist()


def test_a_foreign_type_in_a_skops_file_is_refused_by_name(tmp_path):
    path = tmp_path / "m.skops"
    skops.io.dump(make_pipeline(FunctionTransformer(np.linalg.cond), LogisticRegression().fit(X, Y)), path)
    unknown = skops.io.get_untrusted_types(file=path)
    assert unknown  # else this test shows nothing
    with pytest.raises(UsageError, match=unknown[0].replace(".", r"\.")) as caught:
        load_estimator(artifact(path))
    assert "--trust" in (caught.value.hint or "")


class Local(LogisticRegression):
    pass


def test_types_of_main_are_never_trusted(tmp_path):
    path = tmp_path / "m.skops"
    Local.__module__, kept = "__main__", Local.__module__
    try:
        skops.io.dump(Local().fit(X, Y), path)
    finally:
        Local.__module__ = kept
    for trusted in (False, True):
        with pytest.raises(UsageError, match=r"__main__\.Local"):
            load_estimator(artifact(path, trusted=trusted))


def test_damaged_skops_files_are_refused(tmp_path):
    path = tmp_path / "m.skops"
    skops.io.dump(LogisticRegression().fit(X, Y), path)
    whole = path.read_bytes()
    for data in (b"", b"hello", whole[: len(whole) // 2]):
        path.write_bytes(data)
        with pytest.raises(ConversionFailed):
            load_estimator(artifact(path))


def test_walk_names_places():
    model = make_pipeline(StandardScaler(), make_pipeline(StandardScaler(), LogisticRegression())).fit(X, Y)
    places = {place: type(part).__name__ for place, part in walk(model)}
    assert places[""] == "Pipeline"
    assert places["pipeline > logisticregression"] == "LogisticRegression"
    assert places["standardscaler"] == "StandardScaler"
