"""What a SavedModel's folder holds, read without TensorFlow: its files, and the signature that a server calls."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlconvert import records
from mlconvert.artifact import Artifact
from mlconvert.errors import RepositoryInvalid
from mlconvert.serving.tf_serving.messages import DATA_TYPES, message
from mlconvert.signature import Axis, Signature, TensorSpec

MAIN = "saved_model.pb"
WARMUP = "assets.extra/tf_serving_warmup_requests"  # what the server runs before it calls a version available
TAG = "serve"
DEFAULT = "serving_default"
_BESIDE = ("variables", "assets")
_ALSO = ("fingerprint.pb",)
_SHARD = re.compile(r"(?P<stem>.+)\.data-[0-9]{5}-of-(?P<count>[0-9]{5})")

DTYPES: Mapping[int, str] = {
    DATA_TYPES[f"DT_{tensorflow}"]: dtype
    for tensorflow, dtype in {
        "BOOL": "bool", "INT8": "int8", "INT16": "int16", "INT32": "int32", "INT64": "int64", "UINT8": "uint8",
        "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64", "HALF": "float16", "BFLOAT16": "bfloat16",
        "FLOAT": "float32", "DOUBLE": "float64", "STRING": "string",
    }.items()
}  # fmt: skip


def placed_files(artifact: Artifact) -> dict[str, Path]:
    """The files of a SavedModel by their path in the version folder, saved_model.pb first.

    Weights and assets belong to it whether the artifact lists them or not; what is in assets.extra/ only where it does:
    warm-up requests that were made for a repository are not the model's own. Raises RepositoryInvalid for a file of
    another folder, and where the weights are not whole.
    """
    folder = artifact.folder
    if artifact.path.name != MAIN:
        raise RepositoryInvalid(
            f"the server looks for {MAIN}, this is {artifact.path.name}",
            where=artifact.location,
            hint="save the model again with tf.saved_model.save",
        )
    found = {MAIN: artifact.path}
    for path in artifact.files:
        if not path.is_relative_to(folder):
            raise RepositoryInvalid(f"{path} is not in the model's folder", where=artifact.location)
        found[path.relative_to(folder).as_posix()] = path
    beside = (path for name in _BESIDE for path in sorted((folder / name).rglob("*")))
    for path in (*(folder / name for name in _ALSO), *beside):
        if path.is_file() and not path.name.startswith("."):
            found[path.relative_to(folder).as_posix()] = path
    found.pop(records.IN_FOLDER, None)
    check_whole(found, where=artifact.location)
    return found


def check_whole(files: Mapping[str, Path], *, where: str) -> None:
    """Raise RepositoryInvalid where the shards of the weights are not all there."""
    if MAIN not in files:
        raise RepositoryInvalid(f"there is no {MAIN}", where=where)
    names = [name for name in files if name.startswith("variables/")]
    index = "variables/variables.index"
    shards = [(name, found) for name in names if (found := _SHARD.fullmatch(name))]
    if shards and index not in files:
        raise RepositoryInvalid(f"the model has weights without {index}", where=where)
    if index in files and not shards:
        raise RepositoryInvalid("the model has variables/variables.index, and no weights", where=where)
    for _, shard in shards:
        count = int(shard["count"])
        for number in range(count):
            expected = f"{shard['stem']}.data-{number:05}-of-{count:05}"
            if expected not in files:
                raise RepositoryInvalid(f"the model's weights lack {expected}", where=where)


def signatures_of(path: Path) -> dict[str, Signature]:
    """The signatures under the tag `serve` of a saved_model.pb. Raises RepositoryInvalid for a file that is none.

    A tensor whose rank is not known has no signature here: neither has the signature that it is in.
    """
    from google.protobuf.message import DecodeError

    model = message("SavedModel")()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise RepositoryInvalid(f"not a SavedModel: {error}", where=str(path)) from error
    graphs = [graph for graph in model.meta_graphs if TAG in graph.meta_info_def.tags]
    if not graphs:
        raise RepositoryInvalid(
            f"the SavedModel has no graph with the tag '{TAG}', which is what a server loads",
            where=str(path),
            hint="save it with tf.saved_model.save",
        )
    found = {}
    for name, definition in sorted(graphs[0].signature_def.items()):
        sides = [_specs(definition.inputs), _specs(definition.outputs)]
        if None not in sides and not name.startswith("__"):
            found[name] = Signature(*(tuple(side) for side in sides if side is not None))
    return found


def served_signature(artifact: Artifact) -> Signature | None:
    """The signature that a request without the name of one calls; None for a model that has none with that name."""
    found = signatures_of(artifact.path).get(DEFAULT)
    if artifact.signature is None or found is None:
        return found
    known = {(spec.name, spec.dtype) for spec in artifact.signature.inputs}
    same = known == {(spec.name, spec.dtype) for spec in found.inputs}
    return artifact.signature if same else found  # it names the axes, too


def _specs(tensors: Mapping[str, Any]) -> list[TensorSpec] | None:
    found = []
    for name, info in sorted(tensors.items()):
        if info.dtype not in DTYPES or info.tensor_shape.unknown_rank or info.WhichOneof("encoding") != "name":
            return None
        shape: tuple[Axis, ...] = tuple(None if dim.size < 0 else int(dim.size) for dim in info.tensor_shape.dim)
        found.append(TensorSpec(name, DTYPES[info.dtype], shape))
    return found
