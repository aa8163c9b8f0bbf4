"""The trees in a LightGBM text file as arrays, checked so that nobody can walk out of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlconvert.readers.lightgbm_lines import Fields, refuse

if TYPE_CHECKING:
    import numpy as np

CATEGORICAL, DEFAULT_LEFT = 1, 2  # bits of a node's decision type
MISSING_ZERO, MISSING_NAN = 1, 2  # bits 2 and 3 of the same

_WORD = 32  # bits of a category set that each number of `cat_threshold` holds
_SIZE = 1 << 26  # words of a set, at most: a category is a 32-bit integer


@dataclass(frozen=True)
class LightgbmLinear:
    """The linear leaves: those of tree after tree, the terms of leaf after leaf. L leaves, M terms in all."""

    is_linear: np.ndarray  # bool [L]: whether the leaf's tree is one of linear leaves
    constant: np.ndarray  # float64 [L]
    terms: np.ndarray  # int64 [L]
    feature: np.ndarray  # int64 [M]
    coefficient: np.ndarray  # float64 [M]


@dataclass(frozen=True)
class LightgbmTrees:
    """The nodes, leaves and category sets of all trees, one after another. T trees, N inner nodes, L leaves, S sets.

    Every node and leaf but a root is the child of exactly one node, and comes after it.
    """

    nodes: np.ndarray  # int64 [T], the inner nodes of each tree: one less than its leaves
    feature: np.ndarray  # int32 [N]
    threshold: np.ndarray  # float64 [N]; 0 where the node asks for categories
    decision: np.ndarray  # int64 [N]
    left: np.ndarray  # int32 [N]: a node, or ~leaf, counted through all trees
    right: np.ndarray  # int32 [N]
    leaf_value: np.ndarray  # float64 [L]
    category_set: np.ndarray  # int32 [N]: the set that a node asks for, else -1
    set_words: np.ndarray  # int64 [S + 1]: set s is words[set_words[s] : set_words[s + 1]]
    words: np.ndarray  # uint32: bit b of a set's word w is the category 32 * w + b
    linear: LightgbmLinear | None


def lightgbm_trees(fields: Fields, features: int) -> LightgbmTrees:
    """The trees of a model with so many features; raises ValueError, with its number, for a tree that is damaged."""
    import numpy as np

    leaves = fields.single("num_leaves")
    if any(count < 1 for count in leaves):
        raise ValueError(f"tree {next(index for index, count in enumerate(leaves) if count < 1)} has no leaf")
    inner = [count - 1 for count in leaves]
    integers = {
        name: fields.joined(name, np.int64, inner)
        for name in ("split_feature", "decision_type", "left_child", "right_child")
    }
    threshold = fields.joined("threshold", np.float64, inner)
    leaf_value = fields.joined("leaf_value", np.float64, leaves)
    tree = np.repeat(np.arange(len(inner)), inner)
    feature, decision = integers["split_feature"], integers["decision_type"]
    refuse(tree, (feature < 0) | (feature >= features), "splits on a feature that the model does not have")
    kinds = (decision < 0) | (decision >> 2 > MISSING_NAN)
    refuse(tree, kinds, "has a decision type that LightGBM does not write")
    left, right = _children(tree, np.asarray(inner, np.int64), integers["left_child"], integers["right_child"])
    category_set, set_words, words = _categories(fields, tree, decision, threshold)
    return LightgbmTrees(
        nodes=np.asarray(inner, np.int64),
        feature=feature.astype(np.int32),
        threshold=np.where(category_set < 0, threshold, 0.0),
        decision=decision,
        left=left,
        right=right,
        leaf_value=leaf_value,
        category_set=category_set,
        set_words=set_words,
        words=words,
        linear=_linear(fields, leaves, features),
    )


def _children(
    tree: np.ndarray, inner: np.ndarray, left: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The children counted through all trees, of numbers within each: 1, 2, … a node, -1, -2, … a leaf."""
    import numpy as np

    first_node, first_leaf = np.cumsum(inner) - inner, np.cumsum(inner + 1) - (inner + 1)
    own = np.arange(len(tree)) - first_node[tree]
    for side in (left, right):
        outside = (side >= inner[tree]) | (side < -inner[tree] - 1)
        refuse(tree, outside, "has a child that does not exist")
        refuse(tree, (side >= 0) & (side <= own), "has a node before the node whose child it is")
    counted = [np.where(side >= 0, side + first_node[tree], side - first_leaf[tree]) for side in (left, right)]
    both, of_tree = np.concatenate(counted), np.concatenate([tree, tree])
    # Parents come first, so what has one parent each has no circles and hangs on its root.
    node, leaf = both >= 0, both < 0
    refuse(of_tree[node], np.bincount(both[node])[both[node]] > 1, "has a node with two parents")
    refuse(of_tree[leaf], np.bincount(~both[leaf])[~both[leaf]] > 1, "has a leaf with two parents")
    return counted[0].astype(np.int32), counted[1].astype(np.int32)


def _categories(
    fields: Fields, tree: np.ndarray, decision: np.ndarray, threshold: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The set of each node, or -1; where each set's words begin, and the words."""
    import numpy as np

    asks = decision & CATEGORICAL != 0
    sets = np.asarray(fields.single("num_cat"), np.int64)
    refuse(np.arange(len(sets)), sets < 0, "has a damaged 'num_cat'")
    bounds = fields.joined("cat_boundaries", np.int64, [count + 1 if count else 0 for count in sets])
    of_bound = np.repeat(np.arange(len(sets)), np.where(sets > 0, sets + 1, 0))
    first = np.append(True, of_bound[1:] != of_bound[:-1])[: len(of_bound)]
    sizes = np.diff(bounds, prepend=0)
    refuse(of_bound, np.where(first, bounds != 0, (sizes < 1) | (sizes > _SIZE)), "has damaged category sets")
    counts = np.bincount(of_bound[~first], sizes[~first], minlength=len(sets)).astype(np.int64)
    words = fields.joined("cat_threshold", np.int64, counts.tolist())
    refuse(np.repeat(np.arange(len(sets)), counts), (words < 0) | (words >> _WORD > 0), "has damaged category sets")
    inside = (threshold >= 0) & (threshold < sets[tree]) & (threshold == np.floor(threshold))
    refuse(tree, asks & ~inside, "names a category set that it does not have")
    index = np.where(asks, threshold, 0).astype(np.int64)
    own = np.where(asks, index + (np.cumsum(sets) - sets)[tree], -1).astype(np.int32)
    return own, np.append(0, np.cumsum(sizes[~first])), words.astype(np.uint32)


def _linear(fields: Fields, leaves: Sequence[int], features: int) -> LightgbmLinear | None:
    import numpy as np

    linear = [flag != 0 for flag in fields.single("is_linear", b"0")]
    if not any(linear):
        return None
    own = [count if flag else 0 for count, flag in zip(leaves, linear, strict=True)]
    tree = np.repeat(np.arange(len(own)), own)
    terms = fields.joined("num_features", np.int64, own)
    refuse(tree, (terms < 0) | (terms > features), "has a linear leaf with more features than the model")
    counts = np.bincount(tree, terms, minlength=len(own)).astype(np.int64).tolist()
    feature = fields.joined("leaf_features", np.int64, counts)
    of_term = np.repeat(tree, terms)
    refuse(of_term, (feature < 0) | (feature >= features), "has a linear leaf of a feature that the model lacks")
    stated, coefficient = fields.joined("leaf_const", np.float64, own), fields.joined("leaf_coeff", np.float64, counts)
    for of, numbers in ((tree, stated), (of_term, coefficient)):
        # LightGBM's process ends when std::stod finds a number out of range.
        outside = ~np.isfinite(numbers) | ((numbers != 0) & (np.abs(numbers) < np.finfo(np.float64).tiny))
        refuse(of, outside, "has a linear leaf with a number that LightGBM cannot read")
    is_linear = np.repeat(linear, leaves)
    constant, every = np.zeros(len(is_linear)), np.zeros(len(is_linear), np.int64)
    constant[is_linear], every[is_linear] = stated, terms
    return LightgbmLinear(is_linear, constant, every, feature, coefficient)
