"""Labels of versions (`stable`, `canary`), and the version policy that serves what is labelled.

Where they are written is a layout's own affair; what they may be called, and what they may be on, is the same for all.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from mlconvert.errors import RepositoryInvalid, UsageError, suggest
from mlconvert.repositories.policies import LATEST, VersionPolicy

_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")  # not a number: a version is one


def check_label(label: str) -> None:
    """Raise UsageError unless the word can be a label."""
    if not _LABEL.fullmatch(label):
        raise UsageError(
            f"{label!r} cannot be a label: it starts with a letter and has up to 63 letters, digits, '_', '.' and '-'"
        )


def check_wishes(put: Mapping[str, int], remove: Iterable[str]) -> None:
    """Raise UsageError where a label is to be set and to be removed."""
    both = sorted(set(put) & set(remove))
    if both:
        raise UsageError(f"the label '{both[0]}' is to be set and to be removed")


def changed_labels(
    labels: Mapping[str, int], name: str, numbers: Collection[int], *, put: Mapping[str, int], remove: Iterable[str]
) -> dict[str, int]:
    """The labels of model `name` after a change. `numbers` are its versions. Raises UsageError for unknown ones."""
    listed = ", ".join(map(str, sorted(numbers))) or "none"
    changed = dict(labels)
    for label in remove:
        if label not in changed:
            known = ", ".join(changed) or "none"
            raise UsageError(f"'{name}' has no label '{label}'.{suggest(label, changed)}", hint=f"its labels: {known}")
        del changed[label]
    for label, number in put.items():
        check_label(label)
        changed[label] = number
    for label, number in changed.items():
        if number not in numbers:
            raise UsageError(
                f"'{name}' has no version {number} for the label '{label}'", hint=f"its versions: {listed}"
            )
    return changed


def policy_for(labels: Mapping[str, int], *, every: bool) -> VersionPolicy:
    """`specific` with the labelled versions; `all` with `every`; without any label the newest version alone."""
    if every:
        return VersionPolicy("all")
    return VersionPolicy("specific", versions=tuple(sorted(set(labels.values())))) if labels else LATEST


def check_none_leaves(
    labels: Mapping[str, int], leaving: Collection[int], target: int, *, name: str, repository: object, where: str
) -> None:
    """Raise RepositoryInvalid where a label is on a version that a rollback to `target` would take out."""
    found = [label for label, number in labels.items() if number in leaving]
    if found:
        raise RepositoryInvalid(
            f"version {labels[found[0]]} of '{name}' has the label '{found[0]}'",
            where=where,
            hint=f"move the label: mlconvert labels {repository} {name} {found[0]}={target}",
        )
