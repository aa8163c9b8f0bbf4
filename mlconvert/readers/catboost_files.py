"""CatBoost's .cbm files, and what a loaded model says of itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mlconvert.errors import ConversionFailed
from mlconvert.readers.classical_outputs import CATBOOST, CATBOOST_MULTILABEL


def load_catboost(path: Path) -> Any:
    """The model in a .cbm file, as the CatBoost class that knows its classes or its link (else `CatBoost`).

    Raises ConversionFailed for a file that is not CatBoost's, is cut off, or was saved by a newer CatBoost.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConversionFailed(f"cannot read the CatBoost model: {error.strerror}", where=str(path)) from error
    if not data.startswith(b"CBM1"):
        raise ConversionFailed("not a CatBoost model: it does not begin with 'CBM1'", where=str(path),
                               hint="save it with model.save_model('model.cbm')")  # fmt: skip
    if len(data) < 8 + int.from_bytes(data[4:8], "little"):
        raise ConversionFailed("the CatBoost model is cut off", where=str(path))
    import catboost

    try:
        model = catboost.CatBoost().load_model(str(path))
        check_catboost_version(model, str(path))
        loss = catboost_loss(model)
        classes = CATBOOST.get(loss, "value") != "value" or loss in CATBOOST_MULTILABEL
        return (catboost.CatBoostClassifier if classes else catboost.CatBoost)().load_model(str(path))
    except (catboost.CatBoostError, ValueError, UnicodeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConversionFailed(f"CatBoost cannot load the model: {reason}", where=str(path)) from error


def check_catboost_version(model: Any, where: str) -> None:
    """Raise ConversionFailed for a model of a newer CatBoost: it may say what the installed one passes over.

    Models say which release trained them, unless that was none (a build of one's own).
    """
    import catboost

    told = str(model.get_metadata().get("catboost_version_info", ""))
    found = re.search(r"tags/v(\d+)\.(\d+)[\w.]*", told)
    installed = tuple(int(number) for number in re.findall(r"\d+", catboost.__version__)[:2])
    if found and (int(found[1]), int(found[2])) > installed:
        release = found[0].removeprefix("tags/v")
        what = f"the model was saved by CatBoost {release}, and {catboost.__version__} is installed"
        raise ConversionFailed(what, where=where, hint=f"pip install 'catboost>={release}'")


def catboost_loss(model: Any) -> str:
    """The name of the loss that a model was trained with, without its parameters; empty if it does not say."""
    loss = model.get_all_params().get("loss_function")
    return "" if loss is None else str(loss).partition(":")[0]


def probability_threshold(model: Any) -> float:
    """The probability above which a binary model answers its second class: one half, unless the user set another."""
    stated = model.get_metadata().get("binclass_probability_threshold")
    return 0.5 if stated is None else float(stated)


def check_catboost_features(model: Any, where: str) -> None:
    """Raise ConversionFailed, naming them, for features that cannot be columns of a matrix of numbers."""
    kinds = {
        "categorical": model.get_cat_feature_indices(),
        "text": model.get_text_feature_indices(),
        "embedding": model.get_embedding_feature_indices(),
    }
    for kind, indices in kinds.items():
        if len(indices):
            names = ", ".join(str(model.feature_names_[index]) for index in indices)
            hint = "encode them as numbers before CatBoost sees them, such as with scikit-learn's OrdinalEncoder"
            if kind != "categorical":
                hint = "compute numbers of them before CatBoost sees them"
            raise ConversionFailed(f"the CatBoost model has {kind} features: {names}", where=where, hint=hint)
