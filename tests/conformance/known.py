"""The cases that do not pass, each with its reason. A case that is here and passes fails the test as well."""

from __future__ import annotations

NOT_PASSING: dict[str, str] = {}
