"""Where a last digit decides: parts that cut at values of their training data, behind steps that keep its bits or not."""

from __future__ import annotations

import numpy as np
import onnxruntime
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
        SplineTransformer(4),
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
    rows = np.round(X)[:, :2]
    with pytest.raises(ConversionFailed, match="KNeighborsClassifier: weights='distance' asks which of its equal"):
        assert_exact(fitted(make_pipeline(PCA(2), NEAREST), rows, CLASSES), rows)
    assert_exact(fitted(make_pipeline(PCA(2), NEAREST), X, CLASSES), nasty(X)[200:])


@pytest.mark.parametrize("model", [NEAREST, KNeighborsRegressor(weights="distance")], ids=called)
def test_distances_of_products_are_refused(assert_exact, model):
    """With brute force scikit-learn takes roots of differences of products: its zeros are some 1e-8."""
    model = type(model)(weights="distance", algorithm="brute")
    with pytest.raises(ConversionFailed, match="weights='distance' with brute force") as caught:
        assert_exact(fitted(model, X, CLASSES), X)
    assert "kd_tree" in (caught.value.hint or "")


@pytest.mark.parametrize("extrapolation", ["constant", "linear", "periodic"])
def test_splines_are_zero_where_the_library_has_zeros(assert_exact, extrapolation):
    """Trees send 0 and 1e-17 different ways: knots are values of the training data, and splines begin and end there."""
    spline = SplineTransformer(5, knots="quantile", extrapolation=extrapolation)
    model = make_pipeline(SimpleImputer(strategy="median"), spline)
    fitted(model, TRAIN)
    knots = np.stack([np.resize(own.t[3:-3], 16) for own in model[1].bsplines_], axis=1)
    made = assert_exact(model, np.concatenate([TRAIN, knots]), 1e-13)
    session = onnxruntime.InferenceSession(made.model.SerializeToString(), providers=["CPUExecutionProvider"])
    (answers,) = session.run(None, {"input": knots})
    assert np.array_equal(answers == 0, model.transform(knots) == 0)
    trees = make_pipeline(SimpleImputer(strategy="median"), spline, DecisionTreeClassifier())
    assert_exact(fitted(trees, TRAIN, CLASSES), np.concatenate([TRAIN, knots, nasty(X)]))
