"""How far a converted model's numbers may be from the reference: `|a - b| <= atol + rtol * |reference|`.

Imports no numpy: the parent process plans and reports with these and never sees an array.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlconvert.errors import UsageError, suggest


@dataclass(frozen=True)
class Tolerance:
    """Both are finite and >= 0, else UsageError; 0 and 0 asks for equal values."""

    rtol: float
    atol: float

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            # An infinite or NaN tolerance would make every comparison pass, or none.
            if not number or not math.isfinite(value) or value < 0:
                raise UsageError(f"{name}={value!r} is not valid: expected a finite number >= 0")

    def __str__(self) -> str:
        return f"{self.atol:g} + {self.rtol:g} * |reference|"

    def as_json(self) -> dict[str, float]:
        return {"rtol": float(self.rtol), "atol": float(self.atol)}


@dataclass(frozen=True)
class Tolerances:
    """The tolerance of every output: `default`, or the one under the output's own name."""

    default: Tolerance
    outputs: Mapping[str, Tolerance] = field(default_factory=dict)

    def of(self, *names: str) -> Tolerance:
        """The tolerance of an output known under these names (the source's, then the artifact's)."""
        for name in names:
            if name in self.outputs:
                return self.outputs[name]
        return self.default

    def as_json(self) -> dict[str, Any]:
        return {**self.default.as_json(), "outputs": {name: item.as_json() for name, item in self.outputs.items()}}

    @staticmethod
    def from_json(data: Mapping[str, Any], default: Tolerance | None = None) -> Tolerances:
        """From `{rtol, atol, outputs: {name: {rtol, atol}}}`. What is left out comes from the level above it:
        an output's from the file's own `rtol` and `atol`, and theirs from `default` (float32's unless given).

        Raises UsageError for an unknown key or a value that is no tolerance.
        """
        _known(data, ("rtol", "atol", "outputs"), "tolerances")
        base = _merged(data, default or DEFAULTS["float32"])
        outputs = {}
        for name, item in (data.get("outputs") or {}).items():
            _known(item, ("rtol", "atol"), f"the tolerance of output '{name}'")
            outputs[str(name)] = _merged(item, base)
        return Tolerances(base, outputs)


# What each precision costs a network that is converted rightly, with room for another order of summation.
DEFAULTS: Mapping[str, Tolerance] = {
    # The same double arithmetic in another order: linear and tree models agree to 1e-13.
    "float64": Tolerance(rtol=1e-9, atol=1e-11),
    # 24 bits (6e-8 relative): convolutions and transformers differ by 1e-7 to 2e-6, deep sums by some 1e-5.
    "float32": Tolerance(rtol=1e-4, atol=1e-5),
    # 11 bits (5e-4 relative), and some twenty layers of rounding.
    "float16": Tolerance(rtol=1e-2, atol=1e-2),
    # 8 bits (4e-3 relative): eight times float16's.
    "bfloat16": Tolerance(rtol=8e-2, atol=8e-2),
    # Weights on 255 steps per channel: a sanity bound; a recipe should set what its task can bear.
    "int8": Tolerance(rtol=1e-1, atol=1e-1),
}


def defaults_for(precision: str) -> Tolerance:
    """The default of a route's precision (its lowest step's). UsageError when the name is unknown."""
    if precision not in DEFAULTS:
        listed = ", ".join(sorted(DEFAULTS))
        raise UsageError(f"no precision '{precision}'.{suggest(precision, DEFAULTS)}", hint=f"known: {listed}")
    return DEFAULTS[precision]


def _merged(data: Mapping[str, Any], base: Tolerance) -> Tolerance:
    def pick(key: str, fallback: float) -> float:
        value: float = fallback if data.get(key) is None else data[key]
        return value

    return Tolerance(pick("rtol", base.rtol), pick("atol", base.atol))


def _known(data: Any, keys: tuple[str, ...], what: str) -> None:
    if not isinstance(data, Mapping):
        raise UsageError(f"{what}: expected a mapping with {' and '.join(keys)}, got {data!r}")
    for key in data:
        if key not in keys:
            raise UsageError(f"{what} has no '{key}'.{suggest(str(key), keys)}", hint=f"known: {', '.join(keys)}")
