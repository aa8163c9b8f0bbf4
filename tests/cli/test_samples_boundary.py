"""`mlconvert samples --kind boundary`: files of rows at the thresholds of a model's trees."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mlconvert.cli import main
from mlconvert.forests.evaluation import as_compared
from mlconvert.forests.lightgbm import read_lightgbm
from mlconvert.samples import read_samples
from mlconvert.signature import Signature, TensorSpec

COLUMNS = 30
MATRIX = Signature((TensorSpec("input", "float64", ("batch", COLUMNS)),), ())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]):
    def call(code: int, *words: object) -> tuple[str, str]:
        capsys.readouterr()
        got = main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert got == code, f"exit code {got}\n{out}\n{err}"
        return out, err

    return call


@pytest.fixture
def model(here: Path, trained) -> Path:
    return Path(shutil.copyfile(trained("breast_cancer.txt"), here / "model.txt"))


def test_both_sides_of_the_thresholds_are_in_the_file(model: Path, here: Path, shell) -> None:
    out, _ = shell(0, "samples", "model.txt", "-o", "edges.npz", "--kind", "boundary", "--count", "60000")
    assert "edges.npz: 60000 boundary rows, seed 0" in out
    with np.load(here / "edges.npz") as stored:
        assert stored.files == ["input"]
        rows = stored["input"]
    assert rows.shape == (60000, COLUMNS)
    assert rows.dtype == np.float64
    forest = read_lightgbm(model.read_bytes(), "here").forest
    seen = as_compared(forest, rows)
    for feature, at in zip(forest.feature, forest.threshold, strict=True):
        assert {at, np.nextafter(at, np.inf)} <= set(seen[:, feature])
    assert np.isnan(rows).any()
    assert {np.inf, -np.inf} <= set(rows.ravel())
    assert np.signbit(rows[rows == 0]).any()


def test_the_seed_decides(model: Path, here: Path, shell) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        shell(0, "samples", "model.txt", "-o", f"{name}.npz", "--kind", "boundary", "--count", "9", "--seed", seed)
    a, b, c = ((here / f"{name}.npz").read_bytes() for name in "abc")
    assert a == b
    assert a != c


@pytest.mark.parametrize("suffix", [".npy", ".csv", ".parquet"])
def test_every_kind_of_file_holds_the_same_doubles(model: Path, here: Path, shell, suffix: str) -> None:
    for name in ("edges.npz", f"edges{suffix}"):
        shell(0, "samples", "model.txt", "-o", name, "--kind", "boundary", "--count", "2000")
    one, other = (read_samples(here / name, MATRIX)["input"] for name in ("edges.npz", f"edges{suffix}"))
    assert np.isnan(one).any()
    np.testing.assert_array_equal(one, other)
    numbers = ~np.isnan(one)
    np.testing.assert_array_equal(np.signbit(one[numbers]), np.signbit(other[numbers]))


@pytest.mark.parametrize("source", ["wine_forest.skops", "iris_xgboost.ubj", "iris_xgboost.json", "diabetes.cbm"])
def test_every_library_of_trees(here: Path, trained, shell, source: str) -> None:
    shell(0, "samples", trained(source), "-o", "edges.npz", "--kind", "boundary", "--count", "300")
    with np.load(here / "edges.npz") as stored:
        assert len(stored["input"]) == 300


def test_a_model_without_trees_says_what_to_do_instead(here: Path, small_onnx: Path, shell) -> None:
    _, err = shell(6, "samples", small_onnx, "-o", "edges.npz", "--kind", "boundary")
    assert "--kind random" in err
    assert not (here / "edges.npz").exists()


def test_other_kinds_are_unknown(model: Path, shell) -> None:
    _, err = shell(2, "samples", "model.txt", "-o", "edges.npz", "--kind", "edge")
    assert "boundary" in err
