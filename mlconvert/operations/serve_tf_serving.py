"""`mlconvert lint --serve` of a TensorFlow Serving repository: a copy of it, served and asked, model by model.

The real tensorflow_model_server answers where there is one, else the double; what was served says which. Versions in
service and labels are those of models.config, and so are batching.config and monitoring.config. What loads is asked the
rows of its record over REST and over gRPC, and its answers are compared with the source's.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mlconvert import packages, records
from mlconvert.errors import MlconvertError, NotVerified, OutOfResources, RepositoryInvalid, UsageError, suggest
from mlconvert.execution.verification import why_failed
from mlconvert.operations.wire import parity_over_tf_serving, rows_of
from mlconvert.repositories.findings import Finding, Level
from mlconvert.repositories.policies import LATEST
from mlconvert.repositories.tf_serving import models_config, server_files
from mlconvert.repositories.tf_serving.layout import entries_in, model_names
from mlconvert.repositories.tf_serving.models_config import CONFIG, Entry
from mlconvert.repositories.versions import record_path
from mlconvert.serving.tf_serving.client import Client, connect_both
from mlconvert.serving.tf_serving.home import ModelServer, find_model_server
from mlconvert.serving.tf_serving.server import Server, started

LOAD_SECONDS = 300.0
BACKEND = "tensorflow"


@dataclass
class _Trial:
    """A repository under test: what was found, and what each version that loaded answered."""

    repository: Path
    program: ModelServer
    root: Path  # the server's copy
    findings: list[Finding] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)

    def find(self, level: Level, code: str, model: str | None, message: str, fix: str, *, file: str) -> None:
        told = message.replace(str(self.root), str(self.repository))
        self.findings.append(Finding(level, code, model, file, None, told, fix))


def serve_findings(
    repository: Path, *, server: Path | None = None, names: Sequence[str] = ()
) -> tuple[tuple[Finding, ...], tuple[dict[str, Any], ...]]:
    """What a server says of a repository (of the models `names`, or of all), and what its models answered.

    An entry is `{name, version, backend, stand_in, http, grpc}`, one for each version that was served: `stand_in` says
    that the double answered, None that the real server did; `http` and `grpc` are parities as in reports, None where
    there was nothing to compare, or REST cannot carry it. `server` is the tensorflow_model_server, or its folder
    (default: see `find_model_server`).

    Raises MissingPackage where there is neither a server nor what the double needs, UsageError for a name that is no
    model, OutOfResources when the disk has no room for a copy, RepositoryInvalid when the server does not start.
    """
    packages.require((packages.GRPC,), "lint --serve")
    program = find_model_server(server)
    known = model_names(repository)
    for name in names:
        if name not in known:
            listed = ", ".join(known) or "none"
            raise UsageError(
                f"no model '{name}' in {repository}.{suggest(name, known)}", hint=f"models there: {listed}"
            )
    entries = entries_in(repository)
    with tempfile.TemporaryDirectory(prefix="mlconvert-serve-") as scratch:
        trial = _Trial(repository, program, Path(scratch) / "repository")
        trial.root.mkdir()
        waiting = [name for name in known if not names or name in names]
        while waiting:  # once, and once more for each model that took the server down with it
            with _serving(trial) as (running, clients):
                while waiting and running.process.poll() is None:
                    name = waiting.pop(0)
                    _try(trial, name, entries.get(name), running, clients, plain=not entries)
    return tuple(trial.findings), tuple(trial.entries)


@contextlib.contextmanager
def _serving(trial: _Trial) -> Iterator[tuple[Server, tuple[Client, Client]]]:
    """A server without models yet, with the settings of the repository; without those that it refuses."""
    config = trial.root / CONFIG
    config.write_text("model_config_list { }\n", "utf-8")
    flags = [f"--model_config_file={config}"]
    with contextlib.ExitStack() as stack:
        try:
            running = stack.enter_context(started(trial.program, [*flags, *_settings(trial.repository)]))
        except RepositoryInvalid as error:
            if not _settings(trial.repository):
                raise
            if not any(one.code == "server-refuses" for one in trial.findings):
                what = f"the server does not start with the files of the repository: {error.message}"
                fix = (
                    f"publish with --set batching=yes or monitoring=yes writes files that it takes: {trial.repository}"
                )
                trial.find("error", "server-refuses", None, what, fix, file=server_files.BATCHING)
            running = stack.enter_context(started(trial.program, flags))
        clients = connect_both(running.rest, running.grpc, seconds=LOAD_SECONDS)
        for client in clients:
            stack.callback(client.close)
        yield running, clients


def _settings(repository: Path) -> list[str]:
    flags = []
    if (path := repository / server_files.MONITORING).is_file():
        flags.append(f"--monitoring_config_file={path.absolute()}")
    if (path := repository / server_files.BATCHING).is_file():
        flags += ["--enable_batching=true", f"--batching_parameters_file={path.absolute()}"]
    return flags


# --- one model ---


def _try(
    trial: _Trial, name: str, entry: Entry | None, running: Server, clients: tuple[Client, Client], *, plain: bool
) -> None:
    if entry is None and not plain:
        return  # lint says that no server serves it
    if not _copy(trial, name):
        return
    wanted = replace(entry or Entry(name, "", LATEST), base_path=str(trial.root / name))
    if not wanted.policy.live(_numbers(trial.root / name)):
        what = f"no version of it is in service ({wanted.policy}), so none was asked"
        fix = f"publish it with --set version_policy=latest, or take the entry out of {CONFIG}"
        trial.find("unchecked", "none-in-service", name, what, fix, file=CONFIG)
        return
    grpc = clients[1]
    try:
        grpc.reload(_config(replace(wanted, labels={})))
    except RepositoryInvalid as error:
        # The newest version did not load; others may have.
        if not _has_died(running) and not grpc.status(name):
            _find_refusal(trial, name, None, error.message)
    if not _has_died(running):
        for number in _settled(trial, name, wanted, grpc):
            _ask(trial, name, number, running, clients)
    if not _has_died(running):
        with contextlib.suppress(RepositoryInvalid):
            _label(trial, wanted, grpc)
    if _has_died(running):
        _find_death(trial, name, running)
    else:
        with contextlib.suppress(RepositoryInvalid):
            grpc.reload(_config(None))
    shutil.rmtree(trial.root / name, ignore_errors=True)


def _config(entry: Entry | None) -> Any:
    text = "model_config_list { }"
    if entry is not None:
        text = models_config.with_entry(None, entry, where=CONFIG)
    return models_config.parsed(text, where=CONFIG)


def _settled(trial: _Trial, name: str, entry: Entry, client: Client) -> list[int]:
    """The versions that the policy wants and that were loaded; what became of the others is told."""
    wanted = entry.policy.live(_numbers(trial.root / name))
    deadline = time.monotonic() + LOAD_SECONDS
    while True:
        rows = {row.version: row for row in client.status(name)}
        states = {number: rows[number].state if number in rows else "" for number in wanted}
        failed = {number for number, state in states.items() if state == "END" and rows[number].reason}
        if all(state == "AVAILABLE" or number in failed for number, state in states.items()):
            break
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    for number in sorted(wanted):
        if states[number] != "AVAILABLE":
            reason = rows[number].reason if number in rows else "it is not loaded"
            _find_refusal(trial, name, number, reason or f"it is {states[number]} after {LOAD_SECONDS:g} s")
    return sorted(number for number, state in states.items() if state == "AVAILABLE")


def _numbers(folder: Path) -> list[int]:
    return [int(path.name) for path in folder.iterdir() if path.name.isdecimal()]


def _label(trial: _Trial, entry: Entry, client: Client) -> None:
    """With the versions loaded, the labels have to be taken, too."""
    if not entry.labels:
        return
    try:
        client.reload(_config(entry))
    except RepositoryInvalid as error:
        fix = f"mlconvert labels {trial.repository} {entry.name} LABEL=VERSION, of versions that load"
        trial.find(
            "error", "labels-refused", entry.name, f"the server refuses the labels: {error.message}", fix, file=CONFIG
        )


def _copy(trial: _Trial, name: str) -> bool:
    """Copy a model beside the server, links followed; False where it cannot be copied, which is told then."""
    source, target = trial.repository / name, trial.root / name
    try:
        shutil.copytree(source, target, ignore_dangling_symlinks=True)
    except (OSError, shutil.Error) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutOfResources(
                f"no space is left for a copy of '{name}'", where=str(target), hint="set TMPDIR to a larger disk"
            ) from error
        trial.find(
            "unchecked", "not-copied", name, f"the model could not be copied: {error}", f"look at {source}", file=name
        )
        return False
    return True


def _ask(trial: _Trial, name: str, version: int, running: Server, clients: tuple[Client, Client]) -> None:
    """Hold what one version answers against its record, over both protocols."""
    entry: dict[str, Any] = {
        "name": name,
        "version": version,
        "backend": BACKEND,
        "stand_in": f"the double of tensorflow_model_server (TensorFlow {_tensorflow()})"
        if trial.program.is_double
        else None,
        "http": None,
        "grpc": None,
    }
    trial.entries.append(entry)
    place = record_path(trial.repository / name / str(version))
    record = records.read(place) if place else None
    if record is None or place is None:
        what = f"version {version} is served, and has no record to compare its answers with"
        fix = (
            f"mlconvert publish MODEL {trial.repository} --to tf-serving --name {name}, of a model that mlconvert made"
        )
        trial.find("unchecked", "no-record", name, what, fix, file=f"{name}/{version}")
        return
    file = f"{name}/{place.relative_to(trial.repository / name).as_posix()}"
    try:
        rows_of(record)
    except NotVerified as error:
        fix = error.hint or "convert the model again, with verification"
        trial.find("unchecked", "no-rows", name, f"version {version}: {error.message}", fix, file=file)
        return
    fix = f"mlconvert verify {trial.repository / name / str(version)} shows whether the files answer by themselves"
    for client in clients:
        what = f"version {version} over {'REST' if client.protocol == 'http' else 'gRPC'}"
        try:
            parity = parity_over_tf_serving(client, name, version, record)
        except NotVerified as error:
            if client.protocol == "grpc":
                trial.find("unchecked", "not-compared", name, f"{what}: {error.message}", fix, file=file)
            continue  # what REST cannot carry is a finding of lint's own
        except MlconvertError as error:
            if _has_died(running):
                return
            trial.find("error", "no-answer", name, f"{what}: {error.message}", fix, file=file)
            continue
        entry[client.protocol] = parity.as_json()
        if not parity.ok:
            trial.find("error", "wrong-answer", name, f"{what}: {why_failed(parity.as_json())}", fix, file=file)


def _tensorflow() -> str:
    return packages.version(packages.TENSORFLOW) or "?"


# --- what the server says ---


def _has_died(running: Server) -> bool:
    with contextlib.suppress(Exception):
        running.process.wait(0.05)
    return running.process.poll() is not None


def _find_death(trial: _Trial, name: str, running: Server) -> None:
    told = running.log_text().strip().splitlines()[-1:] or ["its log says nothing"]
    what = f"the server ended (exit status {running.process.returncode}) while it loaded or asked this model: {told[0]}"
    fix = "take the model out of the repository: one like it takes every other model down"
    trial.find("error", "server-died", name, what, fix, file=name)


def _find_refusal(trial: _Trial, name: str, version: int | None, reason: str) -> None:
    what = f"the server does not load version {version}" if version is not None else "the server refuses it"
    fix = "publish the model again: publish checks that its files are whole"
    file = name if version is None else f"{name}/{version}"
    trial.find("error", "load-failed", name, f"{what}: {reason}", fix, file=file)
