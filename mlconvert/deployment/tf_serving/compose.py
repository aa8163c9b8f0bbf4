"""docker-compose for TensorFlow Serving: the server behind an internal network, with nothing published on the host."""

from __future__ import annotations

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
from mlconvert.deployment.tf_serving.description import (
    BINARY,
    GRPC,
    REST,
    USER,
    Deployment,
    arguments_note,
    check_gpus,
    server_arguments,
)
from mlconvert.deployment.yaml_text import Noted
from mlconvert.errors import UsageError

FILES = (COMPOSE, PROMETHEUS)  # all that may be written


def files(
    deployment: Deployment,
    folder: Path,
    *,
    cpus: Annotated[float, "CPUs that the server may use"] = 4,
    memory_gib: Annotated[float, "memory that the server may use"] = 8,
    temporary_gib: Annotated[float, "of it, for /tmp"] = 0.25,
    pids: Annotated[int, "processes and threads that the server may have"] = 2048,
    gpus: Annotated[int, "GPUs for the server, with an --image that has CUDA"] = 0,
    poll_seconds: Annotated[int, "seconds after which models.config is read again; 0: only at the start"] = 10,
    prometheus: Annotated[bool, "a Prometheus beside the server, which reads its metrics"] = False,
    prometheus_image: Annotated[str, "its image"] = "prom/prometheus:v3.5.0",
) -> dict[str, str]:
    """The compose file, and what it names. Raises UsageError for limits that cannot be, and for metrics without any."""
    check_limits(cpus=cpus, memory_gib=memory_gib, temporary_gib=temporary_gib, pids=pids)
    check_gpus(deployment, gpus)
    if temporary_gib >= memory_gib:
        what = f"temporary memory ({temporary_gib:g} GiB) is part of the {memory_gib:g} GiB that there are in all"
        raise UsageError(what, hint="--set memory_gib=…")
    if poll_seconds < 0:
        raise UsageError("poll_seconds: expected seconds, 0 or more")
    if prometheus and deployment.metrics is None:
        raise UsageError(
            "the server has no metrics for a Prometheus: the repository has no monitoring.config that enables them",
            where=str(deployment.repository),
            hint="mlconvert publish … --set monitoring=yes",
        )
    temporary = f"/tmp:rw,nosuid,nodev,noexec,mode=1777,size={in_bytes(temporary_gib)}"  # noqa: S108 - of the container
    server: dict[str, Any] = {
        "image": deployment.image,
        "entrypoint": [BINARY],
        "command": Noted(
            server_arguments(deployment, cpus=cpus, poll_seconds=poll_seconds),
            arguments_note(deployment, poll_seconds),
        ),
        "init": Noted(True, "The server handles no signals: as process 1 it would not end when it is told to."),
        "user": Noted(f"{USER}:{USER}", "The image would run as root; the server needs no rights at all."),
        **HARDENED,
        "tmpfs": [temporary],
        "volumes": [repository_volume(deployment.repository, folder, deployment.mount)],
        "networks": ["inference"],
        "expose": Noted(
            [str(GRPC), str(REST)],
            "gRPC and REST: for services on the network `inference` alone. There is no `ports` here on purpose: "
            "the server has no authentication, and whoever reaches it can give it another list of models.",
        ),
        "healthcheck": Noted(
            {
                "test": [
                    "CMD",
                    "bash",
                    "-c",
                    f"exec 3<>/dev/tcp/127.0.0.1/{GRPC} 4<>/dev/tcp/127.0.0.1/{REST}",
                ],
                "interval": "10s",
                "timeout": "5s",
                "retries": 3,
                "start_period": "120s",
            },
            "Both ports are open. The image has bash and no curl.",
        ),
        "restart": "unless-stopped",
        "stop_grace_period": Noted("10s", "It ends at once: take the clients away first, if requests may be running."),
        "deploy": {"resources": resources(cpus, memory_gib, pids, Noted(gpus, "Asked for.") if gpus else None)},
        "logging": LOGGING,
    }
    metrics = (REST, deployment.metrics) if prometheus and deployment.metrics is not None else None
    return compose_files(deployment.name, server, (GRPC, REST), metrics=metrics, prometheus_image=prometheus_image)
