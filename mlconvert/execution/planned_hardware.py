"""The hardware that a target names, checked before anything runs."""

from __future__ import annotations

from mlconvert.errors import HardwareMismatch, UsageError
from mlconvert.hardware.fingerprint import take
from mlconvert.hardware.products import is_of_type
from mlconvert.plan import Plan
from mlconvert.recipe import TargetSpec


def first_bound(plan: Plan) -> int | None:
    """The index of the first step whose result is bound to hardware: it and all behind it belong on that hardware."""
    return next((index for index, step in enumerate(plan.steps) if step.converter.hardware_bound), None)


def check_bound(spec: TargetSpec, plan: Plan) -> None:
    """Raise UsageError for a target that names hardware while nothing in it depends on that."""
    if spec.hardware is not None and first_bound(plan) is None:
        told = " -> ".join((plan.source_format, *(step.name for step in plan.steps)))
        raise UsageError(
            f"target '{spec.name}' names hardware ({spec.hardware}), and none of its steps depends on hardware: {told}",
            hint="remove the key 'hardware'",
        )


def require_here(spec: TargetSpec, recipe: str) -> None:
    """Raise HardwareMismatch unless a GPU of the type that the target names is in this machine."""
    if spec.hardware is None:
        return
    machine = take()
    names = [gpu.name or "a GPU whose name cannot be read" for gpu in machine.gpus]
    if not any(is_of_type(name, spec.hardware) for name in names):
        found = ", ".join(names) if names else f"no GPU ({machine.missing.get('gpus', 'none was found')})"
        raise HardwareMismatch(
            f"target '{spec.name}' is to be made on {_article(spec.hardware)} {spec.hardware}, and here is {found}",
            hint=f"mlconvert run {recipe} --on ray://HOST:10001, or take it there by hand: "
            f"mlconvert bundle {recipe} -o job.tar",
        )


def _article(kind: str) -> str:
    """As it is spoken: an H100, an A100, an L4; a B200, a T4."""
    return "an" if kind[0].upper() in "AEFHILMNORSX" else "a"
