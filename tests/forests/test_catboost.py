"""The rules of CatBoost that its trees rest on, each held against CatBoost, and what is refused by name."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.errors import ConversionFailed
from mlconvert.forests.boundary import boundary_rows
from mlconvert.forests.catboost import read_catboost
from mlconvert.forests.evaluation import answers, leaves_of, sums
from mlconvert.forests.model import Forest, check_forest

RANDOM = np.random.default_rng(12)
X = RANDOM.normal(size=(200, 4))
X[RANDOM.random(X.shape) < 0.1] = np.nan
VALUES = np.nan_to_num(X[:, 0]) - np.nan_to_num(X[:, 1]) ** 2
BINARY = (VALUES > 0).astype(int)


def train(target: np.ndarray = VALUES, data: Any = X, **params: Any) -> Any:
    import catboost

    settings = {"iterations": 5, "depth": 3, "verbose": 0, "allow_writing_files": False, "thread_count": 1, **params}
    kind = catboost.CatBoostClassifier if target.dtype.kind in "iU" else catboost.CatBoostRegressor
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CatBoost's own, of pandas and numba
        return kind(**settings).fit(data, target)


@pytest.fixture(scope="module")
def of_all_sizes() -> tuple[Any, Forest]:
    """A model with borders from 1e-44 to 1e38."""
    rows = np.nan_to_num(X) * 10.0 ** np.random.default_rng(3).uniform(-44, 37, X.shape)
    model = train(data=rows, depth=6)
    return model, read_catboost(model, "here").forest


@given(st.lists(st.floats(), min_size=4, max_size=4))
def test_any_row_reaches_the_leaf_that_catboost_says(of_all_sizes, numbers):
    model, forest = of_all_sizes
    with np.errstate(invalid="ignore"):
        rows = np.array(numbers) * np.array([[1], [1e-20], [1e-38], [1e-45], [1e-270]])
    found = forest.leaf_ids[leaves_of(forest, rows)]
    np.testing.assert_array_equal(found, model.calc_leaf_indexes(rows))


@pytest.mark.parametrize("nan_mode", ["Min", "Max"])
@pytest.mark.parametrize("grow_policy", ["SymmetricTree", "Depthwise", "Lossguide"])
def test_missing_values_are_below_or_above_every_border(nan_mode, grow_policy):
    forest = read_catboost(train(nan_mode=nan_mode, grow_policy=grow_policy), "here").forest
    assert set(forest.missing_left.tolist()) == {nan_mode == "Min"}


def test_a_missing_value_where_the_training_had_none_is_below():
    model = train(data=np.nan_to_num(X), nan_mode="Max")
    read = read_catboost(model, "here")
    assert read.forest.missing_left.all()
    np.testing.assert_allclose(sums(read, X)[:, 0], model.predict(X), rtol=1e-12)


@pytest.mark.parametrize("grow_policy", ["SymmetricTree", "Depthwise", "Lossguide"])
def test_leaf_values_are_those_that_catboost_lists(grow_policy):
    model = train(grow_policy=grow_policy)
    forest = read_catboost(model, "here").forest
    assert sorted(forest.leaf_values[:, 0]) == sorted(model.get_leaf_values())
    counts = np.bincount(_tree_of_leaves(forest))
    np.testing.assert_array_equal(counts, model.get_tree_leaf_counts())


def _tree_of_leaves(forest: Forest) -> np.ndarray:
    """Leaves are numbered tree by tree, and in each tree the library's numbers begin at 0 once."""
    return np.cumsum(forest.leaf_ids == 0) - 1


@pytest.mark.parametrize("threshold", [0.0, 1e-9, 0.3, 0.5, 0.9, 1.0])
def test_labels_go_by_the_threshold_of_the_model(threshold):
    model = train(BINARY)
    model.set_probability_threshold(threshold)
    read = read_catboost(model, "here")
    np.testing.assert_array_equal(answers(read, X)["label"], model.predict(X))


def test_a_row_whose_probability_is_the_threshold_is_of_the_first_class():
    model = train(BINARY, iterations=1)
    raw = np.unique(model.predict(X, prediction_type="RawFormulaVal"))
    sames = 0
    for value in raw:
        model.set_probability_threshold(float(1 / (1 + math.exp(-value))))
        read = read_catboost(model, "here")
        sames += read.cut == value
        np.testing.assert_array_equal(answers(read, X)["label"], model.predict(X))
    assert sames, "no sum was the cut itself"


def test_a_sum_of_zero_is_of_the_first_class():
    model = train(BINARY, iterations=2)
    model.set_scale_and_bias(0.0, 0.0)
    assert set(model.predict(X)) == set(answers(read_catboost(model, "here"), X)["label"]) == {0}


@pytest.mark.parametrize("params", [{"depth": 0}, {"grow_policy": "Depthwise", "min_data_in_leaf": 1000}])
def test_trees_of_one_leaf(params):
    model = train(**params)
    read = read_catboost(model, "here")
    check_forest(read.forest)
    assert (read.forest.trees, read.forest.leaves) == (5, 5)
    np.testing.assert_allclose(sums(read, X)[:, 0], model.predict(X), rtol=1e-12)


def test_names_of_columns_come_along():
    import catboost

    pool = catboost.Pool(np.nan_to_num(X), VALUES, feature_names=["age", "x y", "ä", "d"])
    model = catboost.CatBoost({"iterations": 2, "verbose": 0, "allow_writing_files": False}).fit(pool)
    assert read_catboost(model, "here").feature_names == ("age", "x y", "ä", "d")


def test_many_deep_trees_are_read_whole():
    model = train(iterations=150, depth=7)
    read = read_catboost(model, "here")
    assert (read.forest.trees, read.forest.leaves) == (150, sum(model.get_tree_leaf_counts()))
    rows = np.concatenate([X, boundary_rows(read.forest, count=100, seed=1, around=X)])
    np.testing.assert_allclose(sums(read, rows)[:, 0], model.predict(rows), rtol=1e-12, atol=1e-12)


# --- what is refused ---


def test_columns_that_are_no_numbers_are_refused_by_name():
    import pandas as pd

    colours = RANDOM.choice(["red", "blue", "green"], len(X))
    words = [" ".join(RANDOM.choice(["a", "b", "c", "d"], 5)) for _ in X]
    vectors = [list(row) for row in RANDOM.normal(size=(len(X), 3))]
    frame = pd.DataFrame({"size": np.nan_to_num(X[:, 0])}).astype(object)
    cases = {
        "categorical features: colour": ({"colour": colours}, {"cat_features": ["colour"]}),
        "text features: words": ({"words": words}, {"text_features": ["words"]}),
        "embedding features: vector": ({"vector": vectors}, {"embedding_features": ["vector"]}),
    }
    for named, (columns, params) in cases.items():
        model = train(BINARY, frame.assign(**columns), **params)
        with pytest.raises(ConversionFailed, match=named) as caught:
            read_catboost(model, "here")
        assert caught.value.hint
        assert caught.value.where == "here"


def test_a_loss_whose_answers_are_not_known_is_refused_by_name():
    with pytest.raises(ConversionFailed, match="RMSEWithUncertainty"):
        read_catboost(train(loss_function="RMSEWithUncertainty"), "here")


def test_an_objective_of_the_user_is_refused_by_name():
    class Squares:
        def calc_ders_range(self, approxes: Any, targets: Any, weights: Any) -> Any:
            return [(target - approx, -1.0) for approx, target in zip(approxes, targets, strict=True)]

    with pytest.raises(ConversionFailed, match="PythonUserDefinedPerObject"):
        read_catboost(train(loss_function=Squares(), eval_metric="RMSE"), "here")


def test_classes_that_had_no_example_are_refused():
    model = train(np.digitize(VALUES, [-0.5, 0.5]), loss_function="MultiClass", classes_count=5)
    with pytest.raises(ConversionFailed, match="5 classes"):
        read_catboost(model, "here")


def test_labels_that_are_neither_whole_numbers_nor_words_are_refused():
    import catboost

    model = catboost.CatBoostClassifier(iterations=2, verbose=0, allow_writing_files=False).fit(X, BINARY + 0.5)
    with pytest.raises(ConversionFailed, match="neither whole numbers nor strings"):
        read_catboost(model, "here")


def test_no_trees_are_refused():
    model = train()
    model.shrink(ntree_end=0)
    with pytest.raises(ConversionFailed, match="no trees"):
        read_catboost(model, "here")


def test_reading_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    read_catboost(train(), "here")
    assert list(tmp_path.iterdir()) == []
