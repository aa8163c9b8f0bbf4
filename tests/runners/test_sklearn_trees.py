"""What a scikit-learn source gives on demand: raw scores and leaves, as the written trees give them."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingRegressor,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from mlconvert.artifact import Artifact
from mlconvert.forests.estimators import tree_model_of
from mlconvert.forests.onnx_file import write_trees
from mlconvert.runners import sklearn as runner

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(200, 4))
TWO = (X[:, 0] + X[:, 1] > 0).astype(int)
THREE = TWO + (X[:, 2] > 0.5)
NUMBERS = np.exp(X[:, 0]) + 1


def lightgbm(target: np.ndarray) -> object:
    import lightgbm

    kind = lightgbm.LGBMRegressor if target.dtype.kind == "f" else lightgbm.LGBMClassifier
    return kind(n_estimators=4, num_leaves=5, min_child_samples=5, verbose=-1, n_jobs=1).fit(X, target)


def xgboost(target: np.ndarray) -> object:
    import xgboost

    kind = xgboost.XGBRegressor if target.dtype.kind == "f" else xgboost.XGBClassifier
    return kind(n_estimators=4, max_depth=3, n_jobs=1).fit(X, target)


def catboost(target: np.ndarray) -> object:
    import catboost

    kind = catboost.CatBoostRegressor if target.dtype.kind == "f" else catboost.CatBoostClassifier
    return kind(iterations=4, depth=3, verbose=False, allow_writing_files=False, thread_count=1).fit(X, target)


MODELS = {
    "tree": lambda: DecisionTreeClassifier(max_depth=4).fit(X, THREE),
    "regression tree": lambda: DecisionTreeRegressor(max_depth=4).fit(X, NUMBERS),
    "random forest": lambda: RandomForestClassifier(4).fit(X, THREE),
    "extra trees": lambda: ExtraTreesRegressor(4, max_depth=5).fit(X, NUMBERS),
    "boosting, two classes": lambda: GradientBoostingClassifier(n_estimators=4).fit(X, TWO),
    "boosting, three classes": lambda: GradientBoostingClassifier(n_estimators=4).fit(X, THREE),
    "boosting, numbers": lambda: GradientBoostingRegressor(n_estimators=4).fit(X, NUMBERS),
    "histogram, two classes": lambda: HistGradientBoostingClassifier(max_iter=4).fit(X, TWO),
    "histogram, three classes": lambda: HistGradientBoostingClassifier(max_iter=4).fit(X, THREE),
    "histogram, poisson": lambda: HistGradientBoostingRegressor(max_iter=4, loss="poisson").fit(X, NUMBERS),
    "adaboost": lambda: AdaBoostClassifier(DecisionTreeClassifier(max_depth=2), n_estimators=4).fit(X, THREE),
    "bagging": lambda: BaggingRegressor(DecisionTreeRegressor(max_depth=3), 4, max_features=3).fit(X, NUMBERS),
    "isolation": lambda: IsolationForest(n_estimators=5, max_features=3, random_state=0).fit(X),
    "lightgbm, two classes": lambda: lightgbm(TWO),
    "lightgbm, three classes": lambda: lightgbm(THREE),
    "lightgbm, numbers": lambda: lightgbm(NUMBERS),
    "xgboost, two classes": lambda: xgboost(TWO),
    "xgboost, three classes": lambda: xgboost(THREE),
    "xgboost, numbers": lambda: xgboost(NUMBERS),
    "catboost, two classes": lambda: catboost(TWO),
    "catboost, three classes": lambda: catboost(THREE),
    "catboost, numbers": lambda: catboost(NUMBERS),
}


def saved(model: object, folder: Path) -> Artifact:
    path = folder / "model.pkl"
    path.write_bytes(pickle.dumps(model))
    return Artifact("sklearn", str(path), (path,), trusted=True)


@pytest.mark.parametrize("name", MODELS)
def test_raw_scores_and_leaves_are_those_of_the_written_trees(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    source = saved(model, tmp_path)
    rows = runner.boundary_samples(source, {"input": X}, count=300, seed=0)
    session = runner.load(source)
    written = write_trees(tree_model_of(model, "here"), tmp_path / "made.onnx", raw_scores=True, leaf_indices=True)
    made = onnxruntime.InferenceSession(str(written.path), providers=["CPUExecutionProvider"])
    scores, leaves = made.run(["raw_scores", "leaf_indices"], rows)
    wanted = session.more["raw_scores"](rows)
    assert scores.shape == wanted.shape
    np.testing.assert_allclose(scores, wanted, **({"atol": 1e-12} if scores.dtype == np.float64 else {"rtol": 1e-5}))
    reached = session.more["leaf_indices"](rows)
    assert reached.dtype == np.int64
    np.testing.assert_array_equal(leaves, reached)


@pytest.mark.parametrize("model", [LogisticRegression(), make_pipeline(StandardScaler(), RandomForestClassifier(2))])
def test_others_give_neither(model: object, tmp_path: Path) -> None:
    source = saved(model.fit(X, TWO), tmp_path)
    assert not {"raw_scores", "leaf_indices"} & runner.load(source).more.keys()


def test_boundary_samples_of_a_pipeline_and_of_a_model_without_trees(tmp_path: Path) -> None:
    trees = make_pipeline(StandardScaler(), RandomForestClassifier(2)).fit(X, TWO)
    rows = runner.boundary_samples(saved(trees, tmp_path), {"input": X}, count=50, seed=0)
    assert rows["input"].shape == (50, 4)
    linear = saved(LogisticRegression().fit(X, TWO), tmp_path)
    assert runner.boundary_samples(linear, {"input": X}, count=50, seed=0) is None
