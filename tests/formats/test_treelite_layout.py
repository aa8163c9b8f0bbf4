"""treelite checkpoints are told by their content, and nothing else is taken for one."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.formats import FORMATS, recognise
from mlconvert.formats.content import Content
from mlconvert.formats.treelite_layout import HEADER, START, TREE, read_layout, version_of

treelite = pytest.importorskip("treelite")


@pytest.fixture(scope="module")
def whole() -> bytes:
    from sklearn.ensemble import RandomForestClassifier

    rows = np.random.default_rng(0).normal(size=(60, 3))
    forest = RandomForestClassifier(n_estimators=3, max_depth=3, random_state=0).fit(rows, np.arange(60) % 3)
    return treelite.sklearn.import_model(forest).serialize_bytes()


@pytest.fixture
def checkpoint(whole, tmp_path) -> Path:
    path = tmp_path / "checkpoint.tl"
    path.write_bytes(whole)
    return path


@pytest.mark.parametrize("name", ["checkpoint.tl", "model.bin", "model.onnx", "model.txt", "model.pkl", "model"])
def test_a_checkpoint_is_known_whatever_its_name(checkpoint, name):
    path = checkpoint.rename(checkpoint.with_name(name))
    assert recognise(str(path)) == "treelite"
    assert [row.name for row in FORMATS if row.recognises(Content.of(path))] == ["treelite"]


def test_from_agrees_or_is_refused(checkpoint):
    assert recognise(str(checkpoint), format="treelite") == "treelite"
    with pytest.raises(UsageError, match="not"):
        recognise(str(checkpoint), format="onnx")


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.999])
def test_a_checkpoint_that_was_cut_off_is_damaged_not_unknown(checkpoint, whole, kept):
    checkpoint.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(ConversionFailed, match="truncated or damaged: it is cut off") as caught:
        recognise(str(checkpoint))
    assert caught.value.where == str(checkpoint)


def test_the_layout_is_treelites(whole):
    model = treelite.Model.deserialize_bytes(whole)
    layout = read_layout(whole)
    assert layout.version == tuple(map(int, treelite.__version__.split(".")[:3]))
    assert layout.number == "f8"
    assert len(layout.trees) == model.num_tree
    header, tree = model.get_header_accessor(), model.get_tree_accessor(1)
    for accessor, fields, known in ((header, layout.header, HEADER), (tree, layout.trees[1], TREE)):
        assert list(fields) == list(known)
        for name, field in fields.items():
            if name.startswith("num_opt"):
                continue
            value = accessor.get_field(name)
            if field.kind == "text":
                assert whole[field.start : field.start + field.count].decode() == value
            else:
                assert np.frombuffer(whole, f"<{field.kind}", field.count, field.start).tolist() == value.tolist()


@pytest.mark.parametrize("version", [(3, 9, 0), (5, 0, 0), (4, 99, 3)])
def test_checkpoints_of_other_versions_are_checkpoints(checkpoint, whole, version):
    checkpoint.write_bytes(struct.pack("<3i", *version) + whole[12:])
    assert recognise(str(checkpoint)) == "treelite"
    assert version_of(checkpoint.read_bytes()) == version


@pytest.mark.parametrize(
    ("offset", "data"),
    [(0, b"\x02"), (0, b"\xff\xff\xff\xff"), (4, b"\0\0\0\x7f"), (12, b"\x01"), (13, b"\x02"), (14, b"\0" * 7 + b"\1"),
     (22, b"\xff\xff\xff\xff"), (26, b"\x05"), (27, b"\x02"), (28, b"\0\0\0\0"), (32, b"\x02")],
)  # fmt: skip
def test_what_only_begins_like_a_checkpoint_is_none(whole, offset, data):
    assert version_of(whole[:offset] + data + whole[offset + len(data) :]) is None


@given(st.binary(max_size=80))
def test_no_bytes_at_random_are_a_checkpoint(data):
    assert version_of(data) is None or START.unpack_from(data)[0] >= 3


def test_safetensors_arrays_and_numbers_are_none(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(100))
    samples = {
        "little integers": np.arange(1, 200, dtype="<i4").tobytes(),
        "doubles": np.random.default_rng(0).normal(size=100).tobytes(),
        "zeros": b"\0" * 500,
        "safetensors": struct.pack("<Q", 8) + b'{"a":1} ',
        "npy": (tmp_path / "a.npy").read_bytes(),
        "catboost": b"CBM1" + struct.pack("<I", 40) + b"\0" * 40,
    }
    for name, data in samples.items():
        assert version_of(data) is None, name
