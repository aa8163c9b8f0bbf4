"""XGBoost's native files, checked before the library walks them, and what a loaded booster says of itself."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlconvert.errors import ConversionFailed
from mlconvert.readers.ubjson import read_ubjson
from mlconvert.readers.xgboost_trees import XgboostTrees, xgboost_trees


@dataclass(frozen=True)
class XgboostModel:
    """What an XGBoost model says of itself, whichever file it was in."""

    objective: str
    booster: str  # gbtree, dart or gblinear
    num_class: int  # 0 for anything but multi:*
    num_target: int
    features: int
    feature_names: tuple[str, ...]


def xgboost_document(path: Path) -> dict[str, Any]:
    """The content of a .json or .ubj file, without XGBoost; its main part is `learner`.

    Raises ConversionFailed for a file that is not XGBoost's. Trees are as the file has them: nothing is checked.
    """
    return _document(_bytes(path), path)


def is_json(data: bytes) -> bool:
    """Whether a model's bytes are JSON and not UBJSON, where the first name begins with the mark of its length."""
    return re.match(rb'\s*\{\s*["}]', data) is not None


def load_xgboost(path: Path) -> tuple[Any, XgboostModel]:
    """The booster in a .json or .ubj file, checked so that predicting with it cannot crash, and what it says.

    Raises ConversionFailed for a file that is not XGBoost's, is damaged, or was saved by a newer XGBoost.
    """
    data = _bytes(path)
    # Read here first: XGBoost's own reader ends the process at a file that is nested too deep.
    document = _document(data, path)
    import xgboost

    _refuse_newer(document.get("version"), xgboost.__version__, str(path))
    try:
        booster = xgboost.Booster(model_file=bytearray(data.lstrip()))
    except (xgboost.core.XGBoostError, ValueError, UnicodeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConversionFailed(f"XGBoost cannot load the model: {reason}", where=str(path)) from error
    return booster, check_xgboost(booster, str(path))


def check_xgboost(booster: Any, where: str) -> XgboostModel:
    """Check the trees of a loaded booster, and read what it is; raises ConversionFailed for damaged trees."""
    learner = document_of(booster)["learner"]
    parameters = learner["learner_model_param"]
    checked_trees(learner, where)
    return XgboostModel(
        objective=learner["objective"]["name"],
        booster=learner["gradient_booster"]["name"],
        num_class=int(parameters["num_class"]),
        num_target=int(parameters.get("num_target", 1)),
        features=int(parameters["num_feature"]),
        feature_names=tuple(learner["feature_names"]),
    )


def document_of(booster: Any) -> dict[str, Any]:
    """What a loaded booster writes as its file, with arrays of numbers as numpy arrays; its main part is `learner`.

    So a model looks the same whichever file, version or pickle it came from, and an index that is out of range does
    no harm yet.
    """
    document: dict[str, Any] = read_ubjson(bytes(booster.save_raw("ubj")))
    return document


def tree_model_of(learner: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a learner that holds its trees, or the weights of a linear one."""
    gradient = learner["gradient_booster"]
    model: dict[str, Any] = (gradient["gbtree"] if gradient["name"] == "dart" else gradient)["model"]
    return model


def checked_trees(learner: Mapping[str, Any], where: str, count: int | None = None) -> XgboostTrees:
    """The first `count` trees of a learner, or all; none for a linear one. Raises ConversionFailed for damaged ones."""
    features = int(learner["learner_model_param"]["num_feature"])
    try:
        return xgboost_trees(tree_model_of(learner).get("trees", [])[:count], features)
    except (ValueError, KeyError, IndexError) as error:
        reason = f"it has no '{error.args[0]}'" if isinstance(error, KeyError) else str(error)
        raise ConversionFailed(f"the XGBoost model is damaged: {reason}", where=where) from error


def _bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConversionFailed(f"cannot read the XGBoost model: {error.strerror}", where=str(path)) from error
    if not data.lstrip().startswith(b"{"):
        raise ConversionFailed("not an XGBoost model: it does not begin with '{'", where=str(path),
                               hint="save it with booster.save_model('model.json')")  # fmt: skip
    return data


def _document(data: bytes, path: Path) -> dict[str, Any]:
    try:
        document = json.loads(data) if is_json(data) else read_ubjson(data)
    except (ValueError, RecursionError) as error:
        what = f"not an XGBoost model, or a damaged one: {error}"
        raise ConversionFailed(what, where=str(path)) from error
    if not isinstance(document, dict) or "learner" not in document:
        raise ConversionFailed("not an XGBoost model: it has no 'learner'", where=str(path))
    return document


def _refuse_newer(version: Any, installed: str, where: str) -> None:
    """A newer XGBoost may have put a meaning into the file that this one does not know, and would pass over."""
    known = tuple(int(number) for number in re.findall(r"\d+", installed)[:2])
    try:
        major, minor, *_ = (int(number) for number in version)
    except (TypeError, ValueError):
        return  # XGBoost says itself what it lacks
    if (major, minor) > known:
        what = f"the model was saved by XGBoost {major}.{minor}, and {installed} is installed"
        raise ConversionFailed(what, where=where, hint=f"pip install 'xgboost-cpu>={major}.{minor}'")
