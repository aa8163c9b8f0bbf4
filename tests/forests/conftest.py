"""One way to hold a TreeModel against its library: random rows and boundary rows, through numpy and through ONNX."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mlconvert.forests.evaluation import answers
from mlconvert.forests.model import TreeModel, check_forest

Answers = dict[str, np.ndarray]


@pytest.fixture(scope="session")
def random_forests() -> ModuleType:
    """The module beside this one: tests are imported in a way that hides their neighbours from them."""
    spec = importlib.util.spec_from_file_location("random_forests", Path(__file__).with_name("random_forests.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look for it there
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def assert_exact(tmp_path: Path) -> Callable[..., None]:
    """A function that fails unless a TreeModel, and the ONNX file made of it, answer as the library does.

    `reference`: rows float64 [n, F] -> the library's own outputs, under the agreed names. Labels must be equal in
    every row. Floats: float64 within `atol` of the reference (relative above 1), float32 within some ulp.
    `rows` come beside `count` random and `count` boundary rows; `random` replaces the normally distributed ones.
    """

    def check(
        model: TreeModel,
        reference: Callable[[np.ndarray], Answers],
        *,
        rows: np.ndarray | None = None,
        random: np.ndarray | None = None,
        count: int = 400,
        atol: float = 1e-12,
        **options: object,
    ) -> None:
        from mlconvert.forests.boundary import boundary_rows
        from mlconvert.forests.onnx_file import write_trees

        check_forest(model.forest)
        if random is None:
            random = np.random.default_rng(5).normal(size=(count, model.forest.features))
        edges = boundary_rows(model.forest, count=count, seed=7, around=random)
        assert edges.shape[1] == model.forest.features
        every = np.concatenate([random, edges] + ([] if rows is None else [rows]))
        wanted = reference(every)
        compare(wanted, answers(model, every), atol, "numpy")
        made = write_trees(model, tmp_path / f"{len(list(tmp_path.iterdir()))}.onnx", **options)
        compare(wanted, _run(made.path, every), atol, "ONNX")

    return check


def _run(path: Path, rows: np.ndarray) -> Answers:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    fed = rows.astype(np.float32 if taken.type == "tensor(float)" else np.float64)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {taken.name: fed}), strict=True))


def compare(wanted: Answers, got: Answers, atol: float, what: str) -> None:
    assert sorted(wanted) == sorted(got), what
    for name, expected in wanted.items():
        actual = got[name]
        assert actual.shape == expected.shape, f"{what} {name}"
        if expected.dtype.kind != "f":
            wrong = np.flatnonzero(np.asarray(actual).astype(expected.dtype) != expected)
            assert not len(wrong), f"{what} {name}: {len(wrong)} of {len(expected)} rows differ, first {wrong[0]}"
            continue
        bound = atol if expected.dtype == np.float64 and actual.dtype == np.float64 else 1e-6
        both = np.isfinite(expected) & np.isfinite(actual)
        same = (expected == actual) | (np.isnan(expected) & np.isnan(actual))
        with np.errstate(invalid="ignore"):
            close = both & (np.abs(actual - expected) <= bound * np.maximum(1, np.abs(expected)))
        wrong = np.flatnonzero(~(same | close).reshape(len(expected), -1).all(axis=1))
        assert not len(wrong), f"{what} {name}: {len(wrong)} of {len(expected)} rows differ, first {wrong[0]}"
