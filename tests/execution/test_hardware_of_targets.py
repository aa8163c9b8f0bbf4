"""The key `hardware` of a target: what it needs here, and what it is refused for."""

from __future__ import annotations

from dataclasses import replace

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from mlconvert.cli import main
from mlconvert.errors import HardwareMismatch, UsageError
from mlconvert.execution import planned_hardware
from mlconvert.execution.planned import plan_run
from mlconvert.hardware.fingerprint import Gpu, take
from mlconvert.hardware.products import is_of_type
from mlconvert.recipe import load_recipe

PRODUCTS = {
    "NVIDIA H100 80GB HBM3": "H100",
    "NVIDIA H100 PCIe": "H100",
    "NVIDIA H200": "H200",
    "NVIDIA A100-SXM4-40GB": "A100",
    "NVIDIA A10G": "A10G",
    "NVIDIA A10": "A10",
    "NVIDIA L4": "L4",
    "NVIDIA L40S": "L40S",
    "NVIDIA GeForce RTX 5090": "GeForce-RTX-5090",
    "NVIDIA RTX PRO 6000 Blackwell Server Edition": "RTX-PRO-6000",
    "Tesla V100-SXM2-16GB": "V100",
    "Tesla T4": "T4",
}


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_product_is_of_the_type_that_ray_gives_it_and_of_no_other(product):
    from ray._private.accelerators.nvidia_gpu import NvidiaGPUAcceleratorManager

    assert NvidiaGPUAcceleratorManager._gpu_name_to_accelerator_type(product) == PRODUCTS[product]
    assert is_of_type(product, PRODUCTS[product])
    assert [kind for kind in set(PRODUCTS.values()) if is_of_type(product, kind)] == [PRODUCTS[product]]


@given(st.lists(st.sampled_from(["A100", "H100", "SXM4", "40GB", "RTX", "PRO"]), min_size=1), st.data())
def test_any_run_of_words_of_a_product_is_a_type_of_it(words, data):
    start = data.draw(st.integers(0, len(words) - 1))
    end = data.draw(st.integers(start + 1, len(words)))
    assert is_of_type(" ".join(words), "-".join(words[start:end]))
    assert not is_of_type(" ".join(words), "-".join([*words, "A100"]))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("MLCONVERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), "relu.onnx")
    return tmp_path


def recipe(folder, steps="[onnxruntime]", hardware="H100"):
    path = folder / "engines.yaml"
    path.write_text(f"model: relu.onnx\ntargets:\n  h100:\n    steps: {steps}\n    hardware: {hardware}\n")
    return path


def with_gpus(monkeypatch, *names):
    machine = replace(take(), gpus=tuple(Gpu(name=name) for name in names))
    monkeypatch.setattr(planned_hardware, "take", lambda: machine)


def test_without_such_a_gpu_nothing_begins_and_both_ways_out_are_told(here, monkeypatch, capsys):
    with_gpus(monkeypatch, "NVIDIA A100-SXM4-40GB", "NVIDIA L4")
    assert main(["run", str(recipe(here).name)]) == HardwareMismatch.exit_code
    told = capsys.readouterr().err
    assert "is to be made on an H100, and here is NVIDIA A100-SXM4-40GB, NVIDIA L4" in told
    assert "engines.yaml:5:" in told
    assert "mlconvert run engines.yaml --on ray://" in told
    assert "mlconvert bundle engines.yaml -o job.tar" in told
    assert sorted(path.name for path in here.iterdir()) == ["engines.yaml", "relu.onnx"]


def test_a_machine_without_a_gpu_says_why_it_has_none(here, monkeypatch):
    with_gpus(monkeypatch)
    with pytest.raises(HardwareMismatch, match="here is no GPU"):
        plan_run(load_recipe(recipe(here)))


def test_with_such_a_gpu_it_is_planned_as_ever(here, monkeypatch):
    with_gpus(monkeypatch, "NVIDIA L4", "NVIDIA H100 80GB HBM3")
    planned = plan_run(load_recipe(recipe(here)))
    assert planned.targets[0].spec.hardware == "H100"


def test_a_missing_gpu_is_told_before_a_missing_package(here, monkeypatch):
    with_gpus(monkeypatch)
    with pytest.raises(HardwareMismatch):
        plan_run(load_recipe(recipe(here, "[tensorrt]")))


def test_a_target_that_is_bound_to_nothing_names_no_hardware(here):
    with pytest.raises(UsageError, match=r"none of its steps depends on hardware: onnx -> optimize") as caught:
        plan_run(load_recipe(recipe(here, "[optimize]")))
    assert "engines.yaml:5:" in (caught.value.where or "")


def test_for_another_machine_no_gpu_is_looked_for(here, monkeypatch):
    monkeypatch.setattr(planned_hardware, "take", lambda: pytest.fail("the hardware here does not matter"))
    assert plan_run(load_recipe(recipe(here, "[tensorrt]")), elsewhere=True).targets


@pytest.mark.parametrize("hardware", ["[H100, H200]", "'H100 80GB'", "''", "100"])
def test_hardware_is_one_type(here, hardware):
    with pytest.raises(UsageError, match="hardware"):
        load_recipe(recipe(here, hardware=hardware))
