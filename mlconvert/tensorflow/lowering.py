"""Walks an ONNX graph, node by node, and builds TensorFlow operations in whatever TensorFlow is tracing.

What is known at conversion is computed at conversion: a node all of whose inputs are known is run at once, and shape
arithmetic that TensorFlow's shape inference resolves is known from then on. Operators without a row in the table are
expanded where the model, or ONNX itself, defines them as a function of others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from mlconvert.errors import ConversionFailed, MlconvertError
from mlconvert.onnx_model.graphs import node_name
from mlconvert.tensorflow.attributes import attributes_of, dense
from mlconvert.tensorflow.functions import function_of
from mlconvert.tensorflow.layouts import Value, axis_in_last, first_of_last, in_last, last_of_first
from mlconvert.tensorflow.node import Node
from mlconvert.tensorflow.operators import Operator, find
from mlconvert.tensorflow.weights import Arrays, Weights, as_tensorflow

if TYPE_CHECKING:
    import onnx

FOLDED = 64 << 10
"""Bytes that a folded result may have at most, unless its inputs have as many."""
RELEASED = 1 << 20
"""Bytes of an array from which on it is let go after its last use."""
SHAPE_LIKE = 64
"""Elements of an integer or boolean vector whose value is asked from TensorFlow's shape inference."""


class Graph:
    """The values of a graph, by name, while it is lowered; a subgraph sees those of the graphs around it.

    `opsets` maps domains to versions, `functions` are the model's own, `attributes` those of the call of a function
    (which the attributes of its nodes may refer to). It is the `Surroundings` of its nodes.
    """

    def __init__(
        self,
        weights: Weights,
        opsets: Mapping[str, int],
        functions: Mapping[tuple[str, str, str], onnx.FunctionProto],
        *,
        around: Graph | None = None,
        attributes: Mapping[str, onnx.AttributeProto] | None = None,
        label: tuple[str, ...] = (),
    ) -> None:
        self.weights, self.opsets, self.functions = weights, opsets, functions
        self.around, self.attributes, self.label = around, attributes or {}, label
        self._values: dict[str, Value] = {}
        self._arrays: Arrays = {}
        self._kept: frozenset[str] = frozenset()  # outputs: used after the last node

    # --- values ---

    def hold(self, arrays: Arrays) -> None:
        """Constants of this graph."""
        self._arrays = arrays

    def keep(self, names: Iterable[str]) -> None:
        """Outputs: their values are needed after the last node."""
        self._kept = frozenset(names)

    def bind(self, name: str, value: Value) -> None:
        self._values[name] = value

    def bind_input(self, name: str, tensor: Any) -> None:
        """A tensor that the model takes."""
        self._values[name] = Value.of(tensor)

    def value(self, name: str) -> Value:
        """Raises ConversionFailed for a name that nothing defines."""
        graph: Graph | None = self
        while graph is not None:
            if name in graph._values:
                return graph._values[name]
            if name in graph._arrays:
                graph._values[name] = Value(array=graph._arrays[name](), key=(*graph.label, name))
                return graph._values[name]
            graph = graph.around
        raise ConversionFailed(f"no node, input or initializer of the graph gives '{name}'")

    def tensor(self, name: str) -> Any:
        """A value as ONNX has it: a tensor, or the object of a sequence or an optional."""
        value = self.value(name)
        if value.other is not None:
            return value.other
        made = value.first()
        if made is not None or value.array is None:  # neither: an input that the call of a function leaves out
            return made
        return self.weights.tensor(_key(name, value), value.array)

    def constant(self, name: str) -> np.ndarray | None:
        return self.value(name).array

    def arranged(self, name: str, key: str, arrange: Callable[[np.ndarray], np.ndarray]) -> Any:
        value = self.value(name)
        array = value.array
        if array is None:
            raise ConversionFailed(f"'{name}' is not constant")
        return self.weights.tensor((*_key(name, value), key), lambda: np.ascontiguousarray(arrange(array)))

    def weight(self, key: tuple[str, ...], array: np.ndarray) -> Any:
        return self.weights.tensor((*self.label, *key), array)

    # --- graphs ---

    def lower(self, graph: onnx.GraphProto, inputs: Sequence[Any], label: str) -> tuple[Any, ...]:
        """Lower a subgraph with these inputs (tensors, sequences); gives its outputs."""
        if len(inputs) != len(graph.input):
            raise ConversionFailed(f"the graph '{graph.name}' has {len(graph.input)} inputs, and gets {len(inputs)}")
        inner = Graph(
            self.weights, self.opsets, self.functions, around=self, attributes=self.attributes,
            label=(*self.label, label),
        )  # fmt: skip
        inner.hold(constants_of(graph))
        for spec, given in zip(graph.input, inputs, strict=True):
            inner.bind(spec.name, Value.of(given))
        inner.keep(output.name for output in graph.output)
        inner.run(graph.node)
        return tuple(inner.tensor(output.name) for output in graph.output)

    def run(self, nodes: Sequence[onnx.NodeProto]) -> None:
        """Lower the nodes in their order. What goes wrong names the node.

        A large array is let go after the last node that uses it: only its variable is needed from then on.
        """
        used = [names_used(proto) for proto in nodes]
        last = {name: place for place, names in enumerate(used) for name in names}
        for place, proto in enumerate(nodes):
            try:
                self._lower_node(proto)
            except MlconvertError:
                raise
            except (ValueError, TypeError, KeyError, IndexError, NotImplementedError, tf.errors.OpError) as error:
                text = " ".join(str(error).split())
                raise ConversionFailed(
                    f"TensorFlow cannot compute the node {node_name(proto)}: {text[:400]}"
                ) from error
            for name in used[place]:
                if last[name] == place and name not in self._kept:
                    self._release(name)

    def _release(self, name: str) -> None:
        value = self._values.get(name)
        if value is None or value.array is None or value.array.nbytes < RELEASED:
            return
        if name in self._arrays:  # can be read again
            del self._values[name]
        elif self.weights.made(_key(name, value)):
            self._values[name] = Value.of(self.tensor(name))

    def _lower_node(self, proto: onnx.NodeProto) -> None:
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        version = self.opsets.get(domain, 0)
        row = (
            None if (domain, proto.op_type, proto.overload) in self.functions else find(domain, proto.op_type, version)
        )
        if row is None:
            self._call(proto, domain, version)
            return
        given = attributes_of(proto, self.attributes)
        node = Node(
            proto.name, proto.op_type, domain, version, tuple(proto.input), tuple(proto.output), self, _graphs(given)
        )
        unknown = sorted(set(given) - set(row.attributes))
        if unknown:
            raise node.refuse(f"has attributes that are not known: {', '.join(unknown)}")
        if row.takes_node:
            given["node"] = node
        if self._fold(row, proto, given):
            return
        results = self._transposed(row, proto, given) or self._computed(row, proto, given)
        for name, value in zip(proto.output, results, strict=False):
            if name:
                self._bind_result(name, value)

    def _bind_result(self, name: str, value: Value) -> None:
        if value.other is None and value.array is None and not value.is_last:
            value.array = _inferred(value.first())
        self.bind(name, value)

    # --- what is known ---

    def _fold(self, row: Operator, proto: onnx.NodeProto, given: Mapping[str, Any]) -> bool:
        """Run the node now, if all that it takes is known and what it gives is not too large."""
        if not row.folds or _graphs(given):
            return False
        values = [self.value(name) if name else None for name in proto.input]
        if any(value is not None and value.array is None for value in values):
            return False
        arrays = [None if value is None else value.array for value in values]
        data = arrays[0] if row.layout == "last" else None
        is_last = data is not None and data.ndim > 2
        if data is not None and is_last:
            arrays[0] = data.transpose(last_of_first(data.ndim))
        with tf.init_scope():
            results = row.function(
                *(None if array is None else tf.constant(as_tensorflow(array)) for array in arrays), **given
            )
        results = results if isinstance(results, tuple) else (results,)
        if not all(result is None or isinstance(result, tf.Tensor) for result in results):
            return False
        made = [None if result is None else _array(result) for result in results]
        if is_last and made[0] is not None:
            made[0] = made[0].transpose(first_of_last(made[0].ndim))
        allowed = max(FOLDED, sum(array.nbytes for array in arrays if array is not None))
        if proto.input and sum(array.nbytes for array in made if array is not None) > allowed:
            return False
        for name, array in zip(proto.output, made, strict=False):
            if name:
                self.bind(name, Value(array=array))
        return True

    # --- layouts ---

    def _transposed(self, row: Operator, proto: onnx.NodeProto, given: Mapping[str, Any]) -> tuple[Value, ...] | None:
        """A Transpose between the two layouts is only another way to see a value."""
        if row.name != "Transpose" or row.domain:
            return None
        value = self.value(proto.input[0])
        rank, order = value.rank, given.get("perm")
        if rank is None or rank < 3 or value.other is not None or value.array is not None:
            return None
        if value.is_last and order == last_of_first(rank):
            return (Value.of(value.last()),)
        if not value.is_last and order == first_of_last(rank):
            return (Value.of_last(value.first()),)
        return None

    def _computed(self, row: Operator, proto: onnx.NodeProto, given: dict[str, Any]) -> tuple[Value, ...]:
        names = tuple(proto.input)
        if row.layout == "last":
            data = self.value(names[0])
            if data.rank is None:
                raise ConversionFailed(f"the node {node_name(proto)} gets a tensor whose number of axes is not known")
            tensors = [self._last(names[0]), *self._tensors(row, names, start=1)]
            results = _as_tuple(row.function(*tensors, **given))
            return (Value.of_last(results[0]), *(Value.of(result) for result in results[1:]))
        if row.layout == "axes" and (axes := self._axes_in_last(names, given)) is not None:
            data = self.value(names[0]).last()
            if len(names) > 1:
                result = row.function(data, tf.constant(axes, tf.int64), **given)
            else:
                result = row.function(data, **{**given, "axes": tuple(axes)})
            return (Value.of_last(result) if given.get("keepdims", 1) else Value.of(result),)
        rank = self._rank_in_last(row, names)
        if rank is None:
            results = _as_tuple(row.function(*self._tensors(row, names), **given))
            return tuple(Value.of(result) for result in results)
        if row.layout == "axis":
            axis = given.get("axis", row.parameters["axis"].default)
            given = {**given, "axis": axis_in_last(axis, rank)}
        tensors = [self._fitting(row, name, rank) if name else None for name in names]
        results = _as_tuple(row.function(*tensors, **given))
        return tuple(
            Value.of_last(result) if isinstance(result, tf.Tensor) and result.shape.rank == rank else Value.of(result)
            for result in results
        )

    def _tensors(self, row: Operator, names: Sequence[str], start: int = 0) -> list[Any]:
        """The inputs from that place on, as ONNX has them."""
        found: list[Any] = []
        for place, name in enumerate(names[start:], start):
            array = self.constant(name) if name and place in row.arranges else None
            if array is not None:
                found.append(tf.TensorSpec(array.shape, tf.as_dtype(array.dtype)))
            else:
                found.append(self.tensor(name) if name else None)
        return found

    def _axes_in_last(self, names: Sequence[str], given: Mapping[str, Any]) -> list[int] | None:
        """The axes of a reduction of a tensor with channels last; None: it has to be reduced with channels first."""
        value = self.value(names[0])
        axes = given.get("axes")
        if axes is None and len(names) > 1 and names[1]:
            axes = self.constant(names[1])
        rank = value.rank
        if not value.is_last or rank is None or axes is None or not len(axes):
            return None
        first = {int(axis) % rank for axis in axes}
        if not given.get("keepdims", 1) and 1 not in first and not set(range(2, rank)) <= first:
            return None  # channels would come after the axes that are left
        return sorted(axis_in_last(axis, rank) for axis in first)

    def _rank_in_last(self, row: Operator, names: Sequence[str]) -> int | None:
        """The rank of tensors that an operator shall compute with channels last; None: with channels first."""
        if row.layout not in ("any", "axis"):
            return None
        values = [self.value(name) for name in names if name]
        ranks = [value.rank for value in values]
        if not any(value.is_last for value in values) or any(rank is None for rank in ranks):
            return None
        rank = max(ranks)  # type: ignore[type-var]
        if any(value.is_last and value.rank != rank for value in values):
            return None
        if row.layout == "axis" and (ranks[0] != rank or any(one != rank and one > 1 for one in ranks)):  # type: ignore[operator]
            return None
        return rank

    def _fitting(self, row: Operator, name: str, rank: int) -> Any:
        """An input with channels last; one that goes along `axis` itself (a scale) stays as it is."""
        value = self.value(name)
        if row.layout == "axis" and value.rank != rank:
            return self.tensor(name)
        return in_last(value, rank, self._first_unless_last(name))

    def _first_unless_last(self, name: str) -> Any:
        return None if self.value(name).is_last else self.tensor(name)

    def _last(self, name: str) -> Any:
        value = self.value(name)
        if value.array is None:
            return value.last()
        if value.array.ndim < 3:
            return self.tensor(name)
        return self.arranged(name, "last", lambda array: array.transpose(last_of_first(array.ndim)))

    # --- functions ---

    def _call(self, proto: onnx.NodeProto, domain: str, version: int) -> None:
        """Lower the body of the function that an operator is, in place of the operator."""
        inputs = [Value() if not name else self.value(name) for name in proto.input]
        types = [self.tensor(name) if name else None for name in proto.input]
        found = function_of(proto, domain, version, self.functions, types)
        if found is None:
            raise ConversionFailed(f"no lowering for {node_name(proto)}, opset {version}")
        opsets = dict(self.opsets) | {
            ("" if e.domain == "ai.onnx" else e.domain): e.version for e in found.opset_import
        }
        attributes = {one.name: one for one in found.attribute_proto}
        attributes |= {one.name: one for one in _resolved(proto, self.attributes)}
        label = next(filter(None, proto.output), proto.name)
        inner = Graph(self.weights, opsets, self.functions, attributes=attributes, label=(*self.label, label))
        for name, value in zip(found.input, inputs, strict=False):
            inner.bind(name, value)
        for name in found.input[len(inputs) :]:
            inner.bind(name, Value())
        inner.keep(found.output)
        inner.run(found.node)
        for name, given in zip(found.output, proto.output, strict=False):
            if given:
                self.bind(given, inner.value(name))


def opsets_of(holder: onnx.ModelProto | onnx.FunctionProto) -> dict[str, int]:
    """Domain -> version of the operators that a model or a function imports; ai.onnx is the empty domain."""
    return {("" if one.domain == "ai.onnx" else one.domain): one.version for one in holder.opset_import}


def constants_of(graph: onnx.GraphProto, read: Callable[[onnx.TensorProto], np.ndarray] | None = None) -> Arrays:
    """A graph's initializers, by name, each read when it is asked for; `read` reads those in other files."""
    from onnx import numpy_helper

    read = read or numpy_helper.to_array
    arrays: dict[str, Callable[[], np.ndarray]] = {}
    for tensor in graph.initializer:
        arrays[tensor.name] = lambda tensor=tensor: read(tensor)  # type: ignore[misc]
    for sparse in graph.sparse_initializer:
        arrays[sparse.values.name] = lambda sparse=sparse: dense(sparse)  # type: ignore[misc]
    return arrays


def names_used(proto: onnx.NodeProto) -> set[str]:
    """The names that a node takes, those that its subgraphs take from around them included."""
    used = {name for name in proto.input if name}
    for attribute in proto.attribute:
        for graph in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
            used |= {name for node in graph.node for name in names_used(node)}
            used |= {output.name for output in graph.output}
    return used


def _key(name: str, value: Value) -> tuple[str, ...]:
    """The key of a constant's weight.

    What was computed goes by its content, too: the body of a loop, lowered twice, may know different lengths.
    """
    if value.key is None:
        array = np.ascontiguousarray(as_tensorflow(value.array))  # type: ignore[arg-type]
        content = repr(array.tolist()).encode() if array.dtype.hasobject else array.reshape(-1).view(np.uint8).data
        described = f"{array.dtype} {array.shape} {hashlib.blake2b(content, digest_size=8).hexdigest()}"
        value.key = (name, described)
    return value.key


def _graphs(given: Mapping[str, Any]) -> dict[str, onnx.GraphProto]:
    """The attributes that are graphs."""
    import onnx

    return {name: value for name, value in given.items() if isinstance(value, onnx.GraphProto)}


def _array(tensor: Any) -> np.ndarray:
    array = tensor.numpy()
    return np.array(array, object) if isinstance(array, bytes) else np.asarray(array)  # a single string comes as bytes


def _as_tuple(results: Any) -> tuple[Any, ...]:
    return results if isinstance(results, tuple) else (results,)


def _inferred(tensor: Any) -> np.ndarray | None:
    """The value of a small vector of integers, where shape inference knows it."""
    if not isinstance(tensor, tf.Tensor) or tensor.dtype not in (tf.int64, tf.int32, tf.bool):
        return None
    shape = tensor.shape
    if shape.rank is None or shape.rank > 1 or not shape.is_fully_defined() or shape.num_elements() > SHAPE_LIKE:
        return None
    return tf.get_static_value(tensor)  # type: ignore[no-any-return]


def _resolved(proto: onnx.NodeProto, attributes: Mapping[str, onnx.AttributeProto]) -> list[onnx.AttributeProto]:
    """A call's attributes, those that refer to attributes of the function around it replaced by these."""
    import onnx

    found = []
    for one in proto.attribute:
        if not one.ref_attr_name:
            found.append(one)
        elif one.ref_attr_name in attributes:
            renamed = onnx.AttributeProto()
            renamed.CopyFrom(attributes[one.ref_attr_name])
            renamed.name = one.name
            found.append(renamed)
    return found
