"""Kubernetes for TensorFlow Serving: a Deployment under the restricted profile, whose servers follow one volume."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from mlconvert.deployment import manifests
from mlconvert.deployment.autoscaling import ADAPTER, autoscaler
from mlconvert.deployment.manifests import DRAIN, GRACE, Place
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
from mlconvert.deployment.tf_serving.filling import fill_pod, filled, script_map
from mlconvert.deployment.tf_serving.latency import cpu_metric, latency_metric, latency_rule
from mlconvert.deployment.yaml_text import Noted, to_yaml
from mlconvert.errors import UsageError
from mlconvert.repositories.tf_serving.server_files import BATCHING, MONITORING

SHORTEST = 10  # seconds for stopping, of which some pass before every node knows of it
KINDS = ("claim", "deployment", "service", "network-policy", "disruption-budget", "autoscaler")
FILES = (
    *(f"{name}.yaml" for name in ("namespace", *KINDS)),
    "monitoring/service-monitor.yaml",
    ADAPTER,
    "fill/script.yaml",
    "fill/pod.yaml",
)


def files(
    deployment: Deployment,
    folder: Path,  # noqa: ARG001 - the files name nothing outside the cluster
    *,
    namespace: Annotated[str | None, "the namespace, and a file that makes it; else the one that is current"] = None,
    replicas: Annotated[int, "servers, at the least"] = 2,
    max_replicas: Annotated[int, "servers, at the most"] = 8,
    cpu_percent: Annotated[int, "use of its CPUs at which there is to be another server"] = 70,
    request_ms: Annotated[int | None, "also: mean time of a request, from its metrics"] = None,
    cpus: Annotated[float, "CPUs of a server"] = 4,
    memory_gib: Annotated[float, "memory of a server"] = 8,
    temporary_gib: Annotated[float, "of it, for /tmp"] = 0.25,
    gpus: Annotated[int, "GPUs of a server, with an --image that has CUDA"] = 0,
    poll_seconds: Annotated[int, "seconds after which models.config is read again; 0: only at the start"] = 10,
    exit_timeout: Annotated[int, "seconds that running requests get when a server is stopped"] = 30,
    storage_gib: Annotated[int, "size of the volume with the repository"] = 20,
    storage_class: Annotated[str | None, "its class; it must allow ReadWriteMany; else the cluster's default"] = None,
    monitoring_namespace: Annotated[str, "where Prometheus runs"] = "monitoring",
    prometheus_release: Annotated[str | None, "the `release` label by which it finds its ServiceMonitors"] = None,
) -> dict[str, str]:
    """The manifests. Raises UsageError for limits that cannot be, and for a metric that the server does not have."""
    check_gpus(deployment, gpus)
    if not 1 <= replicas <= max_replicas or min(cpus, memory_gib, temporary_gib, storage_gib) <= 0:
        raise UsageError(f"not limits: replicas {replicas} to {max_replicas}, {cpus} CPUs, {memory_gib} GiB")
    if temporary_gib >= memory_gib:
        raise UsageError(
            "temporary memory is part of a server's memory, and must be smaller", hint="--set memory_gib=…"
        )
    if not 1 <= cpu_percent <= 100 or poll_seconds < 0 or (request_ms is not None and request_ms < 1):
        raise UsageError("expected cpu_percent from 1 to 100, poll_seconds 0 or more, request_ms 1 or more")
    if exit_timeout < SHORTEST:
        what = (
            f"exit_timeout={exit_timeout}: a pod takes {DRAIN} s to leave its service, and its clients need time, too"
        )
        raise UsageError(what, hint=f"--set exit_timeout={SHORTEST}, or more")
    if deployment.metrics is None and (request_ms is not None or prometheus_release is not None):
        raise UsageError(
            "the server has no metrics: the repository has no monitoring.config that enables them",
            where=str(deployment.repository),
            hint="mlconvert publish … --set monitoring=yes",
        )
    place = Place(deployment.name, namespace, "tensorflow-serving", "tf-serving-client")
    pod = _pod(deployment, place, exit_timeout, cpus, memory_gib, temporary_gib, gpus, poll_seconds)
    read_once = [name for name, there in _server_files(deployment) if there]
    metrics = [cpu_metric(cpu_percent)] + ([latency_metric(request_ms)] if request_ms is not None else [])
    written: dict[str, dict[str, Any]] = {}
    if namespace is not None:
        written["namespace.yaml"] = manifests.namespace(namespace)
    written |= {
        "claim.yaml": manifests.claim(
            place, storage_gib, storage_class, filled=filled(place, deployment.mount, read_once)
        ),
        "deployment.yaml": manifests.deployment(place, pod),
        "service.yaml": manifests.service(place, {"grpc": GRPC, "rest": REST}),
        "network-policy.yaml": manifests.network_policy(
            place,
            ("grpc", "rest"),
            danger="The server has no authentication: whoever reaches its gRPC port can give it another list of "
            "models. Its metrics have no port of their own: where they are on, what reads them could ask models, too.",
            monitoring=None if deployment.metrics is None else monitoring_namespace,
            metrics="rest",
        ),
        "disruption-budget.yaml": manifests.disruption_budget(place),
        "autoscaler.yaml": autoscaler(
            place.head("autoscaling/v2", "HorizontalPodAutoscaler"),
            deployment.name,
            metrics,
            replicas=(replicas, max_replicas),
        ),
    }
    if deployment.metrics is not None:
        written["monitoring/service-monitor.yaml"] = manifests.service_monitor(
            place, prometheus_release, port="rest", path=deployment.metrics
        )
    if request_ms is not None:
        written[ADAPTER] = latency_rule(monitoring_namespace)
    written["fill/script.yaml"] = script_map(place, deployment.mount)
    written["fill/pod.yaml"] = fill_pod(place, deployment.image, _owner(), deployment.mount)
    return {name: to_yaml(data) for name, data in written.items()}


def _server_files(deployment: Deployment) -> tuple[tuple[str, bool], ...]:
    return ((MONITORING, deployment.monitoring), (BATCHING, deployment.batching))


def _owner() -> dict[str, Any]:
    return manifests.user(USER, "The image would run as root; the server needs no rights at all.")


def _pod(
    deployment: Deployment,
    place: Place,
    exit_timeout: int,
    cpus: float,
    memory: float,
    temporary: float,
    gpus: int,
    poll_seconds: int,
) -> dict[str, Any]:
    # Within the time for stopping, every connection has ended once; gRPC itself adds up to a tenth.
    connection_s = (exit_timeout - DRAIN) * 4 // 5
    arguments = server_arguments(deployment, cpus=cpus, poll_seconds=poll_seconds, connection_s=connection_s)
    container = {
        "name": "tensorflow-serving",
        "image": deployment.image,
        "command": [BINARY],
        "args": Noted(
            arguments,
            f"{arguments_note(deployment, poll_seconds)} A client of gRPC stays with one server as long as its "
            "connection lasts: it ends, between two requests, so that new servers are found and old ones left.",
        ),
        "ports": [{"name": "grpc", "containerPort": GRPC}, {"name": "rest", "containerPort": REST}],
        "startupProbe": Noted({**_probe(), "periodSeconds": 5, "failureThreshold": 120}, "Ten minutes to load all."),
        "readinessProbe": {**_probe(), "periodSeconds": 5, "timeoutSeconds": 3, "failureThreshold": 2},
        "livenessProbe": Noted(
            {**_probe(), "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
            "Slow to judge: a server under load is not one that hangs. No probe asks for a model: one that is taken "
            "out of service must not take the server with it.",
        ),
        "lifecycle": {
            "preStop": Noted(
                {"exec": {"command": ["sleep", str(exit_timeout)]}},
                "The server does not wait for running requests, so this does; new ones go to the others by then.",
            )
        },
        "resources": manifests.container_resources(cpus, memory, gpus or None),
        "securityContext": manifests.CLOSED,
        "volumeMounts": [
            {"name": "repository", "mountPath": deployment.mount, "readOnly": True},
            {"name": "temporary", "mountPath": "/tmp"},  # noqa: S108 - of the container
        ],
    }
    spec: dict[str, Any] = {
        "automountServiceAccountToken": Noted(False, "The server has no business with the cluster's API."),
        "enableServiceLinks": False,
        "shareProcessNamespace": Noted(
            True, "The server handles no signals: as process 1 it would not end when it is told to."
        ),
        "terminationGracePeriodSeconds": Noted(exit_timeout + GRACE, "Longer than the wait below."),
        "securityContext": _owner(),
        "topologySpreadConstraints": manifests.spread(place),
        "containers": [container],
        "volumes": [manifests.repository_of(deployment.name), manifests.in_memory("temporary", temporary)],
    }
    if gpus:
        spec["tolerations"] = manifests.tolerations("A GPU was asked for.")
    return spec


def _probe() -> dict[str, Any]:
    return {"grpc": {"port": GRPC}}
