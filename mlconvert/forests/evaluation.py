"""What a TreeModel answers, computed with numpy: the meaning of its arrays, in a form that runs.

Boundary rows find their way with it, and tests hold every reader and writer against it. It is vectorised over rows
and trees; libraries are faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlconvert.forests.model import ZERO

if TYPE_CHECKING:
    from mlconvert.forests.model import Forest, TreeModel

WALKS = 1 << 20  # pairs of a row and a tree that are walked at once: some 30 MB


def as_compared(forest: Forest, rows: np.ndarray) -> np.ndarray:
    """The rows [n, F] as the nodes see them: float64, after the forest's cast, its zeros and its truncation."""
    with np.errstate(over="ignore"):
        seen: np.ndarray = rows.astype(forest.compares).astype(np.float64)
    if forest.zero_is_missing.any():
        seen[(np.abs(seen) <= ZERO) & forest.zero_is_missing] = np.nan
    if forest.truncates.any():
        whole = np.floor if forest.floors else np.trunc
        seen[:, forest.truncates] = whole(seen[:, forest.truncates])
    return seen


def goes_left(forest: Forest, nodes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Whether a value (as compared) goes left at a node, for arrays of both of the same length."""
    threshold = forest.threshold[nodes]
    left = values < threshold if forest.strict else values <= threshold
    sets = forest.category_set[nodes]
    members = np.flatnonzero(sets >= 0)
    if len(members):
        left[members] = _in_sets(forest, sets[members], values[members])
    chosen: np.ndarray = np.where(np.isnan(values), forest.missing_left[nodes], left)
    return chosen


def _in_sets(forest: Forest, sets: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Whether each value is in its set: all sets as one sorted list of (set, value), searched by bisection."""
    low, high = forest.set_bounds[sets].copy(), forest.set_bounds[sets + 1].copy()
    end = high.copy()
    while np.any(low < high):
        middle = (low + high) // 2
        open_ = low < high
        below = open_ & (forest.set_values[np.minimum(middle, len(forest.set_values) - 1)] < values)
        low, high = np.where(below, middle + 1, low), np.where(open_ & ~below, middle, high)
    found: np.ndarray = low < end
    found[found] = forest.set_values[low[found]] == values[found]
    return found


def leaves_of(forest: Forest, rows: np.ndarray) -> np.ndarray:
    """The leaf, an index into the forest's leaves, that each row [n, F] reaches in each tree: int32 [n, T]."""
    leaves = np.empty((len(rows), forest.trees), np.int32)
    step = max(1, WALKS // max(1, forest.trees))
    for start in range(0, len(rows), step):
        seen = as_compared(forest, rows[start : start + step])
        leaves[start : start + step] = _walk(forest, seen)
    return leaves


def _walk(forest: Forest, seen: np.ndarray) -> np.ndarray:
    at = np.tile(forest.roots, len(seen))
    row = np.repeat(np.arange(len(seen)), forest.trees)
    moving = np.flatnonzero(at >= 0)
    while len(moving):
        nodes = at[moving]
        left = goes_left(forest, nodes, seen[row[moving], forest.feature[nodes]])
        at[moving] = np.where(left, forest.left[nodes], forest.right[nodes])
        moving = moving[at[moving] >= 0]
    leaves: np.ndarray = (~at).reshape(len(seen), forest.trees)
    return leaves


def leaf_answers(forest: Forest, rows: np.ndarray, leaves: np.ndarray) -> np.ndarray:
    """What each tree gives each row: float64 [n, T, W]."""
    values: np.ndarray = forest.leaf_values[leaves]
    if forest.linear is None:
        return values
    seen = as_compared(forest, rows)
    padded = np.concatenate([seen, np.zeros((len(seen), 1))], axis=1)  # the feature -1: a zero
    total = forest.linear.constant[leaves]
    missing = np.zeros(leaves.shape, bool)
    for term in range(forest.linear.feature.shape[1]):
        x = np.take_along_axis(padded, forest.linear.feature[leaves, term] % padded.shape[1], axis=1)
        missing |= np.isnan(x)
        total = total + forest.linear.coefficient[leaves, term] * x
    answer: np.ndarray = np.where(missing, values[:, :, 0], total)
    return answer[:, :, None]


def sums(model: TreeModel, rows: np.ndarray) -> np.ndarray:
    """The sums [n, K] in the model's arithmetic, divided by its divisor."""
    forest = model.forest
    answers = leaf_answers(forest, rows, leaves_of(forest, rows)).astype(model.arithmetic)
    total: np.ndarray = np.tile(np.asarray(model.base, model.arithmetic), (len(rows), 1))
    for tree in range(forest.trees):
        if answers.shape[2] == model.outputs and model.outputs > 1:
            total += answers[:, tree]
        else:
            total[:, forest.tree_output[tree]] += answers[:, tree, 0]
    total /= np.asarray(model.divisor, model.arithmetic)
    return total


def answers(model: TreeModel, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs name -> array, as `TreeModel` says; links are computed in float64 and rounded at the end."""
    with np.errstate(over="ignore", invalid="ignore"):  # linear leaves of infinite features
        total = sums(model, rows)
        linked = _linked(model, total.astype(np.float64))
    if model.task == "value":
        return {"variable": linked.astype(model.arithmetic)}
    if model.task == "outlier":
        return {"label": np.where(total[:, 0] > model.cut, 1, -1), "scores": linked.astype(model.arithmetic)}
    if model.task == "binary":
        index = (total[:, 0] > model.cut).astype(np.int64)
        linked = np.concatenate([1 - linked, linked], axis=1)
    else:
        index = (total if model.label_by_sums else linked.astype(model.arithmetic)).argmax(axis=1)
    return {"label": np.asarray(model.classes)[index], "probabilities": linked.astype(model.arithmetic)}


def _linked(model: TreeModel, total: np.ndarray) -> np.ndarray:
    scale, offset = model.link.scale, model.link.offset
    linked: np.ndarray = total
    with np.errstate(over="ignore"):
        match model.link.name:
            case "identity":
                pass
            case "sigmoid":
                linked = 1 / (1 + np.exp(-scale * total))
            case "softmax":
                powers = np.exp(scale * (total - total.max(axis=1, keepdims=True)))
                linked = powers / powers.sum(axis=1, keepdims=True)
            case "exp":
                linked = np.exp(total)
            case "log1p-exp":
                linked = np.logaddexp(0, total)
            case "signed-square":
                linked = np.sign(total) * total * total
            case "step":
                linked = (total > 0).astype(np.float64)
            case "isolation":
                linked = -np.exp2(-total / scale) - offset
    return linked
