"""Outlines of serialised models: what is left out of them, and what is put in again."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.formats.protobuf_wire import WireError, fields
from mlconvert.onnx_model import splicing
from mlconvert.onnx_model.splicing import left_out, put_in

AT_LEAST = 40
ELEMENTS = (onnx.TensorProto.FLOAT, onnx.TensorProto.INT8, onnx.TensorProto.BFLOAT16, onnx.TensorProto.INT64)

tensors = st.builds(
    onnx.TensorProto,
    name=st.text(max_size=3),
    dims=st.lists(st.integers(0, 200), max_size=3),
    data_type=st.sampled_from(ELEMENTS),
    doc_string=st.text(max_size=3),
    raw_data=st.binary(max_size=300),
)
typed = st.builds(onnx.TensorProto, data_type=st.just(1), float_data=st.lists(st.floats(width=32), max_size=60))
others = st.builds(
    onnx.TensorProto,
    data_type=st.just(1),
    raw_data=st.binary(max_size=80),
    data_location=st.just(onnx.TensorProto.EXTERNAL),
    external_data=st.just([onnx.StringStringEntryProto(key="location", value="w")]),
)


@st.composite
def models(draw):
    model = onnx.ModelProto(ir_version=draw(st.integers(1, 300)), producer_name=draw(st.text(max_size=200)))
    model.graph.name = draw(st.text(max_size=5))
    model.graph.initializer.extend(draw(st.lists(st.one_of(tensors, typed, others), max_size=5)))
    for name in draw(st.lists(st.text(min_size=1, max_size=5), max_size=3)):
        node = onnx.helper.make_node("Constant", [], [name], value=draw(tensors))
        model.graph.node.append(node)
        model.graph.output.add(name=name)
    model.opset_import.add(domain="", version=draw(st.integers(1, 30)))
    return model


def cut(tensor):
    return len(tensor.raw_data) >= AT_LEAST and not tensor.external_data


@given(models())
def test_an_outline_lacks_the_large_raw_data_and_says_where_they_are(model):
    data = model.SerializeToString(deterministic=True)
    written, places = left_out(data, len(data), AT_LEAST, "there")
    outline = onnx.ModelProto.FromString(written)
    assert places == {n for n, tensor in enumerate(model.graph.initializer) if cut(tensor)}
    for before, after in zip(model.graph.initializer, outline.graph.initializer, strict=True):
        if not cut(before):
            assert after == before or "nan" in str(before)
            continue
        entries = {entry.key: entry.value for entry in after.external_data}
        start, length = int(entries["offset"]), int(entries["length"])
        assert (entries["location"], data[start : start + length]) == ("there", before.raw_data)
        assert after.data_location == after.EXTERNAL
        assert not after.HasField("raw_data")
        after.raw_data = before.raw_data
        after.ClearField("data_location")
        after.ClearField("external_data")
    assert outline.SerializeToString(deterministic=True) == data


@given(models())
def test_what_is_put_in_again_makes_the_same_bytes(model):
    data = model.SerializeToString(deterministic=True)
    lengths = {n: len(tensor.raw_data) for n, tensor in enumerate(model.graph.initializer) if cut(tensor)}
    outline = onnx.ModelProto.FromString(left_out(data, len(data), AT_LEAST, "there")[0]).SerializeToString(
        deterministic=True
    )
    pieces = put_in(outline, lengths)
    assert [piece for piece in pieces if isinstance(piece, int)] == sorted(lengths)
    raw = [tensor.raw_data for tensor in model.graph.initializer]
    assert b"".join(raw[piece] if isinstance(piece, int) else piece for piece in pieces) == data


@given(st.binary(max_size=50), st.data())
def test_a_file_is_indexed_like_bytes(tmp_path_factory, content, data):
    path = tmp_path_factory.mktemp("indexed") / "f"
    path.write_bytes(content)
    with path.open("rb") as stream, pytest.MonkeyPatch.context() as patch:
        patch.setattr(splicing, "_WINDOW", data.draw(st.integers(1, 9)))
        indexed = splicing.FileBytes(stream)
        for at in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=20)) if content else ():
            assert indexed[at] == content[at]
            end = data.draw(st.integers(0, 60))
            assert indexed[at:end] == content[at:end]
        assert indexed[3:] == content[3:]
        with pytest.raises(IndexError):
            indexed[len(content)]


def test_a_graph_that_is_cut_off_is_refused():
    model = onnx.ModelProto(ir_version=8)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(100, np.float32), "w"))
    data = model.SerializeToString()
    for end in range(3, len(data)):
        with pytest.raises(WireError):
            left_out(data[:end], end, AT_LEAST, "there")


def test_typed_data_are_not_walked_number_by_number(monkeypatch):
    """Numbers that are not packed, as old writers had them: each is a field of its own."""
    tensor = onnx.TensorProto(data_type=1).SerializeToString() + b"\x28\x01" * 1000  # int32_data
    graph = b"\x2a" + _length(tensor) + tensor
    data = b"\x08\x08\x3a" + _length(graph) + graph
    seen = []
    monkeypatch.setattr(splicing, "fields", lambda *where: (seen.append(span) or span for span in fields(*where)))
    assert left_out(data, len(data), AT_LEAST, "there") == (data, frozenset())
    assert len(seen) < 10


def _length(data):
    size, encoded = len(data), b""
    while size > 127:
        encoded += bytes([size & 127 | 128])
        size >>= 7
    return encoded + bytes([size])
