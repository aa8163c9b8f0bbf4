"""XGBoost, configuration by configuration: the neutral model, and ONNX, answer as XGBoost itself.

Decisions and sums must be equal to the last bit; what is made of the sums within a few units in the last place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlconvert.artifact import Artifact
from mlconvert.forests.boundary import boundary_rows
from mlconvert.forests.evaluation import leaves_of, sums
from mlconvert.forests.xgboost import LINKS, read_xgboost
from mlconvert.readers.classical_outputs import XGBOOST
from mlconvert.readers.xgboost_files import load_xgboost
from mlconvert.runners import xgboost as runner

FEATURES = 5
CATEGORIES = 9


def table(rows: int, seed: int, *, missing: float = 0.0, scale: float = 1.0) -> np.ndarray:
    """Three columns of normal numbers, and two of whole ones that can be categories."""
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(rows, FEATURES)) * scale
    matrix[:, 3:] = random.integers(0, CATEGORIES, (rows, 2))
    matrix[random.random(matrix.shape) < missing] = np.nan
    return matrix


PLAIN, GAPS = table(220, 1), table(220, 2, missing=0.15)
ODD_CATEGORIES = [-0.0, -0.5, -1e-40, -1, 0.5, 0.999999999, 7.9, 8.5, 40, 1e6, 16777215, 16777216, 1e30, -1e30, np.nan]


def values(matrix: np.ndarray) -> np.ndarray:
    x = np.nan_to_num(matrix)
    return x[:, 0] + x[:, 1] ** 2 - (x[:, 3] % 3) + (x[:, 4] % 2) * x[:, 2]


def binary(matrix: np.ndarray) -> np.ndarray:
    return (values(matrix) > 0.3).astype(int)


def classes(matrix: np.ndarray) -> np.ndarray:
    return np.digitize(values(matrix), [-1, 0.5])


def positive(matrix: np.ndarray) -> np.ndarray:
    return np.abs(values(matrix)) + 0.1


def share(matrix: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values(matrix)))


def several(matrix: np.ndarray) -> np.ndarray:
    y = values(matrix)
    return np.stack([y, -(y**2), np.nan_to_num(matrix[:, 0])], axis=1)


def several_binary(matrix: np.ndarray) -> np.ndarray:
    y = several(matrix)
    return (y > np.median(y, axis=0)).astype(int)


def bounded(matrix: np.ndarray) -> np.ndarray:
    return np.tanh(values(matrix))


@dataclass(frozen=True)
class Config:
    params: Mapping[str, Any]
    target: Any = values
    data: np.ndarray = field(default_factory=lambda: GAPS)
    categorical: bool = False
    rounds: int = 5
    suffix: str = ".ubj"


LABELS = {
    "binary:hinge": binary,
    "binary:logistic": binary,
    "binary:logitraw": binary,
    "count:poisson": positive,
    "multi:softmax": classes,
    "multi:softprob": classes,
    "rank:map": binary,
    "rank:ndcg": classes,
    "rank:pairwise": classes,
    "reg:absoluteerror": values,
    "reg:gamma": positive,
    "reg:logistic": share,
    "reg:pseudohubererror": values,
    "reg:quantileerror": values,
    "reg:squarederror": values,
    "reg:squaredlogerror": positive,
    "reg:tweedie": positive,
    "survival:aft": positive,
    "survival:cox": positive,
}
NEEDS: dict[str, dict[str, Any]] = {
    "multi:softmax": {"num_class": 3},
    "multi:softprob": {"num_class": 3},
    "reg:quantileerror": {"quantile_alpha": 0.4},
}
NONE: dict[str, Any] = {}
DART = {"booster": "dart", "rate_drop": 0.4, "one_drop": 1, "seed": 3}
SOFT = {"objective": "multi:softprob", "num_class": 3}
LOGISTIC = {"objective": "binary:logistic"}
ONE_HOT, SETS = {"max_cat_to_onehot": 100}, {"max_cat_to_onehot": 1}


def per_objective() -> dict[str, Config]:
    configs = {}
    for objective, target in LABELS.items():
        params = {"objective": objective, **NEEDS.get(objective, {})}
        configs[f"{objective} plain"] = Config(params, target, PLAIN, suffix=".json")
        configs[f"{objective} gaps and categories"] = Config({**params, **SETS}, target, GAPS, categorical=True)
    return configs


CONFIGS: dict[str, Config] = {
    **per_objective(),
    # boosters
    "dart": Config(DART, rounds=5),
    "dart normalized by forest": Config({**DART, "normalize_type": "forest"}, rounds=5),
    "dart binary": Config({**DART, **LOGISTIC}, binary, rounds=5),
    "dart classes": Config({**DART, **SOFT}, classes, rounds=3),
    "dart categories": Config({**DART, **SETS}, categorical=True, rounds=5),
    "dart json": Config({**DART, "rate_drop": 0.9}, rounds=6, suffix=".json"),
    "dart parallel": Config({**DART, "num_parallel_tree": 2, "subsample": 0.6}, rounds=4),
    "random forest": Config({"num_parallel_tree": 6, "subsample": 0.5, "eta": 1}, rounds=1),
    "random forest binary": Config({"num_parallel_tree": 5, "subsample": 0.5, "eta": 1, **LOGISTIC}, binary, rounds=1),
    "parallel classes": Config({"num_parallel_tree": 3, "subsample": 0.5, **SOFT}, classes, rounds=2),
    "parallel categories": Config({"num_parallel_tree": 3, "subsample": 0.5, **SETS}, categorical=True),
    # growth
    "exact": Config({"tree_method": "exact"}),
    "exact pruned": Config({"tree_method": "exact", "gamma": 3}),
    "exact plain": Config({"tree_method": "exact"}, data=PLAIN),
    "approx": Config({"tree_method": "approx"}),
    "approx categories": Config({"tree_method": "approx", **SETS}, categorical=True),
    "lossguide": Config({"grow_policy": "lossguide", "max_leaves": 7, "max_depth": 0}),
    "lossguide binary": Config({"grow_policy": "lossguide", "max_leaves": 9, "max_depth": 0, **LOGISTIC}, binary),
    "lossguide categories": Config({"grow_policy": "lossguide", "max_leaves": 6, **SETS}, categorical=True),
    "depth 1": Config({"max_depth": 1}, rounds=12),
    "depth 1 categories": Config({"max_depth": 1, **SETS}, categorical=True, rounds=12),
    "depth 8": Config({"max_depth": 8, "min_child_weight": 0}, rounds=3),
    "depth 8 binary": Config({"max_depth": 8, "min_child_weight": 0, **LOGISTIC}, binary, rounds=3),
    "depth 8 categories": Config({"max_depth": 8, "min_child_weight": 0, **SETS}, categorical=True, rounds=3),
    "no splits": Config({"gamma": 1e9}),
    "no splits, classes": Config({"gamma": 1e9, **SOFT}, classes),
    "one round": Config(NONE, rounds=1),
    "many rounds": Config({"max_depth": 2}, rounds=60),
    "two bins": Config({"max_bin": 2}),
    "subsample and columns": Config({"subsample": 0.5, "colsample_bynode": 0.5, "seed": 4}),
    "monotone": Config({"monotone_constraints": "(1,-1,0,0,0)"}),
    "large steps": Config({"eta": 1, "lambda": 0, "min_child_weight": 0}),
    "alpha": Config({"alpha": 2, "max_delta_step": 0.5}),
    # categories
    "one-hot": Config(ONE_HOT, categorical=True),
    "one-hot binary": Config({**ONE_HOT, **LOGISTIC}, binary, categorical=True),
    "one-hot plain": Config(ONE_HOT, data=PLAIN, categorical=True),
    "sets": Config(SETS, categorical=True),
    "sets plain": Config(SETS, data=PLAIN, categorical=True),
    "sets json": Config(SETS, categorical=True, suffix=".json"),
    "sets classes": Config({**SETS, **SOFT}, classes, categorical=True),
    "small sets": Config({**SETS, "max_cat_threshold": 2}, categorical=True),
    # base scores
    "base 0": Config({"base_score": 0}),
    "base 1e6": Config({"base_score": 1e6}),
    "base 0.1, binary": Config({"base_score": 0.1, **LOGISTIC}, binary),
    "base 0.999999, binary": Config({"base_score": 0.999999, **LOGISTIC}, binary),
    "base 0.3, raw": Config({"base_score": 0.3, "objective": "binary:logitraw"}, binary),
    "base 3, poisson": Config({"base_score": 3, "objective": "count:poisson"}, positive),
    "base 3, gamma": Config({"base_score": 3, "objective": "reg:gamma"}, positive),
    "base 2, aft": Config({"base_score": 2, "objective": "survival:aft"}, positive),
    "base 0.7, classes": Config({"base_score": 0.7, **SOFT}, classes),
    "unbalanced": Config({"scale_pos_weight": 9, **LOGISTIC}, binary),
    # several outputs
    "targets": Config(NONE, several),
    "targets binary": Config(LOGISTIC, several_binary),
    "targets hinge": Config({"objective": "binary:hinge"}, several_binary),
    "targets categories": Config(SETS, several, categorical=True),
    "targets parallel": Config({"num_parallel_tree": 2, "subsample": 0.6}, several),
    "vector leaves": Config({"multi_strategy": "multi_output_tree"}, several),
    "vector leaves plain": Config({"multi_strategy": "multi_output_tree"}, several, PLAIN, suffix=".json"),
    "vector leaves, depth 7": Config({"multi_strategy": "multi_output_tree", "max_depth": 7}, several),
    "vector leaves, no splits": Config({"multi_strategy": "multi_output_tree", "gamma": 1e9}, several),
    "vector leaves, binary": Config({"multi_strategy": "multi_output_tree", **LOGISTIC}, several_binary),
    "vector leaves, classes": Config({"multi_strategy": "multi_output_tree", **SOFT}, classes),
    "quantiles": Config({"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.5, 0.9]}),
    "one class": Config({"objective": "multi:softprob", "num_class": 1}, lambda matrix: np.zeros(len(matrix))),
    "two classes": Config({"objective": "multi:softprob", "num_class": 2}, binary),
    "seven classes": Config({"objective": "multi:softprob", "num_class": 7}, classes, rounds=3),
    "classes without examples": Config({"objective": "multi:softmax", "num_class": 5}, classes),
    # odd numbers
    "denormal": Config(NONE, data=table(220, 5, scale=1e-44)),
    "tiny": Config(NONE, data=table(220, 5, scale=1e-38, missing=0.1)),
    "huge": Config(NONE, bounded, table(220, 5, scale=1e30, missing=0.1)),
    "largest": Config(NONE, bounded, np.clip(table(220, 5, scale=3e38), -3.4e38, 3.4e38)),
    "large targets": Config(NONE, lambda matrix: values(matrix) * 1e30),
    "small targets": Config(NONE, lambda matrix: values(matrix) * 1e-30),
    "neighbouring doubles": Config(NONE, data=1 + table(220, 6) * 1e-9),
    "neighbouring floats": Config(NONE, data=1 + np.round(table(220, 7) * 8) * 2.0**-23),
    "whole numbers": Config(NONE, data=np.round(table(220, 8) * 2)),
    "constant columns": Config(NONE, data=table(220, 9) * np.array([1, 0, 0, 1, 0])),
    "all missing": Config(NONE, lambda matrix: np.arange(len(matrix)), np.full((60, FEATURES), np.nan)),
}


def trained(config: Config) -> Any:
    import xgboost

    types = ["q", "q", "q", "c", "c"] if config.categorical else None
    target, objective = config.target(config.data), str(config.params.get("objective", ""))
    rows = xgboost.DMatrix(config.data, feature_types=types, enable_categorical=True)
    if objective == "survival:aft":
        rows.set_float_info("label_lower_bound", target)
        rows.set_float_info("label_upper_bound", target * 1.5)
    else:
        rows.set_label(target)
    if objective.startswith("rank:"):
        rows.set_group([20] * (len(target) // 20))
    params = {"max_depth": 3, "nthread": 1, "verbosity": 0, **config.params}
    return xgboost.train(params, rows, config.rounds)


def rows_for(config: Config) -> np.ndarray:
    """Rows like those of the training, in another order in each column; with categories that were not in it."""
    random = np.random.default_rng(17)
    rows = random.permuted(config.data, axis=0)
    if config.categorical:
        rows[: len(ODD_CATEGORIES), 3] = ODD_CATEGORIES
        rows[-len(ODD_CATEGORIES) :, 4] = ODD_CATEGORIES
    return rows


def test_the_matrix_is_as_wide_as_it_is_said_to_be():
    assert len(CONFIGS) >= 90
    assert set(LABELS) == set(XGBOOST) == set(LINKS)


@pytest.mark.parametrize("name", CONFIGS)
def test_answers_are_those_of_xgboost(assert_exact, tmp_path: Path, name: str):
    config = CONFIGS[name]
    path = tmp_path / f"model{config.suffix}"
    trained(config).save_model(path)
    session = runner.load(Artifact("xgboost", str(path), (path,)))
    model = read_xgboost(load_xgboost(path)[0], str(path))
    rows = rows_for(config)
    assert_exact(model, lambda matrix: session.run({"input": matrix}), random=rows, count=300)
    every = np.concatenate([rows, boundary_rows(model.forest, count=300, seed=2, around=rows)])
    margins = session.more["raw_scores"]({"input": every})
    assert margins.dtype == np.float32
    np.testing.assert_array_equal(sums(model, every), margins)
    reached = model.forest.leaf_ids[leaves_of(model.forest, every)]
    np.testing.assert_array_equal(reached, session.more["leaf_indices"]({"input": every}))
