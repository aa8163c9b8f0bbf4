"""dynamic_batching: how the server joins requests into batches, and how long and how many may wait for that."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.repositories.triton.config import not_negative
from mlconvert.repositories.triton.description import Draft

_HOW_TO_BATCH = "add --set dynamic_batching=yes and --set max_batch_size=N"


def dynamic_batching(
    draft: Draft,
    *,
    dynamic_batching: Annotated[
        bool | None, "let the server join requests into batches (default: where it batches)"
    ] = None,
    preferred_batch_sizes: Annotated[tuple[int, ...], "batch sizes that the server waits to fill"] = (),
    max_queue_delay_us: Annotated[int, "microseconds that a request may wait for others to join it"] = 0,
    preserve_ordering: Annotated[bool, "answer in the order in which the requests came"] = False,
    priority_levels: Annotated[int, "levels that requests may ask for, 1 being the most urgent; 0: none"] = 0,
    default_priority_level: Annotated[
        int, "the level of a request that asks for none; 0: the middle one of the levels"
    ] = 0,
    max_queue_size: Annotated[int, "requests that may wait; more are refused at once; 0: no limit"] = 0,
    queue_timeout_us: Annotated[int, "microseconds after which a request that still waits times out; 0: never"] = 0,
    queue_timeout_action: Annotated[
        Literal["reject", "delay"], "what becomes of one that times out: refused, or served after all others"
    ] = "reject",
    allow_timeout_override: Annotated[bool, "whether a request may ask for a shorter timeout of its own"] = False,
    priority_queue_sizes: Annotated[dict[str, int], "max_queue_size of single levels: 1=16;2=64"] = {},  # noqa: B006
    priority_timeouts_us: Annotated[dict[str, int], "queue_timeout_us of single levels: 1=2000;2=50000"] = {},  # noqa: B006
) -> None:
    """On by default where the model batches, and no sequences are kept together."""
    config = draft.config
    rows = config.max_batch_size
    queue = {
        "max_queue_size": max_queue_size,
        "queue_timeout_us": queue_timeout_us,
        "allow_timeout_override": allow_timeout_override,
        "queue_timeout_action": queue_timeout_action == "delay",
        "priority_queue_sizes": priority_queue_sizes,
        "priority_timeouts_us": priority_timeouts_us,
    }
    given = {
        "preferred_batch_sizes": preferred_batch_sizes,
        "max_queue_delay_us": max_queue_delay_us,
        "preserve_ordering": preserve_ordering,
        "priority_levels": priority_levels,
        "default_priority_level": default_priority_level,
        **queue,
    }
    if config.HasField("sequence_batching"):
        if dynamic_batching or any(given.values()):
            asked = "dynamic_batching" if dynamic_batching else next(name for name in given if given[name])
            raise UsageError(
                f"{asked} contradicts sequence_batching: a model has one or the other",
                hint="leave it out; a sequence's own queue is set with sequence_preferred_batch_sizes and "
                "sequence_queue_delay_us",
            )
        return
    wanted = rows > 1 if dynamic_batching is None else dynamic_batching
    if not wanted:
        if any(given.values()):
            asked = " and ".join(name for name in given if given[name])
            raise UsageError(f"{asked}: only with dynamic batching, which is off here", hint=_HOW_TO_BATCH)
        return
    if rows == 0:
        raise RepositoryInvalid("dynamic batching needs a model that batches", hint="add --set max_batch_size=N")
    check_sizes("preferred_batch_sizes", preferred_batch_sizes, rows)
    for name, value in given.items():
        if isinstance(value, int):
            not_negative(name, value)
    batching = config.dynamic_batching
    batching.SetInParent()
    batching.preferred_batch_size.extend(sorted(set(preferred_batch_sizes)))
    batching.max_queue_delay_microseconds = max_queue_delay_us
    batching.preserve_ordering = preserve_ordering
    _fill_priorities(batching, priority_levels, default_priority_level)
    _fill_queue_policies(batching, queue)


def check_sizes(option: str, sizes: tuple[int, ...], rows: int) -> None:
    """Raise UsageError unless all are batch sizes that the model takes."""
    if any(not 1 <= size <= rows for size in sizes):
        listed = ",".join(map(str, sizes))
        raise UsageError(
            f"{option}={listed}: expected 1 to max_batch_size ({rows})",
            hint=f"add --set max_batch_size={max(sizes)}" if min(sizes) > 0 else None,
        )


def _fill_priorities(batching: Any, levels: int, default: int) -> None:
    if levels == 0:
        if default:
            raise UsageError(
                f"default_priority_level={default} without levels", hint=f"add --set priority_levels={max(default, 2)}"
            )
        return
    chosen = default or (levels + 1) // 2
    if chosen > levels:
        raise UsageError(f"default_priority_level={default}: expected 1 to priority_levels ({levels})")
    if batching.preserve_ordering and levels > 1:
        raise UsageError(
            "preserve_ordering contradicts priority_levels: urgent requests overtake others",
            hint="leave one of them out",
        )
    batching.priority_levels = levels
    batching.default_priority_level = chosen


def _fill_queue_policies(batching: Any, queue: dict[str, Any]) -> None:
    delay = queue["queue_timeout_action"]
    timeouts, sizes = queue["priority_timeouts_us"], queue["priority_queue_sizes"]
    timed = queue["queue_timeout_us"] or any(timeouts.values()) or queue["allow_timeout_override"]
    if delay and not timed:
        raise UsageError(
            "queue_timeout_action=delay: nothing ever times out here", hint="add --set queue_timeout_us=MICROSECONDS"
        )
    if delay and batching.preserve_ordering:
        raise UsageError(
            "queue_timeout_action=delay contradicts preserve_ordering: what is delayed is answered out of order",
            hint="use --set queue_timeout_action=reject",
        )
    if any(queue.values()):
        _fill_policy(batching.default_queue_policy, queue, queue["queue_timeout_us"], queue["max_queue_size"])
    for level in sorted({*timeouts, *sizes}, key=lambda text: (len(text), text)):
        if not (level.isdecimal() and 1 <= int(level) <= batching.priority_levels):
            raise UsageError(
                f"priority level '{level}': expected 1 to priority_levels ({batching.priority_levels})",
                hint="add --set priority_levels=N",
            )
        timeout = not_negative("priority_timeouts_us", timeouts.get(level, queue["queue_timeout_us"]))
        size = not_negative("priority_queue_sizes", sizes.get(level, queue["max_queue_size"]))
        _fill_policy(batching.priority_queue_policy[int(level)], queue, timeout, size)


def _fill_policy(policy: Any, queue: dict[str, Any], timeout: int, size: int) -> None:
    policy.SetInParent()
    policy.timeout_action = policy.DELAY if queue["queue_timeout_action"] else policy.REJECT
    policy.default_timeout_microseconds = timeout
    policy.allow_timeout_override = queue["allow_timeout_override"]
    policy.max_queue_size = size
