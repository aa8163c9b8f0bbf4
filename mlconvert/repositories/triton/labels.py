"""Labels of versions (`stable`, `canary`) for a Triton model, and the version policy that serves what is labelled.

Triton's clients name a version by its number, and a request without one goes to the highest number in service. Labels
are therefore kept where both the operator and the clients can read them: in config.pbtxt, as parameters
`mlconvert.label.<label>`, which the server hands out with the model's configuration. They and the version policy are
one file and change with one rename.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from mlconvert.errors import RepositoryInvalid
from mlconvert.repositories.labels import changed_labels, policy_for
from mlconvert.repositories.triton import config as cfg

PARAMETER = "mlconvert.label."


def labels_of(config: Any) -> dict[str, int]:
    """The labels in a configuration, by name. Raises RepositoryInvalid for one that is not of a version's number."""
    found = {}
    for key in sorted(config.parameters):
        if key.startswith(PARAMETER):
            text = config.parameters[key].string_value
            if not re.fullmatch(r"[1-9][0-9]*", text):
                raise RepositoryInvalid(
                    f"the label '{key.removeprefix(PARAMETER)}' is of version {text!r}, which is no number",
                    where=cfg.CONFIG,
                )
            found[key.removeprefix(PARAMETER)] = int(text)
    return found


def relabelled(
    config: Any, name: str, numbers: Collection[int], *, put: Mapping[str, int], remove: Iterable[str], every: bool
) -> Any:
    """A copy of the configuration with other labels, and the version policy that follows from them.

    The policy is `specific` with the labelled versions; `all` with `every`; without any label it is the newest
    version alone again. `numbers` are the versions there are. Raises UsageError for an unknown label or version.
    """
    labels = changed_labels(labels_of(config), name, numbers, put=put, remove=remove)
    changed = type(config)()
    changed.CopyFrom(config)
    _write(changed, labels)
    changed.ClearField("version_policy")
    cfg.fill_policy(changed.version_policy, policy_for(labels, every=every))
    return changed


def carried(before: Any, wanted: Any) -> Any:
    """`wanted` with the labels of the configuration that it replaces, and the version policy that belongs to them."""
    labels = labels_of(before)
    if not labels:
        return wanted
    changed = type(wanted)()
    changed.CopyFrom(wanted)
    _write(changed, labels)
    changed.version_policy.CopyFrom(before.version_policy)
    return changed


def _write(config: Any, labels: Mapping[str, int]) -> None:
    for key in [key for key in config.parameters if key.startswith(PARAMETER)]:
        del config.parameters[key]
    for label, number in sorted(labels.items()):
        config.parameters[PARAMETER + label].string_value = str(number)
