"""`merge`: engines of several GPUs as one version of one Triton model, staged and renamed in.

<repository>/<name>/config.pbtxt, configs/<product>.pbtxt, configs/onnx.pbtxt
<repository>/<name>/<version>/model_sm90_h100-80gb-hbm3.plan   (and its record beside it: the same name and .json)
<repository>/<name>/<version>/model.plan                       (for all other GPUs, where an engine was built for that)
<repository>/<name>/<version>/model.onnx                       (for machines without an engine)
<repository>/<name>/<version>/record.json                      (of all files of the version)

`STEPS` is what it does to the disk, in order. After any of them the process may die: what servers see is then a
repository that they can load. So configurations change before the version comes, and only in ways that the version
which is served until then takes as well.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mlconvert import records
from mlconvert.artifact import file_sha256
from mlconvert.converter import check_options
from mlconvert.errors import RepositoryInvalid
from mlconvert.repositories import staging
from mlconvert.repositories.arriving import Sign, checked_record, holds, place_version
from mlconvert.repositories.names import check_name
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton.backends import onnxruntime, tensorrt
from mlconvert.repositories.triton.config import CONFIG
from mlconvert.repositories.triton.description import Description
from mlconvert.repositories.triton.engine_sets import Built, Engine, EngineSet, describe, engine_set_of
from mlconvert.repositories.triton.labels import labels_of
from mlconvert.repositories.triton.layout import check_repository
from mlconvert.repositories.triton.layout import options as options_for
from mlconvert.repositories.versions import VersionFolder, choose_version, plain_versions, version_folders


@dataclass(frozen=True)
class Merged:
    """What `merge` did; `engines` are compute capability, product and file of each."""

    name: str
    version: int
    path: Path
    engines: tuple[tuple[str, str, str], ...]
    configs: tuple[str, ...]  # beside config.pbtxt
    fallback: str | None
    unchanged: bool
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        rows = [{"compute_capability": one, "gpu": two, "file": three} for one, two, three in self.engines]
        return {
            "name": self.name,
            "version": self.version,
            "path": str(self.path),
            "engines": rows,
            "configs": list(self.configs),
            "fallback": self.fallback,
            "unchanged": self.unchanged,
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class _Merge:
    """One merge, decided."""

    repository: Path
    name: str
    number: int
    work: Path
    files: Mapping[str, Path]  # path in the version folder -> source
    digests: Mapping[str, str]
    made: Mapping[str, bytes]  # records: path in the version folder -> content
    configs: Mapping[str, bytes]  # those that are there now and change: path in the model's folder -> content
    added: Mapping[str, bytes]  # those that are new, and need the version
    beside: Mapping[str, bytes]  # what the configurations name
    new_model: bool
    newest_mtime_ns: int
    sign: Sign | None  # writes the signature of a folder into it

    @property
    def model_folder(self) -> Path:
        return self.repository / self.name

    @property
    def staged_model(self) -> Path:
        return self.work / "model"


def merge(
    built: Sequence[Built],
    repository: Path,
    name: str,
    *,
    version: int | None = None,
    options: Mapping[str, Any] = MappingProxyType({}),
    sign: Sign | None = None,
    wait_seconds: float = staging.WAIT_SECONDS,
) -> Merged:
    """Make TensorRT engines of one model, and the plain ONNX model where it is given, the next version of `name`.

    `options` are those of the tensorrt backend; `sign` signs the version before anything sees it. The same engines
    again are not a new version. Raises UsageError (no engine, two for one GPU, one without a record),
    RepositoryInvalid (engines of different models or signatures, a plan that no server loads, a model there that this
    one cannot replace), OutOfResources, MissingPackage; nothing is left behind then.
    """
    check_name(name)
    repository = repository.resolve()
    check_repository(repository)
    checked = check_options("merge", options_for("tensorrt"), options)
    engine_set = engine_set_of(built)
    files = _files(engine_set)
    digests = {placed: file_sha256(source) for placed, source in files.items()}
    for engine in engine_set.engines:
        checked_record(engine.built.artifact, engine.built.record, {engine.file: files[engine.file]}, digests)
    described = describe(engine_set, name, repository, checked)
    configs = {
        path: cfg.as_text(one.config, one.comments).encode()
        for path, one in sorted(described.items(), key=lambda row: row[0] == CONFIG)
    }
    beside = {path: content for one in described.values() for path, content in one.files.items()}
    made = _records(engine_set, files, digests, checked, configs[CONFIG])

    with (
        staging.disk_errors(f"cannot merge into '{name}'", repository),
        staging.exclusive(repository, name, wait_seconds=wait_seconds) as work,
    ):
        folder = repository / name
        if folder.exists() and not folder.is_dir():
            raise RepositoryInvalid("a file has the model's name", where=str(folder))
        new_model = not folder.exists() or not any(folder.iterdir())
        newest = next(iter(plain_versions(folder)[::-1]), None)
        if not new_model:
            _check_replaces(folder, newest, described, files)
        repeated = newest is not None and version is None and holds(newest, files, digests, _beside_main(made))
        changed = [path for path, content in {**beside, **configs}.items() if not _is(folder / path, content)]
        if newest is not None and repeated:
            if sign is not None:
                sign.confirm(newest.path)
            number = newest.number
        else:
            retired = version_folders(staging.rolled_back_folder(repository, name))
            number = choose_version(version, version_folders(folder), [one.number for one in retired])
        _check_served(folder, number, described)
        merging = _Merge(
            repository=repository,
            name=name,
            number=number,
            work=work,
            files={} if repeated else files,
            digests=digests,
            made={} if repeated else made,
            configs={path: text for path, text in configs.items() if path in changed and (folder / path).is_file()},
            added={path: text for path, text in configs.items() if path in changed and not (folder / path).is_file()},
            beside={path: content for path, content in beside.items() if path in changed},
            new_model=new_model,
            newest_mtime_ns=staging.newest_mtime_ns(folder),
            sign=sign,
        )
        if changed or not repeated:
            staging.check_space(work, sum(source.stat().st_size for source in merging.files.values()))
            for _, step in STEPS:
                step(merging)
    return Merged(
        name=name,
        version=number,
        path=repository / name / str(number),
        engines=tuple((one.capability, one.product, one.file) for one in engine_set.engines),
        configs=tuple(path for path in configs if path != CONFIG),
        fallback=onnxruntime.MODEL_FILE if engine_set.plain else None,
        unchanged=repeated and not changed,
        warnings=tuple(dict.fromkeys(text for one in described.values() for text in one.warnings)),
    )


def _is(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


# --- the version's files and records ---


def _files(engine_set: EngineSet) -> dict[str, Path]:
    found = {engine.file: engine.built.artifact.path for engine in engine_set.engines}
    if engine_set.plain is not None:
        found |= onnxruntime.placed_files(engine_set.plain.artifact)
    return found


def _records(
    engine_set: EngineSet,
    files: Mapping[str, Path],
    digests: Mapping[str, str],
    checked: Mapping[str, Any],
    config: bytes,
) -> dict[str, bytes]:
    """The record of each engine beside it, under its new name; and that of the version, which names all files."""
    rows = {name: _row(name, digests[name], source.stat().st_size) for name, source in files.items()}
    made = {}
    for engine in engine_set.engines:
        record = {**_record(engine), "path": engine.file, "files": [rows[engine.file]]}
        made[f"{engine.file}.json"] = _bytes(record)
    whole = {
        **_record(engine_set.first),
        "path": engine_set.first.file,
        "files": [*rows.values(), *(_row(name, _sha256(text), len(text)) for name, text in made.items())],
        "merged": [
            {"file": one.file, "gpu": one.product, "compute_capability": one.capability} for one in engine_set.engines
        ],
        "published": {"options": checked, "config_sha256": _sha256(config), "live": True, "beside": []},
    }
    whole["sha256"] = records.total_sha256(whole["files"])
    return {**made, records.IN_FOLDER: _bytes(whole)}


def _record(engine: Engine) -> Mapping[str, Any]:
    assert engine.built.record is not None
    return engine.built.record


def _row(name: str, sha256: str, size: int) -> dict[str, Any]:
    return {"path": name, "sha256": sha256, "bytes": size}


def _bytes(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, indent=1, allow_nan=False) + "\n").encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _beside_main(made: Mapping[str, bytes]) -> dict[str, bytes]:
    """The records that count as files of the version."""
    return {name: content for name, content in made.items() if name != records.IN_FOLDER}


# --- what lies there already ---


def _check_replaces(
    folder: Path, newest: VersionFolder | None, described: Mapping[str, Description], files: Mapping[str, Path]
) -> None:
    """Raise RepositoryInvalid unless the new configurations do for the version that is there, too.

    It serves until the new one is ready, and again after a rollback; a server that was started for one GPU must not
    lose its engine.
    """
    old_paths = [CONFIG, *(path.relative_to(folder).as_posix() for path in sorted((folder / "configs").glob("*")))]
    again = "merge under another name: --name OTHER"
    for path in old_paths:
        if not (folder / path).is_file():
            what = f"'{folder.name}' has versions and no {path}" if path == CONFIG else f"{path} is no file"
            raise RepositoryInvalid(what, where=str(folder / path), hint=again)
        if path not in described:
            what = f"'{folder.name}' has {path}, for which nothing is merged: servers that are started with it need it"
            raise RepositoryInvalid(what, where=str(folder / path), hint=f"add that engine too, or {again}")
        _check_change(cfg.read(folder / path), described[path].config, folder, path, newest)
    if newest is not None and (newest.path / tensorrt.MODEL_FILE).exists() and tensorrt.MODEL_FILE not in files:
        what = f"'{folder.name}' has an engine for all other GPUs, and none was given now"
        raise RepositoryInvalid(what, where=str(newest.path / tensorrt.MODEL_FILE), hint=f"add it, or {again}")


def _check_change(old: Any, new: Any, folder: Path, path: str, newest: VersionFolder | None) -> None:
    where, again = str(folder / path), "merge under another name: --name OTHER"
    if labels_of(old):
        what = f"the versions of '{folder.name}' have labels, which one of several configurations cannot hold"
        raise RepositoryInvalid(
            what, where=where, hint=f"mlconvert labels {folder.parent} {folder.name} --remove LABEL"
        )
    fixed = ("backend", "platform", "max_batch_size", "input", "output")
    wrong = [field for field in fixed if _parts(old, field) != _parts(new, field)]
    if wrong:
        what = f"'{folder.name}' would change for its clients: {', '.join(wrong)}"
        raise RepositoryInvalid(what, where=where, hint=again)
    if path == CONFIG and not old.cc_model_filenames:
        what = f"'{folder.name}' has one engine for all GPUs, model.plan: it was not merged"
        raise RepositoryInvalid(what, where=where, hint=again)
    lost = sorted(set(old.cc_model_filenames) - set(new.cc_model_filenames))
    if lost:
        what = f"'{folder.name}' has an engine for compute capability {', '.join(lost)}, and none was given now"
        raise RepositoryInvalid(what, where=where, hint=f"add it, or {again}")
    if newest is None:
        return
    for capability, file in sorted(old.cc_model_filenames.items()):
        other = new.cc_model_filenames[capability]
        if (newest.path / file).exists() and not (newest.path / other).exists():
            what = f"GPUs of {capability} would load '{other}', which version {newest.number} does not have"
            raise RepositoryInvalid(what, where=where, hint=again)


def _parts(config: Any, field: str) -> Any:
    value = getattr(config, field)
    return sorted(map(str, value)) if field in ("input", "output") else value


def _check_served(folder: Path, number: int, described: Mapping[str, Description]) -> None:
    """Raise RepositoryInvalid where a version policy would serve no version at all."""
    numbers = {one.number for one in version_folders(folder)} | {number}
    for path, one in described.items():
        if not cfg.live_versions(one.config, numbers):
            what = f"the version policy ({cfg.policy_text(one.config)}) would serve no version"
            raise RepositoryInvalid(what, where=str(folder / path), hint=f"--set version_policy={number}")


# --- the steps ---


def _stage(merging: _Merge) -> None:
    """Write everything that is new into the staging folder."""
    merging.staged_model.mkdir()
    merging.staged_model.chmod(staging.FOLDER_MODE)
    for name, content in {**merging.beside, **merging.configs, **merging.added}.items():
        staging.make_folders((merging.staged_model / name).parent)
        staging.write_bytes(content, merging.staged_model / name)
    if merging.files:
        version = merging.staged_model / str(merging.number)
        place_version(version, merging.files, merging.digests, merging.made)
        if merging.sign is not None:
            merging.sign(version)


def _sync(merging: _Merge) -> None:
    staging.stamp(merging.work, merging.newest_mtime_ns)


def _change_configs(merging: _Merge) -> None:
    """Put what the configurations name beside the old ones, then the changed configurations; config.pbtxt is last."""
    if not merging.new_model:
        _place((*merging.beside, *merging.configs), merging)


def _add_configs(merging: _Merge) -> None:
    """Put the configurations in that were not there: until now servers that ask for them took config.pbtxt."""
    if not merging.new_model:
        _place(merging.added, merging)


def _place(names: Iterable[str], merging: _Merge) -> None:
    for name in names:
        target = merging.model_folder / name
        staging.make_folders(target.parent)
        (merging.staged_model / name).replace(target)
        staging.sync(target.parent)


def _go_live(merging: _Merge) -> None:
    """One rename, after which servers see the version (of a new model: the model)."""
    if merging.new_model:
        staging.make_folders(merging.repository)
        merging.staged_model.rename(merging.model_folder)
    elif merging.files:
        number = str(merging.number)
        (merging.staged_model / number).rename(merging.model_folder / number)


def _settle(merging: _Merge) -> None:
    staging.touch(merging.model_folder, merging.newest_mtime_ns)
    staging.sync(merging.model_folder)
    staging.sync(merging.repository)


STEPS: tuple[tuple[str, Callable[[_Merge], None]], ...] = (
    ("stage", _stage),
    ("sync", _sync),
    ("change", _change_configs),
    ("live", _go_live),
    ("add", _add_configs),
    ("settle", _settle),
)
