"""Where a last digit decides: parts that cut at values of their training data, behind steps that keep bits or not."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
)
from sklearn.tree import DecisionTreeClassifier

from mlconvert.errors import ConversionFailed

from .conftest import CLASSES, X, called, fitted, gaps, nasty

TRAIN = gaps(X)  # imputed, a fifth of the values of a column are equal: cuts are placed at them
BINS = KBinsDiscretizer(5, encode="onehot-dense", strategy="quantile")
TIED = QuantileTransformer(n_quantiles=40)
ENCODE = OneHotEncoder(handle_unknown="ignore")
NEAREST = KNeighborsClassifier(weights="distance")


@pytest.mark.parametrize("last", [BINS, TIED, ENCODE], ids=called)
@pytest.mark.parametrize(
    "before",
    [
        (StandardScaler(),),
        (MinMaxScaler(clip=True), RobustScaler()),
        (PolynomialFeatures(3),),
        (QuantileTransformer(n_quantiles=30),),
        (FunctionTransformer(np.abs), FunctionTransformer(np.sqrt)),
        (SplineTransformer(4),),
        (SplineTransformer(5, knots="quantile", extrapolation="linear"),),
        (SplineTransformer(4, extrapolation="periodic"),),
    ],
    ids=called,
)
def test_steps_that_keep_the_bits(assert_exact, before, last):
    model = fitted(make_pipeline(SimpleImputer(), *before, last), TRAIN)
    assert_exact(model, np.concatenate([TRAIN, nasty(X)[:400]]), 0)


@pytest.mark.parametrize(
    "step",
    [
        PowerTransformer(),
        PCA(3),
        FunctionTransformer(np.tanh),
        make_pipeline(FunctionTransformer(np.abs), FunctionTransformer(np.log1p)),
    ],
    ids=called,
)
@pytest.mark.parametrize(
    ("last", "why"),
    [
        (BINS, "KBinsDiscretizer: its edges are values of the training data"),
        (ENCODE, "OneHotEncoder: it asks which category a number equals"),
        (SimpleImputer(missing_values=0), "SimpleImputer: it asks which numbers equal 0"),
    ],
    ids=["bins", "categories", "marker"],
)
def test_steps_that_do_not_are_refused(assert_exact, step, last, why):
    model = fitted(make_pipeline(SimpleImputer(), step, last), TRAIN)
    with pytest.raises(ConversionFailed, match=f"Pipeline > .* > {why}, and the steps before it"):
        assert_exact(model, TRAIN)


def test_equal_quantiles_behind_such_steps_are_refused(assert_exact):
    model = make_pipeline(SimpleImputer(), FunctionTransformer(np.tanh), TIED)
    with pytest.raises(ConversionFailed, match="QuantileTransformer: some of its quantiles are equal"):
        assert_exact(fitted(model, TRAIN), TRAIN)
    different = make_pipeline(FunctionTransformer(np.tanh), TIED)
    assert_exact(fitted(different, X[:, :4]), nasty(X)[:, :4])
    even = make_pipeline(SimpleImputer(), PowerTransformer(), KBinsDiscretizer(4, strategy="uniform"))
    assert_exact(fitted(even, TRAIN), TRAIN)


def test_equal_training_rows_behind_such_steps_are_refused(assert_exact):
    rows, labels = np.repeat(X[:60], 2, axis=0), np.tile([0, 1], 60)
    pairs = KNeighborsClassifier(4, weights="distance")
    assert_exact(fitted(pairs, rows, labels), rows)
    with pytest.raises(ConversionFailed, match="KNeighborsClassifier: weights='distance' asks which of its equal"):
        assert_exact(fitted(make_pipeline(PCA(2), pairs), rows, labels), rows)
    assert_exact(fitted(make_pipeline(PCA(2), NEAREST), X, CLASSES), nasty(X)[200:])


@pytest.mark.parametrize("model", [KNeighborsClassifier(3), KNeighborsRegressor(3)], ids=called)
def test_neighbours_at_the_same_distance_are_refused_where_they_answer_differently(assert_exact, model):
    rows = np.round(X)[:, :2]
    with pytest.raises(ConversionFailed, match="others share place 3, and they answer") as caught:
        assert_exact(fitted(type(model)(3), rows, CLASSES), rows)
    assert caught.value.hint
    different = np.unique(rows, axis=0)
    assert_exact(fitted(type(model)(1), different, np.arange(len(different))), different)


@pytest.mark.parametrize("model", [NEAREST, KNeighborsRegressor(weights="distance")], ids=called)
def test_distances_of_products_are_refused(assert_exact, model):
    """With brute force scikit-learn takes roots of differences of products: its zeros are some 1e-8."""
    model = type(model)(weights="distance", algorithm="brute")
    with pytest.raises(ConversionFailed, match="weights='distance' with brute force") as caught:
        assert_exact(fitted(model, X, CLASSES), X)
    assert "kd_tree" in (caught.value.hint or "")


@pytest.mark.parametrize("degree", [1, 2, 3])
@pytest.mark.parametrize("extrapolation", ["constant", "continue", "linear", "periodic"])
def test_splines_are_those_of_scipy_to_the_last_bit(assert_exact, degree, extrapolation):
    """Trees send 0 and 1e-17 different ways: knots are values of the training data, and splines begin and end there."""
    train = TRAIN if degree > 1 or extrapolation != "linear" else TRAIN[:, :1]
    spline = SplineTransformer(5, degree, knots="quantile", extrapolation=extrapolation)
    model = fitted(make_pipeline(SimpleImputer(strategy="median"), spline), train)
    knots = np.stack([np.resize(own.t[3:-3], 16) for own in model[1].bsplines_], axis=1)
    rows = np.concatenate([train, knots, nasty(X)[:, : train.shape[1]]])
    assert_exact(model, rows, 0)
    trees = make_pipeline(SimpleImputer(strategy="median"), spline, DecisionTreeClassifier())
    assert_exact(fitted(trees, train, CLASSES), rows)
