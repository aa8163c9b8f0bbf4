"""What a served model takes and gives, of the server's own words: its metadata and its configuration.

Clients see a row as `dims`, and behind an axis for the batch where the model has one. A `reshape` makes it another
shape for the model: the signature here is the model's, so that it can be held against the file's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlconvert.errors import NotVerified, RepositoryInvalid
from mlconvert.serving.client import Client, wait_ready
from mlconvert.serving.locations import LABEL, ServedModel
from mlconvert.serving.wire import NAMES
from mlconvert.signature import Axis, Signature, TensorSpec

if TYPE_CHECKING:
    import numpy as np

BATCH = "batch"
# Parameters of an ensemble's configuration: a list (JSON) of tensors that are one number a row to the model, no axis at
# all. Other models say so by a reshape, which the server takes for an inconsistency along an ensemble's edges.
SCALARS: Mapping[str, str] = {"input": "mlconvert.scalar_inputs", "output": "mlconvert.scalar_outputs"}


@dataclass(frozen=True)
class Reshape:
    """The shape of a row as clients have it, and as the model has it."""

    outside: tuple[int, ...]
    inside: tuple[int, ...]


@dataclass(frozen=True)
class Served:
    """`reshapes` are those of inputs and outputs, by name: a name may be both, so that they are apart."""

    name: str
    signature: Signature
    max_batch_size: int
    inputs: Mapping[str, Reshape]
    outputs: Mapping[str, Reshape]
    decoupled: bool

    def to_client(self, name: str, array: np.ndarray) -> np.ndarray:
        """An input of the model in the shape that the server takes."""
        return _reshaped(array, self.inputs.get(name), self.max_batch_size > 0, inward=False)

    def to_model(self, name: str, array: np.ndarray) -> np.ndarray:
        """An output of the server in the shape that the model gave it."""
        return _reshaped(array, self.outputs.get(name), self.max_batch_size > 0, inward=True)


def served_model(metadata: Mapping[str, Any], config: Mapping[str, Any]) -> Served:
    """Raises RepositoryInvalid for a tensor of a dtype that mlconvert does not know."""
    rows = int(config.get("max_batch_size", 0))
    reshapes = {side: _scalars(config, side) | _reshapes(config.get(side, [])) for side in ("input", "output")}
    sides = [
        tuple(_spec(tensor, reshapes[side].get(tensor["name"]), batches=rows > 0) for tensor in metadata[f"{side}s"])
        for side in ("input", "output")
    ]
    policy = config.get("model_transaction_policy", {})
    return Served(
        name=metadata["name"],
        signature=Signature(*sides),
        max_batch_size=rows,
        inputs=reshapes["input"],
        outputs=reshapes["output"],
        decoupled=bool(policy.get("decoupled", False)),
    )


@dataclass(frozen=True)
class Described:
    """A served model, the number of the version that was asked for, and a digest of what the server says of it.

    The digest is no digest of the model's files: those are the server's, and are not seen.
    """

    served: Served
    version: str | None
    sha256: str


def describe(client: Client, place: ServedModel) -> Described:
    """What a server says of a model, once that is ready.

    Raises RepositoryInvalid: the server is down, not ready in time, or has no such model, version or label.
    """
    named = place.version is not None and not place.version.isdecimal()
    version = None if named else place.version
    wait_ready(client, place.name, version)
    config = client.config(place.name, version)
    if named:
        version = _labelled(place, config)
        wait_ready(client, place.name, version)
    metadata = client.metadata(place.name, version)
    told = {"config": config, "metadata": metadata, "version": version}
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    return Described(served_model(metadata, config), version, digest)


def _labelled(place: ServedModel, config: Mapping[str, Any]) -> str:
    """The number of the version that has a label."""
    labels = {
        key.removeprefix(LABEL): str(row.get("string_value", ""))
        for key, row in config.get("parameters", {}).items()
        if key.startswith(LABEL)
    }
    asked = place.version or ""
    if asked not in labels:
        known = f"its labels are {', '.join(sorted(labels))}" if labels else "it has no labels"
        what = f"'{asked}' is neither a version nor a label of the model '{place.name}': {known}"
        raise RepositoryInvalid(what, where=str(place))
    return labels[asked]


def _reshapes(tensors: Sequence[Mapping[str, Any]]) -> dict[str, Reshape]:
    return {
        tensor["name"]: Reshape(
            tuple(int(dim) for dim in tensor.get("dims", ())),
            tuple(int(dim) for dim in tensor["reshape"].get("shape", ())),
        )
        for tensor in tensors
        if tensor.get("reshape") is not None
    }


def _scalars(config: Mapping[str, Any], side: str) -> dict[str, Reshape]:
    told = config.get("parameters", {}).get(SCALARS[side], {}).get("string_value") or "[]"
    try:
        names = json.loads(told)
    except ValueError:
        names = []
    dims = {tensor["name"]: tuple(int(dim) for dim in tensor.get("dims", ())) for tensor in config.get(side, [])}
    return {name: Reshape((1,), ()) for name in names if isinstance(name, str) and dims.get(name) == (1,)}


def _spec(tensor: Mapping[str, Any], reshape: Reshape | None, *, batches: bool) -> TensorSpec:
    if tensor["datatype"] not in NAMES:
        raise RepositoryInvalid(f"the server's tensor '{tensor['name']}' is {tensor['datatype']}, an unknown type")
    dims = [int(dim) for dim in tensor["shape"]]
    if batches:
        dims = dims[1:]
    if reshape is not None:
        dims = list(reshape.inside)
    axes: list[Axis] = [None if dim < 0 else dim for dim in dims]
    return TensorSpec(tensor["name"], NAMES[tensor["datatype"]], (*([BATCH] if batches else []), *axes))


def _reshaped(array: np.ndarray, reshape: Reshape | None, batches: bool, *, inward: bool) -> np.ndarray:
    if reshape is None:
        return array
    had, gets = (reshape.outside, reshape.inside) if inward else (reshape.inside, reshape.outside)
    rows = array.shape[:1] if batches else ()
    row = array.shape[1:] if batches else array.shape
    lengths = [length for length, dim in zip(row, had, strict=False) if dim < 0]
    if len(row) != len(had) or len(lengths) != sum(dim < 0 for dim in gets):
        raise NotVerified(f"an array of {list(array.shape)} does not fit the reshape from {list(had)} to {list(gets)}")
    filled = iter(lengths)  # the server pairs the variable dims of both sides in their order
    return array.reshape((*rows, *(next(filled) if dim < 0 else dim for dim in gets)))
