"""A PyTorch model handed over as the Python function that builds it: `package.module:factory`, `path/file.py:factory`.

The function is looked for without importing its module, so that a typing error is told before anything runs.
"""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from mlconvert.errors import UsageError, suggest

_IN_MODULE = re.compile(r"(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*):(?P<function>[^\W\d]\w*)")
_IN_FILE = re.compile(r"(?P<file>.+\.py):(?P<function>[^\W\d]\w*)", re.DOTALL)


@dataclass(frozen=True)
class Factory:
    """Where the factory is: in a module that can be imported, or in a file."""

    function: str
    module: str | None = None
    file: Path | None = None

    @property
    def absolute(self) -> str:
        """The same factory as a location that holds in any current folder."""
        return f"{self.file.absolute()}:{self.function}" if self.file else f"{self.module}:{self.function}"


def parse_factory(location: str) -> Factory | None:
    """The factory that the location spells, or None: then it is a path. A file of that name wins."""
    if "\0" in location or Path(location).exists():
        return None
    in_file = _IN_FILE.fullmatch(location)
    if in_file:
        return Factory(in_file["function"], file=Path(in_file["file"]))
    in_module = _IN_MODULE.fullmatch(location)
    return Factory(in_module["function"], module=in_module["module"]) if in_module else None


def module_file(factory: Factory) -> Path:
    """The .py file (or compiled module) that the factory is in, found without importing anything.

    Modules are looked for in the current folder, then where Python looks. Raises UsageError when there is none.
    """
    if factory.file:
        if not factory.file.is_file():
            near = [path.name for path in factory.file.parent.glob("*.py")] if factory.file.parent.is_dir() else []
            raise UsageError(
                f"{factory.file} does not exist.{suggest(factory.file.name, near)}", where=factory.absolute
            )
        return factory.file
    assert factory.module is not None
    return _find_module(factory.module)


def _find_module(module: str) -> Path:
    top, *rest = module.split(".")
    importlib.invalidate_caches()
    spec = importlib.machinery.PathFinder.find_spec(top, [str(Path.cwd())])
    if spec is None or (spec.origin is None and rest and not _submodule(spec, [*rest])):
        spec = _top_level(top)  # also finds what an editable install has hooked in; a top level name imports nothing
    found = _submodule(spec, rest) if spec else None
    if found is None or found.origin is None or not Path(found.origin).is_file():
        raise UsageError(
            f"there is no module '{module}' here",
            where=module,
            hint="run mlconvert in the folder that holds it, install its package, or give path/file.py:factory",
        )
    return Path(found.origin)


def _top_level(name: str) -> importlib.machinery.ModuleSpec | None:
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__spec__", None) is None:
        return None  # find_spec raises ValueError for such a module: __main__ of a script
    return importlib.util.find_spec(name)


def _submodule(spec: importlib.machinery.ModuleSpec, names: list[str]) -> importlib.machinery.ModuleSpec | None:
    """The spec of a module inside a package, by its folders: `find_spec` with dots would import the parents."""
    found: importlib.machinery.ModuleSpec | None = spec
    for name in names:
        if found is None or found.submodule_search_locations is None:
            return None
        found = importlib.machinery.PathFinder.find_spec(name, list(found.submodule_search_locations))
    return found


def check_factory(factory: Factory) -> None:
    """Raise UsageError, with the nearest name, when the module or file has no such function, or is not valid Python."""
    path = module_file(factory)
    if path.suffix != ".py":
        return
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f"{path}:{line}" if line else str(path)
        raise UsageError(f"{path.name} is not valid Python: {getattr(error, 'msg', error)}", where=where) from error
    names = _names(tree)
    if names is not None and factory.function not in names:
        functions = sorted(
            node.name for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
        )
        raise UsageError(
            f"{path.name} has no '{factory.function}'.{suggest(factory.function, names)}",
            where=str(path),
            hint=f"its functions: {', '.join(functions)}" if functions else None,
        )


def _names(tree: ast.Module) -> set[str] | None:
    """The names that a module defines; None when they cannot be told without running it."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            imported = {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
            if "*" in imported:
                return None
            names |= imported
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute | ast.Call) and _is_dynamic(node):
            return None
    return None if "__getattr__" in names else names


def _is_dynamic(node: ast.Attribute | ast.Call) -> bool:
    """True for `globals()`, through which names may appear."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "globals"
