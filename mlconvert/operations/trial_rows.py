"""What versions on trial are asked: the rows that their records keep."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from mlconvert.errors import NotVerified

if TYPE_CHECKING:
    from mlconvert.repositories.trials import Change


def require_rows(change: Change, number: int) -> Mapping[str, Any]:
    """The record of a version. Raises NotVerified where it keeps no rows to ask a server."""
    record = change.record_of(number)
    if record is None or not record.get("rows"):
        raise NotVerified(
            f"version {number} of '{change.name}' cannot be tested on the server: it has no record with rows",
            hint="convert and verify it with mlconvert, or add --no-verify: it is then loaded unchecked",
        )
    return record


def listed(numbers: Collection[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))
