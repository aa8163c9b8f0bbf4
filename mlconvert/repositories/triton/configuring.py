"""What becomes of a model's config.pbtxt, and of the files beside it, when a version is published or leaves."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlconvert.errors import ConversionFailed, RepositoryInvalid
from mlconvert.repositories import staging
from mlconvert.repositories.triton import checksums
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton.description import Description, is_ours
from mlconvert.repositories.versions import VersionFolder, version_folders
from mlconvert.signature import Signature


@dataclass(frozen=True)
class ConfigChange:
    """What becomes of config.pbtxt and the files beside it.

    `first` is in place before the version, `last` after it (they differ by the version's checksums): None, where that
    is what lies there by then. `text` is the configuration as this publishing leaves it.
    """

    state: Literal["written", "kept", "replaced"]
    config: Any
    first: str | None
    last: str | None
    text: str
    files: Mapping[str, bytes]  # that are to be placed beside it: path in the model's folder -> content
    beside: tuple[str, ...]  # all files of ours that it names


def config_state(
    model_folder: Path, backend: Any, wanted: Description, signature: Signature, *, rewrite: bool
) -> Literal["written", "kept", "replaced"]:
    """What becomes of config.pbtxt. Raises RepositoryInvalid where the one that is there does not fit the model."""
    path = model_folder / cfg.CONFIG
    if not path.is_file():
        return "written"
    existing = cfg.read(path)
    if existing.cc_model_filenames:
        raise RepositoryInvalid(
            f"'{model_folder.name}' has a file for each kind of GPU (cc_model_filenames): one cannot replace them",
            where=str(path),
            hint=f"mlconvert merge {model_folder.parent} ENGINE… --name {model_folder.name}, or choose another name",
        )
    if checksums.with_sums(existing, {}) == checksums.with_sums(wanted.config, {}):  # whatever sums it has by now
        return "replaced" if missing_files(model_folder, wanted) else "kept"
    found = backend.misfits(existing, signature, model_folder.name)
    wrong = [problem for problem in found if not problem.omitted]
    if wrong:
        raise RepositoryInvalid(
            f"the new model does not fit the configuration of '{model_folder.name}': {'; '.join(map(str, wrong))}",
            where=str(path),
            hint="publish it under another name: clients of this one expect what they have now",
        )
    if rewrite:
        return "replaced"
    if found:
        raise RepositoryInvalid(
            f"the configuration of '{model_folder.name}' is incomplete: {'; '.join(map(str, found))}",
            where=str(path),
            hint="complete it, or have it written anew with an option, such as --set instances=1",
        )
    return "kept"


def config_change(
    model_folder: Path,
    wanted: Description,
    state: Literal["written", "kept", "replaced"],
    arriving: Mapping[str, Path],
    *,
    new_model: bool,
) -> ConfigChange:
    """The configuration before and after the version has come, and the files that it needs beside it."""
    path = model_folder / cfg.CONFIG
    old_text = path.read_text("utf-8") if path.is_file() else ""
    old = cfg.parse(old_text, where=str(path))
    base, comments = (old, cfg.comments_of(old_text)) if state == "kept" else (wanted.config, wanted.comments)
    first = last = checksums.refreshed(base, model_folder, checksums.sums_of(old))
    if checksums.is_on(base):
        new_sums = {name: checksums.md5(source) for name, source in arriving.items()}
        last = checksums.with_sums(first, {**checksums.sums_of(first), **new_sums})
    files = {} if state == "kept" else missing_files(model_folder, wanted)
    if state == "kept":
        beside = [name for name in files_beside(model_folder) if _is_named(name, old_text)]
        if last == old:
            return ConfigChange("kept", old, None, None, old_text, files, tuple(beside))
    else:
        beside = sorted(wanted.files)
    text = cfg.as_text(last, comments)
    return ConfigChange(
        state="written" if state == "written" else "replaced",
        config=last,
        first=text if new_model else None if state == "kept" and first == old else cfg.as_text(first, comments),
        last=None if new_model or first == last else text,
        text=text,
        files=files,
        beside=tuple(beside),
    )


def files_beside(model_folder: Path) -> list[str]:
    """The files of ours beside config.pbtxt (warm-up, labels), by their path in the model's folder."""
    found = (path for pattern in ("*", "*/*") for path in model_folder.glob(pattern) if path.is_file())
    return sorted(name for path in found if is_ours(name := path.relative_to(model_folder).as_posix()))


def _is_named(name: str, config_text: str) -> bool:
    """Whether a configuration names a file of ours; the digest in it makes the name unmistakable."""
    return name.rpartition("/")[2] in config_text


def stale_files(model_folder: Path, config_text: str) -> list[Path]:
    return [model_folder / name for name in files_beside(model_folder) if not _is_named(name, config_text)]


def missing_files(model_folder: Path, wanted: Description) -> dict[str, bytes]:
    """The files of a description that do not lie in the model's folder as they should."""
    return {
        name: content
        for name, content in wanted.files.items()
        if not (model_folder / name).is_file() or (model_folder / name).read_bytes() != content
    }


def check_that_newest_fits(newest: VersionFolder, backend: Any, wanted: Any, name: str) -> None:
    """A new configuration must do for the version that serves until the new one is ready, and after a rollback."""
    with contextlib.suppress(ConversionFailed):  # one that cannot be read serves nothing that could be broken
        signature = backend.published_signature(newest.path, wanted)
        found = backend.misfits(wanted, signature, name) if signature else []
        if found:
            raise RepositoryInvalid(
                f"version {newest.number} of '{name}' does not fit the new configuration: {'; '.join(map(str, found))}",
                where=str(newest.path),
                hint="publish the new model under another name",
            )


def drop_checksums(config: Any, model_folder: Path, leaving: Collection[int], work: Path, before_ns: int) -> None:
    """Take the checksums of versions that are about to leave out of the configuration: the server misses a file."""
    left = checksums.refreshed(config, model_folder, checksums.sums_of(config), without=leaving)
    if left != config:
        path = model_folder / cfg.CONFIG
        put_config(path, cfg.as_text(left, cfg.comments_of(path.read_text("utf-8"))).encode(), work, before_ns)


def put_config(path: Path, content: bytes, work: Path, before_ns: int) -> None:
    """Put a configuration in the place of the one that is there, with a time newer than `before_ns`; one rename."""
    folder = work / "config"  # of its own: nothing else that is staged is stamped or synced again
    folder.mkdir(exist_ok=True)
    staged = folder / path.name
    staging.write_bytes(content, staged)
    staging.stamp(folder, before_ns)
    staged.replace(path)
    staging.touch(path.parent, before_ns)
    staging.sync(path.parent)


def goes_live(number: int, model_folder: Path, config: Any) -> bool:
    """Whether the version policy serves that version. RepositoryInvalid where it would serve none at all."""
    numbers = {folder.number for folder in version_folders(model_folder)} | {number}
    live = cfg.live_versions(config, numbers)
    if not live:
        raise RepositoryInvalid(
            f"the version policy of '{model_folder.name}' ({cfg.policy_text(config)}) would serve none of its "
            f"versions: {', '.join(map(str, sorted(numbers)))}",
            where=str(model_folder / cfg.CONFIG),
            hint=f"name one that there is, such as --set version_policy={number}",
        )
    return number in live
