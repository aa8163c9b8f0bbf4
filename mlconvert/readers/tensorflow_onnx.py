"""A TensorFlow function as an ONNX model, through tf2onnx, whose failures are errors here.

tf2onnx logs what it cannot convert, goes on, and writes a model that does not load. Here all of it is collected: every
operator that it lacks is named at once.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.onnx_model.graphs import rename_tensors
from mlconvert.readers.tensorflow_runtime import import_tensorflow
from mlconvert.readers.tf2onnx_graphs import check_right, without_xla
from mlconvert.readers.tf2onnx_operators import handlers

if TYPE_CHECKING:
    import onnx

    from mlconvert.signature import Signature

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
    _check_opset(opset)
    tf = import_tensorflow()
    from tf2onnx import tf_loader

    names = [spec.name for spec in inputs]
    specs = [tf.TensorSpec(spec.shape, spec.dtype, f"input_{n}") for n, spec in enumerate(inputs)]
    told: list[str] = []

    def flat(*tensors: Any) -> list[Any]:
        answers = dict(function(**dict(zip(names, tensors, strict=True))))
        told[:] = list(answers)
        return [tf.identity(value) for value in answers.values()]

    try:
        concrete = tf.function(flat, input_signature=specs, autograph=False).get_concrete_function()
    except MemoryError:
        raise
    except Exception as error:  # whatever the model's own code runs into without numbers before it
        what = f"TensorFlow cannot make a graph of the model: {_line(error)}"
        raise ConversionFailed(what, where=where) from error
    taken = [tensor.name for tensor in concrete.inputs if tensor.dtype != tf.resource][: len(names)]
    given = [tensor.name for tensor in concrete.outputs]
    with tf.device("/cpu:0"):
        frozen, tables = tf_loader.from_trackable(holder or tf.Module(), concrete, taken, given, False)
        frozen = without_xla(frozen, taken, given)
        check_right(frozen, where)
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(frozen, name="")
            model = _converted(
                graph, where, opset=opset, input_names=taken, output_names=given, initialized_tables=tables
            )
    rename_tensors(model, dict(zip((*taken, *given), (*names, *told), strict=True)))
    _name_axes(model)
    return model


def onnx_of_tflite(path: Path, signature: Signature, *, opset: int, dequantize: bool) -> onnx.ModelProto:
    """The model in a TensorFlow Lite file, whose inputs and outputs are called as in `signature`, in its order.

    Raises what `onnx_of` raises.
    """
    where = str(path)
    _check_opset(opset)
    import_tensorflow()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that TensorFlow Lite's interpreter will move to a package of its own
        model = _converted(None, where, opset=opset, tflite_path=where, dequantize=dequantize)
    _apart(model.graph)
    renamed: dict[str, str] = {}
    for side, have, wanted in (
        ("inputs", model.graph.input, signature.inputs),
        ("outputs", model.graph.output, signature.outputs),
    ):
        if len(have) != len(wanted):
            raise ConversionFailed(f"tf2onnx gave {len(have)} {side} in place of {len(wanted)}", where=where)
        renamed |= {value.name: spec.name for value, spec in zip(have, wanted, strict=True)}
    try:
        rename_tensors(model, renamed)
    except UsageError as error:
        raise ConversionFailed(error.message, where=where) from error
    _name_axes(model)
    return model


def _apart(graph: onnx.GraphProto) -> None:
    """Give each output a tensor of its own: one that is an input too, or another output, cannot have two names."""
    import onnx.helper

    taken = {value.name for value in graph.input}
    for number, value in enumerate(graph.output):
        if value.name in taken:
            old, value.name = value.name, f"{value.name}__output_{number}"
            graph.node.append(onnx.helper.make_node("Identity", [old], [value.name], name=value.name))
        taken.add(value.name)


def _check_opset(opset: int) -> None:
    if opset not in OPSETS:
        raise UsageError(f"opset {opset} is none that tf2onnx writes: it is one of {OPSETS[0]} to {OPSETS[-1]}")


def _converted(graph: Any, where: str, **options: Any) -> onnx.ModelProto:
    """What tf2onnx makes of a graph, or of a file; ConversionFailed for all that it cannot convert."""
    import tf2onnx
    from tf2onnx import optimizer, tfonnx

    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    own = handlers(options.get("initialized_tables") or {})
    with _Failures(tfonnx) as failures:
        try:
            made = tfonnx.process_tf_graph(
                graph, continue_on_error=True, tensors_to_rename={}, custom_op_handlers=own, **options
            )
        except MemoryError:
            raise
        except Exception as error:  # whatever its own code runs into
            failures.check(where, tf2onnx.__version__)
            raise _cannot(error, where, tf2onnx.__version__) from error
    failures.check(where, tf2onnx.__version__)
    try:
        model: onnx.ModelProto = optimizer.optimize_graph(made, True).make_model("")
    except MemoryError:
        raise
    except Exception as error:
        raise _cannot(error, where, tf2onnx.__version__) from error
    return model


def _cannot(error: Exception, where: str, version: str) -> ConversionFailed:
    return ConversionFailed(f"tf2onnx {version} cannot convert the model: {_line(error)}", where=where)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


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
            raise _cannot(self.errors[0], where, version) from self.errors[0]
