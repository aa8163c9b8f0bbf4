"""What each release of ONNX Runtime, and of Triton, can load: opsets and IR versions.

The limits were measured: every ONNX Runtime release here was asked to load models of rising opsets and IR versions.
A model of a higher opset is refused, or worse, loaded with a warning and run by older rules.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from mlconvert.errors import UsageError


@dataclass(frozen=True)
class Limits:
    """The highest opset of ai.onnx, opset of ai.onnx.ml and IR version."""

    opset: int
    ml_opset: int
    ir: int


RUNTIMES: dict[str, Limits] = {
    "1.19": Limits(21, 5, 10),
    "1.20": Limits(21, 5, 10),
    "1.21": Limits(22, 5, 10),
    "1.22": Limits(22, 5, 10),
    "1.23": Limits(23, 5, 11),
    "1.24": Limits(25, 5, 13),
    "1.25": Limits(26, 5, 13),
    "1.26": Limits(26, 5, 13),
    "1.27": Limits(26, 5, 13),
    "1.28": Limits(26, 5, 13),
    "1.29": Limits(26, 5, 13),
    "1.30": Limits(26, 5, 13),
    "1.31": Limits(26, 5, 13),
    "1.32": Limits(28, 5, 14),
}

TreeVersion = Literal[3, 5]
"""ai.onnx.ml's tree operators: TreeEnsembleRegressor of version 3, TreeEnsemble of version 5."""

FIRST_WITH_TREES = "1.21"
"""The first ONNX Runtime with kernels for TreeEnsemble of ai.onnx.ml 5; older ones check such a model and refuse it."""

FIRST_WITH_SETS = "1.23"
"""The first whose TreeEnsemble looks up sets of categories. 1.21 and 1.22 unroll them into nodes: 30 trees with sets
of 8 members took 8 seconds to load, with sets of 30 more than a minute."""

TRITON: dict[str, str] = {
    "24.10": "1.19",
    "25.02": "1.20",
    "26.06": "1.24",
    "26.07": "1.27",
}
"""Triton release -> the ONNX Runtime in it, where that is known. A release between two of these has at least the
older one's ONNX Runtime, so the older one's limits hold for it."""


def runtime_limits(version: str) -> Limits:
    """The limits of an ONNX Runtime version, `1.19` or `1.19.2`; UsageError for one that is not in the table."""
    short = _short(version)
    if short not in RUNTIMES or not re.fullmatch(r"\d+\.\d+(\.\d+)?", version):
        raise UsageError(f"no limits are known of ONNX Runtime '{version}'", hint=f"known: {', '.join(RUNTIMES)}")
    return RUNTIMES[short]


@dataclass(frozen=True)
class TreeOperators:
    """What can be used of ai.onnx.ml's tree operators: their version, and whether nodes may test for categories."""

    version: TreeVersion = 5
    sets: bool = True


def tree_operators(version: str) -> TreeOperators:
    """What an ONNX Runtime version runs of the tree operators; UsageError for one that is not in the table."""
    runtime_limits(version)
    releases = list(RUNTIMES)
    place = releases.index(_short(version))
    trees, sets = (place >= releases.index(first) for first in (FIRST_WITH_TREES, FIRST_WITH_SETS))
    return TreeOperators(5 if trees else 3, sets)


def triton_runtime(release: str) -> str:
    """The ONNX Runtime that a Triton release has at least; UsageError for a release outside the table's range."""
    releases = sorted(TRITON)
    month = re.fullmatch(r"\d\d\.(0[1-9]|1[0-2])", release)
    if not month or not releases[0] <= release <= releases[-1]:
        hint = f"known: {releases[0]} to {releases[-1]}"
        raise UsageError(f"no limits are known of Triton '{release}'", hint=hint)
    return TRITON[max(known for known in releases if known <= release)]


def _short(version: str) -> str:
    return ".".join(version.split(".")[:2])
