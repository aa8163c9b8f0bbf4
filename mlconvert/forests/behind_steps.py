"""Boundary rows for trees that see a table only after other steps: scaled, imputed, selected, cast, encoded.

What the trees are to see is known; what the table must hold for that is searched for, by asking the steps themselves.
A column that the trees see can be had where exactly one column of the table decides it, and rises or falls with it:
behind scalers, imputers, power and quantile transformers, and selections of columns, but not behind a PCA. Then a
bisection over the floats of the table's column ends with two neighbours between which the steps pass the threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlconvert.forests.boundary import Probes, probes
from mlconvert.forests.boundary_paths import Conditions, Paths, compared, met
from mlconvert.forests.boundary_search import at_place, ends, last_below
from mlconvert.forests.evaluation import goes_left
from mlconvert.forests.model import Forest

Columns = list[np.ndarray]  # of a table, each [n]
Forward = Callable[[Columns], np.ndarray]  # the steps: the columns of a table -> what the trees see, float64 [n, F]

MAGNITUDES = 10.0 ** np.array([-6, -3, -1, 0, 1, 2, 4, 6, 9, 15])  # tried to find out which columns decide which


@dataclass(frozen=True)
class Deciders:
    """For each of the F columns that the trees see, the column of the table that alone decides it."""

    column: np.ndarray  # int64 [F], -1: none, several, or not by rising or falling
    rises: np.ndarray  # bool [F]: rises with it; else it falls


def rows_behind(
    forest: Forest,
    forward: Forward,
    table: Sequence[np.ndarray],
    *,
    count: int,
    seed: int,
    texts: Mapping[int, tuple[str, ...]] | None = None,
) -> Columns | None:
    """The columns, at most `count` rows, of tables that put the trees behind `forward` to the test.

    `table`: rows to start from, columns [n] of numbers, booleans or text; the result has the same types. `texts`: for
    columns of text whose category k the trees see as the number k, the categories; other text is not changed. None
    where no column can be varied. Raises what `forward` raises for the rows of `table`.
    """
    random = np.random.default_rng(seed)
    if len(table[0]) > count:
        chosen = np.sort(random.choice(len(table[0]), count, replace=False))
        table = [column[chosen] for column in table]
    columns = list(table)
    texts = texts or {}
    deciders = _deciders(forward, columns, texts)
    if not np.any(deciders.column >= 0):
        return None
    seen = forward(columns)
    # Rows that need a column that cannot be had are left out, so more are made than are wanted.
    spare = 1 if np.all(deciders.column >= 0) else 3
    made = probes(forest, count=spare * count, seed=seed, around=seen)
    kept, moves = _moves(forest, made, seen, columns, deciders, texts)
    kept = kept[:count]
    if not len(kept):
        return None
    moves = moves[kept]
    made = Probes(made.rows[kept], made.nodes[kept], made.starts[kept])
    rows = [column[made.starts] for column in columns]
    for column, categories in texts.items():
        rows[column] = _named(rows[column], categories, made.rows, moves[:, column])
    _search(forest, forward, rows, made, moves, deciders, set(texts))
    return rows


def _deciders(forward: Forward, columns: Columns, texts: Mapping[int, tuple[str, ...]]) -> Deciders:
    """Found by trying: in one row, each column gets numbers of all sizes (each of its categories)."""
    first = [column[:1] for column in columns]
    features = forward(first).shape[1]
    decided = np.zeros(features, np.int64)
    column_of, rises = np.full(features, -1), np.zeros(features, bool)
    for column, own in enumerate(first):
        tried = _tried(own.dtype, texts.get(column))
        if not len(tried):
            continue
        rows = [np.repeat(other, len(tried)) for other in first]
        rows[column] = tried
        try:
            answers = forward(rows)
        except (TypeError, ValueError):  # the steps do not take such numbers in this column: it stays as it is
            continue
        steps: np.ndarray = np.diff(np.where(np.isnan(answers), answers[:1], answers), axis=0)
        touched = np.any(steps != 0, axis=0)
        decided += touched
        falls = np.all(steps <= 0, axis=0)
        monotone = touched & (np.all(steps >= 0, axis=0) | falls)
        column_of[monotone] = column
        rises[monotone] = ~falls[monotone]
    column_of[decided != 1] = -1
    return Deciders(column_of, rises)


def _tried(dtype: np.dtype, categories: tuple[str, ...] | None) -> np.ndarray:
    if categories is not None:
        return np.array(categories)
    if dtype.kind not in "fiub":
        return np.empty(0)
    low, high = ends(dtype)
    limits = at_place(np.array([low, high]), dtype).astype(np.float64)
    tried = np.concatenate([limits, -MAGNITUDES, [0.0], MAGNITUDES])
    return np.unique(np.clip(tried, *limits).astype(dtype))


def _moves(
    forest: Forest,
    made: Probes,
    seen: np.ndarray,
    columns: Columns,
    deciders: Deciders,
    texts: Mapping[int, tuple[str, ...]],
) -> tuple[np.ndarray, np.ndarray]:
    """Which probes can be had (places, rising), and for each probe and column of the table the column of the trees
    that it is to be moved for, or -1: int64 [n, columns].
    """
    before = seen[made.starts]
    moved = (made.rows != before) & ~(np.isnan(made.rows) & np.isnan(before))
    moves = np.full((len(made.rows), len(columns)), -1)
    bad = (moved & (deciders.column < 0)).any(axis=1)
    own = forest.feature[made.nodes]
    row, feature = np.nonzero(moved)
    # A column of the table may decide several: the last entry counts, which is the one that the node itself tests.
    order = np.argsort(own[row] == feature, kind="stable")
    row, feature = row[order], feature[order]
    decider = deciders.column[feature]
    had = decider >= 0
    moves[row[had], decider[had]] = feature[had]
    for column, values in enumerate(columns):
        if values.dtype.kind == "f" or column in texts:
            continue
        # An integer can be no NaN.
        at = np.flatnonzero(moves[:, column] >= 0)
        bad[at[~np.isfinite(made.rows[at, moves[at, column]])]] = True
    return np.flatnonzero(~bad), moves


def _named(own: np.ndarray, categories: tuple[str, ...], wanted: np.ndarray, feature: np.ndarray) -> np.ndarray:
    """A column of text with its categories by number; what is no category's number becomes an unknown text."""
    at = np.flatnonzero(feature >= 0)
    code = wanted[at, feature[at]]
    known = (code >= 0) & (code < len(categories)) & (code == np.floor(code))
    unknown = "unknown"
    while unknown in categories:
        unknown += "-"
    listed = np.array([*categories, unknown])
    result = own.astype(np.result_type(own, listed))
    result[at] = listed[np.where(known, code, len(categories)).astype(np.int64)]
    return result


def _search(
    forest: Forest,
    forward: Forward,
    rows: Columns,
    made: Probes,
    moves: np.ndarray,
    deciders: Deciders,
    texts: set[int],
) -> None:
    """Set, in place, the columns of numbers so that the trees see what they are to see, or the nearest to it.

    `moves` [n, columns]: the column of the trees that each value is to be moved for, -1 for those that stay.
    """
    searched = [column for column in range(len(rows)) if column not in texts and (moves[:, column] >= 0).any()]
    if not searched:
        return
    each = np.arange(len(made.rows))[:, None]
    feature = moves[:, searched]
    wanted = np.where(feature >= 0, made.rows[each, feature], 0)
    before = [rows[column].copy() for column in searched]
    # First as if the steps changed nothing: so NaN and infinities are set, and much is done behind imputers.
    active = feature >= 0
    for index, column in enumerate(searched):
        at = np.flatnonzero(active[:, index])
        limits = at_place(np.array(ends(rows[column].dtype)), rows[column].dtype).astype(np.float64)
        floats = rows[column].dtype.kind == "f"
        rows[column][at] = wanted[at, index] if floats else np.clip(np.floor(wanted[at, index]), *limits)
    active &= np.isfinite(wanted) & (forward(rows)[each, feature] != wanted)
    if not active.any():
        return
    sign = np.where(deciders.rises[feature], 1.0, -1.0)

    def seen(places: np.ndarray) -> np.ndarray:
        """What the trees see in the columns that are searched, [n, searched], with these places in the table."""
        for index, column in enumerate(searched):
            numbers = at_place(places[:, index], rows[column].dtype)
            rows[column] = np.where(active[:, index], numbers, rows[column])
        result: np.ndarray = forward(rows)[each, feature]
        return result

    def above(places: np.ndarray) -> np.ndarray:
        result: np.ndarray = ~(sign * seen(places) <= sign * wanted)
        return result

    first, last = np.array([ends(rows[column].dtype) for column in searched]).T
    found = last_below(above, np.where(active, first, 0), np.where(active, last, 0))
    seen(found)
    # Its neighbour is on the other side: where a node sends what was found elsewhere than it should, that is the one.
    row, off = _sent_elsewhere(forest, made, forward(rows))
    place = np.full(len(rows), -1)
    place[searched] = np.arange(len(searched))
    index = place[deciders.column[off]]
    next_one = (index >= 0) & (feature[row, index] == off) & active[row, index]
    row, index = row[next_one], index[next_one]
    found[row, index] = np.minimum(found[row, index] + 1, last[index])
    got = seen(found)
    beyond = active & (got != wanted) & ((found == first) | (found == last))  # the steps never give such numbers
    for index, column in enumerate(searched):
        rows[column] = np.where(beyond[:, index], before[index], rows[column])


def _sent_elsewhere(forest: Forest, made: Probes, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows, and in each the columns of the trees, whose values in `seen` [n, F] lead away: int64, one pair each.

    Away from the node that a row is for, or from the side of it that the probe's own value is on.
    """
    each = np.arange(len(made.rows))
    own = forest.feature[made.nodes]
    side = goes_left(forest, made.nodes, compared(forest, own, made.rows[each, own]))
    way = Conditions.of(Paths.of(forest), made.nodes)
    asked = Conditions(
        np.concatenate([way.row, each]), np.concatenate([way.node, made.nodes]), np.concatenate([way.left, side])
    )
    feature = forest.feature[asked.node]
    wrong = ~met(forest, asked, seen[asked.row, feature])
    return asked.row[wrong], feature[wrong]
