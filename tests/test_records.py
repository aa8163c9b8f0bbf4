"""Records: written whole, found from the model, refused when the files are others, never a way out of the folder."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlconvert import records
from mlconvert.artifact import Artifact, combine_sha256, file_sha256
from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.signature import Signature, TensorSpec

SIGNATURE = Signature(
    (TensorSpec("x", "float32", ("batch", 3, None), ("a", "b", "c")),), (TensorSpec("label", "int64", ("batch",)),)
)


@pytest.fixture
def model(tmp_path):
    """A model of two files and its record, in a folder of its own."""
    folder = tmp_path / "out"
    folder.mkdir()
    main = folder / "model.onnx"
    main.write_bytes(b"model")
    (folder / "model.onnx.data").write_bytes(b"weights")
    records.write_json(folder / "record.json", record_of(main))
    return main


def record_of(main, **more):
    names = [main.name, f"{main.name}.data"]
    artifact = Artifact("onnx", str(main), tuple(main.parent / name for name in names), SIGNATURE, {"in": "x"})
    files = records.described_files(artifact, {name: file_sha256(main.parent / name) for name in names})
    return {
        "schema": records.SCHEMA, "format": "onnx", "path": main.name, "sha256": records.total_sha256(files),
        "files": files, "signature": SIGNATURE.as_json(), "renamed": {"in": "x"}, "facts": {"opset": 18},
        "steps": [{"converter": "a->b", "options": {}, "seconds": 1.0, "peak_rss_bytes": 5}],
        "created": "2026-01-01T00:00:00+00:00", "environment": {"python": "3.11"}, "mlconvert": "0.1", **more,
    }  # fmt: skip


def test_a_record_describes_the_artifact(model):
    artifact, record = records.with_record(Artifact("onnx", str(model), (model,), trusted=True))
    assert record is not None
    assert artifact == Artifact(
        "onnx", str(model), (model, model.with_name("model.onnx.data")), SIGNATURE, {"in": "x"}, True, {"opset": 18}
    )
    assert record["files"][0] == {"path": "model.onnx", "sha256": file_sha256(model), "bytes": 5}
    assert record["sha256"] == combine_sha256((row["path"], row["sha256"]) for row in record["files"])


def test_the_record_of_a_file_lies_beside_it(model, tmp_path):
    main = tmp_path / "net.onnx"
    model.rename(main)
    model.with_name("model.onnx.data").rename(tmp_path / "net.onnx.data")
    records.write_json(records.path_beside(main), record_of(main))
    found = records.find(main)
    assert found is not None
    assert found[1] == tmp_path / "net.onnx.json"


def test_a_folder_and_its_record_move_together(model, tmp_path):
    moved = tmp_path / "elsewhere"
    model.parent.rename(moved)
    artifact, record = records.with_record(Artifact("onnx", str(moved / "model.onnx"), (moved / "model.onnx",)))
    assert record is not None
    assert artifact.files[1] == moved / "model.onnx.data"


def test_another_model_in_the_folder_does_not_take_the_record(model):
    other = model.with_name("other.onnx")
    other.write_bytes(b"other")
    artifact = Artifact("onnx", str(other), (other,))
    assert records.with_record(artifact) == (artifact, None)


@pytest.mark.parametrize("name", ["model.onnx", "model.onnx.data"])
def test_a_changed_file_is_refused(model, name):
    with model.with_name(name).open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(RepositoryInvalid, match=rf"{name} was changed after its record was written") as caught:
        records.with_record(Artifact("onnx", str(model), (model,)))
    assert caught.value.exit_code == 8
    assert "record.json" in (caught.value.hint or "")


def test_a_missing_file_is_refused(model):
    model.with_name("model.onnx.data").unlink()
    with pytest.raises(RepositoryInvalid, match="is missing, but its record names it"):
        records.with_record(Artifact("onnx", str(model), (model,)))


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "mlconvert.record/2"},
        {"files": None},
        {"files": []},
        {"files": [{"path": "model.onnx"}]},
        {"files": ["model.onnx"]},
        {"path": 3},
        {"files": [{"path": "../../victim", "sha256": "0", "bytes": 1}]},
        {"files": [{"path": "/etc/passwd", "sha256": "0", "bytes": 1}]},
        {"path": "../out/model.onnx"},
    ],
    ids=lambda change: str(change)[:40],
)
def test_what_is_no_record_of_ours_is_none(model, change):
    path = model.with_name("record.json")
    path.write_text(json.dumps(record_of(model) | change))
    assert records.read(path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '"mlconvert.record/1"', "[" * 100_000])
def test_other_json_is_no_record(tmp_path, text):
    path = tmp_path / "record.json"
    path.write_text(text)
    assert records.read(path) is None


def test_a_folder_in_the_record_s_place_is_no_record(tmp_path):
    (tmp_path / "record.json").mkdir()
    assert records.read(tmp_path / "record.json") is None


def test_a_record_that_cannot_be_read_is_an_error_and_not_left_out(model, monkeypatch):
    def refused(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(model), "read_bytes", refused)
    with pytest.raises(UsageError, match="cannot be read: Permission denied"):
        records.read(model.with_name("record.json"))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(facts=st.dictionaries(st.text(), JSON, max_size=4))
def test_records_come_back_as_they_were_written(model, facts):
    record = record_of(model, facts=facts)
    path = model.with_name("record.json")
    records.write_json(path, record)
    assert records.read(path) == record


def test_a_record_is_written_strictly_and_whole(tmp_path):
    path = tmp_path / "record.json"
    records.write_json(path, {"a": 1})
    for bad in ({"a": float("nan")}, {"a": float("inf")}, {"a": object()}):
        with pytest.raises((ValueError, TypeError)):
            records.write_json(path, bad)
    assert json.loads(path.read_text()) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["record.json"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_two_makings_of_one_thing_are_the_same(model):
    first = record_of(model)
    step = first["steps"][0]
    times = {"steps": [step | {"seconds": 9.0, "peak_rss_bytes": 1}], "created": "later", "environment": {}}
    assert records.same(first, first | times | {"mlconvert": "0.2"})
    assert records.same(first, first | {"facts": {"opset": 18}})
    assert not records.same(first, first | {"facts": {"opset": 17}})
    assert not records.same(first, first | {"steps": [step | {"options": {"opset": 17}}]})
    assert not records.same(first, first | {"steps": []})
    assert not records.same(first, first | {"sha256": "0"})


def test_rows_are_asked_for_where_there_are_none():
    with pytest.raises(UsageError, match="has no record, so it cannot be tested by itself"):
        records.require_rows(None, "m.onnx")
    with pytest.raises(UsageError, match="keeps no rows") as caught:
        records.require_rows({"rows": None}, "m.onnx")
    assert caught.value.hint == "mlconvert verify REFERENCE m.onnx --samples FILE"
    assert records.require_rows({"rows": {"count": 1}}, "m.onnx") == {"count": 1}
