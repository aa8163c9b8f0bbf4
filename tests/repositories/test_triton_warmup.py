"""model_warmup: made of the record's rows, in the bytes that the server takes, for every shape that matters."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mlconvert.artifact import Artifact, file_sha256
from mlconvert.errors import NotVerified, RepositoryInvalid, UsageError
from mlconvert.repositories.triton.backends import onnxruntime
from mlconvert.repositories.triton.description import Description
from mlconvert.repositories.triton.sections.warmup import wire_bytes
from mlconvert.signature import Signature, TensorSpec
from mlconvert.tensors.rows import encode_rows

ROWS = Signature(
    (TensorSpec("x", "float32", ("n", 3)), TensorSpec("word/s", "string", ("n",))), (TensorSpec("y", "int64", ("n",)),)
)
VALUES = {"x": np.array([[1.5, 2, np.inf], [3, 4, 5]], np.float64), "word/s": np.array(["Käse", ""])}
LISTS = Signature((TensorSpec("ids", "int64", ("n", "m")),), (TensorSpec("y", "float32", ("n", 2)),))
TOKENS = {"ids": np.array([[7, 8, 9]])}


def record_of(rows: Mapping[str, np.ndarray], **more: Any) -> dict[str, Any]:
    count = len(next(iter(rows.values())))
    packed = encode_rows(rows, {"y": np.zeros(count)}, count=count, limit=1 << 20)
    return {"rows": packed, **more}


def described(signature: Signature, record: Any, facts: Mapping[str, Any] | None = None, **options: Any) -> Description:
    artifact = Artifact("onnx", "m.onnx", (Path("m.onnx"),), signature, facts=facts or {})
    return onnxruntime.describe(signature, "m", artifact=artifact, record=record, **options)


def samples(description: Description) -> list[tuple[str, int, dict[str, tuple[list[int], bytes]]]]:
    return [
        (
            sample.name,
            sample.batch_size,
            {
                name: (list(row.dims), description.files[f"warmup/{row.input_data_file}"])
                for name, row in sample.inputs.items()
            },
        )
        for sample in description.config.model_warmup
    ]


def test_by_default_one_row_and_a_full_batch_of_it() -> None:
    told = {"x": ([3], struct.pack("<3f", 1.5, 2, np.inf)), "word/s": ([1], b"\x05\x00\x00\x00K\xc3\xa4se")}
    description = described(ROWS, record_of(VALUES))
    assert samples(description) == [("batch 1", 1, told), ("batch 64", 64, told)]
    assert [sample.count for sample in description.config.model_warmup] == [1, 1]
    assert sorted(name.partition("-")[2] for name in description.files) == ["word_s", "x"]
    chosen = described(ROWS, record_of(VALUES), warmup_batch_sizes="2,5", warmup_count=3)
    assert [(name, size) for name, size, _ in samples(chosen)] == [("batch 2", 2), ("batch 5", 5)]
    assert chosen.config.model_warmup[0].count == 3
    assert described(ROWS, record_of(VALUES), warmup="no").files == {}
    assert described(ROWS, None).files == {}


def test_without_batching_the_whole_shape_is_given() -> None:
    ((name, size, told),) = samples(described(ROWS, record_of(VALUES), max_batch_size=0))
    assert (name, size) == ("sample", 1)
    assert told["x"][0] == [1, 3]
    assert told["word/s"][0] == [1]


def test_fixed_rows_are_filled_and_a_single_sample_has_no_axis_of_rows() -> None:
    fixed = Signature((TensorSpec("x", "float32", (3, 2)), TensorSpec("one", "bool", (2,))), ROWS.outputs)
    rows = {"x": np.array([[1.0, 2], [3, 4]], np.float32), "one": np.array([[True, False], [False, True]])}
    ((_, _, told),) = samples(described(fixed, record_of(rows)))
    assert told["x"] == ([3, 2], struct.pack("<6f", 1, 2, 3, 4, 1, 2))
    assert told["one"] == ([2], b"\x01\x00")


def test_renamed_inputs_and_a_backends_own_names() -> None:
    renamed = record_of(
        {"features": VALUES["x"], "text": VALUES["word/s"]}, renamed={"features": "x", "text": "word/s"}
    )
    assert samples(described(ROWS, renamed)) == samples(described(ROWS, record_of(VALUES)))
    served = Signature(
        (TensorSpec("input__0", "float32", ("n", 3)), TensorSpec("input__1", "string", ("n",))), ROWS.outputs
    )
    artifact = Artifact("onnx", "m.onnx", (), ROWS)
    description = onnxruntime.describe(served, "m", artifact=artifact, record=record_of(VALUES))
    assert set(samples(description)[0][2]) == {"input__0", "input__1"}


def test_every_profile_of_an_engine_is_run_at_its_three_points() -> None:
    shapes = {"min": [1, 1], "opt": [4, 3], "max": [128, 7]}
    description = described(
        LISTS, record_of(TOKENS), {"profiles": [{"ids": shapes}, {"ids": {**shapes, "max": [2, 5]}}]}
    )
    assert [(name, size, told["ids"][0]) for name, size, told in samples(description)] == [
        ("profile 0 min", 1, [1]), ("profile 0 opt", 4, [3]), ("profile 0 max", 64, [7]),  # cut to max_batch_size
        ("profile 1 min", 1, [1]), ("profile 1 opt", 4, [3]), ("profile 1 max", 2, [5]),
    ]  # fmt: skip
    assert samples(description)[2][2]["ids"][1] == struct.pack("<7q", 7, 8, 9, 7, 8, 9, 7)  # real tokens, repeated
    whole = described(LISTS, record_of(TOKENS), {"profiles": [{"ids": shapes}]}, max_batch_size=0)
    assert [told["ids"][0] for _, _, told in samples(whole)] == [[1, 1], [4, 3], [128, 7]]


@pytest.mark.parametrize(
    ("signature", "record", "facts", "reason"),
    [
        (ROWS, record_of({"x": VALUES["x"]}), {}, "lack input 'word/s'"),
        (ROWS, record_of({**VALUES, "x": np.ones((2, 4))}), {}, r"the shape \[1, 4\]"),
        (ROWS, record_of({**VALUES, "x": np.ones(2)}), {}, "have 1 axes"),
        (ROWS, record_of({**VALUES, "x": np.full((2, 3), 1e300)}), {}, "does not fit float32"),
        (ROWS, {"rows": {"inputs": {}}}, {}, "cannot be read"),
        (ROWS, {"rows": {"inputs": {"x": {"dtype": "int8", "shape": [1], "deflate_base64": "AAAA"}}}}, {},
         "cannot be read"),
        (LISTS, record_of(TOKENS), {"profiles": [{"ids": {"min": [1, 1]}}]}, "lacks the opt shape of input 'ids'"),
        (LISTS, record_of(TOKENS), {"profiles": [{"other": {}}]}, "lacks the min shape of input 'ids'"),
    ],
)  # fmt: skip
def test_rows_that_do_not_fit_are_left_out_by_default_and_refused_when_asked_for(
    signature: Signature, record: Any, facts: Mapping[str, Any], reason: str
) -> None:
    with pytest.raises(NotVerified, match=reason):
        described(signature, record, facts, warmup="yes")
    description = described(signature, record, facts)
    assert description.files == {}
    assert list(description.config.model_warmup) == []
    assert "No warm-up: " in "".join(description.comments)


def test_sequences_are_not_warmed_up() -> None:
    assert described(LISTS, record_of(TOKENS), sequence_batching="direct").files == {}
    with pytest.raises(UsageError, match="outside of any sequence"):
        described(LISTS, record_of(TOKENS), sequence_batching="direct", warmup="yes")


@given(
    arrays.arrays(
        st.sampled_from(["bool", "uint8", "int16", "int64", "float16", "float32", "float64", ">i4", ">f8", "U7"]),
        arrays.array_shapes(min_dims=0, max_dims=3, max_side=4),
    )
)
def test_wire_bytes_are_what_a_server_reads_back(values: np.ndarray) -> None:
    content = wire_bytes(values)
    if values.dtype.kind != "U":
        back = np.frombuffer(content, values.dtype.newbyteorder("<")).reshape(values.shape)
        np.testing.assert_array_equal(back, values)
        return
    texts = []
    while content:
        (length,) = struct.unpack("<I", content[:4])
        texts.append(content[4 : 4 + length].decode())
        content = content[4 + length :]
    assert texts == values.reshape(-1).tolist()


def test_the_server_runs_the_rows_before_it_is_ready(
    model_of: Callable[[Signature], Artifact], loads: Callable[..., None], tmp_path: Path
) -> None:
    """A file that is cut short is refused by the real server: so it does read them."""
    from mlconvert.repositories.triton import publish

    artifact = model_of(ROWS)
    record = record_of(VALUES, files=[], schema="")
    record["files"] = [{"sha256": file_sha256(artifact.path), "path": "made.onnx"}]
    publish(artifact, tmp_path / "models", "m", record={**record, "path": "made.onnx"})
    loads(tmp_path / "models")
    (cut,) = (tmp_path / "models/m/warmup").glob("*-x")
    cut.write_bytes(cut.read_bytes()[:-1])
    with pytest.raises(RepositoryInvalid, match="warmup setting expects 12 bytes"):
        loads(tmp_path / "models")
    cut.unlink()
    with pytest.raises(RepositoryInvalid, match="warmup"):
        loads(tmp_path / "models")
