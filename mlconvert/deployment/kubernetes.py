"""Kubernetes: a Deployment under the restricted profile, reached from pods that say that they are its clients."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from mlconvert.deployment.autoscaling import ADAPTER, adapter_values, autoscaler
from mlconvert.deployment.description import GRPC, HTTP, METRICS, MOUNT, USER, Deployment, server_arguments
from mlconvert.deployment.image import FILES as IMAGE_FILES
from mlconvert.deployment.image import image_files
from mlconvert.deployment.yaml_text import Noted, to_yaml
from mlconvert.errors import UsageError

DRAIN = 5  # seconds in which a stopping pod still answers, while it is taken out of the service
GRACE = 10
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
    place = _Place(deployment.name, namespace)
    pod = _pod(deployment, exit_timeout, cpus, memory_gib, shared_memory_gib, temporary_gib, gpus)
    written: dict[str, dict[str, Any]] = {}
    if namespace is not None:
        written["namespace.yaml"] = _namespace(namespace)
    written |= {
        "claim.yaml": _claim(place, storage_gib, storage_class),
        "deployment.yaml": _deployment(place, pod),
        "service.yaml": _service(place),
        "network-policy.yaml": _network_policy(place, monitoring_namespace),
        "disruption-budget.yaml": _disruption_budget(place),
        "autoscaler.yaml": autoscaler(
            place.head("autoscaling/v2", "HorizontalPodAutoscaler"),
            deployment.name,
            replicas=(replicas, max_replicas),
            queue_ms=queue_ms or deployment.queue_delay_ms + 20,
        ),
        "monitoring/service-monitor.yaml": _service_monitor(place, prometheus_release),
        ADAPTER: adapter_values(monitoring_namespace),
        "fill/pod.yaml": _filler(place, deployment),
    }
    return {**{name: to_yaml(data) for name, data in written.items()}, **built}


class _Place:
    """Names and labels, the same in every manifest."""

    def __init__(self, name: str, namespace: str | None) -> None:
        self.name = name
        self.namespace = namespace
        self.selector = {"app.kubernetes.io/name": "tritonserver", "app.kubernetes.io/instance": name}
        self.client = {"triton-client": name}
        self.option = f" -n {namespace}" if namespace else ""  # of kubectl

    def head(self, version: str, kind: str, *, suffix: str = "") -> dict[str, Any]:
        where = {"namespace": self.namespace} if self.namespace else {}
        return {
            "apiVersion": version,
            "kind": kind,
            "metadata": {"name": self.name + suffix, **where, "labels": self.selector},
        }


def _namespace(name: str) -> dict[str, Any]:
    labels = {
        "pod-security.kubernetes.io/enforce": Noted("restricted", "The cluster refuses pods that ask for more."),
        "pod-security.kubernetes.io/warn": "restricted",
    }
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _claim(place: _Place, gib: int, storage_class: str | None) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "accessModes": Noted(["ReadWriteMany"], "One volume for all servers; they mount it read-only."),
        "resources": {"requests": {"storage": f"{gib}Gi"}},
    }
    if storage_class is not None:
        spec["storageClassName"] = storage_class
    head = place.head("v1", "PersistentVolumeClaim", suffix="-repository")
    return {
        **head,
        "spec": Noted(
            spec,
            "Filled from outside, before the first start and again for each new version:\n"
            "  kubectl apply -f fill/pod.yaml\n"
            f"  kubectl cp{place.option} REPOSITORY/. {place.name}-fill:{MOUNT}\n"
            "  kubectl delete -f fill/pod.yaml\n"
            f"  kubectl rollout restart{place.option} deployment/{place.name}",
        ),
    }


_CLOSED: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": Noted(True, "What has to be written goes to memory."),
    "capabilities": {"drop": ["ALL"]},
}


def _user() -> dict[str, Any]:
    return {
        "runAsNonRoot": True,
        "runAsUser": Noted(USER, "`triton-server` in NVIDIA's image."),
        "runAsGroup": USER,
        "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _pod(
    deployment: Deployment, exit_timeout: int, cpus: float, memory: float, shared: float, temporary: float, gpus: int
) -> dict[str, Any]:
    resources: dict[str, Any] = {
        "requests": {"cpu": _cpus(cpus), "memory": _bytes(memory)},
        "limits": Noted(
            {"memory": _bytes(memory)},
            "Memory is what is asked for. There is no limit on CPUs: one would make requests wait while some idle.",
        ),
    }
    if deployment.needs_gpu:
        resources["limits"].value["nvidia.com/gpu"] = gpus
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
        "resources": resources,
        "securityContext": _CLOSED,
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
        "securityContext": _user(),
        "topologySpreadConstraints": [],
        "containers": [container],
        "volumes": [
            {
                "name": "repository",
                "persistentVolumeClaim": {"claimName": f"{deployment.name}-repository", "readOnly": True},
            },
            {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": _bytes(shared)}},
            {"name": "temporary", "emptyDir": {"medium": "Memory", "sizeLimit": _bytes(temporary)}},
        ],
    }
    if deployment.needs_gpu:
        needing = ", ".join(model.name for model in deployment.models if model.gpu)
        spec["tolerations"] = Noted(
            [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}], f"A GPU is needed by: {needing}."
        )
    return spec


def _deployment(place: _Place, pod: dict[str, Any]) -> dict[str, Any]:
    pod["topologySpreadConstraints"] = [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": place.selector},
        }
    ]
    return {
        **place.head("apps/v1", "Deployment"),
        "spec": {
            "revisionHistoryLimit": 3,
            "selector": Noted(
                {"matchLabels": place.selector},
                "There is no number of replicas here: applying this file again must not undo what the autoscaler did.",
            ),
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": Noted(
                    {"maxUnavailable": 0, "maxSurge": 1}, "No server leaves before another one is ready."
                ),
            },
            "template": {"metadata": {"labels": place.selector}, "spec": pod},
        },
    }


def _service(place: _Place) -> dict[str, Any]:
    ports = (("http", HTTP), ("grpc", GRPC), ("metrics", METRICS))
    return {
        **place.head("v1", "Service"),
        "spec": {
            "type": Noted("ClusterIP", "Inside the cluster only: the server has no authentication."),
            "selector": place.selector,
            "ports": [{"name": name, "port": port, "targetPort": name, "protocol": "TCP"} for name, port in ports],
        },
    }


def _network_policy(place: _Place, monitoring: str) -> dict[str, Any]:
    return {
        **place.head("networking.k8s.io/v1", "NetworkPolicy"),
        "spec": {
            "podSelector": {"matchLabels": place.selector},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                Noted(
                    {
                        "from": [{"podSelector": {"matchLabels": place.client}}],
                        "ports": [{"port": "http", "protocol": "TCP"}, {"port": "grpc", "protocol": "TCP"}],
                    },
                    "Pods of this namespace that carry the label. The server has no authentication: whoever "
                    "reaches these ports can load and unload models.",
                ),
                {
                    "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": monitoring}}}],
                    "ports": [{"port": "metrics", "protocol": "TCP"}],
                },
            ],
            "egress": Noted([], "The server calls nobody."),
        },
    }


def _disruption_budget(place: _Place) -> dict[str, Any]:
    return {
        **place.head("policy/v1", "PodDisruptionBudget"),
        "spec": {
            "maxUnavailable": Noted(1, "Nodes can be emptied, one server at a time."),
            "selector": {"matchLabels": place.selector},
        },
    }


def _service_monitor(place: _Place, prometheus_release: str | None) -> dict[str, Any]:
    head = place.head("monitoring.coreos.com/v1", "ServiceMonitor")
    if prometheus_release is not None:
        head["metadata"]["labels"] = {**place.selector, "release": prometheus_release}
    return {
        **head,
        "spec": {
            "selector": {"matchLabels": place.selector},
            "endpoints": [{"port": "metrics", "path": "/metrics", "interval": "15s"}],
        },
    }


def _filler(place: _Place, deployment: Deployment) -> dict[str, Any]:
    head = place.head("v1", "Pod", suffix="-fill")
    head["metadata"]["labels"] = Noted(
        {"app.kubernetes.io/name": "fill", "app.kubernetes.io/instance": place.name},
        "Not the server's labels: no request may be sent here.",
    )
    return {
        **head,
        "spec": {
            "automountServiceAccountToken": False,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": Noted(3600, "It goes by itself, should it be forgotten."),
            "securityContext": _user(),
            "containers": [
                {
                    "name": "fill",
                    "image": deployment.image,
                    "command": ["sleep", "3600"],
                    "resources": {
                        "requests": {"cpu": "100m", "memory": "64Mi"},
                        "limits": {"memory": "256Mi"},
                    },
                    "securityContext": _CLOSED,
                    "volumeMounts": [{"name": "repository", "mountPath": MOUNT}],
                }
            ],
            "volumes": [{"name": "repository", "persistentVolumeClaim": {"claimName": f"{place.name}-repository"}}],
        },
    }


def _probe(what: str) -> dict[str, Any]:
    return {"httpGet": {"path": f"/v2/health/{what}", "port": "http"}}


def _cpus(count: float) -> str:
    return f"{count:g}" if count == int(count) else f"{round(count * 1000)}m"


def _bytes(gib: float) -> str:
    return f"{gib:g}Gi" if gib == int(gib) else f"{round(gib * 1024)}Mi"
