"""docker-compose for Triton: the server behind an internal network, with nothing published on the host."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any

from mlconvert.deployment.compose_parts import (
    COMPOSE,
    HARDENED,
    LOGGING,
    PROMETHEUS,
    check_limits,
    compose_files,
    in_bytes,
    repository_volume,
    resources,
)
from mlconvert.deployment.triton.description import GRPC, HTTP, METRICS, MOUNT, USER, Deployment, server_arguments
from mlconvert.deployment.triton.image import FILES as IMAGE_FILES
from mlconvert.deployment.triton.image import image_files
from mlconvert.deployment.yaml_text import Noted
from mlconvert.errors import UsageError

FILES = (COMPOSE, PROMETHEUS, *IMAGE_FILES)  # all that may be written
GRACE = 10  # seconds between the server's own limit for stopping and the signal that ends it


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
    check_limits(cpus=cpus, memory_gib=memory_gib, pids=pids, gpus=gpus)
    if exit_timeout < 0:
        raise UsageError("exit_timeout: not a limit")
    within = shared_memory_gib + temporary_gib
    if within <= 0 or within >= memory_gib:
        what = f"shared and temporary memory ({within:g} GiB) are part of the {memory_gib:g} GiB that there are in all"
        raise UsageError(what, hint="--set memory_gib=…")
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
        **HARDENED,
        "environment": {"HOME": "/tmp"},  # noqa: S108 - of the container: the one place where it may write
        "tmpfs": [_temporary(deployment, temporary_gib)],
        "shm_size": in_bytes(shared_memory_gib),
        "volumes": [repository_volume(deployment.repository, folder, MOUNT)],
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
        "deploy": {"resources": resources(cpus, memory_gib, pids, _gpus(deployment, gpus))},
        "logging": LOGGING,
    }
    metrics = (METRICS, "/metrics") if prometheus else None
    written = compose_files(deployment.name, server, (HTTP, GRPC), metrics=metrics, prometheus_image=prometheus_image)
    return {COMPOSE: written.pop(COMPOSE), **built, **written}


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


def _gpus(deployment: Deployment, gpus: int) -> Noted | None:
    if not deployment.needs_gpu:
        return None
    needing = ", ".join(model.name for model in deployment.models if model.gpu)
    return Noted(gpus, f"Needed by: {needing}.")


def _temporary(deployment: Deployment, gib: float) -> Any:
    words = ["rw", "nosuid", "nodev", "exec" if deployment.unpacks_code else "noexec", "mode=1777"]
    text = f"/tmp:{','.join(words)},size={in_bytes(gib)}"  # noqa: S108 - of the container
    if deployment.unpacks_code:
        needing = ", ".join(model.name for model in deployment.models if model.unpacks_code)
        return Noted(text, f"`exec`, because compiled code may be unpacked there: {needing}.")
    return text
