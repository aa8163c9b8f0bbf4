"""docs/explanation/silent-failures.md, row by row: every row is a model here, and says what is found here.

Each model is converted by the public API, gate included. Exact means: on the rows of the case, and for trees on
thousands of rows at their thresholds, no label differs and no number by more than the case's tolerance. Refused means
an error that names the thing, and nothing written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import mlconvert
from mlconvert import worker
from mlconvert.errors import ConversionFailed
from mlconvert.execution.jobs import Children, Done

PAGE = Path(__file__).resolve().parent.parent / "docs" / "explanation" / "silent-failures.md"
HEADING = ("case", "stock converters", "mlconvert", "test")
DOUBLE = 1e-12
FLOAT = 2e-6  # a few units in the last place of numbers near 1, where the source itself adds up in float32


@dataclass(frozen=True)
class Model:
    path: Path
    rows: Mapping[str, Any]  # what it is compared on, input name -> array
    options: Mapping[str, Any] = field(default_factory=dict)
    trust: bool = False


@dataclass(frozen=True)
class Case:
    make: Callable[[Path], Model]
    found: Literal["exact", "refused"] = "exact"
    tolerance: float = DOUBLE
    trees: bool = True  # rows at thresholds are made for it
    says: tuple[str, ...] = ()  # what a refusal names
    to: str = "onnx"


# --- models ---


def normal(rows: int, columns: int = 5, *, missing: float = 0.0, seed: int = 3) -> np.ndarray:
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(rows, columns))
    matrix[random.random(matrix.shape) < missing] = np.nan
    return matrix


TRAIN = normal(400)
TEST = normal(600, seed=4)
VALUE = TRAIN[:, 0] - 2 * TRAIN[:, 1] * (TRAIN[:, 2] > 0.3) + 0.1 * TRAIN[:, 3]
BINARY = (VALUE > 0).astype(int)
CLASSES = np.digitize(VALUE, [-0.6, 0.6])


def breast_cancer() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training data, and rows on the way from one patient to another: many lie where a classifier is undecided."""
    from sklearn.datasets import load_breast_cancer

    matrix, target = load_breast_cancer(return_X_y=True)
    random = np.random.default_rng(5)
    one, other = matrix[random.integers(0, len(matrix), (2, 1500))]
    return matrix, target, one + random.random((1500, 1)) * (other - one)


def lightgbm_file(
    folder: Path,
    parameters: Mapping[str, Any],
    target: np.ndarray = VALUE,
    train: np.ndarray = TRAIN,
    rows: np.ndarray = TEST,
    categories: list[int] | str = "auto",
) -> Model:
    import lightgbm

    settings = {"verbose": -1, "num_threads": 1, "seed": 1, "min_data_per_group": 5, "cat_smooth": 1, **parameters}
    booster = lightgbm.train(settings, lightgbm.Dataset(train, target, categorical_feature=categories), 15)
    booster.save_model(folder / "model.txt")
    return Model(folder / "model.txt", {"input": rows})


def lightgbm(target: np.ndarray = VALUE, **parameters: Any) -> Callable[[Path], Model]:
    return lambda folder: lightgbm_file(folder, parameters, target)


def lightgbm_zero_as_missing(folder: Path) -> Model:
    train, rows = TRAIN.round(), TEST.round()
    return lightgbm_file(folder, {"objective": "binary", "zero_as_missing": True}, BINARY, train, rows)


def near_zero(rows: int, seed: int) -> np.ndarray:
    values = [0, -0.0, 1e-36, -1e-36, 1e-35, -1e-35, 1.0000000180025095e-35, -1.0000000180025095e-35, 2e-35, -2e-35]
    return np.random.default_rng(seed).choice([*values, 5e-324, 1.0, -1.0], size=(rows, 5))


def lightgbm_near_zero(folder: Path) -> Model:
    train, rows = near_zero(1000, 0), near_zero(1000, 1)
    return lightgbm_file(folder, {"objective": "regression"}, (train[:, 0] > 0) + 0.5 * (train[:, 1] < 0), train, rows)


def lightgbm_nan(folder: Path) -> Model:
    return lightgbm_file(folder, {"objective": "binary"}, BINARY, rows=normal(600, missing=0.3, seed=6))


def lightgbm_categories(folder: Path) -> Model:
    random = np.random.default_rng(7)
    train = np.column_stack([random.integers(0, 12, 800), normal(800, 3)])
    rows = np.column_stack([random.choice([0, 1, 5, 11, 12, 99, -1, -0.5, 3.7, 1e9, np.nan], 800), normal(800, 3)])
    target = (train[:, 0] % 3 == 0) + 0.1 * train[:, 1]
    return lightgbm_file(folder, {"objective": "regression"}, target, train, rows, [0])


def lightgbm_float32(folder: Path) -> Model:
    made = lightgbm_file(folder, {"objective": "binary"}, BINARY)
    return Model(made.path, made.rows, {"dtype": "float32"})


def lightgbm_old_runtime(folder: Path) -> Model:
    made = lightgbm_file(folder, {"objective": "binary"}, BINARY)
    return Model(made.path, made.rows, {"target_runtime": "1.19"})


def xgboost(target: np.ndarray = BINARY, rows: np.ndarray = TEST, **parameters: Any) -> Callable[[Path], Model]:
    def make(folder: Path) -> Model:
        import xgboost

        settings = {"nthread": 1, "seed": 1, "max_depth": 4, **parameters}
        xgboost.train(settings, xgboost.DMatrix(TRAIN, target), 15).save_model(folder / "model.ubj")
        return Model(folder / "model.ubj", {"input": rows})

    return make


def xgboost_after_scaler(folder: Path) -> Model:
    """The rows lie around the cuts, where scaling in float32 ends up on the other side."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from xgboost import XGBClassifier

    grid = (TRAIN * 8).round() / 8
    target = (grid[:, 0] - grid[:, 1] > 0).astype(int)
    model = make_pipeline(StandardScaler(), XGBClassifier(n_estimators=15, max_depth=4, n_jobs=1)).fit(grid, target)
    cuts = model[-1].get_booster().trees_to_dataframe().dropna(subset=["Split"])
    features, splits = cuts["Feature"].str[1:].astype(int).to_numpy(), cuts["Split"].to_numpy()
    rows = np.tile(grid, (6, 1))
    which = np.arange(len(rows)) % len(features)
    value = splits[which] * model[0].scale_[features[which]] + model[0].mean_[features[which]]
    rows[np.arange(len(rows)), features[which]] = value * (1 + np.random.default_rng(2).normal(size=len(rows)) * 1e-8)
    return sklearn_file(folder, model, {"input": rows})


def sklearn_file(folder: Path, model: Any, rows: Mapping[str, Any], *, trust: bool = False) -> Model:
    import skops.io

    skops.io.dump(model, folder / "model.skops")
    return Model(folder / "model.skops", rows, trust=trust)


def estimator(
    build: Callable[[], Any], target: np.ndarray | None = BINARY, train: np.ndarray = TRAIN, rows: np.ndarray = TEST
) -> Callable[[Path], Model]:
    """A case of an estimator that is fitted on a matrix."""
    return lambda folder: sklearn_file(folder, build().fit(train, target), {"input": rows})


def tuned_threshold(folder: Path) -> Model:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import TunedThresholdClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    matrix, target, rows = breast_cancer()
    model = TunedThresholdClassifierCV(make_pipeline(StandardScaler(), LogisticRegression())).fit(matrix, target)
    assert abs(model.best_threshold_ - 0.5) > 0.01
    return sklearn_file(folder, model, {"input": rows})


def fixed_threshold() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import FixedThresholdClassifier

    return FixedThresholdClassifier(LogisticRegression(), threshold=0.8, response_method="predict_proba")


def isotonic() -> Any:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.linear_model import LogisticRegression

    return CalibratedClassifierCV(LogisticRegression(), method="isotonic", cv=3)


def on_edges(edges: Callable[[Any], list[np.ndarray]], build: Callable[[], Any]) -> Callable[[Path], Model]:
    """A case of a transformer, with rows on the edges that it learnt and one unit to each side."""

    def make(folder: Path) -> Model:
        model = build().fit(TRAIN)
        rows = TEST.copy()
        for column, learnt in enumerate(edges(model)):
            near = np.concatenate([learnt, np.nextafter(learnt, -np.inf), np.nextafter(learnt, np.inf)])
            rows[: len(near), column] = near[: len(rows)]
        return sklearn_file(folder, model, {"input": rows})

    return make


def kbins() -> Any:
    from sklearn.preprocessing import KBinsDiscretizer

    return KBinsDiscretizer(8, encode="ordinal", strategy="quantile", quantile_method="averaged_inverted_cdf")


def quantiles() -> Any:
    from sklearn.preprocessing import QuantileTransformer

    return QuantileTransformer(n_quantiles=50)


WEATHER = np.array(["clear", "cloudy", "rain", "snow", "föhn"])


def histogram_boosting_categories(folder: Path) -> Model:
    import pandas as pd
    from sklearn.ensemble import HistGradientBoostingClassifier

    random = np.random.default_rng(8)
    frame = pd.DataFrame({"weather": WEATHER[random.integers(0, 4, 500)], "warm": random.normal(size=500)})
    target = np.isin(frame["weather"], ["rain", "snow"]) ^ (frame["warm"] > 1)
    model = HistGradientBoostingClassifier(categorical_features=["weather"], max_iter=15, min_samples_leaf=5)
    rows = {"weather": WEATHER[random.integers(0, 4, (600, 1))], "warm": random.normal(size=(600, 1))}
    return sklearn_file(folder, model.fit(frame, target.astype(int)), rows)


def histogram_boosting_unseen(folder: Path) -> Model:
    """Codes as categories: known, missing, beyond those of the training, negative and broken ones."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    random = np.random.default_rng(9)
    train = np.column_stack([random.choice([1.0, 2, 4, 7, np.nan], 500), random.normal(size=500)])
    target = np.isin(train[:, 0], [2, 7]) + 0.5 * np.isnan(train[:, 0]) + 0.1 * train[:, 1]
    model = HistGradientBoostingRegressor(categorical_features=[0], max_iter=15, min_samples_leaf=5).fit(train, target)
    rows = np.column_stack([random.choice([1, 2, 3, 4, 7, 8, 200, np.nan], 600), random.normal(size=600)])
    return sklearn_file(folder, model, {"input": rows})


def histogram_boosting(loss: str) -> Callable[[], Any]:
    def build() -> Any:
        from sklearn.ensemble import HistGradientBoostingRegressor

        return HistGradientBoostingRegressor(loss=loss, max_iter=15)

    return build


def forest() -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(8, max_depth=6, random_state=0, n_jobs=1)


TEXTS = [
    "Größe 42, bitte!", "size_42 isn't 4.2", "où est ÇA ?", "παράδοση", "a b c", "x-y z_z été", "№ 7 ½ œuvre", "",
]  # fmt: skip


def text(**options: Any) -> Callable[[Path], Model]:
    def make(folder: Path) -> Model:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        random = np.random.default_rng(10)
        words = sorted({word for line in TEXTS for word in line.split()} | {"the", "der", "don't", "naïve", "ПРИВЕТ"})
        lines = np.array([" ".join(random.choice(words, random.integers(1, 12))) for _ in range(1000)])
        target = ["bitte!" in line or "où" in line for line in lines[:400]]
        model = make_pipeline(TfidfVectorizer(**options), LogisticRegression()).fit(lines[:400], np.array(target) + 0)
        return sklearn_file(folder, model, {"input": lines[400:, None]})

    return make


def hashing(folder: Path) -> Model:
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(HashingVectorizer(n_features=64), LogisticRegression()).fit(TEXTS, [0, 1] * 4)
    return sklearn_file(folder, model, {"input": np.array(TEXTS)[:, None]})


def stacking() -> Any:
    from sklearn.ensemble import StackingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC
    from sklearn.tree import DecisionTreeClassifier

    parts = [("svc", LinearSVC()), ("tree", DecisionTreeClassifier(max_depth=4, random_state=0))]
    return StackingClassifier(parts, LogisticRegression(), cv=3)


def voting() -> Any:
    from sklearn.ensemble import VotingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB

    return VotingClassifier([("l", LogisticRegression()), ("b", GaussianNB())], voting="soft", flatten_transform=True)


def gaussian_process() -> Any:
    from sklearn.gaussian_process import GaussianProcessClassifier

    return GaussianProcessClassifier(optimizer=None)


def before_regression(first: Callable[[], Any]) -> Callable[[], Any]:
    def build() -> Any:
        from sklearn.linear_model import LinearRegression
        from sklearn.pipeline import make_pipeline

        return make_pipeline(first(), LinearRegression())

    return build


def splines() -> Any:
    from sklearn.preprocessing import SplineTransformer

    return SplineTransformer(n_knots=5)


def any_function() -> Any:
    from scipy.special import j0
    from sklearn.preprocessing import FunctionTransformer

    return FunctionTransformer(j0)


def imputed_in_turn() -> Any:
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - the import is what enables it
    from sklearn.impute import IterativeImputer

    return IterativeImputer(max_iter=3, tol=1e9, random_state=0)


def with_indicator() -> Any:
    from sklearn.impute import SimpleImputer

    return SimpleImputer(add_indicator=True)


def discriminant() -> Any:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    return LinearDiscriminantAnalysis()


def ordinal(folder: Path) -> Model:
    from sklearn.preprocessing import OrdinalEncoder

    model = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    train, rows = normal(400, missing=0.1).round(), (normal(600, missing=0.1, seed=11) * 2).round()
    return sklearn_file(folder, model.fit(train), {"input": rows})


def catboost_categories(folder: Path) -> Model:
    import catboost
    import pandas as pd

    frame = pd.DataFrame({"weather": WEATHER[np.arange(400) % 5], "warm": TRAIN[:, 0]})
    model = catboost.CatBoostClassifier(
        iterations=5, depth=3, thread_count=1, verbose=False, allow_writing_files=False, cat_features=["weather"]
    )
    model.fit(frame, BINARY).save_model(str(folder / "model.cbm"))
    return Model(folder / "model.cbm", {"input": TEST[:, :2]})


MISSING = normal(400, missing=0.2, seed=12)

CASES: Mapping[str, Case] = {
    # LightGBM
    "lightgbm-thresholds": Case(lightgbm(BINARY, objective="binary")),
    "lightgbm-rf": Case(lightgbm(BINARY, objective="binary", boosting="rf", bagging_freq=1, bagging_fraction=0.7)),
    "lightgbm-zero-as-missing": Case(lightgbm_zero_as_missing),
    "lightgbm-linear-tree": Case(lightgbm(objective="regression", linear_tree=True)),
    "lightgbm-near-zero": Case(lightgbm_near_zero),
    "lightgbm-nan": Case(lightgbm_nan),
    "lightgbm-categories": Case(lightgbm_categories),
    "lightgbm-sigmoid": Case(lightgbm(BINARY, objective="binary", sigmoid=2.0)),
    "lightgbm-multiclassova": Case(lightgbm(CLASSES, objective="multiclassova", num_class=3)),
    "lightgbm-reg-sqrt": Case(lightgbm(objective="regression", reg_sqrt=True)),
    "lightgbm-mape": Case(lightgbm(objective="mape")),
    "lightgbm-fair": Case(lightgbm(objective="fair")),
    "lightgbm-cross-entropy": Case(lightgbm(BINARY, objective="cross_entropy")),
    "lightgbm-float32": Case(lightgbm_float32, tolerance=FLOAT),
    "lightgbm-old-runtime": Case(lightgbm_old_runtime),
    "treelite-near-zero": Case(lightgbm_near_zero, to="treelite"),
    "treelite-zero-as-missing": Case(lightgbm_zero_as_missing, "refused", says=("zero_as_missing",), to="treelite"),
    # XGBoost
    "xgboost-thresholds": Case(xgboost(objective="binary:logistic"), tolerance=FLOAT),
    "xgboost-missing": Case(xgboost(rows=normal(600, missing=0.3, seed=13)), tolerance=FLOAT),
    "xgboost-reg-logistic": Case(xgboost(objective="reg:logistic"), tolerance=FLOAT),
    "xgboost-dart": Case(xgboost(booster="dart", rate_drop=0.3), tolerance=FLOAT),
    "xgboost-after-scaler": Case(xgboost_after_scaler, tolerance=FLOAT),
    # CatBoost
    "catboost-categories": Case(catboost_categories, "refused", says=("categorical",)),
    # scikit-learn: trees
    "forest-thresholds": Case(estimator(forest)),
    "forest-missing": Case(estimator(forest, train=MISSING, rows=normal(600, missing=0.3, seed=14))),
    "histogram-categories": Case(histogram_boosting_categories),
    "histogram-unseen": Case(histogram_boosting_unseen),
    "histogram-poisson": Case(estimator(histogram_boosting("poisson"), np.abs(VALUE))),
    "histogram-gamma": Case(estimator(histogram_boosting("gamma"), np.abs(VALUE) + 0.1)),
    # scikit-learn: the rest
    "text-default-pattern": Case(text(), trees=False),
    "text-final-sigma": Case(text(vocabulary=["λόγος", "größe"]), "refused", says=("TfidfVectorizer", "λόγος")),
    "text-sublinear": Case(text(sublinear_tf=True), trees=False),
    "tuned-threshold": Case(tuned_threshold, trees=False),
    "fixed-threshold": Case(estimator(fixed_threshold), trees=False),
    "isotonic": Case(estimator(isotonic), trees=False),
    "kbins": Case(on_edges(lambda model: list(model.bin_edges_), kbins), trees=False),
    "quantiles": Case(on_edges(lambda model: list(model.quantiles_.T), quantiles), trees=False),
    "discriminant-two-classes": Case(estimator(discriminant), trees=False),
    "indicator": Case(estimator(with_indicator, None, MISSING, normal(600, missing=0.3, seed=15)), trees=False),
    "ordinal-unknown": Case(ordinal, trees=False),
    "stacking-linear-svc": Case(estimator(stacking)),
    "voting-flattened": Case(estimator(voting), trees=False),
    "gaussian-process-classes": Case(
        estimator(gaussian_process, CLASSES), "refused", says=("GaussianProcessClassifier",)
    ),
    "splines": Case(estimator(before_regression(splines), VALUE), trees=False),
    "hashing": Case(hashing, "refused", says=("HashingVectorizer",)),
    "function": Case(
        estimator(before_regression(any_function), VALUE),
        "refused",
        says=("FunctionTransformer", "j0"),
    ),
    "iterative-imputer": Case(
        estimator(before_regression(imputed_in_turn), VALUE, MISSING, normal(600, missing=0.3, seed=16)), trees=False
    ),
}
EXACT = [name for name, case in CASES.items() if case.found == "exact"]
REFUSED = [name for name, case in CASES.items() if case.found == "refused"]


# --- what mlconvert does ---


@pytest.fixture
def convert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Case], dict[str, Any]]:
    """`mlconvert.convert` of a case; its jobs run in this process, as a child for each takes seconds."""

    def run(self: Children, step: str, request: Mapping[str, Any], folder: Path, *_: object) -> Done:
        (folder / "out").mkdir(parents=True)
        (folder / "log.txt").touch()
        return Done(worker.JOBS[request["job"]](json.loads(json.dumps(request)), folder / "out"), folder, 0, 0)

    monkeypatch.setattr(Children, "run", run)
    monkeypatch.setenv("MLCONVERT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "models").mkdir()

    def convert(case: Case) -> dict[str, Any]:
        model = case.make(tmp_path / "models")
        np.savez(tmp_path / "rows.npz", **model.rows)
        return mlconvert.convert(
            model.path,
            to=case.to,
            output=tmp_path / "made",
            samples=tmp_path / "rows.npz",
            options=model.options,
            rtol=case.tolerance,
            atol=case.tolerance,
            trust=model.trust,
        )

    return convert


@pytest.mark.parametrize("name", EXACT)
def test_exact(name, convert, tmp_path):
    report = convert(CASES[name])
    (target,) = report["targets"]
    parity = target["steps"][-1]["parity"]
    assert parity["ok"]
    assert parity["samples"] - parity["boundary_samples"] >= 500
    assert (parity["boundary_samples"] >= 500) == CASES[name].trees
    for output in parity["outputs"]:
        assert output["mismatched"] == 0
        assert not output["label_flips"]
    assert list((tmp_path / "made").iterdir())


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, convert, tmp_path):
    with pytest.raises(ConversionFailed) as caught:
        convert(CASES[name])
    for word in CASES[name].says:
        assert word in caught.value.message
    assert "model." in (caught.value.where or "")
    assert not (tmp_path / "made").exists()
    assert [path for path in tmp_path.rglob("*") if path.suffix in (".onnx", ".tl")] == []


# --- what the page says ---


def rows_of_the_page() -> list[list[str]]:
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in PAGE.read_text().splitlines()
            if line.startswith("|")]  # fmt: skip
    return [row for row in rows if len(row) == len(HEADING) and not set(row[0]) <= set("- :")]


def test_the_page_has_a_row_for_every_test_and_the_reverse():
    tables = rows_of_the_page()
    rows = [row for row in tables if tuple(row) != HEADING]
    assert len(rows) < len(tables), "the headings are others"
    assert sorted(row[3].strip("`") for row in rows) == sorted(CASES)


@pytest.mark.parametrize("name", CASES)
def test_the_page_says_what_was_found(name):
    (row,) = [row for row in rows_of_the_page() if row[3].strip("`") == name]
    assert row[2].split()[0].strip(",;:") == CASES[name].found
    assert row[1], "what the stock converters do is not said"
