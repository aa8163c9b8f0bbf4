"""What the answer of a step depends on besides its request: mlconvert's code, Python, packages. On another machine
they have to be the same, or the result would be one that nobody gets here.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mlconvert import packages
from mlconvert.converter import Converter, Runner
from mlconvert.errors import MissingPackage
from mlconvert.execution.cached_jobs import code_versions, own_sha256
from mlconvert.version import __version__


@dataclass(frozen=True)
class Versions:
    """`packages`: pip's name (or `plug-in NAME`) -> version (or digest), of those that are installed.

    `code`: the digest of mlconvert's own files, which tells two checkouts of one version apart.
    """

    mlconvert: str
    code: str
    python: str  # without the patch level, which changes no answer
    packages: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Versions:
        return Versions(data["mlconvert"], data["code"], data["python"], data["packages"])


def versions_for(rows: Iterable[Converter | Runner]) -> Versions:
    """The versions here, of all that these converters and runners need."""
    found: dict[str, str] = {}
    for row in rows:
        found |= code_versions(row)
    python = ".".join(platform.python_version_tuple()[:2])
    return Versions(__version__, own_sha256(), python, dict(sorted(found.items())))


def require_same(wanted: Versions, here: Versions, what: str) -> None:
    """Raise MissingPackage unless the versions here are those that are wanted, with all that differ and what mends it.

    A package that is not among the wanted ones may have any version. What comes after a `+` does not count: 2.8.0+cpu
    and 2.8.0+cu128 are one release, built for other hardware (PEP 440, local version identifiers). `what`: whose
    versions are wanted, as in "the bundle job.tar".
    """
    if (wanted.mlconvert, wanted.code) != (here.mlconvert, here.code):
        if wanted.mlconvert != here.mlconvert:
            told, hint = f"here it is {here.mlconvert}", f"pip install mlconvert=={wanted.mlconvert}"
        else:
            told = f"here it has other code ({here.code[:12]}, not {wanted.code[:12]})"
            hint = f"install the very same mlconvert {wanted.mlconvert}: the same wheel, or the same commit"
        raise MissingPackage(f"{what} was made by mlconvert {wanted.mlconvert}; {told}", hint=hint)
    if wanted.python != here.python:
        told = f"{what} was made with Python {wanted.python}; here it is {here.python}"
        raise MissingPackage(told, hint=f"run mlconvert with Python {wanted.python}")
    differing = {
        name: version
        for name, version in wanted.packages.items()
        if _release(version) != _release(here.packages.get(name, ""))
    }
    if differing:
        lines = [f"{name} {version}, here {here.packages.get(name, 'none')}" for name, version in differing.items()]
        raise MissingPackage(f"{what} wants other versions: " + "; ".join(lines), hint=_install(differing))


def _release(version: str) -> str:
    return version.partition("+")[0]


def _install(wanted: Mapping[str, str]) -> str:
    plugins = [name for name in wanted if name.startswith("plug-in ")]
    if plugins:
        return f"install the same {', '.join(plugins)} on both machines"
    return "pip install " + " ".join(f"{_known_here(name)}=={_release(version)}" for name, version in wanted.items())


def _known_here(name: str) -> str:
    """The name under which pip has installed a package here: onnxruntime may be here as onnxruntime-gpu."""
    from importlib import metadata

    rows = [row for row in packages.ALL if row.distributions[0] == name]
    for each in rows[0].distributions if rows else ():
        try:
            metadata.version(each)
        except metadata.PackageNotFoundError:
            continue
        return each
    return name
