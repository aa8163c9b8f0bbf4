"""How the onnxruntime backend runs a graph: threads, and what it does to the graph first."""

from __future__ import annotations

from typing import Annotated, Literal

from mlconvert.errors import UsageError
from mlconvert.repositories.triton.config import not_negative
from mlconvert.repositories.triton.description import Draft

_LEVELS = {"basic": -1, "extended": 1, "off": 2}  # as the backend reads `level`; all of them without it


def sessions(
    draft: Draft,
    *,
    intra_op_threads: Annotated[int, "threads that share one operator's work; 0: all cores"] = 0,
    inter_op_threads: Annotated[int, "operators that run at once (with execution_mode=parallel); 0: all cores"] = 0,
    execution_mode: Annotated[
        Literal["sequential", "parallel"], "operators one by one, or branches at once"
    ] = "sequential",
    graph_optimization: Annotated[
        Literal["all", "extended", "basic", "off"], "what the server does to the graph when it loads it"
    ] = "all",
) -> None:
    """Comes after `policies`, whose `parameters` say the same in the backend's own words."""
    config = draft.config
    parallel = execution_mode == "parallel"
    if inter_op_threads and not parallel:
        raise UsageError("inter_op_threads: operators run one by one here", hint="add --set execution_mode=parallel")
    for option, key, value in (
        ("intra_op_threads", "intra_op_thread_count", not_negative("intra_op_threads", intra_op_threads)),
        ("inter_op_threads", "inter_op_thread_count", not_negative("inter_op_threads", inter_op_threads)),
        ("execution_mode", "execution_mode", int(parallel)),
    ):
        if value and key in config.parameters:
            raise UsageError(f"{option} and the parameter '{key}' are the same thing", hint="leave one of them out")
        if value:
            config.parameters[key].string_value = str(value)
    if graph_optimization != "all":
        config.optimization.graph.level = _LEVELS[graph_optimization]
