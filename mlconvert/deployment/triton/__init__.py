"""Deployment files for Triton."""

from __future__ import annotations

from pathlib import Path

from mlconvert.deployment.triton.description import Deployment, described, tied_to_a_release
from mlconvert.errors import UsageError


def looked_at(repository: Path, *, name: str | None, release: str | None, image: str | None) -> Deployment:
    """What the repository needs of its server.

    Raises what `described` raises, and UsageError where a model only loads in a release that nobody named.
    """
    found = described(repository, name=name, release=release, image=image)
    tied = tied_to_a_release(found.models)
    if tied and release is None and image is None:
        raise UsageError(
            f"{', '.join(tied)}: such a model only loads in the release that it was built for",
            where=str(repository),
            hint="say which one: --release 26.06",
        )
    return found
