"""What the compose files of all servers share: a closed network, limits, the mounted repository, a Prometheus."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mlconvert.deployment.yaml_text import Noted, to_yaml
from mlconvert.errors import UsageError

COMPOSE = "compose.yaml"
PROMETHEUS = "prometheus.yml"

HARDENED: dict[str, Any] = {
    "read_only": Noted(True, "Nothing in the container can be changed; what has to be written goes to memory."),
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
}
LOGGING = {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}


def repository_volume(repository: Path, folder: Path, mount: str) -> dict[str, Any]:
    """The repository as a volume, by its path from the compose file, so that both can be moved together."""
    path = Path(os.path.relpath(repository.resolve(), folder.resolve())).as_posix()
    return {
        "type": "bind",
        # `$` is compose's own
        "source": (path if path.startswith(".") else f"./{path}").replace("$", "$$"),
        "target": mount,
        "read_only": Noted(True, "The server only reads; `mlconvert publish` writes, from outside."),
        "bind": {"create_host_path": Noted(False, "A wrong path is an error, not an empty repository.")},
    }


def resources(cpus: float, memory_gib: float, pids: int, gpus: Noted | None) -> dict[str, Any]:
    """The limits, and the GPUs (a number with the reason for it) that are reserved."""
    found: dict[str, Any] = {"limits": {"cpus": f"{cpus:g}", "memory": in_bytes(memory_gib), "pids": pids}}
    if gpus is not None:
        devices = [{"driver": "nvidia", "count": gpus.value, "capabilities": ["gpu"]}]
        found["reservations"] = Noted({"devices": devices}, gpus.comment)
    return found


def compose_files(
    name: str,
    server: dict[str, Any],
    asked_at: tuple[int, int],
    *,
    metrics: tuple[int, str] | None,
    prometheus_image: str,
) -> dict[str, str]:
    """The compose file of a server whose clients call these two ports.

    `metrics`, its port and path, are read by a Prometheus beside the server; None: there is none.
    """
    services: dict[str, Any] = {name: server}
    volumes: dict[str, Any] = {}
    if metrics is not None:
        services["prometheus"] = _prometheus_service(name, prometheus_image)
        volumes = {"volumes": {"prometheus": {}}}
    first, second = asked_at
    data = {
        "name": name,
        "services": services,
        "networks": {
            "inference": Noted(
                {"name": f"{name}-inference", "internal": True},
                "Internal: no way in from outside the host's containers, and no way out. Services that ask the server "
                f"join it and call {name}:{first} or {name}:{second}; those of another compose "
                f"file join it as `external: true`.",
            )
        },
        **volumes,
    }
    written = {COMPOSE: to_yaml(data)}
    if metrics is not None:
        written[PROMETHEUS] = to_yaml(_prometheus_config(name, *metrics))
    return written


def _prometheus_service(name: str, image: str) -> dict[str, Any]:
    return {
        "image": image,
        "command": ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"],
        "user": Noted("65534:65534", "`nobody` in that image."),
        **HARDENED,
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
        "depends_on": {name: {"condition": "service_started"}},
        "restart": "unless-stopped",
        "deploy": {"resources": {"limits": {"cpus": "1", "memory": "1g", "pids": 256}}},
        "logging": LOGGING,
    }


def _prometheus_config(name: str, port: int, path: str) -> dict[str, Any]:
    job: dict[str, Any] = {"job_name": name}
    if path != "/metrics":
        job["metrics_path"] = path
    job["static_configs"] = [{"targets": [f"{name}:{port}"]}]
    return {"global": {"scrape_interval": "15s"}, "scrape_configs": [job]}


def in_bytes(gib: float) -> str:
    return f"{gib:g}g" if gib == int(gib) else f"{round(gib * 1024)}m"


def check_limits(**limits: float) -> None:
    """Raise UsageError where a limit is not above 0."""
    wrong = [name for name, value in limits.items() if value <= 0]
    if wrong:
        raise UsageError(f"{', '.join(wrong)}: not a limit")
