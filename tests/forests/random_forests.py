"""Forests of every kind that the model can say, drawn at random: for tests of what reads TreeModels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlconvert.forests.model import Forest, LinearLeaves, Link, TreeModel, check_forest

FEATURES = 4
IDENTITY = Link("identity")


@dataclass(frozen=True)
class Kind:
    """What a random forest has."""

    trees: int = 5
    depth: int = 4
    compares: str = "float64"
    strict: bool = False
    missing: bool = False
    sets: int = 0  # the largest member, 0: no categories
    truncates: bool = False
    zero_is_missing: bool = False
    outputs: int = 1
    vector: bool = False  # leaves with a value for each output
    linear: bool = False
    task: str = "value"
    link: Link = IDENTITY
    arithmetic: str = "float64"
    divisor: float = 1.0
    base: float = 0.0
    cut: float = 0.0
    texts: bool = False  # classes are texts
    label_by_sums: bool = False
    chain: bool = False  # trees as deep as they have nodes


def random_forest(kind: Kind, seed: int) -> TreeModel:
    """A model of that kind. Thresholds and categories are few, so that rows meet them."""
    rng = np.random.default_rng(seed)
    width = kind.outputs if kind.vector else 1
    trees = [_tree(kind, rng, number) for number in range(kind.trees)]
    nodes = np.cumsum([0] + [len(tree) for tree in trees])
    leaves = np.cumsum([0] + [len(tree) + 1 for tree in trees])
    roots, left, right = [], [], []
    for tree, first_node, first_leaf in zip(trees, nodes[:-1], leaves[:-1], strict=True):
        roots.append(first_node if tree else ~first_leaf)
        for sides, own in ((left, 0), (right, 1)):
            sides += [child[own] + first_node if child[own] >= 0 else child[own] - first_leaf for child in tree]
    count, total = int(nodes[-1]), int(leaves[-1])
    thresholds = np.concatenate([rng.normal(size=6), [0.0, 1.0, -1e-36, 1e-35]])
    threshold = rng.choice(thresholds, count)
    category = np.full(count, -1, np.int32)
    bounds, members = [0], []
    feature = rng.integers(FEATURES, size=count).astype(np.int32)
    if kind.sets:
        tested = np.flatnonzero(feature % 2 == 0)
        category[tested] = np.arange(len(tested))
        threshold[tested] = np.nan
        for _ in tested:
            size = int(rng.integers(0, min(kind.sets, 40) + 1))
            own = rng.choice(kind.sets + 1, min(size, kind.sets), replace=False).astype(float)
            members += sorted(own)
            bounds.append(len(members))
    if kind.compares == "float32":
        threshold = threshold.astype(np.float32).astype(np.float64)
    linear = None
    if kind.linear:
        terms = rng.integers(-1, FEATURES, size=(total, 3)).astype(np.int32)
        terms.sort(axis=1)
        terms = terms[:, ::-1].copy()
        linear = LinearLeaves(rng.normal(size=total), terms, np.where(terms < 0, 0, rng.normal(size=terms.shape)))
    output = np.arange(kind.trees) % kind.outputs if rng.random() < 0.5 else rng.integers(kind.outputs, size=kind.trees)
    values = rng.normal(size=(total, width))
    if kind.arithmetic == "float32":
        values = values.astype(np.float32).astype(np.float64)
    columns = np.arange(FEATURES)
    forest = Forest(
        features=FEATURES,
        compares=kind.compares,
        strict=kind.strict,
        roots=np.array(roots, np.int32),
        feature=feature,
        threshold=threshold,
        left=np.array(left, np.int32).reshape(-1),
        right=np.array(right, np.int32).reshape(-1),
        missing_left=rng.random(count) < 0.5 if kind.missing else np.zeros(count, bool),
        category_set=category,
        set_bounds=np.array(bounds, np.int64),
        set_values=np.array(members, np.float64),
        leaf_values=values,
        leaf_ids=rng.permutation(total).astype(np.int32),
        tree_output=(output if width == 1 else np.zeros(kind.trees)).astype(np.int32),
        truncates=(columns % 2 == 0) & kind.truncates,
        zero_is_missing=(columns % 2 == 1) & kind.zero_is_missing,
        linear=linear,
    )
    check_forest(forest)
    classes: tuple = ()
    if kind.task in ("binary", "multiclass"):
        number = max(2, kind.outputs)
        classes = tuple("abcdefgh"[:number]) if kind.texts else tuple(range(number))
        if rng.random() < 0.3 and not kind.texts:
            classes = tuple(3 * one - 2 for one in classes)
    base = tuple(float(np.float32(kind.base * (1 + one))) for one in range(kind.outputs))
    return TreeModel(
        forest,
        kind.task,
        base,
        kind.link,
        kind.arithmetic,
        divisor=kind.divisor,
        cut=kind.cut,
        label_by_sums=kind.label_by_sums,
        classes=classes,
    )


def _tree(kind: Kind, rng: np.random.Generator, number: int) -> list[tuple[int, int]]:
    """The children of each node, ~leaf for a leaf: numbered from 0, each after its parent. Every third is one leaf."""
    if number % 3 == 2 or not kind.depth:
        return []
    size = int(rng.integers(1, 2**kind.depth))
    children: list[list[int | None]] = []
    open_ = [(-1, 0)]
    for node in range(size):
        parent, side = open_.pop(-1 if kind.chain else int(rng.integers(len(open_))))
        if parent >= 0:
            children[parent][side] = node
        children.append([None, None])
        open_ += [(node, 0), (node, 1)]
    for leaf, (parent, side) in enumerate(open_):
        children[parent][side] = ~leaf
    return [tuple(sides) for sides in children]


def rows_for(model: TreeModel, seed: int, count: int = 300, *, finite: bool = False) -> np.ndarray:
    """Rows whose values are often at thresholds and categories, one step beside them, NaN, infinite, huge or zero."""
    rng = np.random.default_rng(seed)
    forest = model.forest
    at = np.concatenate([forest.threshold[~np.isnan(forest.threshold)], forest.set_values, [0.0]])
    steps = np.nextafter(at, np.inf), np.nextafter(at, -np.inf), at.astype(np.float32).astype(np.float64)
    near32 = [np.nextafter(at.astype(np.float32), np.float32(side)).astype(np.float64) for side in (-np.inf, np.inf)]
    special = [0.0, -0.0, 1e-36, -1e-36, 1.5e-35, 0.7, -0.7, 3e9, -3e9, 5.0, 64.0, 65.0, 2.0**31]
    if not finite:
        special += [np.nan, np.nan, np.inf, -np.inf, 1e300, -1e300]
    pool = np.concatenate([at, *steps, *near32, at + 0.5, special])
    rows = rng.choice(pool, size=(count, FEATURES))
    normal = rng.random(rows.shape) < 0.3
    rows[normal] = rng.normal(size=int(normal.sum()))
    return rows
