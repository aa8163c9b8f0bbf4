"""CatBoost's cbm file to ONNX, through CatBoost's own export.

The export has a ZipMap, calls its input `features`, and leaves out the link of some losses.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mlconvert.converters import classical_graph
from mlconvert.errors import ConversionFailed
from mlconvert.readers import classical_outputs
from mlconvert.readers.boosters import catboost_loss, check_catboost_features, load_catboost

if TYPE_CHECKING:
    from mlconvert.artifact import Artifact


def convert(
    source: Artifact,
    target: Path,
    *,
    opset: Annotated[int, "version of the ai.onnx operators"] = 18,
) -> Artifact:
    """Write an ONNX model with the input `input`, float32 [batch, F]; outputs as the runner of CatBoost names them.

    Raises ConversionFailed for a damaged file, for categorical, text and embedding features, for labels that are
    neither integers nor strings, and for losses that CatBoost exports wrongly.
    """
    return export_catboost(load_catboost(source.path), target, opset=opset, where=source.location)


def export_catboost(model: Any, target: Path, *, opset: int, where: str) -> Artifact:
    """Export a loaded CatBoost model; see `convert`."""
    from mlconvert.onnx_model import files as onnx_files

    loss = catboost_loss(model)
    task = classical_outputs.task_of(classical_outputs.CATBOOST, loss, "CatBoost", where)
    refuse_catboost(model, loss, where)
    with tempfile.TemporaryDirectory(prefix=".catboost-", dir=target.parent) as folder:
        path = Path(folder) / "model.onnx"
        with classical_graph.stock_errors("CatBoost cannot export the model", where):
            model.save_model(str(path), format="onnx")
        graph = onnx_files.read_onnx(path)
    classical_graph.drop_zipmap(graph)
    if loss in classical_outputs.CATBOOST_EXPONENT:
        classical_graph.append_unary(graph, "Exp")
    classes = len(model.classes_) if task != "value" else 0
    outputs = classical_graph.task_outputs(task, classes)
    return classical_graph.finish(graph, target, opset=opset, outputs=outputs)


def refuse_catboost(model: Any, loss: str, where: str) -> None:
    """Raise ConversionFailed for what CatBoost cannot export, or exports wrongly without saying so."""
    check_catboost_features(model, where)
    if loss in ("MultiClassOneVsAll", "MultiRMSE"):
        raise ConversionFailed(f"the loss {loss} would be exported wrongly by CatBoost", where=where)
