"""The files of each version: there, readable, and the same ones that their record, and the checksums, are of."""

from __future__ import annotations

import ast
import hashlib
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from mlconvert import records
from mlconvert.artifact import file_sha256
from mlconvert.repositories.findings import Finding
from mlconvert.repositories.triton.checksums import sums_of
from mlconvert.repositories.triton.lint.model import ModelFolder, VersionFolder, type_name

NUMPY_1_UNTIL = "24.10"  # the last release that was seen to need it [run]

_READABLE, _ENTERABLE = stat.S_IRGRP | stat.S_IROTH, stat.S_IXGRP | stat.S_IXOTH


def model_files(model: ModelFolder) -> Iterator[Finding]:
    name = model.model_file
    if name is None:
        return
    for version in _plain(model):
        if _by_capability(model, version):
            continue  # whether a machine's GPUs are among them is for `mlconvert check` to say
        main = model.path / version.name / name
        if main.is_dir() and model.backend_name == "onnxruntime":
            main = main / "model.onnx"
            name = f"{model.model_file}/model.onnx"
        if not main.exists():
            told = sorted(path.name for path in (model.path / version.name).iterdir() if path.is_file())
            what = f"there is no '{name}'" + (f", but {', '.join(told[:3])}" if told else ": the version is empty")
            fix = f"put the model at {model.name}/{version.name}/{name}"
            yield model.of_version(version, "model-file-missing", "default_model_filename", what, fix, file=name)


def _by_capability(model: ModelFolder, version: VersionFolder) -> bool:
    """Whether the server has a file for GPUs of some compute capability: it looks for no other there."""
    gpus = any(type_name(group, "kind") == "KIND_GPU" for group in model.config.instance_group)
    names = model.config.cc_model_filenames.values()
    return gpus and any((model.path / version.name / name).exists() for name in names)


def python_models(model: ModelFolder) -> Iterator[Finding]:
    if model.backend_name != "python" or model.model_file is None:
        return
    for version in _plain(model):
        path = model.path / version.name / model.model_file
        if not path.is_file():
            continue
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None)
            file = f"{model.model_file}:{line}" if line else model.model_file
            yield model.of_version(version, "python-syntax", None, f"not Python: {error}", f"correct {file}", file=file)
            continue
        yield from _python_class(model, version, tree, path.name)
    for version in model.versions:
        if (model.path / version.name / "__pycache__").is_dir():
            what = "the interpreter's cache: a server that polls takes a change there for a new version"
            fix = f"rm -r {model.path / version.name / '__pycache__'}"
            yield model.warning("pycache", None, what, fix, file=f"{version.name}/__pycache__")


def python_requirements(model: ModelFolder) -> Iterator[Finding]:
    """The stub of the python backend of 24.10 reads numpy's arrays by an interface that numpy 2 changed."""
    if model.backend_name != "python" or model.release is None or model.release > NUMPY_1_UNTIL:
        return
    for version in _plain(model):
        path = model.path / version.name / "requirements.txt"
        pinned = (
            re.search(r"^numpy==([0-9]+)", path.read_text("utf-8", "replace"), re.MULTILINE) if path.is_file() else None
        )
        if pinned and int(pinned[1]) >= 2:
            what = f"numpy {pinned[1]} is asked for, and Triton {model.release} passes arrays as numpy 1 has them"
            fix = "serve it with a newer release, or install numpy<2 there"
            file = f"{version.name}/requirements.txt"
            yield model.warning("release-numpy", "numpy", what, fix, file=file)


def _python_class(model: ModelFolder, version: VersionFolder, tree: ast.Module, file: str) -> Iterator[Finding]:
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "TritonPythonModel"]
    named = any(_may_name_it(node) for node in tree.body)
    if not classes and not named:
        what = "there is no class TritonPythonModel"
        yield model.of_version(
            version, "python-class", None, what, "name the model's class TritonPythonModel", file=file
        )
    for node in classes:
        methods = {item.name for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)}
        if "execute" not in methods and not node.bases:
            what = "TritonPythonModel has no execute: it loads, and no request is answered"
            fix = "write def execute(self, requests)"
            yield model.warning("python-execute", None, what, fix, file=f"{version.name}/{file}")


def _may_name_it(node: ast.stmt) -> bool:
    """Whether a statement may bring the class in without defining it here."""
    if isinstance(node, ast.ImportFrom):
        return any(alias.name in ("*", "TritonPythonModel") for alias in node.names)
    if isinstance(node, ast.Assign):
        return any(isinstance(target, ast.Name) and target.id == "TritonPythonModel" for target in node.targets)
    return isinstance(node, (ast.If, ast.Try))


def _plain(model: ModelFolder) -> list[VersionFolder]:
    return [version for version in model.versions if version.plain]


# --- what was written down of them ---


def recorded(model: ModelFolder) -> Iterator[Finding]:
    """Every file that a record names is there, with the digest that it has there."""
    for version in _plain(model):
        folder = model.path / version.name
        for path in sorted(folder.rglob(records.IN_FOLDER)):
            record = records.read(path)
            if record is None:
                if path.parent == folder or path.parent.parent == folder:
                    what = "this is no record of mlconvert's: the version cannot be tested by itself"
                    yield model.warning("record-unreadable", None, what, f"rm {path}", file=_below(model, path))
                continue
            for row in record["files"]:
                yield from _row(model, path, path.parent / row["path"], row)


def _row(model: ModelFolder, record: Path, file: Path, row: dict[str, object]) -> Iterator[Finding]:
    where = _below(model, file)
    fix = f"publish the model again, or remove {record} if the new file is meant"
    if not file.is_file():
        what = f"the record names '{row['path']}', which is not there"
        yield model.error("record-file-missing", None, what, fix, file=where)
    elif row.get("bytes", file.stat().st_size) != file.stat().st_size or file_sha256(file) != row["sha256"]:
        what = "the file was changed after its record was written (sha256 differs)"
        yield model.error("checksum", None, what, fix, file=where)


def checksums(model: ModelFolder) -> Iterator[Finding]:
    """What the checksum agent compares when it loads the model: all files that it lists, of every version."""
    for name, digest in sorted(sums_of(model.config).items()):
        field = f"model_repository_agents 'MD5:{name}'"
        path = model.path / name
        if not path.is_file():
            what = f"there is a checksum of '{name}', which is not there: nothing of the model loads"
            yield model.error("checksum-agent", field, what, f"remove the parameter MD5:{name}")
        elif (found := _md5(path)) != digest.lower():
            what = f"the MD5 of '{name}' is {found}, not {digest}"
            yield model.error("checksum-agent", field, what, "restore the file, or write its own MD5 if it is meant")


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def access(model: ModelFolder) -> Iterator[Finding]:
    """Whether a server that runs as another user can read the model."""
    paths = [model.path, *sorted(model.path.rglob("*"))]
    for path in paths:
        if not path.exists():
            if path.is_symlink():
                yield model.warning("broken-link", None, "a link to nothing", f"rm {path}", file=_below(model, path))
            continue
        mode = path.stat().st_mode
        if not mode & _READABLE or (path.is_dir() and not mode & _ENTERABLE):
            what = f"only its owner can read it (mode {stat.S_IMODE(mode):o}): a server of another user cannot"
            fix = f"chmod {'755' if path.is_dir() else '644'} {path}"
            yield model.warning("not-readable", None, what, fix, file=_below(model, path))


def _below(model: ModelFolder, path: Path) -> str:
    return path.relative_to(model.path).as_posix() if path != model.path else ""


RULES = (model_files, python_models, python_requirements, recorded, checksums, access)
