"""A report as Markdown, to be read on GitHub: the verdict first, then the evidence."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlconvert.report import numbers, verdicts
from mlconvert.report.environments import markdown_table
from mlconvert.report.marks import code, fenced, optional, plain, table

_WORDS = {"verified": "verified", "not verified": "not verified", "failed": "**failed**"}


def render(report: Mapping[str, Any]) -> str:
    """The whole document, with a line feed at its end."""
    blocks = [
        f"# mlconvert: {verdicts.headline(report)}",
        _source(report["source"]),
        _summary(report),
    ]
    for target in report["targets"]:
        blocks += _target(target)
    blocks += _environment(report)
    return "\n\n".join(blocks) + "\n"


def _source(source: Mapping[str, Any]) -> str:
    if source["sha256"] is None:  # the run ended before it was read
        return f"Source: {code(source['path'])}"
    return f"Source: {code(source['path'])} ({source['format']}), sha256 {code(_short(source['sha256']))}"


def _summary(report: Mapping[str, Any]) -> str:
    rows = [
        [
            code(target["name"]),
            _WORDS[verdicts.of_target(target)],
            plain(verdicts.route(report, target)),
            numbers.size(target["bytes"]),
            numbers.figure(verdicts.largest_error(verdicts.last_parity(target))),
            optional(verdicts.published(target), plain),
        ]
        for target in report["targets"]
    ]
    return table(["target", "verdict", "route", "size", "largest error", "published"], rows, right=(3, 4))


def _target(target: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {code(target['name'])}: {verdicts.of_target(target)}"
    error = verdicts.error_beyond_outputs(target)
    if error:
        yield from _error(error)
    facts = []
    if target["sha256"]:
        facts += [f"file: {code(target['path'])}", f"sha256: {code(target['sha256'])}"]
    if target.get("published"):
        place = code(target["published"]["repository"])
        facts.append(f"published: {plain(verdicts.published(target) or '')}, in {place}")
    if target.get("not_published"):
        facts.append(f"not published: {plain(target['not_published'])}")
    if facts:
        yield "\n".join(f"- {fact}" for fact in facts)
    if target["steps"]:
        yield _steps(target["steps"])
    for index, step in enumerate(target["steps"], 1):
        if step["parity"] is not None:
            yield from _parity(step, last=index == len(target["steps"]))


def _error(error: Mapping[str, Any]) -> Iterator[str]:
    # A step's `where` may go on with its log and how to run it again.
    where, _, more = (error["where"] or "").partition("\n")
    yield f"**{error['error']}**{f' in {plain(where)}' if where else ''}:"
    yield fenced("\n".join(part for part in (error["message"], more) if part), "text")
    if error["hint"]:
        yield "To mend it:"
        yield fenced(error["hint"], "text")


def _steps(steps: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for index, step in enumerate(steps, 1):
        options = ", ".join(code(f"{name}={_value(value)}") for name, value in step["options"].items())
        rows.append([
            str(index),
            code(step["converter"]),
            options or numbers.NONE,
            numbers.seconds(step["seconds"]),
            numbers.mebibytes(step["peak_rss_bytes"]),
            "yes" if step["cached"] else "no",
            _WORDS[verdicts.of_parity(step["parity"])],
        ])  # fmt: skip
    heads = ["", "step", "options", "time", "peak memory", "cached", "parity"]
    return table(heads, rows, right=(0, 3, 4))


def _parity(step: Mapping[str, Any], *, last: bool) -> Iterator[str]:
    parity, verdict = step["parity"], verdicts.of_parity(step["parity"])
    name = verdicts.step_name(step["converter"])
    title = f"Parity: {verdict}" if name == "verify" else f"Parity after {name}: {verdict}"
    samples = numbers.samples(parity)
    if parity["samples_sha256"]:
        samples += f" (sha256 {code(_short(parity['samples_sha256']))})"
    rtol, atol = numbers.tolerance(parity["rtol"]), numbers.tolerance(parity["atol"])
    blocks = [f"{samples}, rtol {rtol}, atol {atol}, unless an output has its own.", _outputs(parity["outputs"])]
    remarks = [verdicts.remark(output) for output in parity["outputs"]]
    notes = [f"- {plain(remark)}" for remark in remarks if remark]
    if notes:
        blocks.append("\n".join(notes))
    if last or verdict == "failed":
        yield f"### {title}"
        yield from blocks
    else:  # the result's own comparison is what counts; those on the way are there for who asks
        yield f"<details><summary>{title}</summary>"
        yield from blocks
        yield "</details>"


def _outputs(outputs: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [
            code(output["name"]),
            "yes" if output["ok"] else "**no**",
            optional(output["dtype"], code),
            optional(None if output["shape"] is None else numbers.shape(output["shape"]), code),
            *(numbers.figure(output[key]) for key in ("max_abs", "mean_abs", "p99_abs", "max_rel")),
            numbers.ulps(output["max_ulp"]),
            numbers.count(output["mismatched"]),
            numbers.count(output["elements"]),
        ]
        for output in outputs
    ]
    heads = ["output", "ok", "dtype", "shape", "max abs", "mean abs", "p99 abs", "max rel", "max ulp", "differ", "of"]
    return table(heads, rows, right=range(4, 11))


def _environment(report: Mapping[str, Any]) -> Iterator[str]:
    yield "## Environment"
    yield f"The run took {numbers.seconds(report['seconds'])}."
    yield markdown_table(report["environment"])
    if report["fingerprint"] is not None:
        yield "<details><summary>Hardware fingerprint</summary>"
        yield fenced(json.dumps(report["fingerprint"], indent=2, ensure_ascii=False), "json")
        yield "</details>"


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _short(digest: str | None) -> str:
    return digest[:12] if digest else numbers.NONE
