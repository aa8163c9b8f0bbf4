"""The table of operators against ONNX's own definitions."""

from __future__ import annotations

import onnx
import pytest

LEFT_OUT = {
    ("ai.onnx.ml", "CastMap"): "maps are no tensors",
    ("ai.onnx.ml", "DictVectorizer"): "maps are no tensors",
    ("ai.onnx.ml", "ZipMap"): "maps are no tensors",
    ("ai.onnx.preview.training", "Gradient"): "a served model does not train",
}


@pytest.fixture(scope="module")
def find():
    from mlconvert.readers.tensorflow_runtime import import_tensorflow

    import_tensorflow()
    from mlconvert.tensorflow.operators import find

    return find


def schemas():
    return [one for one in onnx.defs.get_all_schemas_with_history() if not one.deprecated]


def test_every_version_of_every_operator_has_a_row_but_those_left_out(find):
    missing = {(one.domain, one.name) for one in schemas() if find(one.domain, one.name, one.since_version) is None}
    assert missing == set(LEFT_OUT)


def test_every_attribute_of_every_version_is_known(find):
    rows = ((one, find(one.domain, one.name, one.since_version)) for one in schemas())
    unknown = {
        (one.name, one.since_version): sorted(set(one.attributes) - set(row.attributes))
        for one, row in rows
        if row is not None and set(one.attributes) - set(row.attributes)
    }
    assert unknown == {}
