"""Autoscaling: the autoscaler, and the rule by which Prometheus's adapter makes a metric out of a server's counters."""

from __future__ import annotations

from typing import Any

from mlconvert.deployment.yaml_text import Noted

ADAPTER = "monitoring/prometheus-adapter-values.yaml"


def autoscaler(head: dict[str, Any], name: str, metrics: list[Any], *, replicas: tuple[int, int]) -> dict[str, Any]:
    """A HorizontalPodAutoscaler that adds servers when one of the metrics is above its target."""
    return {
        **head,
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": replicas[0],
            "maxReplicas": replicas[1],
            "metrics": metrics,
            "behavior": {
                "scaleUp": {
                    "stabilizationWindowSeconds": 0,
                    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 60}],
                },
                "scaleDown": Noted(
                    {
                        "stabilizationWindowSeconds": 300,
                        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
                    },
                    "Slowly: a server that left takes its models' loading time to come back.",
                ),
            },
        },
    }


def pods_metric(metric: str, target: str, *, note: str) -> Noted:
    """A metric of the pods, from Prometheus's adapter, whose mean is to be below the target."""
    return Noted(
        {
            "type": "Pods",
            "pods": {
                "metric": {"name": metric},
                "target": {"type": "AverageValue", "averageValue": Noted(target, note)},
            },
        },
        f"Comes from the Prometheus adapter, by the rule in {ADAPTER}.",
    )


def adapter_values(monitoring: str, metric: str, *, series: str, query: Noted) -> dict[str, Any]:
    """Values for the Prometheus adapter's chart: one rule more, by which a query is a metric of a pod."""
    rule = {
        "seriesQuery": f'{series}{{namespace!="",pod!=""}}',
        "resources": {"overrides": {"namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}}},
        "name": {"as": metric},
        "metricsQuery": query,
    }
    return {
        "rules": {
            "custom": Noted(
                [rule],
                "For the Prometheus adapter's Helm chart:\n"
                "  helm upgrade --install prometheus-adapter prometheus-community/prometheus-adapter \\\n"
                f"    --namespace {monitoring} --reuse-values -f prometheus-adapter-values.yaml",
            )
        }
    }
