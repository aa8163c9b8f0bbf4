"""Looking through a model repository: a folder, a bucket, or what a running server says of its own."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from mlconvert.errors import UsageError
from mlconvert.report.contents import shown
from mlconvert.repositories import Repository, repository_in
from mlconvert.repositories.findings import SCHEMA, Finding, exit_code, in_order
from mlconvert.repositories.remote import downloaded, located
from mlconvert.repositories.triton import lint as triton
from mlconvert.serving.locations import TRITON, is_served


def lint_repository(
    repository: str,
    *,
    release: str | None = None,
    serve: bool = False,
    server: Path | None = None,
    names: Sequence[str] = (),
) -> dict[str, Any]:
    """The report (`mlconvert.findings/1`) of a repository, or of the models `names` of it.

    `repository` is a folder, `s3://…`, `gs://…`, or `triton://host:port`: a running server, which is asked for the
    models that it could not load; a TensorFlow Serving cannot list its models, so `names` says which. With `serve`, a
    server (in the folder `server`, else as `find_server` or `find_model_server` finds it) loads every model of a copy
    and is asked the rows of their records. The files in a folder tell whose it is.

    Raises UsageError (no such folder or model, an unknown release), RepositoryInvalid (a folder that is no
    repository; a server that is down), MissingPackage (no server), OutOfResources.
    """
    if server is not None and not serve:
        raise UsageError("--server is for --serve", hint=f"mlconvert lint {repository} --serve --server {server}")
    if is_served(repository):
        if serve or release is not None:
            raise UsageError("a running server is asked as it is: --serve and --release are for folders")
        running = _running if repository.startswith(TRITON.scheme) else _running_tf_serving
        return _report(repository, None, *running(repository, names), serve=False)
    with _folder(repository, names) as folder:
        row = repository_in(folder)
        rules: ModuleType = triton if row is None else importlib.import_module(f"{row.module}.lint")
        found = list(rules.lint(folder, release=release, names=names))
        models = list(names) or rules.model_folders(folder)
        answers: tuple[dict[str, Any], ...] = ()
        if serve:
            refused, answers = _served(row, folder, server=server, names=names, release=release)
            found += refused
        location = shown(folder) if folder == Path(repository) else repository
        return _report(location, release, found, models, answers, serve=serve)


def _served(
    row: Repository | None, folder: Path, *, server: Path | None, names: Sequence[str], release: str | None
) -> tuple[tuple[Finding, ...], tuple[dict[str, Any], ...]]:
    """What a server says of the models, and what they answer."""
    if row is not None and row.name == "tf-serving":
        from mlconvert.operations import serve_tf_serving

        return serve_tf_serving.serve_findings(folder, server=server, names=names)
    from mlconvert.operations import serve

    return serve.serve_findings(folder, server=server, names=names, release=release)


@contextlib.contextmanager
def _folder(repository: str, names: Sequence[str]) -> Iterator[Path]:
    place = located(repository)
    if isinstance(place, Path):
        yield place
        return
    with downloaded(place, names) as folder:
        yield folder


def _report(
    repository: str,
    release: str | None,
    found: Iterable[Finding],
    models: Iterable[str],
    answers: Iterable[dict[str, Any]] = (),
    *,
    serve: bool,
) -> dict[str, Any]:
    findings = in_order(found)
    code = exit_code(findings)
    answered: dict[str, list[dict[str, Any]]] = {}
    for entry in answers:
        answered.setdefault(entry["name"], []).append(entry)
    rows = []
    for name in models:
        levels = [one.level for one in findings if one.model == name]
        counts = {level: levels.count(level) for level in ("error", "warning", "unchecked")}
        row = {"name": name, "ok": not counts["error"], "errors": counts["error"], "warnings": counts["warning"]}
        rows.append({**row, "unchecked": counts["unchecked"], "served": answered.get(name, []) if serve else None})
    return {
        "schema": SCHEMA,
        "repository": repository,
        "release": release,
        "served": serve,
        "ok": code == 0,
        "exit_code": code,
        "findings": [one.as_json() for one in findings],
        "models": rows,
    }


def _running(url: str, names: Sequence[str]) -> tuple[list[Finding], list[str]]:
    """What a running server says of its models: those that it could not load, with its reason."""
    from mlconvert.serving.client import connect
    from mlconvert.serving.reasons import reason_of

    with contextlib.closing(connect(url)) as client:
        rows = [row for row in client.index() if not names or row.name in names]
    known = sorted({row.name for row in rows})
    for name in names:
        if name not in known:
            raise UsageError(f"the server has no model '{name}'", where=url)
    found = []
    for row in rows:
        version = f" version {row.version}" if row.version else ""
        place = f"{row.name}/{row.version}" if row.version else row.name
        if row.state == "UNAVAILABLE" and row.reason not in ("", "unloaded"):
            what = f"{place} is not served: {reason_of(row.reason)}"
            fix = f"mlconvert lint REPOSITORY --model {row.name}, on the server's repository"
            found.append(Finding("error", "not-ready", row.name, place, None, what, fix))
        elif row.state != "READY":
            state = row.state.lower() or "not loaded"
            what = f"{row.name}{version} is {state}" + (f" ({row.reason})" if row.reason else "")
            fix = "load it through the server's API, if it is meant to be served"
            found.append(Finding("warning", "not-loaded", row.name, place, None, what, fix))
    return found, known


def _running_tf_serving(url: str, names: Sequence[str]) -> tuple[list[Finding], list[str]]:
    """What a running TensorFlow Serving says of these models: versions that it could not load, with its reason."""
    from mlconvert.serving.tf_serving.client import connect

    if not names:
        raise UsageError(
            "a TensorFlow Serving does not tell which models it has",
            where=url,
            hint=f"mlconvert lint {url} --model NAME",
        )
    found = []
    with contextlib.closing(connect(url)) as client:
        for name in dict.fromkeys(names):
            rows = client.status(name)
            if not rows:
                raise UsageError(f"the server has no model '{name}'", where=url)
            for row in rows:
                place = f"{name}/{row.version}"
                if row.reason:
                    fix = f"mlconvert lint REPOSITORY --model {name} --serve, on the server's repository"
                    what = f"{place} is not served: {row.reason}"
                    found.append(Finding("error", "not-ready", name, place, None, what, fix))
                elif row.state in ("START", "LOADING"):
                    fix = "look at the server's log: it may be trying again a version that does not load"
                    found.append(Finding("warning", "not-loaded", name, place, None, f"{place} is {row.state}", fix))
    return found, list(dict.fromkeys(names))
