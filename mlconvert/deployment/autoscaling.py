"""Autoscaling on the time that requests wait: the autoscaler, and the rule that makes Triton's counters a metric."""

from __future__ import annotations

from typing import Any

from mlconvert.deployment.yaml_text import Noted

ADAPTER = "monitoring/prometheus-adapter-values.yaml"
METRIC = "triton_queue_milliseconds"


def autoscaler(head: dict[str, Any], name: str, *, replicas: tuple[int, int], queue_ms: int) -> dict[str, Any]:
    """A HorizontalPodAutoscaler that adds servers when requests wait for longer than that."""
    metric = {
        "type": "Pods",
        "pods": {
            "metric": {"name": METRIC},
            "target": {
                "type": "AverageValue",
                "averageValue": Noted(str(queue_ms), "Milliseconds that a request waits before its model runs."),
            },
        },
    }
    return {
        **head,
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": replicas[0],
            "maxReplicas": replicas[1],
            "metrics": [Noted(metric, f"Comes from the Prometheus adapter, by the rule in {ADAPTER}.")],
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


def adapter_values(namespace: str) -> dict[str, Any]:
    """Values for the Prometheus adapter's chart: one rule more."""
    waited = "sum(rate(nv_inference_queue_duration_us{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>, model)"
    answered = "sum(rate(nv_inference_request_success{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>, model)"
    rule = {
        "seriesQuery": 'nv_inference_queue_duration_us{namespace!="",pod!=""}',
        "resources": {"overrides": {"namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}}},
        "name": {"as": METRIC},
        "metricsQuery": Noted(
            f"max({waited} / clamp_min({answered}, 0.001)) by (<<.GroupBy>>) / 1000",
            "Mean wait of a request, of the model where it is longest: an idle model does not hide a busy one.\n"
            "Without requests it is 0, so that servers can go.",
        ),
    }
    return {
        "rules": {
            "custom": Noted(
                [rule],
                "For the Prometheus adapter's Helm chart:\n"
                "  helm upgrade --install prometheus-adapter prometheus-community/prometheus-adapter \\\n"
                f"    --namespace {namespace} --reuse-values -f prometheus-adapter-values.yaml",
            )
        }
    }
