"""TensorFlow Lite's files without TensorFlow: what they take and give, and an answer for every damage."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlconvert.errors import ConversionFailed
from mlconvert.formats import recognise
from mlconvert.formats.tflite import read_tflite


@pytest.fixture(scope="module")
def whole(trained):
    return trained("digits_lite_int8.tflite").read_bytes()


def test_names_types_and_axes(trained):
    model = read_tflite(trained("digits_lite.tflite"))
    assert [str(spec) for spec in model.signature.inputs] == ["image: float32[batch, 8, 8, 1]"]
    assert [str(spec) for spec in model.signature.outputs] == ["probabilities: float32[batch, 10]"]
    assert (model.signatures, model.quantized, model.repeated) == (("serving_default",), False, ())
    model = read_tflite(trained("digits_lite_int8.tflite"))
    assert [str(spec) for spec in model.signature.inputs] == ["image: int8[batch, 8, 8, 1]"]
    assert [str(spec) for spec in model.signature.outputs] == ["probabilities: int8[batch, 10]"]
    assert model.quantized


@pytest.mark.parametrize("kept", [8, 40, 500, -2000, -1])
def test_a_file_that_is_cut_off_is_damaged(whole, tmp_path, kept):
    path = tmp_path / "model.tflite"
    path.write_bytes(whole[:kept])
    with pytest.raises(ConversionFailed, match="truncated or damaged"):
        recognise(str(path))
    if kept > 0:
        with pytest.raises(ConversionFailed, match="not a TensorFlow Lite model, or a damaged one"):
            read_tflite(path)


@settings(max_examples=150)
@given(data=st.data())
def test_damaged_bytes_end_in_an_answer_or_an_error_of_ours(whole, tmp_path_factory, data):
    content = bytearray(whole)
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=20)):
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "model.tflite"
    path.write_bytes(content[: data.draw(st.integers(8, len(content)))])
    for read in (lambda: recognise(str(path), format="tflite"), lambda: read_tflite(path)):
        try:
            read()
        except Exception as error:
            assert type(error).__module__ == "mlconvert.errors", error  # noqa: PT017 - any other class is the failure
