"""Warm-up requests: a server that cannot read or run them all does not load the version."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlconvert.errors import MlconvertError, RepositoryInvalid
from mlconvert.readers.saved_model_files import SIGNATURE, TAG, SavedModelFile, read_saved_model
from mlconvert.repositories.findings import Finding
from mlconvert.repositories.tf_serving.lint.model import ServedModel
from mlconvert.repositories.tf_serving.saved_models import MAIN, WARMUP
from mlconvert.repositories.tf_serving.warmup import MOST, masked_crc
from mlconvert.repositories.versions import VersionFolder
from mlconvert.serving.tf_serving.messages import message, type_name

LARGEST = 64 << 20  # bytes that are looked through: the checksums are taken a byte at a time


def warmup(model: ServedModel) -> Iterator[Finding]:
    for version in model.versions:
        path = version.path / WARMUP
        if path.is_file():
            yield from _of_version(model, version, path)


def _of_version(model: ServedModel, version: VersionFolder, path: Path) -> Iterator[Finding]:
    fix = f"publish the model again: that writes it anew; or rm {path}"
    if path.stat().st_size > LARGEST:
        what = f"{path.stat().st_size >> 20} MiB, of which at most {LARGEST >> 20} are looked through"
        yield model.finding("unchecked", "warmup-size", what, fix, file=f"{version.path.name}/{WARMUP}")
        return
    count = 0
    try:
        saved = _saved(version)
        for count, content in enumerate(records_in(path.read_bytes()), 1):
            if count > MOST:
                continue
            for what in _wrong(content, saved):
                told = f"record {count}: {what}: the server does not load the version"
                yield model.of_version(version, "warmup-request", told, fix, file=WARMUP, field=f"record {count}")
    except RepositoryInvalid as error:
        told = f"{error.message}: the server does not load the version"
        yield model.of_version(version, "warmup-damaged", told, fix, file=WARMUP)
    if count > MOST:
        told = f"{count} records, of which the server takes no more than {MOST}: it does not load the version"
        yield model.of_version(version, "warmup-count", told, fix, file=WARMUP)


def records_in(content: bytes) -> Iterator[bytes]:
    """The records of a TFRecord file. Raises RepositoryInvalid where it is cut off, or a checksum is wrong."""
    at, number = 0, 0
    while at < len(content):
        number += 1
        head = content[at : at + 12]
        if len(head) < 12 or masked_crc(head[:8]) != head[8:]:
            raise RepositoryInvalid(f"not a TFRecord, or damaged: the length of record {number}")
        length = int(struct.unpack("<Q", head[:8])[0])
        body, check = content[at + 12 : at + 12 + length], content[at + 12 + length : at + 16 + length]
        if len(body) < length or masked_crc(body) != check:
            raise RepositoryInvalid(f"not a TFRecord, or damaged: the content of record {number}")
        yield body
        at += 16 + length


def _saved(version: VersionFolder) -> SavedModelFile | None:
    """None for a saved_model.pb that other rules have found to be wrong."""
    try:
        saved = read_saved_model(version.path / MAIN)
    except MlconvertError:
        return None
    return saved if (TAG,) in saved.tags else None


def _wrong(content: bytes, saved: SavedModelFile | None) -> Iterator[str]:
    from google.protobuf.message import DecodeError

    try:
        log = message("PredictionLog").FromString(content)
    except DecodeError:
        yield "no PredictionLog"
        return
    kind = log.WhichOneof("log_type")
    if kind is None:
        yield "a PredictionLog without a request"
    elif kind == "predict_log" and saved is not None:
        yield from _predict(log.predict_log.request, saved)


def _predict(request: Any, saved: SavedModelFile) -> Iterator[str]:
    key = request.model_spec.signature_name or SIGNATURE
    signature = saved.signatures.get(key)
    if signature is None:
        yield f"it calls the signature '{key}', which the model does not have"
        return
    if missing := sorted(signature.inputs.keys() - request.inputs.keys() - set(signature.optional)):
        yield f"the input '{missing[0]}' is missing"
    for name in sorted(request.inputs):
        tensor, expected = request.inputs[name], signature.inputs.get(name)
        if expected is None:
            yield f"the model has no input '{name}'"
        elif type_name(tensor.dtype) != expected.dtype:
            yield f"the input '{name}' is {type_name(tensor.dtype)}, and the model's is {expected}"
        elif expected.shape is not None:
            shape = [dim.size for dim in tensor.tensor_shape.dim]
            same = len(shape) == len(expected.shape)
            if not same or any(axis not in (None, n) for axis, n in zip(expected.shape, shape, strict=True)):
                yield f"the input '{name}' is {shape}, and the model's is {expected}"


RULES = (warmup,)
