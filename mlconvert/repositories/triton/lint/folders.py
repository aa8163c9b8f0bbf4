"""What lies in the repository's root and in a model's folder: models, versions, and what a server takes for one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mlconvert.repositories.findings import Finding
from mlconvert.repositories.places import MARKER
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton.lint.model import ModelFolder, type_name
from mlconvert.repositories.versions import LARGEST

_IGNORED_FILES = (MARKER, ".gitignore", ".gitattributes", "README.md", "recipe.json")


def is_model(path: Path) -> bool:
    """Whether lint takes a folder of the repository for a model; a server takes every one, see `of_repository`."""
    return path.is_dir() and not path.name.startswith(".") and path.name != "lost+found"


def of_repository(repository: Path) -> Iterator[Finding]:
    for path in sorted(repository.iterdir()):
        if path.is_dir() and not is_model(path):
            what = "a server that loads everything takes this hidden folder for a model, and does not start"
            fix = f"move it out: mv {path} {repository.resolve().parent}/"
            yield Finding("warning", "stray-folder", None, path.name, None, what, fix)
        elif path.is_symlink() and not path.exists():
            what = "a link to nothing"
            yield Finding("warning", "stray-file", None, path.name, None, what, f"rm {path}")
        elif path.is_file() and path.name not in _IGNORED_FILES:
            what = "a file in the repository's root: servers pass over it"
            yield Finding("warning", "stray-file", None, path.name, None, what, f"move it out: mv {path} elsewhere")


def without_configuration(folder: Path) -> Iterator[Finding]:
    """A folder that servers take for a model and that has no configuration."""
    told = f"{folder.name}/{cfg.CONFIG}"
    if (folder / cfg.CONFIG).exists():
        what = f"{cfg.CONFIG} is not a file: a server of 24.10 ends when it reads it"
        yield Finding("error", "config-missing", folder.name, told, None, what, f"rename {folder / cfg.CONFIG}")
    elif any(re.match(r"[0-9]", path.name) and path.is_dir() for path in folder.iterdir()):
        what = "there is no config.pbtxt: without auto-complete the server does not load the model"
        fix = f"mlconvert publish ARTIFACT {folder.parent} --to triton --name {folder.name}"
        yield Finding("error", "config-missing", folder.name, told, None, what, fix)
    else:
        what = "no model, and a server takes every folder of the repository for one"
        fix = f"move it out of the repository: mv {folder} {folder.resolve().parent.parent}/"
        yield Finding("error", "config-missing", folder.name, told, None, what, fix)


def version_names(model: ModelFolder) -> Iterator[Finding]:
    plain = {version.number for version in model.versions if version.plain}
    for version in model.versions:
        if not -LARGEST - 1 <= version.number <= LARGEST:
            what = "a number that no server can hold: a server of 24.10 ends when it reads it"
            yield model.error(
                "version-name", None, what, f"mv {model.path / version.name} {model.path}/…", file=version.name
            )
        elif not version.plain:
            served = version.number in model.live and version.number not in plain
            what = f"the server takes '{version.name}' for version {version.number}"
            what += f", and then looks for it in a folder '{version.number}'" if served else ""
            fix = f"rename it, or stage outside the repository: mv {model.path / version.name} elsewhere"
            yield model.finding("error" if served else "warning", "version-name", None, what, fix, file=version.name)
        elif version.number == 0:
            what = "version 0 is served by Triton and refused by other tools"
            yield model.warning("version-name", None, what, f"mv {model.path / '0'} {model.path / '1'}", file="0")
    for path in sorted(model.path.iterdir()):
        if path.is_dir() and re.match(r"0[0-9]", path.name):
            number = path.name.lstrip("0") or "0"
            what = f"servers pass over '{path.name}': a version has no leading zeros"
            fix = f"mv {path} {model.path / re.match(r'[0-9]*', number)[0]}"  # type: ignore[index]
            yield model.warning("version-name", None, what, fix, file=path.name)


def served_versions(model: ModelFolder) -> Iterator[Finding]:
    there = sorted({version.number for version in model.versions})
    policy = model.config.version_policy
    told = cfg.policy_text(model.config)
    if not there:
        what = "there is no version: the server looks for folders named 1, 2, …"
        fix = f"mkdir {model.path / '1'}" if model.is_ensemble else f"put the model's files into {model.path / '1'}"
        yield model.error("no-version", None, what, fix, file="")
    elif not model.live:
        what = f"the version policy ({told}) serves none of the versions {there}"
        fix = "write version_policy { latest { num_versions: 1 } }"
        yield model.error("version-policy", "version_policy", what, fix)
    elif policy.WhichOneof("policy_choice") == "specific":
        missing = sorted(set(policy.specific.versions) - set(there))
        for number in missing:
            what = f"version {number} is to be served, and is not there"
            yield model.warning("version-policy", "version_policy", what, f"remove {number}, or publish it")


def empty_cc_names(model: ModelFolder) -> Iterator[Finding]:
    """Files for GPUs of one compute capability."""
    gpu = any(type_name(group, "kind") == "KIND_GPU" for group in model.config.instance_group)
    names = model.config.cc_model_filenames
    for key in sorted(names):
        field = f"cc_model_filenames '{key}'"
        if not re.fullmatch(r"[0-9]+\.[0-9]+", key):
            what = f"'{key}' is not a compute capability"
            yield model.warning("cc-model-file", field, what, 'write it as "9.0"')
        if not gpu:
            what = "this is only looked at for instances of KIND_GPU"
            yield model.warning("cc-model-file", field, what, "write kind: KIND_GPU in instance_group")
        for version in model.versions:
            if version.plain and not (model.path / version.name / names[key]).exists():
                what = f"'{names[key]}' is not in version {version.number}: GPUs of {key} cannot load it"
                yield model.warning("cc-model-file", field, what, f"put it at {model.name}/{version.name}/{names[key]}")


RULES = (version_names, served_versions, empty_cc_names)
