"""What the raw predictions of LightGBM, XGBoost and CatBoost mean, objective by objective.

The reference and the converted model both go by these tables, so an objective that is not in them is refused by
name rather than guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from mlconvert.errors import ConversionFailed
from mlconvert.signature import TensorSpec

if TYPE_CHECKING:
    import numpy as np

Task = Literal["binary", "multiclass", "value"]

LIGHTGBM: Mapping[str, Task] = {
    "binary": "binary",
    "multiclass": "multiclass",
    "multiclassova": "multiclass",
    "cross_entropy": "value",
    "cross_entropy_lambda": "value",
    "fair": "value",
    "gamma": "value",
    "huber": "value",
    "lambdarank": "value",
    "mape": "value",
    "poisson": "value",
    "quantile": "value",
    "rank_xendcg": "value",
    "regression": "value",
    "regression_l1": "value",
    "tweedie": "value",
}
# A binary objective with several targets answers each one's probability, as values.
XGBOOST: Mapping[str, Task] = {
    "binary:hinge": "binary",
    "binary:logistic": "binary",
    "multi:softmax": "multiclass",
    "multi:softprob": "multiclass",
    "binary:logitraw": "value",
    "count:poisson": "value",
    "rank:map": "value",
    "rank:ndcg": "value",
    "rank:pairwise": "value",
    "reg:absoluteerror": "value",
    "reg:gamma": "value",
    "reg:logistic": "value",
    "reg:pseudohubererror": "value",
    "reg:quantileerror": "value",
    "reg:squarederror": "value",
    "reg:squaredlogerror": "value",
    "reg:tweedie": "value",
    "survival:aft": "value",
    "survival:cox": "value",
}
CATBOOST: Mapping[str, Task] = {
    "Logloss": "binary",
    "CrossEntropy": "binary",
    "Focal": "binary",
    "MultiClass": "multiclass",
    "MultiClassOneVsAll": "multiclass",
    "Cox": "value",
    "Expectile": "value",
    "GroupQuantile": "value",
    "Huber": "value",
    "LambdaMart": "value",
    "LogCosh": "value",
    "LogLinQuantile": "value",
    "Lq": "value",
    "MAE": "value",
    "MAPE": "value",
    "MultiCrossEntropy": "value",
    "MultiLogloss": "value",
    "MultiQuantile": "value",
    "MultiRMSE": "value",
    "MultiRMSEWithMissingValues": "value",
    "PairLogit": "value",
    "PairLogitPairwise": "value",
    "Poisson": "value",
    "Quantile": "value",
    "QueryRMSE": "value",
    "QuerySoftMax": "value",
    "RMSE": "value",
    "RMSPE": "value",
    "StochasticFilter": "value",
    "StochasticRank": "value",
    "SurvivalAft": "value",
    "Tweedie": "value",
    "YetiRank": "value",
    "YetiRankPairwise": "value",
}
# CatBoostRegressor.predict gives the exponent of the raw value for these (the base class CatBoost does not).
CATBOOST_EXPONENT = frozenset({"Poisson", "Tweedie"})
# Several labels at once: the values are each one's probability.
CATBOOST_MULTILABEL = frozenset({"MultiCrossEntropy", "MultiLogloss"})


def task_of(table: Mapping[str, Task], objective: str, library: str, where: str) -> Task:
    """What a model of this objective answers; raises ConversionFailed, by name, for one that is not in the table."""
    if objective not in table:
        shown = f"the objective '{objective}'" if objective else "no objective (or one of the user's own)"
        what = f"the {library} model has {shown}: what its raw predictions mean is not known here"
        raise ConversionFailed(what, where=where, hint=f"known objectives: {', '.join(table)}")
    return table[objective]


def output_specs(task: Task, *, classes: int, values: int, label: str = "int64", dtype: str) -> tuple[TensorSpec, ...]:
    """`label` [batch] and `probabilities` [batch, classes], or `variable` [batch, values]."""
    if task == "value":
        return (TensorSpec("variable", dtype, ("batch", values)),)
    return TensorSpec("label", label, ("batch",)), TensorSpec("probabilities", dtype, ("batch", classes))


def outputs(task: Task, predictions: Any) -> dict[str, np.ndarray]:
    """Transformed predictions (a probability a row, or one a class, or values) under the names of the outputs.

    Binary: the label is 1 where the probability is above one half. Multiclass: the first of the largest.
    """
    import numpy as np

    predictions = np.asarray(predictions)
    if task == "binary":
        positive = predictions.reshape(-1)
        label = (positive > 0.5).astype(np.int64)
        return {"label": label, "probabilities": np.stack([1 - positive, positive], axis=1)}
    if task == "multiclass":
        return {"label": predictions.argmax(axis=1).astype(np.int64), "probabilities": predictions}
    return {"variable": predictions.reshape(len(predictions), -1)}
