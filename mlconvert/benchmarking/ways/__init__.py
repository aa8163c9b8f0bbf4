"""The table of ways: how a format is called in its natural runtime. A format without a row goes through its runner.

A row's function is `open(artifact, threads) -> Model`; for what Python does not call itself, the model is a function of
the inputs and the rows of a batch that gives Turns. It raises what a runner's `load` raises, and NotVerified where the
model cannot be called in that way: that way is left out then. Frameworks are imported inside the functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlconvert.packages import PANDAS, Package, load_attribute


@dataclass(frozen=True)
class Way:
    """`name` tells a format's ways apart, empty for an only one. `packages` are those that its runner does not need."""

    format: str
    name: str
    module: str
    function: str
    packages: tuple[Package, ...] = ()

    def open(self, *arguments: Any) -> Any:
        return load_attribute(self.module, self.function)(*arguments)


_HERE = "mlconvert.benchmarking.ways"

WAYS: tuple[Way, ...] = (
    Way("catboost", "", f"{_HERE}.boosters", "catboost_array"),
    Way("jar", "inside the JVM", f"{_HERE}.jvm", "jar"),
    Way("lightgbm", "data frame", f"{_HERE}.boosters", "lightgbm_frame", (PANDAS,)),
    Way("lightgbm", "array", f"{_HERE}.boosters", "lightgbm_array"),
    Way("onnx", "run", f"{_HERE}.runtimes", "onnx_run"),
    Way("onnx", "IO binding", f"{_HERE}.runtimes", "onnx_bound"),
    Way("openvino", "", f"{_HERE}.runtimes", "openvino"),
    Way("pmml", "inside the JVM", f"{_HERE}.jpmml", "document"),
    Way("pmml", "from Python", f"{_HERE}.sessions", "session"),
    Way("saved-model", "", f"{_HERE}.runtimes", "saved_model"),
    Way("sklearn", "data frame", f"{_HERE}.estimators", "frame", (PANDAS,)),
    Way("sklearn", "array", f"{_HERE}.estimators", "array"),
    Way("xgboost", "DMatrix", f"{_HERE}.boosters", "xgboost_matrix"),
    Way("xgboost", "in place", f"{_HERE}.boosters", "xgboost_in_place"),
)


def ways_of(format_name: str) -> tuple[Way, ...]:
    """The ways of a format, slowest first where one is known to be; its runner's where the table has none."""
    rows = tuple(row for row in WAYS if row.format == format_name)
    return rows or (Way(format_name, "", f"{_HERE}.sessions", "session"),)
