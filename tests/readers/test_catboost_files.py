"""CatBoost's files: what is damaged or cut off ends as ConversionFailed; the arrays are those that CatBoost shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlconvert.errors import ConversionFailed
from mlconvert.readers import catboost_trees as module
from mlconvert.readers.catboost_files import catboost_loss, load_catboost, probability_threshold
from mlconvert.readers.catboost_trees import catboost_trees

X = np.random.default_rng(3).normal(size=(200, 4))
VALUES = X[:, 0] + X[:, 1] ** 2
Y = (VALUES > 1).astype(int)


def trained(target: np.ndarray = Y, **params: Any) -> Any:
    import catboost

    settings = {"iterations": 3, "depth": 2, "verbose": 0, "allow_writing_files": False, "thread_count": 1, **params}
    return catboost.CatBoost(settings).fit(X, target)


def saved(folder: Path, model: Any) -> Path:
    path = folder / "m.cbm"
    model.save_model(str(path))
    return path


@pytest.mark.parametrize(
    ("loss", "target", "kind"),
    [
        ("Logloss", Y, "CatBoostClassifier"),
        ("MultiClass", Y, "CatBoostClassifier"),
        ("MultiLogloss", np.stack([Y, 1 - Y], axis=1), "CatBoostClassifier"),
        ("RMSE", VALUES, "CatBoost"),
        ("Quantile:alpha=0.3", VALUES, "CatBoost"),
    ],
)
def test_a_model_is_loaded_as_the_class_that_knows_its_answers(tmp_path, loss, target, kind):
    model = load_catboost(saved(tmp_path, trained(target, loss_function=loss)))
    assert type(model).__name__ == kind
    assert catboost_loss(model) == loss.partition(":")[0]


def test_a_threshold_is_kept_in_the_file(tmp_path):
    import catboost

    model = catboost.CatBoostClassifier(iterations=2, verbose=0, allow_writing_files=False).fit(X, Y)
    assert probability_threshold(model) == 0.5
    model.set_probability_threshold(0.25)
    assert probability_threshold(load_catboost(saved(tmp_path, model))) == 0.25


def test_a_damaged_file_is_refused(tmp_path):
    path = saved(tmp_path, trained())
    whole = path.read_bytes()
    for data in (b"", b"hello", whole[:4], whole[:6], whole[: len(whole) // 2], whole[: len(whole) - 9]):
        path.write_bytes(data)
        with pytest.raises(ConversionFailed) as caught:
            load_catboost(path)
        assert caught.value.where == str(path)
    with pytest.raises(ConversionFailed, match="cannot read"):
        load_catboost(tmp_path / "absent.cbm")


@pytest.mark.parametrize(
    ("version", "refused"), [("9.2.10", True), ("1.9.10", True), ("1.2.99", False), ("0.1.10", False)]
)
def test_a_model_of_a_newer_catboost_is_refused(tmp_path, version, refused):
    import catboost

    path = saved(tmp_path, trained())
    ours = f"tags/v{catboost.__version__}".encode()
    whole = path.read_bytes()
    assert ours in whole
    path.write_bytes(whole.replace(ours, f"tags/v{version}".encode().ljust(len(ours))[: len(ours)]))
    if not refused:
        assert load_catboost(path).tree_count_ == 3
        return
    with pytest.raises(ConversionFailed, match=f"CatBoost {version}") as caught:
        load_catboost(path)
    assert catboost.__version__ in caught.value.message
    assert caught.value.where == str(path)
    assert "pip install" in str(caught.value.hint)


# --- the arrays ---


@pytest.mark.parametrize("grow_policy", ["SymmetricTree", "Depthwise", "Lossguide"])
@pytest.mark.parametrize(
    ("loss", "target"), [("RMSE", VALUES), ("MultiClass", np.digitize(VALUES, [0, 1])), ("MultiRMSE", X[:, :2])]
)
def test_the_arrays_are_those_that_catboost_shows(grow_policy, loss, target):
    model = trained(target, loss_function=loss, grow_policy=grow_policy, depth=4)
    trees = catboost_trees(model, "here")
    assert len(trees.sizes) == model.tree_count_
    assert trees.symmetric == (grow_policy == "SymmetricTree")
    np.testing.assert_array_equal(trees.leaf_values.ravel(), model.get_leaf_values())
    assert len(trees.leaf_values) == sum(model.get_tree_leaf_counts())
    for column, borders in model.get_borders().items():
        np.testing.assert_array_equal(trees.border[trees.column == column], np.float32(borders))


def test_the_splits_are_those_of_the_json_export(tmp_path):
    import json

    model = trained(VALUES, depth=5)
    trees = catboost_trees(model, "here")
    model.save_model(str(tmp_path / "m.json"), format="json")
    told = json.loads((tmp_path / "m.json").read_text())
    splits = [split for tree in told["oblivious_trees"] for split in tree["splits"]]
    assert trees.splits.tolist() == [split["split_index"] for split in splits]
    np.testing.assert_array_equal(trees.border[trees.splits], np.float32([split["border"] for split in splits]))
    np.testing.assert_array_equal(trees.column[trees.splits], [split["float_feature_index"] for split in splits])


@pytest.mark.parametrize("grow_policy", ["SymmetricTree", "Depthwise"])
@pytest.mark.parametrize(
    ("field", "value"),
    [("FORMAT", "FlabuffersModel_v9"), ("_SPLITS", 2), ("_SIZES", 1), ("_FLOATS", 4), ("_LEAF_VALUES", 16)],
)
def test_a_file_of_another_form_is_refused(monkeypatch, grow_policy, field, value):
    """As if the fields of the schema lay elsewhere than they do."""
    model = trained(VALUES, grow_policy=grow_policy, depth=3)
    assert len(catboost_trees(model, "here").sizes) == 3
    monkeypatch.setattr(module, field, value)
    with pytest.raises(ConversionFailed, match="not of the form") as caught:
        catboost_trees(model, "here")
    assert caught.value.where == "here"
    assert "catboost>=" in str(caught.value.hint)


def test_nodes_that_do_not_fit_their_trees_are_refused(monkeypatch):
    model = trained(VALUES, grow_policy="Lossguide", max_leaves=5)
    monkeypatch.setattr(module, "_NODE_LEAVES", 14)  # absent
    with pytest.raises(ConversionFailed, match="equal length"):
        catboost_trees(model, "here")
