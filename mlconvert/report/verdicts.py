"""What a report says in one word. Nothing counts as verified that a comparison does not say is right."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

Verdict = Literal["verified", "not verified", "failed"]


def of_parity(parity: Mapping[str, Any] | None) -> Verdict:
    if parity is None:
        return "not verified"
    proven = parity["ok"] and parity["samples"] and parity["outputs"]
    return "verified" if proven and all(output["ok"] for output in parity["outputs"]) else "failed"


def of_target(target: Mapping[str, Any]) -> Verdict:
    """Of the last step, for that is the result; but a step before it that failed is a failure too."""
    steps = [of_parity(step["parity"]) for step in target["steps"]]
    if not target["ok"] or "failed" in steps:
        return "failed"
    return steps[-1] if steps else "not verified"


def of_report(report: Mapping[str, Any]) -> Verdict:
    targets = {of_target(target) for target in report["targets"]}
    if not report["ok"] or "failed" in targets:
        return "failed"
    return "verified" if targets == {"verified"} else "not verified"


def headline(report: Mapping[str, Any]) -> str:
    verdict = of_report(report)
    return f"failed (exit code {report['exit_code']})" if verdict == "failed" else verdict


def step_name(converter: str) -> str:
    """A step as it is named on the command line: `onnx` of `lightgbm->onnx`, `optimize` of `onnx:optimize`."""
    return converter.rpartition("->")[2].rpartition(":")[2]


def is_comparison(target: Mapping[str, Any]) -> bool:
    """Whether the target is one of `mlconvert verify`, which converts nothing."""
    return [step["converter"] for step in target["steps"]] == ["verify"]


def route(report: Mapping[str, Any], target: Mapping[str, Any], arrow: str = " → ") -> str:
    """`lightgbm → onnx → optimize`."""
    if is_comparison(target):
        return f"{target['format']} against {_format(report)}"
    start = origin(report, target)
    if start is None:
        return "the chain of its models"
    return arrow.join([start, *(step_name(step["converter"]) for step in target["steps"])])


def origin(report: Mapping[str, Any], target: Mapping[str, Any]) -> str | None:
    """The format that the target's route begins with; None for an ensemble, whose models have sources of their own."""
    source = _format(report)
    first = target["steps"][0]["converter"] if target["steps"] else ""
    if source == target["format"] == "ensemble" == first:
        return None
    if source == "ensemble" and target["format"] != source:
        source = first.partition("->")[0].partition(":")[0]
    return source


def _format(report: Mapping[str, Any]) -> str:
    return report["source"]["format"] or "?"  # the run ended before it was recognised


def published(target: Mapping[str, Any]) -> str | None:
    """`triton breast_cancer, version 3`, or None for a target that was not published."""
    if not target.get("published"):
        return None
    row = target["published"]
    return f"{row['to']} {row['name']}, version {row['version']}{' (unchanged)' if row['unchanged'] else ''}"


def largest_error(parity: Mapping[str, Any] | None) -> float | str | None:
    """The largest `max_abs` of the outputs, as the report has it (`inf` is text there); None where there is none."""
    errors = [output["max_abs"] for output in parity["outputs"]] if parity else []
    return _largest(error for error in errors if error is not None)


def _largest(errors: Iterable[float | str]) -> float | str | None:
    # NaN is the worst: there no number is known at all.
    return max(errors, key=lambda error: (math.isnan(float(error)), float(error)), default=None)


def last_parity(target: Mapping[str, Any]) -> Mapping[str, Any] | None:
    steps = target["steps"]
    parity: Mapping[str, Any] | None = steps[-1]["parity"] if steps else None
    return parity


def remark(output: Mapping[str, Any]) -> str | None:
    """What there is to say about an output beyond its figures: why it failed, or what is odd about it."""
    text: str | None = output["reason"] or (None if output["ok"] else f"output '{output['name']}' differs")
    return text


def error_beyond_outputs(target: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The target's error, unless it says no more than that outputs differ, which their own rows say with figures."""
    error: Mapping[str, Any] | None = target.get("error")
    failed = any(of_parity(step["parity"]) == "failed" for step in target["steps"])
    return None if error and failed and error["error"] == "ParityFailed" else error
