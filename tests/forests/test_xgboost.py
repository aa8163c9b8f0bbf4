"""The rules of XGBoost that its trees rest on, each held against XGBoost, and what is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.errors import ConversionFailed
from mlconvert.forests.boundary import boundary_rows
from mlconvert.forests.evaluation import answers, leaves_of, sums
from mlconvert.forests.model import Forest, check_forest
from mlconvert.forests.onnx_file import write_trees
from mlconvert.forests.xgboost import read_xgboost, trees_of_rounds

RANDOM = np.random.default_rng(11)
X = RANDOM.normal(size=(200, 4))
X[:, 3] = RANDOM.integers(0, 12, 200)
VALUES = X[:, 0] - X[:, 1] ** 2 + (X[:, 3] % 3)
CLASSES = np.digitize(VALUES, [-0.5, 1])
SOFT = {"objective": "multi:softprob", "num_class": 3}
CATEGORICAL = ["q", "q", "q", "c"]


def train(params: dict[str, Any], target: np.ndarray = VALUES, rounds: int = 4, types: Any = None) -> Any:
    import xgboost

    rows = xgboost.DMatrix(X, target, feature_types=types, enable_categorical=True, nthread=1)
    return xgboost.train({"max_depth": 3, "nthread": 1, "verbosity": 0, **params}, rows, rounds)


def predict(booster: Any, rows: np.ndarray, types: Any = None, **kind: Any) -> np.ndarray:
    import xgboost

    matrix = xgboost.DMatrix(rows, feature_types=types, enable_categorical=True, nthread=1)
    predicted: np.ndarray = booster.predict(matrix, **kind)
    return predicted.reshape(len(rows), -1)


def onnx_outputs(path: Path, rows: np.ndarray, *names: str) -> list[np.ndarray]:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    found: list[np.ndarray] = session.run(list(names), {"input": rows})
    return found


# --- to the last bit ---


@pytest.mark.parametrize(
    ("params", "target", "types"),
    [
        ({}, VALUES, None),
        ({"base_score": 1e4}, VALUES, None),
        ({"max_cat_to_onehot": 1}, VALUES, CATEGORICAL),
        ({"objective": "binary:logistic"}, CLASSES > 0, None),
        ({"booster": "dart", "rate_drop": 0.5, "one_drop": 1}, VALUES, None),
        ({"num_parallel_tree": 4, "subsample": 0.6}, VALUES, None),
        (SOFT, CLASSES, CATEGORICAL),
        ({}, X[:, :3], None),
        ({"multi_strategy": "multi_output_tree"}, X[:, :3], None),
        ({"objective": "reg:quantileerror", "quantile_alpha": [0.2, 0.8]}, VALUES, None),
    ],
    ids=["one", "base", "sets", "binary", "dart", "parallel", "classes", "targets", "vectors", "quantiles"],
)
@pytest.mark.parametrize("leaf_indices", [False, True])
def test_the_margins_of_the_onnx_file_are_those_of_xgboost(tmp_path, params, target, types, leaf_indices):
    """With one thread; the order of additions in ONNX Runtime depends on their number."""
    booster = train(params, target, rounds=12, types=types)
    model = read_xgboost(booster, "here")
    rows = np.concatenate([X, boundary_rows(model.forest, count=500, seed=1, around=X)])
    write_trees(model, tmp_path / "m.onnx", raw_scores=True, leaf_indices=leaf_indices)
    names = ["raw_scores", "leaf_indices"] if leaf_indices else ["raw_scores"]
    margins, *leaves = onnx_outputs(tmp_path / "m.onnx", rows, *names)
    wanted = predict(booster, rows, types, output_margin=True)
    assert margins.dtype == wanted.dtype == np.float32
    np.testing.assert_array_equal(margins, wanted)
    for found in leaves:
        np.testing.assert_array_equal(found, predict(booster, rows, types, pred_leaf=True))


def test_many_rounds_add_up_in_the_same_order(tmp_path):
    booster = train({"max_depth": 2}, rounds=300)
    model = read_xgboost(booster, "here")
    write_trees(model, tmp_path / "m.onnx", raw_scores=True)
    wanted = predict(booster, X, output_margin=True)
    np.testing.assert_array_equal(onnx_outputs(tmp_path / "m.onnx", X, "raw_scores")[0], wanted)
    np.testing.assert_array_equal(sums(model, X), wanted)


def test_dart_scales_the_leaves_in_float32():
    booster = train({"booster": "dart", "rate_drop": 0.7, "one_drop": 1}, rounds=10)
    weights = json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]["weight_drop"]
    assert len({*weights, 1.0}) > 2, "a dart that dropped nothing shows nothing"
    np.testing.assert_array_equal(sums(read_xgboost(booster, "here"), X), predict(booster, X, output_margin=True))


# --- what is made of a sum ---


def test_the_cut_is_the_largest_margin_that_xgboost_calls_no_more_than_one_half():
    import xgboost

    booster = train({"objective": "binary:logistic", "gamma": 1e9, "eta": 0}, CLASSES > 0, rounds=1)
    cut = np.float32(read_xgboost(booster, "here").cut)
    near = (cut.view(np.int32) + np.arange(-300, 301, dtype=np.int32)).view(np.float32)
    rows = xgboost.DMatrix(np.zeros((len(near), 4)))
    rows.set_base_margin(near)
    np.testing.assert_array_equal(booster.predict(rows, output_margin=True), near)
    np.testing.assert_array_equal(booster.predict(rows) > 0.5, near > cut)


@pytest.mark.parametrize("base", [0.5, 0.5 + 1e-7, 0.5 - 1e-7, 1e-6, 1 - 1e-6])
def test_labels_near_one_half_are_those_of_xgboost(base):
    """Margins of a few units in the last place of the base."""
    booster = train({"objective": "binary:logistic", "base_score": base, "eta": 1e-7}, CLASSES > 0)
    label = answers(read_xgboost(booster, "here"), X)["label"]
    np.testing.assert_array_equal(label, predict(booster, X)[:, 0] > 0.5)


def test_softmax_takes_the_first_largest_sum_as_xgboost_does():
    booster = train({**SOFT, "objective": "multi:softmax", "max_depth": 1, "eta": 1}, CLASSES, rounds=2)
    model = read_xgboost(booster, "here")
    rows = np.concatenate([X, boundary_rows(model.forest, count=500, seed=1, around=X)])
    np.testing.assert_array_equal(answers(model, rows)["label"], predict(booster, rows)[:, 0])


def test_sums_that_are_equal_belong_to_the_first_class():
    booster = train(
        {**SOFT, "objective": "multi:softmax", "gamma": 1e9, "eta": 0, "base_score": 0.5}, CLASSES, rounds=1
    )
    assert set(predict(booster, X)[:, 0]) == set(answers(read_xgboost(booster, "here"), X)["label"]) == {0}


# --- the rows ---


@pytest.fixture(scope="module")
def with_sets() -> tuple[Any, Forest]:
    booster = train({"max_cat_to_onehot": 1, "max_depth": 4, "lambda": 0}, rounds=6, types=CATEGORICAL)
    return booster, read_xgboost(booster, "here").forest


@pytest.fixture(scope="module")
def of_all_sizes() -> tuple[Any, Forest]:
    """A booster with thresholds from 1e-44 to 1e38."""
    import xgboost

    rows = X * 10.0 ** np.random.default_rng(3).uniform(-44, 37, X.shape)
    booster = xgboost.train({"max_depth": 6, "nthread": 1}, xgboost.DMatrix(rows, VALUES), 8)
    return booster, read_xgboost(booster, "here").forest


CATEGORY = st.one_of(
    st.floats(-3, 14),
    st.integers(-3, 14).map(float),
    st.sampled_from([-0.0, 16777215.0, 16777216.0, 16777217.0, 2.0**31, 3e38, -3e38, 5e-324, -5e-324, float("nan")]),
    st.floats(width=32, allow_infinity=False),
)


@given(st.lists(CATEGORY, min_size=1, max_size=20))
def test_any_number_is_the_category_that_xgboost_takes_it_for(with_sets, numbers):
    """Below 0, -0.5 too, and from 2 ** 24 on it is in no set; fractions are cut off; NaN goes its own way."""
    booster, forest = with_sets
    rows = X[: len(numbers)].copy()
    rows[:, 3] = numbers
    found = forest.leaf_ids[leaves_of(forest, rows)]
    np.testing.assert_array_equal(found, predict(booster, rows, CATEGORICAL, pred_leaf=True))


@given(st.lists(st.floats(-3e38, 3e38), min_size=4, max_size=4))
def test_any_row_reaches_the_leaf_that_xgboost_says(of_all_sizes, numbers):
    booster, forest = of_all_sizes
    rows = np.array(numbers) * np.array([[1], [1e-20], [1e-38], [1e-45], [1e-300]])
    found = forest.leaf_ids[leaves_of(forest, rows)]
    np.testing.assert_array_equal(found, predict(booster, rows, pred_leaf=True))


def test_xgboost_refuses_infinities_and_so_no_row_has_one():
    import xgboost

    booster = train({})
    assert not read_xgboost(booster, "here").forest.takes_infinity
    for number in (np.inf, -np.inf, 3.5e38):
        with pytest.raises(xgboost.core.XGBoostError, match="too large"):
            predict(booster, np.full((1, 4), number))


def test_categories_of_a_data_frame_are_their_codes():
    import pandas as pd
    import xgboost

    colours = pd.Categorical(RANDOM.choice(["red", "green", "blue", "grey"], 200))
    frame = pd.DataFrame({"size": X[:, 0], "colour": colours})
    rows = xgboost.DMatrix(frame, VALUES + 2 * colours.codes, enable_categorical=True)
    booster = xgboost.train({"max_depth": 3, "nthread": 1, "max_cat_to_onehot": 1}, rows, 4)
    model = read_xgboost(booster, "here")
    assert model.feature_names == ("size", "colour")
    codes = np.stack([X[:, 0], colours.codes], axis=1)
    np.testing.assert_array_equal(sums(model, codes)[:, 0], booster.predict(rows, output_margin=True))


# --- fewer trees ---


@pytest.mark.parametrize(
    ("params", "target"),
    [
        ({}, VALUES),
        (SOFT, CLASSES),
        ({"num_parallel_tree": 3, "subsample": 0.5}, VALUES),
        ({"booster": "dart", "rate_drop": 0.5}, VALUES),
        ({"multi_strategy": "multi_output_tree"}, X[:, :3]),
        ({"max_cat_to_onehot": 1}, VALUES),
    ],
    ids=["one", "classes", "parallel", "dart", "vectors", "sets"],
)
def test_the_first_rounds_alone_are_what_xgboost_runs_for_them(params, target):
    types = CATEGORICAL if "max_cat_to_onehot" in params else None
    booster = train(params, target, rounds=6, types=types)
    for rounds in (1, 2, 6):
        model = read_xgboost(booster, "here", trees=trees_of_rounds(booster, rounds))
        check_forest(model.forest)
        wanted = predict(booster, X, types, output_margin=True, iteration_range=(0, rounds))
        np.testing.assert_array_equal(sums(model, X), wanted)


# --- what is refused ---


def changed(booster: Any, change: Any) -> Any:
    """A booster whose file was changed by hand."""
    import xgboost

    document = json.loads(bytes(booster.save_raw("json")))
    change(document["learner"])
    return xgboost.Booster(model_file=bytearray(json.dumps(document).encode()))


def test_a_linear_model_is_refused_by_name():
    with pytest.raises(ConversionFailed, match="gblinear") as caught:
        read_xgboost(train({"booster": "gblinear"}), "here")
    assert caught.value.where == "here"
    assert "gbtree" in str(caught.value.hint)


@pytest.mark.parametrize("trees", [None, 0, -1, 5])
def test_no_trees_and_more_than_there_are_is_refused(trees):
    booster = train({}, rounds=0 if trees is None else 4)
    with pytest.raises(ConversionFailed, match="trees"):
        read_xgboost(booster, "here", trees=trees)


def test_an_objective_that_is_not_known_is_refused_by_name(monkeypatch):
    from mlconvert.readers import classical_outputs

    known = {name: task for name, task in classical_outputs.XGBOOST.items() if name != "reg:gamma"}
    monkeypatch.setattr(classical_outputs, "XGBOOST", known)
    with pytest.raises(ConversionFailed, match="reg:gamma") as caught:
        read_xgboost(train({"objective": "reg:gamma"}, np.abs(VALUES) + 1), "here")
    assert "reg:squarederror" in str(caught.value.hint)


def test_a_feature_that_is_a_number_and_a_category_is_refused_by_name():
    def mix(learner: Any) -> None:
        trees = learner["gradient_booster"]["model"]["trees"]
        split = next(tree for tree in trees if 3 in tree["split_indices"] and 1 in tree["split_type"])
        inner = np.array(split["left_children"]) != -1
        other = int(np.flatnonzero(inner & (np.array(split["split_type"]) == 0))[0])
        split["split_indices"][other] = 3

    booster = changed(train({"max_cat_to_onehot": 1}, types=CATEGORICAL), mix)
    booster.feature_names = ["a", "b", "c", "colour"]
    with pytest.raises(ConversionFailed, match="as categories: colour"):
        read_xgboost(booster, "here")


def test_a_damaged_tree_is_refused():
    def cut(learner: Any) -> None:
        learner["gradient_booster"]["model"]["trees"][2]["left_children"][0] = 77

    with pytest.raises(ConversionFailed, match="node 77 of tree 2"):
        read_xgboost(changed(train({}), cut), "here")
