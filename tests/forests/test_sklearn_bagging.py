"""What the matrix of bagged trees does not show: rows at an isolation forest's offset, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn
from sklearn import ensemble
from sklearn.tree import DecisionTreeClassifier

from mlconvert.errors import ConversionFailed
from mlconvert.forests.estimators import tree_model_of
from mlconvert.forests.evaluation import sums

ROWS = np.random.default_rng(0).normal(size=(101, 4))


def outputs(estimator, rows):
    return {"label": estimator.predict(rows), "scores": estimator.decision_function(rows)[:, None]}


@pytest.mark.parametrize("seed", range(5))
def test_the_row_that_gave_the_offset_is_an_inlier(seed, assert_exact):
    """With 101 rows the 0.1 quantile is the score of a row, whose decision function is then 0."""
    estimator = ensemble.IsolationForest(n_estimators=9, contamination=0.1, random_state=seed).fit(ROWS)
    assert (estimator.decision_function(ROWS) == 0).any()
    assert_exact(tree_model_of(estimator, "test"), lambda asked: outputs(estimator, asked), rows=ROWS)


def test_the_sums_of_an_isolation_forest_are_its_path_lengths():
    estimator = ensemble.IsolationForest(n_estimators=9, random_state=0).fit(ROWS)
    model = tree_model_of(estimator, "test")
    assert np.array_equal(-(2 ** -(sums(model, ROWS)[:, 0] / model.link.scale)), estimator.score_samples(ROWS))


@pytest.mark.parametrize("offset", [-0.5, -1.0, 0.0, -1e-9])
def test_trees_of_one_row(offset, assert_exact):
    estimator = ensemble.IsolationForest(n_estimators=3, max_samples=1, random_state=0).fit(ROWS)
    estimator.offset_ = offset
    assert_exact(tree_model_of(estimator, "test"), lambda asked: outputs(estimator, asked))


@pytest.mark.parametrize("offset", [-1.0, 0.0])
def test_all_rows_or_none_are_inliers_at_the_ends(offset, assert_exact):
    estimator = ensemble.IsolationForest(n_estimators=3, random_state=0).fit(ROWS)
    estimator.offset_ = offset
    assert len(set(estimator.predict(ROWS))) == 1
    assert_exact(tree_model_of(estimator, "test"), lambda asked: outputs(estimator, asked), rows=ROWS)


def test_a_bagging_tree_that_did_not_see_all_classes_is_refused():
    labels = np.r_[np.zeros(97), np.ones(2), np.full(2, 2)].astype(int)
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = ensemble.BaggingClassifier(n_estimators=4, max_samples=0.2, random_state=0).fit(ROWS, labels)
    with pytest.raises(ConversionFailed, match="a tree of the BaggingClassifier was fitted on some of the classes"):
        tree_model_of(estimator, "test")


@pytest.mark.parametrize(
    "base", [ensemble.RandomForestClassifier(2), sklearn.linear_model.LogisticRegression(), sklearn.svm.LinearSVC()]
)
def test_bagging_of_anything_but_single_trees_is_left_to_others(base):
    estimator = ensemble.BaggingClassifier(base, n_estimators=2).fit(ROWS, ROWS[:, 0] > 0)
    assert tree_model_of(estimator, "test") is None


def test_bagging_of_changed_trees_is_left_to_others():
    class Turned(DecisionTreeClassifier):
        def predict_proba(self, *rows, **options):
            return super().predict_proba(*rows, **options)[:, ::-1]

    estimator = ensemble.BaggingClassifier(Turned(), n_estimators=2).fit(ROWS, ROWS[:, 0] > 0)
    assert tree_model_of(estimator, "test") is None
