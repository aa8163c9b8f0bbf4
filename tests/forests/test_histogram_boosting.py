"""What the matrix of HistGradientBoosting does not show: columns of data frames, text, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn._loss.loss import HalfSquaredError, HalfTweedieLoss
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from mlconvert.errors import ConversionFailed
from mlconvert.forests.estimators import text_columns, tree_model_of
from mlconvert.forests.evaluation import answers
from mlconvert.forests.histogram_boosting import CategoryCodes

SIZE = 200
RANDOM = np.random.default_rng(0)
NUMBER = RANDOM.normal(size=SIZE)
TOWN = RANDOM.choice(["Oslo", "Rome", "Bern", "Lima"], SIZE)
GRADE = RANDOM.choice([3, 1, -2, 40], SIZE)
TWO = (NUMBER + np.isin(TOWN, ["Oslo", "Lima"]) + (GRADE > 1) > 1).astype(int)


@pytest.fixture(autouse=True)
def _one_thread():
    with threadpool_limits(1):
        yield


def trained(table, labels=TWO, **parameters):
    return HistGradientBoostingClassifier(max_iter=5, random_state=0, **parameters).fit(table, labels)


def outputs(estimator, table):
    return {"label": estimator.predict(table), "probabilities": estimator.predict_proba(table)}


def text_tables():
    """Training tables with the towns in column 1, as users have them."""
    frame = pd.DataFrame({"number": NUMBER, "town": TOWN, "grade": GRADE})
    missing = frame.copy()
    missing.loc[::5, "town"] = None
    return {
        "strings": frame,
        "strings, missing": missing,
        "category": frame.astype({"town": "category"}),
        "category, missing": missing.astype({"town": "category"}),
        "objects": frame.astype({"town": object}),
        "objects, None": frame.assign(town=[None, *TOWN[1:]]).astype({"town": object}),
        "array": frame.to_numpy(),
    }


@pytest.mark.parametrize("kind", text_tables())
def test_text_goes_in_as_codes(kind):
    table = text_tables()[kind]
    estimator = trained(table, categorical_features=[1])
    codes = text_columns(estimator, "test")
    assert codes == (CategoryCodes(1, ("Bern", "Lima", "Oslo", "Rome")),)
    model = tree_model_of(estimator, "test", text_as_codes=True)
    towns = np.array(["Bern", "Lima", "Oslo", "Rome", "Paris"], object)[RANDOM.integers(0, 5, SIZE)]
    asked = pd.DataFrame({"number": NUMBER, "town": towns, "grade": GRADE})
    place = dict(zip(codes[0].categories, range(4), strict=True))
    rows = np.stack([NUMBER, [place.get(town, np.nan) for town in towns], GRADE], axis=1)
    wanted = outputs(estimator, asked if isinstance(table, pd.DataFrame) else asked.to_numpy())
    got = answers(model, rows)
    assert np.array_equal(got["label"], wanted["label"])
    assert np.abs(got["probabilities"] - wanted["probabilities"]).max() <= 1e-15


def test_text_is_refused_where_nothing_makes_codes_of_it():
    estimator = trained(text_tables()["category"])
    with pytest.raises(ConversionFailed, match=r"categories of text, .* the column 'town'") as caught:
        tree_model_of(estimator, "model.skops")
    assert caught.value.where == "model.skops"
    nameless = trained(text_tables()["array"], categorical_features=[1])
    with pytest.raises(
        ConversionFailed, match=r"HistGradientBoostingClassifier has categories of text, .* the column 1"
    ):
        tree_model_of(nameless, "test")


@pytest.mark.parametrize("kind", ["int64", "Int64", "category", "boolean category", "objects"])
def test_numbers_need_no_codes_whatever_their_dtype(kind, assert_exact):
    grade = pd.Series(GRADE)
    if kind == "boolean category":
        grade = (grade > 0).astype("category")
    else:
        grade = grade.astype({"objects": object}.get(kind, kind))
    frame = pd.DataFrame({"number": NUMBER, "grade": grade})
    estimator = trained(frame, categorical_features=["grade"])
    assert text_columns(estimator, "test") == ()
    asked = np.stack([NUMBER, RANDOM.choice([*GRADE[:6], 0, 1, 2, 2.5, np.nan], SIZE)], axis=1)

    def reference(rows):
        table = pd.DataFrame(rows, columns=frame.columns)
        return outputs(estimator, table.astype({"grade": object}) if kind == "objects" else table)

    assert_exact(tree_model_of(estimator, "test"), reference, random=asked)


def test_a_category_alone_in_its_column_borrows_the_first_set_of_the_tree(assert_exact):
    """The library gives such a node no set of its own, and reads row 0 of the sets: so must we."""
    rows = np.stack([np.where(NUMBER > 0.3, 4.0, np.nan), GRADE.astype(float), NUMBER], axis=1)
    labels = (NUMBER > 0.3) ^ (GRADE > 1) ^ (RANDOM.random(SIZE) < 0.1)
    estimator = trained(rows, labels, categorical_features=[0, 1], min_samples_leaf=2)
    nodes = np.concatenate([tree.nodes for (tree,) in estimator._predictors])
    borrowed = nodes["is_categorical"].astype(bool) & np.isinf(nodes["num_threshold"])
    assert borrowed.any()
    assert_exact(tree_model_of(estimator, "test"), lambda asked: outputs(estimator, asked), rows=rows, random=rows)


def test_a_loss_of_the_users_own_goes_by_its_link(assert_exact):
    rows = np.stack([NUMBER, GRADE], axis=1)
    estimator = HistGradientBoostingRegressor(loss=HalfTweedieLoss(power=1.5), max_iter=5).fit(rows, TWO + 0.5)
    model = tree_model_of(estimator, "test")
    assert model.link.name == "exp"
    assert_exact(model, lambda asked: {"variable": estimator.predict(asked)[:, None]}, rows=rows)


def test_a_link_of_the_users_own_is_refused():
    rows = np.stack([NUMBER, GRADE], axis=1)
    estimator = HistGradientBoostingRegressor(loss=HalfSquaredError(), max_iter=2).fit(rows, NUMBER)

    class Doubled(type(estimator._loss.link)):
        def inverse(self, raw_prediction):
            return 2 * raw_prediction

    estimator._loss.link = Doubled()
    with pytest.raises(ConversionFailed, match="HistGradientBoostingRegressor has a loss of the user's own"):
        tree_model_of(estimator, "test")


def test_one_class_is_refused():
    estimator = trained(NUMBER[:, None], np.ones(SIZE))
    with pytest.raises(ConversionFailed, match="HistGradientBoostingClassifier was fitted on one class"):
        tree_model_of(estimator, "test")


def test_numbers_that_are_one_float64_are_refused():
    frame = pd.DataFrame({"number": NUMBER, "key": np.where(GRADE > 1, 2**53, 2**53 + 1)})
    estimator = trained(frame, categorical_features=["key"])
    with pytest.raises(ConversionFailed, match="the categories of the column 'key' are not different numbers"):
        tree_model_of(estimator, "test")


def test_dates_are_refused():
    days = pd.Series(np.where(GRADE > 1, np.datetime64("2026-01-01"), np.datetime64("2026-02-01")))
    frame = pd.DataFrame({"number": NUMBER, "day": days.astype("category")})
    estimator = trained(frame)
    with pytest.raises(ConversionFailed, match="the categories of the column 'day' are not numbers or text"):
        text_columns(estimator, "test")


def test_damaged_trees_are_refused():
    estimator = trained(NUMBER[:, None])
    estimator._predictors[0][0].nodes["left"][0] = 10**6
    with pytest.raises(ConversionFailed, match="the trees of the HistGradientBoostingClassifier are damaged"):
        tree_model_of(estimator, "test")
