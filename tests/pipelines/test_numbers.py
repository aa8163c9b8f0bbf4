"""Transformers of numbers: scalers, bins, quantiles, splines, powers, functions, projections."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special
from sklearn import cross_decomposition, decomposition, kernel_approximation, neighbors, random_projection
from sklearn.cluster import FeatureAgglomeration
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
)

from mlconvert.errors import ConversionFailed

from .conftest import BINARY, X, called, fitted, gaps, nasty

MODERATE = nasty(X)[np.abs(nasty(X)).max(axis=1) < 100]  # for what grows with its input


@pytest.mark.parametrize(
    "part",
    [
        StandardScaler(),
        StandardScaler(with_mean=False),
        StandardScaler(with_std=False),
        StandardScaler(with_mean=False, with_std=False),
        MinMaxScaler(),
        MinMaxScaler((-1, 3), clip=True),
        MaxAbsScaler(),
        RobustScaler(),
        RobustScaler(with_centering=False),
        RobustScaler(with_scaling=False, quantile_range=(10, 60)),
        PowerTransformer(),
        PowerTransformer(standardize=False),
        QuantileTransformer(n_quantiles=40),
        QuantileTransformer(n_quantiles=40, output_distribution="normal"),
    ],
    ids=called,
)
def test_scalers_and_what_is_missing(assert_exact, part):
    fitted(part, gaps(X))
    assert_exact(part, gaps(nasty(X)))
    if getattr(part, "output_distribution", "") != "normal":  # its tails need more than float32
        assert_exact(part, gaps(nasty(X)).astype(np.float32).astype(np.float64), 1e-3, floats="float32")


@pytest.mark.parametrize("bound", [0.0, X[3, 0]])
def test_a_threshold_itself_is_below(assert_exact, bound):
    assert_exact(fitted(Binarizer(threshold=bound), X), nasty(X))
    rows = nasty(X).astype(np.float32).astype(np.float64)
    assert_exact(fitted(Binarizer(threshold=bound), X), rows, floats="float32")


@pytest.mark.skipif(
    "clip" not in MaxAbsScaler().get_params(), reason="scikit-learn before 1.9 has no MaxAbsScaler.clip"
)
def test_a_clipping_max_abs_scaler(assert_exact):
    assert_exact(fitted(MaxAbsScaler(clip=True), gaps(X)), gaps(nasty(X)))


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
def test_rows_of_zeros_stay_zeros(assert_exact, norm):
    assert_exact(fitted(Normalizer(norm), X), np.concatenate([nasty(X), np.full((1, 5), 1e-300)]))


@pytest.mark.parametrize("encode", ["onehot", "onehot-dense", "ordinal"])
@pytest.mark.parametrize("strategy", ["uniform", "quantile", "kmeans"])
def test_values_on_the_edges_of_bins(assert_exact, encode, strategy):
    part = fitted(KBinsDiscretizer(5, encode=encode, strategy=strategy), X)
    edges = np.stack([np.resize(own, 12) for own in part.bin_edges_], axis=1)
    assert_exact(part, np.concatenate([nasty(X), edges, np.nextafter(edges, np.inf), np.nextafter(edges, -np.inf)]))


@pytest.mark.parametrize("output", ["uniform", "normal"])
def test_repeated_quantiles_take_the_middle(assert_exact, output):
    part = fitted(QuantileTransformer(n_quantiles=60, output_distribution=output), np.round(X))
    assert_exact(part, np.concatenate([np.round(nasty(X)), part.quantiles_, part.quantiles_ + 5e-8]))


HOW = ("constant", "linear", "continue", "periodic")


@pytest.mark.parametrize(
    ("degree", "extrapolation"),
    # With degree 0, scikit-learn itself fails for the others.
    [(0, "linear"), (0, "continue"), *((1, how) for how in HOW), *((3, how) for how in HOW)],
)
def test_splines(assert_exact, degree, extrapolation):
    train, rows = (X, MODERATE) if degree > 1 or extrapolation != "linear" else (X[:, :1], MODERATE[:, :1])
    part = fitted(SplineTransformer(5, degree, extrapolation=extrapolation, include_bias=degree != 1), train)
    knots = np.stack([np.resize(spline.t, 20) for spline in part.bsplines_], axis=1)
    assert_exact(part, np.concatenate([rows, knots]), 1e-9 if extrapolation == "continue" else 1e-12)


@pytest.mark.parametrize(
    ("part", "named"),
    [
        (SplineTransformer(5, 1, extrapolation="linear"), "degree=1 with extrapolation='linear'"),
        (SplineTransformer(5, extrapolation="error"), "extrapolation='error'"),
    ],
)
def test_splines_that_are_refused(assert_exact, part, named):
    with pytest.raises(ConversionFailed, match=f"SplineTransformer: {named}"):
        assert_exact(fitted(part, X), X)


def test_splines_at_quantiles(assert_exact):
    assert_exact(fitted(SplineTransformer(6, knots="quantile"), X), MODERATE)


def test_positive_powers(assert_exact):
    rows = np.abs(nasty(X)) + 1e-3
    assert_exact(fitted(PowerTransformer("box-cox"), np.abs(X) + 0.1), rows[rows.max(axis=1) < 500])


def test_powers_of_zero_and_two(assert_exact):
    part = fitted(PowerTransformer(standardize=False), X)
    part.lambdas_ = np.array([0.0, 2.0, 1e-20, 1.0, -0.5])
    assert_exact(part, nasty(X))


@pytest.mark.parametrize(
    "part",
    [
        PolynomialFeatures(2),
        PolynomialFeatures(4, include_bias=False),
        PolynomialFeatures((2, 3)),
        PolynomialFeatures(3, interaction_only=True),
        PolynomialFeatures(1),
        PolynomialFeatures(0),
    ],
    ids=called,
)
def test_polynomials(assert_exact, part):
    assert_exact(fitted(part, X), nasty(X), 1e-13)


@pytest.mark.parametrize(
    "function",
    [None, np.abs, np.cbrt, np.ceil, np.cos, np.exp, np.exp2, np.expm1, np.floor, np.log, np.log10, np.log1p, np.log2,
     np.negative, np.reciprocal, np.rint, np.sign, np.sin, np.sqrt, np.square, np.tanh, special.expit],
    ids=lambda function: getattr(function, "__name__", "None"),
)  # fmt: skip
def test_known_functions(assert_exact, function):
    part = FunctionTransformer(function)
    rows = np.abs(MODERATE) + 1e-9
    if function is np.cbrt:
        with pytest.raises(ConversionFailed, match="FunctionTransformer: its function cbrt"):
            assert_exact(part.fit(rows), rows)
    else:
        assert_exact(part.fit(rows), rows)


def test_logits(assert_exact):
    assert_exact(FunctionTransformer(special.logit).fit(X), special.expit(X))


@pytest.mark.parametrize(
    "part",
    [
        decomposition.PCA(3),
        decomposition.PCA(3, whiten=True),
        decomposition.IncrementalPCA(2),
        decomposition.TruncatedSVD(2),
        decomposition.FastICA(2, random_state=0),
        decomposition.FactorAnalysis(2),
        decomposition.KernelPCA(2),
        decomposition.KernelPCA(2, kernel="rbf"),
        decomposition.KernelPCA(2, kernel="poly", degree=2),
        decomposition.KernelPCA(2, kernel="sigmoid"),
        random_projection.GaussianRandomProjection(3, random_state=0),
        random_projection.SparseRandomProjection(3, random_state=0),
        kernel_approximation.Nystroem(n_components=5, gamma=0.1, random_state=0),
        kernel_approximation.RBFSampler(random_state=0),
        FeatureAgglomeration(2),
        neighbors.KNeighborsTransformer(),
    ],
    ids=called,
)
def test_projections(assert_exact, part):
    fitted(part, X)
    assert_exact(part, X if isinstance(part, neighbors.KNeighborsTransformer) else MODERATE, 1e-11)


@pytest.mark.parametrize("name", ["PLSRegression", "PLSCanonical", "CCA", "PLSSVD"])
def test_cross_decompositions(assert_exact, name):
    part = getattr(cross_decomposition, name)(1)
    assert_exact(fitted(part, X, np.c_[X[:, 0] + X[:, 1], BINARY]), nasty(X))
