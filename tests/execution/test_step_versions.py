"""Versions on two machines: which differences matter, and what is said of them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mlconvert.converters import CONVERTERS
from mlconvert.errors import MissingPackage
from mlconvert.execution import versions
from mlconvert.execution.versions import Versions, require_same, versions_for
from mlconvert.version import __version__

WANTED = Versions("0.1.0", "ab" * 32, "3.11", {"onnx": "1.23.2", "torch": "2.13.0+cpu"})


@pytest.mark.parametrize(
    ("change", "said", "hint"),
    [
        ({"mlconvert": "0.2.0"}, "made by mlconvert 0.1.0; here it is 0.2.0", "pip install mlconvert==0.1.0"),
        ({"code": "cd" * 32}, "other code (cdcdcdcdcdcd, not abababababab)", "the same wheel, or the same commit"),
        ({"python": "3.12"}, "made with Python 3.11; here it is 3.12", "Python 3.11"),
        ({"packages": {"onnx": "1.23.3", "torch": "2.13.0"}}, "onnx 1.23.2, here 1.23.3", "pip install onnx==1.23.2"),
        ({"packages": {"onnx": "1.23.2"}}, "torch 2.13.0+cpu, here none", "pip install torch==2.13.0"),
        ({"packages": {"onnx": "1", "torch": "2"}}, "here 1; torch", "pip install onnx==1.23.2 torch==2.13.0"),
    ],
)
def test_other_versions(change, said, hint):
    with pytest.raises(MissingPackage) as caught:
        require_same(WANTED, replace(WANTED, **change), "the bundle job.tar")
    assert caught.value.message.startswith("the bundle job.tar ")
    assert said in caught.value.message
    assert hint in caught.value.hint


def test_versions_that_are_the_same():
    require_same(WANTED, WANTED, "it")
    require_same(WANTED, Versions.from_json(json.loads(json.dumps(WANTED.as_json()))), "it")
    more = {"onnx": "1.23.2", "torch": "2.13.0+cu130", "tensorrt-cu13": "11.4.0.1"}
    require_same(WANTED, replace(WANTED, packages=more), "it")


def test_a_plug_in_of_another_state():
    wanted = replace(WANTED, packages={"plug-in toy": "12"})
    with pytest.raises(MissingPackage) as caught:
        require_same(wanted, replace(WANTED, packages={"plug-in toy": "34"}), "it")
    assert caught.value.hint == "install the same plug-in toy on both machines"


def test_the_package_is_named_as_it_is_installed_here(monkeypatch):
    from importlib import metadata

    def version(name):
        if name != "onnxruntime-gpu":
            raise metadata.PackageNotFoundError(name)
        return "1.31.0"

    monkeypatch.setattr(metadata, "version", version)
    assert versions._install({"onnxruntime": "1.32.0"}) == "pip install onnxruntime-gpu==1.32.0"


def test_the_versions_here():
    rows = [row for row in CONVERTERS if row.id in ("onnx:float16", "onnx:optimize")]
    here = versions_for(rows)
    assert {"onnx", "onnxslim"} <= set(here.packages)
    assert here.mlconvert == __version__
    assert len(here.code) == 64
    require_same(here, versions_for(CONVERTERS), "it")  # more than are wanted may be here
