"""A report as JUnit XML, as test dashboards of CI systems read it.

One suite a target; one case a step and one an output that was compared. What was not verified is skipped, so that
it never shows as a pass; a step that could not be made is an error, an output that differs a failure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from xml.etree import ElementTree as ET

from mlconvert.report import numbers, verdicts

Kind = Literal["failure", "error", "skipped"]

# XML 1.0 cannot hold most control characters, not even escaped; logs and messages may have them.
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Case:
    """One test case. `kind` is None for a pass; `type` is the error's class, `text` the details."""

    name: str
    seconds: float = 0.0
    kind: Kind | None = None
    type: str = ""
    message: str = ""
    text: str = ""


def render(report: Mapping[str, Any]) -> str:
    """The XML document, with a line feed at its end."""
    suites = [(target, list(_cases(target))) for target in report["targets"]]
    every = [case for _, cases in suites for case in cases]
    root = ET.Element("testsuites", {"name": "mlconvert", **totals(every, report["seconds"])})
    for target, cases in suites:
        time = sum(case.seconds for case in cases)
        suite = ET.SubElement(root, "testsuite", {"name": _writable(target["name"]), **totals(cases, time)})
        _properties(suite, report, target)
        for case in cases:
            add_case(suite, f"mlconvert.{target['name']}", case)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _cases(target: Mapping[str, Any]) -> Iterator[Case]:
    failed = False
    for index, step in enumerate(target["steps"], 1):
        name = f"{index} {verdicts.step_name(step['converter'])}"
        yield Case(name, seconds=0.0 if step["cached"] else step["seconds"] or 0.0)
        for case in _parity_cases(name, step["parity"]):
            failed = failed or case.kind == "failure"
            yield case
    error = verdicts.error_beyond_outputs(target)
    if error:
        # A step's `where` may go on with its log and how to run it again.
        told = [error["message"], error["where"], error["hint"]]
        name, text = _first(error["where"] or "conversion"), "\n".join(part for part in told if part)
        yield Case(name, kind="error", type=error["error"], message=_first(error["message"]), text=text)
    elif not target["ok"] and not failed:
        yield Case("target", kind="error", type="MlconvertError", message="the target failed without a stated reason")
    if target.get("published"):
        yield Case(f"publish to {verdicts.published(target)}")
    elif target.get("not_published"):
        yield Case("publish", kind="skipped", message=f"not published: {target['not_published']}")


def _parity_cases(step: str, parity: Mapping[str, Any] | None) -> Iterator[Case]:
    if parity is None:
        yield Case(f"{step} / parity", kind="skipped", message="not verified")
        return
    for output in parity["outputs"]:
        name = f"{step} / {output['name']}"
        if output["ok"]:
            yield Case(name)
            continue
        message = _first(verdicts.remark(output) or "")
        yield Case(name, kind="failure", type="ParityFailed", message=message, text=_details(parity, output))
    if verdicts.of_parity(parity) == "failed" and all(output["ok"] for output in parity["outputs"]):
        text = f"{parity['samples']} samples, {len(parity['outputs'])} outputs"
        yield Case(f"{step} / parity", kind="failure", type="ParityFailed", message="the comparison failed", text=text)


def _details(parity: Mapping[str, Any], output: Mapping[str, Any]) -> str:
    rows = [
        verdicts.remark(output) or "",
        f"dtype {output['dtype'] or numbers.NONE}, shape {numbers.shape(output['shape'])}",
        *(f"{key} {numbers.figure(output[key])}" for key in ("max_abs", "mean_abs", "p99_abs", "max_rel")),
        f"max_ulp {numbers.ulps(output['max_ulp'])}",
        f"mismatched {numbers.count(output['mismatched'])} of {numbers.count(output['elements'])}",
        *(f"{key} {numbers.count(output[key])}" for key in ("label_flips", "nan_mismatches")),
        f"worst_index {numbers.shape(output['worst_index'])}",
        f"samples {numbers.count(parity['samples'])}",
        *(f"{key} {numbers.tolerance(parity[key])}" for key in ("rtol", "atol")),
    ]
    return "\n".join(rows)


def totals(cases: list[Case], seconds: float) -> dict[str, str]:
    """The attributes of a suite."""
    kinds = [case.kind for case in cases]
    counts = {"failures": kinds.count("failure"), "errors": kinds.count("error"), "skipped": kinds.count("skipped")}
    return {"tests": str(len(cases)), **{key: str(value) for key, value in counts.items()}, "time": f"{seconds:.3f}"}


def _properties(suite: ET.Element, report: Mapping[str, Any], target: Mapping[str, Any]) -> None:
    facts = {
        "source": report["source"]["path"],
        "source.sha256": report["source"]["sha256"],
        "path": target["path"],
        "format": target["format"],
        "sha256": target["sha256"],
        "python": report["environment"]["python"],
        "platform": report["environment"]["platform"],
        **{f"package.{name}": version for name, version in report["environment"]["packages"].items()},
    }
    properties = ET.SubElement(suite, "properties")
    for name, value in facts.items():
        if value is not None:
            ET.SubElement(properties, "property", {"name": _writable(name), "value": _writable(str(value))})


def add_case(suite: ET.Element, owner: str, case: Case) -> None:
    """Add a case to a suite, with whatever XML cannot hold replaced."""
    attributes = {"classname": _writable(owner), "name": _writable(case.name), "time": f"{case.seconds:.3f}"}
    element = ET.SubElement(suite, "testcase", attributes)
    if case.kind is None:
        return
    about = {"message": _writable(case.message)} | ({"type": case.type} if case.type else {})
    outcome = ET.SubElement(element, case.kind, about)
    outcome.text = _writable(case.text) or None


def _first(text: str) -> str:
    return text.strip().partition("\n")[0]


def _writable(text: str) -> str:
    return _UNWRITABLE.sub("\ufffd", text)
