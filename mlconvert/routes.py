"""Routes: the fewest edges from a source format through the named waypoints, found in the table of converters."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from mlconvert.converter import Converter
from mlconvert.errors import UsageError, suggest
from mlconvert.repositories import REPOSITORIES


def shortest(source: str, target: str, converters: Iterable[Converter]) -> list[Converter] | None:
    """The fewest edges from format to format (breadth first; ties go to the row that stands first), or None."""
    edges = [row for row in converters if not row.is_pass]
    found: dict[str, list[Converter]] = {source: []}
    queue = deque([source])
    while queue:
        here = queue.popleft()
        if here == target:
            return found[here]
        for edge in edges:
            if edge.source == here and edge.target not in found:
                found[edge.target] = [*found[here], edge]
                queue.append(edge.target)
    return None


def reachable(source: str, converters: Sequence[Converter]) -> list[str]:
    """The formats that some route leads to, the source's own left out unless a pass keeps it."""
    targets = dict.fromkeys(row.target for row in converters)
    found = [name for name in targets if name != source and shortest(source, name, converters)]
    if any(row.is_pass and row.source == source for row in converters):
        found.append(source)
    return sorted(found)


def route(source: str, waypoints: Sequence[str], converters: Sequence[Converter]) -> list[tuple[Converter, int]]:
    """The edges from `source` through the waypoints in order, each with the index of the waypoint that it leads to.

    A waypoint is a format or the name of a pass. Formats in between are filled in by the shortest way.
    Raises UsageError for a word that is neither, and for a target that no route reaches, naming those that are.
    """
    passes = {row.name for row in converters if row.is_pass}
    here, edges = source, list[tuple[Converter, int]]()
    for index, name in enumerate(waypoints):
        require_known(name, converters)
        way = _way_to_pass(here, name, converters) if name in passes else shortest(here, name, converters)
        if way is None:
            ends = ", ".join(reachable(here, converters)) or "none"
            raise UsageError(f"no route leads from {here} to {name}", hint=f"formats that {here} can become: {ends}")
        edges += [(edge, index) for edge in way]
        here = way[-1].target if way else here
    if not edges:
        names = ", ".join(sorted({row.name for row in converters if row.is_pass and row.source == source}))
        raise UsageError(
            f"the source is {source} already: there is nothing to do",
            hint=f"name a pass with --via: {names}" if names else None,
        )
    return edges


def _way_to_pass(here: str, name: str, converters: Sequence[Converter]) -> list[Converter] | None:
    ways = []
    for edge in converters:
        if edge.is_pass and edge.name == name:
            way = shortest(here, edge.source, converters)
            if way is not None:
                ways.append([*way, edge])
    return min(ways, key=len) if ways else None


def require_known(name: str, converters: Sequence[Converter]) -> None:
    """Raise UsageError unless the name is that of a format or of a pass."""
    formats = {row.source for row in converters} | {row.target for row in converters}
    passes = {row.name for row in converters if row.is_pass}
    if name in formats | passes:
        return
    layout = next((row for row in REPOSITORIES if row.name == name), None)
    if layout is not None:
        publish = f"mlconvert publish ARTIFACT REPOSITORY --to {name} --name NAME"
        what = f"'{name}' is a repository layout, not a format: artifacts are published to it"
        raise UsageError(what, hint=f"convert to {layout.formats[0]}, then: {publish}")
    raise UsageError(
        f"unknown format or pass '{name}'.{suggest(name, sorted(formats | passes))}",
        hint=f"formats: {', '.join(sorted(formats))}; passes: {', '.join(sorted(passes))}",
    )
