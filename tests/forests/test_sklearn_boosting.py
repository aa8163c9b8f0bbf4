"""What the matrix of scikit-learn's boosting does not show: sums at the cut, sums side by side, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import dummy, ensemble, linear_model

from mlconvert.errors import ConversionFailed
from mlconvert.forests.estimators import tree_model_of
from mlconvert.forests.evaluation import answers, sums

ROWS = np.random.default_rng(0).normal(size=(120, 4))
TWO = (ROWS[:, 0] + ROWS[:, 1] * ROWS[:, 2] > 0).astype(int)
THREE = TWO + (ROWS[:, 3] > 0.5)


def outputs(estimator, rows):
    return {"label": estimator.predict(rows), "probabilities": estimator.predict_proba(rows)}


def test_a_sum_of_zero_is_the_second_class_of_gradient_boosting(assert_exact):
    rows, labels = np.zeros((8, 4)), np.arange(8) % 2
    estimator = ensemble.GradientBoostingClassifier(n_estimators=1, init="zero").fit(rows, labels)
    assert estimator.decision_function(rows[:1]) == [0.0]
    model = tree_model_of(estimator, "test")
    assert answers(model, rows)["label"].tolist() == [1] * 8
    assert_exact(model, lambda asked: outputs(estimator, asked))
    assert_exact(model, lambda asked: outputs(estimator, asked), dtype="float32")


def test_a_sum_of_zero_is_the_first_class_of_histogram_boosting(assert_exact):
    rows, labels = np.zeros((8, 4)), np.arange(8) % 2
    estimator = ensemble.HistGradientBoostingClassifier(max_iter=1).fit(rows, labels)
    assert estimator.decision_function(rows[:1]) == [0.0]
    assert_exact(tree_model_of(estimator, "test"), lambda asked: outputs(estimator, asked))


def test_a_vote_of_zero_is_the_first_class_of_adaboost(assert_exact):
    estimator = ensemble.AdaBoostClassifier(n_estimators=2, random_state=0).fit(ROWS, TWO)
    estimator.estimator_weights_[:2] = 0.7  # where both trees disagree, the votes are even
    assert (estimator.decision_function(ROWS) == 0).any()
    assert_exact(tree_model_of(estimator, "test"), lambda asked: outputs(estimator, asked), rows=ROWS)


@pytest.mark.parametrize("made", [ensemble.GradientBoostingClassifier, ensemble.HistGradientBoostingClassifier])
def test_sums_side_by_side_give_the_label_that_the_library_takes(made, assert_exact):
    """Two neighbouring sums have the same probability; the library looks at the sums."""
    size = {"n_estimators": 1} if made is ensemble.GradientBoostingClassifier else {"max_iter": 1}
    estimator = made(random_state=0, **size).fit(np.zeros((30, 2)), np.arange(30) % 3)
    leaves = [0.01, np.nextafter(0.01, 1), 0.0]
    if made is ensemble.GradientBoostingClassifier:
        estimator.set_params(learning_rate=1.0)
        estimator.init_ = "zero"
        for stage, leaf in zip(estimator.estimators_[0], leaves, strict=True):
            stage.tree_.value[:] = leaf
    else:
        estimator._baseline_prediction[:] = 0
        for stage, leaf in zip(estimator._predictors[0], leaves, strict=True):
            stage.nodes["value"] = leaf
    row = np.zeros((1, 2))
    first, second, _ = estimator.predict_proba(row)[0]
    assert first == second
    assert estimator.predict(row) == [1]
    assert_exact(tree_model_of(estimator, "test"), lambda asked: outputs(estimator, asked))


@pytest.mark.parametrize("labels", [TWO, THREE])
@pytest.mark.parametrize(
    "made", [ensemble.GradientBoostingClassifier(n_estimators=4), ensemble.AdaBoostClassifier(n_estimators=6)]
)
def test_the_sums_are_the_decision_function_to_the_last_bit(made, labels):
    made.set_params(random_state=0).fit(ROWS, labels)
    raw = sums(tree_model_of(made, "test"), ROWS)
    assert np.array_equal(raw, made.decision_function(ROWS).reshape(len(ROWS), -1))


@pytest.mark.parametrize("strategy", ["prior", "most_frequent", "uniform"])
def test_any_constant_start_is_exact(strategy, assert_exact):
    start = dummy.DummyClassifier(strategy=strategy)
    estimator = ensemble.GradientBoostingClassifier(n_estimators=3, init=start, random_state=0).fit(ROWS, THREE)
    assert_exact(tree_model_of(estimator, "test"), lambda asked: outputs(estimator, asked), rows=ROWS)


@pytest.mark.parametrize(
    "start", [linear_model.LogisticRegression(), dummy.DummyClassifier(strategy="stratified", random_state=0)]
)
def test_a_start_that_goes_by_the_row_is_refused(start):
    estimator = ensemble.GradientBoostingClassifier(n_estimators=2, init=start).fit(ROWS, TWO)
    with pytest.raises(ConversionFailed, match="starts from the answers of another estimator") as caught:
        tree_model_of(estimator, "model.skops")
    assert caught.value.where == "model.skops"
    assert "init=None" in caught.value.hint


def test_adaboost_of_one_class_is_refused():
    estimator = ensemble.AdaBoostClassifier(n_estimators=2).fit(ROWS, np.zeros(len(ROWS)))
    with pytest.raises(ConversionFailed, match="the AdaBoostClassifier was fitted on one class"):
        tree_model_of(estimator, "test")
