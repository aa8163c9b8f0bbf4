"""From an ONNX model to a SavedModel: names, signatures, one trace a signature, and the same bytes each time."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from mlconvert.errors import UsageError, suggest
from mlconvert.signature import Signature, TensorSpec
from mlconvert.tensorflow.empty_batches import Batch, batch_axis
from mlconvert.tensorflow.folding import fold_normalizations
from mlconvert.tensorflow.lowering import Graph, constants_of, names_used, opsets_of
from mlconvert.tensorflow.weights import Weights

if TYPE_CHECKING:
    import onnx

SERVING = "serving_default"
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_]")


def save(
    model: onnx.ModelProto,
    signature: Signature,
    folder: Path,
    *,
    read: Callable[[onnx.TensorProto], np.ndarray],
    entries: Mapping[str, Sequence[str]],
) -> dict[str, str]:
    """Write the model into `folder` and give the names that had to change, ONNX's -> TensorFlow's.

    `read` gives an initializer's array. `entries` are further signatures: name -> the outputs that it gives. Raises
    ConversionFailed for what cannot be lowered, UsageError for an entry of an output that is not there.
    """
    renamed = renamed_inputs([spec.name for spec in signature.inputs])
    wanted = {SERVING: [spec.name for spec in signature.outputs], **_checked(entries, signature)}
    holder = tf.Module()
    weights = Weights(holder)
    nodes, arrays = fold_normalizations(model.graph, constants_of(model.graph, read), opsets_of(model).get("", 0))
    functions = {(one.domain, one.name, one.overload): one for one in model.functions}
    traced = {}

    def start() -> Graph:
        graph = Graph(weights, opsets_of(model), functions)
        graph.hold(arrays)
        return graph

    for key, outputs in wanted.items():
        wanted_nodes, needed = _needed(nodes, outputs)
        inputs = signature.inputs if key == SERVING else [spec for spec in signature.inputs if spec.name in needed]

        specs = {renamed.get(spec.name, spec.name): _spec(spec, renamed) for spec in inputs}
        given = [spec for spec in signature.outputs if spec.name in outputs]
        axis = batch_axis(model, inputs, given)
        traced[key] = _traced(_serving(start, wanted_nodes, inputs, given, renamed, axis), key, specs)
    _write(holder, traced, folder)
    return renamed


def save_function(
    function: Callable[[Mapping[str, Any]], Mapping[str, Any]], signature: Signature, folder: Path, *, holding: Any
) -> dict[str, str]:
    """Write a function of tensors, by the names of the signature, into `folder`; gives the names that had to change.

    The variables that the function uses are saved with it; `holding` is what else it uses: tables.
    """
    renamed = renamed_inputs([spec.name for spec in signature.inputs])
    specs = {renamed.get(spec.name, spec.name): _spec(spec, renamed) for spec in signature.inputs}
    original = {new: old for old, new in renamed.items()}

    def serve(**tensors: Any) -> dict[str, Any]:
        answers = function({original.get(name, name): tensor for name, tensor in tensors.items()})
        return {name: tf.identity(answer) for name, answer in answers.items()}

    traced = _traced(serve, SERVING, specs)
    holder = tf.Module()
    holder.holding = holding
    holder.weights = list(traced.graph.variables)
    _write(holder, {SERVING: traced}, folder)
    return renamed


def _write(holder: Any, traced: Mapping[str, Any], folder: Path) -> None:
    with _quietly():
        tf.saved_model.save(holder, str(folder), signatures=traced)
    _settle(folder)


def _serving(
    start: Callable[[], Graph],
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    renamed: Mapping[str, str],
    axis: str | None,
) -> Callable[..., dict[str, Any]]:
    """The function of a signature, which TensorFlow traces: tensors by their names in, tensors by their names out."""
    original = {new: old for old, new in renamed.items()}

    def serve(**tensors: Any) -> dict[str, Any]:
        graph = start()
        graph.keep(spec.name for spec in outputs)
        batch = Batch(axis, {original.get(name, name): tensor for name, tensor in tensors.items()}, inputs)
        for name, tensor in batch.tensors.items():
            graph.bind_input(name, tensor)
        graph.run(nodes)
        return {spec.name: batch.given_back(_ranked(graph.tensor(spec.name), spec), spec) for spec in outputs}

    return serve


def _ranked(tensor: Any, spec: TensorSpec) -> tf.Tensor:
    """An output of its own, with the number of axes that the model declares where nothing else says it."""
    return tf.identity(tensor) if tensor.shape.rank is not None else tf.ensure_shape(tensor, [None] * len(spec.shape))


def renamed_inputs(names: Iterable[str]) -> dict[str, str]:
    """The names of inputs that TensorFlow takes in place of those that it forbids.

    Arguments of a signature are letters, digits and `_`, begin with a letter, and differ in more than their case.
    """
    renamed: dict[str, str] = {}
    names = list(names)
    taken = {name.lower() for name in names if _fits(name)}
    seen: set[str] = set()
    for name in names:
        if _fits(name) and name.lower() not in seen:
            seen.add(name.lower())
            continue
        stem = _NOT_IN_NAMES.sub("_", name).lstrip("_")
        stem = stem if stem and stem[0].isalpha() else f"arg_{stem}"
        new, number = stem, 1
        while new.lower() in taken or not _fits(new):
            new, number = f"{stem}_{number}", number + 1
        taken.add(new.lower())
        renamed[name] = new
    return renamed


def _fits(name: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name)) and name != "self"


def _checked(entries: Mapping[str, Sequence[str]], signature: Signature) -> dict[str, list[str]]:
    known = [spec.name for spec in signature.outputs]
    for key, outputs in entries.items():
        if key == SERVING or not _fits(key):
            raise UsageError(f"option signatures: '{key}' cannot be the name of a further signature")
        for name in outputs:
            if name not in known:
                what = f"option signatures: the model has no output '{name}'.{suggest(name, known)}"
                raise UsageError(what, hint=f"its outputs: {', '.join(known)}")
    return {key: list(outputs) for key, outputs in entries.items()}


def _needed(nodes: Sequence[onnx.NodeProto], outputs: Iterable[str]) -> tuple[list[onnx.NodeProto], set[str]]:
    """The nodes that these outputs need, in their order, and all names that they use."""
    needed, found = set(outputs), []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            found.append(node)
            needed |= names_used(node)
    return found[::-1], needed


def _spec(spec: TensorSpec, renamed: Mapping[str, str]) -> tf.TensorSpec:
    lengths = [axis if isinstance(axis, int) else None for axis in spec.shape]
    return tf.TensorSpec(lengths, tf.as_dtype(spec.dtype), name=renamed.get(spec.name, spec.name))


def _traced(function: Callable[..., Any], name: str, specs: Mapping[str, tf.TensorSpec]) -> Any:
    """The function as a ConcreteFunction. tf.function traces twice, to find variables; these are made outside."""
    try:
        from tensorflow.python.eager.polymorphic_function import tracing_compilation
    except ImportError:
        return tf.function(function, autograph=False).get_concrete_function(**specs)
    options = tracing_compilation.TracingOptions(python_function=function, name=name, autograph=False)
    return tracing_compilation.trace_function((), dict(specs), options)


def _settle(folder: Path) -> None:
    """Give fingerprint.pb a uuid made of its other fields: a random one would make each conversion another result."""
    from tensorflow.core.protobuf import fingerprint_pb2

    path = folder / "fingerprint.pb"
    if path.exists():
        found = fingerprint_pb2.FingerprintDef.FromString(path.read_bytes())
        found.uuid = ""
        digest = hashlib.sha256(found.SerializeToString(deterministic=True)).hexdigest()
        found.uuid = str(int(digest[:32], 16))
        path.write_bytes(found.SerializeToString(deterministic=True))
    assets = folder / "assets"
    if assets.is_dir() and not any(assets.iterdir()):
        shutil.rmtree(assets)


class _quietly:  # noqa: N801 - a context manager
    """TensorFlow remarks on every SavedModel that it has written assets."""

    def __enter__(self) -> None:
        logger = tf.get_logger()
        self._level = logger.level
        logger.setLevel("ERROR")

    def __exit__(self, *_: object) -> None:
        tf.get_logger().setLevel(self._level)
