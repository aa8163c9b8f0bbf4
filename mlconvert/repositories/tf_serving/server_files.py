"""monitoring.config and batching.config: settings of the server as a whole, beside models.config.

A server reads them when it starts (--monitoring_config_file, --batching_parameters_file with --enable_batching). Their
first line has a digest of what follows, by which a file that somebody has changed since is known: it is never replaced.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.repositories.tf_serving.models_config import quoted
from mlconvert.serving.tf_serving.messages import parse_text

MONITORING = "monitoring.config"
BATCHING = "batching.config"
MESSAGES: Mapping[str, str] = {MONITORING: "MonitoringConfig", BATCHING: "BatchingParameters"}
METRICS = "/monitoring/prometheus/metrics"
_MARK = re.compile(r"# Written by mlconvert \(([0-9a-f]{16})\)[^\n]*\n")
_USE = {
    MONITORING: f"the server reads it with --monitoring_config_file={MONITORING}; it needs --rest_api_port",
    BATCHING: f"the server reads it with --enable_batching --batching_parameters_file={BATCHING}",
}


def monitoring(
    *,
    monitoring: Annotated[bool, "write monitoring.config: metrics for Prometheus on the REST port"] = False,
    monitoring_path: Annotated[str, "the path of the metrics' URL"] = METRICS,
) -> str | None:
    """The text of monitoring.config; None where none is asked for."""
    if not monitoring:
        if monitoring_path != METRICS:
            raise UsageError("monitoring_path is for monitoring=yes", hint="--set monitoring=yes")
        return None
    if not re.fullmatch(r"/[A-Za-z0-9_./-]+", monitoring_path):
        raise UsageError(f"monitoring_path={monitoring_path!r}: expected a path such as {METRICS}")
    return marked(MONITORING, f"prometheus_config {{\n  enable: true\n  path: {quoted(monitoring_path)}\n}}\n")


def batching(
    *,
    batching: Annotated[bool, "write batching.config: join requests of several clients along the first axis"] = False,
    batching_max_size: Annotated[int | None, "most rows in one batch (default: 64)"] = None,
    batching_timeout: Annotated[int | None, "microseconds that a request waits for others (default: 1000)"] = None,
    batching_threads: Annotated[int | None, "batches at a time (default: the server's, its processors)"] = None,
    batching_queue: Annotated[int | None, "most batches that wait (default: the server's)"] = None,
    batching_sizes: Annotated[tuple[int, ...], "sizes that batches are filled up to, the largest is the most"] = (),
    batching_pad: Annotated[bool, "fill up inputs of different lengths"] = False,
) -> str | None:
    """The text of batching.config; None where none is asked for."""
    given = {
        "batching_max_size": batching_max_size,
        "batching_threads": batching_threads,
        "batching_queue": batching_queue,
    }
    for option, value in given.items():
        if value is not None and value < 1:
            raise UsageError(f"{option}={value}: expected 1 or more")
    if batching_timeout is not None and batching_timeout < 0:
        raise UsageError(f"batching_timeout={batching_timeout}: expected 0 or more")
    if not batching:
        others: dict[str, object] = {**given, "batching_timeout": batching_timeout}
        others |= {"batching_sizes": batching_sizes or None, "batching_pad": batching_pad or None}
        left = [option for option, value in others.items() if value is not None]
        if left:
            raise UsageError(f"{left[0]} is for batching=yes", hint="--set batching=yes")
        return None
    most = batching_max_size if batching_max_size is not None else max(batching_sizes, default=64)
    if batching_sizes and (sorted(set(batching_sizes)) != list(batching_sizes) or batching_sizes[-1] != most):
        raise UsageError(
            f"batching_sizes={','.join(map(str, batching_sizes))}: expected rising numbers, of which the last is "
            f"the most rows in one batch ({most})"
        )
    if batching_sizes and batching_sizes[0] < 1:
        raise UsageError(f"batching_sizes={batching_sizes[0]}: expected 1 or more")
    timeout = 1000 if batching_timeout is None else batching_timeout
    lines = [f"max_batch_size {{ value: {most} }}", f"batch_timeout_micros {{ value: {timeout} }}"]
    if batching_threads is not None:
        lines.append(f"num_batch_threads {{ value: {batching_threads} }}")
    if batching_queue is not None:
        lines.append(f"max_enqueued_batches {{ value: {batching_queue} }}")
    lines += [f"allowed_batch_sizes: {size}" for size in batching_sizes]
    if batching_pad:
        lines.append("pad_variable_length_inputs: true")
    return marked(BATCHING, "".join(f"{line}\n" for line in lines))


def marked(name: str, body: str) -> str:
    parse_text(MESSAGES[name], body, where=name, what=f"a {name}")
    return f"# Written by mlconvert ({_digest(body)}): {_USE[name]}\n{body}"


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:16]


def is_ours(text: str) -> bool:
    """Whether a file is as mlconvert wrote it."""
    found = _MARK.match(text)
    return found is not None and found[1] == _digest(text[found.end() :])


def changed_files(repository: Path, wanted: Mapping[str, str | None]) -> dict[str, str]:
    """Those of the wanted files that are to be written. RepositoryInvalid where somebody has changed one by hand."""
    found = {}
    for name, text in wanted.items():
        path = repository / name
        if text is None:
            continue
        try:
            there = path.read_bytes().decode(errors="replace")
        except FileNotFoundError:
            found[name] = text
            continue
        if there == text:
            continue
        if not is_ours(there) and not _says_the_same(name, there, text):
            raise RepositoryInvalid(
                f"{name} was not written by mlconvert, or was changed since: it is not replaced",
                where=str(path),
                hint=f"change it by hand, or move it away; publish without the options of {name}",
            )
        if is_ours(there):
            found[name] = text
    return found


def _says_the_same(name: str, there: str, text: str) -> bool:
    kind = MESSAGES[name]
    try:
        return bool(parse_text(kind, there, where=name, what=name) == parse_text(kind, text, where=name, what=name))
    except RepositoryInvalid:
        return False
