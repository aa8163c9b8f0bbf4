"""Which estimators are tree ensembles, and the wrappers of LightGBM, XGBoost and CatBoost among them."""

from __future__ import annotations

import importlib

import numpy as np
import pandas as pd
import pytest
from sklearn import cluster, ensemble, linear_model, neighbors, pipeline, preprocessing, tree

from mlconvert.errors import ConversionFailed
from mlconvert.forests.estimators import READERS, text_columns, tree_model_of
from mlconvert.readers.estimator_answers import outputs_of, table_of

ROWS = np.random.default_rng(0).normal(size=(200, 4))
ROWS[::9, 1] = np.nan
SCORE = ROWS[:, 0] + np.nan_to_num(ROWS[:, 1]) * ROWS[:, 2]
TWO = (SCORE > 0).astype(int)
THREE = TWO + (SCORE > 1)
TEXTS = np.array(["bad", "fair", "good"])[THREE]


# --- the table ---


def test_every_class_in_the_table_is_where_the_table_says():
    for name in READERS:
        module, _, attribute = name.rpartition(".")
        cls = getattr(importlib.import_module(module), attribute)
        assert f"{cls.__module__}.{cls.__qualname__}" == name


@pytest.mark.parametrize(
    "made",
    [
        linear_model.LogisticRegression(),
        neighbors.KNeighborsClassifier(),
        cluster.KMeans(2),
        pipeline.make_pipeline(preprocessing.StandardScaler(), tree.DecisionTreeClassifier()),
        ensemble.AdaBoostRegressor(n_estimators=2),
        ensemble.AdaBoostClassifier(linear_model.LogisticRegression(), n_estimators=2),
        ensemble.RandomTreesEmbedding(2),
        ensemble.VotingClassifier([("tree", tree.DecisionTreeClassifier())]),
        ensemble.StackingClassifier([("tree", tree.DecisionTreeClassifier())]),
    ],
    ids=lambda made: type(made).__name__,
)
def test_what_is_no_sum_of_trees_is_left_to_others(made):
    made.fit(np.nan_to_num(ROWS), TWO)
    assert tree_model_of(made, "test") is None
    assert text_columns(made, "test") == ()


def test_a_subclass_that_answers_as_its_parent_counts_as_it():
    class Named(ensemble.RandomForestClassifier):
        """A forest with a method more."""

        def story(self):
            return "once upon a time"

    assert tree_model_of(Named(2).fit(ROWS, TWO), "test").forest.trees == 2


@pytest.mark.parametrize("method", ["predict", "predict_proba", "_validate_X_predict"])
def test_a_subclass_that_answers_otherwise_is_refused(method):
    def answer(self, rows):
        return getattr(ensemble.RandomForestClassifier, method)(self, rows)

    made = type("Quantile", (ensemble.RandomForestClassifier,), {method: answer})(2).fit(ROWS, TWO)
    with pytest.raises(ConversionFailed, match=f"the Quantile has a {method} of its own"):
        tree_model_of(made, "test")


@pytest.mark.parametrize("name", READERS)
def test_an_estimator_that_is_not_fitted_is_refused(name):
    module, _, attribute = name.rpartition(".")
    made = getattr(importlib.import_module(module), attribute)()
    with pytest.raises(ConversionFailed, match=f"the {attribute} is not fitted") as caught:
        tree_model_of(made, "model.pkl")
    assert caught.value.where == "model.pkl"


# --- LightGBM ---


def lightgbm_of(name: str, **parameters: object):
    lightgbm = pytest.importorskip("lightgbm")
    defaults = {"n_estimators": 6, "min_child_samples": 5, "verbose": -1, "n_jobs": 1}
    return getattr(lightgbm, f"LGBM{name}")(**{**defaults, **parameters})


def check(estimator, assert_exact, **options):
    """Hold the model of a wrapper against the wrapper itself."""
    model = tree_model_of(estimator, "test")

    def reference(rows):
        return outputs_of(estimator, table_of(estimator, {"input": rows}))

    assert_exact(model, reference, rows=ROWS, **options)
    return model


@pytest.mark.parametrize(
    ("made", "labels"),
    [
        ("Classifier", TWO),
        ("Classifier", TWO > 0),
        ("Classifier", np.where(TWO, "yes", "no")),
        ("Classifier", np.where(TWO, 7, -3)),
        ("Classifier", THREE),
        ("Classifier", TEXTS),
        ("Classifier", np.array([5, -2, 1000])[THREE]),
        ("Regressor", SCORE),
    ],
)
def test_lightgbm_wrappers_are_exact(made, labels, assert_exact):
    check(lightgbm_of(made).fit(ROWS, labels), assert_exact)


@pytest.mark.parametrize(
    "parameters",
    [
        {"boosting_type": "dart"},
        {"boosting_type": "rf", "subsample": 0.7, "subsample_freq": 1},
        {"class_weight": "balanced"},
        {"objective": "multiclassova"},
        {"zero_as_missing": True},
        {"n_estimators": 1, "num_leaves": 2},
    ],
    ids=str,
)
def test_lightgbm_parameters_are_exact(parameters, assert_exact):
    check(lightgbm_of("Classifier", **parameters).fit(ROWS, TEXTS), assert_exact)


@pytest.mark.parametrize("objective", ["poisson", "huber", "binary"])
def test_lightgbm_regressors_give_values_whatever_their_objective(objective, assert_exact):
    made = lightgbm_of("Regressor", objective=objective).fit(ROWS, TWO)
    assert check(made, assert_exact).task == "value"


def test_a_lightgbm_ranker_is_exact(assert_exact):
    check(lightgbm_of("Ranker").fit(ROWS, THREE, group=[50] * 4), assert_exact)


def test_lightgbm_uses_the_best_iteration(assert_exact):
    import lightgbm

    made = lightgbm_of("Classifier", n_estimators=40, learning_rate=0.8)
    noise = np.random.default_rng(1).integers(0, 2, 100)
    made.fit(ROWS, TWO, eval_X=ROWS[:100], eval_y=noise, callbacks=[lightgbm.early_stopping(2, verbose=False)])
    assert made.best_iteration_ < 40
    assert check(made, assert_exact).forest.trees == made.best_iteration_


def test_lightgbm_label_of_the_smallest_sums(assert_exact):
    """Sums just above 0 have the probability 0.5, and the wrapper's label is the first class."""
    made = lightgbm_of("Classifier", n_estimators=2).fit(ROWS, np.where(TWO, "yes", "no"))
    model = tree_model_of(made, "test")
    assert 0 < model.cut < 1e-15
    assert model.classes == ("no", "yes")


def test_lightgbm_columns_are_named(assert_exact):
    frame = pd.DataFrame(ROWS, columns=["age", "height", "width", "weight"])
    made = lightgbm_of("Classifier").fit(frame, TWO)
    assert check(made, assert_exact).feature_names == ("age", "height", "width", "weight")


def test_lightgbm_category_columns_are_refused():
    frame = pd.DataFrame({"x": ROWS[:, 0], "town": pd.Categorical(TEXTS)})
    made = lightgbm_of("Classifier").fit(frame, TWO)
    with pytest.raises(ConversionFailed, match="the LGBMClassifier was fitted on data frame columns of the dtype cat"):
        tree_model_of(made, "test")


def test_lightgbm_with_categories_by_number_is_exact(assert_exact):
    rows = np.stack([ROWS[:, 0], THREE + 3.0 * TWO], axis=1)
    made = lightgbm_of("Classifier", min_data_per_group=1, cat_smooth=1).fit(rows, SCORE > 0.5, categorical_feature=[1])
    asked = np.stack([ROWS[:, 0], np.random.default_rng(1).integers(-1, 8, 200)], axis=1)
    assert_exact(tree_model_of(made, "test"), lambda rows: outputs_of(made, rows), random=asked)


@pytest.mark.parametrize(
    ("made", "parameters", "labels", "message"),
    [
        ("Classifier", {"pred_early_stop": True}, TWO, "LGBMClassifier has pred_early_stop"),
        ("Classifier", {"objective": "cross_entropy"}, TWO, "LGBMClassifier has 2 classes, its booster 0"),
        ("Classifier", {}, np.ones(200), "LGBMClassifier has 1 class, its booster 2"),
        (
            "Regressor",
            {"objective": "multiclass", "num_class": 3},
            THREE,
            "LGBMRegressor has an objective with classes",
        ),
        ("Regressor", {"objective": lambda y, p: (p - y, np.ones_like(y))}, SCORE, "objective"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_lightgbm_wrappers_that_answer_otherwise_are_refused(made, parameters, labels, message):
    fitted = lightgbm_of(made, **parameters).fit(ROWS, labels)
    with pytest.raises(ConversionFailed, match=message):
        tree_model_of(fitted, "test")


# --- XGBoost ---


def xgboost_of(name: str, **parameters: object):
    xgboost = pytest.importorskip("xgboost")
    return getattr(xgboost, f"XGB{name}")(**{"n_estimators": 6, "max_depth": 3, "n_jobs": 1, **parameters})


@pytest.mark.parametrize(
    ("made", "labels", "parameters"),
    [
        ("Classifier", TWO, {}),
        ("Classifier", THREE, {}),
        ("Classifier", THREE, {"objective": "multi:softmax"}),
        ("Classifier", TWO, {"base_score": 0.3, "booster": "dart", "rate_drop": 0.5}),
        ("Classifier", TWO, {"tree_method": "exact", "num_parallel_tree": 3}),
        ("RFClassifier", TWO, {}),
        ("RFClassifier", THREE, {}),
        ("Regressor", SCORE, {}),
        ("Regressor", TWO, {"objective": "binary:logistic"}),
        ("Regressor", np.exp(SCORE), {"objective": "count:poisson"}),
        ("Regressor", np.stack([SCORE, -SCORE], axis=1), {}),
        ("RFRegressor", SCORE, {}),
    ],
)
def test_xgboost_wrappers_are_exact(made, labels, parameters, assert_exact):
    """The rows are doubles, and most are no float32: the wrapper rounds them as the model does."""
    check(xgboost_of(made, **parameters).fit(ROWS, labels), assert_exact)


def test_an_xgboost_ranker_is_exact(assert_exact):
    check(xgboost_of("Ranker").fit(ROWS, THREE, group=[50] * 4), assert_exact)


@pytest.mark.parametrize(("labels", "each"), [(TWO, 1), (THREE, 3)])
def test_xgboost_uses_the_best_iteration(labels, each, assert_exact):
    made = xgboost_of("Classifier", n_estimators=40, learning_rate=0.9, early_stopping_rounds=2)
    noise = np.random.default_rng(1).permutation(labels)[:100]
    made.fit(ROWS, labels, eval_set=[(ROWS[:100], noise)], verbose=False)
    assert made.best_iteration + 1 < made.get_booster().num_boosted_rounds()
    assert check(made, assert_exact).forest.trees == each * (made.best_iteration + 1)


def test_xgboost_labels_of_sums_side_by_side(assert_exact):
    """Where float32 gives two classes one probability the wrapper takes the first, multi:softmax the larger sum."""
    import json

    import xgboost

    for objective, wanted in (("multi:softprob", 0), ("multi:softmax", 1)):
        made = xgboost_of("Classifier", n_estimators=1, max_depth=1, objective=objective).fit(ROWS, THREE)
        document = json.loads(made.get_booster().save_raw("json"))
        model = document["learner"]["gradient_booster"]["model"]
        document["learner"]["learner_model_param"]["base_score"] = "[0E0,0E0,0E0]"
        leaves = (0.01, float(np.nextafter(np.float32(0.01), np.float32(1))), 0.0)
        for each, leaf in zip(model["trees"], leaves, strict=True):
            inner = np.array(each["left_children"]) >= 0
            each["split_conditions"] = np.where(inner, each["split_conditions"], leaf).tolist()
        made._Booster = xgboost.Booster({"nthread": 1}, model_file=bytearray(json.dumps(document).encode()))
        assert set(made.predict(ROWS)) == {wanted}
        first, second, _ = made.predict_proba(ROWS[:1])[0]
        assert first == second
        check(made, assert_exact)


def test_xgboost_category_columns_are_refused():
    frame = pd.DataFrame({"x": ROWS[:, 0], "town": pd.Categorical(TEXTS)})
    made = xgboost_of("Classifier", enable_categorical=True).fit(frame, TWO)
    with pytest.raises(ConversionFailed, match="the XGBClassifier was fitted on data frame columns of the dtype cat"):
        tree_model_of(made, "test")


def test_xgboost_with_categories_by_number_is_exact(assert_exact):
    rows = np.stack([ROWS[:, 0], THREE + 3.0 * TWO], axis=1)
    made = xgboost_of("Classifier", enable_categorical=True, feature_types=["q", "c"]).fit(rows, SCORE > 0.5)
    model = tree_model_of(made, "test")
    assert len(model.forest.set_values)
    asked = np.stack([ROWS[:, 0], np.random.default_rng(1).integers(0, 6, 200)], axis=1)
    assert_exact(model, lambda rows: outputs_of(made, rows), random=asked)


@pytest.mark.parametrize(
    ("made", "parameters", "labels", "message"),
    [
        ("Classifier", {"missing": -1.0}, TWO, "XGBClassifier takes -1.0 for a missing value"),
        (
            "Classifier",
            {"objective": "multi:softprob", "num_class": 2},
            TWO,
            "XGBClassifier with multi:softprob and two classes",
        ),
        ("Classifier", {"objective": "binary:logitraw"}, TWO, "XGBClassifier has 2 classes, its booster 0"),
        ("Classifier", {}, np.stack([TWO, 1 - TWO], axis=1), "XGBClassifier has 2 classes, its booster 0"),
        ("Regressor", {"booster": "gblinear"}, SCORE, "gblinear"),
        ("Regressor", {"objective": lambda y, p: (p - y, np.ones_like(y))}, SCORE, "objective of the user's own"),
        (
            "Regressor",
            {"objective": "multi:softprob", "num_class": 3},
            THREE,
            "XGBRegressor has an objective with classes",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_xgboost_wrappers_that_answer_otherwise_are_refused(made, parameters, labels, message):
    fitted = xgboost_of(made, **parameters).fit(np.nan_to_num(ROWS), labels)
    with pytest.raises(ConversionFailed, match=message):
        tree_model_of(fitted, "test")


# --- CatBoost ---


@pytest.mark.parametrize(
    ("made", "labels"),
    [("Classifier", TWO), ("Classifier", TEXTS), ("Classifier", np.where(TWO, "yes", "no")), ("Regressor", SCORE)],
)
def test_catboost_wrappers_are_exact(made, labels, assert_exact):
    catboost = pytest.importorskip("catboost")
    estimator = getattr(catboost, f"CatBoost{made}")(
        iterations=6, depth=3, verbose=False, thread_count=1, allow_writing_files=False
    )
    check(estimator.fit(ROWS, labels), assert_exact)
