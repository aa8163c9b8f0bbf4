"""config.pbtxt: the protobuf message, its text, and how it compares with a model."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlconvert import packages
from mlconvert.errors import MlconvertError, RepositoryInvalid, UsageError
from mlconvert.repositories.policies import VersionPolicy
from mlconvert.signature import Axis, Signature, TensorSpec

CONFIG = "config.pbtxt"

# The wire calls strings BYTES, config.pbtxt calls them TYPE_STRING.
TYPES: Mapping[str, str] = {
    "bool": "TYPE_BOOL",
    "uint8": "TYPE_UINT8",
    "uint16": "TYPE_UINT16",
    "uint32": "TYPE_UINT32",
    "uint64": "TYPE_UINT64",
    "int8": "TYPE_INT8",
    "int16": "TYPE_INT16",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
    "float64": "TYPE_FP64",
    "bfloat16": "TYPE_BF16",
    "string": "TYPE_STRING",
}

# What a reader looks for first comes first; fields that are not listed follow in the message's own order.
_ORDER = ("name", "backend", "platform", "default_model_filename", "max_batch_size", "input", "output")


def model_config() -> Any:
    """An empty ModelConfig message of the real server's protocol; MissingPackage when tritonclient is not there."""
    packages.require((packages.TRITONCLIENT,), "a Triton repository")
    from tritonclient.grpc import model_config_pb2

    return model_config_pb2.ModelConfig()


def as_text(config: Any, comments: Iterable[str] = ()) -> str:
    """The message as config.pbtxt, always the same for the same message; read back and compared."""
    from google.protobuf import text_format

    fields = [field.name for field in config.DESCRIPTOR.fields]
    listed = {field.name for field, _ in config.ListFields()}
    parts = [f"# {comment}\n" for comment in comments]
    for name in (*_ORDER, *(name for name in fields if name not in _ORDER)):
        if name in listed:
            part = type(config)()
            part.CopyFrom(config)
            for other in listed - {name}:
                part.ClearField(other)
            parts.append(text_format.MessageToString(part, use_short_repeated_primitives=True))
        elif name == "max_batch_size" and "ensemble_scheduling" not in listed:
            parts.append("max_batch_size: 0\n")  # the printer leaves zeros out, but a reader wants to see this one
    text = "".join(parts)
    if parse(text, where=CONFIG) != config:
        raise MlconvertError("config.pbtxt does not read back as it was written", where=text)
    return text


def comments_of(text: str) -> list[str]:
    """The comments at the head of a config.pbtxt, as `as_text` takes them."""
    lines = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    return [line.removeprefix("#").removeprefix(" ") for line in lines]


def parse(text: str, *, where: str) -> Any:
    """The message in a config.pbtxt. Raises RepositoryInvalid with file and line."""
    from google.protobuf import text_format

    config = model_config()
    try:
        return text_format.Parse(text, config)
    except text_format.ParseError as error:
        line = f":{error.GetLine()}" if error.GetLine() else ""
        raise RepositoryInvalid(f"not a Triton model configuration: {error}", where=f"{where}{line}") from error


def read(path: Path) -> Any:
    try:
        return parse(path.read_text("utf-8"), where=str(path))
    except UnicodeDecodeError as error:
        raise RepositoryInvalid("not a Triton model configuration: not UTF-8 text", where=str(path)) from error


def data_type_number(dtype: str) -> int:
    """The number of a signature's dtype in the server's protocol."""
    values = model_config().DESCRIPTOR.file.enum_types_by_name["DataType"].values_by_name
    return int(values[TYPES[dtype]].number)


def shape_of(spec: TensorSpec) -> list[int]:
    """A shape as servers write it: -1 for every dynamic axis."""
    return [_length(axis) for axis in spec.shape]


def _length(axis: Axis) -> int:
    return axis if isinstance(axis, int) else -1


# --- a configuration against a model ---


@dataclass(frozen=True)
class Contradiction:
    """A field of the configuration that the model does not fit; `omitted`: it says nothing where it has to."""

    field: str
    configured: str
    model: str
    omitted: bool = False

    def __str__(self) -> str:
        return f"{self.field}: the configuration has {self.configured}, the model {self.model}"


def heading_contradictions(
    config: Any, name: str, backend: str, platforms: Iterable[str], model_file: str
) -> list[Contradiction]:
    """Where a configuration asks for another model, backend or file than what is published."""
    found = []
    if config.name and config.name != name:
        found.append(Contradiction("name", f"'{config.name}'", f"'{name}'"))
    if config.backend != backend and (config.backend or config.platform not in platforms):
        found.append(Contradiction("backend", f"'{config.backend or config.platform}'", f"'{backend}'"))
    if config.default_model_filename not in ("", model_file):
        found.append(Contradiction("default_model_filename", f"'{config.default_model_filename}'", f"'{model_file}'"))
    return found


def contradictions(config: Any, signature: Signature) -> list[Contradiction]:
    """Where the server would refuse the model under this configuration, by the rules of its onnxruntime backend.

    Every input must be configured, outputs may be left out. An output's shape must be the model's, an input's may be
    narrower. A scalar is configured with ones alone.
    """
    found: list[Contradiction] = []
    batches = config.max_batch_size > 0
    told = told_by_server(config)
    sides: tuple[tuple[str, Any, tuple[TensorSpec, ...]], ...] = (
        ("input", config.input, signature.inputs),
        ("output", config.output, signature.outputs),
    )
    for side, configured, all_specs in sides:
        by_name = {tensor.name: tensor for tensor in configured}
        specs = [spec for spec in all_specs if spec.name not in told[side]]
        known = {spec.name for spec in specs}
        names = ", ".join(f"'{spec.name}'" for spec in specs) or "none"
        if specs and not by_name:
            found.append(Contradiction(side, "none", names, omitted=True))
            continue
        found += [Contradiction(side, f"'{name}'", names) for name in by_name if name not in known]
        for spec in specs:
            if spec.name in by_name:
                found += _tensor_contradictions(side, by_name[spec.name], spec, batches=batches)
            elif side == "input":
                found.append(Contradiction(side, ", ".join(f"'{name}'" for name in by_name), names))
    return list(dict.fromkeys(found))


def told_by_server(config: Any) -> dict[str, set[str]]:
    """The tensors that a sequence batcher gives to and takes from the model, so that no client does."""
    batcher = config.sequence_batching
    inputs = {control.name for control in batcher.control_input} | {state.input_name for state in batcher.state}
    return {"input": inputs, "output": {state.output_name for state in batcher.state}}


def _tensor_contradictions(side: str, tensor: Any, spec: TensorSpec, *, batches: bool) -> list[Contradiction]:
    found = []
    field = f"{side} '{spec.name}'"
    wanted = TYPES.get(spec.dtype, spec.dtype)
    data_types = tensor.DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number
    if data_types[tensor.data_type].name != wanted:
        found.append(Contradiction(f"{field} data_type", data_types[tensor.data_type].name, wanted))
    shape = shape_of(spec)
    dims = list(tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims)
    if batches and (not shape or shape[0] != -1):
        found.append(Contradiction(f"{field} with max_batch_size > 0", "a batch axis", f"the shape {shape}"))
        return found
    full = [-1, *dims] if batches else dims
    if not shape:
        fits = all(dim == 1 for dim in dims)
    elif len(full) != len(shape):
        fits = False
    else:
        fits = all(a == b or (side == "input" and b == -1) for a, b in zip(full, shape, strict=True))
    if not fits:
        found.append(Contradiction(f"{field} shape", str(full), str(shape)))
    return found


# --- which versions are served ---


def live_versions(config: Any, numbers: Iterable[int]) -> set[int]:
    """The numbers that the configuration's version policy serves; without a policy the newest one."""
    return policy_of(config).live(numbers)


def policy_of(config: Any) -> VersionPolicy:
    policy = config.version_policy
    kind = policy.WhichOneof("policy_choice")
    if kind == "specific":
        return VersionPolicy("specific", versions=tuple(policy.specific.versions))
    return VersionPolicy("all") if kind == "all" else VersionPolicy("latest", policy.latest.num_versions)


def fill_policy(policy: Any, wanted: VersionPolicy) -> None:
    """Write the policy into an empty `version_policy`."""
    if wanted.kind == "latest":
        policy.latest.num_versions = wanted.count
    elif wanted.kind == "all":
        policy.all.SetInParent()
    else:
        policy.specific.versions.extend(wanted.versions)


def policy_text(config: Any) -> str:
    return str(policy_of(config))


def positive(option: str, value: int) -> int:
    if value < 1:
        raise UsageError(f"{option}={value}: expected 1 or more")
    return value


def not_negative(option: str, value: int) -> int:
    if value < 0:
        raise UsageError(f"{option}={value}: expected 0 or more")
    return value
