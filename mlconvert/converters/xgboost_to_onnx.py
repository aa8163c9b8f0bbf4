"""XGBoost's json or ubj file to ONNX, through onnxmltools.

onnxmltools guesses the objective of a bare booster from its statistics; here it is told. What it is known to convert
wrongly without a word is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mlconvert.converters import classical_graph
from mlconvert.errors import ConversionFailed
from mlconvert.readers import classical_outputs
from mlconvert.readers.boosters import XgboostModel, load_xgboost

if TYPE_CHECKING:
    from mlconvert.artifact import Artifact

# Objectives whose answers are the sum of the leaves, or its exponent: what onnxmltools writes.
SUMS = frozenset(
    {
        "binary:logitraw",
        "rank:map",
        "rank:ndcg",
        "rank:pairwise",
        "reg:absoluteerror",
        "reg:pseudohubererror",
        "reg:quantileerror",
        "reg:squarederror",
        "reg:squaredlogerror",
    }
)
EXPONENTS = frozenset({"count:poisson", "reg:gamma", "reg:tweedie"})
CLASSES = frozenset({"binary:logistic", "multi:softmax", "multi:softprob"})


def convert(
    source: Artifact,
    target: Path,
    *,
    opset: Annotated[int, "version of the ai.onnx operators"] = 18,
) -> Artifact:
    """Write an ONNX model with the input `input`, float32 [batch, F]; outputs as the runner of XGBoost names them.

    Raises ConversionFailed for a damaged file, an objective that onnxmltools does not convert rightly, dart,
    gblinear, several targets, categorical features and forests of several trees a round and class.
    """
    booster, model = load_xgboost(source.path)
    task = classical_outputs.task_of(classical_outputs.XGBOOST, model.objective, "XGBoost", source.location)
    refuse_xgboost(model, source.location)
    with classical_graph.stock_errors("onnxmltools cannot convert the XGBoost model", source.location):
        graph = _stock(booster, model, opset)
    classes = model.num_class if task == "multiclass" else 2
    outputs = classical_graph.task_outputs(task, classes)
    return classical_graph.finish(graph, target, opset=opset, outputs=outputs)


def _stock(booster: Any, model: XgboostModel, opset: int) -> Any:
    import numpy as np
    from onnxmltools.convert.common.data_types import FloatTensorType
    from onnxmltools.convert.xgboost import _parse
    from onnxmltools.convert.xgboost import convert as stock

    class Told(_parse.WrappedBooster):  # type: ignore[misc]
        """onnxmltools' own view of a booster, told what its constructor would guess."""

        def __init__(self) -> None:
            self.booster_ = booster
            # softmax is softprob whose largest class is the answer; onnxmltools would give margins for it.
            objective = "multi:softprob" if model.objective == "multi:softmax" else model.objective
            self.kwargs = {"objective": objective if model.objective not in SUMS else "reg:squarederror"}
            self.operator_name = "XGBClassifier" if model.objective in CLASSES else "XGBRegressor"
            self.classes_ = np.arange(max(model.num_class, 2))
            self.n_estimators = len(model.tree_info) // max(model.num_class, 1)

    forget_columns(booster)
    return stock(
        Told(),
        initial_types=[("input", FloatTensorType([None, model.features]))],
        target_opset=min(opset, classical_graph.ONNXMLTOOLS_OPSET),
    )


def forget_columns(booster: Any) -> None:
    """Drop the names and types of a booster's features, in place.

    onnxmltools reads a feature's number from the default names f0, f1, …, and a dump rounds the thresholds of
    integer features and leaves out those of booleans.
    """
    booster.feature_names = None
    booster.feature_types = None


def refuse_xgboost(model: XgboostModel, where: str) -> None:
    """Raise ConversionFailed for what onnxmltools is known to convert wrongly without saying so."""
    groups = max(model.num_class, 1)
    wrong = {
        f"booster={model.booster}": model.booster != "gbtree",
        "several targets": model.num_target > 1 or model.vector_leaves,
        "categorical features": model.categorical,
        "several trees a round (num_parallel_tree)": any(
            group != index % groups for index, group in enumerate(model.tree_info)
        ),
        f"the objective {model.objective}": model.objective not in SUMS | EXPONENTS | CLASSES,
        "no trees": not model.tree_info,
    }
    for what, present in wrong.items():
        if present:
            raise ConversionFailed(f"XGBoost with {what} would be converted wrongly by onnxmltools", where=where)
