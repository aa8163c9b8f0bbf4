"""Looking through a model repository: a folder, a bucket, or what a running server says of its own."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from mlconvert.errors import NotVerified, UsageError
from mlconvert.report.contents import shown
from mlconvert.repositories import Repository, repository_in
from mlconvert.repositories.findings import SCHEMA, Finding, exit_code, in_order
from mlconvert.repositories.remote import downloaded, located
from mlconvert.repositories.triton import lint as triton

_SERVERS = ("triton://", "triton+http://", "triton+grpc://")


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
    models that it could not load. With `serve`, the real server (in the folder `server`, else as `find_server` finds
    it) loads every model of a copy and is asked the rows of their records. The files in a folder tell whose it is.

    Raises UsageError (no such folder or model, an unknown release), RepositoryInvalid (a folder that is no
    repository; a server that is down), MissingPackage (no server), NotVerified (`serve` for a server that mlconvert
    does not start), OutOfResources.
    """
    if server is not None and not serve:
        raise UsageError("--server is for --serve", hint=f"mlconvert lint {repository} --serve --server {server}")
    if repository.startswith(_SERVERS):
        if serve or release is not None:
            raise UsageError("a running server is asked as it is: --serve and --release are for folders")
        return _report(repository, None, *_running(repository, names), serve=False)
    with _folder(repository, names) as folder:
        row = repository_in(folder)
        rules: ModuleType = triton if row is None else importlib.import_module(f"{row.module}.lint")
        if serve and row is not None and row.name != "triton":
            raise _no_server(row, folder)
        found = list(rules.lint(folder, release=release, names=names))
        models = list(names) or rules.model_folders(folder)
        answers: tuple[dict[str, Any], ...] = ()
        if serve:
            from mlconvert.operations.serve import serve_findings

            refused, answers = serve_findings(folder, server=server, names=names, release=release)
            found += refused
        location = shown(folder) if folder == Path(repository) else repository
        return _report(location, release, found, models, answers, serve=serve)


def _no_server(row: Repository, folder: Path) -> NotVerified:
    place = folder.resolve()
    command = f"docker run --rm -p 8500:8500 -p 8501:8501 -v {place}:/models tensorflow/serving"
    return NotVerified(
        f"mlconvert starts no server of {row.title}: --serve has nothing to ask, and nothing was checked",
        where=str(folder),
        hint=f"without --serve it is looked through; to serve it: {command} --model_config_file=/models/models.config",
    )


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
