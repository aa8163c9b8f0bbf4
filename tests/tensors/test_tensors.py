from __future__ import annotations

import errno
import itertools
import json
import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlconvert.errors import ConversionFailed, MlconvertError, OutOfResources
from mlconvert.tensors import TensorWriter, folder_sha256, read_tensors, tensors_sha256, write_tensors

DTYPES = [bool, "i1", "u1", "i2", "i4", "i8", "u8", "f2", "f4", "f8"]


@st.composite
def tensors_and_cuts(draw):
    rows = draw(st.integers(1, 9))
    tensors = {}
    for name in draw(st.lists(st.text(max_size=5), min_size=1, max_size=3, unique=True)):
        shape = (rows, *draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3)))
        kind = draw(st.sampled_from(["number", "text", "bfloat16"]))
        if kind == "text":
            size = math.prod(shape)
            values = draw(st.lists(st.text(max_size=6), min_size=size, max_size=size))
            tensors[name] = np.array(values, dtype=np.str_).reshape(shape)
        elif kind == "bfloat16":
            tensors[name] = draw(hnp.arrays("f4", shape)).astype(ml_dtypes.bfloat16)
        else:
            tensors[name] = draw(hnp.arrays(draw(st.sampled_from(DTYPES)), shape))
    cuts = sorted(draw(st.sets(st.integers(1, rows))))
    return tensors, [0, *cuts, rows]


@given(tensors_and_cuts())
@settings(deadline=None, max_examples=120)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
def test_any_split_into_batches_reads_back_the_same(tmp_path_factory, drawn):
    tensors, cuts = drawn
    folder = tmp_path_factory.mktemp("tensors")
    with TensorWriter(folder) as writer:
        for start, stop in itertools.pairwise(cuts):
            batch = {name: array[start:stop] for name, array in tensors.items()}
            # Each batch of strings as wide as it happens to be.
            batch = {
                n: np.array(a.tolist(), np.str_).reshape(a.shape) if a.dtype.kind == "U" else a
                for n, a in batch.items()
            }
            writer.append(batch)
    back = read_tensors(folder)
    assert list(back) == list(tensors)
    for name, array in tensors.items():
        assert back[name].shape == array.shape
        if array.dtype.kind == "U":
            assert back[name].tolist() == array.tolist()
        else:
            assert back[name].dtype == array.dtype
            assert back[name].tobytes() == array.tobytes()
    assert folder_sha256(folder) == tensors_sha256(tensors)
    assert not list(folder.glob("*.wide"))


def test_arrays_are_mapped_read_only_and_readable_by_plain_numpy(tmp_path):
    write_tensors(tmp_path, {"y": np.arange(6.0).reshape(2, 3)})
    array = read_tensors(tmp_path)["y"]
    assert not array.flags.writeable
    assert not array.flags.owndata
    entry = json.loads((tmp_path / "tensors.json").read_text())["tensors"][0]
    np.testing.assert_array_equal(np.load(tmp_path / entry["file"], allow_pickle=False), array)


def test_other_memory_layouts_and_byte_orders(tmp_path):
    array = np.arange(12, dtype=">i4").reshape(3, 4)
    write_tensors(tmp_path, {"a": array, "b": np.asfortranarray(array), "c": array[:, ::2]})
    back = read_tensors(tmp_path)
    for name, expected in {"a": array, "b": array, "c": array[:, ::2]}.items():
        np.testing.assert_array_equal(back[name], expected)
        assert back[name].dtype.isnative


def test_digest_is_of_content():
    x = {"a": np.arange(4.0), "b": np.array(["x", "yy"])}
    same = {"b": np.array(["x", "yy"], "<U40"), "a": np.arange(4.0)}
    assert tensors_sha256(x) == tensors_sha256(same)
    for other in (
        {**x, "a": np.arange(4.0).reshape(2, 2)},
        {**x, "a": np.arange(4.0, dtype="f4")},
        {**x, "a": np.array([0.0, 1, 2, 4])},
        {"c": x["a"], "b": x["b"]},
        {"a": x["a"]},
    ):
        assert tensors_sha256(other) != tensors_sha256(x)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"y": np.zeros((2, 4), "f4")}, r"'y' had the shape \[rows, 3\]"),
        ({"y": np.zeros((2, 3), "f8")}, "'y' was float32 and is float64"),
        ({"y": np.zeros((2, 3), "i4")}, "'y' was float32 and is int32"),
        ({"y": np.array("f4")}, "'y' was float32 and is string"),
        ({"y": np.zeros((), "f4")}, "'y' had the shape"),
        ({}, "'y' is missing"),
        ({"y": np.zeros((2, 3), "f4"), "z": np.zeros(2)}, "'z' appeared"),
        ({"y": np.array([object()])}, "'y' has the dtype object"),
    ],
)
def test_a_batch_unlike_the_first_is_refused(tmp_path, second, message):
    def write():
        with TensorWriter(tmp_path) as writer:
            writer.append({"y": np.zeros((2, 3), "f4")})
            writer.append(second)

    with pytest.raises(ConversionFailed, match=message):
        write()
    with pytest.raises(ConversionFailed, match="not finished"):
        read_tensors(tmp_path)


@pytest.mark.parametrize("array", [np.array([None]), np.zeros(2, complex), np.array([b"x"]), np.array(1.0)])
def test_what_is_no_tensor_is_refused(tmp_path, array):
    with pytest.raises(ConversionFailed, match="'y'"):
        write_tensors(tmp_path, {"y": array})


def test_no_tensors_at_all(tmp_path):
    write_tensors(tmp_path, {})
    assert read_tensors(tmp_path) == {}


def test_a_folder_is_written_once(tmp_path):
    write_tensors(tmp_path, {"y": np.zeros(2)})
    with pytest.raises(MlconvertError, match="once"):
        TensorWriter(tmp_path)


def test_damaged_folders_are_refused(tmp_path):
    write_tensors(tmp_path, {"y": np.zeros((100, 3))})
    content = (tmp_path / "0.npy").read_bytes()
    for damaged in (content[:-8], b"", b"text"):
        (tmp_path / "0.npy").write_bytes(damaged)
        with pytest.raises(ConversionFailed, match="'y'"):
            read_tensors(tmp_path)
    np.save(tmp_path / "0.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ConversionFailed, match="'y'"):
        read_tensors(tmp_path)
    np.save(tmp_path / "0.npy", np.zeros((100, 2)))
    with pytest.raises(ConversionFailed, match="where the index says"):
        read_tensors(tmp_path)
    for text in ("{", "[]", '{"schema": "other"}'):
        (tmp_path / "tensors.json").write_text(text)
        with pytest.raises(ConversionFailed, match=r"tensors\.json"):
            read_tensors(tmp_path)


def test_a_full_disk_is_out_of_resources(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with TensorWriter(tmp_path) as writer:
        writer.append({"y": np.zeros(3)})
        monkeypatch.setattr(writer._tensors["y"], "append", full)
        with pytest.raises(OutOfResources, match="disk is full"):
            writer.append({"y": np.zeros(3)})
