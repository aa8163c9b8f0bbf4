"""What skl2onnx and onnxmltools are known to convert wrongly without saying so, refused by name.

Each was measured; what is not listed is left to the comparison with the reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlconvert.errors import ConversionFailed
from mlconvert.readers import estimators


def refuse(estimator: Any, where: str) -> None:
    """Raise ConversionFailed for the first part of the estimator that would be converted wrongly."""
    for place, part in estimators.walk(estimator):
        at = f" (at {place})" if place else ""
        for reason in _reasons(part):
            what = f"{type(part).__name__}{at} with {reason} would be converted wrongly by the stock converter"
            raise ConversionFailed(what, where=where)
        library = type(part).__module__.partition(".")[0]
        if library == "lightgbm":
            _refuse_lightgbm(part, where)
        elif library == "xgboost":
            _refuse_xgboost(part, where)
        elif library == "catboost":
            what = f"{type(part).__name__}{at} inside another estimator cannot be converted"
            raise ConversionFailed(what, where=where, hint="save the CatBoost model alone, as .cbm")


def _reasons(part: Any) -> Iterator[str]:
    name = type(part).__name__
    if name.startswith("HistGradientBoosting"):
        if getattr(part, "is_categorical_", None) is not None and any(part.is_categorical_):
            yield "categorical features"
        if getattr(part, "loss", "") in ("poisson", "gamma"):
            yield f"loss='{part.loss}'"
    if name in ("TunedThresholdClassifierCV", "FixedThresholdClassifier"):
        yield "a threshold"
    if name == "LinearDiscriminantAnalysis" and len(getattr(part, "classes_", ())) == 2:
        yield "two classes"
    if getattr(part, "add_indicator", False):
        yield "add_indicator"
    if getattr(part, "sublinear_tf", False):
        yield "sublinear_tf"
    if hasattr(part, "tree_") and _met_missing_values(part.tree_):
        yield "missing values among its training data"


def _met_missing_values(tree: Any) -> bool:
    """Whether a tree of scikit-learn learnt where missing values go.

    Without any, the way they would go is that of the larger child.
    """
    nodes = tree.__getstate__()["nodes"]
    if "missing_go_to_left" not in nodes.dtype.names:
        return False
    inner = nodes["left_child"] >= 0
    larger = nodes["n_node_samples"][nodes["left_child"][inner]] > nodes["n_node_samples"][nodes["right_child"][inner]]
    return bool((nodes["missing_go_to_left"][inner].astype(bool) != larger).any())


def _refuse_lightgbm(part: Any, where: str) -> None:
    from mlconvert.converters.lightgbm_to_onnx import refuse_lightgbm
    from mlconvert.readers.boosters import read_lightgbm_text

    text = read_lightgbm_text(part.booster_.model_to_string().encode("utf-8"), where)
    refuse_lightgbm(text, where)


def _refuse_xgboost(part: Any, where: str) -> None:
    from mlconvert.converters.xgboost_to_onnx import refuse_xgboost
    from mlconvert.readers.boosters import check_xgboost

    refuse_xgboost(check_xgboost(part.get_booster(), where), where)
