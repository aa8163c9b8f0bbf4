"""models.config, as the server checks it (server_core.cc), and what of it decides which versions are served."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlconvert.errors import RepositoryInvalid
from mlconvert.serving.tf_serving.double.status import Refused, invalid
from mlconvert.serving.tf_serving.messages import message, parse_text

PLATFORM = "tensorflow"


@dataclass(frozen=True)
class Model:
    name: str
    base_path: str
    policy: Any  # a ServableVersionPolicy
    labels: Mapping[str, int] = field(default_factory=dict)


def read(name: str, path: str) -> Any:
    """A text file as a message. Raises Refused as the server does."""
    try:
        text = Path(path).read_bytes().decode()
    except OSError as error:
        raise Refused("NOT_FOUND", f"{path}; {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise invalid(f"Invalid protobuf file: '{path}'") from error
    try:
        return parse_text(name, text, where=path, what=f"a {name}")
    except RepositoryInvalid as error:
        raise invalid(f"Invalid protobuf file: '{path}' ({error.message})") from error


def single(name: str, base_path: str) -> Any:
    """The configuration that `--model_name` and `--model_base_path` stand for."""
    config = message("ModelServerConfig")()
    config.model_config_list.config.add(name=name, base_path=base_path, model_platform=PLATFORM)
    return config


def models(config: Any) -> dict[str, Model]:
    """The models of a ModelServerConfig. Raises Refused for what the server would not take."""
    rows = config.model_config_list.config
    found: dict[str, Model] = {}
    for row in rows:
        if row.name in found:
            raise invalid(f"Illegal to list model {row.name} multiple times in config list")
        found[row.name] = Model(row.name, row.base_path, row.model_version_policy, dict(row.version_labels))
    for row in rows:
        if not row.base_path.startswith("/") and "://" not in row.base_path:
            raise invalid(f"Expected model {row.name} to have an absolute path or URI; got base_path()={row.base_path}")
    for row in rows:
        if platform(row) != PLATFORM:
            raise invalid(f"Model {row.name} requests unsupported platform {platform(row)}")
    return found


def platform(row: Any) -> str:
    if row.model_type:
        if row.model_platform:
            raise invalid(
                "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform."
            )
        if row.model_type != 1:
            raise invalid(f"ModelServerConfig::model_type choice {row.model_type} not supported.")
        return PLATFORM
    if not row.model_platform:
        raise invalid(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform."
        )
    return str(row.model_platform)


def aspired(model: Model) -> dict[int, str]:
    """The versions that the policy wants of those in the model's folder: number -> path. Raises Refused.

    Every entry whose name reads as a number counts, a file as well as a folder (file_system_storage_path_source.cc).
    """
    place = Path(model.base_path)
    if not place.exists():
        raise invalid(
            f"Could not find base path {model.base_path} for servable {model.name} "
            f"with error NOT_FOUND: {model.base_path} not found"
        )
    there = {int(one.name): str(one) for one in sorted(place.iterdir()) if re.fullmatch(r"-?\d+", one.name)}
    kind = model.policy.WhichOneof("policy_choice")
    if kind == "all":
        return there
    if kind == "specific":
        return {number: path for number, path in there.items() if number in model.policy.specific.versions}
    count = max(model.policy.latest.num_versions, 1)
    return {number: there[number] for number in sorted(there)[-count:]}
