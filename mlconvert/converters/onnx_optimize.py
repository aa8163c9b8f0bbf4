"""ONNX to ONNX: constants folded, unused and repeated nodes dropped, batch normalisation folded into convolutions."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed
from mlconvert.onnx_model.files import read_onnx, weight_bytes
from mlconvert.onnx_model.passes import Interface, contained, interface_of, write_pass

if TYPE_CHECKING:
    import onnx

LARGE = 2 << 30
"""From this many bytes of weights on, onnxslim (twice the model in memory) gives way to onnxscript (weights mapped)."""

Step = Literal["constant_folding", "graph_fusion", "dead_node_elimination", "subexpression_elimination", "weight_tying"]


def convert(
    source: Artifact,
    target: Path,
    *,
    engine: Annotated[
        Literal["auto", "onnxslim", "onnxscript"], "auto: onnxslim, and onnxscript from 2 GB of weights on"
    ] = "auto",
    skip: Annotated[tuple[Step, ...], "steps of onnxslim that are left out"] = (),
) -> Artifact:
    """Raises ConversionFailed when the optimiser fails or changes the model's interface."""
    model = read_onnx(source.path, external_data=False)
    if engine == "auto":
        engine = "onnxscript" if weight_bytes(model) >= LARGE else "onnxslim"
    facts: dict[str, Any] = {"engine": engine, "nodes_before": len(model.graph.node)}
    before = interface_of(model)
    if engine == "onnxscript":
        return _onnxscript(source.path, target, before, facts)
    model = _onnxslim(read_onnx(source.path), target, skip)
    return write_pass(model, target, before, engine, facts={**facts, "nodes_after": len(model.graph.node)})


def _onnxslim(model: onnx.ModelProto, target: Path, skip: tuple[str, ...]) -> onnx.ModelProto:
    import onnxruntime
    import onnxslim

    logger = logging.getLogger("onnxslim")
    handlers = list(logger.handlers)
    try:
        with contained(target):
            # A model that is to be checked comes back as None when the check fails; parity checks it here.
            slimmed = onnxslim.slim(model, skip_optimizations=list(skip) or None)
    except Exception as error:
        hint = "optimise with the option engine=onnxscript, or leave the step out"
        raise ConversionFailed(f"onnxslim failed: {error}", hint=hint) from error
    finally:
        # What onnxslim leaves behind in the process: a log handler, and ONNX Runtime without warnings.
        logger.handlers[:] = handlers
        onnxruntime.set_default_logger_severity(2)
    return slimmed


def _onnxscript(path: Path, target: Path, before: Interface, facts: dict[str, Any]) -> Artifact:
    import onnx_ir
    from onnxscript.optimizer import optimize_ir

    with contained(target) as folder:
        optimised = folder / "optimised.onnx"
        try:
            model = onnx_ir.load(path.absolute())  # maps external data
            optimize_ir(model)
            onnx_ir.save(model, optimised, external_data=f"{optimised.name}.data")
        except Exception as error:
            raise ConversionFailed(f"onnxscript's optimizer failed: {error}", where=str(path)) from error
        del model
        result = read_onnx(optimised, external_data=False)
        facts["nodes_after"] = len(result.graph.node)
        return write_pass(result, target, before, "onnxscript's optimizer", weights_of=optimised, facts=facts)
