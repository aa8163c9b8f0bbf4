"""scikit-learn, LightGBM and XGBoost to PMML: exact where it is, caught where it is not, refused by name."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlconvert import packages
from mlconvert.artifact import Artifact
from mlconvert.cli import main
from mlconvert.converters import lightgbm_to_pmml, sklearn_to_pmml, xgboost_to_pmml
from mlconvert.errors import ConversionFailed, MissingPackage, OutOfResources, UsageError
from mlconvert.java import find_java
from mlconvert.parity.compare import compare as parity_of
from mlconvert.parity.tolerance import DEFAULTS, Tolerances
from mlconvert.readers.lightgbm_boosters import as_estimator
from mlconvert.readers.lightgbm_files import load_lightgbm
from mlconvert.readers.sklearn2pmml_runs import pmml_pipeline, write_pmml
from mlconvert.runners import lightgbm as lightgbm_runner
from mlconvert.runners import pmml as runner
from mlconvert.runners import sklearn as sklearn_runner
from mlconvert.runners import xgboost as xgboost_runner

RANDOM = np.random.default_rng(2)
X = RANDOM.normal(size=(300, 4))
X[:, 3] = RANDOM.integers(0, 8, 300)
VALUE = X[:, 0] + X[:, 1] * X[:, 2] + 2 * np.sin(3 * X[:, 3])
TWO = (VALUE > 0).astype(int)
THREE = np.searchsorted([-1, 1], VALUE)


def pickled(folder: Path, estimator: Any) -> Artifact:
    path = folder / "model.pkl"
    path.write_bytes(pickle.dumps(estimator))
    return Artifact("sklearn", str(path), (path,), trusted=True)


def lightgbm_file(folder: Path, categories: Sequence[int] = (), **settings: Any) -> Artifact:
    import lightgbm

    known = {"objective": "binary", "verbose": -1, "num_threads": 1, "num_leaves": 7, **settings}
    data = lightgbm.Dataset(X, TWO, categorical_feature=list(categories), params={"verbose": -1, **settings})
    path = folder / "model.txt"
    lightgbm.train(known, data, 4).save_model(path)
    return Artifact("lightgbm", str(path), (path,))


def xgboost_file(folder: Path) -> Artifact:
    import xgboost

    path = folder / "model.json"
    data = xgboost.DMatrix(X, THREE, feature_names=["a", "b b", 'c "', "é"])
    xgboost.train({"objective": "multi:softprob", "num_class": 3, "max_depth": 3}, data, 4).save_model(path)
    return Artifact("xgboost", str(path), (path,))


def compare(made: Artifact, session: Any, rows: dict[str, np.ndarray], tolerance: float) -> None:
    wanted, loaded = session.run(rows), runner.load(made)
    got = loaded.run(rows)
    assert runner.signature(made) == loaded.signature == made.signature
    assert list(got) == list(wanted)
    for name, expected in wanted.items():
        assert (got[name].shape, got[name].dtype) == (expected.shape, expected.dtype)
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(got[name], expected, rtol=tolerance, atol=tolerance)
        else:
            assert np.array_equal(got[name], expected)


def mismatched(reference: Any, candidate: Any) -> int:
    """How many numbers and labels the comparison that every conversion goes through finds to differ."""
    wanted, got = (session.run({"input": X}) for session in (reference, candidate))
    parity = parity_of(wanted, got, Tolerances(DEFAULTS["float64"]))
    assert not parity.ok
    return sum(output.mismatched or 0 for output in parity.outputs)


def boundary(module: Any, source: Artifact) -> np.ndarray:
    made = module.boundary_samples(source, {"input": X}, count=1500, seed=3)
    return np.concatenate([X, made["input"]])


def test_lightgbm_is_exact_on_boundary_rows(tmp_path):
    """Zeros within 1e-35 and NaN in nodes without a way for it included: the thresholds are made plain before."""
    source = lightgbm_file(tmp_path)
    made = lightgbm_to_pmml.convert(source, tmp_path / "m.pmml")
    compare(made, lightgbm_runner.load(source), {"input": boundary(lightgbm_runner, source)}, 1e-12)
    assert made.facts == {"precision": "float64", "license_of_converter": "AGPL-3.0 (sklearn2pmml)"}
    again = lightgbm_to_pmml.convert(source, tmp_path / "again.pmml")
    assert again.path.read_bytes() == made.path.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.pmml", "m.pmml", "model.txt"]


def test_what_the_stock_converter_makes_of_lightgbm_is_another_model(tmp_path):
    """A document that sklearn2pmml alone made, without a note: rows near 0 and NaN take another way."""
    source = lightgbm_file(tmp_path)
    booster, _ = load_lightgbm(source.path)
    stock = tmp_path / "stock.pmml"
    pipeline = pmml_pipeline(as_estimator(booster, 2), booster.feature_name(), "y")
    write_pmml(pipeline, stock, where="", seconds=0, memory_mib=0)
    rows = {"input": boundary(lightgbm_runner, source)}
    wanted = lightgbm_runner.load(source).run(rows)
    got = runner.load(Artifact("pmml", str(stock), (stock,))).run(rows)
    assert {name: (values.dtype, values.shape) for name, values in got.items()} == {
        name: (values.dtype, values.shape) for name, values in wanted.items()
    }
    assert (wanted["label"] != got["label"]).any()
    assert main(["verify", source.location, str(stock)]) == 5


def test_xgboost_with_odd_names(tmp_path):
    source = xgboost_file(tmp_path)
    made = xgboost_to_pmml.convert(source, tmp_path / "m.pmml")
    rows = boundary(xgboost_runner, source)
    with np.errstate(over="ignore"):
        rows = rows[np.isfinite(rows.astype(np.float32)).all(axis=1)]
    compare(made, xgboost_runner.load(source), {"input": rows}, 1e-6)


def test_a_pipeline_of_columns_with_text_and_missing_values(tmp_path):
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": np.array(["x", "ü", "z"])[THREE]})
    frame.loc[3, "a"] = np.nan
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = ColumnTransformer([("n", numbers, ["a", "b"]), ("c", OneHotEncoder(handle_unknown="ignore"), ["c"])])
    model = make_pipeline(columns, LogisticRegression()).fit(frame, np.array(["no", "yes"])[TWO])
    source = pickled(tmp_path, model)
    rows = {name: frame[name].to_numpy(dtype="<U1" if name == "c" else None)[:, None] for name in frame}
    made = sklearn_to_pmml.convert(source, tmp_path / "m.pmml", samples=rows)
    compare(made, sklearn_runner.load(source), rows, 1e-12)


def test_a_forest_sends_missing_values_on_as_scikit_learn_does(tmp_path):
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), RandomForestClassifier(4, random_state=0)).fit(X, THREE)
    source = pickled(tmp_path, model)
    made = sklearn_to_pmml.convert(source, tmp_path / "m.pmml")
    compare(made, sklearn_runner.load(source), {"input": boundary(sklearn_runner, source)}, 1e-12)


def test_what_is_added_up_in_float32_is_compared_so(tmp_path):
    import xgboost

    source = pickled(tmp_path, xgboost.XGBRegressor(n_estimators=2).fit(X, VALUE))
    assert sklearn_to_pmml.convert(source, tmp_path / "m.pmml").facts["precision"] == "float32"


def test_poisson_boosting_without_its_exponent_is_caught(tmp_path):
    from sklearn.ensemble import HistGradientBoostingRegressor

    source = pickled(tmp_path, HistGradientBoostingRegressor(loss="poisson", max_iter=3).fit(X, np.exp(X[:, 0])))
    session = runner.load(sklearn_to_pmml.convert(source, tmp_path / "m.pmml"))
    assert mismatched(sklearn_runner.load(source), session) == 300


def test_a_calibrated_ensemble_is_caught(tmp_path):
    """Its members' scores are taken for one another's."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(3, max_depth=3, random_state=0)
    source = pickled(tmp_path, CalibratedClassifierCV(forest, cv=2).fit(X, TWO))
    session = runner.load(sklearn_to_pmml.convert(source, tmp_path / "m.pmml"))
    assert mismatched(sklearn_runner.load(source), session) > 300


def test_what_pmml_lacks_is_refused_by_name(tmp_path):
    from sklearn.cluster import KMeans
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import SplineTransformer
    from sklearn.svm import LinearSVC

    for estimator, reason in (
        (KMeans(2, n_init=1).fit(X), "the KMeans is a clusterer"),
        (LinearSVC().fit(X, TWO), "the LinearSVC is a classifier without probabilities"),
        (make_pipeline(SplineTransformer(), LogisticRegression()).fit(X, TWO), "SplineTransformer"),
    ):
        with pytest.raises(ConversionFailed, match=reason) as raised:
            sklearn_to_pmml.convert(pickled(tmp_path, estimator), tmp_path / "m.pmml")
        assert "--to " in (raised.value.hint or "")
    with pytest.raises(ConversionFailed, match="linear leaves"):
        lightgbm_to_pmml.convert(lightgbm_file(tmp_path, linear_tree=True), tmp_path / "m.pmml")
    with pytest.raises(ConversionFailed, match="splits on categories"):
        lightgbm_to_pmml.convert(lightgbm_file(tmp_path, [3]), tmp_path / "m.pmml")
    with pytest.raises(ConversionFailed, match="'multiclassova' is not supported"):  # the cause, in its own words
        lightgbm_to_pmml.convert(lightgbm_file(tmp_path, objective="multiclassova", num_class=2), tmp_path / "m.pmml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pkl", "model.txt"]


def test_limits_are_held(tmp_path):
    source = lightgbm_file(tmp_path)
    with pytest.raises(OutOfResources, match="out of memory") as raised:
        lightgbm_to_pmml.convert(source, tmp_path / "m.pmml", memory_mib=4)
    assert "memory_mib" in (raised.value.hint or "")
    with pytest.raises(OutOfResources, match=r"limit of 0\.05 s"):
        lightgbm_to_pmml.convert(source, tmp_path / "m.pmml", seconds=0.05)
    for limit in ({"seconds": -1.0}, {"memory_mib": -1}):
        with pytest.raises(UsageError, match="=-1 is not valid"):
            lightgbm_to_pmml.convert(source, tmp_path / "m.pmml", **limit)
    assert [path.name for path in tmp_path.iterdir()] == ["model.txt"]


@pytest.mark.parametrize(
    ("ends", "kind", "reason"),
    [
        ("kill -9 $$", OutOfResources, "SIGKILL"),
        ("kill -6 $$", ConversionFailed, "SIGABRT"),
        ("exit 7", ConversionFailed, "7"),
    ],
)
def test_a_jvm_that_dies_leaves_nothing_half_written(ends, kind, reason, tmp_path, monkeypatch):
    source = lightgbm_file(tmp_path)
    java = tmp_path / "java"
    write = f'for word; do last="$word"; done\necho "<PMML>" > "$last"\n{ends}\n'
    java.write_text(f"#!/bin/sh\n[ $1 = -version ] && {{ echo 'openjdk version \"17.0.1\"' >&2; exit; }}\n{write}")
    java.chmod(0o755)
    monkeypatch.setenv("MLCONVERT_JAVA", str(java))
    with pytest.raises(kind, match=reason):
        lightgbm_to_pmml.convert(source, tmp_path / "m.pmml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["java", "model.txt"]


def test_without_java_both_ways_are_told(tmp_path, monkeypatch, capsys):
    source = lightgbm_file(tmp_path)
    monkeypatch.setenv("MLCONVERT_JAVA", str(tmp_path / "java"))
    assert main(["convert", source.location, "--to", "pmml", "-o", str(tmp_path / "m.pmml")]) == 3
    said = " ".join("".join(capsys.readouterr()).split())
    assert "default-jre-headless" in said
    assert "mlconvert[java]" in said
    monkeypatch.undo()
    assert find_java().version >= 11


def test_the_licence_is_told_to_whoever_is_to_install_it(monkeypatch):
    monkeypatch.setattr(packages, "installed", lambda package: False)
    with pytest.raises(MissingPackage, match=r"sklearn2pmml is under the AGPL-3\.0") as raised:
        packages.require([packages.SKLEARN2PMML, packages.NUMPY], "PMML")
    assert "mlconvert[pmml]" in (raised.value.hint or "")
