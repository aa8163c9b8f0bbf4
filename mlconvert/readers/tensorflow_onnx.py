"""A TensorFlow function as an ONNX model, through tf2onnx, whose failures are errors here.

tf2onnx logs what it cannot convert, goes on, and writes a model that does not load. Here all of it is collected: every
operator that it lacks is named at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.onnx_model.graphs import rename_tensors
from mlconvert.readers.tensorflow_runtime import import_tensorflow
from mlconvert.readers.tf2onnx_operators import HANDLERS

if TYPE_CHECKING:
    import onnx

OPSETS = range(13, 19)  # what tf2onnx 1.17 writes, from the first with axes as inputs on


def onnx_of(
    function: Callable[..., Mapping[str, Any]],
    inputs: Sequence[Any],
    *,
    opset: int,
    where: str,
    holder: Any = None,
) -> onnx.ModelProto:
    """The model of a function that takes tensors by the names of `inputs` (TensorSpecs) and returns them by name.

    `holder` is the object whose tables and variables the function uses. Raises UsageError for an opset that tf2onnx
    does not write, ConversionFailed, with all their names, for operators that it cannot convert.
    """
    tf = import_tensorflow()
    import tf2onnx
    from tf2onnx import optimizer, tf_loader, tfonnx

    if opset not in OPSETS:
        raise UsageError(f"opset {opset} is none that tf2onnx writes: it is one of {OPSETS[0]} to {OPSETS[-1]}")
    names = [spec.name for spec in inputs]
    specs = [tf.TensorSpec(spec.shape, spec.dtype, f"input_{n}") for n, spec in enumerate(inputs)]
    told: list[str] = []

    def flat(*tensors: Any) -> list[Any]:
        answers = dict(function(**dict(zip(names, tensors, strict=True))))
        told[:] = list(answers)
        return [tf.identity(value) for value in answers.values()]

    concrete = tf.function(flat, input_signature=specs, autograph=False).get_concrete_function()
    taken = [tensor.name for tensor in concrete.inputs if tensor.dtype != tf.resource][: len(names)]
    given = [tensor.name for tensor in concrete.outputs]
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    with tf.device("/cpu:0"):
        frozen, tables = tf_loader.from_trackable(holder or tf.Module(), concrete, taken, given, False)
        with tf.Graph().as_default() as graph, _Failures(tfonnx) as failures:
            tf.import_graph_def(frozen, name="")
            made = tfonnx.process_tf_graph(
                graph,
                continue_on_error=True,
                opset=opset,
                custom_op_handlers=dict(HANDLERS),
                input_names=taken,
                output_names=given,
                tensors_to_rename={},
                initialized_tables=tables,
            )
    failures.check(where, tf2onnx.__version__)
    model = optimizer.optimize_graph(made, True).make_model("")
    rename_tensors(model, dict(zip((*taken, *given), (*names, *told), strict=True)))
    _name_axes(model)
    return model


def _name_axes(model: onnx.ModelProto) -> None:
    """tf2onnx numbers axes without a length; the first one, of rows, becomes `batch`, others go by their tensor."""
    for value in (*model.graph.input, *model.graph.output):
        for number, axis in enumerate(value.type.tensor_type.shape.dim):
            if not axis.HasField("dim_value"):
                axis.dim_param = "batch" if number == 0 else f"{value.name}_{number}"


class _Failures:
    """What tf2onnx could not convert: it keeps the counts to itself, and hands them over to nobody."""

    def __init__(self, module: Any) -> None:
        self.module, self.real = module, module.tensorflow_onnx_mapping
        self.missing: dict[str, int] = {}
        self.errors: list[Exception] = []

    def __enter__(self) -> Self:
        def mapping(*args: Any, **kwargs: Any) -> Any:
            mapped, unmapped, errors = self.real(*args, **kwargs)
            if not kwargs.get("is_tflite"):
                self.missing |= dict(unmapped)
            self.errors += errors
            return mapped, unmapped, errors

        self.module.tensorflow_onnx_mapping = mapping
        return self

    def __exit__(self, *_: object) -> None:
        self.module.tensorflow_onnx_mapping = self.real

    def check(self, where: str, version: str) -> None:
        if self.missing:
            listed = ", ".join(f"{name} ({count})" for name, count in sorted(self.missing.items()))
            raise ConversionFailed(f"tf2onnx {version} has no conversion for {listed}", where=where)
        if self.errors:
            first = " ".join(str(self.errors[0]).split())
            raise ConversionFailed(f"tf2onnx cannot convert the model: {first}", where=where) from self.errors[0]
