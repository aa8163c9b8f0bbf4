"""Warm-up requests: as TensorFlow Serving's own messages and TensorFlow's own reader read them."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_serving.apis import prediction_log_pb2

from mlconvert.errors import NotVerified, RepositoryInvalid, UsageError
from mlconvert.repositories.tf_serving import publish, saved_models
from mlconvert.repositories.tf_serving.warmup import crc32c, tf_record, warmup
from mlconvert.serving.tf_serving.messages import message, type_name
from mlconvert.serving.tf_serving.tensor_protos import DTYPES, fill_tensor
from mlconvert.signature import Signature, TensorSpec
from mlconvert.tensors.rows import encode_rows

Y = (TensorSpec("y", "float32", ("n",)),)
VALUES = {"x": np.arange(6, dtype=np.float32).reshape(3, 2), "word": np.array(["a", "é", ""])}
ROWS = Signature((TensorSpec("word", "string", ("n",)), TensorSpec("x", "float32", ("n", 2))), Y)


def record_of(values: dict[str, np.ndarray], **more: Any) -> dict[str, Any]:
    answers = {"y": np.zeros(len(next(iter(values.values()))), np.float32)}
    return {"rows": encode_rows(values, answers, count=8, limit=1 << 20), **more}


def parts(content: bytes) -> list[bytes]:
    """The records of a TFRecord, by the format's description."""
    found, place = [], 0
    while place < len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        assert masked(content[place : place + 8]) == content[place + 8 : place + 12]
        body = content[place + 12 : place + 12 + length]
        assert masked(body) == content[place + 12 + length : place + 16 + length]
        found.append(body)
        place += 16 + length
    return found


def masked(content: bytes) -> bytes:
    crc = crc32c(content)
    return (((crc >> 15 | crc << 17) + 0xA282EAD8) % (1 << 32)).to_bytes(4, "little")


def requests(content: bytes | None) -> list[Any]:
    assert content is not None
    logs = [prediction_log_pb2.PredictionLog.FromString(part) for part in parts(content)]
    assert {log.WhichOneof("log_type") for log in logs} == {"predict_log"}
    return [log.predict_log.request for log in logs]


def arrays(request: Any) -> dict[str, Any]:
    """The inputs of a request by the real TensorProto's fields."""
    found = {}
    for name, tensor in request.inputs.items():
        shape = [dim.size for dim in tensor.tensor_shape.dim]
        if tensor.dtype == 7:
            found[name] = [word.decode() for word in tensor.string_val]
            assert np.prod(shape) == len(found[name])
        else:
            assert tensor.dtype == 1
            found[name] = np.frombuffer(tensor.tensor_content, "<f4").reshape(shape).tolist()
    return found


def test_a_request_for_every_row() -> None:
    content, remark = warmup("m", ROWS, record_of(VALUES))
    assert remark is None
    found = requests(content)
    assert [(one.model_spec.name, one.model_spec.signature_name) for one in found] == [("m", "serving_default")] * 3
    assert [arrays(one) for one in found] == [
        {"x": [[0, 1]], "word": ["a"]}, {"x": [[2, 3]], "word": ["é"]}, {"x": [[4, 5]], "word": [""]},
    ]  # fmt: skip
    assert warmup("m", ROWS, record_of(VALUES)) == (content, None)


def test_batches_are_made_of_the_rows() -> None:
    found = requests(warmup("m", ROWS, record_of(VALUES), warmup_batch_sizes=(4, 1, 4))[0])
    assert [len(one["word"]) for one in map(arrays, found)] == [1, 1, 1, 4]
    assert arrays(found[-1])["x"] == [[0, 1], [2, 3], [4, 5], [0, 1]]


def test_a_fixed_batch_and_a_model_of_one_sample() -> None:
    fixed = Signature((TensorSpec("x", "float32", (2, 2)),), Y)
    assert [arrays(one)["x"] for one in requests(warmup("m", fixed, record_of(VALUES))[0])] == [
        [[0, 1], [2, 3]], [[2, 3], [4, 5]], [[4, 5], [0, 1]],
    ]  # fmt: skip
    single = Signature((TensorSpec("x", "float32", (2,)),), Y)
    assert [arrays(one)["x"] for one in requests(warmup("m", single, record_of(VALUES))[0])] == [[0, 1], [2, 3], [4, 5]]


def test_tensors_that_have_other_names_in_the_source() -> None:
    renamed = Signature((TensorSpec("word_s", "string", ("n",)), TensorSpec("x", "float32", ("n", 2))), Y)
    record = record_of({"word/s": VALUES["word"], "x": VALUES["x"]}, renamed={"word/s": "word_s"})
    assert arrays(requests(warmup("m", renamed, record)[0])[0])["word_s"] == ["a"]


def test_none_without_rows_and_what_is_asked_for_must_be_there() -> None:
    assert warmup("m", ROWS, None) == (None, None)
    assert warmup("m", ROWS, record_of(VALUES), warmup=False) == (None, None)
    assert warmup("m", None, record_of(VALUES)) == (None, None)
    content, remark = warmup("m", ROWS, record_of({"x": VALUES["x"]}))
    assert content is None
    assert remark == "no warm-up requests: the record's rows lack input 'word'"
    with pytest.raises(RepositoryInvalid, match="no real rows"):
        warmup("m", ROWS, None, warmup=True)
    with pytest.raises(RepositoryInvalid, match="no signature"):
        warmup("m", None, record_of(VALUES), warmup_batch_sizes=(2,))
    with pytest.raises(NotVerified, match="lack input"):
        warmup("m", ROWS, record_of({"x": VALUES["x"]}), warmup=True)
    for given_, words in (
        ({"warmup": False, "warmup_batch_sizes": (2,)}, "contradicts"),
        ({"warmup_batch_sizes": (0,)}, "1 or"),
    ):
        with pytest.raises(UsageError, match=words):
            warmup("m", ROWS, record_of(VALUES), **given_)


@pytest.mark.parametrize(
    "values",
    [
        np.array([[1.5, -2]], np.float16), np.array([1.5, -2], ml_dtypes.bfloat16), np.array([], np.float64),
        np.array(3, np.int8), np.array([True, False]), np.array([1 << 63], np.uint64), np.array([["ä", ""]]),
        np.array([-5], ">i4"),
    ],
    ids=str,
)  # fmt: skip
def test_any_array_is_the_tensor_that_the_server_reads(values: np.ndarray) -> None:
    ours = message("TensorProto")()
    fill_tensor(ours, values)
    found = prediction_log_pb2.PredictionLog()
    tensor = found.predict_log.request.inputs["x"]
    tensor.ParseFromString(ours.SerializeToString())
    assert [dim.size for dim in tensor.tensor_shape.dim] == list(values.shape)
    if values.dtype.kind == "U":
        assert [word.decode() for word in tensor.string_val] == values.reshape(-1).tolist()
        return
    assert DTYPES[type_name(tensor.dtype)] == values.dtype.name
    plain = np.frombuffer(tensor.tensor_content, values.dtype.newbyteorder("="))
    assert plain.tolist() == values.reshape(-1).tolist()


def test_the_checksum_is_crc_32c() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value of the catalogue
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    assert crc32c(b"\xff" * 32) == 0x62A8AB43


@given(st.lists(st.binary(max_size=40), max_size=4))
def test_records_read_back(contents: list[bytes]) -> None:
    assert parts(tf_record(contents)) == contents


def test_a_model_with_requests_of_its_own_keeps_them(make_saved, tmp_path: Path) -> None:
    source = make_saved(1.0)
    own = source.folder / saved_models.WARMUP
    own.parent.mkdir()
    own.write_bytes(b"theirs")
    source = replace(source, files=(*source.files, own))
    with pytest.raises(UsageError, match="of its own"):
        publish(source, tmp_path / "models", "m", options={"warmup": "yes"})
    done = publish(source, tmp_path / "models", "m")
    assert (done.path / saved_models.WARMUP).read_bytes() == b"theirs"
