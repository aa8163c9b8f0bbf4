"""LightGBM, XGBoost and CatBoost by their own Boosters: what a service calls that keeps the library but not its
scikit-learn classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mlconvert.artifact import Artifact
from mlconvert.benchmarking.turns import Feed, Model
from mlconvert.readers import classical_outputs


def lightgbm_array(artifact: Artifact, threads: int) -> Model:  # noqa: ARG001 - one shape for all ways
    return _lightgbm(artifact, "Booster.predict(array)", _matrix)


def lightgbm_frame(artifact: Artifact, threads: int) -> Model:  # noqa: ARG001 - one shape for all ways
    import pandas as pd

    columns = list(artifact.signature.inputs[0].columns) if artifact.signature else []

    def frame(feed: Feed) -> Any:
        return pd.DataFrame(_matrix(feed), columns=columns or None)

    return _lightgbm(artifact, "Booster.predict(DataFrame)", frame)


def _lightgbm(artifact: Artifact, call: str, prepare: Callable[[Feed], Any]) -> Model:
    import lightgbm

    from mlconvert.readers.lightgbm_files import lightgbm_header, task_of

    task = task_of(lightgbm_header(artifact.path), artifact.location)
    booster = lightgbm.Booster(model_file=str(artifact.path))  # read before, by the comparison: it does not crash

    # OMP_NUM_THREADS, which the child is started with, says how many threads: a parameter would cost time in each call.
    def run(rows: Any) -> Any:
        return booster.predict(rows, num_iteration=-1)

    return Model(call, prepare, run, lambda told: classical_outputs.outputs(task, told))


def xgboost_matrix(artifact: Artifact, threads: int) -> Model:
    import xgboost

    def predict(booster: Any, rows: np.ndarray) -> Any:
        return booster.predict(xgboost.DMatrix(rows, feature_names=booster.feature_names, nthread=threads))

    return _xgboost(artifact, threads, "Booster.predict(DMatrix(array))", predict)


def xgboost_in_place(artifact: Artifact, threads: int) -> Model:
    def predict(booster: Any, rows: np.ndarray) -> Any:
        return booster.inplace_predict(rows, validate_features=False)

    return _xgboost(artifact, threads, "Booster.inplace_predict(array)", predict)


def _xgboost(artifact: Artifact, threads: int, call: str, predict: Callable[[Any, np.ndarray], Any]) -> Model:
    from mlconvert.readers.xgboost_files import load_xgboost

    booster, known = load_xgboost(artifact.path)
    booster.set_param({"nthread": threads})
    task = classical_outputs.task_of(classical_outputs.XGBOOST, known.objective, "XGBoost", artifact.location)

    def read(told: Any) -> dict[str, np.ndarray]:
        if known.objective == "multi:softmax":  # it gives labels, and nothing else
            return {"label": np.asarray(told).astype(np.int64)}
        if task == "binary" and known.num_target > 1:
            return {"variable": np.asarray(told)}
        return classical_outputs.outputs(task, told)

    return Model(call, _matrix, lambda rows: predict(booster, rows), read)


def catboost_array(artifact: Artifact, threads: int) -> Model:
    """CatBoost's own class answers with raw sums; what they mean is part of the call, as it is of its classes."""
    from mlconvert.readers.catboost_files import catboost_loss, load_catboost

    model = load_catboost(artifact.path)
    classifier = bool(artifact.signature and artifact.signature.outputs[0].name == "label")
    kind = "Probability" if classifier or catboost_loss(model) in classical_outputs.CATBOOST_MULTILABEL else (
        "Exponent" if catboost_loss(model) in classical_outputs.CATBOOST_EXPONENT else "RawFormulaVal"
    )  # fmt: skip
    name = "probabilities" if classifier else "variable"

    def run(rows: Any) -> Any:
        return model.predict(rows, prediction_type=kind, thread_count=threads)

    def read(told: Any) -> dict[str, np.ndarray]:
        return {name: np.asarray(told) if np.ndim(told) == 2 else np.reshape(told, (-1, 1))}

    return Model(f"CatBoost.predict(array, '{kind}')", _matrix, run, read)


def _matrix(feed: Feed) -> np.ndarray:
    return np.ascontiguousarray(feed["input"], dtype=np.float64)
