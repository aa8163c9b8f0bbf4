"""What the matrix of scikit-learn's trees does not show: leaf numbers, rows that are refused, and damaged trees."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import ensemble, tree

from mlconvert.errors import ConversionFailed
from mlconvert.forests.estimators import tree_model_of
from mlconvert.forests.evaluation import answers, leaves_of

ROWS = np.random.default_rng(0).normal(size=(120, 4))
TWO = (ROWS[:, 0] + ROWS[:, 1] * ROWS[:, 2] > 0).astype(int)


def leaf_ids(estimator, rows):
    forest = tree_model_of(estimator, "test").forest
    return forest.leaf_ids[leaves_of(forest, rows)]


@pytest.mark.parametrize(
    "estimator",
    [
        tree.DecisionTreeClassifier(),
        tree.DecisionTreeClassifier(max_leaf_nodes=10),
        tree.DecisionTreeRegressor(ccp_alpha=0.005),
        ensemble.RandomForestClassifier(5),
        ensemble.ExtraTreesRegressor(5, max_depth=6),
        ensemble.GradientBoostingClassifier(n_estimators=5),
    ],
)
def test_leaves_have_the_numbers_that_the_library_gives_them(estimator):
    estimator.set_params(random_state=0).fit(ROWS, TWO)
    assert np.array_equal(leaf_ids(estimator, ROWS), estimator.apply(ROWS).reshape(len(ROWS), -1))


def test_leaf_numbers_of_several_classes_go_stage_by_stage():
    three = TWO + (ROWS[:, 3] > 1)
    estimator = ensemble.GradientBoostingClassifier(n_estimators=4, random_state=0).fit(ROWS, three)
    assert np.array_equal(leaf_ids(estimator, ROWS), estimator.apply(ROWS).reshape(len(ROWS), 12))


def test_sums_are_the_librarys_to_the_last_bit():
    estimator = ensemble.RandomForestRegressor(9, random_state=0).fit(ROWS, ROWS[:, :2] ** 3)
    assert np.array_equal(answers(tree_model_of(estimator, "test"), ROWS)["variable"], estimator.predict(ROWS))


def test_a_tree_of_one_leaf(assert_exact):
    estimator = tree.DecisionTreeClassifier(min_samples_split=1000).fit(ROWS, TWO)
    assert estimator.tree_.node_count == 1
    model = tree_model_of(estimator, "test")
    assert_exact(model, lambda rows: {"label": estimator.predict(rows), "probabilities": estimator.predict_proba(rows)})


@pytest.mark.parametrize("made", [tree.DecisionTreeClassifier(), ensemble.RandomForestClassifier(3)])
def test_a_single_class(made, assert_exact):
    made.fit(ROWS, np.full(len(ROWS), "only"))
    model = tree_model_of(made, "test")
    assert_exact(model, lambda rows: {"label": made.predict(rows), "probabilities": made.predict_proba(rows)})


def test_a_split_between_neighbouring_float32(assert_exact):
    low = np.float32(0.1)
    rows = np.array([[low], [np.nextafter(low, np.float32(1))]] * 5, np.float64)
    rows = np.concatenate([rows, rows * 1e6])  # differences below 1e-7 are not split
    estimator = tree.DecisionTreeRegressor().fit(rows, np.arange(20.0) % 2)
    assert estimator.tree_.node_count > 1
    model = tree_model_of(estimator, "test")
    assert_exact(model, lambda asked: {"variable": estimator.predict(asked)[:, None]}, random=rows)


def test_the_columns_of_a_data_frame_give_the_names_of_the_features():
    import pandas as pd

    frame = pd.DataFrame(ROWS, columns=["age", "height", "width", "weight"])
    model = tree_model_of(ensemble.ExtraTreesClassifier(2).fit(frame, TWO), "test")
    assert model.feature_names == ("age", "height", "width", "weight")


@pytest.mark.parametrize(
    "estimator",
    [
        tree.DecisionTreeClassifier(),
        tree.DecisionTreeRegressor(criterion="poisson"),
        tree.ExtraTreeClassifier(),
        tree.ExtraTreeClassifier(splitter="best"),
        tree.ExtraTreeRegressor(splitter="best"),
        ensemble.RandomForestClassifier(2),
        ensemble.ExtraTreesRegressor(2),
        ensemble.GradientBoostingClassifier(n_estimators=2),
        ensemble.GradientBoostingRegressor(n_estimators=2),
        ensemble.HistGradientBoostingClassifier(max_iter=2),
        ensemble.HistGradientBoostingClassifier(max_iter=2, categorical_features=[0, 1, 2, 3], max_bins=255),
        ensemble.AdaBoostClassifier(n_estimators=2),
        ensemble.BaggingClassifier(n_estimators=2),
        ensemble.BaggingRegressor(tree.ExtraTreeRegressor(splitter="best"), n_estimators=2),
        ensemble.IsolationForest(n_estimators=2),
    ],
    ids=str,
)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_model_takes_what_its_estimator_takes(estimator, value):
    estimator.fit(ROWS, TWO)
    forest = tree_model_of(estimator, "test").forest
    row = np.zeros((1, 4))
    row[0, 2] = value
    if forest.takes_nan if np.isnan(value) else forest.takes_infinity:
        estimator.predict(row)
    else:
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            estimator.predict(row)


@pytest.mark.parametrize("made", [tree.DecisionTreeClassifier(), ensemble.RandomForestClassifier(2)])
def test_a_classifier_of_several_outputs_is_refused(made):
    made.fit(ROWS, np.stack([TWO, 1 - TWO], axis=1))
    with pytest.raises(ConversionFailed, match=f"the {type(made).__name__} has 2 outputs"):
        tree_model_of(made, "test")


def test_classes_that_are_neither_whole_numbers_nor_texts_are_refused():
    made = tree.DecisionTreeClassifier().fit(ROWS, TWO)
    made.classes_ = np.array([0.5, 1.0])
    with pytest.raises(ConversionFailed, match="DecisionTreeClassifier: its classes are neither"):
        tree_model_of(made, "test")


@pytest.mark.parametrize(
    ("field", "value"), [("left_child", 0), ("right_child", 10**6), ("feature", 4), ("threshold", np.nan)]
)
def test_damaged_trees_are_refused(field, value):
    made = tree.DecisionTreeClassifier().fit(ROWS, TWO)
    state = made.tree_.__getstate__()
    state["nodes"] = state["nodes"].copy()
    state["nodes"][field][0] = value
    made.tree_.__setstate__(state)
    with pytest.raises(ConversionFailed, match="the trees of the DecisionTreeClassifier are damaged"):
        tree_model_of(made, "test")
