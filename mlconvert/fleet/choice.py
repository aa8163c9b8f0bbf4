"""Who does the steps of a run: this machine, or a cluster. What a cluster takes is imported only where one is named."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mlconvert.errors import UsageError

if TYPE_CHECKING:
    from mlconvert.execution.jobs import Workers
    from mlconvert.execution.planned import PlannedRun


def check_places(on: str | None, store: str | None) -> None:
    """Raise UsageError for what is wrong with the address of a cluster or a store, before anything is looked at."""
    if on is not None:
        from mlconvert.fleet.addresses import cluster_address, store_place

        cluster_address(on)
        store_place(store)
    elif store is not None:
        what = "--store is where the machines of a cluster exchange files, and no cluster is named"
        raise UsageError(what, hint="--on ray://HOST:10001, or leave --store out")


@contextlib.contextmanager
def workers_on(planned: PlannedRun, on: str | None, store: str | None, jobs: int | None) -> Iterator[Workers | None]:
    """The cluster that does the steps of the run; None: this machine does."""
    if on is None:
        yield None
        return
    from mlconvert.fleet.workers import fleet

    with fleet(planned, on, store, jobs) as workers:
        yield workers
