"""`mlconvert fingerprint`: text of 80 columns, the file, JSON alone on stdout; on machines with and without GPUs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.cli import main
from mlconvert.cli.fingerprint import COLUMNS, lines
from mlconvert.hardware import cuda, fingerprint, nvml, tensorrt_version
from mlconvert.hardware.fingerprint import Fingerprint, Gpu, Host, as_json, from_json

ROOT = Path(__file__).resolve().parents[2]
MACHINES = sorted((ROOT / "tests" / "hardware" / "fingerprints").glob("*.json"))


def machine(name):
    path = next(path for path in MACHINES if path.stem == name)
    return from_json(json.loads(path.read_text()), where=str(path))


@pytest.fixture
def here(monkeypatch):
    def put(name):
        monkeypatch.setattr(fingerprint, "take", lambda: machine(name))

    return put


@pytest.mark.parametrize("path", MACHINES, ids=lambda path: path.stem)
def test_text_fits_the_page_and_tells_every_reason(path):
    told = list(lines(machine(path.stem)))
    assert max(map(len, told)) <= COLUMNS
    text = " ".join(" ".join(told).split())
    for where, why in machine(path.stem).missing.items():
        assert where in text
        assert " ".join(why.split()) in text


words = st.none() | st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=90)


@given(st.lists(st.builds(Gpu, name=words, uuid=words, virtualization=words), max_size=2), words)
def test_anything_can_be_shown(gpus, model):
    told = list(lines(Fingerprint(tuple(gpus), host=Host(cpu_model=model))))
    assert len([line for line in told if line.startswith("GPU ")]) == len(gpus)
    assert all(line.isprintable() and len(line) <= COLUMNS for line in told)


def test_the_page_in_the_documentation_is_what_is_shown(here, capsys):
    here("h200")
    assert main(["fingerprint"]) == 0
    page = (ROOT / "docs" / "how-to" / "fingerprint.md").read_text(encoding="utf-8")
    block = re.search(r"```console\n\$ mlconvert fingerprint -o server.json\n(.*?)```", page, flags=re.DOTALL)
    assert capsys.readouterr().out == block[1]


def test_json_is_alone_on_stdout(here, capsys):
    here("a100-mig")
    assert main(["fingerprint", "--json"]) == 0
    told = capsys.readouterr()
    assert from_json(json.loads(told.out), where="stdout") == machine("a100-mig")
    assert told.err == ""


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_the_file_is_the_json(here, capsys, tmp_path, more):
    here("l4")
    path = tmp_path / "server.json"
    path.write_text("an older one")
    assert main(["fingerprint", "-o", str(path), *more]) == 0
    assert json.loads(path.read_text()) == as_json(machine("l4"))
    assert ("NVIDIA L4" in capsys.readouterr().out) is True
    assert [one.name for one in tmp_path.iterdir()] == ["server.json"]


@pytest.mark.parametrize(
    ("path", "said"), [("none/x.json", "the folder none does not exist"), (".", "is a folder, not a file")]
)
def test_a_file_that_cannot_be(here, capsys, tmp_path, monkeypatch, path, said):
    monkeypatch.chdir(tmp_path)
    here("l4")
    assert main(["fingerprint", "-o", path]) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert told.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses(here, capsys, tmp_path, monkeypatch):
    def refuse(path, data):
        raise OSError(28, "No space left on device")

    here("l4")
    monkeypatch.setattr("mlconvert.records.write_json", refuse)
    assert main(["fingerprint", "-o", str(tmp_path / "x.json")]) == 2
    assert "cannot be written: No space left on device" in capsys.readouterr().err


def test_without_any_driver(monkeypatch, capsys):
    """For real, whatever this machine has: the libraries' names are taken away."""
    monkeypatch.setitem(cuda.LIBRARIES, "Linux", "libno-cuda.so")
    monkeypatch.setitem(nvml.LIBRARIES, "Linux", "libno-nvml.so")
    monkeypatch.setattr(nvml, "KERNEL_MODULE", Path("no/such/file"))
    assert main(["fingerprint", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["gpus"] == []
    assert told["missing"]["gpus"] == (
        "CUDA: libno-cuda.so is not here (no NVIDIA driver); NVML: libno-nvml.so is not here (no NVIDIA driver)"
    )
    assert told["host"]["os"] == "linux"
    assert main(["fingerprint"]) == 0
    assert re.search("^GPUs +none$", capsys.readouterr().out, flags=re.MULTILINE)


def test_nothing_heavy_is_imported_to_take_one():
    """In a process of its own: the parent of a run takes fingerprints, and `check` does."""
    import subprocess
    import sys

    code = (
        "import sys; from mlconvert.hardware.fingerprint import take; take();"
        "print([name for name in ('numpy', 'onnx', 'onnxruntime', 'torch', 'tensorrt') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert tensorrt_version.find() is None
