"""Dynamic axes that vanished: an axis that any length was allowed on, and that the converted model has fixed.

Answers on the samples cannot show it when the samples happen to have that length, or are fed row by row.
"""

from __future__ import annotations

from collections.abc import Mapping

from mlconvert.parity.result import OutputParity
from mlconvert.signature import Signature, TensorSpec


def frozen_axes(
    reference: Signature | None, candidate: Signature | None, renamed: Mapping[str, str]
) -> tuple[OutputParity, ...]:
    """A failure for every tensor with an axis that is dynamic in the reference and of a fixed length in the candidate.

    `renamed` maps the reference's names to the candidate's. Without a signature on either side nothing can be said.
    """
    if reference is None or candidate is None:
        return ()
    failures = []
    for side, there in (("output", candidate.outputs), ("input", candidate.inputs)):
        specs = {spec.name: spec for spec in there}
        for spec in reference.outputs if side == "output" else reference.inputs:
            other = specs.get(renamed.get(spec.name, spec.name))
            if other is not None and (axes := _frozen(spec, other)):
                reason = f"{side} '{spec.name}': {axes} (source: {spec}, converted: {other})"
                failures.append(OutputParity(spec.name, ok=False, reason=reason))
    return tuple(failures)


def _frozen(spec: TensorSpec, other: TensorSpec) -> str:
    if len(spec.shape) != len(other.shape):
        return ""  # another rank shows in the comparison itself
    fixed = [
        f"axis {index}{f' ({axis})' if axis else ''} is frozen at {length}"
        for index, (axis, length) in enumerate(zip(spec.shape, other.shape, strict=True))
        if not isinstance(axis, int) and isinstance(length, int)
    ]
    return ", ".join(fixed)
