"""Keras files and SavedModels as ONNX: names, types and axes kept, the source's answers, and what is refused."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlconvert.artifact import Artifact
from mlconvert.converters import keras_to_onnx, saved_model_to_onnx
from mlconvert.errors import ConversionFailed, MissingPackage, UsageError
from mlconvert.formats import recognise
from mlconvert.readers import tensorflow_runtime
from mlconvert.runners import keras as keras_runner
from mlconvert.runners import onnx as onnx_runner

keras = tensorflow_runtime.import_keras()
tf = tensorflow_runtime.import_tensorflow()
layers = keras.layers

# Keras' own saving with this numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")


def keras_artifact(path: Path) -> Artifact:
    return Artifact("keras", str(path), (path,))


def saved_model(folder: Path) -> Artifact:
    return Artifact("saved-model", str(folder / "saved_model.pb"), (folder / "saved_model.pb",))


def compare(source: Artifact, target: Path, inputs: dict[str, np.ndarray], **options: Any) -> Artifact:
    made = keras_to_onnx.convert(source, target, **options)
    reference, session = keras_runner.load(source), onnx_runner.load(made)
    assert session.signature == reference.signature
    for rows in (1, 3):
        batch = {name: values[:rows] for name, values in inputs.items()}
        wanted, told = reference.run(batch), session.run(batch)
        assert list(told) == list(wanted)
        for name, answer in wanted.items():
            assert told[name].dtype == answer.dtype
            np.testing.assert_allclose(told[name], answer, rtol=1e-4, atol=1e-5)
    return made


@pytest.mark.parametrize("name", ["keras_mlp", "keras_cnn"])
def test_the_fixtures(name, trained, tmp_path):
    path = trained(f"{name}.keras")
    assert recognise(str(path)) == "keras"
    with np.load(path.with_suffix(".npz")) as samples:
        compare(keras_artifact(path), tmp_path / "m.onnx", dict(samples))


# Layers one by one: test_keras_layers.py.
SHAPES: dict[str, tuple[tuple[int | None, ...], list[Any]]] = {
    "sequence": ((None, 4), [layers.Bidirectional(layers.LSTM(5, return_sequences=True)), layers.Dense(2)]),
    "image": (
        (9, 9, 3),
        [layers.Conv2D(4, 3, 2, "same"), layers.PReLU(), layers.MaxPooling2D(2), layers.Flatten()],
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_layers(name, tmp_path):
    shape, parts = SHAPES[name]
    keras.utils.set_random_seed(1)
    path = tmp_path / "m.keras"
    keras.Sequential([keras.Input(shape, name="x"), *parts]).save(path)
    rows = np.random.default_rng(2).normal(size=(3, *(7 if n is None else n for n in shape))).astype(np.float32)
    compare(keras_artifact(path), tmp_path / "m.onnx", {"x": rows})


def test_a_dict_of_outputs_attention_and_an_input_that_nothing_uses(tmp_path):
    x, unused = keras.Input((None, 8), name="x"), keras.Input((2,), dtype="int32", name="unused")
    seen = layers.MultiHeadAttention(2, 4)(x, x)
    path = tmp_path / "m.keras"
    keras.Model([x, unused], {"tokens": seen, "pooled": layers.GlobalAveragePooling1D()(seen)}).save(path)
    rows = np.random.default_rng(2).normal(size=(3, 5, 8)).astype(np.float32)
    made = compare(keras_artifact(path), tmp_path / "m.onnx", {"x": rows, "unused": np.zeros((3, 2), np.int32)})
    assert made.signature is not None
    assert [spec.name for spec in made.signature.inputs] == ["x", "unused"]
    assert made.signature.inputs[0].shape == ("batch", "x_1", 8)
    assert {spec.name for spec in made.signature.outputs} == {"tokens", "pooled"}


def test_the_opset_is_as_asked_for(tmp_path):
    path = tmp_path / "m.keras"
    keras.Sequential([keras.Input((4,), name="x"), layers.Dense(2)]).save(path)
    made = compare(keras_artifact(path), tmp_path / "m.onnx", {"x": np.ones((3, 4), np.float32)}, opset=15)
    assert made.facts["opsets"]["ai.onnx"] == 15
    with pytest.raises(UsageError, match="13 to 18"):
        keras_to_onnx.convert(keras_artifact(path), tmp_path / "n.onnx", opset=19)


# --- SavedModels ---


class Two(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = tf.Variable(np.arange(12, dtype=np.float64).reshape(4, 3))

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float64, "rows"), tf.TensorSpec((), tf.int32, "add")])
    def serve(self, rows: Any, add: Any) -> dict[str, Any]:
        return {"sums": rows @ self.weight + tf.cast(add, tf.float64), "count": tf.shape(rows)[:1]}

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.float32, "x")])
    def plain(self, x: Any) -> dict[str, Any]:
        return {"gelu/0": tf.nn.gelu(x), "erfc": tf.math.erfc(x)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, "x")])
    def missing(self, x: Any) -> dict[str, Any]:
        return {"y": tf.math.igamma(tf.abs(x), tf.abs(x))}


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "two"
    module = Two()
    signatures = {"serving_default": module.serve, "plain": module.plain, "missing": module.missing}
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return folder


def test_each_signature_of_a_saved_model(two, tmp_path):
    rows = np.random.default_rng(0).normal(size=(5, 4))
    session = onnx_runner.load(saved_model_to_onnx.convert(saved_model(two), tmp_path / "a.onnx"))
    told = session.run({"rows": rows, "add": np.array(7, np.int32)})
    np.testing.assert_allclose(told["sums"], rows @ np.arange(12.0).reshape(4, 3) + 7, rtol=1e-12)
    assert told["sums"].dtype == np.float64
    assert told["count"].tolist() == [5]
    made = saved_model_to_onnx.convert(saved_model(two), tmp_path / "b.onnx", signature="plain")
    assert made.signature is not None
    assert [str(spec) for spec in made.signature.inputs] == ["x: float32[batch, x_1]"]
    x = rows.astype(np.float32)
    told = onnx_runner.load(made).run({"x": x})
    np.testing.assert_allclose(told["gelu/0"], tf.nn.gelu(x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(told["erfc"], tf.math.erfc(x), rtol=1e-5, atol=1e-6)


def test_a_model_that_keras_exported(tmp_path):
    # Keras leaves convolutions in groups to XLA, and says so in the graph.
    parts = [layers.Conv1D(4, 3, groups=2, activation="gelu"), layers.BatchNormalization()]
    model = keras.Sequential([keras.Input((6, 2), name="x"), *parts])
    model.export(str(tmp_path / "exported"), verbose=False)
    made = saved_model_to_onnx.convert(saved_model(tmp_path / "exported"), tmp_path / "m.onnx")
    rows = np.random.default_rng(1).normal(size=(4, 6, 2)).astype(np.float32)
    (told,) = onnx_runner.load(made).run({"x": rows}).values()
    np.testing.assert_allclose(told, model(rows), rtol=1e-5, atol=1e-6)


def test_strings_and_tables_of_every_kind(tmp_path):
    def table(keys: Any, values: Any, default: Any) -> Any:
        pairs = tf.lookup.KeyValueTensorInitializer(tf.constant(keys), tf.constant(values))
        return tf.lookup.StaticHashTable(pairs, default)

    module = tf.Module()
    module.numbers = table(["rain", "föhn"], np.array([7, 9]), -1)
    module.words = table(np.array([7, 9]), ["wet", "warm"], "?")
    module.moved = table(np.array([7, 9]), np.array([70, 90]), 0)
    module.small = table(np.array([7, 9], np.int32), np.array([0.5, 1.5], np.float32), 2.5)

    def serve(word: Any) -> dict[str, Any]:
        number = module.numbers.lookup(word)
        small = module.small.lookup(tf.cast(number, tf.int32))
        return {
            "number": number,
            "said": module.words.lookup(number),
            "to": module.moved.lookup(number),
            "small": small,
        }

    module.serve = tf.function(serve, input_signature=[tf.TensorSpec((None, None), tf.string, "word")])
    tf.saved_model.save(module, str(tmp_path / "tables"), signatures=module.serve)
    made = saved_model_to_onnx.convert(saved_model(tmp_path / "tables"), tmp_path / "m.onnx")
    assert made.signature is not None
    assert str(made.signature.inputs[0]) == "word: string[batch, word_1]"
    told = onnx_runner.load(made).run({"word": np.array([["föhn", "rain"], ["hail", ""]])})
    assert told["number"].tolist() == [[9, 7], [-1, -1]]
    assert told["said"].tolist() == [["warm", "wet"], ["?", "?"]]
    assert told["to"].tolist() == [[90, 70], [0, 0]]
    assert told["small"].tolist() == [[1.5, 0.5], [2.5, 2.5]]


def test_what_a_saved_model_is_refused_for(two, tmp_path):
    target = tmp_path / "m.onnx"
    with pytest.raises(ConversionFailed, match=r"no signature 'other'; it has: missing, plain, serving_default"):
        saved_model_to_onnx.convert(saved_model(two), target, signature="other")
    with pytest.raises(ConversionFailed, match=r"no conversion for Igamma \(1\)"):
        saved_model_to_onnx.convert(saved_model(two), target, signature="missing")
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "saved_model.pb").write_bytes((two / "saved_model.pb").read_bytes())
    with pytest.raises(ConversionFailed, match="cannot load the SavedModel"):
        saved_model_to_onnx.convert(saved_model(bare), target)
    (bare / "saved_model.pb").write_bytes(b"no protobuf \xff")
    with pytest.raises(ConversionFailed, match="not a SavedModel"):
        saved_model_to_onnx.convert(saved_model(bare), target)
    assert not target.exists()


def test_a_saved_model_that_reads_files_is_not_loaded(tmp_path):
    module = tf.Module()
    spec = tf.TensorSpec((), tf.string, "path")
    module.serve = tf.function(lambda path: {"text": tf.io.read_file(path)}, input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path / "reader"), signatures=module.serve)
    with pytest.raises(ConversionFailed, match="read or write files, or run Python: ReadFile"):
        saved_model_to_onnx.convert(saved_model(tmp_path / "reader"), tmp_path / "m.onnx")


# --- refusals of Keras files ---


@keras.saving.register_keras_serializable(package="mine")
class Doubled(layers.Layer):
    def call(self, x: Any) -> Any:
        return x * 2


def _activation(x: Any) -> Any:
    return x * 3


REFUSED = {
    "a Lambda layer": (lambda: layers.Lambda(lambda x: x * 2, name="twice"), "Lambda 'twice'"),
    "a layer of the author's": (Doubled, "mine>Doubled"),
    "a function of the author's": (lambda: layers.Dense(2, activation=_activation), "_activation"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_code_of_the_authors_is_refused(name, tmp_path):
    make, words = REFUSED[name]
    path = tmp_path / "m.keras"
    keras.Sequential([keras.Input((4,)), make()]).save(path)
    with pytest.raises(ConversionFailed, match=words) as caught:
        keras_to_onnx.convert(keras_artifact(path), tmp_path / "m.onnx")
    assert caught.value.hint
    assert not (tmp_path / "m.onnx").exists()


def test_zips_that_are_no_whole_keras_model(tmp_path):
    path = tmp_path / "m.keras"
    keras.Sequential([keras.Input((4,)), layers.Dense(2)]).save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}

    def written(**changed: bytes | None) -> Path:
        other = tmp_path / "other.keras"
        names = {name.partition(".")[0]: name for name in members}
        with zipfile.ZipFile(other, "w") as archive:
            for key, name in names.items():
                data = changed.get(key, members[name])
                if data is not None:
                    archive.writestr(name, data)
        return other

    with pytest.raises(ConversionFailed, match=r"no weights"):
        recognise(str(written(model=None)))
    with pytest.raises(UsageError, match="is not a Keras model, as its name says"):
        recognise(str(written(metadata=None)))
    for broken, words in (
        ({"config": b"{"}, "not a Keras model, or a damaged one"),
        ({"metadata": None}, "not a Keras model, or a damaged one"),
        ({"model": b"no weights"}, "cannot load the model, saved by Keras"),
        ({"config": json.dumps({"class_name": "Nothing", "module": "keras", "config": {}}).encode()}, "cannot load"),
    ):
        with pytest.raises(ConversionFailed, match=words):
            keras_to_onnx.convert(keras_artifact(written(**broken)), tmp_path / "m.onnx")


def test_an_older_keras_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "m.keras"
    keras.Sequential([keras.Input((4,)), layers.Dense(2)]).save(path)
    monkeypatch.setattr(tensorflow_runtime, "version", lambda package: "3.13.2")
    with pytest.raises(MissingPackage, match=r"keras 3\.13\.2"):
        keras_to_onnx.convert(keras_artifact(path), tmp_path / "m.onnx")
