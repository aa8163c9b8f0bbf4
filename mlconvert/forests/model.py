"""The neutral model of a tree ensemble: numpy arrays that say all that an answer depends on.

A reader brings every peculiarity of its library into these arrays (thresholds that treat 1e-36 as zero, sets of
categories, where a missing value goes), so that whoever reads them needs one rule only: a row goes left at a node
when its value is at most the threshold, or in the node's set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

Float = Literal["float32", "float64"]
Task = Literal["binary", "multiclass", "value", "outlier"]
LinkName = Literal[
    "identity",
    "sigmoid",  # 1 / (1 + exp(-scale * x)), of each column alone
    "softmax",  # of scale * x, over the columns
    "exp",
    "log1p-exp",  # LightGBM's cross_entropy_lambda
    "signed-square",  # sign(x) * x * x: LightGBM's reg_sqrt
    "step",  # 1 where x > 0, else 0: XGBoost's binary:hinge
    "isolation",  # -(2 ** (-x / scale)) - offset: scikit-learn's IsolationForest
]


@dataclass(frozen=True)
class LinearLeaves:
    """Leaves that answer `constant + sum(coefficient * x[feature])`, summed from the first term to the last.

    A row in which one of a leaf's features is NaN gets the leaf's plain value instead. Rows of both arrays are filled
    up with the feature -1 and the coefficient 0. L: leaves, K: the most features of a leaf.
    """

    constant: np.ndarray  # float64 [L]
    feature: np.ndarray  # int32 [L, K]
    coefficient: np.ndarray  # float64 [L, K]


@dataclass(frozen=True)
class Forest:
    """All trees, their inner nodes and their leaves in one row each. T trees, N inner nodes, L leaves, F features.

    A *child* is an inner node's index when it is >= 0, and else `~leaf`: -1 is leaf 0. The children of a node come
    after it, and the nodes and leaves of a tree after those of the trees before it.

    How a row x is walked: it is cast to `compares`. Then, feature by feature, where `zero_is_missing`, values within
    1e-35 (LightGBM's kZeroThreshold, a float32) of zero become NaN, and where `truncates` the fraction is cut off,
    towards zero, or down if `floors` (only then is -0.5 not the category 0).
    At a node: NaN goes left when `missing_left` says so, else right. If `category_set` is -1, x goes left when
    `x <= threshold`, or `x < threshold` if `strict`; else when x equals a number in that set.
    """

    features: int
    compares: Float
    strict: bool
    roots: np.ndarray  # int32 [T], children
    feature: np.ndarray  # int32 [N]
    threshold: np.ndarray  # float64 [N]; NaN where there is a set. Of a float32 forest, each is a float32 number
    left: np.ndarray  # int32 [N], children
    right: np.ndarray  # int32 [N], children
    missing_left: np.ndarray  # bool [N]
    category_set: np.ndarray  # int32 [N]
    set_bounds: np.ndarray  # int64 [S + 1]: set s is set_values[set_bounds[s] : set_bounds[s + 1]]
    set_values: np.ndarray  # float64, rising within a set
    leaf_values: np.ndarray  # float64 [L, W]; W is 1, or as many as the forest has outputs
    leaf_ids: np.ndarray  # int32 [L]: what the library itself calls the leaf, within its tree
    tree_output: np.ndarray  # int32 [T]: the output that a tree adds to, where W is 1
    truncates: np.ndarray  # bool [F]
    zero_is_missing: np.ndarray  # bool [F]
    linear: LinearLeaves | None = None
    takes_nan: bool = True  # whether the library answers rows with NaN, and with infinities
    takes_infinity: bool = True
    floors: bool = False

    @property
    def trees(self) -> int:
        return len(self.roots)

    @property
    def leaves(self) -> int:
        return len(self.leaf_values)


@dataclass(frozen=True)
class Link:
    """What makes an answer of a sum."""

    name: LinkName
    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class TreeModel:
    """A forest and what its sums mean. K: the number of sums.

    The sums: `base`, then the leaves from the first tree to the last, added in `arithmetic`; then divided by
    `divisor`. The answers:

    - binary (K = 1): `probabilities` [N, 2] are 1 - p and p, p = link(sum); `label` is the second class where
      `sum > cut`;
    - multiclass: `probabilities` [N, K] = link(sums); `label` is the class of the first largest probability, or, where
      `label_by_sums`, of the first largest sum (two sums next to each other can have the same probability);
    - value: `variable` [N, K] = link(sums);
    - outlier (K = 1): `scores` [N, 1] = link(sum); `label` is 1 where `sum > cut`, else -1.

    Floats of the answer are of the type `arithmetic`.
    """

    forest: Forest
    task: Task
    base: tuple[float, ...]  # K numbers
    link: Link
    arithmetic: Float = "float64"
    divisor: float = 1.0
    cut: float = 0.0
    label_by_sums: bool = False  # multiclass
    classes: tuple[int, ...] | tuple[str, ...] = ()  # binary and multiclass: the labels, in the order of the columns
    feature_names: tuple[str, ...] = ()

    @property
    def outputs(self) -> int:
        return len(self.base)


ZERO = 1.0000000180025095e-35  # LightGBM's kZeroThreshold: 1e-35 as a float32


NO_TREES = "the nodes do not form trees: each must be the child, or root, of exactly one"
NOT_IN_ORDER = "the nodes and leaves of the trees do not stand in the order of the trees"


def check_forest(forest: Forest) -> None:
    """Raise ValueError, naming the rule, unless the arrays are what `Forest` promises; for readers and their tests."""
    import numpy as np

    nodes, leaves, trees = len(forest.feature), forest.leaves, forest.trees
    per_node = (forest.threshold, forest.left, forest.right, forest.missing_left, forest.category_set)
    if any(len(array) != nodes for array in per_node):
        raise ValueError("the arrays of nodes are not of equal length")
    if len(forest.leaf_ids) != leaves or len(forest.tree_output) != trees:
        raise ValueError("the arrays of leaves or of trees are not of equal length")
    if len(forest.truncates) != forest.features or len(forest.zero_is_missing) != forest.features:
        raise ValueError("the rules of features are not one for each feature")
    if nodes and not (forest.feature.min() >= 0 and forest.feature.max() < forest.features):
        raise ValueError("a node splits on a feature that does not exist")
    _check_trees(forest)
    _check_order(forest)
    numeric = forest.category_set < 0
    if np.isnan(forest.threshold[numeric]).any():
        raise ValueError("a threshold is NaN")
    if len(forest.category_set) and forest.category_set.max() >= len(forest.set_bounds) - 1:
        raise ValueError("a node names a category set that does not exist")
    if forest.compares == "float32":
        with np.errstate(over="ignore"):
            same = forest.threshold[numeric] == forest.threshold[numeric].astype(np.float32)
        if not same.all():
            raise ValueError("a threshold of a float32 forest is no float32")


def _check_trees(forest: Forest) -> None:
    """Raise ValueError unless every node and leaf is the child, or the root, of one, and comes after that one."""
    import numpy as np

    children = np.concatenate([forest.roots, forest.left, forest.right])
    for which, count in ((children[children >= 0], len(forest.feature)), (~children[children < 0], forest.leaves)):
        met = np.zeros(count, bool)
        if len(which) != count or (count and which.max() >= count):
            raise ValueError(NO_TREES)
        met[which] = True
        if not met.all():
            raise ValueError(NO_TREES)
    own = np.arange(len(forest.feature), dtype=np.int32)
    for side in (forest.left, forest.right):
        if np.any((side >= 0) & (side <= own)):
            raise ValueError("a child comes before its parent")


def _check_order(forest: Forest) -> None:
    """Raise ValueError unless the nodes, and the leaves, of a tree stand together, and the trees in their order."""
    import numpy as np

    inner = forest.roots >= 0
    first = forest.roots[inner]
    if np.any(np.diff(first) <= 0) or (len(forest.feature) and (not len(first) or first[0] != 0)):
        raise ValueError(NOT_IN_ORDER)
    counts = np.zeros(forest.trees, np.int64)
    counts[inner] = np.diff(first, append=len(forest.feature))
    number = np.arange(forest.trees, dtype=np.int32)
    of_node, of_leaf = np.repeat(number, counts), np.repeat(number, counts + 1)
    of_child = np.concatenate([of_node, of_leaf[::-1]])  # -1, the leaf 0, is the last
    for parent, child in ((number, forest.roots), (of_node, forest.left), (of_node, forest.right)):
        if np.any(of_child[child] != parent):
            raise ValueError(NOT_IN_ORDER)
