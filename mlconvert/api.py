"""The Python API: `bench`, `convert`, `verify` and `run`, with the words of the command line.

Each returns the report (a dict, schema `mlconvert.report/1`; of `bench`, `mlconvert.bench/1`) and raises the error that
the command would end with; a run that failed after it had begun carries its report as `error.report`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlconvert.errors import BY_NAME, MlconvertError

if TYPE_CHECKING:
    from mlconvert.execution.cached_jobs import Observer
    from mlconvert.recipe import Recipe


def bench(
    source: str | Path,
    *artifacts: str | Path,
    samples: str | Path | None = None,
    threads: int = 1,
    batch: int = 10_000,
    starts: int = 3,
    rounds: int = 5,
    rtol: float | None = None,
    atol: float | None = None,
    weights: str | Path | None = None,
    trust: bool = False,
) -> dict[str, Any]:
    """Measure a source and its artifacts side by side: latency, throughput, cold start, memory and size."""
    from mlconvert.execution.cached_jobs import unwatched
    from mlconvert.operations.bench import bench as measure
    from mlconvert.operations.bench_report import Asked

    asked = Asked(
        str(source),
        tuple(map(str, artifacts)),
        samples=Path(samples) if samples is not None else None,
        threads=threads,
        batch=batch,
        starts=starts,
        rounds=rounds,
        rtol=rtol,
        atol=atol,
        weights=Path(weights) if weights is not None else None,
        trust=trust,
    )
    return measure(asked, unwatched)


def convert(
    source: str | Path,
    *,
    to: str,
    output: str | Path | None = None,
    source_format: str | None = None,
    via: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    samples: str | Path | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    verify: bool = True,
    weights: str | Path | None = None,
    trust: bool = False,
) -> dict[str, Any]:
    """Convert a model and prove that the result answers as the source does; the report.

    `options` maps `step.option` (or `option`) to a value, as `--set` does. Without `samples`, 256 rows are generated
    from the source's signature. Raises mlconvert.errors.*: ParityFailed when the answers differ.
    """
    from mlconvert.converter import parse_settings
    from mlconvert.execution.execute import execute
    from mlconvert.execution.planned import plan_run

    settings = [(*parse_settings([f"{name}="])[0][:2], value) for name, value in (options or {}).items()]
    recipe, out = convert_recipe(
        str(source),
        to=to,
        output=Path(output) if output is not None else None,
        source_format=source_format,
        via=via,
        settings=settings,
        samples=Path(samples) if samples is not None else None,
        rtol=rtol,
        atol=atol,
        verify=verify,
        weights=Path(weights) if weights is not None else None,
        trust=trust,
    )
    return _raised(execute(plan_run(recipe, out, single=True)))


def run(
    recipe: str | Path,
    *,
    targets: Sequence[str] = (),
    out: str | Path | None = None,
    jobs: int | None = None,
    on: str | None = None,
    store: str | None = None,
) -> dict[str, Any]:
    """Run a recipe; the report. Raises the error of the first target that failed, with the report as its `report`.

    `on` names a Ray cluster that does the steps (`ray`, `ray://HOST:10001`), `store` where files are exchanged with it.
    """
    from mlconvert.execution.execute import execute
    from mlconvert.execution.planned import plan_run
    from mlconvert.fleet.choice import check_places, workers_on
    from mlconvert.recipe import load_recipe

    place = Path(out) if out is not None else None
    check_places(on, store)
    planned = plan_run(load_recipe(Path(recipe)), place, names=tuple(targets), elsewhere=on is not None)
    with workers_on(planned, on, store, jobs) as workers:
        return _raised(execute(planned, jobs=jobs or 1, workers=workers))


def verify(
    reference: str | Path,
    candidate: str | Path | None = None,
    *,
    samples: str | Path | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    weights: str | Path | None = None,
    trust: bool = False,
) -> dict[str, Any]:
    """Compare a candidate with a reference, or (without a candidate) an artifact with the rows of its own record."""
    report = verify_report(
        str(reference),
        str(candidate) if candidate is not None else None,
        samples=Path(samples) if samples is not None else None,
        rtol=rtol,
        atol=atol,
        weights=Path(weights) if weights is not None else None,
        trust=trust,
    )
    return _raised(report)


def convert_recipe(
    source: str,
    *,
    to: str,
    output: Path | None,
    source_format: str | None,
    via: Iterable[str],
    settings: Sequence[tuple[str | None, str, Any]],
    samples: Path | None,
    rtol: float | None,
    atol: float | None,
    verify: bool,
    weights: Path | None,
    trust: bool,
) -> tuple[Recipe, Path]:
    """A `convert` call as the recipe of one target, and its output: by default the source's stem, here."""
    from mlconvert.recipe import ModelSpec, ParitySpec, Recipe, SamplesSpec, StepSpec, TargetSpec

    stem = source.rpartition(":")[2] if ":" in source and not Path(source).exists() else Path(source).stem
    waypoints = [*via, to]
    if len(waypoints) > 1 and waypoints[-1] == waypoints[-2]:
        waypoints.pop()
    target = TargetSpec(
        name=to,
        steps=tuple(StepSpec(name, {}) for name in waypoints),
        parity=ParitySpec(verify=verify, rtol=rtol, atol=atol),
        settings=tuple(settings),
    )
    recipe = Recipe(
        name=stem,
        model=ModelSpec(source, source_format, weights, trust),
        samples=SamplesSpec(file=samples),
        targets=(target,),
        folder=Path.cwd(),
    )
    return recipe, output if output is not None else Path(stem)


def verify_report(
    reference: str,
    candidate: str | None,
    *,
    samples: Path | None,
    rtol: float | None,
    atol: float | None,
    weights: Path | None,
    trust: bool,
    observer: Observer | None = None,
) -> dict[str, Any]:
    """The report of `mlconvert verify`: one target with one step, whose parity is what was asked for."""
    from mlconvert.execution.cached_jobs import unwatched
    from mlconvert.operations.prove import prove_against, prove_by_rows

    started, observer = time.monotonic(), observer or unwatched
    if candidate is None:
        return prove_by_rows(reference, rtol=rtol, atol=atol, trust=trust, observer=observer, started=started)
    return prove_against(
        reference,
        candidate,
        samples=samples,
        rtol=rtol,
        atol=atol,
        weights=weights,
        trust=trust,
        observer=observer,
        started=started,
    )


def _raised(report: dict[str, Any]) -> dict[str, Any]:
    if report["ok"]:
        return report
    told = next(entry["error"] for entry in report["targets"] if not entry["ok"])
    error: MlconvertError = BY_NAME[told["error"]](told["message"], where=told["where"], hint=told["hint"])
    error.report = report
    raise error
