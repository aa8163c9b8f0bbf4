"""Models drawn at random, and the way to hold a jar against numpy."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mlconvert.artifact import Artifact
from mlconvert.jars.model import JarModel, answers_of
from mlconvert.jars.stream import open_stream
from mlconvert.jars.verification import answer_columns
from mlconvert.jars.writing import write_jar
from mlconvert.java import find_java


@pytest.fixture(scope="session")
def random_forests() -> ModuleType:
    """The module of the tests of forests."""
    path = Path(__file__).parent.parent / "forests" / "random_forests.py"
    spec = importlib.util.spec_from_file_location("random_forests", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look for it there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def java() -> Path:
    return find_java().path


@pytest.fixture
def self_test(java) -> Callable[[Path], subprocess.CompletedProcess[str]]:
    def run(jar: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([java, "-jar", jar, "--self-test"], capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def assert_answers(tmp_path, java) -> Callable[..., Artifact]:
    """A function that fails unless the jar of a model answers rows as numpy does: labels equal, floats to 1e-12."""

    def check(model: JarModel, rows: np.ndarray, *, numbers: int | None = None, **options: object) -> Artifact:
        made = write_jar(model, tmp_path / "made.jar", **options)
        wanted = answer_columns(model, rows)
        with open_stream(java, made.path) as stream:
            assert (stream.features, stream.width) == (rows.shape[1], wanted.shape[1])
            got = stream.answers(rows)
        labels = answers_of(model)[0][0] == "label"
        if labels:
            assert np.array_equal(got[:, 0], wanted[:, 0])
        bound = 1e-12 if model.trees.arithmetic == "float64" else 1e-6
        same = (got == wanted) | (np.isnan(got) & np.isnan(wanted))
        with np.errstate(invalid="ignore"):
            near = np.abs(got - wanted) <= bound * np.maximum(1, np.abs(wanted))
        wrong = np.flatnonzero(~(same | near).all(axis=1))
        assert not len(wrong), (len(wrong), rows[wrong[0]], got[wrong[0]], wanted[wrong[0]])
        return made

    return check
