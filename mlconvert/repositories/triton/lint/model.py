"""One model's folder as the rules see it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlconvert.repositories.findings import Finding, Level
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton.backends import Backend, backend_of
from mlconvert.repositories.triton.ensembles import is_ensemble

# Without `backend` and `platform` the server looks for these names in a version folder, in this order.
GUESSED: tuple[tuple[str, str], ...] = (
    ("model.plan", "tensorrt"),
    ("model.onnx", "onnxruntime"),
    ("model.xml", "openvino"),
    ("model.pt", "pytorch"),
    ("model.py", "python"),
)

_MODEL_FILES = {
    "torch_aoti": "model.pt2",
    "xgboost": "xgboost.model",
    "xgboost_json": "xgboost.json",
    "xgboost_ubj": "xgboost.ubj",
    "lightgbm": "model.txt",
    "treelite_checkpoint": "checkpoint.tl",
}


@dataclass(frozen=True)
class VersionFolder:
    """`number` is what the server reads in the folder's name; only a `plain` one is where it looks for that version."""

    number: int
    name: str
    plain: bool


@dataclass(frozen=True)
class ModelFolder:
    repository: Path
    name: str
    config: Any
    release: str | None
    backend: Backend | None  # None: an ensemble, or a backend that mlconvert does not know
    versions: tuple[VersionFolder, ...]  # lowest number first
    live: frozenset[int]  # numbers that the version policy serves
    config_file: str = cfg.CONFIG  # of `configs/`, where a server is started with --model-config-name

    @property
    def path(self) -> Path:
        return self.repository / self.name

    @property
    def is_ensemble(self) -> bool:
        return is_ensemble(self.config)

    @property
    def backend_name(self) -> str:
        """What serves it, if only by the server's guess; empty where there is nothing to go by."""
        return self.backend.name if self.backend else self.config.backend

    @property
    def model_file(self) -> str | None:
        """The name of the main file in a version folder; None where the backend has none, or is not known."""
        if self.is_ensemble or self.backend is None:
            return None
        if self.config.default_model_filename:
            return str(self.config.default_model_filename)
        kind = self.config.platform
        if self.backend.name == "fil" and "model_type" in self.config.parameters:
            kind = self.config.parameters["model_type"].string_value
        return _MODEL_FILES.get(kind, self.backend.model_file)

    def finding(
        self, level: Level, code: str, field: str | None, message: str, fix: str, *, file: str = cfg.CONFIG
    ) -> Finding:
        file = self.config_file if file == cfg.CONFIG else file
        return Finding(level, code, self.name, f"{self.name}/{file}" if file else self.name, field, message, fix)

    def error(self, code: str, field: str | None, message: str, fix: str, *, file: str = cfg.CONFIG) -> Finding:
        return self.finding("error", code, field, message, fix, file=file)

    def warning(self, code: str, field: str | None, message: str, fix: str, *, file: str = cfg.CONFIG) -> Finding:
        return self.finding("warning", code, field, message, fix, file=file)

    def of_version(
        self, version: VersionFolder, code: str, field: str | None, message: str, fix: str, *, file: str = ""
    ) -> Finding:
        """An error where the version is served; else a warning, for it would be one after a rollback."""
        served = version.number in self.live
        path = f"{version.name}/{file}" if file else version.name
        told = message if served else f"{message} (version {version.number} is not served now)"
        return self.finding("error" if served else "warning", code, field, told, fix, file=path)


def model_folder(repository: Path, name: str, config: Any, release: str | None) -> ModelFolder:
    versions = _versions(repository / name)
    backend = backend_of(config) if config.backend or config.platform else None
    if backend is None and not config.backend and not config.platform and not is_ensemble(config):
        guess = guessed_backend(repository / name, config, versions)
        if guess:
            asked = type(config)()
            asked.backend = guess
            backend = backend_of(asked)
    live = live_versions(config, [version.number for version in versions])
    return ModelFolder(repository, name, config, release, backend, versions, frozenset(live))


def guessed_backend(folder: Path, config: Any, versions: Iterable[VersionFolder]) -> str | None:
    """What the server makes of a configuration without a backend: by the model's file name."""
    named = config.default_model_filename
    if named:
        return dict(GUESSED).get(named)
    for file_name, backend in GUESSED:
        if any((folder / version.name / file_name).exists() for version in versions):
            return backend
    return folder.name.partition(".")[2] or None


def live_versions(config: Any, numbers: Iterable[int]) -> set[int]:
    """As `config.live_versions`, and as strict as the server about `latest` of none."""
    policy = config.version_policy
    if policy.WhichOneof("policy_choice") == "latest" and policy.latest.num_versions == 0:
        return set()
    return cfg.live_versions(config, numbers)


def _versions(folder: Path) -> tuple[VersionFolder, ...]:
    """What the server reads as versions: a leading number, without leading zeros, whatever follows it."""
    found = []
    for path in folder.iterdir():
        told = re.match(r"-?[0-9]+", path.name)
        if told and path.is_dir() and not re.match(r"0[0-9]", path.name):
            found.append(VersionFolder(int(told[0]), path.name, path.name == str(int(told[0])) and int(told[0]) >= 0))
    return tuple(sorted(found, key=lambda version: (version.number, version.name)))


def type_name(message: Any, field: str = "data_type") -> str:
    """The name of an enumeration's value; its number where this protocol has no name for it."""
    number = getattr(message, field)
    value = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number.get(number)
    return str(value.name) if value else str(number)
