"""What `inspect` tells of files that hold Python objects, without opening them, and of those that may be opened."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import skops.io
import statsmodels.api as sm
import statsmodels.formula.api as smf
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from mlconvert import packages
from mlconvert.cli import main
from mlconvert.operations.inspect import inspect_artifact

X = np.random.default_rng(4).normal(size=(60, 3))
Y = (X[:, 0] > 0).astype(int)


INSPECTING = """
import json, sys
from mlconvert.operations.inspect import inspect_artifact
print(json.dumps([inspect_artifact(path) for path in sys.argv[1:]]))
assert not {'skops', 'sklearn', 'scipy', 'pandas'} & set(sys.modules)
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A forest, whose types are all trusted, and a pipeline with a function that is not."""
    folder = tmp_path_factory.mktemp("inspected")
    forest, odd = folder / "forest.skops", folder / "odd.skops"
    skops.io.dump(RandomForestClassifier(2, random_state=0).fit(X, Y), forest)
    skops.io.dump(make_pipeline(FunctionTransformer(np.linalg.cond), LogisticRegression().fit(X, Y)), odd)
    return forest, odd


@pytest.fixture(scope="module")
def told(files):
    """What `inspect` tells of them, from a process that imports no framework."""
    done = subprocess.run([sys.executable, "-c", INSPECTING, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def printed(data, monkeypatch, capsys):
    """The lines that the command line prints of what was told, each in single spaces."""
    monkeypatch.setattr("mlconvert.operations.inspect.inspect_artifact", lambda location, *, trust: data)
    assert main(["inspect", "model"]) == 0
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_a_skops_file_whose_types_are_all_trusted(told, monkeypatch, capsys):
    forest, _ = told
    assert forest["pickle"] is None
    assert forest["skops"]["outermost"] == "sklearn.ensemble._forest.RandomForestClassifier"
    assert "sklearn.tree._tree.Tree" in forest["skops"]["types"]
    assert forest["skops"]["untrusted"] == []
    assert forest["signature"]["inputs"][0]["shape"] == ["batch", 3]
    lines = printed(forest, monkeypatch, capsys)
    assert "skops holds sklearn.ensemble._forest.RandomForestClassifier; all its types are trusted" in lines
    assert "needs sklearn.tree._tree.Tree" in lines


def test_a_skops_file_that_takes_trust(told, files, monkeypatch, capsys):
    _, odd = told
    assert odd["skops"]["outermost"] == "sklearn.pipeline.Pipeline"
    assert odd["skops"]["untrusted"] == ["numpy.linalg.cond"]
    assert {"numpy.linalg.cond", "sklearn.pipeline.Pipeline"} <= set(odd["skops"]["types"])
    assert not any(name.startswith("builtins.") for name in odd["skops"]["types"])
    assert "numpy.linalg.cond" in odd["why_no_signature"]
    lines = printed(odd, monkeypatch, capsys)
    assert "skops holds sklearn.pipeline.Pipeline; loading it takes trust (--trust)" in lines
    assert "needs numpy.linalg.cond, which is not on the list of trusted types" in lines
    assert "needs sklearn.pipeline.Pipeline" in lines
    monkeypatch.undo()
    trusted = inspect_artifact(str(files[1]), trust=True)
    assert trusted["skops"] == odd["skops"]
    assert "list of trusted" not in (trusted["why_no_signature"] or "")


def test_types_of_main_cannot_be_loaded_at_all(tmp_path, monkeypatch, capsys):
    path = tmp_path / "own.skops"
    StandardScaler.__module__, kept = "__main__", StandardScaler.__module__
    try:
        skops.io.dump(StandardScaler().fit(X), path)
    finally:
        StandardScaler.__module__ = kept
    own = inspect_artifact(str(path))
    assert own["skops"]["untrusted"] == ["__main__.StandardScaler"]
    lines = printed(own, monkeypatch, capsys)
    assert (
        "skops holds __main__.StandardScaler; it cannot be loaded here, as it has types of a script (__main__)" in lines
    )


def test_without_skops_the_types_are_named_all_the_same(files, monkeypatch, capsys):
    monkeypatch.setattr(packages, "installed", lambda package: package is not packages.SKOPS)
    forest = inspect_artifact(str(files[0]), trust=True)
    assert forest["skops"]["untrusted"] is None
    assert "sklearn.tree._tree.Tree" in forest["skops"]["types"]
    assert any("not known without skops" in line for line in printed(forest, monkeypatch, capsys))


def test_a_skops_file_by_another_name(files, tmp_path):
    other = tmp_path / "model.bin"
    other.write_bytes(files[0].read_bytes())
    found = inspect_artifact(str(other))
    assert (found["format"], found["skops"]["untrusted"]) == ("sklearn", [])
    assert found["signature"] is not None


FRAME = pd.DataFrame({"y": X[:, 0], "x": X[:, 1], "g": np.where(X[:, 2] > 0, "a", "b")})


def test_a_pickle_of_statsmodels_is_read_and_not_opened(tmp_path):
    path = tmp_path / "fit.pkl"
    smf.ols("y ~ x * g", FRAME).fit().save(path)
    read = inspect_artifact(str(path))
    assert (read["format"], read["signature"], read["skops"]) == ("statsmodels", None, None)
    assert read["pickle"]["outermost"] == "statsmodels.regression.linear_model.RegressionResultsWrapper"
    assert read["pickle"]["dangerous"] == []
    assert "can run code" in read["why_no_signature"]
    trusted = inspect_artifact(str(path), trust=True)
    assert [(spec["name"], spec["dtype"]) for spec in trusted["signature"]["inputs"]] == [
        ("x", "float64"),
        ("g", "string"),
    ]


def test_a_pickle_of_statsmodels_that_calls_something_says_so(tmp_path, capsys):
    results = sm.OLS(X[:, 0], X[:, 1:]).fit()
    results.model.note = Calls()
    path = tmp_path / "fit.pkl"
    path.write_bytes(pickle.dumps(results))
    assert main(["inspect", str(path)]) == 0
    assert "calls posix.system" in capsys.readouterr().out


class Calls:
    def __reduce__(self):
        import os

        return os.system, ("true",)
