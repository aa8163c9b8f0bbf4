"""One publishing to a Triton model repository, step by step.

Nothing that a server may be reading is ever written to: a version is made whole beside the repository and renamed in,
and so is the folder of a new model. `STEPS` is what publishing does to the disk, in order; after any of them the
process may die, and the repository is as it was or as it should be.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from mlconvert.artifact import Artifact, combine_sha256
from mlconvert.repositories import keeping, staging
from mlconvert.repositories.arriving import Sign, place_record, place_version
from mlconvert.repositories.leaving import have_it_served, put_aside, takes_version_out
from mlconvert.repositories.trials import Change, Server
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton.configuring import ConfigChange, drop_checksums, put_config, stale_files
from mlconvert.repositories.triton.labels import labels_of
from mlconvert.repositories.versions import PublishedVersion, version_folders


@dataclass(frozen=True)
class Publication:
    """One publishing, decided: what the steps need, and nothing that they would have to find out."""

    artifact: Artifact
    repository: Path
    name: str
    number: int
    work: Path  # the empty staging folder, ours alone
    files: Mapping[str, Path]  # path in the version folder -> source, the main file first
    digests: Mapping[str, str]  # path in the version folder -> sha256
    record: Mapping[str, Any] | None
    change: ConfigChange
    new_model: bool  # the whole folder of the model is renamed in
    new_version: bool
    changes: bool  # whether anything is to be written
    newest_mtime_ns: int  # in the model's folder before anything was done
    options: Mapping[str, Any]
    live: bool
    warnings: tuple[str, ...]
    before: frozenset[int]  # the versions in service before, as far as the configuration went
    config_before: bytes | None
    keep: int | None
    server: Server | None
    to_serve: Change
    sign: Sign | None  # writes the signature of a folder into it
    removed: list[int] = field(default_factory=list)  # what `keep` came to

    @property
    def config(self) -> Literal["written", "kept", "replaced"]:
        return self.change.state

    @property
    def model_folder(self) -> Path:
        return self.repository / self.name

    @property
    def staged_model(self) -> Path:
        return self.work / "model"

    @property
    def staged_version(self) -> Path:
        return self.staged_model / str(self.number)

    @property
    def staged_later(self) -> Path:
        """The configuration with the new version's checksums, which goes in after the version."""
        return self.work / "later" / cfg.CONFIG

    def placed(self, version_folder: Path) -> Artifact:
        """The artifact as it lies in that version folder."""
        paths = tuple(version_folder / name for name in self.files)
        return replace(self.artifact, location=str(paths[0]), files=paths)


def _stage(publication: Publication) -> None:
    """Write everything that is new into the staging folder."""
    publication.staged_model.mkdir()
    publication.staged_model.chmod(staging.FOLDER_MODE)
    change = publication.change
    if change.first is not None:
        staging.write_text(change.first, publication.staged_model / cfg.CONFIG)
    if change.last is not None:
        staging.make_folders(publication.staged_later.parent)
        staging.write_text(change.last, publication.staged_later)
    for name, content in change.files.items():
        target = publication.staged_model / name
        staging.make_folders(target.parent)
        staging.write_bytes(content, target)
    if not publication.new_version:
        return
    place_version(publication.staged_version, publication.files, publication.digests)
    if publication.record is not None:
        published = {
            "options": publication.options,
            "config_sha256": hashlib.sha256(publication.change.text.encode()).hexdigest(),
            "live": publication.live,
            "beside": list(publication.change.beside),
        }
        placed = publication.placed(publication.staged_version)
        place_record(publication.record, placed, publication.files, publication.digests, published)
    if publication.sign is not None:
        publication.sign(publication.staged_version)


def _sync(publication: Publication) -> None:
    """Give all of it one time, newer than any in the repository's copy of the model, and put it on the disk."""
    staging.stamp(publication.work, publication.newest_mtime_ns)


def _place_files(publication: Publication) -> None:
    """Put the files that a changed config.pbtxt names beside those of the old one, which stay until it is gone."""
    if not publication.new_model:
        for name in publication.change.files:
            staging.make_folders((publication.model_folder / name).parent)
            (publication.staged_model / name).replace(publication.model_folder / name)
            staging.sync((publication.model_folder / name).parent)


def _replace_config(publication: Publication) -> None:
    """Put a changed config.pbtxt in the place of the old one, before the version that needs it."""
    if publication.change.first is not None and not publication.new_model:
        (publication.staged_model / cfg.CONFIG).replace(publication.model_folder / cfg.CONFIG)


def _go_live(publication: Publication) -> None:
    """One rename, after which servers see the version (of a new model: the model)."""
    if publication.new_model:
        staging.make_folders(publication.repository)
        publication.staged_model.rename(publication.model_folder)
    elif publication.new_version:
        publication.staged_version.rename(publication.model_folder / str(publication.number))


def _add_checksums(publication: Publication) -> None:
    """Put the checksums of the version into the configuration, now that its files are there to be compared."""
    if publication.change.last is not None:
        staging.sync(publication.model_folder)
        publication.staged_later.replace(publication.model_folder / cfg.CONFIG)


def _settle(publication: Publication) -> None:
    """Put the renames on the disk, and make sure that a server that polls sees a newer time."""
    staging.touch(publication.model_folder, publication.newest_mtime_ns)
    staging.sync(publication.model_folder)
    staging.sync(publication.repository)


def _serve(publication: Publication) -> None:
    """With a server: it takes the version, or the repository is as it was."""
    have_it_served(publication, lambda: _undo(publication))


def _sweep(publication: Publication) -> None:
    """Remove the files that only an older configuration named: not before the new one is there to stay."""
    _remove_files(stale_files(publication.model_folder, publication.change.text), publication)


def _remove_files(paths: Iterable[Path], publication: Publication) -> None:
    for path in paths:
        path.unlink()
        with contextlib.suppress(OSError):  # only where it is empty now
            if path.parent != publication.model_folder:
                path.parent.rmdir()


def _keep(publication: Publication) -> None:
    """With `keep`: remove what is older, but nothing that is in service, labelled, or was in service until now.

    Other servers may read the repository, too, and serve until they are asked to load what was in service before.
    """
    if publication.keep is None:
        return
    folders = version_folders(publication.model_folder)
    numbers = [folder.number for folder in folders]
    needed = {publication.number, *publication.before, *cfg.live_versions(publication.change.config, numbers)}
    needed |= set(labels_of(publication.change.config).values())
    if publication.server is not None:
        needed |= publication.server.before | publication.server.in_use(publication.name)
    leaving = keeping.superfluous(folders, publication.keep, needed)
    if leaving:
        gone = [folder.number for folder in leaving]
        config = cfg.read(publication.model_folder / cfg.CONFIG)
        newest = staging.newest_mtime_ns(publication.model_folder)
        drop_checksums(config, publication.model_folder, gone, publication.work, newest)
        keeping.remove(leaving, publication.work)
        staging.sync(publication.model_folder)
        publication.removed.extend(gone)
    aside = staging.rolled_back_folder(publication.repository, publication.name)
    keeping.remove(keeping.oldest_aside(version_folders(aside), publication.keep), publication.work)


STEPS: tuple[tuple[str, Callable[[Publication], None]], ...] = (
    ("stage", _stage),
    ("sync", _sync),
    ("files", _place_files),
    ("config", _replace_config),
    ("live", _go_live),
    ("checksums", _add_checksums),
    ("settle", _settle),
    ("serve", _serve),
    ("sweep", _sweep),
    ("keep", _keep),
)
ALWAYS = ("serve", "keep")  # steps of a publishing that finds its version and its configuration in place, too


def run(publication: Publication) -> None:
    """Do all the steps that the publication needs."""
    for name, step in STEPS:
        if publication.changes or name in ALWAYS:
            step(publication)


def _undo(publication: Publication) -> str:
    """Take back on the disk what was published, because the server did not take it; a sentence that says how."""
    folder, number = publication.model_folder, publication.number
    if publication.new_model:
        out = publication.work / "undone"
        folder.rename(out)  # the model is gone at once
        kept = put_aside(publication, out / str(number))
        staging.sync(publication.repository)
        return f"The model was taken out of the repository again{kept}."
    newest = staging.newest_mtime_ns(folder)
    if publication.config_before is not None and publication.config != "kept":
        # First: it names no checksum of a version that is about to leave. The new version fits it as well.
        put_config(folder / cfg.CONFIG, publication.config_before, publication.work, newest)
    if not takes_version_out(publication):
        _sweep_after_undo(publication)
        what = "The configuration is the old one again" if publication.changes else "Nothing was changed on the disk"
        return f"{what}: version {number} had been published before, and stays."
    if not publication.new_version:  # another publishing added its checksums
        drop_checksums(cfg.read(folder / cfg.CONFIG), folder, [number], publication.work, newest)
    kept = put_aside(publication, folder / str(number))
    _sweep_after_undo(publication)
    staging.touch(folder, newest)
    staging.sync(folder)
    return f"Version {number} was taken out of the repository again{kept}."


def _sweep_after_undo(publication: Publication) -> None:
    if publication.config_before is not None:
        _remove_files(stale_files(publication.model_folder, publication.config_before.decode()), publication)


def outcome(publication: Publication) -> PublishedVersion:
    version_folder = publication.model_folder / str(publication.number)
    return PublishedVersion(
        name=publication.name,
        version=publication.number,
        path=version_folder,
        artifact=publication.placed(version_folder),
        config_path=publication.model_folder / cfg.CONFIG,
        config=publication.config,
        bytes=sum((version_folder / name).stat().st_size for name in publication.files),
        sha256=combine_sha256(publication.digests.items()),
        unchanged=not publication.changes,
        live=publication.live,
        removed=tuple(publication.removed),
        warnings=publication.warnings,
    )
