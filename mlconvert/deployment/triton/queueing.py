"""The time that requests wait in Triton's queues, as a metric to scale by."""

from __future__ import annotations

from typing import Any

from mlconvert.deployment.autoscaling import adapter_values, pods_metric
from mlconvert.deployment.yaml_text import Noted

METRIC = "triton_queue_milliseconds"


def queue_metric(queue_ms: int) -> Noted:
    return pods_metric(METRIC, str(queue_ms), note="Milliseconds that a request waits before its model runs.")


def queue_rule(monitoring: str) -> dict[str, Any]:
    """The adapter's rule: Triton counts microseconds of all requests together."""
    waited = "sum(rate(nv_inference_queue_duration_us{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>, model)"
    answered = "sum(rate(nv_inference_request_success{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>, model)"
    query = Noted(
        f"max({waited} / clamp_min({answered}, 0.001)) by (<<.GroupBy>>) / 1000",
        "Mean wait of a request, of the model where it is longest: an idle model does not hide a busy one.\n"
        "Without requests it is 0, so that servers can go.",
    )
    return adapter_values(monitoring, METRIC, series="nv_inference_queue_duration_us", query=query)
