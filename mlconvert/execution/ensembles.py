"""Running an ensemble: its models made like targets, its edges checked, the whole verified and placed.

split        the pipeline in two parts, where that is asked for
samples      of the ensemble's inputs; those of a model inside are what the sources before it give
models       each made and verified against its own source
edges        names, types, shapes and batch sizes along every edge; nothing has been placed until here
place        the models
whole        the chain of what was made against the chain of the sources (or the whole pipeline); placed
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlconvert.artifact import Artifact, file_sha256
from mlconvert.ensembles.chain import FILENAME, FORMAT, Chain, Model
from mlconvert.ensembles.graph import Graph, Step
from mlconvert.errors import BY_NAME, MlconvertError, ParityFailed
from mlconvert.execution.cached_jobs import CachedJobs
from mlconvert.execution.ensemble_edges import check_edges
from mlconvert.execution.ensemble_runner import signature_along
from mlconvert.execution.ensemble_sources import Started, digest_of, samples_of, sources_of, split_pipeline
from mlconvert.execution.planned import PlannedRun
from mlconvert.execution.planned_ensembles import PlannedEnsemble, PlannedMember
from mlconvert.execution.targets import (
    Finished,
    entry_of,
    make_target,
    place_target,
    put,
    record_of,
    step_entry,
    told,
)
from mlconvert.execution.verification import (
    Precise,
    Reference,
    tolerances_for,
    verify_artifact,
    why_failed,
)
from mlconvert.parity.tolerance import DEFAULTS, defaults_for
from mlconvert.recipe import PARTS
from mlconvert.registry import registry
from mlconvert.report.contents import environment, source_of

Entry = dict[str, Any]

BETWEEN = "prepared"  # the tensor between the parts of a split pipeline


def run_ensemble(
    run: CachedJobs, planned: PlannedRun, ensemble: PlannedEnsemble, pool: ThreadPoolExecutor
) -> tuple[list[Entry], Artifact, str]:
    """The entries of the models and, last, of the ensemble; the source of the whole with its digest.

    Failures are told in the entries.
    """
    chosen = [member for member in ensemble.members if member.chosen]
    entries = [entry_of(member.name, member.target.destination, member.target.plan.target_format) for member in chosen]
    whole = entry_of(ensemble.name, ensemble.destination, ensemble.format)
    everything = [*entries, whole] if ensemble.whole else entries
    source, digest, origins = sources_of(planned, ensemble)
    try:
        started = Started(run, planned, ensemble, origins, source, digest)
        if ensemble.graph is None:
            started = split_pipeline(started)
        futures = [pool.submit(_make, started, member, entry) for member, entry in zip(chosen, entries, strict=True)]
        results = [future.result() for future in futures]
        finished = {member.name: made for member, made in zip(chosen, results, strict=True) if made is not None}
        graph = None
        if ensemble.whole and len(finished) == len(chosen):
            graph = _graph(started, finished)
            check_edges(planned, ensemble, graph, {name: made.artifact for name, made in finished.items()})
        for member, entry in zip(chosen, entries, strict=True):
            if member.name in finished:
                _place(started, member, finished[member.name], entry)
    except MlconvertError as error:
        for entry in everything:
            if "error" not in entry:
                told(entry, error)
        return everything, source, digest
    if ensemble.whole:
        _tell(whole, lambda: _finish(started, graph, finished, entries, whole))
    return everything, source, digest


def _tell(entry: Entry, work: Callable[[], None]) -> bool:
    try:
        work()
    except MlconvertError as error:
        told(entry, error)
        return False
    entry |= {"ok": True, "exit_code": 0}
    return True


# --- the models ---


def _make(started: Started, member: PlannedMember, entry: Entry) -> Finished | None:
    """Make and verify one model; None where it failed, which its entry tells."""
    origin = started.origins[member.name]
    entry["steps"] += [dict(row) for row in origin.steps]
    try:
        return make_target(
            started.run, member.target, origin.source, origin.sha256, lambda: samples_of(started, member), entry
        )
    except MlconvertError as error:
        told(entry, error)
        return None


def _place(started: Started, member: PlannedMember, finished: Finished, entry: Entry) -> None:
    told_source = started.origins[member.name].told
    _tell(entry, lambda: place_target(started.run, member.target, finished, entry, told_source, alone=False))


# --- the whole ---


def _graph(started: Started, finished: Mapping[str, Finished]) -> Graph:
    """The graph with the tensors of the sources; of a split pipeline it is made of what its parts take and give."""
    if started.ensemble.graph is not None:
        return started.ensemble.graph
    sides: dict[str, tuple[list[str], list[str]]] = {}
    for part in PARTS:
        artifact = finished[part].artifact
        back = {new: old for old, new in artifact.renamed.items()}
        signature = artifact.signature
        assert signature is not None
        sides[part] = (
            [back.get(spec.name, spec.name) for spec in signature.inputs],
            [back.get(spec.name, spec.name) for spec in signature.outputs],
        )
    (inputs, _), (taken, outputs) = sides[PARTS[0]], sides[PARTS[1]]
    between = BETWEEN
    while between in (*inputs, *outputs):
        between += "_"
    steps = (
        Step(PARTS[0], {name: name for name in inputs}, {started.between: between}),
        Step(PARTS[1], dict.fromkeys(taken, between), {name: name for name in outputs}),
    )
    return Graph(tuple(inputs), tuple(outputs), steps)


def _finish(
    started: Started, graph: Graph | None, finished: Mapping[str, Finished], entries: list[Entry], entry: Entry
) -> None:
    """Verify the whole and place it, when every model of it holds."""
    failed = next((row for row in entries if not row["ok"]), None)
    if failed is not None:
        error = failed["error"]
        raise BY_NAME[error["error"]](f"its model '{failed['name']}' failed: {error['message']}")
    assert graph is not None
    chain = _made_chain(started, graph, finished, {row["name"]: row["sha256"] for row in entries})
    loosest = _loosest(finished)
    proof: dict[str, Any] = {}
    if started.ensemble.parity.verify:
        proof = _verify(started, chain, loosest, entry)
    else:
        entry["steps"].append(_unverified())
    _place_whole(started, chain, loosest, proof, entry)


def _made_chain(started: Started, graph: Graph, finished: Mapping[str, Finished], digests: Mapping[str, str]) -> Chain:
    """The chain of what was made, with the names that the tensors have there, where its files lie now."""
    models, steps = {}, []
    for member in started.ensemble.members:
        artifact, destination = finished[member.name].artifact, member.target.destination
        folder = destination.main.parent
        files = tuple(folder / path.relative_to(artifact.folder) for path in artifact.files)
        placed = replace(artifact, location=str(destination.main), files=files, facts={})
        publish = member.target.spec.publish
        models[member.name] = Model(placed, digests[member.name], publish.name if publish else member.name)
    for step in graph.steps:
        renamed = finished[step.model].artifact.renamed
        steps.append(
            Step(
                step.model,
                {renamed.get(name, name): tensor for name, tensor in step.inputs.items()},
                {renamed.get(name, name): tensor for name, tensor in step.outputs.items()},
            )
        )
    made = replace(graph, steps=tuple(steps))
    return Chain(made, models, signature_along(made, {name: row.artifact.signature for name, row in models.items()}))


def _verify(started: Started, chain: Chain, loosest: Precise, entry: Entry) -> dict[str, Any]:
    """Compare the chain with the source of the whole. Raises ParityFailed."""
    samples = started.samples()
    parity = started.ensemble.parity
    tolerances = tolerances_for(parity, loosest.precision, promised=loosest.promised)
    reference = Reference(started.source, started.sha256, samples)
    name, label = started.ensemble.name, f"verify {started.ensemble.name}"
    made = verify_artifact(started.run, name, label, chain.artifact(), digest_of(chain), reference, tolerances)
    proof = {**made.result, "tolerances": tolerances.as_json()}
    entry["steps"].append({**step_entry(FORMAT, {}, made), "parity": proof["parity"]})
    if not proof["parity"]["ok"]:
        raise ParityFailed(
            why_failed(proof["parity"]),
            where="the whole of the ensemble, though each of its models holds",
            hint="a model behind others sees their rounding: convert with a higher precision, or set ensemble.parity",
        )
    return proof


def _unverified() -> dict[str, Any]:
    return {
        "converter": FORMAT,
        "options": {},
        "seconds": 0.0,
        "peak_rss_bytes": 0,
        "cached": False,
        "parity": None,
    }


def _loosest(finished: Mapping[str, Finished]) -> Precise:
    """The lowest precision of the models, and the widest tolerance that any of them is held to."""
    order = list(DEFAULTS)
    precise = [made.precise for made in finished.values()]
    held = [row.promised or defaults_for(row.precision).as_json() for row in precise]
    widest = {key: max(row[key] for row in held) for key in ("rtol", "atol")}
    return Precise(max((row.precision for row in precise), key=order.index), widest)


def _place_whole(started: Started, chain: Chain, loosest: Precise, proof: Mapping[str, Any], entry: Entry) -> None:
    ensemble = started.ensemble
    staged = started.run.scratch / ensemble.name / FILENAME
    staged.parent.mkdir()
    staged.write_text(chain.text(ensemble.destination.main.parent), encoding="utf-8")
    artifact = Artifact(ensemble.format, str(staged), (staged,), chain.signature)
    source = source_of(started.source, started.sha256)
    digests = {FILENAME: file_sha256(staged)}
    record = record_of(artifact, digests, entry["steps"], source, loosest.precision, proof)
    formats = [member.target.plan.target_format for member in ensemble.members]
    record["environment"] = environment(registry().runner(name) for name in formats)

    def fill(folder: Path) -> None:
        staged.rename(folder / FILENAME)

    put(started.run, ensemble.name, ensemble.destination, record, entry, fill)
