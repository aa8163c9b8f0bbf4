"""Instances, batching of requests, and sequences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlconvert.repositories.findings import Finding
from mlconvert.repositories.triton.lint.model import ModelFolder, type_name

_FLAGS = ("CONTROL_SEQUENCE_START", "CONTROL_SEQUENCE_END", "CONTROL_SEQUENCE_READY")
_VALUES = ("int32_false_true", "fp32_false_true", "bool_false_true")
_IDENTIFIERS = ("TYPE_UINT64", "TYPE_INT64", "TYPE_UINT32", "TYPE_INT32", "TYPE_STRING")


def instances(model: ModelFolder) -> Iterator[Finding]:
    if model.is_ensemble:
        return  # an ensemble has none: see `ensembles`
    for number, group in enumerate(model.config.instance_group):
        field = f"instance_group {number}" + (f" '{group.name}'" if group.name else "")
        kind = type_name(group, "kind")
        if group.count < 0:
            what = f"count is {group.count}: the server takes the default instead"
            yield model.warning("instance-count", f"{field} count", what, "write count: 1")
        if kind in ("KIND_CPU", "KIND_MODEL") and group.gpus:
            what = f"{kind} has no GPUs, and {list(group.gpus)} are listed"
            yield model.error("instance-gpus", f"{field} gpus", what, "remove gpus, or write kind: KIND_GPU")
        elif kind == "KIND_GPU" or group.gpus:
            which = f"the GPUs {list(group.gpus)}" if group.gpus else "a GPU"
            what = f"this loads only where the server has {which}"
            yield model.warning(
                "instance-needs-gpu", f"{field} kind", what, "leave kind out to use a GPU where there is one"
            )
        if group.profile and model.backend_name != "tensorrt":
            what = "optimization profiles are TensorRT's"
            yield model.error("instance-profile", f"{field} profile", what, "remove profile")


def dynamic_batching(model: ModelFolder) -> Iterator[Finding]:
    config = model.config
    if not config.HasField("dynamic_batching"):
        return
    batching = config.dynamic_batching
    rows, field = config.max_batch_size, "dynamic_batching"
    if rows <= 1:
        what = f"there is nothing to batch with max_batch_size {rows}"
        yield model.warning("dynamic-batching-idle", field, what, "remove dynamic_batching, or raise max_batch_size")
    yield from _preferred(model, f"{field} preferred_batch_size", batching.preferred_batch_size)
    levels = batching.priority_levels
    if levels:
        if not 1 <= batching.default_priority_level <= levels:
            what = f"the default priority is {batching.default_priority_level}, and the levels are 1 to {levels}"
            fix = f"write default_priority_level: {(levels + 1) // 2}"
            yield model.error("priority-level", f"{field} default_priority_level", what, fix)
        for level in sorted(batching.priority_queue_policy):
            if not 1 <= level <= levels:
                what = f"there is a policy for level {level}, and the levels are 1 to {levels}"
                fix = f"remove the policy of {level}, or raise priority_levels"
                yield model.error("priority-level", f"{field} priority_queue_policy", what, fix)
    elif batching.priority_queue_policy:
        what = "there are policies for priorities, and no priority_levels"
        fix = f"write priority_levels: {max(batching.priority_queue_policy)}"
        yield model.warning("priority-level", f"{field} priority_queue_policy", what, fix)
    yield from _ordering(model, batching)


def _preferred(model: ModelFolder, field: str, sizes: Any) -> Iterator[Finding]:
    rows = model.config.max_batch_size
    for size in sizes:
        if not 1 <= size <= rows:
            what = f"a preferred batch of {size} rows, where 1 to max_batch_size ({rows}) is possible"
            yield model.error("preferred-batch-size", field, what, f"remove {size}, or raise max_batch_size")


def _ordering(model: ModelFolder, batching: Any) -> Iterator[Finding]:
    if not batching.preserve_ordering:
        return
    field = "dynamic_batching preserve_ordering"
    if batching.priority_levels > 1:
        what = "answers cannot keep the order of requests that have priorities"
        yield model.error("preserve-ordering", field, what, "remove preserve_ordering or priority_levels")
    policies = [batching.default_queue_policy, *batching.priority_queue_policy.values()]
    if any(row.default_timeout_microseconds and type_name(row, "timeout_action") == "DELAY" for row in policies):
        what = "answers cannot keep the order of requests that are delayed"
        yield model.error("preserve-ordering", field, what, "write timeout_action: REJECT, or remove preserve_ordering")


def sequence_batching(model: ModelFolder) -> Iterator[Finding]:
    if not model.config.HasField("sequence_batching"):
        return
    batcher = model.config.sequence_batching
    field = "sequence_batching"
    yield from _controls(model, batcher)
    if batcher.HasField("oldest"):
        yield from _preferred(model, f"{field} oldest preferred_batch_size", batcher.oldest.preferred_batch_size)
    if batcher.HasField("direct") and not 0 <= batcher.direct.minimum_slot_utilization <= 1:
        what = f"minimum_slot_utilization is {batcher.direct.minimum_slot_utilization:g}: it is a share, 0 to 1"
        yield model.error("sequence-slots", f"{field} direct", what, "write a number from 0 to 1")


def _controls(model: ModelFolder, batcher: Any) -> Iterator[Finding]:
    field, seen = "sequence_batching control_input", set()
    for row in batcher.control_input:
        where = f"{field} '{row.name}'"
        for control in row.control:
            kind = type_name(control, "kind")
            given = [values for values in _VALUES if getattr(control, values)]
            problem = None
            if not row.name:
                problem = "a control has no name"
            elif kind in seen:
                problem = f"{kind} is given twice"
            elif kind in _FLAGS and len(given) != 1:
                problem = f"{kind} needs one of {', '.join(_VALUES)}"
            elif kind in _FLAGS and len(getattr(control, given[0])) != 2:
                problem = f"{given[0]} needs two values, for false and for true"
            elif kind == "CONTROL_SEQUENCE_CORRID" and type_name(control) not in _IDENTIFIERS:
                problem = f"an identifier cannot be {type_name(control)}: it is one of {', '.join(_IDENTIFIERS)}"
            seen.add(kind)
            if problem:
                yield model.error("sequence-control", where, problem, f"correct {where}, or remove it")


RULES = (instances, dynamic_batching, sequence_batching)
