"""Loading estimators: a pickle runs nothing without trust, .skops files go by their types, errors name the fault."""

from __future__ import annotations

import pickle
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    PowerTransformer,
    StandardScaler,
)

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.readers.estimator_answers import signature_of, table_of
from mlconvert.readers.estimator_columns import fitted_columns
from mlconvert.readers.estimators import feature_count, load_estimator, takes_text, walk

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


def test_walk_names_places_by_class_and_step():
    inner = make_pipeline(MaxAbsScaler(), LogisticRegression())
    split = ColumnTransformer([("some", StandardScaler(), [0, 1])], remainder=MinMaxScaler())
    model = make_pipeline(split, VotingClassifier([("line", inner)])).fit(X, Y)
    places = [place for place, _ in walk(model)]
    assert places[:2] == ["Pipeline", "Pipeline > columntransformer > ColumnTransformer"]
    assert "Pipeline > columntransformer > ColumnTransformer > some > StandardScaler" in places
    assert "Pipeline > columntransformer > ColumnTransformer > remainder > MinMaxScaler" in places
    assert any(place.endswith("Pipeline > logisticregression > LogisticRegression") for place in places)


# --- versions ---


def saved_by(version: str, path: Path, model) -> Path:
    """The model as that version of scikit-learn would have saved it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sklearn.base, "__version__", version)
        skops.io.dump(model, path) if path.suffix == ".skops" else joblib.dump(model, path)
    return path


@pytest.mark.parametrize("suffix", [".skops", ".joblib"])
def test_a_model_of_a_newer_version_is_refused_with_both_versions(tmp_path, suffix):
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
    path = saved_by("97.1.0", tmp_path / f"m{suffix}", model)
    with pytest.raises(ConversionFailed, match=r"scikit-learn 97\.1\.0, which is newer than 1\.") as caught:
        load_estimator(artifact(path, trusted=True))
    assert caught.value.hint is not None
    assert "scikit-learn>=97.1.0" in caught.value.hint


def test_the_version_is_told_where_a_newer_file_cannot_even_be_read(tmp_path):
    kept = LogisticRegression.__setstate__
    path = saved_by("97.1.0", tmp_path / "m.joblib", LogisticRegression().fit(X, Y))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LogisticRegression, "__setstate__", lambda self, state: (kept(self, state), 1 / 0))
        with pytest.raises(ConversionFailed, match=r"scikit-learn 97\.1\.0, which is newer"):
            load_estimator(artifact(path, trusted=True))


def test_a_model_of_an_older_version_loads_with_the_warning_of_scikit_learn(tmp_path):
    path = saved_by("1.2.0", tmp_path / "m.joblib", LogisticRegression().fit(X, Y))
    with pytest.warns(InconsistentVersionWarning, match=r"1\.2\.0"):
        loaded = load_estimator(artifact(path, trusted=True))
    assert loaded.predict(X).tolist() == LogisticRegression().fit(X, Y).predict(X).tolist()


# --- columns ---

FRAME = pd.DataFrame({"age": X[:, 0], "city": np.where(Y == 1, "Rome", "Oslo"), "note": "some text", "any": X[:, 1]})


def test_fitted_columns_are_what_the_parts_show():
    split = ColumnTransformer(
        [
            ("numbers", make_pipeline("passthrough", StandardScaler()), ["age"]),
            ("city", make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder()), ["city"]),
            ("note", TfidfVectorizer(), "note"),
            ("any", FunctionTransformer(), ["any"]),
        ]
    )
    shown = fitted_columns(make_pipeline(split, LogisticRegression()).fit(FRAME, Y))
    assert {name: fitted.kind for name, fitted in shown.items()} == {"age": "numbers", "city": "text", "note": "text"}
    assert shown["note"].place == "Pipeline > columntransformer > ColumnTransformer > note > TfidfVectorizer"


def test_histogram_boosting_shows_its_columns_of_text():
    frame = FRAME[["age", "city"]]
    model = HistGradientBoostingClassifier(max_iter=2, categorical_features=["city"]).fit(frame, Y)
    assert {name: fitted.kind for name, fitted in fitted_columns(model).items()} == {"city": "text"}


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [("age", "old", "the column 'age' holds text, and was fitted on numbers: ColumnTransformer > n > StandardScaler"),
     ("city", 1.0, "the column 'city' holds numbers, and was fitted on text: ColumnTransformer > c > OneHotEncoder")],
)  # fmt: skip
def test_columns_of_another_type_are_named(name, values, said):
    model = ColumnTransformer([("n", StandardScaler(), ["age"]), ("c", OneHotEncoder(), ["city"])])
    model.fit(FRAME[["age", "city"]])
    samples = {"age": X[:, :1], "city": np.array(FRAME["city"].tolist())[:, None]}
    table_of(model, samples)
    with pytest.raises(UsageError) as caught:
        table_of(model, samples | {name: np.full((len(X), 1), values)})
    assert caught.value.message == said


def test_another_number_of_features_is_named():
    model = make_pipeline("passthrough", StandardScaler(), LogisticRegression()).fit(X, Y)
    assert feature_count(model) == 4
    with pytest.raises(UsageError, match=r"the samples have the shape \[80, 3\], and the model takes \[rows, 4\]"):
        table_of(model, {"input": X[:, :3]})
    with pytest.raises(UsageError, match="hold text"):
        table_of(model, {"input": np.full((3, 4), "a")})


def test_floats_of_a_data_frame_are_double():
    model = LogisticRegression().fit(pd.DataFrame(X, columns=list("abcd")), Y)
    table = table_of(model, {name: X[:, [k]].astype(np.float32) for k, name in enumerate("abcd")})
    assert set(table.dtypes) == {np.dtype(np.float64)}


def test_a_union_of_vectorisers_takes_text():
    assert takes_text(make_pipeline(make_union(TfidfVectorizer(), CountVectorizer()), LogisticRegression()))
    assert not takes_text(make_pipeline(make_union(StandardScaler(), MaxAbsScaler()), LogisticRegression()))


# --- signatures ---


@pytest.mark.parametrize(
    ("model", "rows"),
    [
        (OneHotEncoder(sparse_output=False), np.array([[3.0, 7.0], [5.0, 9.0]] * 4)),
        (PowerTransformer("box-cox"), np.abs(X) + 0.1),
    ],
)
def test_a_signature_does_not_need_an_answer_to_zeros(model, rows):
    signature = signature_of(model.fit(rows), "m.skops")
    assert str(signature.inputs[0]) == f"input: float64[batch, {rows.shape[1]}]"
    assert str(signature.outputs[0]) == "variable: float64[batch, 4]"


def test_an_estimator_that_answers_nothing_is_refused():
    model = LogisticRegression().fit(X, Y)
    model.coef_ = model.coef_[:, :2]
    with pytest.raises(ConversionFailed, match="LogisticRegression does not answer a row of float64"):
        signature_of(model, "m.skops")


def test_columns_of_the_dtype_category_have_no_signature():
    import lightgbm

    frame = FRAME[["age", "city"]].astype({"city": "category"})
    model = lightgbm.LGBMClassifier(n_estimators=2, verbose=-1, n_jobs=1).fit(frame, Y)
    assert signature_of(model, "m.skops") is None
