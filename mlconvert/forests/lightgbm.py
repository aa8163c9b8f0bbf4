"""LightGBM's text file as the neutral model: double throughout.

The rules are those of LightGBM 4.7: `Tree::NumericalDecision`, `Tree::CategoricalDecision` and `Tree::Predict`
(include/LightGBM/tree.h), `GBDT::PredictRaw` (src/boosting/gbdt_prediction.cpp), the rows of a matrix without their
zeros (`RowPairFunctionFromDenseMatric` in src/c_api.cpp) and `ConvertOutput` of each objective (src/objective).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from mlconvert.errors import ConversionFailed
from mlconvert.forests.half import greatest_half
from mlconvert.forests.model import ZERO, Forest, LinearLeaves, Link, LinkName, TreeModel
from mlconvert.readers.lightgbm_files import task_of
from mlconvert.readers.lightgbm_text import LightgbmHeader, read_lightgbm_text
from mlconvert.readers.lightgbm_trees import DEFAULT_LEFT, MISSING_NAN, MISSING_ZERO, LightgbmLinear, LightgbmTrees

# What each objective makes of a sum: its `ConvertOutput`.
LINKS: Mapping[str, LinkName] = {
    "binary": "sigmoid",
    "cross_entropy": "sigmoid",
    "cross_entropy_lambda": "log1p-exp",
    "fair": "identity",
    "gamma": "exp",
    "huber": "identity",
    "lambdarank": "identity",
    "mape": "identity",
    "multiclass": "softmax",
    "multiclassova": "sigmoid",
    "poisson": "exp",
    "quantile": "identity",
    "rank_xendcg": "identity",
    "regression": "identity",
    "regression_l1": "identity",
    "tweedie": "exp",
}
SQUARED = frozenset({"fair", "mape", "quantile", "regression", "regression_l1"})  # with reg_sqrt; others pass it over


def read_lightgbm(data: bytes, where: str) -> TreeModel:
    """The model in a LightGBM text file, of all its trees.

    Answers are those of `Booster.predict` on a matrix of doubles. The categories of pandas columns, which stand at
    the end of the file, are not applied: such a column holds the codes. Raises ConversionFailed for a file that is
    damaged (see `read_lightgbm_text`) or has no trees, for an objective of the user's own or one that is not known,
    and for features that no rule of `Forest` describes, by name: those split both as numbers and as categories, and
    those whose zeros are missing in some trees while NaN has another way in others.
    """
    text = read_lightgbm_text(data, where)
    header, trees = text.header, text.trees
    task = task_of(header, where)
    if not header.trees:
        raise ConversionFailed("the model has no trees", where=where, hint="train it for one iteration at least")
    link = _link(header, where)
    outputs = header.outputs
    classes = {"binary": 2, "multiclass": outputs}.get(task, 0)
    if (outputs > 1) != (task == "multiclass"):
        what = f"the LightGBM model has the objective {header.objective} and {outputs} trees an iteration"
        raise ConversionFailed(f"{what}, which do not go together", where=where)
    return TreeModel(
        forest=_forest(header, trees, where),
        task=task,
        base=(0.0,) * outputs,
        link=link,
        divisor=float(header.trees // outputs) if header.averaged else 1.0,
        cut=greatest_half(link.scale) if task == "binary" else 0.0,
        classes=tuple(range(classes)),
        feature_names=header.feature_names,
    )


def _link(header: LightgbmHeader, where: str) -> Link:
    name = header.objective
    if name in SQUARED and "sqrt" in header.parameters:
        return Link("signed-square")
    if name not in ("binary", "multiclassova"):
        return Link(LINKS[name])
    text = header.parameter("sigmoid") or ""
    try:
        scale = float(text)
    except ValueError:
        scale = math.nan
    if not (scale > 0 and math.isfinite(1 / scale)):
        what = f"the LightGBM model has the objective {name} with the sigmoid {text!r}, which is no number above 0"
        raise ConversionFailed(what, where=where)
    return Link("sigmoid", scale)


def _forest(header: LightgbmHeader, trees: LightgbmTrees, where: str) -> Forest:
    leaves = trees.nodes + 1
    first_node, first_leaf = np.cumsum(trees.nodes) - trees.nodes, np.cumsum(leaves) - leaves
    asks = trees.category_set >= 0
    categorical = np.zeros(header.features, bool)
    categorical[trees.feature[asks]] = True
    _refuse_features(trees.feature[~asks], categorical, header, "splits these both as numbers and as categories", where)
    missing_left, zero_is_missing = _missing(header, trees, ~asks, where)
    linear = None if trees.linear is None else _linear(trees.linear, trees.leaf_value)
    set_bounds, set_values = _sets(trees)
    if trees.linear is not None:
        bent = categorical | zero_is_missing
        what = "has linear leaves of these, which are categories or whose zeros are missing"
        _refuse_features(trees.linear.feature, bent, header, what, where)
    return Forest(
        features=header.features,
        compares="float64",
        strict=False,
        roots=np.where(trees.nodes > 0, first_node, ~first_leaf).astype(np.int32),
        feature=trees.feature,
        threshold=np.where(asks, np.nan, _past_zeros(trees.threshold)),
        left=trees.left,
        right=trees.right,
        missing_left=missing_left,
        category_set=trees.category_set,
        set_bounds=set_bounds,
        set_values=set_values,
        leaf_values=trees.leaf_value[:, None],
        leaf_ids=(np.arange(len(trees.leaf_value)) - np.repeat(first_leaf, leaves)).astype(np.int32),
        tree_output=(np.arange(header.trees) % header.outputs).astype(np.int32),
        truncates=categorical,
        zero_is_missing=zero_is_missing,
        linear=linear,
    )


def _past_zeros(threshold: np.ndarray) -> np.ndarray:
    """Thresholds that treat each number within `ZERO` of 0 as LightGBM does: as 0.

    Of those numbers either all are at most the threshold or none is, so one inside of them moves to their edge.
    """
    moved = np.where((threshold >= -ZERO) & (threshold < 0), np.nextafter(-ZERO, -np.inf), threshold)
    return np.where((threshold >= 0) & (threshold < ZERO), ZERO, moved)


def _missing(
    header: LightgbmHeader, trees: LightgbmTrees, numeric: np.ndarray, where: str
) -> tuple[np.ndarray, np.ndarray]:
    """`missing_left` of each node and `zero_is_missing` of each feature.

    A node has one of three rules. None: NaN counts as 0. NaN: it goes the default way. Zero: it does, and 0 too. The
    last is a rule of its own only where 0 would not go that way anyway. Categories never hold NaN.
    """
    kind, default = trees.decision >> 2, trees.decision & DEFAULT_LEFT != 0
    way_of_zero = trees.threshold >= 0
    apart = numeric & (default != way_of_zero)
    zero_is_missing = np.zeros(header.features, bool)
    zero_is_missing[trees.feature[apart & (kind == MISSING_ZERO)]] = True
    # Trees of one training have one rule for a feature; an init_model may bring others.
    what = "has nodes for these where zeros are missing, and others where NaN is"
    _refuse_features(trees.feature[apart & (kind == MISSING_NAN)], zero_is_missing, header, what, where)
    by_default = (kind == MISSING_ZERO) | (kind == MISSING_NAN)
    return numeric & np.where(by_default, default, way_of_zero), zero_is_missing


def _refuse_features(used: np.ndarray, wrong: np.ndarray, header: LightgbmHeader, what: str, where: str) -> None:
    """Raise ConversionFailed, naming them, if any of the features `used` is one of `wrong`, bool [F]."""
    found = np.unique(used[wrong[used]])
    if len(found):
        names = ", ".join(header.feature_names[index] for index in found)
        hint = "train all iterations on the same data set"
        raise ConversionFailed(f"the LightGBM model {what}: {names}", where=where, hint=hint)


def _sets(trees: LightgbmTrees) -> tuple[np.ndarray, np.ndarray]:
    """The categories of each set, from its bits: where they begin, and they themselves."""
    bits = np.unpackbits(trees.words.astype("<u4").view(np.uint8).reshape(-1, 4), axis=1, bitorder="little")
    word, bit = np.nonzero(bits)
    of_word = np.repeat(np.arange(len(trees.set_words) - 1), np.diff(trees.set_words))
    values = 32.0 * (word - trees.set_words[of_word[word]]) + bit
    counts = np.bincount(of_word[word], minlength=len(trees.set_words) - 1)
    return np.append(0, np.cumsum(counts)).astype(np.int64), values


def _linear(linear: LightgbmLinear, leaf_value: np.ndarray) -> LinearLeaves:
    """Terms in rows; leaves of the trees that are not linear get their value as a constant."""
    width = int(linear.terms.max(initial=0))
    leaf = np.repeat(np.arange(len(linear.terms)), linear.terms)
    place = np.arange(len(leaf)) - (np.cumsum(linear.terms) - linear.terms)[leaf]
    feature = np.full((len(linear.terms), width), -1, np.int32)
    coefficient = np.zeros((len(linear.terms), width))
    feature[leaf, place], coefficient[leaf, place] = linear.feature, linear.coefficient
    return LinearLeaves(np.where(linear.is_linear, linear.constant, leaf_value), feature, coefficient)
