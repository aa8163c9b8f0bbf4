"""The table of rules itself, the machines of the fixtures, and the rules of what needs no GPU."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.hardware import comparing as c
from mlconvert.hardware.comparing import Build
from mlconvert.hardware.fingerprint import from_json
from mlconvert.hardware.rules import KINDS, RULES, Judgement, judge, judge_machine, values_of, worst

MACHINES = {path.stem: path for path in sorted((Path(__file__).parent / "fingerprints").glob("*.json"))}


def known(name: str):
    return from_json(json.loads(MACHINES[name].read_text()), where=name)


def built_on(fingerprint, kind: str = "tensorrt", gpu: int | None = 0, **more) -> Build:
    values, reasons = values_of(fingerprint, gpu)
    return Build(kind, values=values, reasons=reasons, **more)


def refusing(judgement: Judgement) -> list[str]:
    return [found.rule for found in judgement.findings if found.level == "refuse"]


def test_the_table_is_sound():
    for kind in KINDS:
        names = [rule.name for rule in RULES if rule.kind == kind]
        assert len(names) == len(set(names))
    readable = {*values_of(known("h100"), 0)[0]}
    assert {rule.reads for rule in RULES} <= readable
    assert all(rule.sentence == rule.sentence.strip(" .") for rule in RULES)
    assert {rule.level for rule in RULES if not rule.fix} == {"suboptimal"}  # what refuses says what mends it


@pytest.mark.parametrize("name", [name for name in MACHINES if name != "no-gpu"])
def test_every_machine_runs_what_was_built_on_it(name):
    machine = known(name)
    unknown = {path for path in machine.missing if path.startswith("gpus[0]")}
    for judgement in judge_machine(built_on(machine), machine):
        assert judgement.verdict == "ok" or (unknown and judgement.verdict == "suboptimal"), judgement
    assert refusing(judge(built_on(machine), known("no-gpu"), None)) == ["gpu"]


@pytest.mark.parametrize("first", [name for name in MACHINES if name != "no-gpu"])
@pytest.mark.parametrize("second", [name for name in MACHINES if name != "no-gpu"])
def test_machines_of_other_compute_capabilities_refuse(first, second):
    one, other = known(first), known(second)
    if one.gpus[0].compute_capability != other.gpus[0].compute_capability:
        assert "compute-capability" in refusing(judge(built_on(one), other, 0))


def test_a_gpu_that_the_machine_does_not_have_is_refused():
    machine = known("h100")
    judgements = judge_machine(built_on(machine), machine, [0, 99])
    assert [one.verdict for one in judgements] == ["ok", "refuse"]
    assert judge_machine(built_on(machine), machine, []) == ()


def test_a_kind_without_rules_is_refused():
    assert refusing(judge(built_on(known("h100"), "coreml", None, device="cpu"), known("h100"), None)) == ["kind"]


# --- versions ---

VERSION = st.tuples(st.integers(8, 12), st.integers(0, 20), st.integers(0, 3), st.integers(0, 255))


@given(VERSION, VERSION, st.booleans())
def test_only_version_compatible_engines_run_elsewhere_and_never_on_an_older_one(built, here, compatible):
    texts = [".".join(map(str, one)) for one in (built, here)]
    build = Build("tensorrt", flags=frozenset({"VERSION_COMPATIBLE"} if compatible else ()))
    runs = c.tensorrt_runs(*texts, build)
    assert not (runs and here < built)
    assert not (runs and built != here and not compatible)
    assert runs or built != here
    if runs and built[0] != here[0]:
        assert (built[0], here[0]) in ((8, 10), (10, 11))


@pytest.mark.parametrize("text", ["", "11", "11.4", "11.4.0", "eleven", "11.4.0.106.1"])
def test_a_version_that_is_not_whole_runs_nothing(text):
    for pair in ((text, "11.4.0.106"), ("11.4.0.106", text), (text, text)):
        assert not c.tensorrt_runs(*pair, Build("tensorrt", flags=frozenset({"VERSION_COMPATIBLE"})))


@given(st.text(max_size=8), st.text(max_size=8))
def test_what_is_no_number_fits_nothing_and_ends_nothing(one, other):
    build = Build("tensorrt")
    for fits in (c.tensorrt_runs, c.capability_runs, c.same_minor, c.not_older, c.major_not_older):
        if not (c.numbers(one) and c.numbers(other)):
            assert not fits(one, other, build)


def test_a_version_compatible_plan_without_its_runtime_is_of_one_version():
    flags = frozenset({"VERSION_COMPATIBLE", "EXCLUDE_LEAN_RUNTIME"})
    assert c.tensorrt_runs("10.3.0.26", "10.3.0.26", Build("tensorrt", flags=flags))
    assert not c.tensorrt_runs("10.3.0.26", "10.16.1.11", Build("tensorrt", flags=flags))


# --- AOTInductor ---


def package(machine, **more) -> Build:
    return built_on(machine, "aotinductor", None, device="cpu", **more)


SETS = st.lists(st.sampled_from(["sse4_2", "avx2", "fma", "avx512f", "amx_tile", "hypervisor", "ibpb"]), unique=True)


@given(SETS, SETS)
def test_code_runs_where_all_instructions_are_that_it_was_compiled_with(first, second):
    names = {"sse4_2", "avx2", "fma", "avx512f", "amx_tile"}  # the others are no instructions
    assert c.has_instructions(first, second, Build("aotinductor")) is (not (set(first) & names) - set(second))


def test_a_package_asks_for_processor_c_library_and_pytorch():
    machine = replace(known("no-gpu"), packages={"torch": "2.9.1"})
    host = machine.host
    assert judge(package(machine), machine, None).verdict == "ok"
    for other, rules in (
        (replace(machine, host=replace(host, instruction_sets=("sse2",))), ["instruction-sets"]),
        (replace(machine, host=replace(host, instruction_sets=None)), ["instruction-sets"]),
        (replace(machine, host=replace(host, glibc="2.17")), ["glibc"]),
        (replace(machine, host=replace(host, os="windows")), ["os"]),
        (replace(machine, packages={"torch": "2.10.0"}), ["torch-version"]),
        (replace(machine, packages={}), ["torch-version"]),
    ):
        assert refusing(judge(package(machine), other, None)) == rules
    newer = replace(machine, packages={"torch": "2.9.2"}, host=replace(host, glibc="3.0"))
    assert judge(package(machine), newer, None).verdict == "suboptimal"


def test_a_package_for_cuda_asks_for_the_compute_capability_and_cuda():
    h100, h200, a100 = (replace(known(name), packages={"torch": "2.9.1"}) for name in ("h100", "h200", "a100"))
    build = built_on(h100, "aotinductor", device="cuda")
    assert judge(build, h100, 0).verdict == "ok"
    a_host = replace(a100, host=h100.host, cuda=h100.cuda)
    assert refusing(judge(build, a_host, 0)) == ["compute-capability"]
    like = replace(h200, host=h100.host, cuda=h100.cuda)
    assert judge(build, like, 0).verdict == "suboptimal"
    old = replace(h100, cuda=replace(h100.cuda, version="12.4"))
    assert refusing(judge(build, old, 0)) == ["cuda"]


# --- ONNX Runtime ---


def test_an_optimised_model_asks_for_the_order_of_its_weights_and_the_runtime():
    machine = replace(known("no-gpu"), packages={"onnxruntime-gpu": "1.23.2"})
    wide = replace(machine, host=replace(machine.host, instruction_sets=("avx2", "avx512f")))
    narrow = replace(machine, host=replace(machine.host, instruction_sets=("avx2",)))
    build = built_on(wide, "onnxruntime", None, device="cpu")
    assert judge(build, wide, None).verdict == "ok"
    assert refusing(judge(build, narrow, None)) == ["block-size"]
    assert refusing(judge(built_on(narrow, "onnxruntime", None, device="cpu"), wide, None)) == ["block-size"]
    assert refusing(judge(build, replace(wide, packages={"onnxruntime": "1.22.0"}), None)) == ["runtime-version"]
    assert judge(build, replace(wide, packages={"onnxruntime": "1.24.0"}), None).verdict == "suboptimal"
    arm = replace(wide, host=replace(wide.host, architecture="aarch64"))
    assert refusing(judge(build, arm, None)) == ["architecture"]


def test_the_worst_verdict_counts():
    assert worst(["ok", "refuse", "suboptimal"]) == "refuse"
    assert worst(["ok", "suboptimal"]) == "suboptimal"
    assert worst([]) == "ok"
