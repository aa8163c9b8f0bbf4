"""Where a server is looked for, what a folder must hold to be one, and what is said when there is none."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from mlconvert.errors import MissingPackage
from mlconvert.serving import home as homes
from mlconvert.serving.home import (
    PACKAGES,
    WHEEL,
    check_numpy,
    find_server,
    install_commands,
    python_stub,
)
from mlconvert.serving.overlay import assemble_backends

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """A machine without a server."""
    monkeypatch.delenv("MLCONVERT_TRITONSERVER")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(homes, "CONTAINER", tmp_path / "opt")
    monkeypatch.setattr(homes, "has_wheel", lambda: True)
    return tmp_path


def container(folder: Path, *, version: str = "2.51.0\n", stub: bytes = b"") -> Path:
    for place in ("bin", "lib", "backends/python", "backends/onnxruntime"):
        (folder / place).mkdir(parents=True)
    (folder / "bin/tritonserver").touch(mode=0o755)
    (folder / "TRITON_VERSION").write_text(version)
    (folder / "backends/onnxruntime/libtriton_onnxruntime.so").write_bytes(b"real")
    (folder / "backends/onnxruntime/libonnxruntime.so").write_bytes(b"large")
    (folder / "backends/python/libtriton_python.so").write_bytes(b"real")
    (folder / f"backends/python/{homes.STUB}").write_bytes(stub or f"libpython{HERE}.so.1.0".encode())
    return folder


def test_the_installed_server_is_found():
    found = find_server()
    assert (found.version, found.release) == ("2.51", "24.10")
    assert found.has_backend("python")
    assert not found.has_backend("onnxruntime")
    assert python_stub(found).is_file()
    check_numpy(found)


def test_the_makefile_installs_what_the_commands_say():
    makefile = (Path(__file__).resolve().parents[2] / "Makefile").read_text()
    assert f"$(TARGET) $(SERVER) {WHEEL}\n" in makefile
    assert f"$(TARGET) $(SERVER)/numpy1 {' '.join(PACKAGES)}\n" in makefile
    assert all("==" in package for package in (WHEEL, *PACKAGES))


def test_without_a_server_the_commands_are_told(nowhere):
    with pytest.raises(MissingPackage, match="there is no tritonserver here") as caught:
        find_server()
    assert caught.value.exit_code == 3
    assert caught.value.hint == " && ".join(install_commands())
    assert "--no-deps --target ~/.cache/mlconvert/tritonserver nvidia-pytriton==0.7.0" in caught.value.hint


def test_another_machine_is_told_plainly(nowhere, monkeypatch):
    monkeypatch.setattr(homes, "has_wheel", lambda: False)
    with pytest.raises(MissingPackage) as caught:
        find_server()
    assert "exists for Linux on x86-64 alone" in caught.value.hint
    assert "pip install" not in caught.value.hint


def test_a_folder_that_is_named_must_hold_one(nowhere, monkeypatch):
    container(nowhere / "opt")
    with pytest.raises(MissingPackage, match="named by --server, holds no tritonserver"):
        find_server(nowhere / "empty")
    monkeypatch.setenv("MLCONVERT_TRITONSERVER", str(nowhere / "empty"))
    with pytest.raises(MissingPackage, match="named by MLCONVERT_TRITONSERVER, holds no tritonserver"):
        find_server()
    assert find_server(nowhere / "opt").folder == nowhere / "opt"


def test_the_order_of_places(nowhere):
    container(homes.default_folder())
    assert find_server().folder == homes.default_folder()
    container(nowhere / "opt")
    assert find_server().folder == nowhere / "opt"
    container(nowhere / "installed")
    (nowhere / "bin").mkdir()
    (nowhere / "bin/tritonserver").symlink_to(nowhere / "installed/bin/tritonserver")
    assert find_server().folder == nowhere / "installed"


def test_a_container_brings_its_own_backends(nowhere):
    found = find_server(container(nowhere / "opt", version="2.55.0"))
    assert found.release == "25.02"
    check_numpy(found)  # its stub is of its own release
    made = assemble_backends(found, nowhere / "backends", limits={})
    assert "onnxruntime" not in made
    library = nowhere / "backends/onnxruntime/libtriton_onnxruntime.so"
    assert library.read_bytes() == b"real"
    assert not library.is_symlink()  # the server refuses one that leads out of its folder
    assert (nowhere / "backends/onnxruntime/libonnxruntime.so").is_symlink()
    assert not (nowhere / "backends/onnxruntime/model.py").exists()
    assert (nowhere / "backends/python" / homes.STUB).stat().st_mode & 0o111


def test_backends_beside_the_wheel_come_first(tmp_path):
    installed = find_server()
    added = tmp_path / "added/onnxruntime"
    added.mkdir(parents=True)
    (added / "libtriton_onnxruntime.so").write_bytes(b"real")
    made = assemble_backends(installed, tmp_path / "with", more=tmp_path / "added")
    assert "onnxruntime" not in made
    made = assemble_backends(installed, tmp_path / "without", limits={"onnxruntime": {"opset": 21}})
    assert "onnxruntime" in made
    assert (tmp_path / "without/onnxruntime/limits.json").read_text() == '{"opset": 21}'


def test_a_stub_for_another_python(nowhere):
    found = find_server(container(nowhere / "opt", stub=b"... libpython3.8.so.1.0 ..."))
    with pytest.raises(MissingPackage, match=f"with Python 3.8, and this is Python {re.escape(HERE)}"):
        python_stub(found)
    wheel = nowhere / "wheel"
    inner = container(wheel / "pytriton/tritonserver")
    (inner / "python_backend_stubs/3.8").mkdir(parents=True)
    (inner / "python_backend_stubs/3.10").mkdir()
    with pytest.raises(MissingPackage, match=rf"with Python 3\.8, 3\.10, and this is Python {re.escape(HERE)}"):
        python_stub(find_server(wheel))


def test_a_server_without_the_python_backend(nowhere):
    shutil.rmtree(container(nowhere / "opt") / "backends/python")
    with pytest.raises(MissingPackage, match="has no Python backend"):
        python_stub(find_server(nowhere / "opt"))


def test_the_wheel_without_its_numpy(nowhere):
    inner = container(nowhere / "wheel/pytriton/tritonserver")
    (inner / "python_backend_stubs").mkdir()
    with pytest.raises(MissingPackage, match=r"needs numpy==1\.26\.4 beside it, in numpy1") as caught:
        check_numpy(find_server(nowhere / "wheel"))
    assert caught.value.hint == install_commands(nowhere / "wheel")[1]
