"""Keras' own files (`.keras`): read so that nothing in them runs code, named as the converted model is.

The file's configuration is looked at first, as text: what would need the author's Python code is refused by name,
before Keras, in its safe mode, builds anything of it.
"""

from __future__ import annotations

import contextlib
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlconvert.errors import ConversionFailed
from mlconvert.readers.tensorflow_runtime import import_keras, import_tensorflow
from mlconvert.signature import KINDS, Signature, TensorSpec

if TYPE_CHECKING:
    import numpy as np

CONFIG_LIMIT = 256 << 20  # bytes of configuration: those of large models are a few MB
_SAVE_AGAIN = "save the part of the model that is made of Keras' own layers, or export a SavedModel: model.export(…)"


@dataclass(frozen=True)
class KerasModel:
    """`model` takes the inputs as a list, in the signature's order, and gives the outputs in that order too."""

    model: Any
    signature: Signature

    def outputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Tensors by name, as at inference: no dropout, no statistics of the batch."""
        given = [inputs[spec.name] for spec in self.signature.inputs]
        with _functions_inlined():
            answers = self.model(given, training=False)
        several = answers if isinstance(answers, (list, tuple)) else [answers]  # a list of one comes back bare
        return {spec.name: answer for spec, answer in zip(self.signature.outputs, several, strict=True)}

    def as_traced(self, answers: Mapping[str, Any]) -> Signature:
        """The signature with the outputs' types and lengths as in a graph: some of Keras' layers foretell others."""
        outputs = []
        for spec in self.signature.outputs:
            tensor = answers[spec.name]
            lengths = spec.shape if tensor.shape.rank is None else tuple(tensor.shape)
            told = spec.shape if len(spec.shape) == len(lengths) else lengths
            axes = tuple(
                length if isinstance(length, int) else name if isinstance(name, str) else f"{spec.name}_{number}"
                for number, (length, name) in enumerate(zip(lengths, told, strict=True))
            )
            outputs.append(TensorSpec(spec.name, tensor.dtype.name, axes))
        return Signature(self.signature.inputs, tuple(outputs))

    def check_graph(self, where: str) -> None:
        """Raise ConversionFailed for layers whose answers in a graph are not those that Keras gives without one."""
        moved = [layer.name for layer in self.model._flatten_layers() if _over_any_length(layer)]
        if moved:
            listed = ", ".join(moved)
            what = f"in a graph, Keras mixes up steps and rows of TimeDistributed without a fixed length: {listed}"
            hint = "Dense and normalisations need no TimeDistributed; for other layers, give the input a fixed length"
            raise ConversionFailed(what, where=where, hint=hint)

    def tables(self) -> list[Any]:
        """The tables of words and numbers that its layers look up, which are no variables."""
        from tensorflow.saved_model.experimental import TrackableResource

        found = [value for layer in self.model._flatten_layers() for value in vars(layer).values()]
        return [value for value in found if isinstance(value, TrackableResource)]


def _over_any_length(layer: Any) -> bool:
    shape = layer.get_build_config().get("input_shape") if type(layer).__name__ == "TimeDistributed" else None
    return shape is not None and shape[1] is None


@contextlib.contextmanager
def _functions_inlined() -> Iterator[None]:
    """Have no functions of TensorFlow's in a graph: Keras compiles some by XLA, which servers are built without."""
    tf = import_tensorflow()
    before = tf.config.functions_run_eagerly()
    if tf.executing_eagerly():
        yield
        return
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def load_keras(path: Path) -> KerasModel:
    """The model in a `.keras` file, in safe mode and without its optimizer.

    Raises ConversionFailed for a damaged file, for Lambda layers and objects that are not Keras' own, and for a model
    whose inputs are not known, MissingPackage for a Keras whose safe mode does not hold.
    """
    where = str(path)
    version = check_keras(path)
    keras = import_keras()
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except MemoryError:
        raise
    except Exception as error:
        first = " ".join(str(error).split())
        what = f"Keras {keras.__version__} cannot load the model, saved by Keras {version}: {_cut(first)}"
        hint = "load and save it with the Keras that is installed here, in the environment that it was made in"
        raise ConversionFailed(what, where=where, hint=hint) from error
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    if not inputs or not outputs:
        what = f"the model ({type(model).__name__}) does not say what it takes: it has no inputs of its own"
        raise ConversionFailed(what, where=where, hint="begin it with keras.Input(…), and save it again")
    signature = Signature(
        tuple(_spec("input", tensor.name, tensor, where) for tensor in inputs),
        tuple(_spec("output", n, t, where) for n, t in zip(_output_names(model, outputs), outputs, strict=True)),
    )
    return KerasModel(keras.Model(list(inputs), list(outputs)), signature)


def check_keras(path: Path) -> str:
    """The version of Keras that wrote the file. Raises ConversionFailed as `load_keras` does; Keras is not needed."""
    where = str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            if max(archive.getinfo(name).file_size for name in ("config.json", "metadata.json")) > CONFIG_LIMIT:
                raise ConversionFailed("its configuration is of no model: it is too large", where=where)
            config = json.loads(archive.read("config.json"))
            metadata = json.loads(archive.read("metadata.json"))
    except (zipfile.BadZipFile, zlib.error, OSError, KeyError, ValueError, RecursionError) as error:
        what = f"not a Keras model, or a damaged one: {_cut(' '.join(str(error).split()))}"
        raise ConversionFailed(what, where=where, hint="copy or save the model again") from error
    lambdas, strangers = _foreign(config)
    if lambdas:
        what = f"the model has code of its author's in it, which is not run: {', '.join(lambdas)}"
        raise ConversionFailed(what, where=where, hint=f"put Keras' own layers in place of Lambda; {_SAVE_AGAIN}")
    if strangers:
        what = f"the model needs classes or functions that are not Keras' own: {', '.join(strangers)}"
        raise ConversionFailed(what, where=where, hint=_SAVE_AGAIN)
    return str(metadata.get("keras_version", "?")) if isinstance(metadata, dict) else "?"


def _foreign(config: Any) -> tuple[list[str], list[str]]:
    """Names of Lambda layers, and of what is not Keras' own. What the model was trained with is not looked at."""
    lambdas: dict[str, None] = {}
    strangers: dict[str, None] = {}
    for found in _objects(config):
        name, module = str(found["class_name"]), found.get("module")
        inner = found.get("config")
        called = inner.get("name") if isinstance(inner, dict) else None
        if name in ("Lambda", "__lambda__"):
            if name == "Lambda" or not lambdas:
                lambdas[f"Lambda '{called}'" if called else "a lambda"] = None
        elif "module" in found and str(module).partition(".")[0] != "keras":
            # A function of the author's stands under its name in `config`, a class under `class_name`.
            strangers[inner if isinstance(inner, str) else str(found.get("registered_name") or name)] = None
    return list(lambdas), list(strangers)


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    waiting = [config]
    while waiting:
        value = waiting.pop(0)
        if isinstance(value, dict):
            if "class_name" in value:
                yield value
            waiting += [inner for key, inner in value.items() if key != "compile_config"]
        elif isinstance(value, list):
            waiting += value


def _output_names(model: Any, outputs: list[Any]) -> list[str]:
    """What the model's own dict calls its outputs; else the layers that give them, numbered where one gives several."""
    import tensorflow as tf

    struct = getattr(model, "_outputs_struct", None)
    if isinstance(struct, dict) and all(not tf.nest.is_nested(value) for value in struct.values()):
        by_tensor = {id(tensor): str(name) for name, tensor in struct.items()}
        if all(id(tensor) in by_tensor for tensor in outputs) and len(by_tensor) == len(outputs):
            return [by_tensor[id(tensor)] for tensor in outputs]
    layers = getattr(model, "output_names", None) or [tensor._keras_history.operation.name for tensor in outputs]
    taken = {tensor.name for tensor in model.inputs}
    names: list[str] = []
    for layer in map(str, layers):
        name, number = layer, 1
        while name in taken:
            name, number = f"{layer}_{number}", number + 1
        taken.add(name)
        names.append(name)
    return names


def _spec(side: str, name: str, tensor: Any, where: str) -> TensorSpec:
    if getattr(tensor, "sparse", False) or getattr(tensor, "ragged", False):
        raise ConversionFailed(f"the {side} '{name}' is sparse or ragged, which no other format has", where=where)
    if tensor.dtype not in KINDS:
        raise ConversionFailed(f"the {side} '{name}' is {tensor.dtype}, which no other format has", where=where)
    axes = tuple(
        length if length is not None else "batch" if number == 0 else f"{name}_{number}"
        for number, length in enumerate(tensor.shape)
    )
    return TensorSpec(name, str(tensor.dtype), axes)


def to_tensor(values: np.ndarray, dtype: str) -> Any:
    """A tensor of TensorFlow's."""
    tf = import_tensorflow()
    return tf.constant(values.astype(object) if values.dtype.kind == "U" else values, dtype)


def to_array(tensor: Any) -> np.ndarray:
    """The tensor's values; strings as text."""
    return decoded(tensor.numpy())


def decoded(values: Any) -> np.ndarray:
    """An array, with bytes as text."""
    import numpy as np

    array: np.ndarray = np.asarray(values)
    if array.dtype.kind not in "OS":
        return array
    texts = [value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in array.reshape(-1)]
    return np.array(texts, dtype=np.str_).reshape(array.shape)


def _cut(text: str) -> str:
    return text if len(text) <= 300 else text[:299] + "…"
