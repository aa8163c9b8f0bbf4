"""What a model of a repository can be called: a folder on any disk, and a part of a URL."""

from __future__ import annotations

import re

from mlconvert.errors import RepositoryInvalid

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=@-]*")
_LONGEST_NAME = 200  # leaves room for suffixes within the 255 bytes of a file name


def check_name(name: str) -> None:
    """Raise RepositoryInvalid unless the name can be a folder of a repository and a part of a URL."""
    if _NAME.fullmatch(name) and len(name) <= _LONGEST_NAME:
        return
    if len(name) > _LONGEST_NAME:
        raise RepositoryInvalid(f"a model's name may have {_LONGEST_NAME} characters, this one has {len(name)}")
    better = re.sub(r"[^A-Za-z0-9_.+=@-]+", "_", name).strip("._-")
    raise RepositoryInvalid(
        f"{name!r} cannot be the name of a model: it must start with a letter, a digit or '_', "
        "and hold only those and any of '.+=@-'",
        hint=f"--name {better}" if better else None,
    )
