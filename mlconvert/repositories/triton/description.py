"""The description of a model for Triton: its configuration, and the files beside it that the configuration names.

A description is composed of sections. Each is a function that writes its part of the configuration, and whose
keyword-only parameters are the options of that part. A backend lists the sections that it has.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mlconvert.artifact import Artifact
from mlconvert.converter import Option, check_options, options_of
from mlconvert.repositories.triton import config as cfg
from mlconvert.signature import Signature

COMPLETE = "Written by mlconvert. It is complete: the server's auto-complete has nothing to add."

Section = Callable[..., None]


@dataclass(frozen=True)
class Description:
    """`files` lie in the model's folder beside config.pbtxt (`warmup/…`, labels): path relative to it -> content.

    Their names carry a digest of the content (see `digest_name`), so that a new configuration never changes what the
    one that is being served names.
    """

    config: Any  # ModelConfig
    comments: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()  # for the one who publishes
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Abilities:
    """What the sections have to know of a backend."""

    backend: str
    dtypes: frozenset[str]  # of tensors that it takes
    platform: str = ""  # written only where the backend needs it
    kinds: tuple[Literal["auto", "cpu", "gpu", "model"], ...] = ("auto", "cpu", "gpu")  # of instances, default first
    batches: bool = True  # False: max_batch_size is always 0
    decoupled: bool = False  # whether it can answer a request with any number of responses


@dataclass
class Draft:
    """A description that is being composed: the sections add to `config`, `comments` and `files`."""

    name: str
    signature: Signature
    abilities: Abilities
    config: Any
    artifact: Artifact | None = None
    record: Mapping[str, Any] | None = None
    repository: Path | None = None  # that it is published to
    comments: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)


def describer(
    abilities: Abilities | Callable[[Artifact | None], Abilities],
    sections: Sequence[Section],
    defaults: Callable[[Signature, Artifact | None], Mapping[str, Any]] | None = None,
) -> Callable[..., Description]:
    """The `describe` of a backend: the sections, called in their order.

    `abilities` are those for an artifact where they are not the same for all. `defaults` gives the values of options
    that are not given, where they depend on the model.
    """

    def describe(
        signature: Signature,
        name: str,
        *,
        artifact: Artifact | None = None,
        record: Mapping[str, Any] | None = None,
        repository: Path | None = None,
        **options: Any,
    ) -> Description:
        """The complete description of a model with that signature.

        Raises RepositoryInvalid for what the server would refuse, UsageError for options that are unknown or
        contradict each other, MissingPackage.
        """
        able = abilities if isinstance(abilities, Abilities) else abilities(artifact)
        known = defaults(signature, artifact) if defaults else {}
        checked = check_options("publish", section_options(sections), {**known, **options})
        draft = Draft(name, signature, able, cfg.model_config(), artifact, record, repository, [COMPLETE])
        draft.config.name = name
        draft.config.backend = able.backend
        draft.config.platform = able.platform
        for section in sections:
            section(draft, **{option: checked[option] for option in options_of(section) if option in checked})
        return Description(draft.config, tuple(draft.comments), tuple(draft.warnings), dict(draft.files))

    return describe


def section_options(sections: Sequence[Section]) -> dict[str, Option]:
    """The options of all sections, in their order."""
    return {name: option for section in sections for name, option in options_of(section).items()}


# --- names of files beside the configuration ---

_DIGITS = 16  # hexadecimal digits of the digest in a name


def digest_name(folder: str, content: bytes, label: str) -> str:
    """`<folder>/<digest>-<label>` (no folder: in the model's own), with only plain characters of the label."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", label)[:100]
    name = f"{hashlib.sha256(content).hexdigest()[:_DIGITS]}-{plain}"
    return f"{folder}/{name}" if folder else name


_OURS = re.compile(rf"(?:warmup/|initial_state/)?[0-9a-f]{{{_DIGITS}}}-[A-Za-z0-9_.-]+")


def is_ours(relative_path: str) -> bool:
    """Whether a file of the model's folder has a name that `digest_name` gave it."""
    return _OURS.fullmatch(relative_path) is not None
