"""Whether the process runs in a container, in whose, and of which image where it can be read.

Sources: Docker puts /.dockerenv and Podman /run/.containerenv into each container; Kubernetes sets
KUBERNETES_SERVICE_HOST; systemd's container interface is the variable `container` of the first process; Apptainer and
Singularity set a variable of their name. A container is not told the digest of its image: whoever starts it can pass
one on, in MLCONVERT_IMAGE_DIGEST.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from mlconvert.hardware.machine import NO_CONTAINER
from mlconvert.hardware.readings import Reading

ROOT = Path("/")
DIGEST = "MLCONVERT_IMAGE_DIGEST"
NOT_TOLD = f"a container is not told it; whoever starts the container can: -e {DIGEST}=sha256:…"
IN_CGROUP = (
    ("kubepods", "kubernetes"),
    ("libpod", "podman"),
    ("docker", "docker"),
    ("containerd", "containerd"),
    ("lxc", "lxc"),
)


def read_container(root: Path = ROOT, environment: Mapping[str, str] = os.environ) -> Reading:
    """The fields of `Container`, by the files under that root and the variables."""
    podman = _podman(root)
    kind = next(_kinds(root, environment, podman=podman is not None), NO_CONTAINER)
    if kind == NO_CONTAINER:
        return Reading({"kind": kind})
    values, missing = {"kind": kind}, {}
    image = (podman or {}).get("image") or environment.get("APPTAINER_CONTAINER") or environment.get(
        "SINGULARITY_CONTAINER"
    )  # fmt: skip
    digest = environment.get(DIGEST) or (podman or {}).get("imageid")
    if image:
        values["image"] = image
    else:
        missing["image"] = "a container is not told it"
    if digest and (found := re.fullmatch(r"(?:.*@)?(?:sha256:)?([0-9a-f]{64})", digest)):
        values["image_digest"] = f"sha256:{found[1]}"
    else:
        missing["image_digest"] = f"{DIGEST} is not sha256:… but {digest!r}" if digest else NOT_TOLD
    return Reading(values, missing)


def _kinds(root: Path, environment: Mapping[str, str], *, podman: bool) -> Iterator[str]:
    """What is seen of containers, the outermost manager first: a pod's containers have an engine's marks too."""
    if environment.get("KUBERNETES_SERVICE_HOST"):
        yield "kubernetes"
    if environment.get("APPTAINER_CONTAINER"):
        yield "apptainer"
    if environment.get("SINGULARITY_CONTAINER"):
        yield "singularity"
    if podman:
        yield "podman"
    if (root / ".dockerenv").exists():
        yield "docker"
    groups = _text(root / "proc/1/cgroup")
    yield from (kind for mark, kind in IN_CGROUP if mark in groups)
    named = re.search(r"(?:^|\0)container=([^\0]+)", _text(root / "proc/1/environ"))
    if named:
        yield named[1]


def _podman(root: Path) -> dict[str, str] | None:
    """The lines `key="value"` of Podman's file, which is empty in containers without privileges; None: no such file."""
    path = root / "run/.containerenv"
    return dict(re.findall(r'^(\w+)="?(.*?)"?$', _text(path), flags=re.MULTILINE)) if path.exists() else None


def _text(path: Path) -> str:
    """What is in the file; nothing where there is none, or it is another user's."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
