"""model_warmup: requests that the server makes by itself when it loads a model, and fails to load where one fails."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlconvert.repositories.findings import Finding
from mlconvert.repositories.triton.lint.model import ModelFolder, type_name

FOLDER = "warmup"

_BYTES = {
    "TYPE_BOOL": 1, "TYPE_UINT8": 1, "TYPE_INT8": 1, "TYPE_UINT16": 2, "TYPE_INT16": 2, "TYPE_FP16": 2, "TYPE_BF16": 2,
    "TYPE_UINT32": 4, "TYPE_INT32": 4, "TYPE_FP32": 4, "TYPE_UINT64": 8, "TYPE_INT64": 8, "TYPE_FP64": 8,
}  # fmt: skip


def samples(model: ModelFolder) -> Iterator[Finding]:
    if model.is_ensemble:
        return
    config = model.config
    wanted = {tensor.name: tensor for tensor in config.input}
    rows = config.max_batch_size
    for number, sample in enumerate(config.model_warmup):
        field = f"model_warmup '{sample.name}'" if sample.name else f"model_warmup {number}"
        if sample.batch_size > max(rows, 1):
            what = f"a batch of {sample.batch_size} rows, where max_batch_size is {rows}"
            yield model.error("warmup-batch-size", f"{field} batch_size", what, f"write batch_size: {max(rows, 1)}")
        if not config.HasField("sequence_batching"):
            missing = [name for name, tensor in wanted.items() if name not in sample.inputs and not tensor.optional]
            for name in missing:
                what = f"the input '{name}' is missing"
                yield model.error(
                    "warmup-input", f"{field} inputs", what, f'add inputs {{ key: "{name}" value {{ … }} }}'
                )
        for name in sorted(sample.inputs):
            where = f"{field} input '{name}'"
            if name in wanted:
                yield from _input(model, where, sample.inputs[name], wanted[name])
            else:
                what = f"the model has no input '{name}'"
                yield model.error("warmup-input", where, what, f"remove it: the inputs are {', '.join(wanted)}")


def _input(model: ModelFolder, field: str, given: Any, wanted: Any) -> Iterator[Finding]:
    kind = type_name(given)
    if kind != type_name(wanted):
        what = f"the type is {kind}, and the input's {type_name(wanted)}"
        yield model.error("warmup-type", f"{field} data_type", what, f"write data_type: {type_name(wanted)}")
        return
    dims, own = list(given.dims), list(wanted.dims)
    if any(length < 0 for length in dims):
        what = f"dims {dims}: a sample's lengths are all fixed"
        yield model.error("warmup-dims", f"{field} dims", what, "write a length for each -1")
        return
    if len(dims) != len(own) or any(b not in (-1, a) for a, b in zip(dims, own, strict=True)):
        what = f"the dims are {dims}, and the input's {own}"
        yield model.error("warmup-dims", f"{field} dims", what, f"write dims that fit {own}, without the batch axis")
        return
    source = given.WhichOneof("input_data_type")
    if source is None:
        what = "there are no data: neither zero_data, random_data nor input_data_file"
        yield model.error("warmup-source", field, what, "add zero_data: true")
    elif source == "input_data_file":
        yield from _file(model, field, given, kind, math.prod(dims))


def _file(model: ModelFolder, field: str, given: Any, kind: str, elements: int) -> Iterator[Finding]:
    name = given.input_data_file
    path: Path = model.path / FOLDER / name
    where = f"{FOLDER}/{name}"
    if not path.is_file():
        what = f"the file of data '{where}' is not in the model's folder"
        fix = f"put it at {model.name}/{where}, or write zero_data: true"
        yield model.error("warmup-file", f"{field} input_data_file", what, fix)
        return
    if kind == "TYPE_STRING":
        told = _strings(path.read_bytes(), elements)
        if told:
            fix = "write each text after its length in 4 bytes, little-endian"
            yield model.error("warmup-file", f"{field} input_data_file", f"'{where}' {told}", fix, file=where)
        return
    size, needed = path.stat().st_size, elements * _BYTES.get(kind, 0)
    if size < needed:
        what = f"'{where}' has {size} bytes, and the dims need {needed}"
        yield model.error("warmup-file", f"{field} input_data_file", what, f"write {needed} bytes", file=where)
    elif size > needed:
        what = f"'{where}' has {size} bytes, of which the server takes the first {needed}"
        yield model.warning("warmup-file", f"{field} input_data_file", what, f"write {needed} bytes", file=where)


def _strings(data: bytes, elements: int) -> str | None:
    """What is wrong with texts that each follow their length; None where nothing is."""
    place, count = 0, 0
    while place < len(data):
        if place + 4 > len(data):
            return "ends within the length of a text"
        place += 4 + int.from_bytes(data[place : place + 4], "little")
        count += 1
        if place > len(data):
            return "ends within a text"
    return None if count == elements else f"holds {count} texts, and the dims need {elements}"


RULES = (samples,)
