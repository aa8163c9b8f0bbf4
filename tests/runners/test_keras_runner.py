"""Keras files run as they are: named inputs and outputs, inference alone, strings, and clear refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed
from mlconvert.readers.tensorflow_runtime import import_keras
from mlconvert.runners import keras as runner

keras = import_keras()
layers = keras.layers

# Keras' own saving with this numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")


def artifact(path: Path) -> Artifact:
    return Artifact("keras", str(path), (path,))


def test_two_inputs_and_two_outputs(trained):
    path = trained("keras_mlp.keras")
    session = runner.load(artifact(path))
    assert session.signature == runner.signature(artifact(path))
    assert [str(spec) for spec in session.signature.inputs] == ["numbers: float32[batch, 6]", "kind: int64[batch, 1]"]
    assert [str(spec) for spec in session.signature.outputs] == ["value: float32[batch, 1]", "high: float32[batch, 1]"]
    with np.load(path.with_suffix(".npz")) as samples:
        rows = dict(samples)
    answers = session.run(rows)
    wanted = keras.saving.load_model(path).predict([rows["numbers"], rows["kind"]], verbose=0)
    for name, value in zip(("value", "high"), wanted, strict=True):
        np.testing.assert_allclose(answers[name], value, rtol=1e-5, atol=1e-5)


def test_dropout_and_statistics_are_those_of_inference(tmp_path):
    model = keras.Sequential([keras.Input((4,), name="x"), layers.BatchNormalization(), layers.Dropout(0.9)])
    model.save(tmp_path / "m.keras")
    rows = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    answers = runner.load(artifact(tmp_path / "m.keras")).run({"x": rows})
    (answer,) = answers.values()
    np.testing.assert_allclose(answer, model(rows, training=False), rtol=1e-6)


def test_names_that_are_given_twice_are_numbered(tmp_path):
    x = keras.Input((4,), name="x")
    same = layers.Dense(2, name="y")
    keras.Model(x, [same(x), same(x * 2), x]).save(tmp_path / "m.keras")
    session = runner.load(artifact(tmp_path / "m.keras"))
    assert [spec.name for spec in session.signature.outputs] == ["y", "y_1", "x_1"]
    rows = np.ones((3, 4), np.float32)
    assert np.array_equal(session.run({"x": rows})["x_1"], rows)


def test_strings_come_in_as_text(tmp_path):
    words = keras.Input((1,), dtype="string", name="word")
    look_up = layers.StringLookup(vocabulary=["föhn", "rain"])
    keras.Model(words, look_up(words)).save(tmp_path / "m.keras")
    session = runner.load(artifact(tmp_path / "m.keras"))
    (answer,) = session.run({"word": np.array([["rain"], ["föhn"], ["hail"]])}).values()
    assert answer.reshape(-1).tolist() == [2, 1, 0]


def test_what_does_not_fit_is_said(tmp_path):
    keras.Sequential([keras.Input((4,), name="x"), layers.Dense(2)]).save(tmp_path / "m.keras")
    session = runner.load(artifact(tmp_path / "m.keras"))
    with pytest.raises(ConversionFailed, match="lack what the model takes: x"):
        session.run({"y": np.ones((1, 4), np.float32)})
    with pytest.raises(ConversionFailed, match="does not run on the samples"):
        session.run({"x": np.ones((1, 5), np.float32)})


def test_a_lambda_layer_is_refused_and_its_code_not_run(tmp_path):
    keras.Sequential([keras.Input((4,)), layers.Lambda(lambda x: x, name="mine")]).save(tmp_path / "m.keras")
    with pytest.raises(ConversionFailed, match="Lambda 'mine'") as caught:
        runner.load(artifact(tmp_path / "m.keras"))
    assert "Lambda" in (caught.value.hint or "")
