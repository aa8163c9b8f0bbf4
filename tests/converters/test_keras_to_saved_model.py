"""Keras files as SavedModels: Keras' own answers from a process of TensorFlow alone, names kept, code refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlconvert.artifact import Artifact
from mlconvert.cli import main
from mlconvert.converters import keras_to_saved_model
from mlconvert.errors import ConversionFailed
from mlconvert.readers.saved_model_files import read_saved_model
from mlconvert.readers.tensorflow_runtime import import_keras
from mlconvert.runners import keras as keras_runner
from mlconvert.runners import saved_model as saved_model_runner

keras = import_keras()
layers = keras.layers

# Keras' own saving with this numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")

# As a server has it: TensorFlow, and nothing of mlconvert's.
ALONE = """
import sys
import numpy as np
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
with np.load(sys.argv[2]) as samples:
    answers = model.signatures["serving_default"](**{name: tf.constant(samples[name]) for name in samples})
np.savez(sys.argv[3], **{name: answer.numpy() for name, answer in answers.items()})
assert "mlconvert" not in sys.modules
"""


def artifact(path: Path) -> Artifact:
    return Artifact("keras", str(path), (path,))


def saved(model: keras.Model, folder: Path) -> tuple[Artifact, Artifact]:
    path = folder / "m.keras"
    model.save(path)
    out = folder / "out"
    out.mkdir()
    return artifact(path), keras_to_saved_model.convert(artifact(path), out / "saved_model.pb")


def test_names_and_answers_by_the_command_line(trained, tmp_path):
    path = trained("keras_mlp.keras")
    samples = path.with_suffix(".npz")
    out = tmp_path / "out"
    assert main(["convert", str(path), "--to", "saved-model", "-o", str(out), "--samples", str(samples)]) == 0
    record = json.loads((out / "record.json").read_text())
    assert record["signature"]["inputs"] == [
        {"name": "numbers", "dtype": "float32", "shape": ["batch", 6]},
        {"name": "kind", "dtype": "int64", "shape": ["batch", 1]},
    ]
    assert [spec["name"] for spec in record["signature"]["outputs"]] == ["value", "high"]
    arguments = [str(out), str(samples), str(tmp_path / "answers.npz")]
    subprocess.run([sys.executable, "-W", "ignore", "-c", ALONE, *arguments], check=True, timeout=120)
    with np.load(samples) as given:
        wanted = keras_runner.load(artifact(path)).run(dict(given))
    with np.load(tmp_path / "answers.npz") as told:
        for name, answer in wanted.items():
            np.testing.assert_allclose(told[name], answer, rtol=1e-5, atol=1e-6)


def test_tables_of_words_names_that_tensorflow_forbids_and_dynamic_axes(tmp_path):
    words, rows = keras.Input((1,), dtype="string", name="words"), keras.Input((None, 4), name="rows:0")
    numbers = layers.TextVectorization(vocabulary=["rain", "föhn"], output_sequence_length=3)(words)
    seen = layers.LSTM(3)(layers.Concatenate(axis=1)([layers.Embedding(5, 4)(numbers), rows]))
    kind = layers.StringLookup(vocabulary=["low", "high"], invert=True)(keras.ops.cast(seen > 0, "int64") + 1)
    source, made = saved(keras.Model([words, rows], {"seen": layers.Dropout(0.5)(seen), "kind": kind}), tmp_path)
    assert made.renamed == {"rows:0": "rows_0"}
    assert made.signature is not None
    assert made.signature.inputs[1].shape == ("batch", "rows:0_1", 4)
    values = np.random.default_rng(3).normal(size=(2, 5, 4)).astype(np.float32)
    told = np.array([["föhn rain"], ["hail"]])
    wanted = keras_runner.load(source).run({"words": told, "rows:0": values})
    answers = saved_model_runner.load(made).run({"words": told, "rows_0": values})
    np.testing.assert_allclose(answers["seen"], wanted["seen"], rtol=1e-5, atol=1e-6)
    assert np.array_equal(answers["kind"], wanted["kind"])
    assert set(wanted["kind"].reshape(-1)) <= {"low", "high"}


def test_nothing_is_left_to_xla(tmp_path):
    """Keras compiles convolutions in groups by XLA, which a stock server is not built with."""
    model = keras.Sequential([keras.Input((9, 9, 4), name="x"), layers.Conv2D(6, 3, groups=2)])
    source, made = saved(model, tmp_path)
    assert b"_XlaMustCompile\x12\x02(\x01" not in made.path.read_bytes()  # the attribute, and that it is true
    assert "Conv2D" in read_saved_model(made.path).operators
    rows = np.random.default_rng(3).normal(size=(2, 9, 9, 4)).astype(np.float32)
    wanted = keras_runner.load(source).run({"x": rows})
    answers = saved_model_runner.load(made).run({"x": rows})
    for name, answer in wanted.items():
        np.testing.assert_allclose(answers[name], answer, rtol=1e-5, atol=1e-5)


def test_code_of_the_authors_is_refused_and_nothing_written(tmp_path):
    path = tmp_path / "m.keras"
    keras.Sequential([keras.Input((4,)), layers.Lambda(lambda x: x, name="mine")]).save(path)
    with pytest.raises(ConversionFailed, match="Lambda 'mine'"):
        keras_to_saved_model.convert(artifact(path), tmp_path / "saved_model.pb")
    assert list(tmp_path.iterdir()) == [path]


def test_what_keras_itself_cannot_trace_is_an_error_of_ours(tmp_path):
    """Its UpSampling2D takes lengths for numbers, which they are not in a graph."""
    model = keras.Sequential([keras.Input((None, None, 3)), layers.UpSampling2D(2, interpolation="bilinear")])
    model.save(tmp_path / "m.keras")
    with pytest.raises(ConversionFailed, match="TensorFlow cannot save the model"):
        keras_to_saved_model.convert(artifact(tmp_path / "m.keras"), tmp_path / "saved_model.pb")
