"""CatBoost, configuration by configuration: the neutral model, and ONNX, answer as CatBoost itself.

Decisions must be equal; sums, which CatBoost adds up in double and moves by a bias at the end, within 1e-12.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlconvert.artifact import Artifact
from mlconvert.forests.boundary import boundary_rows
from mlconvert.forests.catboost import LINKS, read_catboost
from mlconvert.forests.evaluation import leaves_of, sums
from mlconvert.readers.catboost_files import load_catboost
from mlconvert.readers.classical_outputs import CATBOOST
from mlconvert.runners import catboost as runner

FEATURES = 5


def table(rows: int, seed: int, *, missing: float = 0.0, scale: float = 1.0) -> np.ndarray:
    """Four columns of normal numbers, and one of whole ones."""
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(rows, FEATURES)) * scale
    matrix[:, 4] = random.integers(-2, 3, rows)
    matrix[random.random(matrix.shape) < missing] = np.nan
    return matrix


PLAIN, GAPS = table(200, 1), table(200, 2, missing=0.15)


def values(matrix: np.ndarray) -> np.ndarray:
    x = np.nan_to_num(matrix)
    return x[:, 0] + x[:, 1] ** 2 - np.tanh(x[:, 2]) * x[:, 4]


def binary(matrix: np.ndarray) -> np.ndarray:
    return (values(matrix) > 0.7).astype(int)


def classes(matrix: np.ndarray) -> np.ndarray:
    return np.digitize(values(matrix), [0, 1])


def positive(matrix: np.ndarray) -> np.ndarray:
    return np.abs(values(matrix)) + 0.1


def share(matrix: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values(matrix)))


def bounded(matrix: np.ndarray) -> np.ndarray:
    return np.tanh(values(matrix))


def several(matrix: np.ndarray) -> np.ndarray:
    y = values(matrix)
    return np.stack([y, -(y**2), np.nan_to_num(matrix[:, 0])], axis=1)


def several_binary(matrix: np.ndarray) -> np.ndarray:
    y = several(matrix)
    return (y > np.median(y, axis=0)).astype(int)


def interval(matrix: np.ndarray) -> np.ndarray:
    return np.stack([positive(matrix), positive(matrix) * 1.5], axis=1)


def labelled(names: list[Any], target: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda matrix: np.array(names)[target(matrix)]


TARGETS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Cox": positive,
    "CrossEntropy": share,
    "Expectile:alpha=0.3": values,
    "Focal:focal_alpha=0.4;focal_gamma=2": binary,
    "GroupQuantile": values,
    "Huber:delta=1": values,
    "LambdaMart": binary,
    "LogCosh": values,
    "LogLinQuantile": positive,
    "Logloss": binary,
    "Lq:q=3": values,
    "MAE": values,
    "MAPE": values,
    "MultiClass": classes,
    "MultiClassOneVsAll": classes,
    "MultiCrossEntropy": lambda matrix: 1 / (1 + np.exp(-several(matrix))),
    "MultiLogloss": several_binary,
    "MultiQuantile:alpha=0.1,0.5,0.9": values,
    "MultiRMSE": several,
    "MultiRMSEWithMissingValues": several,
    "PairLogit": binary,
    "PairLogitPairwise": binary,
    "Poisson": positive,
    "Quantile:alpha=0.3": values,
    "QueryRMSE": values,
    "QuerySoftMax": binary,
    "RMSE": values,
    "RMSPE": positive,
    "StochasticFilter:sigma=1": binary,
    "StochasticRank:metric=DCG": binary,
    "SurvivalAft:dist=Normal;scale=1": interval,
    "Tweedie:variance_power=1.5": positive,
    "YetiRank": binary,
    "YetiRankPairwise": binary,
}
RANKING = ("Group", "Lambda", "Pair", "Query", "Stochastic", "Yeti")


@dataclass(frozen=True)
class Config:
    params: Mapping[str, Any]
    target: Callable[[np.ndarray], np.ndarray] = values
    data: np.ndarray = field(default_factory=lambda: GAPS)
    after: Callable[[Any], None] | None = None  # what is done to the trained model


LOGLOSS, CLASSES = {"loss_function": "Logloss"}, {"loss_function": "MultiClass"}
ONE_VS_ALL = {"loss_function": "MultiClassOneVsAll"}
LEAFWISE, LEVELWISE = {"grow_policy": "Lossguide", "max_leaves": 9}, {"grow_policy": "Depthwise"}
NONE: dict[str, Any] = {}

CONFIGS: dict[str, Config] = {
    **{f"{loss}, plain": Config({"loss_function": loss}, target, PLAIN) for loss, target in TARGETS.items()},
    **{
        f"{loss}, gaps": Config({"loss_function": loss, "nan_mode": "Max"}, target)
        for loss, target in TARGETS.items()
        if not loss.startswith(RANKING)
    },
    # missing values
    "missing below": Config({"nan_mode": "Min"}),
    "missing above": Config({"nan_mode": "Max"}),
    "missing forbidden": Config({"nan_mode": "Forbidden"}, data=PLAIN),
    "missing below, leafwise": Config({"nan_mode": "Min", **LEAFWISE}),
    "missing above, levelwise": Config({"nan_mode": "Max", **LEVELWISE}),
    "all missing but one column": Config(NONE, data=np.where(np.arange(FEATURES) == 1, PLAIN, np.nan)),
    # growth
    "leafwise": Config(LEAFWISE),
    "leafwise, depth 9": Config({**LEAFWISE, "depth": 9, "max_leaves": 31}, data=PLAIN),
    "leafwise binary": Config({**LEAFWISE, **LOGLOSS}, binary),
    "leafwise classes": Config({**LEAFWISE, **CLASSES}, classes),
    "leafwise one-vs-all": Config({**LEAFWISE, **ONE_VS_ALL}, classes),
    "leafwise targets": Config({**LEAFWISE, "loss_function": "MultiRMSE"}, several),
    "levelwise": Config(LEVELWISE),
    "levelwise binary": Config({**LEVELWISE, **LOGLOSS}, binary),
    "levelwise classes": Config({**LEVELWISE, **CLASSES}, classes),
    "levelwise, 30 a leaf": Config({**LEVELWISE, "min_data_in_leaf": 30, "depth": 5}),
    "depth 0": Config({"depth": 0}),
    "depth 0, classes": Config({**CLASSES, "depth": 0}, classes),
    "leafwise, one leaf": Config({**LEAFWISE, "min_data_in_leaf": 999}),
    "depth 1": Config({"depth": 1, "iterations": 12}),
    "depth 8": Config({"depth": 8}),
    "depth 10": Config({"depth": 10, "iterations": 2}),
    "depth 8 binary": Config({"depth": 8, **LOGLOSS}, binary),
    "one tree": Config({"iterations": 1}),
    "many trees": Config({"iterations": 90, "depth": 2}),
    "ordered": Config({"boosting_type": "Ordered"}),
    "shrunken": Config({"model_shrink_rate": 0.2, "boost_from_average": True}),
    "langevin": Config({"langevin": True, "random_seed": 3}),
    "constant target": Config({"allow_const_label": True, "bootstrap_type": "No"}, lambda matrix: np.ones(len(matrix))),
    "two borders": Config({"border_count": 2}),
    "more borders than a byte holds": Config({"border_count": 1000, "feature_border_type": "Uniform"}),
    # labels
    "words": Config(LOGLOSS, labelled(["no", "yes"], binary)),
    "words, classes": Config(CLASSES, labelled(["b", "a", "ä ö"], classes)),
    "digits as words": Config(CLASSES, labelled(["10", "9", "-1"], classes)),
    "integers": Config(LOGLOSS, labelled([-3, 7], binary)),
    "large integers": Config(CLASSES, labelled([-(2**40), 5, 2**40], classes)),
    "booleans": Config(LOGLOSS, labelled([False, True], binary)),
    "whole floats": Config(LOGLOSS, labelled([1.0, 2.0], binary)),
    "weighted classes": Config({**CLASSES, "class_weights": [1, 5, 2]}, classes),
    "classes in another order": Config({**CLASSES, "class_names": [2, 0, 1]}, classes),
    "binary in another order": Config({**LOGLOSS, "class_names": [1, 0]}, binary),
    "two classes": Config(CLASSES, binary),
    "border of the target": Config({**LOGLOSS, "target_border": 0.7}, values),
    "threshold 0.3": Config(LOGLOSS, binary, after=lambda model: model.set_probability_threshold(0.3)),
    "threshold 0.9": Config(LOGLOSS, binary, after=lambda model: model.set_probability_threshold(0.9)),
    "base of the average, binary": Config({**LOGLOSS, "boost_from_average": True}, binary),
    # scale and bias
    "scaled": Config(NONE, after=lambda model: model.set_scale_and_bias(0.37, 5.0)),
    "biased": Config(NONE, after=lambda model: model.set_scale_and_bias(1.0, -1e6)),
    # odd numbers
    "denormal": Config(NONE, data=table(200, 5, scale=1e-44)),
    "tiny": Config(NONE, data=table(200, 5, scale=1e-38, missing=0.1)),
    "huge": Config(NONE, bounded, table(200, 5, scale=1e30, missing=0.1)),
    "neighbouring doubles": Config(NONE, data=1 + table(200, 6) * 2e-7),
    "neighbouring floats": Config(NONE, data=1 + np.round(table(200, 7) * 8) * 2.0**-23),
    "whole numbers": Config(NONE, data=np.round(table(200, 8) * 2)),
    "constant columns": Config(NONE, data=table(200, 9) * np.array([1, 0, 0, 1, 0])),
}


def trained(config: Config) -> Any:
    import catboost

    loss = str(config.params.get("loss_function", "RMSE"))
    ranks = loss.startswith(RANKING)
    classifies = loss.partition(":")[0] in LINKS and loss not in ("Poisson", "Tweedie:variance_power=1.5")
    made = {True: catboost.CatBoostClassifier, False: catboost.CatBoost if ranks else catboost.CatBoostRegressor}
    settings = {"iterations": 4, "depth": 3, "verbose": 0, "allow_writing_files": False, "thread_count": 1}
    settings |= {"loss_function": loss, **config.params}
    model = made[classifies](**({"params": settings} if ranks else settings))
    group = np.arange(len(config.data)) // 10 if ranks else None
    model.fit(catboost.Pool(config.data, config.target(config.data), group_id=group))
    if config.after:
        config.after(model)
    return model


def test_the_matrix_is_as_wide_as_it_is_said_to_be():
    assert len(CONFIGS) >= 40
    assert {loss.partition(":")[0] for loss in TARGETS} == set(CATBOOST)
    assert set(LINKS) <= set(CATBOOST)


@pytest.mark.parametrize("name", CONFIGS)
def test_answers_are_those_of_catboost(assert_exact, tmp_path: Path, name: str):
    config = CONFIGS[name]
    path = tmp_path / "model.cbm"
    trained(config).save_model(str(path))
    session = runner.load(Artifact("catboost", str(path), (path,)))
    model = read_catboost(load_catboost(path), str(path))
    rows = np.random.default_rng(17).permuted(config.data, axis=0)
    rows[:3, 0], rows[3:6, 3] = (np.inf, -np.inf, 1e39), (np.nan, -0.0, -1e300)
    assert_exact(model, lambda matrix: session.run({"input": matrix}), random=rows, count=300)
    every = np.concatenate([rows, boundary_rows(model.forest, count=300, seed=2, around=rows)])
    wanted = session.more["raw_scores"]({"input": every})
    np.testing.assert_allclose(sums(model, every), wanted, rtol=1e-12, atol=1e-12)
    if not any(model.base):
        np.testing.assert_array_equal(sums(model, every), wanted)
    reached = model.forest.leaf_ids[leaves_of(model.forest, every)]
    np.testing.assert_array_equal(reached, session.more["leaf_indices"]({"input": every}))
