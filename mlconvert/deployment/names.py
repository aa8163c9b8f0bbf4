"""The name of a deployment, which becomes a host's, and images that are pinned."""

from __future__ import annotations

import re
from pathlib import Path

from mlconvert.errors import UsageError

_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_LONGEST = 40  # leaves room for suffixes within the 63 characters of a DNS label
_IMAGE = re.compile(r"[a-z0-9][a-zA-Z0-9._/:@-]*")


def checked_name(name: str | None, repository: Path, *, example: str) -> str:
    """The name that was asked for, else the folder's made one. Raises UsageError for what no host can be called."""
    chosen = name if name is not None else re.sub(r"[^a-z0-9]+", "-", repository.resolve().name.lower()).strip("-")
    if _LABEL.fullmatch(chosen) and len(chosen) <= _LONGEST:
        return chosen
    raise UsageError(
        f"{chosen!r} cannot be a deployment's name: it becomes a host's name (lower case letters, digits and '-', "
        f"a letter first, at most {_LONGEST} characters)",
        hint=f"--name {example}",
    )


def checked_image(image: str) -> str:
    """The image. Raises UsageError where no tag or digest pins it."""
    if not _IMAGE.fullmatch(image):
        raise UsageError(f"{image!r} is not an image", hint="--image REGISTRY/NAME:TAG")
    tag = image.rsplit("/", 1)[-1]
    if "@sha256:" not in image and (":" not in tag or tag.endswith((":latest", ":"))):
        what = f"the image {image} is not pinned: what runs would change without anybody saying so"
        raise UsageError(what, hint="name a tag or a digest: --image REGISTRY/NAME:TAG")
    return image
