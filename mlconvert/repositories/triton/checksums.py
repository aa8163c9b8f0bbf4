"""The checksum agent: MD5 sums of a model's files, which the server compares before it loads a version.

It finds corruption, not an attacker. A sum that is written down stays as it is: a file that has changed since is then
what the server reports. The server refuses to load a model when a file that is named is not there, so sums are added
after their version has come and dropped before it goes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from mlconvert.repositories.versions import model_files, plain_versions

AGENT = "checksum"
PREFIX = "MD5:"


def is_on(config: Any) -> bool:
    return any(agent.name == AGENT for agent in config.model_repository_agents.agents)


def sums_of(config: Any) -> dict[str, str]:
    """The sums that a configuration has: path relative to the model's folder -> MD5 in hexadecimal."""
    return {
        key.removeprefix(PREFIX): value
        for agent in config.model_repository_agents.agents
        if agent.name == AGENT
        for key, value in agent.parameters.items()
        if key.startswith(PREFIX)
    }


def with_sums(config: Any, sums: Mapping[str, str]) -> Any:
    """The configuration with these sums and no others; the same one where the agent is not in it."""
    changed = type(config)()
    changed.CopyFrom(config)
    for agent in changed.model_repository_agents.agents:
        if agent.name == AGENT:
            for key in [key for key in agent.parameters if key.startswith(PREFIX)]:
                del agent.parameters[key]
            for path, digest in sums.items():
                agent.parameters[PREFIX + path] = digest
    return changed


def refreshed(config: Any, model_folder: Path, known: Mapping[str, str], *, without: Collection[int] = ()) -> Any:
    """The configuration with the sums of the versions that lie in the folder, except those versions.

    `known` are sums that were written down before, which are kept. Without the agent it is the same configuration.
    """
    if not is_on(config):
        return config
    sums = {}
    for folder in plain_versions(model_folder):
        if folder.number not in without:
            for name, path in model_files(folder.path).items():
                placed = f"{folder.path.name}/{name}"
                sums[placed] = known.get(placed) or md5(path)
    return with_sums(config, sums)


def md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
