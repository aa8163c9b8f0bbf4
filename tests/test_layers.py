"""Imports go one way. The sources are read, so that imports inside functions count too."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "mlconvert"

# From the bottom to the top: a module may import those of its own layer and of the layers above it in this table.
# A package stands for all that is in it. A new module or package has to be placed here.
LAYERS: tuple[tuple[str, str], ...] = (
    ("errors", "errors version"),
    ("models and data", "artifact formats java packages progress records samples serving signature tensors"),
    ("contracts", "converter hardware"),
    (
        "what several edges read and write alike",
        "ensembles forests jars onnx_model pipelines python_backend readers tensorflow",
    ),
    ("edges", "converters deployment repositories runners"),
    ("registry", "registry"),
    ("plan, parity, report", "inference parity plan recipe report routes tested"),
    ("execute", "benchmarking execution operations worker"),
    ("execute elsewhere", "bundles fleet"),
    ("api", "api mlconvert"),
    ("cli", "__main__ cli"),
)
LEVEL = {name: level for level, (_, names) in enumerate(LAYERS) for name in names.split()}
APART = ("converters", "runners", "repositories")  # one layer, and none of them knows the others


def _place(module: str) -> str:
    return module.partition(".")[0]


def _short(name: str) -> str:
    return name.removeprefix("mlconvert.")


def _sources() -> dict[str, ast.Module]:
    sources = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("mlconvert", *path.relative_to(PACKAGE).with_suffix("").parts)
        name = ".".join(parts).removesuffix(".__init__")
        sources[_short(name)] = ast.parse(path.read_text(encoding="utf-8"))
    return sources


SOURCES = _sources()


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _imports(node: ast.AST, *, top_level: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """The import statements; `top_level`: only those that are run when the module is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child
        elif top_level and (isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) or _is_type_checking(child)):
            continue
        else:
            yield from _imports(child, top_level=top_level)


def _imported(module: str, *, top_level: bool = False) -> tuple[set[str], set[str]]:
    """What a module imports: modules of mlconvert, and the top packages of others."""
    ours, others = set(), set()
    for statement in _imports(SOURCES[module], top_level=top_level):
        if isinstance(statement, ast.Import):
            names = [alias.name for alias in statement.names]
        else:
            assert statement.level == 0, f"{module}: a relative import"
            assert statement.module is not None
            names = [
                found if _short(found := f"{statement.module}.{alias.name}") in SOURCES else statement.module
                for alias in statement.names
            ]
        for name in names:
            if name.partition(".")[0] == "mlconvert":
                ours.add(_short(name))
            else:
                others.add(name.partition(".")[0])
    return ours, others


def test_every_module_has_its_place():
    placed = [name for _, names in LAYERS for name in names.split()]
    assert len(placed) == len(set(placed))
    places = {_place(module) for module in SOURCES}
    assert sorted(places - set(placed)) == [], "place the new modules in LAYERS"
    assert sorted(set(placed) - places) == [], "these modules are gone: remove them from LAYERS"


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_imports_go_one_way(module):
    level = LEVEL[_place(module)]
    upwards = [name for name in sorted(_imported(module)[0]) if LEVEL[_place(name)] > level]
    assert upwards == [], f"{module} ({LAYERS[level][0]}) imports from a higher layer"


@pytest.mark.parametrize("package", APART)
def test_converters_runners_and_repositories_do_not_know_each_other(package):
    for module in SOURCES:
        if module.partition(".")[0] == package:
            known = {name.partition(".")[0] for name in _imported(module)[0]}
            assert known & set(APART) <= {package}, module


def test_there_are_no_circles():
    graph = {module: _imported(module)[0] - {module} for module in SOURCES}
    assert list(TopologicalSorter(graph).static_order())  # raises CycleError, which shows the circle


def test_only_the_command_line_knows_the_command_line():
    for module in SOURCES:
        if module.partition(".")[0] not in ("cli", "__main__"):
            assert not any(name.partition(".")[0] == "cli" for name in _imported(module)[0]), module
            assert _imported(module)[1].isdisjoint({"typer", "click"}), module


@pytest.mark.parametrize(
    "module", sorted(m for m in SOURCES if m.partition(".")[0] in ("converters", "readers", "runners"))
)
def test_an_edge_imports_nothing_but_python_when_it_is_imported(module):
    """The parent process imports these to read their options; neither they nor what they import may cost anything."""
    seen, queue = set(), [module]
    while queue:
        here = queue.pop()
        if here in seen:
            continue
        seen.add(here)
        ours, others = _imported(here, top_level=True)
        assert others <= set(sys.stdlib_module_names), f"{here}, imported by {module}"
        queue += [name for name in ours if name in SOURCES]


def test_the_rules_see_what_they_must(monkeypatch):
    """The reader of imports itself: each kind of statement, in each place."""
    text = """
from __future__ import annotations
from typing import TYPE_CHECKING
import os.path
from mlconvert import errors
from mlconvert.execution import cache
if TYPE_CHECKING:
    import numpy as np
    from mlconvert.plan import Plan
try:
    import torch
except ImportError:
    pass
class A:
    import yaml
def f():
    from mlconvert.cli.app import run
    import onnx.helper
"""
    monkeypatch.setitem(SOURCES, "made_up", ast.parse(text))
    ours, others = _imported("made_up")
    assert ours == {"execution.cache", "errors", "plan", "cli.app"}
    assert others == {"__future__", "typing", "os", "numpy", "torch", "yaml", "onnx"}
    ours, others = _imported("made_up", top_level=True)
    assert ours == {"execution.cache", "errors"}
    assert others == {"__future__", "typing", "os", "torch", "yaml"}
