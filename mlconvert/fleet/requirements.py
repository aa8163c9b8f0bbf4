"""What a run on a cluster needs before anything is sent: packages here, and machines with the hardware there."""

from __future__ import annotations

from collections.abc import Sequence

from mlconvert.errors import HardwareMismatch
from mlconvert.execution.planned import PlannedRun
from mlconvert.execution.planned_hardware import first_bound
from mlconvert.execution.planned_targets import runners_of
from mlconvert.fleet.cluster import Machine


def require_packages(planned: PlannedRun) -> None:
    """Raise MissingPackage unless the packages are here of all steps that go to any machine.

    Their results are known by the versions here, which every machine has to have too. What is made on the hardware
    that a target names is known by the fingerprint of the machine, which has its packages in it.
    """
    for target in planned.targets:
        plan = target.plan
        steps = plan.steps[: first_bound(plan)] if target.spec.hardware else plan.steps
        for step in steps:
            step.converter.require()
        for runner in runners_of(target.spec, plan, steps):
            runner.require()


def type_of(kind: str, machines: Sequence[Machine]) -> str:
    """An accelerator type as the cluster writes it. Raises HardwareMismatch where no machine has it."""
    there = sorted({name for machine in machines for name in machine.types})
    found = next((name for name in there if name.upper() == kind.upper()), None)
    if found is None:
        told = f"its machines have {', '.join(there)}" if there else "none of its machines has a GPU that Ray knows"
        raise HardwareMismatch(
            f"the cluster has no machine with an accelerator of the type {kind}: {told}",
            hint="start one; in a cluster that grows by itself, let one of that type stay up (min_workers: 1)",
        )
    return found
