"""The table of ONNX operators that can be lowered: which function has which operator, from which opset on.

Every module of `families` has its part of the table, `OPERATORS`. A function of it takes the node's inputs as
positional parameters (None for an optional one that is left out), its attributes as keyword-only parameters under
ONNX's own names, with ONNX's defaults, and where it needs to know more, `node: Node`. It returns a tensor, or a tuple
in the order of the node's outputs.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

FAMILIES = (
    "elementwise",
    "activations",
    "arithmetic",
    "logic",
    "casts",
    "generators",
    "shapes",
    "slices",
    "indexing",
    "ordering",
    "reductions",
    "linear_algebra",
    "convolutions",
    "pooling",
    "normalizations",
    "images",
    "signals",
    "losses",
    "recurrent",
    "attention",
    "control_flow",
    "sequences",
    "quantization",
    "training",
    "strings",
    "ml_trees",
    "ml_linear",
    "ml_features",
    "ml_text",
)

Layout = Literal["first", "last", "any", "axis", "axes"]
"""How a function wants tensors of rank 3 and more whose axis 1 may be channels.

`first`: as ONNX has them, [N, C, …]. `last`: the first input and the first output with channels last, [N, …, C].
`any`: the operator works element by element, so that any order will do when it is the same for all. `axis`: the same,
and the attribute `axis`, which is never negative then, is changed to fit. `axes`: it reduces along axes, an attribute
or the second input; they are changed to fit where they are known and what is left comes in ONNX's order.
"""


@dataclass(frozen=True)
class Operator:
    """One operator with the semantics that it has in the opsets `since` to `until` (both included) of its domain."""

    name: str
    since: int
    function: Callable[..., Any]
    until: int | None = None
    domain: str = ""
    layout: Layout = "first"
    folds: bool = True  # False: the same inputs may give another answer, so constants are not folded
    arranges: tuple[int, ...] = ()  # inputs that it takes by `node.arranged` where they are constant: see Node
    note: str = ""  # what it does not do, for the reference

    @functools.cached_property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        return inspect.signature(self.function).parameters

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes that the function knows."""
        keywords = (p.name for p in self.parameters.values() if p.kind is p.KEYWORD_ONLY)
        return tuple(name for name in keywords if name != "node")

    @property
    def takes_node(self) -> bool:
        return "node" in self.parameters


@functools.cache
def operators() -> Mapping[tuple[str, str], tuple[Operator, ...]]:
    """(domain, operator) -> its rows, oldest first. Imports TensorFlow."""
    found: dict[tuple[str, str], list[Operator]] = {}
    for family in FAMILIES:
        module = importlib.import_module(f"mlconvert.tensorflow.families.{family}")
        for row in module.OPERATORS:
            found.setdefault((row.domain, row.name), []).append(row)
    table = {}
    for key, rows in found.items():
        rows.sort(key=lambda row: row.since)
        for older, newer in itertools.pairwise(rows):
            assert (older.until or newer.since) < newer.since, f"rows of {key} overlap"
        table[key] = tuple(rows)
    return table


def find(domain: str, name: str, version: int) -> Operator | None:
    """The row for an operator at an opset version of its domain; None where there is none."""
    for row in operators().get((domain, name), ()):
        if row.since <= version and (row.until is None or version <= row.until):
            return row
    return None
