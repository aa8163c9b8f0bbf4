"""Boundary rows for estimators: trees alone, behind steps, in others, with columns of integers and of text."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    AdaBoostRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from mlconvert.forests.boundary_estimators import estimator_rows
from mlconvert.forests.estimators import tree_model_of
from mlconvert.forests.evaluation import as_compared
from mlconvert.readers.estimator_answers import outputs_of, table_of

RANDOM = np.random.default_rng(0)
SCALES, CENTRES = np.array([1, 10, 1e5, 1e-3, 1]), np.array([0, 5, 1e6, 0, 3])
X = RANDOM.normal(size=(200, 5)) * SCALES + CENTRES
Y = (X[:, 0] + X[:, 1] / 10 + X[:, 2] / 1e6 > 1.6).astype(int)
NORMAL = {"input": RANDOM.normal(size=(64, 5))}


def histogram() -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(max_iter=4, max_leaf_nodes=6, min_samples_leaf=5)


def forest() -> RandomForestClassifier:
    return RandomForestClassifier(4, max_depth=4, random_state=0)


def gaps(tree: object, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far the nearest values on both sides of each threshold are from it, in ulp of what the trees compare."""
    made = tree_model_of(tree, "here").forest
    seen = as_compared(made, seen)
    ulp = np.spacing(np.abs(made.threshold).astype(made.compares)).astype(np.float64)
    columns = [seen[:, feature] for feature in made.feature]
    below = [t - own[own <= t].max() for t, own in zip(made.threshold, columns, strict=True)]
    above = [own[own > t].min() - t for t, own in zip(made.threshold, columns, strict=True)]
    return below / ulp, above / ulp


STEPS = {
    "nothing": [],
    "standard": [StandardScaler()],
    "min-max": [MinMaxScaler()],
    "max-abs": [MaxAbsScaler()],
    "imputed and robust": [SimpleImputer(), RobustScaler()],
    "quantiles": [QuantileTransformer(n_quantiles=20)],
    "selected": [SelectKBest(k=3), StandardScaler()],
    "falling": [FunctionTransformer(np.negative)],
    "some": [ColumnTransformer([("scaled", StandardScaler(), [3, 1]), ("as they are", "passthrough", [0, 2])])],
    "cast": [FunctionTransformer(lambda rows: rows.astype(np.float32))],
}


@pytest.mark.parametrize("tree", [histogram, forest])
@pytest.mark.parametrize("steps", STEPS)
def test_both_sides_of_each_threshold_are_met_behind_steps(steps: str, tree: object) -> None:
    model = make_pipeline(*STEPS[steps], tree()).fit(X, Y)
    rows = estimator_rows(model, NORMAL, "here", count=1500, seed=3)
    assert list(rows) == ["input"]
    assert rows["input"].shape == (1500, 5)
    assert rows["input"].dtype == np.float64
    inner = np.asarray(model[:-1].transform(rows["input"]) if STEPS[steps] else rows["input"], np.float64)
    below, above = gaps(model[-1], inner)
    # A step's floats can be coarser than those next to the threshold.
    if isinstance(model[-1], RandomForestClassifier):
        assert max(below) == 0
        assert max(above) == 1
    else:
        allowed = 2**30 if steps == "cast" else 1000
        assert np.median(below) <= (2**29 if steps == "cast" else 0)
        assert max(*below, *above) <= allowed
    outputs_of(model, rows["input"])


def test_the_samples_were_blind_before() -> None:
    model = make_pipeline(StandardScaler(), histogram()).fit(X, Y)
    with pytest.raises(ValueError, match="zero-size array"):
        gaps(model[-1], model[:-1].transform(NORMAL["input"] * 0))
    below, above = gaps(model[-1], model[:-1].transform(X))
    assert min(*below, *above) > 1000


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(PCA(2), histogram()),
        make_pipeline(StandardScaler(), LogisticRegression()),
        LogisticRegression(),
    ],
)
def test_nothing_is_made_where_no_column_leads_to_trees(model: object) -> None:
    assert estimator_rows(model.fit(X, Y), NORMAL, "here", count=100, seed=0) is None


def test_nothing_is_made_for_text_or_missing_samples() -> None:
    texts = ["one two", "two three", "three four"] * 10
    model = make_pipeline(TfidfVectorizer(), forest()).fit(texts, [0, 1, 2] * 10)
    assert estimator_rows(model, {"input": np.array(texts)[:, None]}, "here", count=100, seed=0) is None


def test_columns_that_cannot_be_had_stay_as_they_are() -> None:
    split = ColumnTransformer([("mixed", PCA(2), [0, 1, 2]), ("scaled", StandardScaler(), [3, 4])])
    target = (X[:, 3] > 0).astype(int) + (X[:, 0] > 0)
    model = make_pipeline(split, histogram()).fit(X, target)
    start = X[:50]
    rows = estimator_rows(model, {"input": start}, "here", count=400, seed=0)["input"]
    assert len(rows) > 100
    assert {tuple(row) for row in rows[:, :3].tolist()} <= {tuple(row) for row in start[:, :3].tolist()}
    assert len(np.unique(rows[:, 3])) > 50


def test_numbers_that_a_step_never_gives_are_left_out() -> None:
    model = make_pipeline(PowerTransformer(), forest()).fit(X, Y)
    rows = estimator_rows(model, {"input": X[:64]}, "here", count=500, seed=0)["input"]
    assert len(rows) > 300
    outputs_of(model, rows)


def test_missing_values_are_left_out_where_the_steps_refuse_them() -> None:
    model = make_pipeline(FunctionTransformer(np.asarray, validate=True), histogram()).fit(X, Y)
    rows = estimator_rows(model, NORMAL, "here", count=500, seed=0)["input"]
    assert not np.isnan(rows).any()
    assert len(rows) > 300


@pytest.mark.parametrize(
    "model",
    [
        CalibratedClassifierCV(histogram(), cv=2),
        VotingClassifier([("a", histogram()), ("b", LogisticRegression()), ("c", forest())], voting="soft"),
        StackingClassifier([("a", histogram()), ("b", forest())], cv=2),
        TransformedTargetRegressor(GradientBoostingRegressor(n_estimators=3), func=np.log1p, inverse_func=np.expm1),
        AdaBoostRegressor(n_estimators=3),
        make_pipeline(StandardScaler(), CalibratedClassifierCV(forest(), cv=2)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_trees_in_other_estimators_are_found(model: object) -> None:
    model.fit(X, Y)
    rows = estimator_rows(model, NORMAL, "here", count=301, seed=0)["input"]
    assert len(rows) == 301
    moved = {tuple(row) for row in rows.tolist()} - {tuple(row) for row in NORMAL["input"].tolist()}
    assert len(moved) > 200
    outputs_of(model, rows)


def test_nothing_is_made_for_trees_that_cannot_be_read() -> None:
    start = GradientBoostingRegressor(n_estimators=2, init=LogisticRegression()).fit(X, Y)
    for model in (start, make_pipeline(StandardScaler(), start).fit(X, Y)):
        assert estimator_rows(model, NORMAL, "here", count=10, seed=0) is None


# --- one input for each column ---


def frame(rows: int = 200) -> pd.DataFrame:
    random = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "age": random.integers(18, 90, rows),
            "paid": random.normal(size=rows) * 100,
            "town": random.choice(["York", "Leeds", "Bath", "Ely"], rows),
            "member": random.random(rows) < 0.5,
        }
    )


def samples_of(table: pd.DataFrame) -> dict[str, np.ndarray]:
    columns = {name: table[name].to_numpy()[:, None] for name in table}
    columns["town"] = columns["town"].astype(str)
    return columns


def target(table: pd.DataFrame) -> np.ndarray:
    return ((table["age"] > 50) ^ (table["town"].isin(["Bath", "Ely"])) ^ (table["paid"] > 20)).astype(int).to_numpy()


def test_a_column_keeps_its_name_type_and_shape() -> None:
    table = frame()
    model = HistGradientBoostingClassifier(
        max_iter=6, max_leaf_nodes=8, min_samples_leaf=5, categorical_features=["town"]
    ).fit(table, target(table))
    samples = samples_of(table[:40])
    rows = estimator_rows(model, samples, "here", count=800, seed=0)
    assert list(rows) == list(samples)
    for name, values in rows.items():
        assert values.dtype.kind == samples[name].dtype.kind
        assert values.shape == (len(rows["age"]), 1)
    assert len(rows["age"]) > 600
    assert set(rows["town"].ravel()) == {"York", "Leeds", "Bath", "Ely", "unknown"}
    made = tree_model_of(model, "here", text_as_codes=True).forest
    ages, paid = rows["age"].ravel(), rows["paid"].ravel()
    for feature, at, chosen in zip(made.feature, made.threshold, made.category_set, strict=True):
        if chosen < 0 and feature == 0:
            assert {np.floor(at), np.floor(at) + 1} <= set(ages)
        elif chosen < 0 and feature == 1:
            assert {at, np.nextafter(at, np.inf)} <= set(paid)
    outputs_of(model, table_of(model, rows))


def test_trees_alone_need_no_samples() -> None:
    table = frame()
    model = HistGradientBoostingClassifier(max_iter=3, categorical_features=["town"]).fit(table, target(table))
    rows = estimator_rows(model, {}, "here", count=300, seed=0)
    assert {name: (values.shape, values.dtype.kind) for name, values in rows.items()} == {
        "age": ((300, 1), "f"), "paid": ((300, 1), "f"), "town": ((300, 1), "U"), "member": ((300, 1), "f")
    }  # fmt: skip
    assert set(rows["town"].ravel()) == {"York", "Leeds", "Bath", "Ely", "unknown"}
    outputs_of(model, table_of(model, rows))
    assert estimator_rows(histogram().fit(X, Y), {}, "here", count=30, seed=0)["input"].shape == (30, 5)
    assert estimator_rows(make_pipeline(StandardScaler(), forest()).fit(X, Y), {}, "here", count=30, seed=0) is None


def test_numeric_columns_vary_beside_encoded_text() -> None:
    table = frame()
    split = ColumnTransformer([("town", OneHotEncoder(), ["town"]), ("n", StandardScaler(), ["age", "paid", "member"])])
    model = make_pipeline(split, HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5))
    model.fit(table, target(table))
    samples = samples_of(table[:40])
    rows = estimator_rows(model, samples, "here", count=400, seed=0)
    assert rows["age"].dtype == np.int64
    assert set(rows["town"].ravel()) <= {"York", "Leeds", "Bath", "Ely"}
    assert len(np.unique(rows["paid"])) > 50
    seen = split.transform(table_of(model, rows))
    made = tree_model_of(model[-1], "here").forest
    at = made.threshold[made.feature == 5]
    found = [(seen[:, 5] <= t).any() and t - seen[seen[:, 5] <= t, 5].max() < 1e-15 for t in at]
    assert np.mean(found) > 0.5  # some hang below a town
    outputs_of(model, table_of(model, rows))


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint8])
def test_a_matrix_keeps_its_type(dtype: type) -> None:
    rows = np.abs(X[:, :2] * 10).astype(dtype)
    model = HistGradientBoostingRegressor(max_iter=4, min_samples_leaf=5).fit(rows.astype(float), Y)
    made = estimator_rows(model, {"input": rows[:30]}, "here", count=6000, seed=0)["input"]
    assert made.dtype == dtype
    forest_ = tree_model_of(model, "here").forest
    for feature, at in zip(forest_.feature, forest_.threshold, strict=True):
        own = made[:, feature]
        below, above = own[own <= at].max(), own[own > at].min()
        assert above == (np.nextafter(below, dtype(np.inf)) if dtype == np.float32 else below + 1)


def test_the_seed_decides() -> None:
    model = make_pipeline(StandardScaler(), histogram()).fit(X, Y)
    one, same, other = (estimator_rows(model, NORMAL, "here", count=50, seed=seed)["input"] for seed in (1, 1, 2))
    assert np.array_equal(one, same, equal_nan=True)
    assert not np.array_equal(one, other, equal_nan=True)


def test_a_tree_without_splits_gives_no_rows() -> None:
    model = histogram().fit(X[:, :1] * 0, Y)
    assert estimator_rows(model, {"input": X[:, :1]}, "here", count=50, seed=0) is None
