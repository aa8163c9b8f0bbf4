"""Requests that travel: what comes out elsewhere is what went in, below another folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlconvert import worker
from mlconvert.artifact import Artifact, file_sha256
from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.fleet.shipments import ARTIFACTS, PATHS, Shipment, inside, pack, travels, unpack
from mlconvert.fleet.store import Folder, Store

NAMES = st.from_regex(r"[a-z][a-z0-9 _.-]{0,8}[a-z]", fullmatch=True)
TREES = st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map("/".join), st.binary(max_size=40), max_size=5)


def write(folder: Path, tree):
    """The files of the tree that do not stand in each other's way."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in tree.items():
        path = folder / name
        if not any(parent.is_file() for parent in path.parents) and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return folder


def read(folder: Path):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@settings(max_examples=25)  # each writes and reads some thirty files
@given(model=TREES, samples=TREES, reference=TREES)
def test_the_files_of_a_job_arrive_as_they_were(tmp_path_factory, model, samples, reference):
    here, there = tmp_path_factory.mktemp("here"), tmp_path_factory.mktemp("there")
    store = Store("store", Folder(tmp_path_factory.mktemp("store")))
    source = write(here / "saved_model", model)
    artifact = Artifact("saved_model", str(source), tuple(sorted(path for path in source.rglob("*") if path.is_file())))
    request = {
        "job": "verify",
        "candidate": artifact.as_json(),
        "samples": str(write(here / "samples", samples)),
        "reference": str(write(here / "reference", reference)),
        "tolerances": {"default": 1},
    }

    def put(path: Path) -> str:
        store.put(path, digest := file_sha256(path))
        return digest

    shipment = Shipment.from_json(json.loads(json.dumps(pack(request, put).as_json())))
    assert str(here) not in json.dumps(shipment.as_json())
    arrived = unpack(shipment, store.fetch, there)
    assert arrived["tolerances"] == request["tolerances"]
    assert str(here) not in json.dumps(arrived)
    for key in ("samples", "reference"):
        assert read(Path(arrived[key])) == read(Path(request[key]))
    made = Artifact.from_json(arrived["candidate"])
    assert read(made.path) == read(source)
    assert [path.relative_to(made.folder) for path in made.files] == [
        path.relative_to(source) for path in artifact.files
    ]


def test_a_file_with_others_beside_it_travels_with_those_that_are_its_own(tmp_path):
    folder = write(tmp_path / "models", {"m.onnx": b"model", "m.onnx.data": b"weights", "secret.txt": b"no"})
    artifact = Artifact("onnx", str(folder / "m.onnx"), (folder / "m.onnx", folder / "m.onnx.data"))
    request = {"job": "split", "source": artifact.as_json()}
    shipment = pack(request, file_sha256)
    assert sorted(name.rpartition("/")[2] for name in shipment.files) == ["m.onnx", "m.onnx.data"]
    assert len({name.rpartition("/")[0] for name in shipment.files}) == 1


def test_a_model_whose_files_are_all_over_the_place_does_not_travel(tmp_path):
    folder = write(tmp_path, {"a/m.onnx": b"1", "b/w.data": b"2"})
    artifact = Artifact("onnx", str(folder / "a/m.onnx"), (folder / "a/m.onnx", folder / "b/w.data"))
    with pytest.raises(UsageError, match="lies outside of the model's folder"):
        pack({"job": "split", "source": artifact.as_json()}, file_sha256)


def test_samples_from_a_file_and_along_edges_travel(tmp_path):
    folder = write(tmp_path, {"m.onnx": b"1", "rows.csv": b"x\n1\n", "t1/a.npy": b"a", "t2/b.npy": b"b"})
    source = Artifact("onnx", str(folder / "m.onnx"), (folder / "m.onnx",)).as_json()
    base = {"folders": [str(folder / "t1"), str(folder / "t2")], "names": {"x": "a"}}
    request = {"job": "samples", "source": source, "file": str(folder / "rows.csv"), "base": base}
    contents = {file_sha256(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    there = tmp_path / "there"

    def fetch(digest: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents[digest])

    arrived = unpack(pack(request, file_sha256), fetch, there)
    assert Path(arrived["file"]).read_bytes() == b"x\n1\n"
    assert Path(arrived["file"]).name == "rows.csv"
    assert [read(Path(one)) for one in arrived["base"]["folders"]] == [{"a.npy": b"a"}, {"b.npy": b"b"}]
    assert arrived["base"]["names"] == {"x": "a"}


@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "in/../../up", "", "in/1/..", "in\\..\\up", "in/\0"])
def test_a_name_that_leads_out_is_refused(name, tmp_path):
    with pytest.raises(RepositoryInvalid, match="leads out"):
        inside(name)
    fetched = []
    shipment = Shipment({"job": "split", "source": {"location": "in/1/m", "files": []}}, {name: "0" * 64})
    with pytest.raises(RepositoryInvalid):
        unpack(shipment, lambda digest, path: fetched.append(path), tmp_path)
    assert fetched == []


def test_what_needs_the_users_own_code_or_is_a_chain_stays():
    source = {"format": "onnx", "facts": {}}
    assert travels({"job": "convert", "source": source})
    assert not travels({"job": "convert", "source": source, "sys_path": ["."], "cwd": "."})
    assert not travels({"job": "reference", "source": {"format": "ensemble", "facts": {"ensemble": {}}}})
    assert not travels({"job": "inspect", "source": source})


def test_the_tables_name_jobs_that_there_are_and_keys_alike():
    assert set(ARTIFACTS) == set(PATHS)
    assert set(ARTIFACTS) < set(worker.JOBS)
