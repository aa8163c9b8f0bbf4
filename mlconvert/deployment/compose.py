"""docker-compose: the server behind an internal network, with nothing published on the host."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Annotated, Any

from mlconvert.deployment.description import GRPC, HTTP, METRICS, MOUNT, USER, Deployment, server_arguments
from mlconvert.deployment.image import FILES as IMAGE_FILES
from mlconvert.deployment.image import image_files
from mlconvert.deployment.yaml_text import Noted, to_yaml
from mlconvert.errors import UsageError

COMPOSE = "compose.yaml"
PROMETHEUS = "prometheus.yml"
FILES = (COMPOSE, PROMETHEUS, *IMAGE_FILES)  # all that may be written
GRACE = 10  # seconds between the server's own limit for stopping and the signal that ends it

_HARDENED: dict[str, Any] = {
    "read_only": Noted(True, "Nothing in the container can be changed; what has to be written goes to memory."),
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
}
_LOGGING = {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}


def files(
    deployment: Deployment,
    folder: Path,
    *,
    cpus: Annotated[float, "CPUs that the server may use"] = 4,
    memory_gib: Annotated[float, "memory that the server may use"] = 8,
    shared_memory_gib: Annotated[float, "of it, for /dev/shm: python models hand tensors over in there"] = 1,
    temporary_gib: Annotated[float, "of it, for /tmp"] = 1,
    pids: Annotated[int, "processes and threads that the server may have"] = 2048,
    gpus: Annotated[int, "GPUs for the server, where a model needs one"] = 1,
    exit_timeout: Annotated[int, "seconds that running requests get when the server is stopped"] = 30,
    prometheus: Annotated[bool, "a Prometheus beside the server, which reads its metrics"] = False,
    prometheus_image: Annotated[str, "its image"] = "prom/prometheus:v3.5.0",
) -> dict[str, str]:
    """The compose file, and what it names. Raises UsageError for limits that cannot be."""
    _check(cpus, memory_gib, shared_memory_gib + temporary_gib, pids, gpus, exit_timeout)
    built = {} if deployment.own_image else image_files(deployment)
    server = {
        **_image(deployment, built),
        "command": Noted(
            list(server_arguments(deployment, exit_timeout=exit_timeout)),
            "Models are loaded by name, and only on request: copying into the repository changes nothing by itself. "
            "What a configuration leaves out is an error, never a guess. The server answers only when all of these "
            "are loaded, and ends when one cannot be. From then on it is ready as long as it answers: with strict "
            "readiness every load of a new version would take it out of service for a moment.",
        ),
        "user": Noted(f"{USER}:{USER}", "`triton-server` in NVIDIA's image, not root."),
        **_HARDENED,
        "environment": {"HOME": "/tmp"},  # noqa: S108 - of the container: the one place where it may write
        "tmpfs": [_temporary(deployment, temporary_gib)],
        "shm_size": _bytes(shared_memory_gib),
        "volumes": [
            {
                "type": "bind",
                "source": _relative(deployment.repository, folder),
                "target": MOUNT,
                "read_only": Noted(True, "The server only reads; `mlconvert publish` writes, from outside."),
                "bind": {"create_host_path": Noted(False, "A wrong path is an error, not an empty repository.")},
            }
        ],
        "networks": ["inference"],
        "expose": Noted(
            [str(HTTP), str(GRPC), str(METRICS)],
            "HTTP, gRPC, metrics: for services on the network `inference` alone. There is no `ports` here on purpose: "
            "the server has no authentication, and whoever reaches it can load and unload models.",
        ),
        "healthcheck": Noted(
            {
                "test": [
                    "CMD",
                    "curl",
                    "-fsS",
                    "-m",
                    "3",
                    "-o",
                    "/dev/null",
                    f"http://127.0.0.1:{HTTP}/v2/health/ready",
                ],
                "interval": "10s",
                "timeout": "5s",
                "retries": 3,
                "start_period": "120s",
            },
            "NVIDIA's image has curl.",
        ),
        "restart": "unless-stopped",
        "stop_grace_period": Noted(
            f"{exit_timeout + GRACE}s", "Longer than the server's own exit timeout, so that running requests finish."
        ),
        "deploy": {"resources": _resources(deployment, cpus, memory_gib, pids, gpus)},
        "logging": _LOGGING,
    }
    services: dict[str, Any] = {deployment.name: server}
    volumes: dict[str, Any] = {}
    if prometheus:
        services["prometheus"] = _prometheus_service(deployment, prometheus_image)
        volumes = {"volumes": {"prometheus": {}}}
    data = {
        "name": deployment.name,
        "services": services,
        "networks": {
            "inference": Noted(
                {"name": f"{deployment.name}-inference", "internal": True},
                "Internal: no way in from outside the host's containers, and no way out. Services that ask the server "
                f"join it and call {deployment.name}:{HTTP} or {deployment.name}:{GRPC}; those of another compose "
                f"file join it as `external: true`.",
            )
        },
        **volumes,
    }
    written = {COMPOSE: to_yaml(data), **built}
    if prometheus:
        written[PROMETHEUS] = to_yaml(_prometheus_config(deployment))
    return written


def _image(deployment: Deployment, built: dict[str, str]) -> dict[str, Any]:
    if not built:
        return {"image": deployment.image}
    digest = hashlib.sha256("".join(built.values()).encode()).hexdigest()[:12]
    return {
        "image": Noted(
            f"mlconvert/{deployment.name}:{deployment.release}-{digest}",
            "NVIDIA's image with the packages of the python models; the tag changes with their requirements.",
        ),
        "build": {"context": "."},
    }


def _resources(deployment: Deployment, cpus: float, memory_gib: float, pids: int, gpus: int) -> dict[str, Any]:
    resources: dict[str, Any] = {"limits": {"cpus": f"{cpus:g}", "memory": _bytes(memory_gib), "pids": pids}}
    if deployment.needs_gpu:
        needing = ", ".join(model.name for model in deployment.models if model.gpu)
        resources["reservations"] = Noted(
            {"devices": [{"driver": "nvidia", "count": gpus, "capabilities": ["gpu"]}]}, f"Needed by: {needing}."
        )
    return resources


def _temporary(deployment: Deployment, gib: float) -> Any:
    words = ["rw", "nosuid", "nodev", "exec" if deployment.unpacks_code else "noexec", "mode=1777"]
    text = f"/tmp:{','.join(words)},size={_bytes(gib)}"  # noqa: S108 - of the container
    if deployment.unpacks_code:
        needing = ", ".join(model.name for model in deployment.models if model.unpacks_code)
        return Noted(text, f"`exec`, because compiled code may be unpacked there: {needing}.")
    return text


def _prometheus_service(deployment: Deployment, image: str) -> dict[str, Any]:
    return {
        "image": image,
        "command": ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"],
        "user": Noted("65534:65534", "`nobody` in that image."),
        **_HARDENED,
        "volumes": [
            {
                "type": "bind",
                "source": f"./{PROMETHEUS}",
                "target": "/etc/prometheus/prometheus.yml",
                "read_only": True,
                "bind": {"create_host_path": False},
            },
            {"type": "volume", "source": "prometheus", "target": "/prometheus"},
        ],
        "networks": ["inference"],
        "expose": ["9090"],
        "depends_on": {deployment.name: {"condition": "service_started"}},
        "restart": "unless-stopped",
        "deploy": {"resources": {"limits": {"cpus": "1", "memory": "1g", "pids": 256}}},
        "logging": _LOGGING,
    }


def _prometheus_config(deployment: Deployment) -> dict[str, Any]:
    return {
        "global": {"scrape_interval": "15s"},
        "scrape_configs": [
            {"job_name": deployment.name, "static_configs": [{"targets": [f"{deployment.name}:{METRICS}"]}]}
        ],
    }


def _relative(repository: Path, folder: Path) -> str:
    """From the compose file to the repository, so that both can be moved together; `$` is compose's own."""
    path = Path(os.path.relpath(repository.resolve(), folder.resolve())).as_posix()
    return (path if path.startswith(".") else f"./{path}").replace("$", "$$")


def _bytes(gib: float) -> str:
    return f"{gib:g}g" if gib == int(gib) else f"{round(gib * 1024)}m"


def _check(cpus: float, memory: float, within: float, pids: int, gpus: int, exit_timeout: int) -> None:
    wrong = [
        name for name, value in (("cpus", cpus), ("memory_gib", memory), ("pids", pids), ("gpus", gpus)) if value <= 0
    ]
    if wrong or exit_timeout < 0:
        raise UsageError(f"{', '.join(wrong) or 'exit_timeout'}: not a limit")
    if within <= 0 or within >= memory:
        what = f"shared and temporary memory ({within:g} GiB) are part of the {memory:g} GiB that there are in all"
        raise UsageError(what, hint="--set memory_gib=…")
