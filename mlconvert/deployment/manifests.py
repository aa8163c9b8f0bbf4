"""What the Kubernetes manifests of all servers share: the restricted profile, and no way in but for named clients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlconvert.deployment.yaml_text import Noted

DRAIN = 5  # seconds until every node knows that a stopping pod has left the service
GRACE = 10

CLOSED: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": Noted(True, "What has to be written goes to memory."),
    "capabilities": {"drop": ["ALL"]},
}


@dataclass(frozen=True)
class Place:
    """Names and labels, the same in every manifest. `server` names the software; clients carry the label `label`."""

    name: str
    namespace: str | None
    server: str
    label: str

    @property
    def selector(self) -> dict[str, str]:
        return {"app.kubernetes.io/name": self.server, "app.kubernetes.io/instance": self.name}

    @property
    def option(self) -> str:
        """Of kubectl."""
        return f" -n {self.namespace}" if self.namespace else ""

    def head(self, version: str, kind: str, *, suffix: str = "") -> dict[str, Any]:
        where = {"namespace": self.namespace} if self.namespace else {}
        return {
            "apiVersion": version,
            "kind": kind,
            "metadata": {"name": self.name + suffix, **where, "labels": self.selector},
        }


def namespace(name: str) -> dict[str, Any]:
    labels = {
        "pod-security.kubernetes.io/enforce": Noted("restricted", "The cluster refuses pods that ask for more."),
        "pod-security.kubernetes.io/warn": "restricted",
    }
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def claim(place: Place, gib: int, storage_class: str | None, *, filled: str) -> dict[str, Any]:
    """The volume with the repository; `filled` says how it gets there."""
    spec: dict[str, Any] = {
        "accessModes": Noted(["ReadWriteMany"], "One volume for all servers; they mount it read-only."),
        "resources": {"requests": {"storage": f"{gib}Gi"}},
    }
    if storage_class is not None:
        spec["storageClassName"] = storage_class
    return {**place.head("v1", "PersistentVolumeClaim", suffix="-repository"), "spec": Noted(spec, filled)}


def user(number: int, note: str) -> dict[str, Any]:
    return {
        "runAsNonRoot": True,
        "runAsUser": Noted(number, note),
        "runAsGroup": number,
        "fsGroup": number,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_resources(cpus: float, memory_gib: float, gpus: int | None) -> dict[str, Any]:
    limits: dict[str, Any] = {"memory": in_bytes(memory_gib)}
    if gpus is not None:
        limits["nvidia.com/gpu"] = gpus
    return {
        "requests": {"cpu": in_cpus(cpus), "memory": in_bytes(memory_gib)},
        "limits": Noted(
            limits,
            "Memory is what is asked for. There is no limit on CPUs: one would make requests wait while some idle.",
        ),
    }


def repository_of(name: str) -> dict[str, Any]:
    """The volume of a pod that only reads the repository."""
    return {
        "name": "repository",
        "persistentVolumeClaim": {"claimName": f"{name}-repository", "readOnly": True},
    }


def in_memory(name: str, gib: float) -> dict[str, Any]:
    return {"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": in_bytes(gib)}}


def tolerations(note: str) -> Noted:
    """Of a pod that needs a GPU."""
    return Noted([{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}], note)


def spread(place: Place) -> list[dict[str, Any]]:
    return [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": place.selector},
        }
    ]


def deployment(place: Place, pod: dict[str, Any]) -> dict[str, Any]:
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


def service(place: Place, ports: Mapping[str, int]) -> dict[str, Any]:
    return {
        **place.head("v1", "Service"),
        "spec": {
            "type": Noted("ClusterIP", "Inside the cluster only: the server has no authentication."),
            "selector": place.selector,
            "ports": [
                {"name": name, "port": port, "targetPort": name, "protocol": "TCP"} for name, port in ports.items()
            ],
        },
    }


def network_policy(
    place: Place, clients: tuple[str, str], *, danger: str, monitoring: str | None, metrics: Any
) -> dict[str, Any]:
    """Clients reach the ports of these names; Prometheus, in the namespace `monitoring`, the port `metrics`."""
    ingress: list[Any] = [
        Noted(
            {
                "from": [{"podSelector": {"matchLabels": {place.label: place.name}}}],
                "ports": [{"port": name, "protocol": "TCP"} for name in clients],
            },
            f"Pods of this namespace that carry the label. {danger}",
        )
    ]
    if monitoring is not None:
        ingress.append(
            {
                "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": monitoring}}}],
                "ports": [{"port": metrics, "protocol": "TCP"}],
            }
        )
    return {
        **place.head("networking.k8s.io/v1", "NetworkPolicy"),
        "spec": {
            "podSelector": {"matchLabels": place.selector},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": Noted([], "The server calls nobody."),
        },
    }


def disruption_budget(place: Place) -> dict[str, Any]:
    return {
        **place.head("policy/v1", "PodDisruptionBudget"),
        "spec": {
            "maxUnavailable": Noted(1, "Nodes can be emptied, one server at a time."),
            "selector": {"matchLabels": place.selector},
        },
    }


def service_monitor(place: Place, prometheus_release: str | None, *, port: str, path: str) -> dict[str, Any]:
    head = place.head("monitoring.coreos.com/v1", "ServiceMonitor")
    if prometheus_release is not None:
        head["metadata"]["labels"] = {**place.selector, "release": prometheus_release}
    return {
        **head,
        "spec": {
            "selector": {"matchLabels": place.selector},
            "endpoints": [{"port": port, "path": path, "interval": "15s"}],
        },
    }


def filler(
    place: Place,
    image: str,
    *,
    owner: dict[str, Any],
    mount: str,
    command: tuple[str, ...] = ("sleep", "3600"),
    volumes: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (),
) -> dict[str, Any]:
    """A pod through which the repository is copied onto its volume. `volumes`: more of them, each with its mount."""
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
            "securityContext": owner,
            "containers": [
                {
                    "name": "fill",
                    "image": image,
                    "command": list(command),
                    "resources": {
                        "requests": {"cpu": "100m", "memory": "64Mi"},
                        "limits": {"memory": "256Mi"},
                    },
                    "securityContext": CLOSED,
                    "volumeMounts": [{"name": "repository", "mountPath": mount}, *(place for _, place in volumes)],
                }
            ],
            "volumes": [
                {"name": "repository", "persistentVolumeClaim": {"claimName": f"{place.name}-repository"}},
                *(volume for volume, _ in volumes),
            ],
        },
    }


def in_cpus(count: float) -> str:
    return f"{count:g}" if count == int(count) else f"{round(count * 1000)}m"


def in_bytes(gib: float) -> str:
    return f"{gib:g}Gi" if gib == int(gib) else f"{round(gib * 1024)}Mi"
