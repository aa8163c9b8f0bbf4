"""Files that options name travel with the job that reads them, and a record with the file that it is of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlconvert import records
from mlconvert.artifact import Artifact, file_sha256
from mlconvert.fleet.shipments import Shipment, pack, unpack


@pytest.fixture
def engine(tmp_path) -> Path:
    """An engine with a plug-in library and its record, in a folder with something else."""
    folder = tmp_path / "stripped"
    folder.mkdir()
    files = []
    for name in ("model.plan", "model.plan.libown.so"):
        (folder / name).write_bytes(name.encode())
        files.append({"path": name, "sha256": file_sha256(folder / name), "bytes": len(name)})
    record = {"schema": records.SCHEMA, "format": "tensorrt", "path": "model.plan", "files": files}
    records.write_json(folder / "record.json", record)
    (folder / "diary.txt").write_text("nobody's business")
    return folder / "model.plan"


def request(tmp_path: Path, **options) -> dict:
    model = tmp_path / "model.onnx"
    model.write_bytes(b"onnx")
    source = Artifact("onnx", str(model), (model,)).as_json()
    return {"job": "convert", "converter": "onnx->tensorrt", "options": options, "source": source, "samples": None,
            "filename": "model.plan"}  # fmt: skip


def shipped(told: dict, tmp_path: Path) -> tuple[dict, Path]:
    """The request as another machine has it, by way of JSON, and its folder there."""
    store: dict[str, Path] = {}

    def put(path: Path) -> str:
        store[file_sha256(path)] = path
        return file_sha256(path)

    def fetch(sha256: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store[sha256].read_bytes())

    shipment = Shipment.from_json(json.loads(json.dumps(pack(told, put).as_json())))
    assert str(tmp_path) not in json.dumps(shipment.as_json())
    there = tmp_path / "there"
    return unpack(shipment, fetch, there), there


def test_an_engine_travels_with_its_record(engine, tmp_path) -> None:
    told, there = shipped(request(tmp_path, weights_into=str(engine), optimization_level=4), tmp_path)
    assert told["options"]["optimization_level"] == 4
    plan = Path(told["options"]["weights_into"])
    assert plan.is_relative_to(there)
    artifact, record = records.with_record(Artifact("tensorrt", str(plan), (plan,)))  # checks the digests
    assert record is not None
    assert [path.name for path in artifact.files] == ["model.plan", "model.plan.libown.so"]
    assert not list(there.rglob("diary.txt"))


def test_libraries_travel_each_by_its_own_name(tmp_path) -> None:
    libraries = [tmp_path / folder / "libown.so" for folder in ("a", "b")]
    for number, path in enumerate(libraries):
        path.parent.mkdir()
        path.write_bytes(bytes([number]))
    told, _ = shipped(request(tmp_path, plugins=tuple(map(str, libraries))), tmp_path)
    assert [Path(path).read_bytes() for path in told["options"]["plugins"]] == [b"\0", b"\1"]
    assert {Path(path).name for path in told["options"]["plugins"]} == {"libown.so"}
