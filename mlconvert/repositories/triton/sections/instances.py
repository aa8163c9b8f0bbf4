"""instance_group: how many copies of the model run at once, where, and what they have to share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from mlconvert.errors import UsageError
from mlconvert.repositories.triton.config import not_negative, positive
from mlconvert.repositories.triton.description import Draft


def instances(
    draft: Draft,
    *,
    instances: Annotated[int, "copies of the model that run at once (onnxruntime uses all cores with one)"] = 1,
    instance_kind: Annotated[
        Literal["auto", "cpu", "gpu", "model"] | None,
        "where: auto: on a GPU where the server has one; model: where the model itself says (default: the first of "
        "these that the backend can)",
    ] = None,
    gpus: Annotated[tuple[int, ...], "numbers of the GPUs to use, that many copies on each (default: all)"] = (),
    cpu_instances: Annotated[int, "further copies that run on the CPU beside those on GPUs"] = 0,
    host_policy: Annotated[str, "name of the server's host policy (NUMA node, cores) that the copies run under"] = "",
    rate_limiter_resources: Annotated[
        dict[str, int], "resources that a copy holds while it runs, if the server limits rates: memory=4;bus=1"
    ] = {},  # noqa: B006
    rate_limiter_global: Annotated[
        tuple[str, ...], "those of the resources that all devices share (default: each has its own)"
    ] = (),
    rate_limiter_priority: Annotated[int, "a model of priority 2 runs half as often as one of 1; 0: 1"] = 0,
) -> None:
    """Always written: without it the server would start two copies on a CPU."""
    kinds = draft.abilities.kinds
    kind = instance_kind or kinds[0]
    backend = draft.abilities.backend
    if kind not in kinds:
        raise UsageError(
            f"instance_kind={kind}: the server's {backend} backend runs on {', '.join(kinds)} only",
            hint=f"use --set instance_kind={kinds[0]}",
        )
    group = draft.config.instance_group.add()
    group.count = positive("instances", instances)
    group.kind = _number(group, kind)
    listed = ",".join(map(str, gpus))
    if gpus and min(gpus) < 0:
        raise UsageError(f"gpus={listed}: GPUs are numbered from 0")
    if gpus and kind not in ("auto", "gpu"):
        raise UsageError(f"gpus={listed} contradicts instance_kind={kind}", hint="use --set instance_kind=gpu")
    group.gpus.extend(sorted(set(gpus)))
    if kind == "auto":
        what = "An instance_group without a kind runs on a GPU where the server has one, else on the CPU."
        draft.comments.append(what)
    if not_negative("cpu_instances", cpu_instances):
        if kind != "gpu" or "cpu" not in kinds:
            raise UsageError(
                f"cpu_instances={cpu_instances} is for copies beside those on GPUs, and instance_kind is {kind}",
                hint="use --set instance_kind=gpu, or --set instances=N alone",
            )
        beside = draft.config.instance_group.add()
        beside.count = cpu_instances
        beside.kind = _number(beside, "cpu")
    for each in draft.config.instance_group:
        each.host_policy = host_policy
        _fill_rate_limiter(each, rate_limiter_resources, rate_limiter_global, rate_limiter_priority)


def _number(group: Any, kind: str) -> int:
    return int(type(group).Kind.Value(f"KIND_{kind.upper()}"))


def _fill_rate_limiter(group: Any, resources: dict[str, int], shared: tuple[str, ...], priority: int) -> None:
    unknown = sorted(set(shared) - resources.keys())
    if unknown:
        raise UsageError(
            f"rate_limiter_global: '{unknown[0]}' is none of the resources",
            hint=f"add --set rate_limiter_resources={unknown[0]}=COUNT",
        )
    for name, count in sorted(resources.items()):
        resource = group.rate_limiter.resources.add()
        resource.name = name
        resource.count = positive(f"rate_limiter_resources {name}", count)
        setattr(resource, "global", name in shared)  # a word of Python
    if not_negative("rate_limiter_priority", priority):
        group.rate_limiter.priority = priority


def optimization_profiles(
    draft: Draft,
    *,
    profiles: Annotated[tuple[int, ...], "optimisation profiles of the engine that are used (default: the first)"] = (),
) -> None:
    """Of TensorRT engines alone; comes after `instances`."""
    for number in profiles:
        not_negative("profiles", number)
    for group in draft.config.instance_group:
        if group.kind != _number(group, "cpu"):
            group.profile.extend(str(number) for number in dict.fromkeys(profiles))
