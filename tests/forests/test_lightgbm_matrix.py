"""LightGBM models, small ones of every kind, against their TreeModels and the ONNX files of these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mlconvert.forests.lightgbm import read_lightgbm
from mlconvert.forests.model import ZERO
from mlconvert.readers import classical_outputs

ROWS, FEATURES, CATEGORICAL = 240, 5, (3, 4)
SETTINGS = {
    "verbose": -1, "num_threads": 1, "seed": 3, "deterministic": True, "min_data_in_leaf": 4, "num_leaves": 8,
    "min_data_per_group": 2, "cat_smooth": 1.0, "max_bin": 63, "learning_rate": 0.3, "min_sum_hessian_in_leaf": 1e-6,
}  # fmt: skip


SCALES = {
    "tiny": [1e-35, 3e-36, 1e-34, 1e-38, 5e-324],  # thresholds around the zeros that LightGBM makes of them, and within
    "huge": [1e300, 1e290, 1e30, 1e160, 1.0],
    "apart": [1e-30, 1e-5, 1.0, 1e10, 1e200],
}
ZEROS = {"zeros": 0.4, "zeros missing": 0.3}  # the share of them
HOLES = {"missing": 0.2, "missing rare": 0.02, "zeros missing": 0.2, "categories missing": 0.2}


def data(kind: str, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(ROWS, FEATURES)) * SCALES.get(kind, 1.0)
    match kind:
        case "float32":
            rows = rows.astype(np.float32).astype(np.float64)
        case "quarters":  # most values are thresholds of others
            rows = np.round(rows * 4) / 4
        case "positive":
            rows = np.abs(rows) + 0.5
        case "integers":
            rows = random.integers(-3, 6, rows.shape).astype(np.float64)
        case "categories" | "categories missing":
            rows[:, 3] = random.integers(0, 7, ROWS)
            rows[:, 4] = random.choice([0, 1, 2, 31, 32, 64, 100, 1000], ROWS)
    rows[random.random(rows.shape) < ZEROS.get(kind, 0)] = 0.0
    rows[random.random(rows.shape) < HOLES.get(kind, 0)] = np.nan
    return rows


def target(kind: str, rows: np.ndarray) -> np.ndarray:
    known = np.nan_to_num(rows, nan=0.7)
    known = known / (np.abs(known).max(axis=0) / 3)
    noise = 0.1 * np.random.default_rng(1).normal(size=len(rows))
    value = known[:, 0] + known[:, 1] * known[:, 2] + np.sin(3 * known[:, 3]) + np.cos(5 * known[:, 4]) + noise
    match kind:
        case "binary":
            return (value > np.median(value)).astype(np.float64)
        case "rare":
            return (value > np.quantile(value, 0.93)).astype(np.float64)
        case "three":
            return np.searchsorted(np.quantile(value, [0.4, 0.75]), value).astype(np.float64)
        case "five":
            return np.searchsorted(np.quantile(value, [0.2, 0.4, 0.6, 0.8]), value).astype(np.float64)
        case "share":
            return 1 / (1 + np.exp(-value))
        case "positive":
            return np.exp(value / 3)
        case "count":
            return np.floor(np.exp(value / 3))
        case "grade":
            return np.clip(np.round(value), 0, 4)
    return value


def trained(
    rows: np.ndarray, labels: np.ndarray, *, trees: int = 4, init: bytes | None = None, **settings: Any
) -> bytes:
    """The text of a model."""
    import lightgbm

    categorical = settings.pop("categorical", [])
    group = [12] * (len(rows) // 12) if settings["objective"] in ("lambdarank", "rank_xendcg") else None
    if settings.get("linear_tree"):
        settings["deterministic"] = False
    known = {**SETTINGS, **settings}
    stated = {key: known[key] for key in ("linear_tree", "zero_as_missing", "use_missing", "max_bin") if key in known}
    sets = lightgbm.Dataset(
        rows, labels, group=group, categorical_feature=list(categorical), params={"verbose": -1, **stated}
    )
    before = lightgbm.Booster(model_str=init.decode()) if init else None
    return lightgbm.train(known, sets, trees, init_model=before).model_to_string().encode()


def reference(text: bytes) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    import lightgbm

    booster = lightgbm.Booster(model_str=text.decode())
    head = text.partition(b"\n\n")[0].decode()
    objective = next(line for line in head.split("\n") if line.startswith("objective=")).split("=")[1].split(" ")[0]
    task = classical_outputs.LIGHTGBM[objective]
    return lambda rows: classical_outputs.outputs(task, booster.predict(rows, num_threads=1))


CASES: dict[str, tuple[str, str, dict[str, Any]]] = {}


def case(name: str, kind: str, wanted: str, **settings: Any) -> None:
    assert name not in CASES
    CASES[name] = (kind, wanted, settings)


# --- objectives ---

_WANTED = {
    "binary": "binary", "cross_entropy": "share", "cross_entropy_lambda": "share", "poisson": "count",
    "gamma": "positive", "tweedie": "positive", "mape": "positive", "multiclass": "three", "multiclassova": "three",
    "lambdarank": "grade", "rank_xendcg": "grade",
}  # fmt: skip
for _objective in classical_outputs.LIGHTGBM:
    _more = {"num_class": 3} if _objective.startswith("multiclass") else {}
    for _kind in ("normal", "missing"):
        _want = _WANTED.get(_objective, "value")
        case(f"{_objective}, {_kind}", _kind, _want, objective=_objective, **_more)
for _objective in ("regression", "regression_l1", "quantile", "fair", "mape", "huber"):
    _want = "positive" if _objective == "mape" else "value"
    case(f"{_objective}, reg_sqrt", "normal", _want, objective=_objective, reg_sqrt=True)
for _sigmoid in (0.3, 0.7123456789, 2.0, 5.0):
    case(f"binary, sigmoid {_sigmoid}", "normal", "binary", objective="binary", sigmoid=_sigmoid)
    case(f"ova, sigmoid {_sigmoid}", "normal", "three", objective="multiclassova", num_class=3, sigmoid=_sigmoid)
case("multiclass, five", "quarters", "five", objective="multiclass", num_class=5)
case("multiclass, two", "normal", "binary", objective="multiclass", num_class=2)
case("multiclass, an empty class", "normal", "three", objective="multiclass", num_class=4)
case("ova, five", "missing", "five", objective="multiclassova", num_class=5)
case("binary, unbalanced", "normal", "rare", objective="binary", is_unbalance=True)
case("binary, scale_pos_weight", "normal", "rare", objective="binary", scale_pos_weight=7.0)
case("quantile 0.9", "normal", "value", objective="quantile", alpha=0.9)
case("tweedie 1.9", "normal", "positive", objective="tweedie", tweedie_variance_power=1.9)

# --- boosting ---

_BAGGED = {"bagging_freq": 1, "bagging_fraction": 0.6}
for _objective, _want, _more in (
    ("binary", "binary", {}), ("regression", "value", {}), ("multiclass", "three", {"num_class": 3}),
):  # fmt: skip
    case(f"rf, {_objective}", "normal", _want, objective=_objective, boosting="rf", **_BAGGED, **_more)
    case(f"rf missing, {_objective}", "missing", _want, objective=_objective, boosting="rf", **_BAGGED, **_more)
    case(f"dart, {_objective}", "normal", _want, objective=_objective, boosting="dart", drop_rate=0.5, **_more)
    case(f"goss, {_objective}", "normal", _want, objective=_objective, data_sample_strategy="goss", **_more)
case("rf, poisson", "normal", "count", objective="poisson", boosting="rf", **_BAGGED)
case("rf, cross_entropy", "normal", "share", objective="cross_entropy", boosting="rf", **_BAGGED)
case("dart, xgboost_dart_mode", "normal", "value", objective="regression", boosting="dart", drop_rate=0.5,
     xgboost_dart_mode=True)  # fmt: skip
case("extra_trees", "normal", "binary", objective="binary", extra_trees=True)
case("monotone", "normal", "value", objective="regression", monotone_constraints=[1, -1, 0, 0, 0])
case("interactions", "normal", "value", objective="regression", interaction_constraints=[[0, 1], [2, 3, 4]])
case("max_delta_step", "normal", "binary", objective="binary", max_delta_step=0.1)
case("max_depth 1", "normal", "binary", objective="binary", max_depth=1)
case("path_smooth", "normal", "value", objective="regression", path_smooth=3.0)
case("quantized gradients", "normal", "value", objective="regression", use_quantized_grad=True)

# --- missing values and zeros ---

for _kind in ("normal", "zeros", "missing", "missing rare", "zeros missing", "tiny", "integers"):
    case(f"zero_as_missing, {_kind}", _kind, "binary", objective="binary", zero_as_missing=True)
    case(f"no missing, {_kind}", _kind, "value", objective="regression", use_missing=False)
case("zero_as_missing, three", "zeros missing", "three", objective="multiclass", num_class=3, zero_as_missing=True)
case("zero_as_missing, rf", "zeros", "value", objective="regression", zero_as_missing=True, boosting="rf", **_BAGGED)
case("zero_as_missing, positive", "positive", "value", objective="regression", zero_as_missing=True)

# --- categories ---

for _kind in ("categories", "categories missing"):
    for _objective, _want, _more in (
        ("binary", "binary", {}), ("regression", "value", {}), ("multiclass", "three", {"num_class": 3}),
    ):  # fmt: skip
        _more = {**_more, "categorical": CATEGORICAL}
        case(f"{_kind}, {_objective}", _kind, _want, objective=_objective, **_more)
        case(f"{_kind}, one-hot, {_objective}", _kind, _want, objective=_objective, max_cat_to_onehot=10, **_more)
    _more = {"objective": "regression", "categorical": CATEGORICAL}
    case(f"{_kind}, zero_as_missing", _kind, "value", zero_as_missing=True, **_more)
    case(f"{_kind}, no missing", _kind, "value", use_missing=False, **_more)
    case(f"{_kind}, rf", _kind, "value", boosting="rf", **_BAGGED, **_more)

# --- linear leaves ---

for _kind in ("normal", "missing", "missing rare", "quarters", "float32"):
    case(f"linear, {_kind}", _kind, "value", objective="regression", linear_tree=True)
case("linear, binary", "normal", "binary", objective="binary", linear_tree=True)
case("linear, three", "normal", "three", objective="multiclass", num_class=3, linear_tree=True)
case("linear, dart", "normal", "value", objective="regression", linear_tree=True, boosting="dart")
case("linear, rf", "missing", "value", objective="regression", linear_tree=True, boosting="rf", **_BAGGED)
case("linear, no missing", "missing", "value", objective="regression", linear_tree=True, use_missing=False)
case("linear, categories", "categories", "value", objective="regression", linear_tree=True, categorical=CATEGORICAL)

# --- odd numbers ---

for _kind in ("float32", "quarters", "tiny", "huge", "apart", "integers", "positive"):
    case(f"binary, {_kind}", _kind, "binary", objective="binary")
    case(f"regression, {_kind}", _kind, "value", objective="regression")


@pytest.mark.parametrize("name", CASES)
def test_a_model_of_each_kind_is_exact(name, assert_exact):
    kind, wanted, settings = CASES[name]
    rows = data(kind)
    text = trained(rows, target(wanted, rows), **settings)
    model = read_lightgbm(text, name)
    assert model.forest.trees >= 4
    assert len(model.forest.feature), "nothing was learnt"
    assert (model.forest.linear is not None) == bool(settings.get("linear_tree"))
    near = data(kind, seed=9)[:100]
    near[::7] *= 1 + 1e-15
    edges = np.array([0.0, -0.0, ZERO, -ZERO, 1e-36, -1e-36, np.inf, -np.inf, np.nan, 0.5, -0.5, 2.0**31, -1.0, 1e300])
    whole = np.tile(edges[:, None], FEATURES)
    assert_exact(model, reference(text), random=near, rows=np.concatenate([whole, rows[:50]]), count=200)


def test_the_kinds_do_what_they_are_for():
    """The settings above reach the rules that they are to test, so that a test of them can fail."""

    def forest(name: str) -> Any:
        kind, wanted, settings = CASES[name]
        rows = data(kind)
        return read_lightgbm(trained(rows, target(wanted, rows), **settings), name).forest

    assert forest("zero_as_missing, zeros").zero_is_missing.any()
    assert forest("categories, binary").truncates.tolist() == [False, False, False, True, True]
    assert (forest("categories, binary").set_values > 64).any()
    assert np.isin(np.abs(forest("binary, tiny").threshold), [ZERO, np.nextafter(ZERO, 1)]).any()
    assert (forest("linear, normal").linear.feature >= 0).any()
    missing = forest("binary, missing")
    natural = missing.threshold >= 0
    assert (missing.missing_left != natural).any()
    assert len(CASES) >= 90
