"""The step from a scikit-learn file to ONNX: its options, inputs and outputs, what it states and what it refuses."""

from __future__ import annotations

import warnings
from pathlib import Path

import joblib
import lightgbm
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import xgboost
from sklearn.cluster import DBSCAN
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mlconvert.artifact import Artifact
from mlconvert.converters.sklearn_to_onnx import convert
from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.runners import sklearn as runner

RNG = np.random.default_rng(11)
X = RNG.normal(size=(240, 5))
CLASSES = (X[:, 0] + X[:, 1] ** 2 > 0.6).astype(int) + (X[:, 2] > 0.8)
BINARY = (CLASSES > 0).astype(int)
NAMES = np.array(["ash", "beech", "cedar"])[CLASSES]
VALUES = X[:, 0] * 2 + X[:, 1] ** 2
ROWS = len(X)
FRAME = pd.DataFrame(
    {
        "age": RNG.integers(18, 90, ROWS),
        "income": RNG.normal(5, 2, ROWS),
        "home city": RNG.choice(["Rome", "Oslo", "Łódź"], ROWS),
        "member": RNG.integers(0, 2, ROWS).astype(bool),
        "not used": RNG.normal(size=ROWS),
    }
)
BOUGHT = ((FRAME["age"] > 50) & (FRAME["home city"] == "Rome")).astype(int)
DTYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
    "tensor(string)": object,
}


def saved(path: Path, model) -> Artifact:
    joblib.dump(model, path)
    return Artifact("sklearn", str(path), (path,), trusted=True)


def columns(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    arrays = {name: frame[name].to_numpy() for name in frame}
    return {
        name: (values.astype(np.str_) if values.dtype.kind not in "biuf" else values).reshape(-1, 1)
        for name, values in arrays.items()
    }


def onnx_answers(path: Path, samples) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    fed = {value.name: samples[value.name].astype(DTYPES[value.type]) for value in session.get_inputs()}
    return dict(zip([value.name for value in session.get_outputs()], session.run(None, fed), strict=True))


def assert_same(folder: Path, model, samples, tolerance=1e-12, more=(), **options) -> Artifact:
    source = saved(folder / "m.joblib", model)
    made = convert(source, folder / "m.onnx", samples=samples, **options)
    session = runner.load(source)
    reference = session.run(samples) | {name: session.more[name](samples) for name in more}
    answers = onnx_answers(folder / "m.onnx", samples)
    assert list(answers) == list(reference) == [spec.name for spec in made.signature.outputs]
    for name, values in reference.items():
        assert answers[name].shape == values.shape
        if name in ("label", "leaf_indices"):
            assert answers[name].tolist() == values.tolist()
        else:
            np.testing.assert_allclose(answers[name], values, rtol=tolerance, atol=tolerance)
    for spec in (*made.signature.inputs, *made.signature.outputs):
        assert spec.shape[0] == "batch"
        assert None not in spec.shape
    return made


@pytest.mark.parametrize(
    ("model", "target", "outputs"),
    [
        (LogisticRegression(), NAMES, ["label: string[batch]", "probabilities: float64[batch, 3]"]),
        (LogisticRegression(), BINARY, ["label: int64[batch]", "probabilities: float64[batch, 2]"]),
        (
            RandomForestClassifier(5, random_state=0),
            NAMES,
            ["label: string[batch]", "probabilities: float64[batch, 3]"],
        ),
        (RandomForestRegressor(4, random_state=0), X[:, :2], ["variable: float64[batch, 2]"]),
        (StandardScaler(), None, ["variable: float64[batch, 5]"]),
    ],
)
def test_inputs_and_outputs(tmp_path, model, target, outputs):
    made = assert_same(tmp_path, model.fit(X, target), {"input": X})
    assert [str(spec) for spec in made.signature.inputs] == ["input: float64[batch, 5]"]
    assert [str(spec) for spec in made.signature.outputs] == outputs
    assert made.facts["precision"] == "float64"


# --- trees alone ---


TREES = {
    "forest": lambda: RandomForestClassifier(7, random_state=0),
    "histogram": lambda: HistGradientBoostingClassifier(max_iter=4),
    "lightgbm": lambda: lightgbm.LGBMClassifier(n_estimators=4, verbose=-1, n_jobs=1),
    "xgboost": lambda: xgboost.XGBClassifier(n_estimators=4, n_jobs=1),
}


@pytest.mark.parametrize("name", TREES)
def test_trees_alone_have_no_part_in_skl2onnx(tmp_path, monkeypatch, name):
    monkeypatch.setattr("mlconvert.pipelines.model.estimator_model", None)
    model = TREES[name]().fit(X, CLASSES)
    tolerance = 1e-6 if name == "xgboost" else 1e-12
    made = assert_same(tmp_path, model, {"input": X}, tolerance)
    assert made.facts["precision"] == ("float32" if name == "xgboost" else "float64")
    assert len(onnx.load(tmp_path / "m.onnx").graph.node) < 20


@pytest.mark.parametrize("name", TREES)
def test_raw_scores_and_leaf_indices_of_trees_alone(tmp_path, name):
    model = TREES[name]().fit(X, CLASSES)
    more = ("raw_scores", "leaf_indices")
    assert_same(tmp_path, model, {"input": X}, 1e-6, more, raw_scores=True, leaf_indices=True)


@pytest.mark.parametrize("option", ["raw_scores", "leaf_indices"])
def test_raw_scores_and_leaf_indices_are_for_trees_alone(tmp_path, option):
    for model in (LogisticRegression(), make_pipeline(StandardScaler(), RandomForestClassifier(3))):
        with pytest.raises(UsageError, match=f"{option} is for an ensemble of trees") as caught:
            convert(saved(tmp_path / "m.joblib", model.fit(X, BINARY)), tmp_path / "m.onnx", **{option: True})
        assert caught.value.hint
    assert not (tmp_path / "m.onnx").exists()


def test_integer_and_boolean_columns_of_trees(tmp_path):
    numbers = FRAME[["age", "income", "member"]]
    for trees in TREES.values():
        made = assert_same(tmp_path, trees().fit(numbers, BOUGHT), columns(numbers), 1e-6)
        assert [spec.dtype for spec in made.signature.inputs] == ["int64", "float64", "bool"]


@pytest.mark.parametrize("labels", [BINARY, CLASSES, VALUES], ids=["binary", "multiclass", "regression"])
@pytest.mark.parametrize("behind", [False, True])
def test_models_that_stopped_early_use_their_best_iteration(tmp_path, labels, behind):
    kind = "Regressor" if labels is VALUES else "Classifier"
    noisy = RNG.permutation(labels)  # nothing to learn: the best iteration is an early one
    stop = lightgbm.early_stopping(2, verbose=False)
    light = getattr(lightgbm, f"LGBM{kind}")(n_estimators=30, learning_rate=0.5, verbose=-1, n_jobs=1)
    light.fit(X, labels, eval_X=X, eval_y=noisy, callbacks=[stop])
    assert 0 < light.best_iteration_ < 30
    extreme = getattr(xgboost, f"XGB{kind}")(n_estimators=30, learning_rate=0.5, n_jobs=1, early_stopping_rounds=2)
    extreme.fit(X, labels, eval_set=[(X, noisy)], verbose=False)
    assert extreme.best_iteration + 1 < extreme.get_booster().num_boosted_rounds()
    for model in (light, extreme):
        made = make_pipeline(StandardScaler().fit(X * 0 + [[0], [2]] * (ROWS // 2)), model) if behind else model
        assert_same(tmp_path, made, {"input": X * 2 + 1 if behind else X}, 2e-6 if model is extreme else 1e-12)


# --- precision ---


def at_cuts(model) -> np.ndarray:
    """Rows that a float32 scaler would bring to the other side of a cut: those behind a step, from its own search."""
    from mlconvert.forests.boundary_estimators import estimator_rows

    return estimator_rows(model, {"input": X}, "", count=2000, seed=2)["input"]


def test_a_scaler_before_xgboost_works_in_double(tmp_path):
    """Scaled in float32, rows on a cut would fall on its other side: the cast is behind the scaler, as in XGBoost."""
    model = make_pipeline(StandardScaler(), xgboost.XGBClassifier(n_estimators=10, n_jobs=1)).fit(
        X * 100 + 1000, BINARY
    )
    rows = at_cuts(model)
    assert_same(tmp_path, model, {"input": rows}, 1e-6)
    scale = model[0]
    rough = (rows.astype(np.float32) - scale.mean_.astype(np.float32)) / scale.scale_.astype(np.float32)
    crossed = model[1].predict_proba(rough)[:, 1] != model.predict_proba(rows)[:, 1]
    assert crossed.sum() > 20  # else the rows show nothing


def test_float32_can_be_asked_for(tmp_path):
    rows = X.astype(np.float32).astype(np.float64)
    for model in (LogisticRegression(), make_pipeline(StandardScaler(), TREES["lightgbm"]()), TREES["lightgbm"]()):
        made = assert_same(tmp_path, model.fit(rows, CLASSES), {"input": rows}, 1e-5, dtype="float32")
        assert [spec.dtype for spec in (*made.signature.inputs, made.signature.outputs[1])] == ["float32", "float32"]
        assert made.facts["precision"] == "float32"


def test_what_rounds_in_the_library_is_told(tmp_path):
    model = make_pipeline(StandardScaler(), xgboost.XGBRegressor(n_estimators=3, n_jobs=1)).fit(X, VALUES)
    made = assert_same(tmp_path, model, {"input": X}, 1e-5)
    assert made.facts["precision"] == "float32"
    assert made.facts["float32_because"] == ["Pipeline > xgbregressor > XGBRegressor: XGBRegressor adds up in float32"]
    assert made.signature.inputs[0].dtype == "float64"


def test_a_part_without_a_double_form_is_converted_in_float32_and_told(tmp_path, monkeypatch):
    from mlconvert.pipelines import stock

    kept = stock.check_loads

    def only_float32(model, where, what="the model"):
        if model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.DOUBLE and "QuadraticD" in what:
            raise ConversionFailed(f"no kernel for {what}", where=where) from RuntimeError()
        kept(model, where, what)

    from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis

    monkeypatch.setattr(stock, "check_loads", only_float32)
    model = make_pipeline(StandardScaler(), QuadraticDiscriminantAnalysis()).fit(X, BINARY)
    made = assert_same(tmp_path, model, {"input": X}, 1e-4)
    assert made.signature.inputs[0].dtype == "float32"
    assert "QuadraticDiscriminantAnalysis" in made.facts["float32_because"][0]
    with pytest.raises(ConversionFailed, match="no kernel"):
        convert(saved(tmp_path / "m.joblib", model), tmp_path / "x.onnx", dtype="float64")


# --- opsets and runtimes ---


@pytest.mark.parametrize("opset", [13, 18, 21])
def test_opset_is_the_one_asked_for(tmp_path, opset):
    made = assert_same(tmp_path, LogisticRegression().fit(X, BINARY), {"input": X}, opset=opset)
    domains = [entry.domain for entry in onnx.load(tmp_path / "m.onnx").opset_import]
    assert made.facts["opsets"]["ai.onnx"] == opset
    assert len(domains) == len(set(domains))


def test_an_older_server_gets_older_tree_operators(tmp_path):
    model = make_pipeline(StandardScaler(), TREES["forest"]()).fit(X, CLASSES)
    made = assert_same(tmp_path, model, {"input": X}, 1e-6, target_runtime="1.19")
    assert made.facts["opsets"]["ai.onnx.ml"] == 3
    assert made.facts["precision"] == "float64"
    with pytest.raises(UsageError, match="opset 23 is out of range"):
        convert(saved(tmp_path / "m.joblib", model), tmp_path / "x.onnx", opset=23, target_runtime="1.19")


def test_two_makings_are_the_same_bytes(tmp_path):
    model = make_pipeline(StandardScaler(), TREES["histogram"]()).fit(X, CLASSES)
    source = saved(tmp_path / "m.joblib", model)
    for name in ("a.onnx", "b.onnx"):
        convert(source, tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


# --- inputs ---


def pipeline(final, remainder="drop"):
    encode = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["age", "income"]),
            ("names", OneHotEncoder(handle_unknown="ignore"), ["home city"]),
        ],
        remainder=remainder,
    )
    return make_pipeline(encode, final)


@pytest.mark.parametrize("remainder", ["drop", "passthrough"])
@pytest.mark.parametrize("final", ["logistic", *TREES])
def test_a_pipeline_on_a_data_frame(tmp_path, final, remainder):
    model = pipeline(TREES.get(final, LogisticRegression)(), remainder)
    frame = FRAME.assign(income=FRAME["income"].where(FRAME.index % 5 != 0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # convergence
        model.fit(frame, BOUGHT)
    samples = columns(frame.assign(**{"home city": FRAME["home city"].where(FRAME.index > 9, "Paris")}))
    made = assert_same(tmp_path, model, samples, 1e-6 if final == "xgboost" else 1e-12)
    found = {spec.name: (spec.dtype, spec.shape) for spec in made.signature.inputs}
    assert list(found) == list(FRAME)
    assert found["home city"] == ("string", ("batch", 1))
    assert found["age"] == ("int64", ("batch", 1))
    assert found["member"] == ("bool", ("batch", 1))


def test_a_pipeline_on_a_data_frame_has_no_signature_of_its_own(tmp_path):
    source = saved(tmp_path / "m.joblib", pipeline(LogisticRegression(max_iter=999)).fit(FRAME, BOUGHT))
    assert runner.signature(source) is None
    with pytest.raises(UsageError) as caught:
        convert(source, tmp_path / "m.onnx", samples={})
    assert "--samples" in (caught.value.hint or "")
    short = {name: values for name, values in columns(FRAME).items() if name != "income"}
    with pytest.raises(UsageError, match="income"):
        convert(source, tmp_path / "m.onnx", samples=short)


def test_numeric_columns_can_come_by_name_or_as_a_matrix(tmp_path):
    numbers = FRAME[["age", "income", "member"]]
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(numbers, BOUGHT)
    by_name = assert_same(tmp_path, model, columns(numbers))
    assert [str(spec) for spec in by_name.signature.inputs] == [
        "age: int64[batch, 1]",
        "income: float64[batch, 1]",
        "member: bool[batch, 1]",
    ]
    matrix = assert_same(tmp_path, model, {"input": numbers.to_numpy().astype(float)})
    assert [str(spec) for spec in matrix.signature.inputs] == ["input: float64[batch, 3]"]
    assert runner.signature(saved(tmp_path / "m.joblib", model)).inputs[0].columns == ("age", "income", "member")
    asked = convert(saved(tmp_path / "m.joblib", model), tmp_path / "c.onnx", samples={}, inputs="columns")
    assert [spec.name for spec in asked.signature.inputs] == ["age", "income", "member"]


def test_strings_of_pandas_itself(tmp_path):
    frame = FRAME.astype({"home city": "string"})
    model = pipeline(LogisticRegression(max_iter=999)).fit(frame, BOUGHT)
    assert_same(tmp_path, model, columns(frame))


def test_text(tmp_path):
    texts = np.array(["the cat sat", "a dog's life!", "été à Łódź 42", "one two, three one"] * 10)
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [0, 1, 1, 0] * 10)
    made = assert_same(tmp_path, model, {"input": texts.reshape(-1, 1)})
    assert [str(spec) for spec in made.signature.inputs] == ["input: string[batch, 1]"]


def test_a_matrix_cannot_be_asked_of_columns_of_strings(tmp_path):
    source = saved(tmp_path / "m.joblib", pipeline(LogisticRegression(max_iter=999)).fit(FRAME, BOUGHT))
    with pytest.raises(UsageError, match="not numbers"):
        convert(source, tmp_path / "m.onnx", inputs="matrix", samples=columns(FRAME))


def test_columns_cannot_be_asked_of_an_array(tmp_path):
    source = saved(tmp_path / "m.joblib", LogisticRegression().fit(X, BINARY))
    with pytest.raises(UsageError, match="not fitted on a data frame"):
        convert(source, tmp_path / "m.onnx", inputs="columns")


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("age", np.full((ROWS, 1), "old"), "ColumnTransformer > numbers > Pipeline > simpleimputer > SimpleImputer"),
        ("home city", np.ones((ROWS, 1)), "ColumnTransformer > names > OneHotEncoder"),
    ],
)
def test_columns_of_another_type_are_named(tmp_path, name, values, said):
    source = saved(tmp_path / "m.joblib", pipeline(LogisticRegression(max_iter=999)).fit(FRAME, BOUGHT))
    with pytest.raises(UsageError, match=f"the column '{name}' holds (text|numbers), and was fitted on") as caught:
        convert(source, tmp_path / "m.onnx", samples=columns(FRAME) | {name: values})
    assert said in caught.value.message
    assert not (tmp_path / "m.onnx").exists()


# --- refusals ---


def hashed_text():
    frame = pd.DataFrame({"text": ["a cat", "a dog"] * 20, "age": np.arange(40.0)})
    encode = ColumnTransformer([("text", HashingVectorizer(n_features=8), "text")])
    return make_pipeline(encode, LogisticRegression()).fit(frame, [0, 1] * 20), columns(frame)


def test_a_part_is_named_with_its_place(tmp_path):
    model, samples = hashed_text()
    with pytest.raises(ConversionFailed, match="ColumnTransformer > text > HashingVectorizer: its hash") as caught:
        convert(saved(tmp_path / "m.joblib", model), tmp_path / "m.onnx", samples=samples)
    assert caught.value.hint
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (
            lambda: make_pipeline(StandardScaler(), NearestCentroid()).fit(X, BINARY),
            "Pipeline > .* > NearestCentroid: there",
        ),
        (lambda: RandomForestClassifier(3).fit(X, np.c_[BINARY, CLASSES]), "output"),
        (
            lambda: make_pipeline(StandardScaler(), RandomForestClassifier(3)).fit(X, np.c_[BINARY, CLASSES]),
            "output",
        ),
        (lambda: DBSCAN().fit(X), "DBSCAN"),
        (lambda: xgboost.XGBClassifier(n_estimators=3, booster="gblinear", n_jobs=1).fit(X, BINARY), "gblinear"),
    ],
)
def test_what_cannot_be_converted_is_refused_by_name(tmp_path, make, named):
    with pytest.raises(ConversionFailed, match=named):
        convert(saved(tmp_path / "m.joblib", make()), tmp_path / "m.onnx", samples={})
    assert not (tmp_path / "m.onnx").exists()
