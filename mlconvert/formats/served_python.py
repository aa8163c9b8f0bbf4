"""A `model.py` that mlconvert wrote for Triton's python backend: told by its first line, read without being run.

The file begins with a mark, `# mlconvert triton-python/1 KIND CLASS`, and says in constants in capitals what it serves:
MODEL, the model's file beside it, INPUTS and OUTPUTS with dtypes and shapes. All of them are literals.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlconvert.errors import ConversionFailed
from mlconvert.formats.content import Content, damaged
from mlconvert.signature import KINDS, Signature, TensorSpec

MAIN = "model.py"
REQUIREMENTS = "requirements.txt"
# A file of this name keeps Python from making the folder, which a server that polls would take for a new version.
NO_CACHE = "__pycache__"
MARK = b"# mlconvert triton-python/1 "
LONGEST = 1 << 20  # bytes of a model.py; ours have a few thousand
_FIRST_LINE = re.compile(r"# mlconvert triton-python/1 ([a-z-]+) ([A-Za-z_][\w.]*)")


@dataclass(frozen=True)
class ServedModel:
    """What a generated `model.py` says of itself: the kind of model, its class, and the constants in their order."""

    kind: str
    model_class: str
    constants: Mapping[str, Any]

    @property
    def model_file(self) -> str:
        return str(self.constants["MODEL"])

    @property
    def signature(self) -> Signature:
        return Signature(_specs(self.constants["INPUTS"], self.columns), _specs(self.constants["OUTPUTS"], ()))

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns of the input matrix, where the model was fitted on some."""
        return tuple(self.constants.get("COLUMNS", ()))


def is_triton_python(content: Content) -> bool:
    """True for a model.py of ours; raises ConversionFailed for one whose constants cannot be read."""
    return content.head.startswith(MARK) and bool(read_served(content.path).kind)


def read_served(path: Path) -> ServedModel:
    """The constants of a `model.py`; nothing of it is run. Raises ConversionFailed when they cannot be read."""
    try:
        if path.stat().st_size > LONGEST:
            raise damaged(path, f"a model.py of more than {LONGEST} bytes was not written by mlconvert")
        return parse_served(path.read_text(encoding="utf-8"), path)
    except OSError as error:
        raise ConversionFailed(f"{path} cannot be read: {error.strerror}", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise damaged(path, "it is not UTF-8 text") from error


def parse_served(text: str, path: Path) -> ServedModel:
    """The same from the text; `path` is for messages."""
    first = _FIRST_LINE.fullmatch(text.partition("\n")[0])
    if first is None:
        raise damaged(path, "its first line is not the mark of mlconvert's triton-python")
    try:
        constants = _constants(ast.parse(text))
        served = ServedModel(first[1], first[2], constants)
        signature = served.signature
    except (SyntaxError, ValueError, TypeError, KeyError, AttributeError, RecursionError, MemoryError) as error:
        raise damaged(path, f"its constants cannot be read: {error}") from error
    name = served.model_file
    if not signature.inputs or not signature.outputs:
        raise damaged(path, "it has no inputs or no outputs")
    if name in ("", ".", "..", MAIN, REQUIREMENTS, NO_CACHE) or "/" in name or "\\" in name or "\0" in name:
        raise damaged(path, f"its MODEL, {name!r}, is not the name of a file beside it")
    return served


def served_files(path: Path) -> tuple[Path, ...]:
    """All that belongs to a `model.py`, itself first. Raises ConversionFailed where something is missing."""
    names = [MAIN, read_served(path).model_file, REQUIREMENTS]
    files = [path, *(path.with_name(name) for name in names[1:])]
    for file in files:
        if not file.is_file():
            what = f"{path.name} needs {file.name}, which is not there"
            raise ConversionFailed(what, where=str(path), hint=f"copy {file.name} beside {path.name}")
    blocker = path.with_name(NO_CACHE)
    return (*files, *((blocker,) if blocker.is_file() else ()))


def _constants(tree: ast.Module) -> dict[str, Any]:
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name.isupper():
                found[name] = ast.literal_eval(node.value)
    return found


def _specs(constant: Any, columns: tuple[str, ...]) -> tuple[TensorSpec, ...]:
    specs = []
    for name, (dtype, shape) in constant.items():
        axes = tuple(shape)
        if not isinstance(name, str) or dtype not in KINDS or not all(isinstance(axis, (int, str)) for axis in axes):
            raise ValueError(f"{name!r} has no dtype and shape")
        specs.append(TensorSpec(name, dtype, axes, columns if len(constant) == 1 else ()))
    return tuple(specs)
