"""Models that are no ensembles: classifiers with every kind of labels, regressors, clusterers, detectors, mixtures."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import cluster, gaussian_process, kernel_ridge, linear_model, mixture, naive_bayes, svm
from sklearn.covariance import EllipticEnvelope
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.gaussian_process import kernels
from sklearn.isotonic import IsotonicRegression
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    LocalOutlierFactor,
    NearestCentroid,
    RadiusNeighborsClassifier,
)
from sklearn.neural_network import MLPClassifier, MLPRegressor

from mlconvert.errors import ConversionFailed

from .conftest import BINARY, CLASSES, NAMES, POSITIVE, VALUES, X, called, fitted, nasty

LABELS = {"binary": BINARY, "classes": CLASSES, "names": NAMES}
COUNTS = np.abs(np.round(X * 2))
MODERATE = nasty(X)[np.abs(nasty(X)).max(axis=1) < 100]


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize(
    "model",
    [
        linear_model.LogisticRegression(),
        linear_model.LogisticRegression(fit_intercept=False, class_weight="balanced"),
        linear_model.LogisticRegressionCV(cv=2, Cs=2, use_legacy_attributes=False)
        if "use_legacy_attributes" in linear_model.LogisticRegressionCV().get_params()
        else linear_model.LogisticRegressionCV(cv=2, Cs=2),
        linear_model.Perceptron(),
        linear_model.RidgeClassifier(),
        linear_model.RidgeClassifierCV(),
        *(
            linear_model.SGDClassifier(loss=loss, random_state=0)
            for loss in ("hinge", "log_loss", "modified_huber", "squared_hinge", "perceptron", "squared_error", "huber")
        ),
        LinearDiscriminantAnalysis(),
        LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
        QuadraticDiscriminantAnalysis(),
        naive_bayes.GaussianNB(),
        naive_bayes.BernoulliNB(binarize=X[5, 0]),
        svm.LinearSVC(),
        *(svm.SVC(kernel=kernel) for kernel in ("linear", "poly", "rbf", "sigmoid")),
        svm.SVC(gamma=0.3, break_ties=True),
        svm.SVC(decision_function_shape="ovo"),
        svm.NuSVC(nu=0.1),
        *(
            KNeighborsClassifier(weights=weights, p=p)
            for weights, p in (("uniform", 2), ("distance", 2), ("uniform", 1))
        ),
        KNeighborsClassifier(weights="distance", p=3, algorithm="brute"),
        *(MLPClassifier((4,), activation=name, max_iter=30, random_state=0) for name in ("relu", "tanh", "logistic")),
    ],
    ids=called,
)
def test_classifiers(assert_exact, model, labels):
    assert_exact(fitted(model, X, labels), nasty(X))


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("model", [svm.SVC(probability=True), svm.NuSVC(nu=0.1, probability=True)], ids=called)
def test_coupled_probabilities(assert_exact, model, labels):
    assert_exact(fitted(model.set_params(random_state=0), X, labels), nasty(X))


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize(
    "model", [naive_bayes.MultinomialNB(), naive_bayes.ComplementNB(), naive_bayes.CategoricalNB(min_categories=40)]
)
def test_bayes_of_counts(assert_exact, model, labels):
    rows = np.minimum(np.concatenate([COUNTS, np.abs(np.round(nasty(X))), COUNTS + 3]), 39)
    assert_exact(fitted(model, COUNTS, labels), rows)


@pytest.mark.parametrize(
    "labels",
    [BINARY.astype(bool), BINARY * 1.0, BINARY.astype(np.uint8), BINARY * 7 - 3],
    ids=["bool", "float", "uint8", "others"],
)
def test_labels_of_other_types_become_int64(assert_exact, labels):
    made = assert_exact(fitted(linear_model.LogisticRegression(), X, labels), X)
    assert made.model.graph.output[0].type.tensor_type.elem_type == 7  # TensorProto.INT64


def test_labels_that_are_neither_whole_nor_text_are_refused(assert_exact):
    model = fitted(linear_model.LogisticRegression(), X, BINARY)
    model.classes_ = np.array([0.5, 1.5])
    with pytest.raises(ConversionFailed, match="neither whole numbers nor strings"):
        assert_exact(model, X)


REGRESSORS = (
    "ARDRegression BayesianRidge ElasticNet ElasticNetCV HuberRegressor Lars LarsCV Lasso LassoCV LassoLars "
    "LassoLarsCV LassoLarsIC LinearRegression OrthogonalMatchingPursuit QuantileRegressor RANSACRegressor Ridge "
    "RidgeCV SGDRegressor TheilSenRegressor"
)


@pytest.mark.parametrize("name", REGRESSORS.split())
def test_linear_regressors(assert_exact, name):
    assert_exact(fitted(getattr(linear_model, name)(), X, VALUES), nasty(X))


@pytest.mark.parametrize("name", ["LinearRegression", "Ridge", "MultiTaskLasso", "MultiTaskElasticNet"])
def test_regressors_of_several_values(assert_exact, name):
    assert_exact(fitted(getattr(linear_model, name)(), X, X[:, :2]), nasty(X))
    if not name.startswith("Multi"):
        assert_exact(fitted(getattr(linear_model, name)(), X, VALUES[:, None]), nasty(X))


@pytest.mark.parametrize(
    "model",
    [
        linear_model.PoissonRegressor(),
        linear_model.GammaRegressor(),
        linear_model.TweedieRegressor(power=1.5, link="log"),
        linear_model.TweedieRegressor(power=0, link="identity"),
        MLPRegressor(hidden_layer_sizes=(4,), max_iter=30, random_state=0),
        MLPRegressor(hidden_layer_sizes=(3, 3), activation="tanh", max_iter=30, random_state=0),
        svm.LinearSVR(),
        svm.SVR(),
        svm.SVR(kernel="poly", coef0=1),
        svm.NuSVR(kernel="sigmoid"),
        kernel_ridge.KernelRidge(kernel="rbf"),
        kernel_ridge.KernelRidge(kernel="polynomial", gamma=0.1, degree=2),
        KNeighborsRegressor(),
        KNeighborsRegressor(weights="distance"),
        KNeighborsRegressor(metric="cosine"),
    ],
    ids=called,
)
def test_regressors(assert_exact, model):
    assert_exact(fitted(model, X, POSITIVE), MODERATE)


def test_a_sparse_linear_model(assert_exact):
    model = fitted(linear_model.SGDClassifier(penalty="l1", alpha=0.1, random_state=0), X, CLASSES).sparsify()
    assert_exact(model, nasty(X))


@pytest.mark.parametrize(
    "kernel",
    [kernels.RBF(2.0), kernels.ConstantKernel(2.0) * kernels.Matern(nu=1.5) + kernels.WhiteKernel(0.1)],
    ids=str,
)
def test_gaussian_processes(assert_exact, kernel):
    model = gaussian_process.GaussianProcessRegressor(kernel, optimizer=None, alpha=0.01, normalize_y=True)
    assert_exact(fitted(model, X, VALUES), nasty(X), 1e-11)


@pytest.mark.parametrize("bounds", ["clip", "nan"])
def test_isotonic_regression(assert_exact, bounds):
    model = fitted(IsotonicRegression(out_of_bounds=bounds), X[:, :1], VALUES)
    assert_exact(model, np.concatenate([nasty(X)[:, :1], model.X_thresholds_[:, None]]))


@pytest.mark.parametrize(
    "model",
    [
        cluster.KMeans(3, random_state=0, n_init=1),
        cluster.MiniBatchKMeans(3, random_state=0, n_init=1),
        cluster.MeanShift(),
        cluster.AffinityPropagation(),
        mixture.GaussianMixture(2, random_state=0),
        mixture.GaussianMixture(2, covariance_type="tied", random_state=0),
        mixture.GaussianMixture(2, covariance_type="diag", random_state=0),
        mixture.GaussianMixture(2, covariance_type="spherical", random_state=0),
        mixture.BayesianGaussianMixture(n_components=2, random_state=0),
        EllipticEnvelope(random_state=0),
        svm.OneClassSVM(),
        linear_model.SGDOneClassSVM(random_state=0),
        LocalOutlierFactor(novelty=True),
    ],
    ids=called,
)
def test_without_a_target(assert_exact, model):
    assert_exact(fitted(model, X), MODERATE, 1e-11)


@pytest.mark.parametrize("opset", [13, 17, 21])
@pytest.mark.parametrize(
    "model", [svm.SVC(probability=True, random_state=0), KNeighborsClassifier(weights="distance"), MLPClassifier((3,))]
)
def test_older_and_newer_opsets(assert_exact, model, opset):
    made = assert_exact(fitted(model, X, CLASSES), nasty(X), opset=opset)
    assert {entry.domain: entry.version for entry in made.model.opset_import}[""] == opset


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (NearestCentroid(), r"NearestCentroid: there is no converter for sklearn\.neighbors"),
        (RadiusNeighborsClassifier(9.0), "RadiusNeighborsClassifier: its neighbours differ in number"),
        (KNeighborsClassifier(metric="chebyshev"), "KNeighborsClassifier: metric='chebyshev'"),
        (KNeighborsClassifier(metric="minkowski", metric_params={"w": np.ones(5)}), "metric='minkowski'"),
        (KNeighborsClassifier(weights=np.reciprocal), "KNeighborsClassifier: its weights are a function"),
        (svm.SVC(kernel=lambda a, b: a @ b.T), "SVC: its kernel is not one of"),
        (
            gaussian_process.GaussianProcessClassifier(optimizer=None),
            "GaussianProcessClassifier: .* holds other models",
        ),
    ],
)
def test_models_that_are_refused(assert_exact, model, named):
    with pytest.raises(ConversionFailed, match=named):
        assert_exact(fitted(model, X, BINARY), X)
