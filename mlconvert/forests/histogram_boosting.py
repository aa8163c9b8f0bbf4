"""scikit-learn's HistGradientBoosting*: float64 comparisons, missing values, and categories.

Sources: sklearn/ensemble/_hist_gradient_boosting/ predictor.py and _predictor.pyx for the trees, gradient_boosting.py
for what comes before them: an encoder makes codes 0, 1, ... of the categories, NaN of missing and of unknown ones,
and puts those columns first. None of that is needed here. Nodes name the original columns, and sets hold the
categories themselves where these are numbers; only text has to become codes before the trees: see `category_codes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlconvert.errors import ConversionFailed
from mlconvert.forests.model import Forest, TreeModel
from mlconvert.forests.node_lists import number, within_trees
from mlconvert.forests.sklearn_boosting import LINKS
from mlconvert.forests.sklearn_trees import class_labels
from mlconvert.readers.estimators import column_names

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

CODES = 256  # bits in the library's sets


@dataclass(frozen=True)
class CategoryCodes:
    """How the texts of a column become what the trees ask for: each its place in `categories`, any other one NaN."""

    column: int
    categories: tuple[str, ...]


@dataclass(frozen=True)
class Categories:
    """The categories of a column, sorted, without the missing ones: a category's code is its place."""

    column: int
    known: list[Any]

    @property
    def text(self) -> bool:
        return bool(self.known) and isinstance(self.known[0], str)


@dataclass(frozen=True)
class Sets:
    """The category sets of C nodes, as `Forest` has them, and whether a node's sides are exchanged."""

    bounds: np.ndarray  # int64 [C + 1]
    values: np.ndarray  # float64
    exchanged: np.ndarray  # bool [C]


def read_histogram_boosting(estimator: Any, where: str, *, text_as_codes: bool = False) -> TreeModel:
    """The model of a fitted HistGradientBoostingClassifier or -Regressor.

    With `text_as_codes` it takes, in the columns of `category_codes`, the codes as numbers. Raises ConversionFailed
    for columns of text otherwise, for categories that are neither numbers nor text, and for one class.
    """
    name = type(estimator).__name__
    link = LINKS.get(type(estimator._loss.link).__name__)
    if link is None:
        raise ConversionFailed(f"the {name} has a loss of the user's own, with a link that is not known", where=where)
    categories = _categories(estimator, where)
    texts = _texts(categories)
    if texts and not text_as_codes:
        columns = ", ".join(_column_name(estimator, text.column) for text in texts)
        what = f"the {name} has categories of text, which cannot stand in a matrix of numbers: {columns}"
        raise ConversionFailed(what, where=where, hint="give it one input per column")
    classes = class_labels(estimator, where) if hasattr(estimator, "classes_") else ()
    if len(classes) == 1:
        hint = "train it on two classes or more"
        raise ConversionFailed(f"the {name} was fitted on one class", where=where, hint=hint)
    base = tuple(estimator._baseline_prediction.ravel().tolist())
    return TreeModel(
        _forest(estimator, categories),
        "value" if not classes else "binary" if len(base) == 1 else "multiclass",
        base,
        link,
        label_by_sums=True,
        classes=classes,
        feature_names=column_names(estimator),
    )


def category_codes(estimator: Any, where: str) -> tuple[CategoryCodes, ...]:
    """The columns of text of a fitted HistGradientBoosting*, in rising order; empty if it has none.

    A graph that has such columns as inputs puts their codes, float64, before the trees: a LabelEncoder from
    `categories` to 0, 1, ... whose default is NaN. Raises ConversionFailed for categories that are neither numbers
    nor text.
    """
    return _texts(_categories(estimator, where))


def _texts(categories: list[Categories]) -> tuple[CategoryCodes, ...]:
    return tuple(CategoryCodes(found.column, tuple(map(str, found.known))) for found in categories if found.text)


def _categories(estimator: Any, where: str) -> list[Categories]:
    """The columns with categories, in the order that the encoder gives them."""
    if estimator._preprocessor is None:
        return []
    encoder = estimator._preprocessor.named_transformers_["encoder"]
    columns = np.flatnonzero(estimator.is_categorical_).tolist()
    every = [
        # Missing ones come last. None has a code of its own, which no number and no text has.
        Categories(column, [value for value in known.tolist() if value is not None and value == value])
        for column, known in zip(columns, encoder.categories_, strict=True)
    ]
    for found in every:
        numeric = all(isinstance(value, (bool, int, float)) for value in found.known)
        if numeric and len(set(map(float, found.known))) == len(found.known):
            continue
        if not all(isinstance(value, str) for value in found.known):
            kind = "different numbers as float64" if numeric else "numbers or text"
            what = f"the categories of {_column_name(estimator, found.column)} are not {kind}"
            raise ConversionFailed(f"{type(estimator).__name__}: {what}", where=where)
    return every


def _column_name(estimator: Any, column: int) -> str:
    names = column_names(estimator)
    return f"the column '{names[column]}'" if names else f"the column {column}"


def _forest(estimator: Any, categories: list[Categories]) -> Forest:
    predictors = [predictor for stage in estimator._predictors for predictor in stage]
    outputs, features = estimator.n_trees_per_iteration_, int(estimator.n_features_in_)

    def each(name: str, dtype: DTypeLike) -> np.ndarray:
        return np.concatenate([tree.nodes[name] for tree in predictors], dtype=dtype, casting="unsafe")

    sizes = np.array([len(tree.nodes) for tree in predictors])
    leaf = each("is_leaf", bool)
    first = [found.column for found in categories]
    order = np.array(first + [column for column in range(features) if column not in first])
    numbering = number(sizes, each("left", np.int32), each("right", np.int32), leaf)
    asked = each("feature_idx", np.int32)[~leaf]
    missing_left = each("missing_go_to_left", bool)[~leaf]
    categorical = each("is_categorical", bool)[~leaf]
    sets = _sets(
        categories,
        asked[categorical],
        _bitsets(predictors, sizes, each("bitset_idx", np.int64), leaf)[categorical],
        missing_left[categorical],
    )
    exchanged = np.zeros(len(asked), bool)
    exchanged[categorical] = sets.exchanged
    category_set = np.full(len(asked), -1, np.int32)
    category_set[categorical] = np.arange(np.count_nonzero(categorical))
    return Forest(
        features=features,
        compares="float64",
        strict=False,
        roots=numbering.roots,
        feature=order[asked].astype(np.int32),
        threshold=np.where(categorical, np.nan, each("num_threshold", np.float64)[~leaf]),
        left=np.where(exchanged, numbering.right, numbering.left),
        right=np.where(exchanged, numbering.left, numbering.right),
        missing_left=missing_left & ~categorical,
        category_set=category_set,
        set_bounds=sets.bounds,
        set_values=sets.values,
        leaf_values=each("value", np.float64)[leaf][:, None],
        leaf_ids=within_trees(sizes, leaf),
        tree_output=np.tile(np.arange(outputs, dtype=np.int32), len(predictors) // outputs),
        truncates=np.zeros(features, bool),
        zero_is_missing=np.zeros(features, bool),
        takes_infinity=not categories,  # the encoder refuses it, the trees do not
    )


def _bitsets(predictors: list[Any], sizes: np.ndarray, index: np.ndarray, leaf: np.ndarray) -> np.ndarray:
    """The row of `raw_left_cat_bitsets`, of all trees one after another, that each inner node names: uint32 [N, 8].

    Nodes that test no category get some row: they name row 0 of their tree, whether or not it has one.
    """
    bitsets = np.concatenate([tree.raw_left_cat_bitsets for tree in predictors])
    rows = np.array([len(tree.raw_left_cat_bitsets) for tree in predictors])
    shifted = (index + np.repeat(np.cumsum(rows) - rows, sizes))[~leaf]
    padded = np.concatenate([bitsets, np.zeros((1, CODES // 32), bitsets.dtype)])
    named: np.ndarray = padded[np.minimum(shifted, len(bitsets))]
    return named


def _sets(categories: list[Categories], asked: np.ndarray, bits: np.ndarray, missing: np.ndarray) -> Sets:
    """The sets of the C nodes that test categories.

    asked: int [C], the place in `categories`; bits: uint32 [C, 8], the codes that go left; missing: bool [C], whether
    missing and unknown categories go left.

    Outside a set a row goes right, also with an unknown category. So where those go left, the set holds the known
    categories that go right, and the sides are exchanged.
    """
    counts = np.array([len(found.known) for found in categories], np.int64)
    numbers = np.zeros((len(categories), CODES))
    for place, found in enumerate(categories):
        numbers[place, : len(found.known)] = np.arange(len(found.known)) if found.text else found.known
    goes_left = np.unpackbits(bits.astype("<u4").view(np.uint8), axis=1, bitorder="little").astype(bool)
    members = (goes_left ^ missing[:, None]) & (np.arange(CODES) < counts[asked][:, None])
    node, code = np.nonzero(members)
    bounds = np.concatenate([[0], np.cumsum(np.count_nonzero(members, axis=1))])
    return Sets(bounds.astype(np.int64), numbers[asked[node], code], missing)
