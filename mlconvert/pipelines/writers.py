"""Which function writes which class of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mlconvert.errors import ConversionFailed
from mlconvert.forests.estimators import tree_model_of
from mlconvert.pipelines import (
    bayes,
    bins,
    calibration,
    categories,
    ensembles,
    functions,
    imputation,
    linear,
    multiclass,
    neighbours,
    networks,
    projections,
    scaling,
    splines,
    structure,
    svm,
    targets,
    text,
)
from mlconvert.pipelines.stock import stock
from mlconvert.pipelines.trees import tree_ensemble

if TYPE_CHECKING:
    from mlconvert.forests.model import TreeModel
    from mlconvert.pipelines.build import Build, Columns, Writer
    from mlconvert.pipelines.graph import Tensor


def otherwise(build: Build, part: Any, method: str, given: Columns) -> Tensor | Columns:
    """Classes without a row: ensembles of trees, of scikit-learn and of others; then what skl2onnx knows."""
    model = _tree_model(build, part)
    if model is None:
        return stock(build, part, method, given)
    return tree_ensemble(build, part, model, method, given)


def _tree_model(build: Build, part: Any) -> TreeModel | None:
    try:
        return build.once(part, "tree model", (), lambda: tree_model_of(part, build.where, text_as_codes=True))
    except ConversionFailed as error:
        raise build.refused(error.message, error.hint) from error


def _or_trees(writer: Writer) -> Writer:
    """For classes whose parts may be single trees, which then are one ensemble."""

    def write(build: Build, part: Any, method: str, given: Columns) -> Tensor | Columns:
        model = _tree_model(build, part)
        if model is None:
            return writer(build, part, method, given)
        return tree_ensemble(build, part, model, method, given)

    return write


Part = Callable[["Build", Any, "Columns"], "Tensor | Columns"]
"""A writer of the one method that its class is asked for."""


def _refused(reason: str, hint: str) -> Part:
    def write(build: Build, *_: Any) -> Tensor:
        raise build.refused(reason, hint)

    return write


def _each(part: Any, names: str) -> dict[str, Any]:
    return dict.fromkeys(names.split(), part)


def _only(method: str, part_writer: Part) -> Writer:
    def write(build: Build, part: Any, asked: str, given: Columns) -> Tensor | Columns:
        if asked != method:
            raise build.refused_method(asked)
        return part_writer(build, part, given)

    return write


TRANSFORMERS: Mapping[str, Part] = {
    "ColumnTransformer": structure.column_transformer,
    "FeatureUnion": structure.feature_union,
    # numbers
    "Binarizer": scaling.binarizer,
    "FunctionTransformer": functions.function_transformer,
    "KBinsDiscretizer": bins.k_bins_discretizer,
    "MaxAbsScaler": scaling.max_abs_scaler,
    "MinMaxScaler": scaling.min_max_scaler,
    "Normalizer": scaling.normalizer,
    "PolynomialFeatures": scaling.polynomial_features,
    "PowerTransformer": scaling.power_transformer,
    "QuantileTransformer": bins.quantile_transformer,
    "RobustScaler": scaling.robust_scaler,
    "SplineTransformer": splines.spline_transformer,
    "StandardScaler": scaling.standard_scaler,
    # missing values
    "IterativeImputer": imputation.iterative_imputer,
    "KNNImputer": _refused(
        "which of several donors at the same distance it takes is not defined", "use SimpleImputer or IterativeImputer"
    ),
    "MissingIndicator": imputation.missing_indicator,
    "SimpleImputer": imputation.simple_imputer,
    # categories
    "OneHotEncoder": categories.one_hot_encoder,
    "OrdinalEncoder": categories.ordinal_encoder,
    "TargetEncoder": categories.target_encoder,
    # text
    "CountVectorizer": text.count_vectorizer,
    "DictVectorizer": _refused("ONNX has no input for dictionaries", "give columns, and use a OneHotEncoder"),
    "FeatureHasher": _refused("its hash has no ONNX form", "use a CountVectorizer"),
    "HashingVectorizer": _refused("its hash has no ONNX form", "use a CountVectorizer or TfidfVectorizer"),
    "TfidfTransformer": text.tfidf_transformer,
    "TfidfVectorizer": text.tfidf_vectorizer,
    # projections
    "FactorAnalysis": projections.factor_analysis,
    "FastICA": projections.fast_ica,
    "FeatureAgglomeration": projections.feature_agglomeration,
    "KernelPCA": projections.kernel_pca,
    "Nystroem": projections.nystroem,
    "PLSSVD": linear.pls_svd,
    "RBFSampler": projections.rbf_sampler,
    **_each(projections.pca, "IncrementalPCA PCA"),
    **_each(
        projections.components,
        "GaussianRandomProjection NeighborhoodComponentsAnalysis SparseRandomProjection TruncatedSVD",
    ),
}
PREDICTORS: Mapping[str, Part] = {
    "AdaBoostRegressor": ensembles.ada_boost_regressor,
    "IsotonicRegression": bins.isotonic_regression,
    "KNeighborsRegressor": neighbours.neighbours_regressor,
    "KernelRidge": projections.kernel_ridge,
    "MLPRegressor": networks.perceptron_regressor,
    "MultiOutputRegressor": multiclass.multi_output_regressor,
    "OutputCodeClassifier": multiclass.output_code,
    "RegressorChain": multiclass.regressor_chain,
    "TransformedTargetRegressor": targets.transformed_target,
    **_each(projections.nearest_centre, "AffinityPropagation MeanShift"),
    **_each(svm.svm_regressor, "NuSVR SVR"),
    **_each(linear.generalized_linear, "GammaRegressor PoissonRegressor TweedieRegressor"),
    **_each(
        linear.linear_regressor,
        "ARDRegression BayesianRidge ElasticNet ElasticNetCV HuberRegressor Lars LarsCV Lasso LassoCV LassoLars "
        "LassoLarsCV LassoLarsIC LinearRegression LinearSVR MultiTaskElasticNet MultiTaskElasticNetCV MultiTaskLasso "
        "MultiTaskLassoCV OrthogonalMatchingPursuit OrthogonalMatchingPursuitCV PassiveAggressiveRegressor "
        "QuantileRegressor Ridge RidgeCV SGDRegressor TheilSenRegressor",
    ),
    **_each(
        _refused("its neighbours differ in number from row to row", "use k nearest neighbours"),
        "RadiusNeighborsClassifier RadiusNeighborsRegressor",
    ),
}
WRITERS: Mapping[str, Writer] = {
    **{name: _only("transform", part) for name, part in TRANSFORMERS.items()},
    **{name: _only("predict", part) for name, part in PREDICTORS.items()},
    # parts that hold others
    "AdaBoostClassifier": _or_trees(ensembles.ada_boost_classifier),
    "BaggingClassifier": _or_trees(ensembles.bagging_classifier),
    "BaggingRegressor": _or_trees(_only("predict", ensembles.bagging_regressor)),
    "CalibratedClassifierCV": calibration.calibrated_classifier,
    "FrozenEstimator": structure.held("estimator"),
    "OneVsOneClassifier": multiclass.one_vs_one,
    "OneVsRestClassifier": multiclass.one_vs_rest,
    "Pipeline": structure.pipeline,
    "VotingClassifier": ensembles.voting_classifier,
    "VotingRegressor": ensembles.voting_regressor,
    "_ConstantPredictor": multiclass.constant_predictor,
    **_each(calibration.threshold_classifier, "FixedThresholdClassifier TunedThresholdClassifierCV"),
    **_each(ensembles.stacking, "StackingClassifier StackingRegressor"),
    **_each(structure.held("estimator_"), "RANSACRegressor SelfTrainingClassifier"),
    **_each(
        structure.held("best_estimator_"),
        "GridSearchCV HalvingGridSearchCV HalvingRandomSearchCV RandomizedSearchCV",
    ),
    **_each(
        structure.selection,
        "GenericUnivariateSelect RFE RFECV SelectFdr SelectFpr SelectFromModel SelectFwe SelectKBest SelectPercentile "
        "SequentialFeatureSelector VarianceThreshold",
    ),
    # models
    "EllipticEnvelope": projections.elliptic_envelope,
    "KNeighborsClassifier": neighbours.neighbours_classifier,
    "MLPClassifier": networks.perceptron_classifier,
    "OneClassSVM": svm.one_class_svm,
    "SGDOneClassSVM": linear.sgd_one_class,
    "BernoulliNB": bayes.bernoulli_nb,
    "CategoricalNB": bayes.categorical_nb,
    "ComplementNB": bayes.complement_nb,
    "GaussianNB": bayes.gaussian_nb,
    "MultinomialNB": bayes.multinomial_nb,
    **_each(bayes.gaussian_mixture, "BayesianGaussianMixture GaussianMixture"),
    **_each(svm.svm_classifier, "NuSVC SVC"),
    **_each(linear.pls, "CCA PLSCanonical PLSRegression"),
    **_each(
        linear.linear_classifier,
        "LinearDiscriminantAnalysis LinearSVC LogisticRegression LogisticRegressionCV PassiveAggressiveClassifier "
        "Perceptron RidgeClassifier RidgeClassifierCV SGDClassifier",
    ),
}
