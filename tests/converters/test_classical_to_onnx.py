"""The native files of LightGBM, XGBoost and CatBoost: converted models answer as the library does, or are refused."""

from __future__ import annotations

import importlib
import json
import warnings
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.artifact import Artifact
from mlconvert.converters.classical_graph import floor_float32
from mlconvert.errors import ConversionFailed

RNG = np.random.default_rng(7)
X = RNG.normal(size=(240, 5))
X32 = X.astype(np.float32)
CLASSES = (X[:, 0] + X[:, 1] ** 2 > 0.6).astype(int) + (X[:, 2] > 0.8)
BINARY = (CLASSES > 0).astype(int)
VALUES = np.exp(X[:, 0] / 2) + X[:, 1] ** 2
NONE = MappingProxyType({})
SUFFIX = {"lightgbm": ".txt", "xgboost": ".json", "catboost": ".cbm"}


def module(kind: str, library: str):
    name = f"{library}_to_onnx" if kind == "converters" else library
    return importlib.import_module(f"mlconvert.{kind}.{name}")


def lightgbm_model(path: Path, objective: str, target, params=NONE, rows=X) -> Path:
    import lightgbm

    group = [len(rows) // 2] * 2 if objective == "lambdarank" else None
    settings = {"objective": objective, "verbose": -1, "num_leaves": 7, "num_threads": 1, "seed": 1, **params}
    lightgbm.train(settings, lightgbm.Dataset(rows, target, group=group), 8).save_model(path)
    return path


def xgboost_model(path: Path, objective: str, target, params=NONE, names=None) -> Path:
    import xgboost

    settings = {"objective": objective, "max_depth": 3, "nthread": 1, "seed": 1, "verbosity": 0, **params}
    xgboost.train(settings, xgboost.DMatrix(X, target, feature_names=names), 5).save_model(path)
    return path


def catboost_model(path: Path, loss: str, target, params=NONE) -> Path:
    import catboost

    settings = {"iterations": 5, "depth": 3, "verbose": 0, "allow_writing_files": False, "thread_count": 1, **params}
    model = catboost.CatBoost({"loss_function": loss, "random_seed": 1, **settings})
    model.fit(X, target)
    model.save_model(str(path))
    return path


MAKE = {"lightgbm": lightgbm_model, "xgboost": xgboost_model, "catboost": catboost_model}


def onnx_answers(path: Path, rows) -> dict[str, np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"input": rows}), strict=True))


def assert_same(library: str, path: Path, target: Path, rows=X32, **options) -> Artifact:
    source = Artifact(library, str(path), (path,))
    made = module("converters", library).convert(source, target, **options)
    session = module("runners", library).load(source)
    reference = session.run({"input": rows})
    answers = onnx_answers(target, rows)
    assert list(answers) == list(reference) == [spec.name for spec in made.signature.outputs]
    assert [spec.name for spec in session.signature.outputs] == list(reference)
    for name, values in reference.items():
        found = answers[name]
        assert found.shape == values.shape
        if name == "label":
            assert found.tolist() == values.tolist()
        else:
            np.testing.assert_allclose(found, values, rtol=1e-5, atol=1e-5)
    assert [str(spec) for spec in made.signature.inputs] == ["input: float32[batch, 5]"]
    assert all(spec.shape[0] == "batch" for spec in made.signature.outputs)
    return made


@pytest.mark.parametrize(
    ("library", "objective", "target", "params"),
    [
        ("lightgbm", "binary", BINARY, {}),
        ("lightgbm", "multiclass", CLASSES, {"num_class": 3}),
        ("lightgbm", "regression", VALUES, {}),
        ("lightgbm", "regression", VALUES, {"boosting": "dart"}),
        ("lightgbm", "poisson", VALUES, {}),
        ("lightgbm", "lambdarank", BINARY, {}),
        ("xgboost", "binary:logistic", BINARY, {}),
        ("xgboost", "binary:logistic", BINARY, {"base_score": 0.3, "num_parallel_tree": 2}),
        ("xgboost", "multi:softprob", CLASSES, {"num_class": 3}),
        ("xgboost", "multi:softmax", CLASSES, {"num_class": 3}),
        ("xgboost", "reg:squarederror", VALUES, {}),
        ("xgboost", "reg:absoluteerror", VALUES, {}),
        ("xgboost", "reg:gamma", VALUES, {}),
        ("xgboost", "binary:logitraw", BINARY, {}),
        ("catboost", "Logloss", BINARY, {}),
        ("catboost", "Logloss", np.array(["no", "yes"])[BINARY], {}),
        ("catboost", "MultiClass", CLASSES, {}),
        ("catboost", "MultiClass", np.array(["a", "b", "c"])[CLASSES], {}),
        ("catboost", "RMSE", VALUES, {}),
        ("catboost", "Poisson", VALUES, {}),
        ("catboost", "Quantile:alpha=0.3", VALUES, {}),
    ],
)
def test_answers_are_those_of_the_library(tmp_path, library, objective, target, params):
    path = MAKE[library](tmp_path / f"model{SUFFIX[library]}", objective, target, params)
    assert_same(library, path, tmp_path / "model.onnx")


def test_missing_values_go_the_same_way(tmp_path):
    rows = X.copy()
    rows[::7, 1] = np.nan
    gaps = rows.astype(np.float32)
    path = lightgbm_model(tmp_path / "m.txt", "binary", BINARY, rows=rows)
    assert_same("lightgbm", path, tmp_path / "l.onnx", rows=gaps)
    assert_same("xgboost", xgboost_model(tmp_path / "m.ubj", "binary:logistic", BINARY), tmp_path / "x.onnx", rows=gaps)


def test_a_ubj_file_and_feature_names(tmp_path):
    path = xgboost_model(tmp_path / "m.ubj", "binary:logistic", BINARY, names=["age", "f9", "x y", "d", "e"])
    assert_same("xgboost", path, tmp_path / "m.onnx")
    signature = module("runners", "xgboost").signature(Artifact("xgboost", str(path), (path,)))
    assert signature.inputs[0].columns == ("age", "f9", "x y", "d", "e")


@pytest.mark.parametrize("library", ["lightgbm", "xgboost", "catboost"])
@pytest.mark.parametrize("opset", [13, 18, 20])
def test_opset_is_the_one_asked_for(tmp_path, library, opset):
    objective = {"lightgbm": "binary", "xgboost": "binary:logistic", "catboost": "Logloss"}[library]
    path = MAKE[library](tmp_path / f"m{SUFFIX[library]}", objective, BINARY)
    made = assert_same(library, path, tmp_path / "m.onnx", opset=opset)
    assert made.facts["opsets"]["ai.onnx"] == opset


def test_float32_rows_on_lightgbm_thresholds_take_the_same_branch(tmp_path):
    """Neighbouring float32 values: each threshold lies between two of them, and rounds up to the upper one."""
    steps = (np.float32(1) + np.arange(120, dtype=np.float32) * np.float32(2**-23)).astype(np.float64)
    rows = RNG.permuted(np.tile(steps[:, None], (1, 5)), axis=0)
    labels = RNG.integers(0, 2, len(rows))
    path = lightgbm_model(tmp_path / "m.txt", "binary", labels, {"min_data_in_leaf": 2}, rows=rows)
    assert_same("lightgbm", path, tmp_path / "m.onnx", rows=rows.astype(np.float32))


@given(st.floats(allow_nan=False), st.floats(allow_nan=False, width=32))
def test_floor_float32_compares_as_the_double_does(threshold, row):
    assert (row <= threshold) == (row <= floor_float32(threshold))
    assert float(np.float32(floor_float32(threshold))) == floor_float32(threshold)


@pytest.mark.parametrize(
    ("library", "objective", "target", "params", "named"),
    [
        ("lightgbm", "binary", BINARY, {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}, "boosting=rf"),
        ("lightgbm", "regression", VALUES, {"linear_tree": True}, "linear_tree"),
        ("lightgbm", "binary", BINARY, {"zero_as_missing": True}, "zero_as_missing"),
        ("lightgbm", "binary", BINARY, {"sigmoid": 2}, "sigmoid"),
        ("lightgbm", "regression", VALUES, {"reg_sqrt": True}, "reg_sqrt"),
        ("lightgbm", "multiclassova", CLASSES, {"num_class": 3}, "multiclassova"),
        ("lightgbm", "mape", VALUES, {}, "mape"),
        ("xgboost", "binary:logistic", BINARY, {"booster": "dart"}, "dart"),
        ("xgboost", "binary:logistic", BINARY, {"booster": "gblinear"}, "gblinear"),
        ("xgboost", "reg:logistic", BINARY, {}, "reg:logistic"),
        ("xgboost", "binary:hinge", BINARY, {}, "binary:hinge"),
        ("xgboost", "survival:cox", VALUES, {}, "survival:cox"),
        ("xgboost", "multi:softprob", CLASSES, {"num_class": 3, "num_parallel_tree": 2}, "num_parallel_tree"),
        ("xgboost", "reg:squarederror", X[:, :2], {}, "targets"),
        ("catboost", "MultiClassOneVsAll", CLASSES, {}, "MultiClassOneVsAll"),
        ("catboost", "MultiRMSE", X[:, :2], {}, "MultiRMSE"),
        ("catboost", "RMSEWithUncertainty", VALUES, {}, "RMSEWithUncertainty"),
    ],
)
def test_what_would_be_wrong_is_refused_by_name(tmp_path, library, objective, target, params, named):
    path = MAKE[library](tmp_path / f"m{SUFFIX[library]}", objective, target, params)
    with pytest.raises(ConversionFailed, match=named):
        module("converters", library).convert(Artifact(library, str(path), (path,)), tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


def test_categorical_features_of_catboost_are_refused_by_name(tmp_path):
    import catboost
    import pandas as pd

    frame = pd.DataFrame({"size": X[:, 0], "colour": RNG.choice(["red", "blue"], len(X))})
    model = catboost.CatBoostClassifier(iterations=3, verbose=0, allow_writing_files=False, cat_features=["colour"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas' dtypes, of which CatBoost 1.2 does not know all
        model.fit(frame, BINARY)
    path = tmp_path / "m.cbm"
    model.save_model(str(path))
    for call in (
        lambda: module("converters", "catboost").convert(Artifact("catboost", str(path), (path,)), tmp_path / "o.onnx"),
        lambda: module("runners", "catboost").load(Artifact("catboost", str(path), (path,))),
    ):
        with pytest.raises(ConversionFailed, match="colour"):
            call()


def test_the_objective_of_the_user_is_refused(tmp_path):
    path = lightgbm_model(tmp_path / "m.txt", "binary", BINARY)
    path.write_text(path.read_text().replace("objective=binary sigmoid:1\n", ""))
    with pytest.raises(ConversionFailed, match="no objective"):
        module("runners", "lightgbm").load(Artifact("lightgbm", str(path), (path,)))


def test_a_damaged_child_index_in_json_is_found_before_it_crashes(tmp_path):
    path = xgboost_model(tmp_path / "m.json", "binary:logistic", BINARY)
    model = json.loads(path.read_text())
    model["learner"]["gradient_booster"]["model"]["trees"][1]["left_children"][0] = 100_000
    path.write_text(json.dumps(model))
    with pytest.raises(ConversionFailed, match="tree 1"):
        module("runners", "xgboost").load(Artifact("xgboost", str(path), (path,)))
