"""One way to hold a written estimator against scikit-learn: both answer the same rows, nasty ones among them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from mlconvert.onnx_model.releases import TreeOperators
from mlconvert.pipelines.model import Made, estimator_model
from mlconvert.readers.estimator_answers import outputs_of, table_of

RNG = np.random.default_rng(3)
X = RNG.normal(size=(160, 5))
X[:, 4] = np.round(X[:, 4])
CLASSES = (X[:, 0] + X[:, 1] ** 2 > 0.6).astype(int) + (X[:, 2] > 0.8)
BINARY = (CLASSES > 0).astype(int)
NAMES = np.array(["ash", "beech", "cedar"])[CLASSES]
VALUES = X[:, 0] * 2 + X[:, 1] ** 2
POSITIVE = np.exp(VALUES / 3)

_KINDS = {"f": "float64", "i": "int64", "u": "int64", "b": "bool", "U": "string"}
_ARRAYS = {
    "tensor(bool)": np.bool_,
    "tensor(double)": np.float64,
    "tensor(float)": np.float32,
    "tensor(int64)": np.int64,
    "tensor(string)": object,
}


def nasty(rows: np.ndarray) -> np.ndarray:
    """Rows of training data, one ulp beside them, their extremes, zeros, large ones, and random ones."""
    some = rows[::3]
    every = [rows, np.nextafter(some, np.inf), np.nextafter(some, -np.inf), np.float32(some).astype(np.float64)]
    every += [rows.min(0)[None], rows.max(0)[None], np.zeros((1, rows.shape[1])), -rows, RNG.normal(0, 3, rows.shape)]
    every += [np.full((1, rows.shape[1]), value) for value in (1e3, -1e3)]
    return np.concatenate(every)


def gaps(rows: np.ndarray) -> np.ndarray:
    """A fifth of the values missing."""
    missing = np.random.default_rng(8).random(rows.shape) < 0.2
    return np.where(missing, np.nan, rows)


def fitted(estimator: Any, *data: Any) -> Any:
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")  # small data does not converge, and some classes are going to be removed
        return estimator.fit(*data)


def called(estimator: Any) -> str:
    """An estimator in the name of a test."""
    return " ".join(repr(estimator).split())[:90]


def columns(frame: Any) -> dict[str, np.ndarray]:
    """A data frame as the samples that a user gives."""
    arrays = {name: frame[name].to_numpy() for name in frame}
    return {
        name: (values if values.dtype.kind in "biuf" else values.astype(np.str_)).reshape(-1, 1)
        for name, values in arrays.items()
    }


def written(
    estimator: Any, samples: Mapping[str, np.ndarray], answers: Mapping[str, np.ndarray], **options: Any
) -> Made:
    floats = options.pop("floats", "float64")
    kinds = {**_KINDS, "f": floats}
    return estimator_model(
        estimator,
        {name: (kinds[values.dtype.kind], values.shape[1]) for name, values in samples.items()},
        variable=lambda: _KINDS[answers["variable"].dtype.kind],
        floats=floats,
        opset=options.pop("opset", 18),
        operators=options.pop("operators", TreeOperators()),
        where="model.skops",
    )


@pytest.fixture
def assert_exact() -> Callable[..., Made]:
    """A function that fails unless the ONNX model of a fitted estimator answers as the estimator does.

    Labels must be equal in every row, floats within `tolerance` (relative above 1), NaN where the library gives NaN.
    """
    return check_exact


def check_exact(estimator: Any, samples: Any, tolerance: float = 1e-12, **options: Any) -> Made:
    import onnxruntime

    samples = samples if isinstance(samples, dict) else {"input": samples}
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        wanted = outputs_of(estimator, table_of(estimator, samples))
    inputs = {name: values.reshape(len(values), -1) for name, values in samples.items()}
    made = written(estimator, inputs, wanted, **options)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(made.model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_inputs()] == list(inputs)
    fed = {value.name: inputs[value.name].astype(_ARRAYS[value.type]) for value in session.get_inputs()}
    names = [value.name for value in session.get_outputs()]
    assert names == list(wanted)
    for name, got in zip(names, session.run(None, fed), strict=True):
        _compare(name, wanted[name], np.asarray(got), tolerance)
    return made


def _compare(name: str, wanted: np.ndarray, got: np.ndarray, tolerance: float) -> None:
    assert got.shape == wanted.shape, name
    if wanted.dtype.kind != "f":
        wrong = np.flatnonzero((got.astype(wanted.dtype) != wanted).reshape(len(got), -1).any(axis=1))
    else:
        with np.errstate(invalid="ignore"):
            close = np.abs(got - wanted) <= tolerance * np.maximum(1, np.abs(wanted))
        same = close | (got == wanted) | (np.isnan(got) & np.isnan(wanted))
        wrong = np.flatnonzero(~same.reshape(len(got), -1).all(axis=1))
    if len(wrong):
        first = wrong[0]
        raise AssertionError(
            f"{name}: {len(wrong)} of {len(got)} rows differ, row {first}: {got[first]}, not {wanted[first]}"
        )
