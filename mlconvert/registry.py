"""All formats, converters and runners: the built-in tables and those of plug-ins.

A plug-in is a module named by an entry point of the group `mlconvert.plugins`. It may have the same tables as
mlconvert itself: `FORMATS`, `CONVERTERS`, `RUNNERS`. One that cannot be imported is a warning that names it, and
mlconvert goes on without it; one that redefines a built-in row is an error, since two meanings of one name are
worse than none.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any

from mlconvert.converter import Converter, Runner
from mlconvert.converters import CONVERTERS
from mlconvert.errors import UsageError, suggest
from mlconvert.formats import FORMATS, Format, format_named
from mlconvert.runners import RUNNERS

GROUP = "mlconvert.plugins"
TABLES: tuple[tuple[str, type], ...] = (("FORMATS", Format), ("CONVERTERS", Converter), ("RUNNERS", Runner))


class PluginWarning(UserWarning):
    """A plug-in could not be loaded."""


@dataclass(frozen=True)
class Registry:
    formats: tuple[Format, ...]
    converters: tuple[Converter, ...]
    runners: tuple[Runner, ...]

    def format(self, name: str) -> Format:
        return format_named(name, self.formats)

    def converter(self, identity: str) -> Converter:
        for row in self.converters:
            if row.id == identity:
                return row
        raise UsageError(f"unknown converter '{identity}'.{suggest(identity, [row.id for row in self.converters])}")

    def runner(self, format_name: str) -> Runner:
        for row in self.runners:
            if row.format == format_name:
                return row
        known = ", ".join(row.format for row in self.runners)
        raise UsageError(f"nothing here runs the format '{format_name}'", hint=f"formats that can be run: {known}")


def _table(module: Any, name: str, kind: type) -> tuple[Any, ...]:
    rows = tuple(getattr(module, name, ()))
    for row in rows:
        if not isinstance(row, kind):
            raise TypeError(f"{name} holds {row!r}, which is no {kind.__name__}")
    return rows


def _merge(built_in: Iterable[Any], added: Iterable[Any], identity: str, plugin: str) -> tuple[Any, ...]:
    rows = {getattr(row, identity): row for row in built_in}
    for row in added:
        key = getattr(row, identity)
        if key in rows:
            raise UsageError(f"plug-in '{plugin}' redefines '{key}'", hint=f"pip uninstall {plugin}")
        rows[key] = row
    return tuple(rows.values())


@cache
def registry() -> Registry:
    """The tables, plug-ins included; read once per process.

    Raises UsageError when a plug-in redefines a row. Warns with PluginWarning of one that cannot be imported.
    """
    formats: tuple[Format, ...] = FORMATS
    converters: tuple[Converter, ...] = CONVERTERS
    runners: tuple[Runner, ...] = RUNNERS
    for entry in sorted(metadata.entry_points(group=GROUP), key=lambda entry: entry.name):
        owner = entry.dist.name if entry.dist else entry.name
        try:
            module = entry.load()
            tables = [_table(module, *table) for table in TABLES]
        except Exception as error:  # noqa: BLE001 - whatever a stranger's module does, mlconvert itself still works
            warnings.warn(
                f"plug-in '{entry.name}' of {owner} is left out: {type(error).__name__}: {error}",
                PluginWarning,
                stacklevel=2,
            )
            continue
        formats = _merge(formats, tables[0], "name", owner)
        converters = _merge(converters, tables[1], "id", owner)
        runners = _merge(runners, tables[2], "format", owner)
    return Registry(formats, converters, runners)
