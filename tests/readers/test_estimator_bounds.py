"""Indices in .skops files that lead out of their arrays are found before anything follows them."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import scipy.sparse
import skops.io
from scipy.interpolate import BSpline
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from mlconvert.errors import ConversionFailed
from mlconvert.readers.estimator_bounds import check_bounds
from mlconvert.readers.estimator_files import load_skops

RANDOM = np.random.default_rng(2)
X = RANDOM.normal(size=(90, 4))
Y = (X[:, 0] > 0).astype(int)
CATEGORIES = np.column_stack([RANDOM.integers(0, 5, 90), X[:, 1:]]).astype(float)


def damaged(tmp_path, model):
    path = tmp_path / "model.skops"
    skops.io.dump(model, path)
    with pytest.raises(ConversionFailed, match="lead outside of its arrays"):
        load_skops(path, trusted=True)


def with_node(tree, field, node, value):
    """A copy of a tree of scikit-learn's whose node has another value."""
    other = copy.deepcopy(tree)
    state = other.__getstate__()
    state["nodes"] = state["nodes"].copy()
    state["nodes"][field][node] = value
    other.__setstate__(state)
    return other


@pytest.mark.parametrize(
    ("field", "value"),
    [("left_child", 10**6), ("right_child", 10**9), ("left_child", 0), ("right_child", -7), ("feature", 4),
     ("feature", -2), ("feature", 10**7)],
)  # fmt: skip
def test_a_node_that_leads_out_of_its_tree(tmp_path, field, value):
    model = DecisionTreeClassifier(max_depth=3, random_state=0).fit(X, Y)
    check_bounds(model, "here")
    model.tree_ = with_node(model.tree_, field, 0, value)
    damaged(tmp_path, make_pipeline(StandardScaler().fit(X), model))


@pytest.mark.parametrize("family", [RandomForestClassifier, GradientBoostingClassifier, BaggingClassifier])
def test_a_tree_inside_an_ensemble(tmp_path, family):
    model = family(n_estimators=3, random_state=0).fit(X, Y)
    check_bounds(model, "here")
    tree = np.ravel(model.estimators_)[1]
    tree.tree_ = with_node(tree.tree_, "left_child", 0, 10**6)
    damaged(tmp_path, model)


def test_trees_of_more_features_than_their_ensemble_takes(tmp_path):
    """A forest looks at the width of its rows, and its trees then do not."""
    model = RandomForestClassifier(3, random_state=0).fit(X[:, :2], Y)
    model.estimators_[2] = DecisionTreeClassifier(random_state=0).fit(np.tile(X, 3), Y)
    damaged(tmp_path, model)
    alone = DecisionTreeClassifier(random_state=0).fit(X, Y)
    alone.n_features_in_ = 1
    damaged(tmp_path, alone)


@pytest.mark.parametrize(
    ("field", "value"), [("left", 10**6), ("right", 0), ("feature_idx", 4), ("feature_idx", -1), ("bitset_idx", 10**5)]
)
def test_a_node_of_histogram_boosting(tmp_path, field, value):
    labels = np.isin(CATEGORIES[:, 0], [1, 3])  # so that the first node is one of categories
    model = HistGradientBoostingClassifier(max_iter=2, categorical_features=[0]).fit(CATEGORIES, labels)
    check_bounds(model, "here")
    nodes = model._predictors[1][0].nodes
    assert nodes["is_categorical"][0]
    nodes[field][0] = value
    damaged(tmp_path, model)


@pytest.mark.parametrize("algorithm", ["kd_tree", "ball_tree"])
def test_a_tree_of_neighbours(tmp_path, algorithm):
    model = KNeighborsClassifier(algorithm=algorithm, leaf_size=10).fit(X, Y)
    check_bounds(model, "here")
    for part, field, value in ((1, None, 10**6), (2, "idx_end", 10**6), (2, "is_leaf", 0)):
        other = copy.deepcopy(model)
        array = np.asarray(other._tree.get_arrays()[part])
        if field is None:
            array[3] = value
        else:
            array[field][-1] = value
        damaged(tmp_path, other)


def test_sparse_matrices_and_splines(tmp_path):
    matrix = scipy.sparse.csr_matrix(np.eye(3))
    check_bounds([matrix], "here")
    matrix.indices[1] = 70
    model = make_pipeline(FunctionTransformer(kw_args={"m": matrix}), LogisticRegression())
    damaged(tmp_path, model)
    spline = BSpline(np.arange(8.0), np.ones(4), 3)
    check_bounds([spline], "here")
    spline.c = spline.c[:2]
    damaged(tmp_path, make_pipeline(FunctionTransformer(kw_args={"s": spline}), LogisticRegression()))


def test_a_model_without_indices_is_as_it_was():
    check_bounds(make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y), "here")
    check_bounds({"a": [1, (2, "x")], "b": None}, "here")


def test_models_that_hold_pipelines_and_trees_are_whole():
    tree = DecisionTreeClassifier(max_depth=3, random_state=0)
    narrow = make_pipeline(PCA(2), tree)
    check_bounds(StackingClassifier([("tree", tree), ("narrow", narrow)], LogisticRegression(), cv=2).fit(X, Y), "here")
    check_bounds(VotingClassifier([("tree", tree), ("narrow", narrow)]).fit(X, Y), "here")
    check_bounds(BaggingClassifier(make_pipeline(StandardScaler(), tree), 3, max_features=0.5).fit(X, Y), "here")
