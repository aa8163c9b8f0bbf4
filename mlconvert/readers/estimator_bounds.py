"""Whether the indices inside loaded estimators lead anywhere but into their own arrays.

A .skops file runs no code, but scikit-learn follows the indices of its trees unchecked: a crafted file could have it
read memory that is not the model's. That is why skops does not trust trees. mlconvert does, and looks at them first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mlconvert.errors import ConversionFailed

LEAF = -1  # sklearn.tree._tree.TREE_LEAF


def check_bounds(loaded: Any, where: str) -> None:
    """Raise ConversionFailed when a tree's node, a neighbour's number or a sparse index lies outside its array."""
    for value in _objects(loaded):
        name = f"{type(value).__module__}.{type(value).__qualname__}"
        checks = [_CHECKS[name]] if name in _CHECKS else []
        if name.startswith("sklearn."):
            checks.append(_features)
        if not all(check(value) for check in checks):
            what = f"the file is damaged: indices in the {type(value).__name__} lead outside of its arrays"
            raise ConversionFailed(
                what, where=where, hint="save the model again; do not use the file if it is not yours"
            )


def _objects(root: Any) -> Iterator[Any]:
    """Every object that the root holds, itself first, each once."""
    import numpy as np

    seen: set[int] = set()
    waiting = [root]
    while waiting:
        value = waiting.pop()
        if isinstance(value, (str, bytes, int, float, type)) or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, (list, tuple, set)):
            waiting.extend(value)
        elif isinstance(value, np.ndarray):
            if value.dtype == object:
                waiting.extend(value.ravel())
        else:
            yield value
            waiting.extend(getattr(value, "__dict__", {}).values())


# --- each kind: True where all is within bounds ---


def _tree(tree: Any) -> bool:
    import numpy as np

    left, right = np.asarray(tree.children_left), np.asarray(tree.children_right)
    feature, count = np.asarray(tree.feature), int(tree.node_count)
    inner = left != LEAF
    return len(left) == count > 0 and _leads_on(left, right, inner) and _within(feature[inner], int(tree.n_features))


def _predictor(predictor: Any) -> bool:
    import numpy as np

    nodes = predictor.nodes
    inner = ~nodes["is_leaf"].astype(bool)
    sets = nodes["bitset_idx"][inner & nodes["is_categorical"].astype(bool)]
    left, right = nodes["left"].astype(np.int64), nodes["right"].astype(np.int64)
    return (
        len(nodes) > 0
        and _leads_on(left, right, inner)
        and _within(sets.astype(np.int64), len(predictor.raw_left_cat_bitsets))
        and _within(sets.astype(np.int64), len(predictor.binned_left_cat_bitsets))
    )


def _leads_on(left: Any, right: Any, inner: Any) -> bool:
    """Whether the children of inner nodes come after them, within the tree: then every path ends at a leaf."""
    import numpy as np

    nodes = np.arange(len(left))
    return bool(all((((child > nodes) & (child < len(nodes))) | ~inner).all() for child in (left, right)))


def _within(indices: Any, length: int) -> bool:
    return bool(((indices >= 0) & (indices < length)).all())


def _features(estimator: Any) -> bool:
    """Whether trees test only features that the estimator, which checks the rows' width, was fitted on."""
    import numpy as np

    own = vars(estimator) if hasattr(estimator, "__dict__") else {}
    features = getattr(estimator, "n_features_in_", None)  # of stacking and voting it is a property
    if _is_tree(own.get("tree_")) and own["tree_"].n_features != features:
        return False
    if "_predictors" in own:
        used = [tree.nodes["feature_idx"].astype(np.int64) for trees in own["_predictors"] for tree in trees]
        if used and not _within(np.concatenate(used), int(features or 0)):
            return False
    # These hand their rows to the trees of their parts, past the parts' own checks.
    if not type(estimator).__module__.startswith("sklearn.ensemble.") or "estimators_" not in own:
        return True
    held = own["estimators_"]
    # Not np.asarray of a list: a pipeline has a length, and would be taken apart.
    parts = list(held.ravel() if isinstance(held, np.ndarray) else held)
    chosen = own.get("estimators_features_")
    widths = [features] * len(parts) if chosen is None else [len(columns) for columns in chosen]
    alike = [
        part.n_features_in_ == width
        for part, width in zip(parts, widths, strict=False)
        if _is_tree(getattr(part, "tree_", None))
    ]
    return len(widths) == len(parts) and all(alike)


def _is_tree(value: Any) -> bool:
    return type(value).__module__ == "sklearn.tree._tree"


def _neighbours(tree: Any) -> bool:
    """A KDTree or BallTree: the rows' numbers, and for each node a range of them; the children of i are 2i+1, 2i+2."""
    import numpy as np

    rows, numbers, nodes, _ = (np.asarray(part) for part in tree.get_arrays())
    start, end, leaf = nodes["idx_start"], nodes["idx_end"], nodes["is_leaf"].astype(bool)
    last = 2 * np.arange(len(nodes)) + 2
    return (
        len(numbers) == len(rows)
        and len(nodes) > 0
        and _within(numbers, len(rows))
        and bool(((start >= 0) & (start <= end) & (end <= len(rows)) & (leaf | (last < len(nodes)))).all())
    )


def _sparse(matrix: Any) -> bool:
    try:
        matrix.check_format(full_check=True)
    except ValueError:
        return False
    return True


def _spline(spline: Any) -> bool:
    import numpy as np

    order, knots = int(spline.k), np.asarray(spline.t)
    return order >= 0 and knots.ndim == 1 and len(np.asarray(spline.c)) >= len(knots) - order - 1 > order


_CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "scipy.interpolate._bsplines.BSpline": _spline,
    "scipy.sparse._csc.csc_array": _sparse,
    "scipy.sparse._csc.csc_matrix": _sparse,
    "scipy.sparse._csr.csr_array": _sparse,
    "scipy.sparse._csr.csr_matrix": _sparse,
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor": _predictor,
    "sklearn.neighbors._ball_tree.BallTree": _neighbours,
    "sklearn.neighbors._kd_tree.KDTree": _neighbours,
    "sklearn.tree._tree.Tree": _tree,
}
