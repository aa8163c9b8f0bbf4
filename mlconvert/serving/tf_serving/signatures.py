"""The signature of a served model, of the server's own words: its metadata."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from mlconvert.errors import NotVerified
from mlconvert.serving.tf_serving.messages import type_name
from mlconvert.serving.tf_serving.protocol import SIGNATURE, Metadata
from mlconvert.serving.tf_serving.tensor_protos import DTYPES
from mlconvert.signature import Axis, Signature, TensorSpec


def signature_of(metadata: Metadata, *, where: str, key: str = SIGNATURE) -> Signature:
    """Inputs and outputs by name, sorted: the server keeps no order.

    Raises NotVerified, which says what there is instead: no such signature, a tensor of a type that no other format
    has, that is no plain tensor, or of an unknown number of axes.
    """
    known = metadata.signatures.signature_def
    if key not in known:
        names = ", ".join(sorted(name for name in known if not name.startswith("__"))) or "none"
        what = f"version {metadata.version} of '{metadata.name}' has no signature '{key}'; it has: {names}"
        raise NotVerified(what, where=where, hint="export the model with tf.saved_model.save(…, signatures=…)")
    asked = known[key]
    return Signature(
        *(
            tuple(_spec(name, tensors[name], side, where) for name in sorted(tensors))
            for side, tensors in (("input", asked.inputs), ("output", asked.outputs))
        )
    )


def _spec(name: str, info: Any, side: str, where: str) -> TensorSpec:
    encoding = info.WhichOneof("encoding") or "name"
    if encoding != "name":
        raise NotVerified(f"the {side} '{name}' of the served model is no plain tensor ({encoding})", where=where)
    dtype = DTYPES.get(type_name(info.dtype))
    if dtype is None:
        what = f"the {side} '{name}' of the served model is {type_name(info.dtype)}, which no other format has"
        raise NotVerified(what, where=where)
    if info.tensor_shape.unknown_rank:
        raise NotVerified(f"the {side} '{name}' of the served model has an unknown number of axes", where=where)
    axes: tuple[Axis, ...] = tuple(None if dim.size < 0 else int(dim.size) for dim in info.tensor_shape.dim)
    return TensorSpec(name, dtype, axes)


def metadata_sha256(metadata: Metadata) -> str:
    """A digest of what a server says of a model, the same over both protocols; none of the model's files."""
    told = {
        key: {
            side: {
                name: [
                    type_name(info.dtype),
                    None if info.tensor_shape.unknown_rank else [int(dim.size) for dim in info.tensor_shape.dim],
                ]
                for name, info in tensors.items()
            }
            for side, tensors in (("inputs", definition.inputs), ("outputs", definition.outputs))
        }
        for key, definition in metadata.signatures.signature_def.items()
    }
    whole = {"name": metadata.name, "version": metadata.version, "signatures": told}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
