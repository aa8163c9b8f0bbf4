"""Estimators that ask others: calibration, thresholds, voting, stacking, bagging, boosting, one-vs-rest, chains."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import MultiOutputRegressor, RegressorChain
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from mlconvert.errors import ConversionFailed

from .conftest import BINARY, CLASSES, NAMES, POSITIVE, VALUES, X, called, fitted, nasty, written

LABELS = {"binary": BINARY, "classes": CLASSES, "names": NAMES}
PLAIN = LogisticRegression()
TWO = [("linear", PLAIN), ("bayes", GaussianNB())]
THREE = [*TWO, ("weak", LogisticRegression(C=0.01))]
ROWS = nasty(X)


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize(
    "model",
    [
        *(CalibratedClassifierCV(PLAIN, cv=2, method=method) for method in ("sigmoid", "isotonic", "temperature")),
        *(
            CalibratedClassifierCV(GaussianNB(), cv=2, method=method)
            for method in ("sigmoid", "isotonic", "temperature")
        ),
        CalibratedClassifierCV(LinearSVC(), cv=2, method="isotonic"),
        CalibratedClassifierCV(SVC(), cv=2, ensemble=False),
        CalibratedClassifierCV(DecisionTreeClassifier(max_depth=3), cv=2, method="isotonic"),
        VotingClassifier(THREE),
        VotingClassifier(THREE, weights=[0.3, 0.5, 0.2]),
        VotingClassifier(TWO, voting="soft"),
        VotingClassifier([*TWO, ("out", "drop")], voting="soft", weights=[1, 2.5, 9], flatten_transform=False),
        StackingClassifier(TWO, cv=2),
        StackingClassifier([("svm", LinearSVC()), *TWO], cv=2, passthrough=True),
        StackingClassifier(TWO, LinearSVC(), cv=2, stack_method="predict"),
        BaggingClassifier(PLAIN, 3, random_state=0),
        BaggingClassifier(PLAIN, 3, max_features=0.6, random_state=0),
        BaggingClassifier(LinearSVC(), 3, random_state=0),
        BaggingClassifier(PLAIN, 4, max_samples=6, random_state=3),  # some samples lack a class
        AdaBoostClassifier(PLAIN, n_estimators=4, random_state=0),
        OneVsRestClassifier(PLAIN),
        OneVsRestClassifier(LinearSVC()),
        OneVsRestClassifier(GaussianNB()),
        OneVsRestClassifier(Ridge()),
        OneVsOneClassifier(PLAIN),
        OneVsOneClassifier(GaussianNB()),
        OutputCodeClassifier(PLAIN, random_state=0),
        FrozenEstimator(PLAIN),
        GridSearchCV(PLAIN, {"C": [0.1, 1.0]}, cv=2),
    ],
    ids=called,
)
def test_classifiers(assert_exact, model, labels):
    if isinstance(model, FrozenEstimator):
        model = FrozenEstimator(fitted(LogisticRegression(), X, labels))
    assert_exact(fitted(model, X, labels), ROWS)


@pytest.mark.parametrize("voting", ["hard", "soft"])
def test_votes_as_a_transformation(assert_exact, voting):
    model = make_pipeline(VotingClassifier(THREE, voting=voting), LogisticRegression())
    assert_exact(fitted(model, X, CLASSES), ROWS)


def test_votes_of_three_axes_are_refused(assert_exact):
    model = fitted(make_pipeline(VotingClassifier(TWO, voting="soft"), LogisticRegression()), X, BINARY)
    model[0].flatten_transform = False
    with pytest.raises(ConversionFailed, match="Pipeline > votingclassifier > VotingClassifier: flatten_transform"):
        written(model, {"input": X}, {})


@pytest.mark.parametrize(
    "labels", [BINARY, BINARY.astype(bool), np.array(["no", "yes"])[BINARY]], ids=["0-1", "bool", "text"]
)
@pytest.mark.parametrize("inner", [LogisticRegression(), LinearSVC(), GaussianNB()], ids=called)
@pytest.mark.parametrize("second", [0, 1])
def test_thresholds(assert_exact, inner, labels, second):
    label = np.unique(labels)[second]
    fixed = FixedThresholdClassifier(inner, threshold=0.31, pos_label=label)
    assert_exact(fitted(fixed, X, labels), ROWS)
    if labels.dtype.kind != "U":
        assert_exact(fitted(FixedThresholdClassifier(inner), X, labels), ROWS)
        assert_exact(fitted(TunedThresholdClassifierCV(inner, cv=2), X, labels), ROWS)


def test_a_score_equal_to_the_threshold_is_positive(assert_exact):
    tree = fitted(DecisionTreeClassifier(max_depth=2), X, BINARY)
    scores = np.unique(tree.predict_proba(ROWS)[:, 1])
    for cut in scores:
        assert_exact(fitted(FixedThresholdClassifier(tree, threshold=float(cut)), X, BINARY), ROWS)


def test_a_tuned_threshold_for_a_label_of_ones_own(assert_exact):
    from sklearn.metrics import f1_score, make_scorer

    scoring = make_scorer(f1_score, pos_label="no")
    model = TunedThresholdClassifierCV(LogisticRegression(), scoring=scoring, cv=2)
    assert_exact(fitted(model, X, np.array(["no", "yes"])[BINARY]), ROWS)


def test_self_training(assert_exact):
    labels = np.where(np.arange(len(X)) % 3 == 0, -1, CLASSES)
    assert_exact(fitted(SelfTrainingClassifier(LogisticRegression()), X, labels), ROWS)


LINES = [("ridge", Ridge()), ("plain", LinearRegression())]


@pytest.mark.parametrize(
    "model",
    [
        VotingRegressor(LINES),
        VotingRegressor(LINES, weights=[1, 3]),
        StackingRegressor(LINES, Ridge(), cv=2),
        StackingRegressor(LINES, Ridge(), cv=2, passthrough=True),
        BaggingRegressor(Ridge(), 3, max_features=0.6, random_state=0),
        AdaBoostRegressor(Ridge(), n_estimators=5, random_state=0),
        AdaBoostRegressor(n_estimators=5, random_state=0),
        TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1),
        TransformedTargetRegressor(Ridge(), func=np.log, inverse_func=np.exp),
        TransformedTargetRegressor(Ridge()),
        *(
            TransformedTargetRegressor(Ridge(), transformer=transformer)
            for transformer in (
                *(StandardScaler(), MinMaxScaler(), MaxAbsScaler(), RobustScaler()),
                *(PowerTransformer(), PowerTransformer(standardize=False), PowerTransformer("box-cox")),
            )
        ),
    ],
    ids=called,
)
def test_regressors(assert_exact, model):
    assert_exact(fitted(model, X, POSITIVE), ROWS[np.abs(ROWS).max(axis=1) < 100])


@pytest.mark.parametrize(
    "model",
    [
        MultiOutputRegressor(Ridge()),
        RegressorChain(Ridge()),
        RegressorChain(Ridge(), order=[1, 0]),
        TransformedTargetRegressor(Ridge(), transformer=StandardScaler()),
        BaggingRegressor(Ridge(), 3, random_state=0),
    ],
    ids=called,
)
def test_regressors_of_several_values(assert_exact, model):
    assert_exact(fitted(model, X, np.c_[VALUES, POSITIVE]), ROWS)


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (
            TransformedTargetRegressor(Ridge(), transformer=QuantileTransformer(n_quantiles=9)),
            "TransformedTargetRegressor > transformer > QuantileTransformer: its inverse",
        ),
        (
            TransformedTargetRegressor(Ridge(), func=np.log, inverse_func=lambda x: np.exp(x) - 1),
            "TransformedTargetRegressor > transformer > FunctionTransformer: its function a lambda",
        ),
    ],
)
def test_what_is_refused_has_its_place(assert_exact, model, named):
    with pytest.raises(ConversionFailed, match=named) as caught:
        assert_exact(fitted(model, X, POSITIVE), X)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("model", "place"),
    [
        (VotingClassifier([("odd", GaussianProcessClassifier()), *TWO]), "VotingClassifier > odd"),
        (StackingClassifier([("odd", GaussianProcessClassifier())], cv=2), "StackingClassifier > odd"),
        (StackingClassifier(TWO, GaussianProcessClassifier(), cv=2), "StackingClassifier > final_estimator"),
        (BaggingClassifier(GaussianProcessClassifier(), 2), "BaggingClassifier > 0"),
        (CalibratedClassifierCV(GaussianProcessClassifier(), cv=2), "CalibratedClassifierCV > 0 > estimator"),
        (OneVsRestClassifier(GaussianProcessClassifier()), "OneVsRestClassifier > 0"),
        (FixedThresholdClassifier(GaussianProcessClassifier()), "FixedThresholdClassifier > estimator"),
    ],
)
def test_a_part_that_is_refused_is_named_with_its_place(assert_exact, model, place):
    with pytest.raises(ConversionFailed, match=f"^{place} > GaussianProcessClassifier: "):
        assert_exact(fitted(model, X[:60], BINARY[:60]), X)
