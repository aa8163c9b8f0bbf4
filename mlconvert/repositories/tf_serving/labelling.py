"""Putting labels on the versions of a model in a TensorFlow Serving repository: one rename of models.config.

A server has labels of its own (`…/labels/stable:predict`, `tfserving://…/name/stable`). It takes one only for a version
that is loaded, so every labelled version is in the version policy.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mlconvert.errors import RepositoryInvalid
from mlconvert.repositories import staging
from mlconvert.repositories.labels import changed_labels, check_wishes, policy_for
from mlconvert.repositories.tf_serving import models_config
from mlconvert.repositories.tf_serving.history import check_fits
from mlconvert.repositories.tf_serving.layout import entries_in, existing_model, policy_in
from mlconvert.repositories.tf_serving.models_config import CONFIG, Entry
from mlconvert.repositories.trials import Change, Server, try_out
from mlconvert.repositories.versions import Labelled, plain_versions, record_of


@dataclass(frozen=True)
class Labelling:
    """One change of labels, decided."""

    repository: Path
    work: Path  # the empty staging folder, ours alone
    before: Entry
    wanted: Entry
    server: Server | None
    change: Change


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
    version could not be loaded, and what the server raises: the labels are then as they were.
    """
    repository, model_folder = existing_model(repository, name)
    check_wishes(put, remove)
    if not put and not remove and not every:
        with staging.disk_errors(f"cannot read '{name}'", repository):
            entry = entries_in(repository).get(name)
            numbers = {folder.number for folder in plain_versions(model_folder)}
            now = frozenset(policy_in(repository, name).live(numbers))
            return Labelled(name, dict(entry.labels) if entry else {}, now, now)
    with (
        staging.disk_errors(f"cannot label '{name}'", repository),
        staging.exclusive(repository, name, wait_seconds=wait_seconds) as work,
    ):
        before = entries_in(repository).get(name)
        if before is None:
            raise RepositoryInvalid(
                f"{CONFIG} has no entry for '{name}' to keep labels in",
                where=str(repository / CONFIG),
                hint="publish the model: that writes its entry",
            )
        folders = plain_versions(model_folder)
        numbers = {folder.number for folder in folders}
        labels = changed_labels(before.labels, name, numbers, put=put, remove=remove)
        wanted = replace(before, labels=dict(sorted(labels.items())), policy=policy_for(labels, every=every))
        was, live = before.policy.live(numbers), wanted.policy.live(numbers)
        for folder in folders:
            if folder.number in live - was:
                check_fits(folder, name)
        change = _change(model_folder, numbers, live, was)
        if server is not None:
            server.look(change)
        labelling = Labelling(repository, work, before, wanted, server, change)
        if wanted != before:
            for _, step in STEPS:
                step(labelling)
        elif server is not None:
            try_out(server, change, lambda: "The labels were so before: nothing was changed.")
        warnings = tuple(_warnings(before, wanted, was)) if server is None else ()
        return Labelled(name, wanted.labels, frozenset(live), frozenset(was), warnings)


def _warnings(before: Entry, wanted: Entry, was: Collection[int]) -> list[str]:
    """A server refuses all of models.config, new versions included, for a label that moves to what is not loaded."""
    return [
        f"'{label}' moves from version {before.labels[label]} to {number}, which was not in service: a running server "
        f"does not take that, and stays as it is. Have {number} in service first, under another label, or add --load "
        "tfserving://HOST:PORT (its gRPC port)"
        for label, number in wanted.labels.items()
        if before.labels.get(label, number) != number and number not in was
    ]


def _change(model_folder: Path, numbers: Collection[int], live: Collection[int], was: Collection[int]) -> Change:
    return Change(
        name=model_folder.name,
        there=frozenset(numbers),
        served=frozenset(live),
        checked=tuple(sorted(live)),
        record_of=lambda number: record_of(model_folder, number),
        back=frozenset(was),
    )


def _replace(labelling: Labelling) -> None:
    """One rename, after which a server that reads models.config sees the labels and the policy."""
    _put(labelling, labelling.wanted)


def _put(labelling: Labelling, entry: Entry) -> None:
    path = labelling.repository / CONFIG
    with staging.holding(labelling.repository, CONFIG):
        text = models_config.with_entry(models_config.read(labelling.repository), entry, where=str(path))
        models_config.put(path, text.encode(), labelling.work)


def _serve(labelling: Labelling) -> None:
    """With a server: it takes the labels, or they are as they were."""
    if labelling.server is not None:
        try_out(labelling.server, labelling.change, lambda: _undo(labelling))


def _undo(labelling: Labelling) -> str:
    _put(labelling, labelling.before)
    return "The labels are as they were."


STEPS: tuple[tuple[str, Callable[[Labelling], None]], ...] = (("config", _replace), ("serve", _serve))
