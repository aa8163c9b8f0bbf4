"""A model as a server finds it: its entry in models.config, its folder, and the versions in that."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mlconvert.errors import RepositoryInvalid
from mlconvert.repositories.findings import Finding, Level
from mlconvert.repositories.policies import LATEST, VersionPolicy
from mlconvert.repositories.tf_serving import models_config
from mlconvert.repositories.tf_serving.layout import MOUNT
from mlconvert.repositories.tf_serving.models_config import CONFIG, Entry
from mlconvert.repositories.versions import LARGEST, VersionFolder, plain_versions


@dataclass(frozen=True)
class ServedModel:
    """`path` is the folder that the entry's base path names; `elsewhere`: it is in no folder that we can see.

    `entry` None: models.config does not name the model, or there is none. `versions` are what the server reads so.
    """

    name: str
    path: Path
    entry: Entry | None
    elsewhere: bool
    versions: tuple[VersionFolder, ...]
    live: frozenset[int]

    def finding(
        self, level: Level, code: str, message: str, fix: str, *, file: str = "", field: str | None = None
    ) -> Finding:
        return Finding(
            level, code, self.name, f"{self.path.name}/{file}" if file else self.path.name, field, message, fix
        )

    def in_config(self, level: Level, code: str, field: str, message: str, fix: str) -> Finding:
        return Finding(level, code, self.name, CONFIG, field, message, fix)

    def of_version(
        self, version: VersionFolder, code: str, message: str, fix: str, *, file: str = "", field: str | None = None
    ) -> Finding:
        """An error where the version is served; else a warning, for it would be one after a rollback."""
        served = version.number in self.live
        path = f"{version.path.name}/{file}" if file else version.path.name
        told = message if served else f"{message} (version {version.number} is not served now)"
        return self.finding("error" if served else "warning", code, told, fix, file=path, field=field)


def served_models(repository: Path) -> tuple[list[Finding], dict[str, ServedModel]]:
    """The models by name, and what is wrong with models.config itself.

    Where that cannot be read, every version counts as served: nothing is made light of.
    """
    found: list[Finding] = []
    entries: dict[str, Entry] = {}
    without: VersionPolicy = VersionPolicy("specific")  # of none
    path = repository / CONFIG
    try:
        # A link is how a mounted ConfigMap looks: servers read it, while publishing does not replace it.
        text = path.read_bytes().decode() if path.exists() or path.is_symlink() else None
        entries = models_config.entries(text, where=str(path))
        if text is None:
            without = LATEST
    except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError) as error:
        what = "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else "no file, or a link to nothing"
        what += ": the server does not start"
        found.append(Finding("error", "config-syntax", None, CONFIG, None, what, f"write {path} again"))
        without = VersionPolicy("all")
    except RepositoryInvalid as error:
        line = (error.where or "").removeprefix(str(path))
        what = error.message.removeprefix(f"not a {CONFIG} of TensorFlow Serving: ")
        found.append(Finding("error", "config-syntax", None, f"{CONFIG}{line}", None, what, f"correct {CONFIG}{line}"))
        without = VersionPolicy("all")
    mounts = _mounts(repository, entries)
    models = {}
    for name, entry in entries.items():
        base = PurePosixPath(entry.base_path)
        folder = repository / (base.name or name)
        elsewhere = str(base.parent) not in mounts
        models[name] = _model(name, repository / name if elsewhere else folder, entry, elsewhere, entry.policy)
    taken = {model.path.name for model in models.values() if not model.elsewhere}
    for folder in sorted(repository.iterdir()):
        if folder.name in taken or folder.name in models or folder.name.startswith(".") or not folder.is_dir():
            continue
        if plain_versions(folder):
            models[folder.name] = _model(folder.name, folder, None, False, without)
    return found, dict(sorted(models.items()))


def _mounts(repository: Path, entries: dict[str, Entry]) -> set[str]:
    """Where the server may see the repository: the folders of the base paths of which the last part is there."""
    bases = [PurePosixPath(entry.base_path) for entry in entries.values()]
    found = {str(base.parent) for base in bases if base.name and (repository / base.name).is_dir()}
    return (found or {MOUNT}) | {str(repository.resolve())}


def _model(name: str, path: Path, entry: Entry | None, elsewhere: bool, policy: VersionPolicy) -> ServedModel:
    versions = () if elsewhere else tuple(_versions(path))
    live = policy.live(version.number for version in versions)
    return ServedModel(name, path, entry, elsewhere, versions, frozenset(live))


def _versions(folder: Path) -> list[VersionFolder]:
    """What the server reads as versions: folders whose whole name is a number; `02` is 2."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        if re.fullmatch(r"[0-9]+", path.name) and int(path.name) <= LARGEST and path.is_dir():
            number = int(path.name)
            found.append(VersionFolder(number, path, path.name == str(number) and number > 0))
    return sorted(found, key=lambda version: (version.number, version.path.name))
