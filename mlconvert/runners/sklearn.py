"""Reference outputs of an estimator with scikit-learn's API, from the estimator itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mlconvert.converter import Session
from mlconvert.readers.estimator_answers import methods_of, outputs_of, scores_of, signature_of, table_of
from mlconvert.readers.estimators import load_estimator, type_name

if TYPE_CHECKING:
    import numpy as np

    from mlconvert.artifact import Artifact
    from mlconvert.signature import Signature


def signature(artifact: Artifact) -> Signature | None:
    """The full signature of an estimator of numbers (or of text), None for one that goes by columns."""
    return signature_of(load_estimator(artifact), artifact.location)


def load(artifact: Artifact) -> Session:
    estimator = load_estimator(artifact)

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return outputs_of(estimator, table_of(estimator, inputs))

    return Session(signature_of(estimator, artifact.location), run, _more(estimator))


def boundary_samples(
    artifact: Artifact, samples: Mapping[str, np.ndarray], *, count: int, seed: int
) -> dict[str, np.ndarray] | None:
    """Rows at the thresholds of an estimator's trees, or of those behind a pipeline's steps; None without such."""
    from mlconvert.forests.boundary_estimators import estimator_rows

    return estimator_rows(load_estimator(artifact), samples, artifact.location, count=count, seed=seed)


# --- what an estimator of trees gives on demand ---


def _more(estimator: Any) -> dict[str, Callable[[Mapping[str, np.ndarray]], np.ndarray]]:
    """`raw_scores` [N, K] and `leaf_indices` [N, T] of an ensemble of trees alone; `scores` beside probabilities."""
    from mlconvert.forests.estimators import READERS

    more: dict[str, Callable[[Mapping[str, np.ndarray]], np.ndarray]] = {}
    if hasattr(estimator, "decision_function") and "scores" not in methods_of(estimator):
        more["scores"] = lambda inputs: scores_of(estimator, table_of(estimator, inputs))

    known = next((name for name in map(type_name, type(estimator).__mro__) if name in READERS), None)
    if known is None:
        return more

    def asked(functions: Mapping[str, Answer], inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        import numpy as np

        answer = next(function for module, function in functions.items() if known.startswith(module))
        values = np.asarray(answer(estimator, table_of(estimator, inputs)))
        return values.reshape(len(values), -1)

    return more | {
        "raw_scores": lambda inputs: asked(RAW_SCORES, inputs),
        "leaf_indices": lambda inputs: asked(LEAF_INDICES, inputs).astype("int64"),
    }


def _raw_scores(estimator: Any, table: Any) -> Any:
    names = ("decision_function", "predict_proba", "predict")
    return next(getattr(estimator, name) for name in names if hasattr(estimator, name))(table)


def _path_lengths(estimator: Any, table: Any) -> Any:
    """An IsolationForest's score is -2 ** (-sum / scale)."""
    import numpy as np

    from mlconvert.forests.estimators import tree_model_of

    model = tree_model_of(estimator, "")
    return -np.log2(-estimator.score_samples(table)) * (model.link.scale if model else 1.0)


def _leaves_of_parts(estimator: Any, table: Any) -> Any:
    import numpy as np

    with np.errstate(over="ignore"):  # an IsolationForest takes infinities
        rows = np.asarray(table, np.float32)
    trees = estimator.estimators_
    columns = getattr(estimator, "estimators_features_", [slice(None)] * len(trees))
    return np.stack([tree.tree_.apply(rows[:, own]) for tree, own in zip(trees, columns, strict=True)], axis=1)


def _leaves_as_read(estimator: Any, table: Any) -> Any:
    """HistGradientBoosting* does not say which leaves a row reaches: so this is how mlconvert reads its trees."""
    from mlconvert.forests.boundary_estimators import coded
    from mlconvert.forests.estimators import text_columns, tree_model_of
    from mlconvert.forests.evaluation import leaves_of

    model = tree_model_of(estimator, "", text_as_codes=True)
    texts = {found.column: found.categories for found in text_columns(estimator, "")}
    columns = [table[name].to_numpy() for name in table] if hasattr(table, "columns") else list(table.T)
    return model.forest.leaf_ids[leaves_of(model.forest, coded(columns, texts))] if model else None


Answer = Callable[[Any, Any], Any]

# By the module of the estimator's class; the first that fits.
RAW_SCORES: Mapping[str, Answer] = {
    "catboost.": lambda estimator, table: estimator.predict(table, prediction_type="RawFormulaVal"),
    "lightgbm.": lambda estimator, table: estimator.predict(table, raw_score=True),
    "xgboost.": lambda estimator, table: estimator.predict(table, output_margin=True),
    "sklearn.ensemble._hist_gradient_boosting.": lambda estimator, table: estimator._raw_predict(table),
    "sklearn.ensemble._iforest.": _path_lengths,
    "sklearn.": _raw_scores,
}
LEAF_INDICES: Mapping[str, Answer] = {
    "catboost.": lambda estimator, table: estimator.calc_leaf_indexes(table),
    "lightgbm.": lambda estimator, table: estimator.predict(table, pred_leaf=True),
    "xgboost.": lambda estimator, table: estimator.apply(table),
    "sklearn.ensemble._hist_gradient_boosting.": _leaves_as_read,
    "sklearn.ensemble._bagging.": _leaves_of_parts,
    "sklearn.ensemble._iforest.": _leaves_of_parts,
    "sklearn.ensemble._weight_boosting.": _leaves_of_parts,
    "sklearn.": lambda estimator, table: estimator.apply(table),
}
