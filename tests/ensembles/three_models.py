"""Three small ONNX models that make an ensemble: two take the rows side by side, the third joins what they give.

`total` gives one number a row, [batch], which `join` takes as a column, [batch, 1].
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WEIGHTS = np.arange(12, dtype=np.float32).reshape(4, 3) / 10

RECIPE = """
models:
  total: {source: total.onnx, steps: [optimize], publish: {options: {max_batch_size: 16}}}
  project: {source: project.onnx, steps: [optimize], publish: {name: three_projection}}
  join: {source: join.onnx, steps: [optimize]}
samples: rows.npz
ensemble:
  inputs: [rows]
  outputs: [scores, total]
  steps:
    - {model: join, inputs: {a: total, b: projected}, outputs: {y: scores}}
    - {model: total, inputs: {x: rows}, outputs: {sum: total}}
    - {model: project, inputs: {x: rows}, outputs: {y: projected}}
  publish: {to: triton, name: three}
"""


def answers(rows):
    """What the ensemble answers, as clients get it."""
    total = rows.sum(axis=1, keepdims=True)
    return {"scores": total * (rows @ WEIGHTS), "total": total}


def rows_of(count):
    return np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32)


def write(
    folder: Path, recipe: str = RECIPE, *, factor: float = 1.0, width: int = 3, projected: int = TensorProto.FLOAT
) -> Path:
    """The models, the samples and the recipe in that folder; the recipe's path.

    `width` is what `join` takes of what is `projected`, and gives, and that the type that it is given in.
    """
    folder.mkdir(parents=True, exist_ok=True)
    axes = numpy_helper.from_array(np.array([1], np.int64), "axes")
    weights = numpy_helper.from_array(WEIGHTS * np.float32(factor), "w")
    _save(folder / "total.onnx", [("x", ["batch", 4])], [("sum", ["batch"])], [axes],
          helper.make_node("ReduceSum", ["x", "axes"], ["sum"], keepdims=0))  # fmt: skip
    _save(folder / "project.onnx", [("x", ["batch", 4])], [("y", ["batch", 3])], [weights],
          helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Cast", ["m"], ["y"], to=projected),
          given=projected)  # fmt: skip
    _save(folder / "join.onnx", [("a", ["batch", 1]), ("b", ["batch", width])], [("y", ["batch", width])], [],
          helper.make_node("Mul", ["a", "b"], ["y"]))  # fmt: skip
    np.savez(folder / "rows.npz", rows=rows_of(50))
    path = folder / "three.yaml"
    path.write_text(recipe.lstrip())
    return path


def _save(path, inputs, outputs, weights, *nodes, given=TensorProto.FLOAT):
    sides = [
        [helper.make_tensor_value_info(name, dtype, shape) for name, shape in side]
        for side, dtype in ((inputs, TensorProto.FLOAT), (outputs, given))
    ]
    graph = helper.make_graph(list(nodes), path.stem, *sides, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), str(path))
