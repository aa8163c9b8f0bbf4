"""Inputs and outputs as the configuration describes them, before any model is looked at."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from mlconvert.repositories.findings import Finding
from mlconvert.repositories.triton.lint.model import ModelFolder, type_name


def _sides(model: ModelFolder) -> Iterator[tuple[str, Any, str]]:
    for side, tensors in (("input", model.config.input), ("output", model.config.output)):
        for number, tensor in enumerate(tensors):
            yield side, tensor, f"{side} '{tensor.name}'" if tensor.name else f"{side} {number}"


def names(model: ModelFolder) -> Iterator[Finding]:
    for side, tensor, field in _sides(model):
        if not tensor.name:
            yield model.error("tensor-name-missing", field, f"an {side} has no name", f'write name: "…" in {field}')
    for side, tensors in (("input", model.config.input), ("output", model.config.output)):
        for name, count in Counter(tensor.name for tensor in tensors).items():
            if name and count > 1:
                level = model.error if side == "input" else model.warning
                yield level("tensor-twice", f"{side} '{name}'", f"it is configured {count} times", "leave one of them")


def types(model: ModelFolder) -> Iterator[Finding]:
    for _, tensor, field in _sides(model):
        if type_name(tensor) == "TYPE_INVALID":
            fix = f"write data_type: TYPE_FP32, or what the model has, in {field}"
            yield model.error("data-type-missing", f"{field} data_type", "there is no data type", fix)


def dims(model: ModelFolder) -> Iterator[Finding]:
    for _, tensor, field in _sides(model):
        if not tensor.dims:
            what = "there are no dims: the server has no tensors without any"
            fix = "write dims: [ 1 ] reshape { shape: [ ] } for rows of one number"
            yield model.error("dims-missing", f"{field} dims", what, fix)
        for length in tensor.dims:
            if length < 1 and length != -1:
                what = f"a length of {length}: it is 1 or more, or -1 where it varies"
                yield model.error("dims-value", f"{field} dims", what, f"write -1 instead of {length}")


def reshapes(model: ModelFolder) -> Iterator[Finding]:
    for _, tensor, field in _sides(model):
        if not tensor.HasField("reshape") or any(length < 1 and length != -1 for length in tensor.dims):
            continue
        shape, own = list(tensor.reshape.shape), list(tensor.dims)
        where = f"{field} reshape"
        if any(length < 1 and length != -1 for length in shape):
            what = f"reshape to {shape}: a length is 1 or more, or -1"
            yield model.error("reshape-elements", where, what, "correct reshape, or remove it")
        elif not shape and model.config.max_batch_size <= 0:
            what = "a model that does not batch cannot have an empty reshape: the server has no scalars"
            yield model.error("reshape-elements", where, what, "remove reshape and write dims: [ 1 ], or [ -1 ]")
        elif not _same_size(own, shape):
            what = f"dims {own} and reshape {shape} do not have the same number of elements"
            yield model.error("reshape-elements", where, what, "write a shape of as many elements as dims has")


def _same_size(dims: list[int], shape: list[int]) -> bool:
    """By the server's rule: between dynamic axes, which must be as many, the products are equal one by one."""
    return _products(dims) == _products(shape)


def _products(lengths: list[int]) -> list[int]:
    parts: list[list[int]] = [[]]
    for length in lengths:
        if length == -1:
            parts.append([])
        else:
            parts[-1].append(length)
    return [math.prod(part) for part in parts]


def kinds(model: ModelFolder) -> Iterator[Finding]:
    tensorrt = model.backend_name == "tensorrt"
    for side, tensor, field in _sides(model):
        if side == "input" and type_name(tensor, "format") in ("FORMAT_NHWC", "FORMAT_NCHW") and len(tensor.dims) != 3:
            what = f"the format of an image needs 3 dims, there are {len(tensor.dims)}"
            yield model.error("format-dims", f"{field} format", what, "remove format, or write the three dims")
        for flag in ("is_shape_tensor", "is_non_linear_format_io"):
            if getattr(tensor, flag) and not tensorrt:
                what = "only the tensorrt backend has this"
                yield model.error("tensorrt-only", f"{field} {flag}", what, f"remove {flag}")
        if (
            side == "input"
            and tensor.optional
            and model.config.max_batch_size > 0
            and model.backend_name == "onnxruntime"
        ):
            what = "the onnxruntime backend has no optional inputs in a model that batches"
            yield model.error("optional-input", f"{field} optional", what, "remove optional, or max_batch_size: 0")


def batch_tensors(model: ModelFolder) -> Iterator[Finding]:
    inputs = {tensor.name for tensor in model.config.input}
    outputs = {tensor.name for tensor in model.config.output}
    for field, rows in (("batch_input", model.config.batch_input), ("batch_output", model.config.batch_output)):
        for row in rows:
            problems = []
            if len(row.source_input) != 1:
                problems.append(f"it needs one source_input and has {len(row.source_input)}")
            problems += [f"there is no input '{name}'" for name in row.source_input if name not in inputs]
            if field == "batch_input" and type_name(row) not in ("TYPE_INT32", "TYPE_FP32"):
                problems.append(f"its type is {type_name(row)}, and must be TYPE_INT32 or TYPE_FP32")
            if field == "batch_output":
                problems += [f"there is no output '{name}'" for name in row.target_name if name not in outputs]
            for problem in problems:
                yield model.error("batch-tensor", field, problem, f"correct {field}, or remove it")


def class_labels(model: ModelFolder) -> Iterator[Finding]:
    for tensor in model.config.output:
        name = tensor.label_filename
        if not name:
            continue
        field = f"output '{tensor.name}' label_filename"
        if not (model.path / name).is_file():
            what = f"the file of labels '{name}' is not in the model's folder"
            yield model.error("label-file-missing", field, what, f"put it at {model.name}/{name}, or remove it")
            continue
        count = len((model.path / name).read_text("utf-8", errors="replace").splitlines())
        scores = tensor.dims[-1] if tensor.dims else -1
        if scores > 0 and count != scores:
            what = f"'{name}' has {count} labels for {scores} scores"
            yield model.warning("label-count", field, what, f"write one label a line, {scores} in all")


RULES = (names, types, dims, reshapes, kinds, batch_tensors, class_labels)
