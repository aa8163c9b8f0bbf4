"""Putting labels on the versions of a model in a Triton repository: one rename of config.pbtxt."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlconvert.errors import RepositoryInvalid
from mlconvert.repositories import staging
from mlconvert.repositories.labels import check_wishes
from mlconvert.repositories.trials import Change, Server, stand_in, try_out
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton.configuring import put_config
from mlconvert.repositories.triton.history import check_fits, config_of
from mlconvert.repositories.triton.labels import labels_of, relabelled
from mlconvert.repositories.triton.layout import custom_configs, existing_model
from mlconvert.repositories.versions import Labelled, plain_versions, record_of


@dataclass(frozen=True)
class Labelling:
    """One change of labels, decided."""

    model_folder: Path
    work: Path  # the empty staging folder, ours alone
    text: str
    before: bytes  # config.pbtxt as it was
    newest_mtime_ns: int
    server: Server | None
    change: Change

    @property
    def config_path(self) -> Path:
        return self.model_folder / cfg.CONFIG


def label(
    repository: Path,
    name: str,
    put: Mapping[str, int],
    remove: Sequence[str] = (),
    *,
    every: bool = False,
    server: Server | None = None,
    wait_seconds: float = staging.WAIT_SECONDS,
) -> Labelled:
    """Set labels of versions and remove others; without either, say which there are.

    The version policy becomes `specific` with the labelled versions, `all` with `every`, and the newest version alone
    when no label is left. Raises UsageError for an unknown model, version or label, RepositoryInvalid when a labelled
    version does not fit the configuration, and what the server raises: the labels are then as they were.
    """
    repository, model_folder = existing_model(repository, name)
    check_wishes(put, remove)
    if not put and not remove and not every:
        with staging.disk_errors(f"cannot read '{name}'", repository):
            config = config_of(model_folder)
            numbers = {folder.number for folder in plain_versions(model_folder)}
            now = frozenset(cfg.live_versions(config, numbers))
            return Labelled(name, labels_of(config), now, now)
    with (
        staging.disk_errors(f"cannot label '{name}'", repository),
        staging.exclusive(repository, name, wait_seconds=wait_seconds) as work,
    ):
        path = model_folder / cfg.CONFIG
        if not path.is_file():
            raise RepositoryInvalid("the model has no configuration to keep labels in", where=str(path))
        if others := custom_configs(model_folder):
            what = f"'{name}' has several configurations (config.pbtxt, {', '.join(others)}): labels are kept in one"
            raise RepositoryInvalid(what, where=str(path), hint="labels are for models with one configuration")
        folders = plain_versions(model_folder)
        numbers = {folder.number for folder in folders}
        before = cfg.read(path)
        wanted = relabelled(before, name, numbers, put=put, remove=remove, every=every)
        was, live = cfg.live_versions(before, numbers), cfg.live_versions(wanted, numbers)
        for folder in folders:
            if folder.number in live - was:
                check_fits(wanted, folder, name)
        if wanted != before:
            labelling = Labelling(
                model_folder=model_folder,
                work=work,
                text=cfg.as_text(wanted, cfg.comments_of(path.read_text("utf-8"))),
                before=path.read_bytes(),
                newest_mtime_ns=staging.newest_mtime_ns(model_folder),
                server=server,
                change=_change(model_folder, work, numbers, live, was),
            )
            if server is not None:
                server.look(labelling.change)
            for _, step in STEPS:
                step(labelling)
        elif server is not None:
            change = _change(model_folder, work, numbers, live, was)
            server.look(change)
            try_out(server, change, lambda: "The labels were so before: nothing was changed.")
        return Labelled(name, labels_of(wanted), frozenset(live), frozenset(was))


def _change(
    model_folder: Path, work: Path, numbers: Collection[int], live: Collection[int], was: Collection[int]
) -> Change:
    return Change(
        name=model_folder.name,
        there=frozenset(numbers),
        served=frozenset(live),
        checked=tuple(sorted(live)),
        record_of=lambda number: record_of(model_folder, number),
        stand_in=stand_in(model_folder, work),
        back=frozenset(was),
    )


def _stage(labelling: Labelling) -> None:
    staging.write_text(labelling.text, labelling.work / cfg.CONFIG)
    staging.stamp(labelling.work, labelling.newest_mtime_ns)


def _replace(labelling: Labelling) -> None:
    """One rename, after which servers see the labels and the policy."""
    (labelling.work / cfg.CONFIG).replace(labelling.config_path)


def _settle(labelling: Labelling) -> None:
    staging.touch(labelling.model_folder, labelling.newest_mtime_ns)
    staging.sync(labelling.model_folder)


def _serve(labelling: Labelling) -> None:
    """With a server: it takes the labels, or they are as they were."""
    if labelling.server is not None:
        try_out(labelling.server, labelling.change, lambda: _undo(labelling))


def _undo(labelling: Labelling) -> str:
    newest = staging.newest_mtime_ns(labelling.model_folder)
    put_config(labelling.config_path, labelling.before, labelling.work, newest)
    return "The labels are as they were."


STEPS: tuple[tuple[str, Callable[[Labelling], None]], ...] = (
    ("stage", _stage),
    ("config", _replace),
    ("settle", _settle),
    ("serve", _serve),
)
