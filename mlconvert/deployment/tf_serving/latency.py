"""The time that requests take in TensorFlow Serving, as a metric to scale by.

The server has no queue to look into unless it batches. It counts the microseconds of all requests, by model, API and
entrypoint, in the histogram `:tensorflow:serving:request_latency` (tensorflow_serving/servables/tensorflow/util.cc).
"""

from __future__ import annotations

from typing import Any

from mlconvert.deployment.autoscaling import adapter_values, pods_metric
from mlconvert.deployment.yaml_text import Noted

METRIC = "tf_serving_request_milliseconds"
SERIES = ":tensorflow:serving:request_latency"


def cpu_metric(percent: int) -> Noted:
    """What the cluster's metrics-server knows without a Prometheus."""
    target = {"type": "Utilization", "averageUtilization": percent}
    return Noted(
        {"type": "Resource", "resource": {"name": "cpu", "target": target}},
        "Of the CPUs that a server asks for; the cluster's metrics-server measures it.",
    )


def latency_metric(request_ms: int) -> Noted:
    return pods_metric(METRIC, str(request_ms), note="Milliseconds that a request takes, waiting and running.")


def latency_rule(monitoring: str) -> dict[str, Any]:
    """The adapter's rule: the server's sum and count are of all requests together."""
    taken = f"sum(rate({SERIES}_sum{{<<.LabelMatchers>>}}[2m])) by (<<.GroupBy>>, model_name)"
    answered = f"sum(rate({SERIES}_count{{<<.LabelMatchers>>}}[2m])) by (<<.GroupBy>>, model_name)"
    query = Noted(
        f"max({taken} / clamp_min({answered}, 0.001)) by (<<.GroupBy>>) / 1000",
        "Mean time of a request, of the model where it is longest: an idle model does not hide a busy one.\n"
        "Without requests it is 0, so that servers can go.",
    )
    return adapter_values(monitoring, METRIC, series=f"{SERIES}_count", query=query)
