"""Whether requests of several clients can be joined to one batch along the first axes, as servers do it."""

from __future__ import annotations

from mlconvert.signature import Signature


def reasons_not_to_batch(signature: Signature) -> tuple[list[str], list[str]]:
    """Why requests cannot be joined along the first axes: what the server refuses (or answers wrongly), and doubts."""
    sides = [("input", spec) for spec in signature.inputs] + [("output", spec) for spec in signature.outputs]
    hard, soft = [], []
    for side, spec in sides:
        if not spec.shape:
            hard.append(f"{side} '{spec.name}' is a scalar")
        elif isinstance(spec.shape[0], int):
            hard.append(f"the first axis of {side} '{spec.name}' is fixed at {spec.shape[0]}")
    first = {spec.shape[0] for _, spec in sides if spec.shape}
    for side, spec in sides:
        # Rows of such a tensor depend on who else is in the batch (a matrix of similarities): joining would leak them.
        again = [axis for axis in spec.shape[1:] if isinstance(axis, str) and axis in first]
        if again:
            hard.append(f"{side} '{spec.name}' has the batch axis '{again[0]}' a second time")
    if not hard and len(first) > 1:
        names = ", ".join(sorted({f"'{axis}'" if axis else "unnamed" for axis in first}))
        soft.append(f"the first axes are not the same one ({names})")
    elif not hard and first == {None}:
        soft.append("the first axes have no name that shows them to be the same one")
    return hard, soft
