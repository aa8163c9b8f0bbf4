"""Forests of every library, through ONNX to SavedModels, on the rows at all of their trees' thresholds.

The models are those of the matrices in tests/forests, which check the ONNX files: of each kind of tree one or two.
A process that imports TensorFlow and numpy alone loads every SavedModel and answers. Labels and leaves are equal in
every row; floats as near to the library's own as those of the ONNX files have to be.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlconvert.converters import onnx_to_saved_model
from mlconvert.forests.boundary import boundary_rows
from mlconvert.forests.evaluation import leaves_of
from mlconvert.forests.onnx_file import write_trees

FORESTS = Path(__file__).resolve().parent.parent / "forests"
# Of a matrix the models, by their names or the ends of these.
CASES = {
    "lightgbm": (
        "binary, missing", "rf missing, binary", "zero_as_missing, zeros missing", "categories missing, multiclass",
        "linear, missing", "binary, tiny", "regression, huge",
    ),
    "xgboost": (
        "multi:softprob gaps and categories", "sets classes", "one-hot binary", "lossguide binary", "denormal",
        "neighbouring doubles", "vector leaves, classes", "whole numbers",
    ),
    "catboost": ("words, classes", "threshold 0.3", "MultiRMSE, gaps", "leafwise one-vs-all", "depth 8", "denormal"),
    "histogram_boosting": (
        "infinite missing, three", "fractions missing, spread", "codes missing, counts", "negative missing, texts",
    ),
    "sklearn": (
        "RandomForestClassifier(n_estimators=8) integers, two",
        "ExtraTreesClassifier(max_depth=5, n_estimators=7) quarters, texts",
        "RandomForestRegressor(max_depth=5, n_estimators=7) integers, values",
        "DecisionTreeClassifier() integers, spread",
        "GradientBoostingClassifier(n_estimators=4) quarters, three",
        "AdaBoostClassifier(n_estimators=8) quarters, three",
        "BaggingClassifier(max_features=0.5, n_estimators=6) quarters, texts",
        "ExtraTreeClassifier(max_depth=5) missing, texts",
        "IsolationForest(contamination=0.25, max_features=0.5, n_estimators=12) quarters, none",
    ),
}  # fmt: skip
NAMES = [f"{matrix}: {name}" for matrix, names in CASES.items() for name in names]

FRESH = """
import json, sys
import numpy as np
import tensorflow as tf
for folder in json.loads(sys.argv[1]):
    call = tf.saved_model.load(folder).signatures["serving_default"]
    (spec,) = call.structured_input_signature[1].values()
    rows = np.load(folder + "/rows.npy")
    for number, batch in enumerate((rows, rows[:1], rows[:0])):
        found = call(**{spec.name: tf.constant(batch, spec.dtype)})
        answers = {key: value.numpy() for key, value in found.items()}
        # A file of numbers alone, so that it can be read without pickle.
        texts = {key: value.astype("S") for key, value in answers.items() if value.dtype == object}
        np.savez(f"{folder}/answer{number}.npz", **answers | texts)
foreign = {"mlconvert", "onnx", "onnxruntime", "lightgbm", "xgboost", "catboost"} & set(sys.modules)
assert not foreign, foreign
"""


def module_of(name):
    """A module of tests/forests, which no import finds."""
    spec = importlib.util.spec_from_file_location(f"forests_{name}_of_tensorflow", FORESTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def run_case(matrix, name, take, folder):
    """The matrix' own test, whose comparison is `take`."""
    module = module_of(f"test_{matrix}_matrix")
    if matrix == "lightgbm":
        module.test_a_model_of_each_kind_is_exact(name, take)
    elif matrix in ("xgboost", "catboost"):
        getattr(module, f"test_answers_are_those_of_{matrix}")(take, folder, name)
    else:
        (case,) = [case for case in module.CASES if f"{case[0]} {case[1]}, {case[2]}".endswith(name)]
        module.test_a_model_answers_as_its_estimator(*case, take)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """By name the folder of a SavedModel, what the library answers and the leaves that the rows come to."""
    root = tmp_path_factory.mktemp("forests")
    made = {}
    for number, name in enumerate(NAMES):
        folder = root / str(number)
        folder.mkdir()

        def take(model, reference, *, rows=None, random=None, count=400, name=name, folder=folder, **_):
            if random is None:
                random = np.random.default_rng(5).normal(size=(count, model.forest.features))
            edges = boundary_rows(model.forest, count=count, seed=7, around=random)
            every = np.concatenate([random, edges] + ([] if rows is None else [rows]))
            written = write_trees(model, folder / "model.onnx", leaf_indices=True)
            onnx_to_saved_model.convert(written, folder / "saved_model.pb")
            np.save(folder / "rows.npy", every)
            leaves = model.forest.leaf_ids[leaves_of(model.forest, every)]
            made[name] = (folder, reference(every), leaves)

        matrix, _, case = name.partition(": ")
        run_case(matrix, case, take, folder)
    done = subprocess.run(
        [sys.executable, "-c", FRESH, json.dumps([str(folder) for folder, _, _ in made.values()])],
        capture_output=True, text=True, cwd=root, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return made


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_those_of_the_library_on_all_boundary_rows(served, name):
    folder, wanted, leaves = served[name]
    for number, count in enumerate((len(leaves), 1)):
        found = answer(folder, number)
        np.testing.assert_array_equal(found.pop("leaf_indices"), leaves[:count])
        COMPARE({key: one[:count] for key, one in wanted.items()}, found, 1e-12, "SavedModel")
    for key, one in answer(folder, 2).items():
        assert one.shape == (0, *({**wanted, "leaf_indices": leaves}[key].shape[1:]))


def answer(folder, number):
    with np.load(folder / f"answer{number}.npz") as file:
        return {key: np.char.decode(one) if one.dtype.kind == "S" else one for key, one in file.items()}


COMPARE = module_of("conftest").compare
