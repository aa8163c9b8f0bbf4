"""One publishing to a TensorFlow Serving repository, step by step.

Nothing that a server may be reading is ever written to: a version is made whole beside the repository and renamed in,
and models.config is replaced. A version comes before the entry that may name it, so that no entry ever names what is
not there. `STEPS` is what publishing does to the disk, in order; after any of them the process may die.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from mlconvert.artifact import Artifact, combine_sha256
from mlconvert.errors import MlconvertError
from mlconvert.repositories import keeping, staging
from mlconvert.repositories.arriving import Sign, place_record, place_version
from mlconvert.repositories.leaving import have_it_served, put_aside, takes_version_out
from mlconvert.repositories.tf_serving import models_config
from mlconvert.repositories.tf_serving.models_config import CONFIG, Entry
from mlconvert.repositories.trials import Change, Server
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
    made: Mapping[str, bytes]  # path in the version folder -> content: the warm-up requests
    record: Mapping[str, Any] | None
    entry: Entry
    entry_before: Entry | None
    server_files: Mapping[str, str]  # that are to be written beside models.config
    new_model: bool  # the whole folder of the model is renamed in
    new_version: bool
    newest_mtime_ns: int  # in the model's folder before anything was done
    options: Mapping[str, Any]
    live: bool
    warnings: tuple[str, ...]
    before: frozenset[int]  # the versions in service before, as far as models.config went
    keep: int | None
    server: Server | None
    to_serve: Change
    sign: Sign | None  # writes the signature of a folder into it
    removed: list[int] = field(default_factory=list)  # what `keep` came to
    replaced: dict[str, bytes | None] = field(default_factory=dict)  # files as they were before they were replaced

    @property
    def config(self) -> Literal["written", "kept", "replaced"]:
        if self.entry_before is None:
            return "written"
        return "kept" if self.entry_before == self.entry else "replaced"

    @property
    def changes(self) -> bool:
        return self.new_version or self.config != "kept" or bool(self.server_files)

    @property
    def model_folder(self) -> Path:
        return self.repository / self.name

    @property
    def staged_model(self) -> Path:
        return self.work / "model"

    @property
    def staged_version(self) -> Path:
        return self.staged_model / str(self.number)

    def placed(self, version_folder: Path) -> Artifact:
        """The artifact as it lies in that version folder."""
        paths = tuple(version_folder / name for name in self.files)
        return replace(self.artifact, location=str(paths[0]), files=paths)


def _stage(publication: Publication) -> None:
    """Make the version whole in the staging folder."""
    if not publication.new_version:
        return
    staging.make_folders(publication.staged_model)
    place_version(publication.staged_version, publication.files, publication.digests, publication.made)
    if publication.record is not None:
        published = {"options": publication.options, "live": publication.live}
        placed = publication.placed(publication.staged_version)
        place_record(publication.record, placed, publication.files, publication.digests, published)
    if publication.sign is not None:
        publication.sign(publication.staged_version)


def _sync(publication: Publication) -> None:
    """Give all of it one time, newer than any in the repository's copy of the model, and put it on the disk."""
    staging.stamp(publication.work, publication.newest_mtime_ns)


def _go_live(publication: Publication) -> None:
    """One rename, after which a server that knows the model sees the version."""
    if publication.new_model:
        staging.make_folders(publication.repository)
        publication.staged_model.rename(publication.model_folder)
    elif publication.new_version:
        publication.staged_version.rename(publication.model_folder / str(publication.number))


def _replace_config(publication: Publication) -> None:
    """Put the model's entry into models.config as it is now: others may have changed theirs meanwhile."""
    if publication.config == "kept":
        return
    staging.sync(publication.model_folder)  # before what names it
    with staging.holding(publication.repository, CONFIG):
        _replace_entry(publication, publication.entry)


def _replace_entry(publication: Publication, entry: Entry | None) -> None:
    """Replace, or with None remove, the model's entry. The lock of models.config is held."""
    path = publication.repository / CONFIG
    text = models_config.read(publication.repository)
    if entry is not None:
        changed = models_config.with_entry(text, entry, where=str(path))
    else:
        changed = models_config.without_entry(text or "", publication.name, where=str(path))
    if changed != text:
        publication.replaced.setdefault(CONFIG, None if text is None else text.encode())
        models_config.put(path, changed.encode(), publication.work)


def _write_server_files(publication: Publication) -> None:
    """Settings of the server, which it reads when it starts."""
    if not publication.server_files:
        return
    with staging.holding(publication.repository, CONFIG):
        for name, text in publication.server_files.items():
            path = publication.repository / name
            publication.replaced[name] = path.read_bytes() if path.exists() else None
            models_config.put(path, text.encode(), publication.work)


def _settle(publication: Publication) -> None:
    staging.touch(publication.model_folder, publication.newest_mtime_ns)
    staging.sync(publication.model_folder)
    staging.sync(publication.repository)


def _serve(publication: Publication) -> None:
    """With a server: it takes the version, or the repository is as it was."""
    have_it_served(publication, lambda: _undo(publication))


def _keep(publication: Publication) -> None:
    """With `keep`: remove what is older, but nothing that is in service, labelled, or was in service until now."""
    if publication.keep is None:
        return
    folders = version_folders(publication.model_folder)
    policy, labels = publication.entry.policy, publication.entry.labels
    needed = {publication.number, *publication.before, *policy.live(folder.number for folder in folders)}
    needed |= {*labels.values(), *policy.versions}
    if publication.server is not None:
        needed |= publication.server.before | publication.server.in_use(publication.name)
    leaving = keeping.superfluous(folders, publication.keep, needed)
    if leaving:
        keeping.remove(leaving, publication.work)
        staging.sync(publication.model_folder)
        publication.removed.extend(folder.number for folder in leaving)
    aside = staging.rolled_back_folder(publication.repository, publication.name)
    keeping.remove(keeping.oldest_aside(version_folders(aside), publication.keep), publication.work)


STEPS: tuple[tuple[str, Callable[[Publication], None]], ...] = (
    ("stage", _stage),
    ("sync", _sync),
    ("live", _go_live),
    ("config", _replace_config),
    ("server files", _write_server_files),
    ("settle", _settle),
    ("serve", _serve),
    ("keep", _keep),
)
AFTER_LIVE = ("config", "server files")  # steps that may fail while the version is there already
ALWAYS = ("serve", "keep")  # steps of a publishing that finds its version and its entry in place, too


def run(publication: Publication) -> None:
    """Do all the steps that the publication needs."""
    for name, step in STEPS:
        if publication.changes or name in ALWAYS:
            try:
                step(publication)
            except BaseException:
                if name in AFTER_LIVE:  # a disk that is full by now, or Ctrl-C
                    with contextlib.suppress(OSError, MlconvertError):
                        _undo(publication)
                raise


def _undo(publication: Publication) -> str:
    """Take back on the disk what was published, because it was not taken or not finished; a sentence that says how."""
    folder, number = publication.model_folder, publication.number
    with staging.holding(publication.repository, CONFIG):
        _undo_config(publication)
    if publication.new_model:
        out = publication.work / "undone"
        folder.rename(out)  # the model is gone at once
        kept = put_aside(publication, out / str(number))
        staging.sync(publication.repository)
        return f"The model was taken out of the repository again{kept}."
    if not takes_version_out(publication):
        what = f"{CONFIG} is as it was" if publication.replaced else "Nothing was changed on the disk"
        return f"{what}: version {number} had been published before, and stays."
    newest = staging.newest_mtime_ns(folder)
    kept = put_aside(publication, folder / str(number))
    staging.touch(folder, newest)
    staging.sync(folder)
    return f"Version {number} was taken out of the repository again{kept}."


def _undo_config(publication: Publication) -> None:
    """The server's files as they were; of models.config the entry alone where somebody has changed others since."""
    for name, content in publication.replaced.items():
        path = publication.repository / name
        there = path.read_bytes() if path.exists() else None
        if there == content:  # it could not be replaced
            continue
        if name == CONFIG:
            text = None if content is None else content.decode()
            if there != models_config.with_entry(text, publication.entry, where=str(path)).encode():
                _replace_entry(publication, publication.entry_before)
                continue
        if content is None:
            path.unlink(missing_ok=True)
        else:
            models_config.put(path, content, publication.work)


def outcome(publication: Publication) -> PublishedVersion:
    version_folder = publication.model_folder / str(publication.number)
    names = (*publication.files, *publication.made)
    return PublishedVersion(
        name=publication.name,
        version=publication.number,
        path=version_folder,
        artifact=publication.placed(version_folder),
        config_path=publication.repository / CONFIG,
        config=publication.config,
        bytes=sum((version_folder / name).stat().st_size for name in names),
        sha256=combine_sha256(publication.digests.items()),
        unchanged=not publication.changes,
        live=publication.live,
        removed=tuple(publication.removed),
        warnings=publication.warnings,
    )
