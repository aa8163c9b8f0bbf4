"""sequence_batching: requests of one sequence go to one instance, in their order, with what tells the model so."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from mlconvert.errors import RepositoryInvalid, UsageError, suggest
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton.description import Draft
from mlconvert.repositories.triton.sections.batching import check_sizes
from mlconvert.signature import TensorSpec

# What a control input may be told, and the types that the server sends it in.
_FLAGS = {"int32": ("int32_false_true", (0, 1)), "float32": ("fp32_false_true", (0.0, 1.0)),
          "bool": ("bool_false_true", (False, True))}  # fmt: skip
_IDS = ("uint64", "int64", "uint32", "int32", "string")
CONTROLS = ("START", "END", "READY", "CORRID")


def sequence_batching(
    draft: Draft,
    *,
    sequence_batching: Annotated[
        Literal["no", "direct", "oldest"],
        "keep the requests of a sequence together: each in a slot of its own, or the oldest ones joined into a batch",
    ] = "no",
    sequence_controls: Annotated[
        dict[str, str], "inputs through which the model is told, of START, END, READY, CORRID: START=begin;CORRID=id"
    ] = {},  # noqa: B006
    sequence_states: Annotated[
        dict[str, str], "state that the server keeps for the model: input=output pairs; it starts as zeros"
    ] = {},  # noqa: B006
    sequence_idle_us: Annotated[int, "microseconds after which an idle sequence is given up; 0: one second"] = 0,
    sequence_candidates: Annotated[
        int, "sequences that are served at a time (oldest only); 0: max_batch_size, at least 1"
    ] = 0,
    sequence_preferred_batch_sizes: Annotated[tuple[int, ...], "batch sizes to wait for (oldest only)"] = (),
    sequence_queue_delay_us: Annotated[int, "microseconds that a request may wait for others to join it"] = 0,
    sequence_slot_utilization: Annotated[
        float, "share of the slots that have to be filled before the delay ends early (direct only), 0 to 1"
    ] = 0.0,
) -> None:
    """The control and state tensors leave the model's inputs and outputs: clients do not send them."""
    given = {
        "sequence_controls": sequence_controls,
        "sequence_states": sequence_states,
        "sequence_idle_us": sequence_idle_us,
        "sequence_candidates": sequence_candidates,
        "sequence_preferred_batch_sizes": sequence_preferred_batch_sizes,
        "sequence_queue_delay_us": sequence_queue_delay_us,
        "sequence_slot_utilization": sequence_slot_utilization,
    }
    others = {"direct": given.keys() - {"sequence_candidates", "sequence_preferred_batch_sizes"},
              "oldest": given.keys() - {"sequence_slot_utilization"}, "no": set()}  # fmt: skip
    for name, value in given.items():
        if value and name not in others[sequence_batching]:
            raise UsageError(
                f"{name} does not go with sequence_batching={sequence_batching}",
                hint=f"add --set sequence_batching={'direct' if name in others['direct'] else 'oldest'}",
            )
        if isinstance(value, int):
            cfg.not_negative(name, value)
    if sequence_batching == "no":
        return
    batching = draft.config.sequence_batching
    batching.max_sequence_idle_microseconds = sequence_idle_us
    if sequence_batching == "direct":
        if not 0 <= sequence_slot_utilization <= 1:
            raise UsageError(f"sequence_slot_utilization={sequence_slot_utilization}: expected 0 to 1")
        batching.direct.max_queue_delay_microseconds = sequence_queue_delay_us
        batching.direct.minimum_slot_utilization = sequence_slot_utilization
        batching.direct.SetInParent()
    else:
        rows = draft.config.max_batch_size
        check_sizes("sequence_preferred_batch_sizes", sequence_preferred_batch_sizes, rows)
        batching.oldest.max_candidate_sequences = sequence_candidates or max(rows, 1)
        batching.oldest.preferred_batch_size.extend(sorted(set(sequence_preferred_batch_sizes)))
        batching.oldest.max_queue_delay_microseconds = sequence_queue_delay_us
    for kind, name in sequence_controls.items():
        _add_control(draft, kind, name)
    for source, target in sequence_states.items():
        _add_state(draft, source, target)
    if not draft.config.input or not draft.config.output:
        raise UsageError("no input and output is left that a client would send and receive")


def _taken(draft: Draft, side: str, name: str, what: str) -> TensorSpec:
    """Take a tensor out of what clients send or receive."""
    specs = draft.signature.inputs if side == "input" else draft.signature.outputs
    configured = draft.config.input if side == "input" else draft.config.output
    for index, tensor in enumerate(configured):
        if tensor.name == name:
            del configured[index]
            return next(spec for spec in specs if spec.name == name)
    names = [tensor.name for tensor in configured]
    raise UsageError(
        f"{what}: the model has no {side} '{name}' left.{suggest(name, names)}", hint=f"{side}s: {', '.join(names)}"
    )


def _add_control(draft: Draft, kind: str, name: str) -> None:
    if kind.upper() not in CONTROLS:
        raise UsageError(
            f"sequence_controls: unknown control '{kind}'.{suggest(kind, CONTROLS)}",
            hint=f"controls: {', '.join(CONTROLS)}",
        )
    spec = _taken(draft, "input", name, f"sequence_controls {kind}")
    allowed = _IDS if kind.upper() == "CORRID" else tuple(_FLAGS)
    if spec.dtype not in allowed:
        raise RepositoryInvalid(
            f"input '{name}' is {spec.dtype}; the server tells {kind.upper()} as {', '.join(allowed)}",
            hint="give the model's input one of these types",
        )
    own = spec.shape[1:] if draft.config.max_batch_size else spec.shape
    if own != (1,):
        raise RepositoryInvalid(
            f"input '{name}' is {spec}; the server sends a control as one number a row",
            hint="give it the shape [N, 1], or [1] without batching",
        )
    tensor = draft.config.sequence_batching.control_input.add()
    tensor.name = name
    control = tensor.control.add()
    control.kind = type(control).Kind.Value(f"CONTROL_SEQUENCE_{kind.upper()}")
    if kind.upper() == "CORRID":
        control.data_type = cfg.data_type_number(spec.dtype)
    else:
        field, values = _FLAGS[spec.dtype]
        getattr(control, field).extend(values)


def _add_state(draft: Draft, source: str, target: str) -> None:
    before = _taken(draft, "input", source, "sequence_states")
    after = _taken(draft, "output", target, "sequence_states")
    if (before.dtype, before.shape) != (after.dtype, after.shape):
        raise RepositoryInvalid(
            f"the state goes from output '{target}' back to input '{source}', but they differ: {after}, {before}"
        )
    dims = cfg.shape_of(before)[1:] if draft.config.max_batch_size else cfg.shape_of(before)
    if not dims or -1 in dims:
        raise RepositoryInvalid(
            f"state '{source}' is {before}: the server needs its whole shape to start it with zeros",
            hint="convert the model with fixed axes for it",
        )
    state: Any = draft.config.sequence_batching.state.add()
    state.input_name, state.output_name = source, target
    state.data_type = cfg.data_type_number(before.dtype)
    state.dims.extend(dims)
    first = state.initial_state.add()
    first.name = "zeros"
    first.data_type = state.data_type
    first.dims.extend(dims)
    first.zero_data = True
