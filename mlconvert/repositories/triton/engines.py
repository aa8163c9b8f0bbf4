"""The hardware-bound files of a Triton repository: which file the server loads on which GPU, read without protobuf.

Only the few fields that decide it are looked at; whether a configuration is right is for `lint` to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlconvert import records
from mlconvert.errors import MlconvertError, RepositoryInvalid
from mlconvert.formats.content import Content, is_aotinductor
from mlconvert.formats.tensorrt import is_tensorrt
from mlconvert.readers.hardware_builds import onnx_note
from mlconvert.repositories.policies import LATEST, VersionPolicy
from mlconvert.repositories.tf_serving.textproto import Field, fields_of
from mlconvert.repositories.triton.config import CONFIG
from mlconvert.repositories.versions import VersionFolder, plain_versions

PLANS = (".plan", ".engine", ".trt")
BOUND_NAMES = ("model.plan", "model.pt2", "model.onnx")


@dataclass(frozen=True)
class Placement:
    """What a configuration says of files and GPUs; `fault` is why it could not be read."""

    tensorrt: bool = False
    onnxruntime: bool = False
    default_file: str | None = None
    by_capability: Mapping[str, str] = field(default_factory=dict)  # `8.0` -> a file
    gpus: tuple[int, ...] | None = None  # None: all
    policy: VersionPolicy = LATEST
    fault: str | None = None


@dataclass(frozen=True)
class BoundFile:
    """A file that the server loads, on GPUs of these compute capabilities (None: those no other file is for)."""

    model: str
    version: int
    served: bool
    path: Path
    format: str
    record: dict[str, Any] | None
    placement: Placement
    capabilities: tuple[str, ...] | None = None
    fault: str | None = None


def bound_files(repository: Path, name: str, config: str = CONFIG) -> tuple[list[BoundFile], int]:
    """The hardware-bound files of a model, version by version; and how many versions have none.

    `config` is the configuration that the server takes, by its path in the model's folder.
    """
    placement = read_placement(repository / name / config)
    versions = plain_versions(repository / name)
    served = placement.policy.live(version.number for version in versions)
    found, free = [], 0
    for version in versions:
        files = list(_files(name, version, placement, served=version.number in served))
        found += files
        free += not files
    return found, free


def _files(name: str, version: VersionFolder, placement: Placement, *, served: bool) -> Iterator[BoundFile]:
    by_capability = placement.by_capability
    wanted: list[tuple[Path, tuple[str, ...] | None]] = [(path, None) for path in _main_files(version.path, placement)]
    for other in dict.fromkeys(by_capability.values()):
        keys = tuple(key for key, value in by_capability.items() if value == other)
        wanted.append((version.path / other, keys))
    for path, capabilities in wanted:
        bound = _format(path, tensorrt=placement.tensorrt)
        recorded = records.find(path) if path.exists() else None
        record = recorded[0] if recorded else None
        if bound is None and not ((record or {}).get("facts") or {}).get("hardware") and not onnx_note(path):
            continue
        fault = placement.fault or (_changed(record, path) if record else None)
        yield BoundFile(
            model=name,
            version=version.number,
            served=served,
            path=path,
            format=bound or "onnx",
            record=record,
            placement=placement,
            capabilities=capabilities,
            fault=fault,
        )


def _main_files(folder: Path, placement: Placement) -> list[Path]:
    if placement.default_file:
        return [folder / placement.default_file]
    there = [folder / name for name in BOUND_NAMES if (folder / name).exists()]
    inner = [path / path.name if path.is_dir() else path for path in there]  # model.onnx/model.onnx
    if placement.tensorrt:
        return [folder / "model.plan"]  # missing or not: the server looks for it
    if placement.onnxruntime:
        return [path for path in inner if path.suffix == ".onnx"]
    # What a model.py or a backend of one's own may load, too.
    others = [path for path in sorted(folder.iterdir()) if path.suffix in PLANS and path not in inner]
    return [*inner, *(path for path in others if path.name not in placement.by_capability.values())]


def _format(path: Path, *, tensorrt: bool) -> str | None:
    """`tensorrt` or `aotinductor`, damaged ones too; None for a file that its format does not bind."""
    if tensorrt or path.suffix in PLANS:
        return "tensorrt"
    try:
        content = Content.of(path)
    except OSError:
        return None
    try:
        if is_tensorrt(content):
            return "tensorrt"
    except MlconvertError:
        return "tensorrt"
    try:
        return "aotinductor" if path.suffix == ".pt2" and is_aotinductor(content) else None
    except MlconvertError:
        return "aotinductor"


def _changed(record: Mapping[str, Any], path: Path) -> str | None:
    """Why the record is not of this file, by its size: digests of many large engines are for `lint` to compare."""
    row = next((row for row in record["files"] if Path(row["path"]).name == path.name), None)
    size = path.stat().st_size if path.is_file() else None
    if row is None or (size is not None and row.get("bytes", size) != size):
        return "the record beside it is of another file: their sizes differ" if row else "its record does not name it"
    return None


def read_placement(config: Path) -> Placement:
    """What the configuration says; one without fields where there is none."""
    try:
        text = config.read_text("utf-8")
        fields = fields_of(text, where=str(config))
    except FileNotFoundError:
        return Placement()
    except (OSError, ValueError) as error:
        return Placement(fault=f"{CONFIG} cannot be read: {error}")
    except RepositoryInvalid as error:
        return Placement(fault=f"{CONFIG} cannot be read: {error.message}")
    named: dict[str, list[Field]] = {}
    for one in fields:
        named.setdefault(one.name, []).append(one)
    scalars = {name: _text(rows[-1].value) for name, rows in named.items() if rows[-1].value is not None}
    pairs = [(_scalar(one, "key"), _scalar(one, "value")) for one in named.get("cc_model_filenames", [])]
    return Placement(
        onnxruntime=scalars.get("backend") == "onnxruntime" or scalars.get("platform") == "onnxruntime_onnx",
        tensorrt=scalars.get("backend") == "tensorrt" or scalars.get("platform") == "tensorrt_plan",
        default_file=scalars.get("default_model_filename") or None,
        by_capability={key: value for key, value in pairs if key and value},
        gpus=_gpus(named.get("instance_group", [])),
        policy=_policy(named.get("version_policy", [])),
    )


def _gpus(groups: list[Field]) -> tuple[int, ...] | None:
    """The GPUs that instances are put on; None: all, which is what a group that names none means."""
    wanted: set[int] = set()
    for group in groups:
        if _scalar(group, "kind") == "KIND_CPU":
            continue
        named = [int(one.value or 0) for one in group.of("gpus") if (one.value or "").isdigit()]
        if not named:
            return None
        wanted.update(named)
    return tuple(sorted(wanted)) or None


def _policy(rows: list[Field]) -> VersionPolicy:
    for choice in rows[-1].fields if rows else ():
        if choice.name == "all":
            return VersionPolicy("all")
        if choice.name == "specific":
            numbers = tuple(int(one.value or 0) for one in choice.of("versions") if (one.value or "").isdigit())
            return VersionPolicy("specific", versions=numbers)
        if choice.name == "latest":
            number = _scalar(choice, "num_versions")
            return VersionPolicy("latest", int(number) if number and number.isdigit() else 1)
    return LATEST


def _scalar(message: Field, name: str) -> str | None:
    found = message.of(name)
    return _text(found[-1].value) if found else None


def _text(value: str | None) -> str:
    """A scalar without its quotes."""
    text = value or ""
    return text[1:-1] if text[:1] in ('"', "'") and text[-1:] == text[:1] else text
