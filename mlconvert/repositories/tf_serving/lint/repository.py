"""models.config against the folders, the server's other files, and what lies around the models."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlconvert.errors import RepositoryInvalid
from mlconvert.repositories import staging
from mlconvert.repositories.findings import Finding
from mlconvert.repositories.tf_serving.lint.model import ServedModel
from mlconvert.repositories.tf_serving.models_config import CONFIG
from mlconvert.repositories.tf_serving.saved_models import MAIN
from mlconvert.repositories.tf_serving.server_files import BATCHING, MESSAGES
from mlconvert.serving.tf_serving.messages import parse_text

_READABLE, _ENTERABLE = stat.S_IRGRP | stat.S_IROTH, stat.S_IXGRP | stat.S_IXOTH


def of_repository(repository: Path, models: Mapping[str, ServedModel]) -> Iterator[Finding]:
    yield from _server_files(repository)
    yield from _leftovers(repository)
    if (repository / CONFIG).is_symlink():
        what = "a link: servers read it, and publishing does not replace it"
        yield Finding("warning", "config-link", None, CONFIG, None, what, "put the file itself there")
    if (repository / CONFIG).is_file():
        yield from _unreadable(repository / CONFIG, None, CONFIG)
    folders = {model.path.name for model in models.values()}
    for path in sorted(repository.iterdir()):
        if path.is_dir() and path.name not in folders and path.name != "lost+found":
            inside = "; it has a model without a version" if (path / MAIN).is_file() else ""
            what = f"a folder with no versions (1, 2, …), which {CONFIG} does not name: no server looks there{inside}"
            fix = f"mlconvert publish {path} {repository} --to tf-serving" if inside else f"move {path} elsewhere"
            yield Finding("warning", "stray-folder", None, path.name, None, what, fix)


def _server_files(repository: Path) -> Iterator[Finding]:
    for name, kind in MESSAGES.items():
        path = repository / name
        if not path.exists():
            continue
        try:
            parsed = parse_text(kind, path.read_bytes().decode(), where=str(path), what=f"a {name}")
        except UnicodeDecodeError:
            what = "not UTF-8 text: the server does not start"
            yield Finding("error", "config-syntax", None, name, None, what, f"write {path} again")
        except RepositoryInvalid as error:
            line = (error.where or "").removeprefix(str(path))
            yield Finding("error", "config-syntax", None, f"{name}{line}", None, error.message, f"correct {name}{line}")
        else:
            yield from _unreadable(path, None, name)
            if name == BATCHING:
                yield from _batch_sizes(parsed)


def _batch_sizes(parsed: Any) -> Iterator[Finding]:
    """The server's own rules: rising sizes, of which the last is the most rows in a batch."""
    sizes = list(parsed.allowed_batch_sizes)
    if not sizes:
        return
    fix = f"write them in {BATCHING} as publish does: --set batching_sizes=…"
    if sizes != sorted(set(sizes)) or sizes[0] < 1:
        what = f"{sizes} do not rise: the server loads no model"
        yield Finding("error", "batch-sizes", None, BATCHING, "allowed_batch_sizes", what, fix)
    elif parsed.HasField("max_batch_size") and not parsed.enable_large_batch_splitting.value:
        most = parsed.max_batch_size.value
        if sizes[-1] != most:
            what = f"the last one, {sizes[-1]}, is not max_batch_size ({most}): the server loads no model"
            yield Finding("error", "batch-sizes", None, BATCHING, "allowed_batch_sizes", what, fix)


def _leftovers(repository: Path) -> Iterator[Finding]:
    """What a publisher that died left beside the repository; not what one is making now, who holds its lock."""
    root = staging.staging_folder(repository.resolve())
    try:
        left = sorted((root / "staged").iterdir())
    except FileNotFoundError:  # there is none, or its publisher has just ended
        return
    for path in left:
        if not _is_held(root / "locks" / path.name):
            what = f"{path} was left by a publishing that did not end"
            fix = f"rm -r {path}, or publish any model: that removes it"
            yield Finding("warning", "staging-leftover", None, f"../{root.name}/staged/{path.name}", None, what, fix)


def _is_held(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


# --- of one model ---


def entry(model: ServedModel) -> Iterator[Finding]:
    if model.entry is None:
        if (model.path.parent / CONFIG).is_file() and not model.live:
            what = f"{CONFIG} does not name it: a server that reads that file does not serve it"
            fix = f"publish it again, or write an entry for it in {CONFIG}"
            yield model.finding("warning", "not-in-config", what, fix)
        return
    base = model.entry.base_path
    if not base.startswith("/") and "://" not in base:
        what = f"'{base}' is no absolute path: the server does not take the file"
        yield model.in_config(
            "error", "base-path", f"config '{model.name}' base_path", what, f'write "/models/{model.name}"'
        )
    elif model.elsewhere:
        what = f"{base} is outside this repository: what is there was not looked at"
        fix = f"write /models/{model.name}, or lint the repository that it is in"
        yield model.in_config("warning", "elsewhere", f"config '{model.name}' base_path", what, fix)
    elif not model.path.is_dir():
        what = f"there is no folder '{model.path.name}': the server waits for the model in vain"
        fix = f"publish it as '{model.name}', or take its entry out"
        yield model.in_config("error", "folder-missing", f"config '{model.name}' base_path", what, fix)


def policy(model: ServedModel) -> Iterator[Finding]:
    if model.elsewhere or not model.path.is_dir():
        return
    there = {version.number for version in model.versions}
    if not there:
        beside = (model.path / MAIN).is_file()
        what = "there is no version: the server looks for folders named 1, 2, …"
        what += f", and {MAIN} lies beside them" if beside else ""
        yield model.finding("error", "no-version", what, f"put the model's files into {model.path / '1'}")
        return
    if model.entry is None:
        return
    field = f"config '{model.name}' model_version_policy"
    if not model.live:
        what = f"the version policy ({model.entry.policy}) serves none of the versions {sorted(there)}"
        fix = "write model_version_policy { latest { num_versions: 1 } }"
        yield model.in_config("error", "version-policy", field, what, fix)
    elif missing := sorted(set(model.entry.policy.versions) - there):
        what = f"versions {missing} are to be served, and are not there"
        yield model.in_config("warning", "version-policy", field, what, f"remove {missing}, or publish them")
    for label, number in model.entry.labels.items():
        if number in model.live:
            continue
        state = "not in service" if number in there else "not there"
        what = f"version {number} is {state}: the server takes no entry of {CONFIG}"
        fix = f"mlconvert labels {model.path.parent} {model.name} {label}=VERSION, or --remove {label}"
        yield model.in_config("error", "label", f"config '{model.name}' version_labels '{label}'", what, fix)


def folder_names(model: ServedModel) -> Iterator[Finding]:
    """Servers of TensorFlow pass over folders whose names are no numbers."""
    if model.elsewhere or not model.path.is_dir():
        return
    numbers = [version.number for version in model.versions]
    versions = {version.path.name: version for version in model.versions}
    for path in sorted(model.path.iterdir()):
        if not path.is_dir():
            continue
        version = versions.get(path.name)
        if version is None:
            what = f"'{path.name}' is no version number: the server passes over the folder"
            yield model.finding("warning", "version-name", what, f"move it out: mv {path} elsewhere", file=path.name)
        elif numbers.count(version.number) > 1 and not version.plain:
            what = f"two folders are version {version.number}: the server takes either"
            yield model.finding("error", "version-name", what, f"move one out: mv {path} elsewhere", file=path.name)
        elif not version.plain:
            what = f"the server takes '{path.name}' for version {version.number}, other tools do not"
            fix = f"mv {path} {model.path / str(max(version.number, 1))}"
            yield model.finding("warning", "version-name", what, fix, file=path.name)


def access(model: ServedModel) -> Iterator[Finding]:
    """Whether a server that runs as another user can read the model."""
    if model.elsewhere or not model.path.is_dir():
        return
    for path in (model.path, *sorted(model.path.rglob("*"))):
        below = path.relative_to(model.path.parent).as_posix()
        if path.exists():
            yield from _unreadable(path, model.name, below)
        elif path.is_symlink():
            yield Finding("warning", "stray-file", model.name, below, None, "a link to nothing", f"rm {path}")


def _unreadable(path: Path, model: str | None, below: str) -> Iterator[Finding]:
    mode = path.stat().st_mode
    wanted = _READABLE | _ENTERABLE if path.is_dir() else _READABLE
    if (mode & stat.S_IROTH) and (not path.is_dir() or mode & stat.S_IXOTH):
        return
    if mode & wanted & (stat.S_IRGRP | stat.S_IXGRP) == wanted & (stat.S_IRGRP | stat.S_IXGRP):
        return
    what = f"only its owner can read it (mode {stat.S_IMODE(mode):o}): a server of another user cannot"
    fix = f"chmod {'a+rx' if path.is_dir() else 'a+r'} {path}"
    yield Finding("warning", "not-readable", model, below, None, what, fix)


RULES = (entry, policy, folder_names, access)
