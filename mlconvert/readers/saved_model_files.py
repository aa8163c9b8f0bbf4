"""What a SavedModel says of itself, read from its saved_model.pb alone: TensorFlow is not needed.

Tags, signatures, operators and assets are looked at; the weights lie in `variables/` and are not touched.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlconvert.errors import ConversionFailed
from mlconvert.serving.tf_serving.messages import message, type_name
from mlconvert.serving.tf_serving.tensor_protos import DTYPES
from mlconvert.signature import Axis, Signature, TensorSpec

FILE = "saved_model.pb"
TAG = "serve"
SIGNATURE = "serving_default"
INITIALIZERS = ("__saved_model_init_op", "__saved_model_train_op")  # kept among the signatures; nobody calls them


@dataclass(frozen=True)
class SavedTensor:
    """A tensor of a signature. `dtype` is TensorFlow's (`DT_FLOAT`); `shape` None: not even its rank is known.

    `encoding` is `name` for a plain tensor; sparse and other composite ones are `coo_sparse` or `composite_tensor`.
    """

    dtype: str
    shape: tuple[Axis, ...] | None
    encoding: str = "name"

    def __str__(self) -> str:
        lengths = "of unknown rank" if self.shape is None else str([-1 if n is None else n for n in self.shape])
        return f"{self.dtype} {lengths}"


@dataclass(frozen=True)
class SavedSignature:
    """Inputs and outputs by name, sorted: a SavedModel keeps no order."""

    inputs: Mapping[str, SavedTensor]
    outputs: Mapping[str, SavedTensor]
    method: str
    optional: tuple[str, ...] = ()  # inputs with a default


@dataclass(frozen=True)
class SavedModelFile:
    """`signatures` and `operators` are those of the graph tagged `serve` alone, or empty where there is none.

    `operators` counts each operator of the graph and of the functions in its library; calls of those are left out.
    """

    path: Path
    tags: tuple[tuple[str, ...], ...]
    signatures: Mapping[str, SavedSignature]
    operators: Mapping[str, int]
    assets: tuple[str, ...]
    tensorflow: str
    stateful: bool  # whether it has variables, which lie in `variables/`


def read_saved_model(path: Path) -> SavedModelFile:
    """What the saved_model.pb at that path says. Raises ConversionFailed for a file that is none, or is damaged."""
    from google.protobuf.message import DecodeError

    try:
        saved = message("SavedModel").FromString(path.read_bytes())
    except OSError as error:
        raise ConversionFailed(f"{path} cannot be read: {error.strerror}", where=str(path)) from error
    except DecodeError as error:
        what = "not a SavedModel, or damaged: its bytes are no protobuf message"
        raise ConversionFailed(what, where=str(path), hint="copy or export the model again") from error
    if not saved.meta_graphs:
        raise ConversionFailed("not a SavedModel, or cut off: it holds no graph", where=str(path))
    tags = tuple(tuple(sorted(graph.meta_info_def.tags)) for graph in saved.meta_graphs)
    served = next((graph for graph in saved.meta_graphs if list(graph.meta_info_def.tags) == [TAG]), None)
    if served is None:
        return SavedModelFile(path, tags, {}, {}, (), saved.meta_graphs[0].meta_info_def.tensorflow_version, False)
    operators = _operators(served.graph_def)
    return SavedModelFile(
        path=path,
        tags=tags,
        signatures={
            key: _signature(served.signature_def[key])
            for key in sorted(served.signature_def)
            if key not in INITIALIZERS
        },
        operators=operators,
        assets=tuple(sorted({asset.filename for asset in served.asset_file_def})),
        tensorflow=served.meta_info_def.tensorflow_version,
        stateful=any(name in operators for name in ("VarHandleOp", "VariableV2", "Variable")),
    )


def signature_of(saved: SavedModelFile, key: str = SIGNATURE) -> Signature:
    """The inputs and outputs of a signature.

    Raises ConversionFailed, which says what there is instead: no graph tagged `serve`, no such signature, a tensor of
    a type that no other format has, that is no plain tensor, or of an unknown number of axes.
    """
    where = str(saved.path)
    if (TAG,) not in saved.tags:
        found = "; ".join(", ".join(tags) or "no tag" for tags in saved.tags)
        what = f"the SavedModel has no graph tagged '{TAG}', which servers load; it has: {found}"
        raise ConversionFailed(what, where=where, hint="export it with tf.saved_model.save(…)")
    if key not in saved.signatures:
        found = ", ".join(saved.signatures) or "none"
        what = f"the SavedModel has no signature '{key}'; it has: {found}"
        raise ConversionFailed(what, where=where, hint="export it with tf.saved_model.save(…, signatures=…)")
    asked = saved.signatures[key]
    sides = [
        tuple(_spec(name, tensor, side, where) for name, tensor in tensors.items())
        for side, tensors in (("input", asked.inputs), ("output", asked.outputs))
    ]
    return Signature(*sides)


def saved_model_signature(path: Path, key: str = SIGNATURE) -> Signature:
    """The signature of the saved_model.pb at that path; raises what `read_saved_model` and `signature_of` raise."""
    return signature_of(read_saved_model(path), key)


def in_order_of(signature: Signature, order: Signature) -> Signature:
    """The signature with its tensors in the order in which another one names them; those it does not name come last.

    A name of a dynamic axis is taken over from there, and so are the names of columns: a SavedModel has neither.
    """
    return Signature(_ordered(signature.inputs, order.inputs), _ordered(signature.outputs, order.outputs))


def _ordered(specs: tuple[TensorSpec, ...], order: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    places = {spec.name: place for place, spec in enumerate(order)}
    known = {spec.name: spec for spec in order}
    found = sorted(specs, key=lambda spec: places.get(spec.name, len(places)))
    return tuple(_named(spec, known[spec.name]) if spec.name in known else spec for spec in found)


def _named(spec: TensorSpec, other: TensorSpec) -> TensorSpec:
    if len(spec.shape) != len(other.shape):
        return spec
    axes = tuple(
        name if axis is None and isinstance(name, str) else axis
        for axis, name in zip(spec.shape, other.shape, strict=True)
    )
    return dataclasses.replace(spec, shape=axes, columns=other.columns)


def _spec(name: str, tensor: SavedTensor, side: str, where: str) -> TensorSpec:
    if tensor.encoding != "name":
        what = f"the {side} '{name}' of the SavedModel is no plain tensor ({tensor.encoding})"
        raise ConversionFailed(what, where=where, hint="export it with a signature of dense tensors")
    if tensor.dtype not in DTYPES:
        raise ConversionFailed(f"the {side} '{name}' is {tensor.dtype}, which no other format has", where=where)
    if tensor.shape is None:
        what = f"the {side} '{name}' of the SavedModel has an unknown number of axes"
        raise ConversionFailed(what, where=where, hint="export it with tf.TensorSpec([None, …], …) for its axes")
    return TensorSpec(name, DTYPES[tensor.dtype], tensor.shape)


def _signature(definition: Any) -> SavedSignature:
    return SavedSignature(
        inputs={name: saved_tensor(definition.inputs[name]) for name in sorted(definition.inputs)},
        outputs={name: saved_tensor(definition.outputs[name]) for name in sorted(definition.outputs)},
        method=definition.method_name,
        optional=tuple(sorted(definition.defaults)),
    )


def saved_tensor(info: Any) -> SavedTensor:
    """What a TensorInfo message says of a tensor: those of a file and those of a server's metadata."""
    shape = info.tensor_shape
    axes: tuple[Axis, ...] = tuple(None if dim.size < 0 else dim.size for dim in shape.dim)
    return SavedTensor(
        dtype=type_name(info.dtype),
        shape=None if shape.unknown_rank else axes,
        encoding=info.WhichOneof("encoding") or "name",
    )


def _operators(graph: Any) -> Mapping[str, int]:
    called = {function.signature.name for function in graph.library.function}
    counted = Counter(node.op for node in _nodes(graph) if node.op not in called)
    return dict(sorted(counted.items()))


def _nodes(graph: Any) -> Iterator[Any]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def
