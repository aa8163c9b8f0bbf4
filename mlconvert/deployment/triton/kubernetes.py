"""Kubernetes for Triton: a Deployment under the restricted profile, reached from pods that say they are clients."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from mlconvert.deployment import manifests
from mlconvert.deployment.autoscaling import ADAPTER, autoscaler
from mlconvert.deployment.manifests import DRAIN, GRACE, Place
from mlconvert.deployment.triton.description import GRPC, HTTP, METRICS, MOUNT, USER, Deployment, server_arguments
from mlconvert.deployment.triton.image import FILES as IMAGE_FILES
from mlconvert.deployment.triton.image import image_files
from mlconvert.deployment.triton.queueing import queue_metric, queue_rule
from mlconvert.deployment.yaml_text import Noted, to_yaml
from mlconvert.errors import UsageError

KINDS = ("claim", "deployment", "service", "network-policy", "disruption-budget", "autoscaler")
FILES = (
    *(f"{name}.yaml" for name in ("namespace", *KINDS)),
    "monitoring/service-monitor.yaml",
    ADAPTER,
    "fill/pod.yaml",
    *IMAGE_FILES,
)


def files(
    deployment: Deployment,
    folder: Path,  # noqa: ARG001 - the files name nothing outside the cluster
    *,
    namespace: Annotated[str | None, "the namespace, and a file that makes it; else the one that is current"] = None,
    replicas: Annotated[int, "servers, at the least"] = 2,
    max_replicas: Annotated[int, "servers, at the most"] = 8,
    queue_ms: Annotated[int | None, "queue time at which there is to be another server; 20 above the batchers'"] = None,
    cpus: Annotated[float, "CPUs of a server"] = 4,
    memory_gib: Annotated[float, "memory of a server"] = 8,
    shared_memory_gib: Annotated[float, "of it, for /dev/shm: python models hand tensors over in there"] = 1,
    temporary_gib: Annotated[float, "of it, for /tmp"] = 1,
    gpus: Annotated[int, "GPUs of a server, where a model needs one"] = 1,
    exit_timeout: Annotated[int, "seconds that running requests get when a server is stopped"] = 30,
    storage_gib: Annotated[int, "size of the volume with the repository"] = 20,
    storage_class: Annotated[str | None, "its class; it must allow ReadWriteMany; else the cluster's default"] = None,
    monitoring_namespace: Annotated[str, "where Prometheus runs"] = "monitoring",
    prometheus_release: Annotated[str | None, "the `release` label by which it finds its ServiceMonitors"] = None,
) -> dict[str, str]:
    """The manifests. Raises UsageError for limits that cannot be, and for an image that would have to be built."""
    built = image_files(deployment)
    if built and not deployment.own_image:
        needing = ", ".join(model.name for model in deployment.models if model.requirements)
        raise UsageError(
            f"python models ({needing}) need packages, so the server needs an image that your cluster can pull",
            hint="name it, --image REGISTRY/NAME:TAG, and build it from the Dockerfile that is then written",
        )
    if not 1 <= replicas <= max_replicas or min(cpus, memory_gib, gpus, storage_gib) <= 0 or exit_timeout < 0:
        raise UsageError(f"not limits: replicas {replicas} to {max_replicas}, {cpus} CPUs, {memory_gib} GiB")
    if shared_memory_gib + temporary_gib >= memory_gib or min(shared_memory_gib, temporary_gib) <= 0:
        what = "shared and temporary memory are part of a server's memory, and must be smaller together"
        raise UsageError(what, hint="--set memory_gib=…")
    if queue_ms is not None and queue_ms < 1:
        raise UsageError("queue_ms: expected milliseconds, 1 or more")
    place = Place(deployment.name, namespace, "tritonserver", "triton-client")
    pod = _pod(deployment, place, exit_timeout, cpus, memory_gib, shared_memory_gib, temporary_gib, gpus)
    written: dict[str, dict[str, Any]] = {}
    if namespace is not None:
        written["namespace.yaml"] = manifests.namespace(namespace)
    written |= {
        "claim.yaml": manifests.claim(place, storage_gib, storage_class, filled=_filled(place)),
        "deployment.yaml": manifests.deployment(place, pod),
        "service.yaml": manifests.service(place, {"http": HTTP, "grpc": GRPC, "metrics": METRICS}),
        "network-policy.yaml": manifests.network_policy(
            place,
            ("http", "grpc"),
            danger="The server has no authentication: whoever reaches these ports can load and unload models.",
            monitoring=monitoring_namespace,
            metrics="metrics",
        ),
        "disruption-budget.yaml": manifests.disruption_budget(place),
        "autoscaler.yaml": autoscaler(
            place.head("autoscaling/v2", "HorizontalPodAutoscaler"),
            deployment.name,
            [queue_metric(queue_ms or deployment.queue_delay_ms + 20)],
            replicas=(replicas, max_replicas),
        ),
        "monitoring/service-monitor.yaml": manifests.service_monitor(
            place, prometheus_release, port="metrics", path="/metrics"
        ),
        ADAPTER: queue_rule(monitoring_namespace),
        "fill/pod.yaml": manifests.filler(place, deployment.image, owner=_owner(), mount=MOUNT),
    }
    return {**{name: to_yaml(data) for name, data in written.items()}, **built}


def _filled(place: Place) -> str:
    return (
        "Filled from outside, before the first start and again for each new version:\n"
        "  kubectl apply -f fill/pod.yaml\n"
        f"  kubectl cp{place.option} REPOSITORY/. {place.name}-fill:{MOUNT}\n"
        "  kubectl delete -f fill/pod.yaml\n"
        f"  kubectl rollout restart{place.option} deployment/{place.name}"
    )


def _owner() -> dict[str, Any]:
    return manifests.user(USER, "`triton-server` in NVIDIA's image.")


def _pod(
    deployment: Deployment,
    place: Place,
    exit_timeout: int,
    cpus: float,
    memory: float,
    shared: float,
    temporary: float,
    gpus: int,
) -> dict[str, Any]:
    arguments = server_arguments(deployment, exit_timeout=exit_timeout)
    container = {
        "name": "tritonserver",
        "image": deployment.image,
        "args": Noted(
            list(arguments),
            "Models are loaded by name at the start: copying into the repository changes nothing by itself. "
            "What a configuration leaves out is an error, never a guess. The server answers only when all of these "
            "are loaded, and ends when one cannot be. From then on it is ready as long as it answers: with strict "
            "readiness every load of a new version would take it out of service for a moment.",
        ),
        "env": [{"name": "HOME", "value": "/tmp"}],  # noqa: S108 - of the container: the one place where it may write
        "ports": [
            {"name": "http", "containerPort": HTTP},
            {"name": "grpc", "containerPort": GRPC},
            {"name": "metrics", "containerPort": METRICS},
        ],
        "startupProbe": Noted(
            {**_probe("ready"), "periodSeconds": 5, "failureThreshold": 120}, "Ten minutes to load all models."
        ),
        "readinessProbe": {**_probe("ready"), "periodSeconds": 5, "timeoutSeconds": 3, "failureThreshold": 2},
        "livenessProbe": Noted(
            {**_probe("live"), "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
            "Slow to judge: a server under load is not one that hangs.",
        ),
        "lifecycle": {
            "preStop": Noted(
                {"exec": {"command": ["sleep", str(DRAIN)]}},
                "Requests still arrive until every node knows that this pod is leaving.",
            )
        },
        "resources": manifests.container_resources(cpus, memory, gpus if deployment.needs_gpu else None),
        "securityContext": manifests.CLOSED,
        "volumeMounts": [
            {"name": "repository", "mountPath": MOUNT, "readOnly": True},
            {"name": "shared-memory", "mountPath": "/dev/shm"},  # noqa: S108 - of the container
            {"name": "temporary", "mountPath": "/tmp"},  # noqa: S108 - of the container
        ],
    }
    spec: dict[str, Any] = {
        "automountServiceAccountToken": Noted(False, "The server has no business with the cluster's API."),
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": Noted(
            DRAIN + exit_timeout + GRACE, "Longer than the wait below and the server's own exit timeout together."
        ),
        "securityContext": _owner(),
        "topologySpreadConstraints": manifests.spread(place),
        "containers": [container],
        "volumes": [
            manifests.repository_of(deployment.name),
            manifests.in_memory("shared-memory", shared),
            manifests.in_memory("temporary", temporary),
        ],
    }
    if deployment.needs_gpu:
        needing = ", ".join(model.name for model in deployment.models if model.gpu)
        spec["tolerations"] = manifests.tolerations(f"A GPU is needed by: {needing}.")
    return spec


def _probe(what: str) -> dict[str, Any]:
    return {"httpGet": {"path": f"/v2/health/{what}", "port": "http"}}
