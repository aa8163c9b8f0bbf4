"""The attributes of a node, as the functions that lower operators take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx


def attributes_of(node: onnx.NodeProto, around: Mapping[str, onnx.AttributeProto]) -> dict[str, Any]:
    """A node's attributes by name: int, float, str, tuple of them, array or graph.

    Those that refer to an attribute of the function that the node is in have that one's value, and are left out where
    the call gave none.
    """
    found = {}
    for given in node.attribute:
        source = given
        if given.ref_attr_name:
            if given.ref_attr_name not in around:
                continue
            source = around[given.ref_attr_name]
        found[given.name] = _value(source)
    return found


def _value(attribute: onnx.AttributeProto) -> Any:
    import onnx
    from onnx import numpy_helper

    kind = onnx.AttributeProto
    if attribute.type == kind.TENSOR:
        return numpy_helper.to_array(attribute.t)
    if attribute.type == kind.SPARSE_TENSOR:
        return dense(attribute.sparse_tensor)
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.type == kind.STRING:
        return value.decode("utf-8", "surrogateescape")
    if attribute.type == kind.STRINGS:
        return tuple(one.decode("utf-8", "surrogateescape") for one in value)
    if attribute.type in (kind.INTS, kind.FLOATS):
        return tuple(value)
    return value


def dense(sparse: onnx.SparseTensorProto) -> np.ndarray:
    """A sparse tensor as an array: its values at linear indices, or at one index per axis."""
    from onnx import numpy_helper

    values, places = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
    made = np.zeros(tuple(sparse.dims), values.dtype)
    if places.ndim == 1:
        made.reshape(-1)[places] = values
    else:
        made[tuple(places.T)] = values
    return made
