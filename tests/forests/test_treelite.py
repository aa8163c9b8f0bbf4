"""treelite checkpoints: those that treelite made answer as treelite does, those made here as their source does."""

from __future__ import annotations

import json
import struct
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed
from mlconvert.forests.boundary import boundary_rows
from mlconvert.forests.evaluation import answers, sums
from mlconvert.forests.lightgbm import read_lightgbm
from mlconvert.forests.model import TreeModel, check_forest
from mlconvert.forests.treelite import read_treelite
from mlconvert.forests.treelite_file import answers_in_float32, write_treelite
from mlconvert.forests.xgboost import read_xgboost
from mlconvert.formats.treelite_layout import START, read_layout
from mlconvert.runners import treelite as runner

treelite = pytest.importorskip("treelite")

RANDOM = np.random.default_rng(2)
X = RANDOM.normal(size=(200, 5))
X[:, 3] = RANDOM.integers(0, 6, 200)
X[:, 4] = RANDOM.choice([0, 1, 5, 31, 32, 40], 200)
HOLES = np.where(RANDOM.random(X.shape) < 0.15, np.nan, X)
VALUE = X[:, 0] + X[:, 1] * X[:, 2] + 2 * np.sin(3 * X[:, 3]) + np.cos(X[:, 4])
TWO = (VALUE > 0).astype(int)
THREE = np.searchsorted(np.quantile(VALUE, [0.3, 0.7]), VALUE)
SETS: dict[str, Any] = {"categorical": [3, 4], "cat_smooth": 1, "cat_l2": 0, "max_cat_to_onehot": 1}
SEVERAL = np.stack([VALUE, 1 - VALUE, X[:, 1]], axis=1)


def lightgbm_text(labels: np.ndarray, rows: np.ndarray = X, **settings: Any) -> bytes:
    import lightgbm

    categorical = settings.pop("categorical", [])
    base = {"verbose": -1, "num_threads": 1, "num_leaves": 7, "min_data_in_leaf": 4, "min_data_per_group": 3}
    stated = {key: settings[key] for key in ("linear_tree", "zero_as_missing") if key in settings}
    data = lightgbm.Dataset(rows, labels, categorical_feature=categorical, params={"verbose": -1, **stated})
    return lightgbm.train({**base, **settings}, data, 4).model_to_string().encode()


def xgboost_booster(labels: np.ndarray, rows: np.ndarray = X, *, categorical: bool = False, **settings: Any) -> Any:
    import xgboost

    types = ["q", "q", "q", "c", "c"] if categorical else None
    data = xgboost.DMatrix(rows, labels, feature_types=types, enable_categorical=categorical)
    return xgboost.train({"max_depth": 3, "nthread": 1, "seed": 1, **settings}, data, 4)


def written(model: TreeModel, folder: Path) -> bytes:
    write_treelite(model, folder / "m.tl", "m")
    return (folder / "m.tl").read_bytes()


def edges(model: TreeModel, count: int = 400) -> np.ndarray:
    rows = boundary_rows(model.forest, count=count, seed=4, around=X)
    return np.concatenate([X, HOLES, rows])


def run(data: bytes, folder: Path, rows: np.ndarray) -> tuple[dict[str, np.ndarray], Any]:
    path = folder / "run.tl"
    path.write_bytes(data)
    session = runner.load(Artifact("treelite", str(path), (path,)))
    return session.run({"input": rows}), session


# --- made here ---

LIGHTGBM: dict[str, tuple[np.ndarray, np.ndarray, dict[str, Any]]] = {
    "binary": (TWO, X, {"objective": "binary"}),
    "sigmoid": (TWO, X, {"objective": "binary", "sigmoid": 0.7}),
    "missing": (TWO, HOLES, {"objective": "binary"}),
    "no missing": (TWO, HOLES, {"objective": "binary", "use_missing": False}),
    "multiclass": (THREE, HOLES, {"objective": "multiclass", "num_class": 3}),
    "one against all": (THREE, X, {"objective": "multiclassova", "num_class": 3, "sigmoid": 2.0}),
    "regression": (VALUE, X, {"objective": "regression"}),
    "square roots": (VALUE, X, {"objective": "regression", "reg_sqrt": True}),
    "poisson": (np.exp(VALUE / 3), X, {"objective": "poisson"}),
    "cross_entropy": (TWO * 0.8, X, {"objective": "cross_entropy"}),
    "cross_entropy_lambda": (TWO * 0.8, X, {"objective": "cross_entropy_lambda"}),
    "rf": (VALUE, X, {"objective": "regression", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}),
    "rf multiclass": (THREE, X, {"objective": "multiclass", "num_class": 3, "boosting": "rf", "bagging_freq": 1,
                                 "bagging_fraction": 0.6}),
    "dart": (VALUE, X, {"objective": "regression", "boosting": "dart"}),
    "categories": (TWO, X, {"objective": "binary", **SETS}),
    "categories missing": (VALUE, HOLES, {"objective": "regression", **SETS}),
    "tiny": (TWO, X * 1e-36, {"objective": "binary"}),
}  # fmt: skip


@pytest.mark.parametrize("name", LIGHTGBM)
def test_a_checkpoint_of_lightgbm_adds_as_lightgbm_does(name, tmp_path):
    import lightgbm

    labels, rows, settings = LIGHTGBM[name]
    text = lightgbm_text(labels, rows, **settings)
    model = read_lightgbm(text, name)
    assert model.forest.truncates.any() == ("categories" in name)
    data = written(model, tmp_path)
    every = np.concatenate([edges(model), rows])
    outputs, session = run(data, tmp_path, every)
    raw = lightgbm.Booster(model_str=text.decode()).predict(every, raw_score=True).reshape(len(every), -1)
    assert np.array_equal(session.more["raw_scores"]({"input": every}), raw / model.divisor)
    back = read_treelite(data, name)
    check_forest(back.forest)
    wanted = answers(model, every)
    assert wanted.keys() == outputs.keys()
    bound = 1e-6 if answers_in_float32(model) else 1e-12
    for output, expected in wanted.items():
        assert outputs[output].dtype == expected.dtype
        assert outputs[output].shape == expected.shape
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(outputs[output], expected, rtol=bound, atol=bound)
        else:
            assert np.array_equal(outputs[output], expected)
    assert np.array_equal(sums(back, every), sums(model, every))
    assert (back.task, back.feature_names, back.divisor) == (model.task, model.feature_names, model.divisor)
    assert np.array_equal(back.forest.truncates, model.forest.truncates)
    assert written(model, tmp_path) == data


XGBOOST: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "binary": (TWO, {"objective": "binary:logistic", "base_score": 0.2}),
    "hinge": (TWO, {"objective": "binary:hinge"}),
    "multiclass": (THREE, {"objective": "multi:softprob", "num_class": 3}),
    "regression": (VALUE, {"objective": "reg:squarederror"}),
    "poisson": (np.exp(VALUE / 3), {"objective": "count:poisson"}),
    "dart": (TWO, {"objective": "binary:logistic", "booster": "dart", "rate_drop": 0.5}),
    "parallel": (VALUE, {"objective": "reg:squarederror", "num_parallel_tree": 3, "subsample": 0.5}),
    "targets": (SEVERAL, {"objective": "reg:squarederror"}),
    "vectors": (SEVERAL, {"objective": "reg:squarederror", "multi_strategy": "multi_output_tree"}),
    "categories": (TWO, {"objective": "binary:logistic", "categorical": True, "max_cat_to_onehot": 1}),
}


@pytest.mark.parametrize("name", XGBOOST)
def test_a_checkpoint_of_xgboost_adds_as_xgboost_does(name, tmp_path):
    import xgboost

    labels, settings = XGBOOST[name]
    booster = xgboost_booster(labels, HOLES, **settings)
    model = read_xgboost(booster, name)
    data = written(model, tmp_path)
    every = edges(model)
    outputs, session = run(data, tmp_path, every)
    rows = xgboost.DMatrix(every, feature_types=booster.feature_types, enable_categorical=True)
    raw = booster.predict(rows, output_margin=True).reshape(len(every), -1)
    assert np.array_equal(session.more["raw_scores"]({"input": every}), raw)
    assert np.array_equal(sums(read_treelite(data, name), every), raw)
    for output, expected in answers(model, every).items():
        assert outputs[output].dtype == expected.dtype
        assert outputs[output].shape == expected.shape
        np.testing.assert_allclose(outputs[output], expected, rtol=1e-6, atol=0 if output == "label" else 1e-7)


def test_a_checkpoint_says_what_treelite_has_no_place_for(tmp_path):
    text = lightgbm_text(TWO, objective="binary", **SETS)
    model = read_lightgbm(text, "m")
    data = written(model, tmp_path)
    attributes = treelite.Model.deserialize_bytes(data).get_header_accessor().get_field("attributes")
    names = [f"Column_{index}" for index in range(5)]
    assert json.loads(attributes) == {"mlconvert": {"categories": "cut towards zero", "feature_names": names}}
    assert not read_treelite(data, "m").forest.floors
    # Without it a category is what treelite itself takes for one.
    bare = treelite.Model.deserialize_bytes(data)
    bare.get_header_accessor().set_field("attributes", "{}")
    read = read_treelite(bare.serialize_bytes(), "m")
    assert read.forest.floors
    assert read.feature_names == ()
    rows = np.where(np.arange(5) >= 3, np.array([[-0.5], [-1.0], [0.0], [2.5]]), X[:4])
    assert np.array_equal(sums(read, rows)[:, 0], treelite.gtil.predict(bare, rows, pred_margin=True).reshape(-1))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"objective": "regression", "linear_tree": True}, "linear leaves"),
        ({"objective": "regression", "zero_as_missing": True}, "zero_as_missing"),
    ],
)
def test_what_a_checkpoint_cannot_hold_is_refused_and_nothing_is_written(settings, words, tmp_path):
    rows = np.where(RANDOM.random(X.shape) < 0.3, 0.0, X)
    model = read_lightgbm(lightgbm_text(VALUE, rows, **settings), "m")
    with pytest.raises(ConversionFailed, match=words):
        write_treelite(model, tmp_path / "m.tl", "m")
    assert list(tmp_path.iterdir()) == []


def changes(model: TreeModel) -> dict[str, TreeModel]:
    forest = model.forest
    return {
        "the link isolation": replace(model, task="outlier", link=replace(model.link, name="isolation")),
        "the link step for its multiclass": replace(
            model, task="multiclass", base=(0.0, 0.0), link=replace(model.link, name="step")
        ),
        "text as labels": replace(model, classes=("a", "b")),
        "comparisons in one type": replace(model, arithmetic="float32"),
        "not cut to whole numbers": replace(model, forest=replace(forest, truncates=np.zeros(5, bool))),
        "numbers that are cut": replace(model, forest=replace(forest, truncates=np.ones(5, bool))),
        "categories above": replace(model, forest=replace(forest, set_values=forest.set_values + 2.0**33)),
        "an average": replace(model, divisor=3.0),
    }


@pytest.mark.parametrize("words", changes(read_lightgbm(lightgbm_text(
    TWO, objective="binary", **SETS), "m")))  # fmt: skip
def test_models_of_other_kinds_are_refused_by_name(words, tmp_path):
    model = read_lightgbm(lightgbm_text(TWO, objective="binary", **SETS), "m")
    with pytest.raises(ConversionFailed, match=words):
        write_treelite(changes(model)[words], tmp_path / "m.tl", "m")


# --- made by treelite ---


def native() -> dict[str, Callable[[], Any]]:
    from sklearn import ensemble

    def sklearn(estimator: Any, labels: np.ndarray, rows: np.ndarray = X) -> Callable[[], Any]:
        def imported() -> Any:
            with warnings.catch_warnings():  # of treelite's own, where there are categories
                warnings.simplefilter("ignore", RuntimeWarning)
                return treelite.sklearn.import_model(estimator.fit(rows, labels))

        return imported

    def loaded(text: Callable[[], bytes]) -> Callable[[], Any]:
        return lambda: treelite.frontend.from_lightgbm(_booster(text()))

    small: dict[str, Any] = {"n_estimators": 4, "max_depth": 4, "random_state": 1}
    return {
        "lightgbm binary": loaded(lambda: lightgbm_text(TWO, HOLES, objective="binary")),
        "lightgbm cross_entropy": loaded(lambda: lightgbm_text(TWO * 0.7, objective="cross_entropy")),
        "lightgbm multiclass": loaded(lambda: lightgbm_text(THREE, objective="multiclass", num_class=3)),
        "lightgbm ova": loaded(lambda: lightgbm_text(THREE, objective="multiclassova", num_class=3)),
        "lightgbm categories": loaded(lambda: lightgbm_text(TWO, HOLES, objective="binary", **SETS)),
        "lightgbm gamma": loaded(lambda: lightgbm_text(np.exp(VALUE), objective="gamma")),
        "lightgbm rf": loaded(lambda: lightgbm_text(VALUE, objective="regression", boosting="rf", bagging_freq=1,
                                                    bagging_fraction=0.5)),
        "xgboost binary": lambda: treelite.frontend.from_xgboost(xgboost_booster(TWO, HOLES,
                                                                                  objective="binary:logistic")),
        "xgboost raw": lambda: treelite.frontend.from_xgboost(xgboost_booster(TWO, objective="binary:logitraw")),
        "xgboost hinge": lambda: treelite.frontend.from_xgboost(xgboost_booster(TWO, objective="binary:hinge")),
        "xgboost multiclass": lambda: treelite.frontend.from_xgboost(xgboost_booster(
            THREE, objective="multi:softprob", num_class=3)),
        "xgboost targets": lambda: treelite.frontend.from_xgboost(xgboost_booster(
            SEVERAL, objective="reg:squarederror")),
        "xgboost vectors": lambda: treelite.frontend.from_xgboost(xgboost_booster(
            SEVERAL, objective="reg:squarederror", multi_strategy="multi_output_tree")),
        "random forest binary": sklearn(ensemble.RandomForestClassifier(**small), TWO, HOLES),
        "random forest three": sklearn(ensemble.RandomForestClassifier(**small), THREE),
        "random forest value": sklearn(ensemble.RandomForestRegressor(**small), VALUE),
        "random forest values": sklearn(ensemble.RandomForestRegressor(**small), SEVERAL),
        "extra trees": sklearn(ensemble.ExtraTreesClassifier(**small), THREE),
        "gradient boosting": sklearn(ensemble.GradientBoostingClassifier(**small), TWO),
        "gradient boosting three": sklearn(ensemble.GradientBoostingClassifier(**small), THREE),
        "gradient boosting value": sklearn(ensemble.GradientBoostingRegressor(**small), VALUE),
        "histograms": sklearn(ensemble.HistGradientBoostingClassifier(max_iter=4, max_depth=3), TWO, HOLES),
        "histograms three": sklearn(ensemble.HistGradientBoostingClassifier(max_iter=4, max_depth=3), THREE),
        "histograms categories": sklearn(ensemble.HistGradientBoostingRegressor(
            max_iter=4, max_depth=3, categorical_features=[3, 4]), VALUE, HOLES),
    }  # fmt: skip


def _booster(text: bytes) -> Any:
    import lightgbm

    return lightgbm.Booster(model_str=text.decode())


@pytest.mark.parametrize("name", native() if hasattr(treelite, "sklearn") else ())
def test_what_treelite_reads_answers_as_treelite_does(name, tmp_path, assert_exact):
    data = native()[name]().serialize_bytes()
    model = read_treelite(data, name)

    def reference(rows: np.ndarray) -> dict[str, np.ndarray]:
        return run(data, tmp_path, rows)[0]

    # GTIL computes softmax in float32.
    atol = 2e-6 if answers_in_float32(model) else 1e-12
    (tmp_path / "out").mkdir()
    assert_exact(model, reference, random=X[:100], rows=HOLES[:100], count=300, atol=atol)


def built(nodes: list[dict[str, Any]], **settings: Any) -> bytes:
    """A checkpoint of one tree, of nodes as `treelite.model_builder` takes them."""
    from treelite import model_builder as mb

    known = {
        "metadata": mb.Metadata(num_feature=3, task_type="kRegressor", average_tree_output=False, num_target=1,
                                num_class=[1], leaf_vector_shape=(1, 1)),
        "postprocessor": mb.PostProcessorFunc(name="identity"),
        "base_scores": [0.25],
        **settings,
    }  # fmt: skip
    builder = mb.ModelBuilder(
        threshold_type="float64", leaf_output_type="float64",
        tree_annotation=mb.TreeAnnotation(num_tree=1, target_id=[0], class_id=[0]), **known,
    )  # fmt: skip
    builder.start_tree()
    for node in nodes:
        builder.start_node(node["key"])
        if "leaf" in node:
            builder.leaf(node["leaf"])
        elif "categories" in node:
            builder.categorical_test(
                feature_id=node["feature"], default_left=node.get("default_left", False),
                category_list=node["categories"],
                category_list_right_child=node.get("right_list", False), left_child_key=node["left"],
                right_child_key=node["right"],
            )  # fmt: skip
        else:
            builder.numerical_test(
                feature_id=node["feature"], threshold=node["threshold"], default_left=node.get("default_left", False),
                opname=node.get("operator", "<="), left_child_key=node["left"], right_child_key=node["right"],
            )  # fmt: skip
        builder.end_node()
    builder.end_tree()
    return builder.commit().serialize_bytes()


LEAVES = [{"key": key, "leaf": float(key)} for key in (3, 4, 5)]


@pytest.mark.parametrize("default_left", [True, False])
@pytest.mark.parametrize("right_list", [True, False])
@pytest.mark.parametrize("operator", ["<", "<="])
def test_nodes_in_any_order_with_their_sets_on_either_side(default_left, right_list, operator, tmp_path):
    nodes = [
        *LEAVES,
        {"key": 1, "feature": 2, "categories": [0, 2, 33], "left": 3, "right": 4, "default_left": default_left,
         "right_list": right_list},
        {"key": 0, "feature": 0, "threshold": 0.5, "left": 1, "right": 5, "operator": operator,
         "default_left": not default_left},
    ]  # fmt: skip
    # treelite makes the first node the root, so the order is turned.
    data = built(nodes[::-1])
    model = read_treelite(data, "m")
    check_forest(model.forest)
    categories = np.array([0.0, 1.0, 2.0, 2.9, 33.0, 34.0, -0.5, -1.0, -0.0, np.nan, np.inf, -np.inf, 2.0**32])
    rows = np.array([[first, 0.0, last] for first in (0.5, 0.4, 0.6, np.nan) for last in categories])
    outputs, session = run(data, tmp_path, rows)
    assert np.array_equal(answers(model, rows)["variable"], outputs["variable"])
    found = session.more["leaf_indices"]({"input": rows})[:, 0]
    assert set(found) == set(model.forest.leaf_ids)


@pytest.mark.parametrize(("operator", "words"), [(">", "compares with >"), (">=", ">="), ("==", "==")])
def test_other_operators_are_refused_by_name(operator, words):
    nodes = [
        {"key": 0, "feature": 0, "threshold": 0.5, "left": 3, "right": 4, "operator": operator}, *LEAVES[:2],
    ]  # fmt: skip
    with pytest.raises(ConversionFailed, match=words):
        read_treelite(built(nodes), "m")


def test_operators_that_differ_from_node_to_node_are_refused():
    nodes = [
        {"key": 0, "feature": 0, "threshold": 0.5, "left": 1, "right": 5, "operator": "<"},
        {"key": 1, "feature": 1, "threshold": 0.5, "left": 3, "right": 4, "operator": "<="},
        *LEAVES,
    ]
    with pytest.raises(ConversionFailed, match="< and <="):
        read_treelite(built(nodes), "m")


def test_a_feature_of_both_kinds_is_refused():
    nodes = [
        {"key": 0, "feature": 1, "threshold": 0.5, "left": 1, "right": 5},
        {"key": 1, "feature": 1, "categories": [1], "left": 3, "right": 4},
        *LEAVES,
    ]
    with pytest.raises(ConversionFailed, match="both as numbers and as categories: 1"):
        read_treelite(built(nodes), "m")


def test_an_isolation_forest_is_refused():
    from sklearn.ensemble import IsolationForest

    data = treelite.sklearn.import_model(IsolationForest(n_estimators=3, random_state=1).fit(X)).serialize_bytes()
    with pytest.raises(ConversionFailed, match="isolation forest with the postprocessor 'exponential_standard_ratio'"):
        read_treelite(data, "m")


# --- damage ---


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> bytes:
    model = read_lightgbm(lightgbm_text(TWO, HOLES, objective="binary", **SETS), "m")
    return written(model, tmp_path_factory.mktemp("tl"))


def test_a_checkpoint_that_was_cut_off_anywhere_is_damaged(checkpoint):
    for length in range(len(checkpoint)):
        with pytest.raises(ConversionFailed):
            read_treelite(checkpoint[:length], "m.tl")
    with pytest.raises(ConversionFailed, match="after its last tree"):
        read_treelite(checkpoint + b"x", "m.tl")


def changed(data: bytes, tree: int, name: str, index: int, value: float) -> bytes:
    field = read_layout(data).trees[tree][name]
    array = np.frombuffer(data, f"<{field.kind}", field.count, field.start).copy()
    array[index] = value
    return data[: field.start] + array.tobytes() + data[field.start + array.nbytes :]


@pytest.mark.parametrize(
    ("name", "index", "value"),
    [
        ("cleft", 0, 99), ("cleft", 0, -2), ("cleft", 0, 0), ("cright", 0, 0), ("cleft", -1, 0), ("cright", 1, -1),
        ("split_index", 0, 5), ("split_index", 0, -1), ("node_type", 0, 7), ("node_type", 0, 0), ("node_type", -1, 1),
        ("threshold", None, np.nan), ("num_nodes", 0, 4), ("num_nodes", 0, -1), ("num_nodes", 0, 1 << 30),
        ("category_list_end", None, 1 << 40), ("leaf_vector_end", -1, 3),
    ],
)  # fmt: skip
def test_a_damaged_tree_is_named(checkpoint, name, index, value):
    tree, wanted = 2, 2 if name.startswith("category") else 1
    if index is None:  # the first node of the kind that the field is for
        fields = [tree["node_type"] for tree in read_layout(checkpoint).trees]
        kinds = [np.frombuffer(checkpoint, "i1", field.count, field.start) for field in fields]
        tree = next(number for number, kind in enumerate(kinds) if wanted in kind)
        index = int((kinds[tree] == wanted).argmax())
    with pytest.raises(ConversionFailed, match=f"damaged: tree {tree}"):
        read_treelite(changed(checkpoint, tree, name, index, value), "m.tl")


@pytest.mark.parametrize("version", [(3, 9, 1), (5, 0, 0), (12, 1, 0)])
def test_checkpoints_of_other_versions_are_refused_by_name(checkpoint, version):
    other = struct.pack("<3i", *version) + checkpoint[12:]
    with pytest.raises(ConversionFailed, match=r"saved by treelite " + r"\.".join(map(str, version))) as caught:
        read_treelite(other, "m.tl")
    assert "serialize" in (caught.value.hint or "") or "save it" in (caught.value.hint or "")


def test_a_model_without_trees_is_refused(checkpoint):
    layout = read_layout(checkpoint)
    start = layout.header["num_opt_field_per_model"].start + 4
    major, minor, patch, one, other, _ = START.unpack_from(checkpoint)
    with pytest.raises(ConversionFailed, match="no trees"):
        read_treelite(START.pack(major, minor, patch, one, other, 0) + checkpoint[START.size : start], "m.tl")


@pytest.mark.parametrize("data", [b"", b"hello", b"\x04\0\0\0", b"\0" * 400])
def test_what_is_no_checkpoint_is_refused(data):
    with pytest.raises(ConversionFailed, match="not a treelite checkpoint"):
        read_treelite(data, "m.tl")


def test_mutated_checkpoints_are_refused_or_still_whole(checkpoint):
    """Bytes changed at random: a model that passes all checks, or ConversionFailed."""
    random = np.random.default_rng(7)
    whole = 0
    for _ in range(400):
        data = bytearray(checkpoint)
        for place in random.integers(0, 600 if random.random() < 0.3 else len(data), random.integers(1, 4)):
            data[place] = random.choice([0, 1, 255, int(random.integers(256))])
        try:
            model = read_treelite(bytes(data), "m.tl")
        except ConversionFailed:
            continue
        check_forest(model.forest)
        answers(model, X[:5])
        whole += 1
    assert 20 < whole < 380
