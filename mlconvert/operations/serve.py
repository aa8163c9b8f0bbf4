"""`mlconvert lint --serve`: a repository held against the real server, on a copy, model by model.

Each model is loaded by name with auto-complete off. What loads is asked the rows of its record over HTTP and over
gRPC, and its answers are compared with the source's. What this server cannot load because it lacks something that
another has (a backend, a GPU) is `unchecked`, never an error of the repository's and never silence.
"""

from __future__ import annotations

import contextlib
import errno
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlconvert import packages, records
from mlconvert.errors import MlconvertError, NotVerified, OutOfResources, RepositoryInvalid, UsageError, suggest
from mlconvert.execution.verification import why_failed
from mlconvert.onnx_model.releases import runtime_limits, tree_operators, triton_runtime
from mlconvert.operations.wire import parity_over_wire
from mlconvert.repositories.findings import Finding, Level
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton.backends import BACKENDS
from mlconvert.repositories.versions import record_path
from mlconvert.serving.client import connect_both
from mlconvert.serving.home import ServerHome, find_server
from mlconvert.serving.loading import load_model
from mlconvert.serving.protocol import Client
from mlconvert.serving.server import Server, error_lines, started

LOAD_SECONDS = 300.0
SERVED_ELSEWHERE = ("dali", "fil", "identity", "tensorflow", "tensorrtllm", "vllm", *(row.name for row in BACKENDS))
"""Backends that exist: a model of one is not wrong because this server lacks it."""

# The server's reason -> code and fix, of what another server may be able to do.
_LACKING: tuple[tuple[str, str, str], ...] = (
    (
        r"stand-in for (\w+) cannot do this: ",
        "not-stood-in",
        "use a server with the real backend: mlconvert lint REPOSITORY --serve --server FOLDER",
    ),
    (
        r"kind KIND_GPU but no GPUs are available|unsupported gpu id|no GPUs",
        "no-gpu",
        "run this on a machine with the GPU, or publish it with --set instance_kind=auto",
    ),
    (
        r"(?i)requires numpy >?=? ?2|numpy 2\.\d or newer|compiled using NumPy 2|No module named 'numpy\._core",
        "old-numpy",
        "use a later release, whose Python takes numpy 2: mlconvert lint REPOSITORY --serve --server FOLDER",
    ),
    (
        r"unable to find 'libtritonrepoagent_",
        "no-agent",
        "use a server that has the agent: mlconvert lint REPOSITORY --serve --server FOLDER",
    ),
)


@dataclass
class _Trial:
    """A repository under test: what was found, and what each version that loaded answered."""

    repository: Path
    home: ServerHome
    root: Path  # the server's copy
    members: Mapping[str, tuple[str, ...]]  # of each ensemble
    findings: list[Finding] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)

    def find(self, level: Level, code: str, model: str, message: str, fix: str, *, file: str = cfg.CONFIG) -> None:
        self.findings.append(Finding(level, code, model, f"{model}/{file}", None, message, fix))


def serve_findings(
    repository: Path, *, server: Path | None = None, names: Sequence[str] = (), release: str | None = None
) -> tuple[tuple[Finding, ...], tuple[dict[str, Any], ...]]:
    """What the real server says of a repository (of the models `names`, or of all), and what its models answered.

    An entry is `{name, version, backend, stand_in, http, grpc}`, one for each version that was served: `stand_in` says
    what stood in for the backend, `http` and `grpc` are parities as in reports, None where there was nothing to
    compare. `server` is the folder of a tritonserver (default: see `find_server`). With `release`, the stand-in for
    onnxruntime loads what the ONNX Runtime of that Triton release loads; without, what the installed one does.

    Raises MissingPackage where there is no server, UsageError for a name that is no model or an unknown release,
    OutOfResources when the disk has no room for a copy, RepositoryInvalid when the server does not start.
    """
    packages.require((packages.TRITONCLIENT,), "lint --serve")
    limits = {"onnxruntime": _limits(release)} if release is not None else None
    home = find_server(server)
    models = _models(repository, names)
    with tempfile.TemporaryDirectory(prefix="mlconvert-serve-") as scratch:
        root = Path(scratch) / "repository"
        root.mkdir()
        members = {name: found for name in models if (found := _members(repository / name))}
        trial = _Trial(repository, home, root, members)
        waiting = sorted(models, key=lambda name: name in members)
        while waiting:  # once, and once more for each model that took the server down with it
            with started(home, root, limits=limits) as running, _clients(running) as clients:
                while waiting and running.process.poll() is None:
                    _try(
                        trial,
                        waiting.pop(0),
                        running,
                        clients,
                        keep={one for n in waiting for one in members.get(n, ())},
                    )
    return tuple(trial.findings), tuple(trial.entries)


@contextlib.contextmanager
def _clients(server: Server) -> Iterator[tuple[Client, Client]]:
    http, grpc = connect_both(server.http, server.grpc, seconds=LOAD_SECONDS)
    with contextlib.closing(http), contextlib.closing(grpc):
        yield http, grpc


def _limits(release: str) -> dict[str, Any]:
    runtime = triton_runtime(release)
    limits = runtime_limits(runtime)
    trees = tree_operators(runtime).version
    return {"runtime": runtime, "opset": limits.opset, "ml_opset": limits.ml_opset, "ir": limits.ir, "trees": trees}


def _models(repository: Path, names: Sequence[str]) -> list[str]:
    """The folders of a repository that a server would take for models."""
    try:
        found = sorted(path.name for path in repository.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise RepositoryInvalid(f"the repository cannot be read: {error.strerror}", where=str(repository)) from error
    for name in names:
        if name not in found:
            known = ", ".join(found) or "none"
            raise UsageError(f"no model '{name}' in {repository}.{suggest(name, found)}", hint=f"models there: {known}")
    return [name for name in found if not names or name in names]


def _config(folder: Path) -> Any:
    """The configuration of a model, or None: the server says best why it cannot be read."""
    with contextlib.suppress(MlconvertError, OSError):
        return cfg.read(folder / cfg.CONFIG)
    return None


def _members(folder: Path) -> tuple[str, ...]:
    config = _config(folder)
    return tuple(dict.fromkeys(step.model_name for step in config.ensemble_scheduling.step)) if config else ()


# --- one model ---


def _try(trial: _Trial, name: str, server: Server, clients: tuple[Client, Client], *, keep: set[str]) -> None:
    http, _ = clients
    needed = [one for one in (*trial.members.get(name, ()), name) if (trial.repository / one).is_dir()]
    if not all((trial.root / one).exists() or _copy(trial, one) for one in needed):
        return
    try:
        load_model(server, http, name)
    except RepositoryInvalid as error:
        if _has_died(server):
            _find_death(trial, name, server)
        else:
            _find_refusal(trial, name, error.message.replace(str(trial.root), str(trial.repository)))
    else:
        for row in http.index():
            if row.name == name and row.state == "READY":
                _ask(trial, name, int(row.version), server, clients)
    with contextlib.suppress(RepositoryInvalid):  # a server that died is noticed by whoever asks next
        http.unload(name)
    for one in needed:
        if one not in keep:
            shutil.rmtree(trial.root / one, ignore_errors=True)


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
        trial.find("unchecked", "not-copied", name, f"the model could not be copied: {error}", f"look at {source}")
        return False
    config = _config(target)
    agents = [agent.name for agent in config.model_repository_agents.agents] if config else []
    if agents == ["checksum"] and not list(trial.home.folder.glob("**/libtritonrepoagent_checksum.so")):
        # This server lacks the agent. Lint compares checksums itself, so that nothing goes unchecked.
        config.ClearField("model_repository_agents")
        (target / cfg.CONFIG).write_text(cfg.as_text(config), "utf-8")
    return True


def _ask(trial: _Trial, name: str, version: int, server: Server, clients: tuple[Client, Client]) -> None:
    """Hold what one version answers against its record, over both protocols."""
    config = _config(trial.root / name)
    backend = (config.backend or config.platform.partition("_")[0]) if config else ""
    entry: dict[str, Any] = {
        "name": name,
        "version": version,
        "backend": backend,
        "stand_in": _stand_in(backend) if backend in server.standins else None,
        "http": None,
        "grpc": None,
    }
    trial.entries.append(entry)
    place = record_path(trial.repository / name / str(version))
    record = records.read(place) if place else None
    if record is None:
        trial.find(
            "unchecked",
            "no-record",
            name,
            f"version {version} is served, and has no record to compare its answers with",
            f"mlconvert publish MODEL {trial.repository} --to triton --name {name}, of a model that mlconvert made",
            file=str(version),
        )
        return
    assert place is not None
    file = place.relative_to(trial.repository / name).as_posix()
    for client in clients:
        what = f"version {version} over {'HTTP' if client.protocol == 'http' else 'gRPC'}"
        try:
            parity = parity_over_wire(client, name, version, record)
        except NotVerified as error:
            fix = error.hint or "convert the model again, with verification"
            trial.find("unchecked", "no-rows", name, f"version {version}: {error.message}", fix, file=file)
            return
        except MlconvertError as error:
            if _has_died(server):
                _find_death(trial, name, server)
                return
            fix = f"mlconvert verify {trial.repository / name} shows whether the file answers its rows by itself"
            trial.find("error", "no-answer", name, f"{what}: {error.message}", fix, file=file)
            continue
        entry[client.protocol] = parity.as_json()
        if not parity.ok:
            fix = f"mlconvert verify {trial.repository / name} shows whether the file answers its rows by itself"
            trial.find("error", "wrong-answer", name, f"{what}: {why_failed(parity.as_json())}", fix, file=file)


def _stand_in(backend: str) -> str:
    package = next((package for package in packages.ALL if package.module == backend), None)
    number = packages.version(package) if package else None
    return f"{backend} {number}" if number else backend


# --- what the server says ---


def _has_died(server: Server) -> bool:
    with contextlib.suppress(Exception):
        server.process.wait(0.2)  # a connection breaks a moment before the process is gone
    return server.process.poll() is not None


def _find_death(trial: _Trial, name: str, server: Server) -> None:
    told = "; ".join(error_lines(server.log_text())[-2:]) or "its log says nothing"
    trial.find(
        "error",
        "server-died",
        name,
        f"the server ended (exit status {server.process.returncode}) while it loaded or asked this model: {told}",
        "take the model out of the repository: one like it takes every other model down",
    )


def _find_refusal(trial: _Trial, name: str, reason: str) -> None:
    missing = re.search(r"unable to find backend library for backend '([^']*)'", reason)
    if missing and missing[1] in SERVED_ELSEWHERE:
        trial.find(
            "unchecked",
            "no-backend",
            name,
            f"this server has no backend '{missing[1]}': {reason}",
            "use one that has it: mlconvert lint REPOSITORY --serve --server FOLDER",
        )
        return
    for pattern, code, fix in _LACKING:
        if re.search(pattern, reason):
            trial.find("unchecked", code, name, reason, fix)
            return
    fix = f"mend {name}/{cfg.CONFIG} by what the server says, or publish the model again: publish writes one that loads"
    trial.find("error", "load-failed", name, f"the server refuses it: {reason}", fix)
