"""scikit-learn's estimators: the converted model answers as the estimator does, under the same names."""

from __future__ import annotations

from pathlib import Path

import joblib
import lightgbm
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import xgboost
from sklearn.cluster import DBSCAN, KMeans
from sklearn.compose import ColumnTransformer
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import TunedThresholdClassifierCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC

from mlconvert.artifact import Artifact
from mlconvert.converters.sklearn_to_onnx import convert
from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.runners import sklearn as runner

RNG = np.random.default_rng(11)
X = RNG.normal(size=(240, 5)).astype(np.float32).astype(np.float64)
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


def assert_same(folder: Path, model, samples, tolerance=1e-5, **options) -> Artifact:
    source = saved(folder / "m.joblib", model)
    made = convert(source, folder / "m.onnx", samples=samples, **options)
    reference = runner.load(source).run(samples)
    answers = onnx_answers(folder / "m.onnx", samples)
    assert list(answers) == list(reference) == [spec.name for spec in made.signature.outputs]
    for name, values in reference.items():
        assert answers[name].shape == values.shape
        if name == "label":
            assert answers[name].tolist() == values.tolist()
        else:
            np.testing.assert_allclose(answers[name], values, rtol=tolerance, atol=tolerance)
    for spec in (*made.signature.inputs, *made.signature.outputs):
        assert spec.shape[0] == "batch"
        assert None not in spec.shape
    return made


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        GaussianNB(),
        KNeighborsClassifier(),
        MLPClassifier((4,), max_iter=500, tol=1.0, random_state=0),
        LinearSVC(),
        RidgeClassifier(),
        SGDClassifier(random_state=0),
        SVC(),
        RandomForestClassifier(7, random_state=0),
        GradientBoostingClassifier(n_estimators=4),
        HistGradientBoostingClassifier(max_iter=4),
        StackingClassifier([("a", LogisticRegression()), ("b", RandomForestClassifier(4, random_state=0))], cv=2),
        lightgbm.LGBMClassifier(n_estimators=4, verbose=-1, n_jobs=1),
        make_pipeline(StandardScaler(), LinearSVC()),
        make_pipeline(StandardScaler(), RandomForestClassifier(7, random_state=0)),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.parametrize("labels", [BINARY, CLASSES, NAMES], ids=["binary", "multiclass", "strings"])
def test_classifiers(tmp_path, model, labels):
    made = assert_same(tmp_path, model.fit(X, labels), {"input": X})
    assert made.signature.outputs[0].dtype == ("string" if labels is NAMES else "int64")
    assert made.signature.outputs[1].name == ("probabilities" if hasattr(model, "predict_proba") else "scores")


@pytest.mark.parametrize(("labels", "count"), [(BINARY, 2), (CLASSES, 3)])
def test_xgboost_wrappers(tmp_path, labels, count):
    for model in (xgboost.XGBClassifier(n_estimators=4, n_jobs=1),):
        made = assert_same(tmp_path, model.fit(X, labels), {"input": X})
        assert made.signature.outputs[1].shape == ("batch", count)
        assert_same(tmp_path, make_pipeline(StandardScaler(), model).fit(X, labels), {"input": X})


@pytest.mark.parametrize(
    ("labels", "dtype"), [(BINARY.astype(bool), "int64"), (BINARY * 1.0, "int64"), (BINARY.astype(np.uint8), "int64")]
)
def test_labels_of_other_types_become_int64(tmp_path, labels, dtype):
    made = assert_same(tmp_path, LogisticRegression().fit(X, labels), {"input": X})
    assert made.signature.outputs[0].dtype == dtype


@pytest.mark.parametrize(
    ("model", "target", "names"),
    [
        (LinearRegression(), VALUES, ["variable"]),
        (LinearRegression(), X[:, :2], ["variable"]),
        (RandomForestRegressor(4, random_state=0), X[:, :2], ["variable"]),
        (HistGradientBoostingRegressor(max_iter=4), VALUES, ["variable"]),
        (SVR(), VALUES, ["variable"]),
        (lightgbm.LGBMRegressor(n_estimators=4, verbose=-1, n_jobs=1), VALUES, ["variable"]),
        (xgboost.XGBRegressor(n_estimators=4, n_jobs=1), VALUES, ["variable"]),
        (StandardScaler(), None, ["variable"]),
        (KMeans(3, random_state=0, n_init=2), None, ["label", "scores"]),
        (make_pipeline(StandardScaler(), KMeans(3, random_state=0, n_init=2)), None, ["label", "scores"]),
        (IsolationForest(n_estimators=5, random_state=0), None, ["label", "scores"]),
        (GaussianMixture(2, random_state=0), None, ["label", "probabilities"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_kinds(tmp_path, model, target, names):
    made = assert_same(tmp_path, model.fit(X, target), {"input": X}, tolerance=1e-4)
    assert [spec.name for spec in made.signature.outputs] == names


def test_catboost_wrapper(tmp_path):
    import catboost

    model = catboost.CatBoostClassifier(iterations=4, depth=3, verbose=0, allow_writing_files=False, thread_count=1)
    assert_same(tmp_path, model.fit(X, NAMES), {"input": X})


@pytest.mark.parametrize("labels", [BINARY, CLASSES, VALUES], ids=["binary", "multiclass", "regression"])
def test_models_that_stopped_early_use_their_best_iteration(tmp_path, labels):
    kind = "Regressor" if labels is VALUES else "Classifier"
    noisy = RNG.permutation(labels)  # nothing to learn: the best iteration is an early one
    stop = lightgbm.early_stopping(2, verbose=False)
    model = getattr(lightgbm, f"LGBM{kind}")(n_estimators=30, learning_rate=0.5, verbose=-1, n_jobs=1)
    model.fit(X, labels, eval_X=X, eval_y=noisy, callbacks=[stop])
    assert 0 < model.best_iteration_ < 30
    assert_same(tmp_path, model, {"input": X})
    model = getattr(xgboost, f"XGB{kind}")(n_estimators=30, learning_rate=0.5, n_jobs=1, early_stopping_rounds=2)
    model.fit(X, labels, eval_set=[(X, noisy)], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    assert_same(tmp_path, model, {"input": X})


def test_missing_values_of_a_data_frame_are_imputed_in_float64(tmp_path):
    frame = FRAME.assign(income=FRAME["income"].where(FRAME.index % 5 != 0))
    model = pipeline(RandomForestClassifier(9, random_state=0)).fit(frame, BOUGHT)
    samples = columns(frame)
    assert np.isnan(samples["income"]).any()
    made = assert_same(tmp_path, model, samples)
    assert made.facts["dtype"] == "float64"


def test_linear_models_are_exact_in_float64(tmp_path):
    made = assert_same(tmp_path, LogisticRegression().fit(X, CLASSES), {"input": X}, tolerance=1e-13)
    assert made.signature.inputs[0].dtype == "float64"


def test_float32_can_be_asked_for(tmp_path):
    made = assert_same(tmp_path, LogisticRegression().fit(X, CLASSES), {"input": X}, dtype="float32")
    assert made.signature.inputs[0].dtype == "float32"


@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(10, random_state=0),
        HistGradientBoostingClassifier(max_iter=10, min_samples_leaf=2),
        lightgbm.LGBMClassifier(n_estimators=10, min_child_samples=2, verbose=-1, n_jobs=1),
        xgboost.XGBClassifier(n_estimators=10, n_jobs=1),
    ],
    ids=lambda model: type(model).__name__,
)
def test_float32_rows_on_thresholds_take_the_same_branch(tmp_path, model):
    """Neighbouring float32 values: each threshold lies between two of them, and rounds up to the upper one."""
    steps = (np.float32(1) + np.arange(120, dtype=np.float32) * np.float32(2**-23)).astype(np.float64)
    rows = RNG.permuted(np.tile(steps[:, None], (1, 5)), axis=0)
    made = assert_same(tmp_path, model.fit(rows, RNG.integers(0, 2, len(rows))), {"input": rows})
    assert made.signature.inputs[0].dtype == "float32"


@pytest.mark.parametrize("opset", [13, 18, 21])
def test_opset_is_the_one_asked_for(tmp_path, opset):
    made = assert_same(tmp_path, LogisticRegression().fit(X, BINARY), {"input": X}, opset=opset)
    domains = [entry.domain for entry in onnx.load(tmp_path / "m.onnx").opset_import]
    assert made.facts["opsets"]["ai.onnx"] == opset
    assert len(domains) == len(set(domains))  # skl2onnx names some twice


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
@pytest.mark.parametrize(
    "final",
    [
        LogisticRegression(),
        RandomForestClassifier(9, random_state=0),
        lightgbm.LGBMClassifier(n_estimators=4, verbose=-1, n_jobs=1),
        xgboost.XGBClassifier(n_estimators=4, n_jobs=1),
    ],
    ids=lambda final: type(final).__name__,
)
def test_a_pipeline_on_a_data_frame(tmp_path, final, remainder):
    samples = columns(FRAME)
    made = assert_same(tmp_path, pipeline(final, remainder).fit(FRAME, BOUGHT), samples)
    found = {spec.name: (spec.dtype, spec.shape) for spec in made.signature.inputs}
    assert list(found) == list(FRAME)
    assert found["home city"] == ("string", ("batch", 1))
    assert found["age"] == ("int64", ("batch", 1))
    assert found["member"] == ("bool", ("batch", 1))
    unseen = {**samples, "home city": np.full((ROWS, 1), "Paris")}
    reference = runner.load(saved(tmp_path / "m.joblib", pipeline(final, remainder).fit(FRAME, BOUGHT))).run(unseen)
    assert onnx_answers(tmp_path / "m.onnx", unseen)["label"].tolist() == reference["label"].tolist()


def test_a_pipeline_on_a_data_frame_has_no_signature_of_its_own(tmp_path):
    source = saved(tmp_path / "m.joblib", pipeline(LogisticRegression()).fit(FRAME, BOUGHT))
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


def test_integer_and_boolean_columns_of_an_xgboost_wrapper(tmp_path):
    numbers = FRAME[["age", "income", "member"]]
    model = xgboost.XGBClassifier(n_estimators=4, n_jobs=1).fit(numbers, BOUGHT)
    assert_same(tmp_path, model, columns(numbers))


def test_text(tmp_path):
    texts = np.array(["the cat sat", "a dog's life!", "été à Łódź 42", "one two, three one"] * 10)
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [0, 1, 1, 0] * 10)
    made = assert_same(tmp_path, model, {"input": texts.reshape(-1, 1)})
    assert [str(spec) for spec in made.signature.inputs] == ["input: string[batch, 1]"]


def test_a_column_named_as_an_output_is_refused(tmp_path):
    frame = FRAME.rename(columns={"age": "label"})[["label", "income"]]
    model = LogisticRegression(max_iter=1000).fit(frame, BOUGHT)
    with pytest.raises(ConversionFailed, match="'label'"):
        convert(saved(tmp_path / "m.joblib", model), tmp_path / "m.onnx", samples=columns(frame))


def hist_with_categories():
    rows = np.c_[X[:, :2], CLASSES]
    return HistGradientBoostingClassifier(max_iter=3, categorical_features=[2]).fit(rows, BINARY)


def gaps():
    rows = X.copy()
    rows[::4, 0] = np.nan
    return RandomForestClassifier(5, random_state=0).fit(rows, CLASSES)


def forest_of_lightgbm():
    model = lightgbm.LGBMClassifier(
        boosting_type="rf", n_estimators=4, subsample=0.5, subsample_freq=1, verbose=-1, n_jobs=1
    )
    return make_pipeline(StandardScaler(), model).fit(X, BINARY)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (hist_with_categories, "categorical features"),
        (gaps, "missing values"),
        (forest_of_lightgbm, "boosting=rf"),
        (lambda: HistGradientBoostingRegressor(loss="poisson", max_iter=3).fit(X, VALUES**2), "poisson"),
        (lambda: TunedThresholdClassifierCV(LogisticRegression(), cv=2).fit(X, BINARY), "threshold"),
        (lambda: LinearDiscriminantAnalysis().fit(X, BINARY), "two classes"),
        (lambda: make_pipeline(StandardScaler(), NearestCentroid()).fit(X, BINARY), r"NearestCentroid \(at nearestc"),
        (lambda: RandomForestClassifier(3).fit(X, np.c_[BINARY, CLASSES]), "several labels"),
        (lambda: DBSCAN().fit(X), "DBSCAN"),
        (lambda: xgboost.XGBClassifier(n_estimators=3, booster="dart", n_jobs=1).fit(X, BINARY), "dart"),
        (lambda: make_pipeline(TfidfVectorizer(sublinear_tf=True)).fit(["a cat", "a dog"]), "sublinear_tf"),
    ],
)
def test_what_would_be_wrong_is_refused_by_name(tmp_path, make, named):
    with pytest.raises(ConversionFailed, match=named):
        convert(saved(tmp_path / "m.joblib", make()), tmp_path / "m.onnx", samples={})
    assert not (tmp_path / "m.onnx").exists()


def test_a_forest_without_missing_values_is_not_taken_for_one_with(tmp_path):
    for seed in range(5):
        model = RandomForestClassifier(20, random_state=seed, class_weight="balanced").fit(X, CLASSES)
        assert_same(tmp_path, model, {"input": X})


def test_mixed_columns_without_a_column_transformer_are_refused(tmp_path):
    frame = FRAME[["home city", "age"]]
    model = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(frame, BOUGHT)
    with pytest.raises(ConversionFailed, match="home city"):
        convert(saved(tmp_path / "m.joblib", model), tmp_path / "m.onnx", samples=columns(frame))


def test_a_matrix_cannot_be_asked_of_columns_of_strings(tmp_path):
    source = saved(tmp_path / "m.joblib", pipeline(LogisticRegression()).fit(FRAME, BOUGHT))
    with pytest.raises(UsageError, match="not numbers"):
        convert(source, tmp_path / "m.onnx", inputs="matrix", samples=columns(FRAME))
