"""Bad input of classical models, as a user gives it: the exit code, the thing and its place, nothing written."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlconvert.cli import main

ROWS = np.random.default_rng(0).normal(size=(80, 4))
LABELS = (ROWS[:, 0] > 0).astype(int)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder, with an empty cache beside it."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.setenv("MLCONVERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def fails(here: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Convert a model, which must end with this code, no signal, and no file left, in the folder or the cache."""

    def check(code: int, model: str | Path, *arguments: str | Path, to: str = "onnx") -> str:
        before = listing(here)
        ended = main(["convert", str(model), "--to", to, "-o", "out", *map(str, arguments)])
        told = capsys.readouterr()
        text = " ".join((told.out + told.err).split())
        assert ended == code, text
        assert listing(here) == before, "something was left behind"
        assert [path for path in listing(Path(os.environ["MLCONVERT_CACHE"])) if path.endswith((".onnx", ".tl"))] == []
        assert "Traceback" not in text
        assert "crashed" not in text, "a child process died of a signal"
        return text

    return check


def listing(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def skops_file(model: Any, name: str = "model.skops") -> str:
    import skops.io

    skops.io.dump(model, name)
    return name


# --- what cannot be converted, by its place ---


def text_among_columns(step: Any) -> Any:
    """A pipeline over a data frame whose text column goes to the step: in a ColumnTransformer, in a Pipeline."""
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    frame = pd.DataFrame({"age": ROWS[:, 0], "note": ["good", "bad day", "late", "ok"] * 20})
    frame.head(8).to_csv("rows.csv", index=False)
    columns = ColumnTransformer([("numbers", StandardScaler(), ["age"]), ("text", step, "note")])
    return Pipeline([("columns", columns), ("classify", LogisticRegression())]).fit(frame, LABELS)


def test_a_step_of_a_column_transformer(here, fails):
    from sklearn.feature_extraction.text import HashingVectorizer

    model = skops_file(text_among_columns(HashingVectorizer(n_features=16)))
    told = fails(4, model, "--samples", "rows.csv")
    assert "ColumnTransformer > text > HashingVectorizer" in told
    assert "Pipeline > columns > ColumnTransformer" in told


def test_a_parameter_of_a_step(here, fails):
    from sklearn.feature_extraction.text import TfidfVectorizer

    model = skops_file(text_among_columns(TfidfVectorizer(analyzer="char_wb")))
    told = fails(4, model, "--samples", "rows.csv")
    assert "ColumnTransformer > text > TfidfVectorizer" in told
    assert "char_wb" in told


def nested(kind: str) -> Any:
    """A FunctionTransformer with a function of no known meaning, inside other estimators."""
    from scipy.special import j0
    from sklearn.ensemble import BaggingRegressor, StackingRegressor, VotingRegressor
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import FeatureUnion, make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    odd = make_pipeline(FunctionTransformer(j0), LinearRegression())
    match kind:
        case "voting":
            return VotingRegressor([("plain", LinearRegression()), ("odd", odd)])
        case "stacking":
            return StackingRegressor([("plain", LinearRegression()), ("odd", odd)], LinearRegression(), cv=2)
        case "bagging":
            return BaggingRegressor(odd, n_estimators=2)
    union = FeatureUnion([("scaled", StandardScaler()), ("odd", FunctionTransformer(j0))])
    return make_pipeline(union, LinearRegression())


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("voting", "VotingRegressor > odd > Pipeline > functiontransformer > FunctionTransformer"),
        ("stacking", "StackingRegressor > odd > Pipeline > functiontransformer > FunctionTransformer"),
        ("bagging", "> Pipeline > functiontransformer > FunctionTransformer"),
        ("union", "Pipeline > featureunion > FeatureUnion > odd > FunctionTransformer"),
    ],
)
def test_a_step_inside_other_estimators(here, fails, kind, place):
    told = fails(4, skops_file(nested(kind).fit(np.abs(ROWS) + 1, ROWS[:, 0])), "--trust")
    assert place in told
    assert "j0" in told


def test_catboost_with_categories_names_them(here, fails):
    import catboost
    import pandas as pd

    frame = pd.DataFrame({"warm": ROWS[:, 0], "weather": ["rain", "sun"] * 40})
    model = catboost.CatBoostRegressor(
        iterations=3, depth=2, verbose=False, allow_writing_files=False, thread_count=1, cat_features=["weather"]
    )
    model.fit(frame, ROWS[:, 1]).save_model("model.cbm")
    told = fails(4, "model.cbm")
    assert "weather" in told
    assert "categor" in told


def test_a_linear_booster_of_xgboost(here, fails):
    import xgboost

    xgboost.train({"booster": "gblinear"}, xgboost.DMatrix(ROWS, ROWS[:, 0]), 2).save_model("model.json")
    assert "gblinear" in fails(4, "model.json")


# --- a model of a newer library ---


def with_newer_sklearn(path: str) -> None:
    """The .skops file, as scikit-learn 99.0 would have written it."""
    packed = io.BytesIO(Path(path).read_bytes())
    with zipfile.ZipFile(packed) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename == "schema.json":
                data = data.replace(metadata.version("scikit-learn").encode(), b"99.0.0")
                assert b"99.0.0" in data
            new.writestr(entry, data)


def test_skops_of_a_newer_scikit_learn(here, fails):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = skops_file(make_pipeline(StandardScaler(), LogisticRegression()).fit(ROWS, LABELS))
    with_newer_sklearn(model)
    told = fails(4, model)
    assert "99.0.0" in told
    assert metadata.version("scikit-learn") in told
    assert "scikit-learn" in told


def test_pickle_of_a_newer_scikit_learn(here, fails, monkeypatch):
    import pickle

    import sklearn
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit(ROWS, LABELS)
    with monkeypatch.context() as patch:
        patch.setattr("sklearn.base.__version__", "99.0.0")
        Path("model.pkl").write_bytes(pickle.dumps(model))
    told = fails(4, "model.pkl", "--trust")
    assert "99.0.0" in told
    assert sklearn.__version__ in told


def test_lightgbm_file_of_a_newer_version(here, fails, trained):
    text = trained("breast_cancer.txt").read_text()
    assert text.splitlines()[1] == "version=v4"
    Path("model.txt").write_text(text.replace("version=v4", "version=v5", 1))
    for target in ("onnx", "treelite"):
        told = fails(4, "model.txt", to=target)
        assert "v5" in told
        assert "v4" in told


@pytest.mark.parametrize("suffix", [".json", ".ubj"])
def test_xgboost_file_of_a_newer_version(here, fails, trained, suffix):
    import xgboost

    if suffix == ".json":
        model = json.loads(trained("iris_xgboost.json").read_text())
        model["version"] = [99, 0, 0]
        Path("model.json").write_text(json.dumps(model))
    else:
        # The key, then an array of three integers of a byte each: `i` and the number.
        data, key = bytearray(trained("iris_xgboost.ubj").read_bytes()), b"version["
        data[data.index(b"i", data.rindex(key) + len(key)) + 1] = 99
        Path("model.ubj").write_bytes(data)
    told = fails(4, f"model{suffix}")
    assert re.search(r"99\.\d", told)
    assert xgboost.__version__ in told


def test_catboost_file_of_a_newer_version(here, fails, trained):
    import catboost

    ours, theirs = f"tags/v{catboost.__version__}".encode(), f"tags/v9{catboost.__version__[1:]}".encode()
    data = trained("diabetes.cbm").read_bytes()
    assert ours in data
    Path("model.cbm").write_bytes(data.replace(ours, theirs))
    told = fails(4, "model.cbm")
    assert f"9{catboost.__version__[1:]}" in told
    assert catboost.__version__ in told


def test_treelite_checkpoint_of_a_newer_version(here, fails, trained):
    import treelite

    treelite.frontend.load_lightgbm_model(str(trained("breast_cancer.txt"))).serialize("model.tl")
    data = bytearray(Path("model.tl").read_bytes())
    assert tuple(data[0:12:4]) == tuple(int(number) for number in treelite.__version__.split("."))
    data[0] = 99
    Path("model.tl").write_bytes(data)
    told = fails(4, "model.tl", "--from", "treelite")
    assert f"99{treelite.__version__[1:]}" in told
    assert "treelite 4" in told


# --- no trees ---


def lightgbm_without_trees() -> str:
    import lightgbm

    empty = lightgbm.Booster({"objective": "binary", "verbose": -1}, lightgbm.Dataset(ROWS, LABELS).construct())
    empty.save_model("model.txt")
    return "model.txt"


def xgboost_without_trees() -> str:
    import xgboost

    xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(ROWS, LABELS), 0).save_model("model.ubj")
    return "model.ubj"


def catboost_without_trees() -> str:
    import catboost

    model = catboost.CatBoostClassifier(
        iterations=2, depth=2, verbose=False, allow_writing_files=False, thread_count=1
    ).fit(ROWS, LABELS)
    model.shrink(0)
    assert model.tree_count_ == 0
    model.save_model("model.cbm")
    return "model.cbm"


@pytest.mark.parametrize("make", [lightgbm_without_trees, xgboost_without_trees, catboost_without_trees])
def test_a_booster_without_trees(here, fails, make):
    told = fails(4, make())
    assert re.search(r"\b(no|0|without) trees?\b", told)
    assert "try:" in told or "train" in told


# --- samples of another kind than the model's ---


@pytest.mark.parametrize("name", ["breast_cancer.txt", "iris_xgboost.json", "diabetes.cbm", "wine_forest.skops"])
@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_another_number_of_features(here, fails, trained, name, suffix):
    features = {"breast_cancer.txt": 30, "iris_xgboost.json": 4, "diabetes.cbm": 10, "wine_forest.skops": 13}[name]
    given = features - 1
    if suffix == ".npz":
        np.savez("rows.npz", input=np.zeros((5, given)))
    else:
        whole = trained(name).with_suffix(".csv")
        header = whole.read_text().splitlines()[0].split(",") if whole.exists() else [f"c{i}" for i in range(features)]
        Path("rows.csv").write_text("\n".join(",".join(line) for line in (header[:given], ["0.5"] * given)) + "\n")
    told = fails(2, trained(name), "--samples", f"rows{suffix}")
    if suffix == ".npz" or name == "wine_forest.skops":
        assert str(features) in told
        assert str(given) in told
    else:  # the file knows the names of its columns
        assert f"lacks the column '{header[-1]}'" in told


def churn_rows(trained: Callable[[str], Path]) -> dict[str, np.ndarray]:
    import pandas as pd

    frame = pd.read_csv(trained("churn.skops").with_suffix(".csv"), keep_default_na=False)
    return {name: np.array(frame[name].tolist())[:, None] for name in frame}


def test_a_text_column_given_numbers(here, fails, trained):
    rows = churn_rows(trained)
    rows["contract"] = np.zeros((len(rows["region"]), 1))
    np.savez("rows.npz", **rows)
    told = fails(2, trained("churn.skops"), "--samples", "rows.npz")
    assert "contract" in told
    assert "float64" in told or "number" in told


def test_a_column_of_numbers_given_text(here, fails, trained):
    rows = churn_rows(trained)
    rows["tenure_months"] = np.array([["two years"]] * len(rows["region"]))
    np.savez("rows.npz", **rows)
    told = fails(2, trained("churn.skops"), "--samples", "rows.npz")
    assert "tenure_months" in told
    assert "text" in told or "string" in told


def test_one_word_in_a_column_of_numbers_of_a_csv(here, fails, trained):
    lines = trained("churn.skops").with_suffix(".csv").read_text().splitlines()
    cells = lines[3].split(",")
    lines[3] = ",".join(["n/a", *cells[1:]])
    Path("rows.csv").write_text("\n".join(lines) + "\n")
    told = fails(2, trained("churn.skops"), "--samples", "rows.csv")
    assert "tenure_months" in told


def test_text_for_a_model_of_text_given_as_numbers(here, fails, trained):
    np.savez("rows.npz", input=np.zeros((5, 1)))
    told = fails(2, trained("tickets.skops"), "--samples", "rows.npz")
    assert "input" in told
    assert "string" in told


def test_words_for_trees(here, fails, trained):
    np.savez("rows.npz", input=np.array([["a"] * 30] * 4))
    told = fails(2, trained("breast_cancer.txt"), "--samples", "rows.npz")
    assert "input" in told
    assert "float64" in told


# --- damaged files ---


def edit(text: str, key: str, change: Callable[[list[str]], list[str]], tree: int = 0) -> str:
    """The model's text with a line of a tree changed, and the sizes in the header made to fit."""
    blocks = text.split("Tree=")
    lines = blocks[tree + 1].split("\n")
    at = next(index for index, line in enumerate(lines) if line.startswith(f"{key}="))
    lines[at] = f"{key}=" + " ".join(change(lines[at].partition("=")[2].split(" ")))
    blocks[tree + 1] = "\n".join(lines)
    last = blocks[-1].index("end of trees")
    sizes = [len(f"Tree={block}".encode()) for block in (*blocks[1:-1], blocks[-1][:last])]
    return "Tree=".join(re.sub(r"tree_sizes=.*", "tree_sizes=" + " ".join(map(str, sizes)), part, count=1)
                        if index == 0 else part for index, part in enumerate(blocks))  # fmt: skip


DAMAGES: dict[str, tuple[str, Callable[[list[str]], list[str]]]] = {
    "child out of range": ("left_child", lambda values: ["9999", *values[1:]]),
    "a cycle": ("left_child", lambda values: ["0", *values[1:]]),
    "leaf out of range": ("right_child", lambda values: [*values[:-1], "-9999"]),
    "feature out of range": ("split_feature", lambda values: ["30", *values[1:]]),
    "negative feature": ("split_feature", lambda values: ["-1", *values[1:]]),
    "threshold is a word": ("threshold", lambda values: ["high", *values[1:]]),
    "threshold is missing": ("threshold", lambda values: values[1:]),
    "leaf value is missing": ("leaf_value", lambda values: values[1:]),
    "leaf value is a word": ("leaf_value", lambda values: ["x", *values[1:]]),
    "more leaves than there are": ("num_leaves", lambda values: ["4000000"]),
    "no leaves": ("num_leaves", lambda values: ["0"]),
    "negative leaves": ("num_leaves", lambda values: ["-3"]),
    "decision type is unknown": ("decision_type", lambda values: ["255", *values[1:]]),
    "categories that are not there": ("num_cat", lambda values: ["3"]),
    "overflow": ("left_child", lambda values: ["99999999999999999999", *values[1:]]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_lightgbm_file_with_a_corrupt_tree(here, fails, trained, damage):
    key, change = DAMAGES[damage]
    Path("model.txt").write_text(edit(trained("breast_cancer.txt").read_text(), key, change, tree=3))
    told = fails(4, "model.txt")
    assert "model.txt" in told
    assert "tree 3" in told
    assert "save_model" in told or "try:" in told


def test_the_damages_are_what_fails(here, trained, capsys):
    """Written anew without a change, the file is whole."""
    Path("model.txt").write_text(edit(trained("breast_cancer.txt").read_text(), "left_child", lambda values: values))
    assert main(["convert", "model.txt", "--to", "onnx", "-o", "out", "--no-verify"]) == 0


def test_lightgbm_file_with_a_corrupt_tree_to_treelite(here, fails, trained):
    key, change = DAMAGES["child out of range"]
    Path("model.txt").write_text(edit(trained("breast_cancer.txt").read_text(), key, change))
    assert "tree 0" in fails(4, "model.txt", to="treelite")


@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_catboost_file_that_was_cut_off(here, fails, trained, cut):
    data = trained("diabetes.cbm").read_bytes()
    Path("model.cbm").write_bytes(data[: int(len(data) * cut)])
    assert "model.cbm" in fails(4, "model.cbm")


def test_skops_file_without_its_schema(here, fails, trained):
    shutil.copyfile(trained("churn.skops"), "model.skops")
    with zipfile.ZipFile("model.skops", "w") as archive:
        archive.writestr("other.json", "{}")
    assert "other.json" in fails(2, "model.skops")
