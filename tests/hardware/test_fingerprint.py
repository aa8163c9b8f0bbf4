"""Fingerprints as data: JSON there and back, what is refused, what the digest covers; those of machines by hand."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlconvert.errors import UsageError
from mlconvert.hardware.fingerprint import (
    SCHEMA,
    Container,
    Cuda,
    Driver,
    Fingerprint,
    Gpu,
    Host,
    Mig,
    TensorRT,
    as_json,
    digest,
    from_json,
)
from mlconvert.hardware.machine import NO_REASON, unknown, with_reasons

MACHINES = Path(__file__).resolve().parent / "fingerprints"
NAMES = sorted(path.stem for path in MACHINES.glob("*.json"))

# --- drawn machines ---

texts = st.text(max_size=12)
counts = st.integers(0, 2**50)
versions = st.lists(st.integers(0, 999), min_size=2, max_size=4).map(lambda parts: ".".join(map(str, parts)))
two = st.builds("{}.{}".format, st.integers(0, 20), st.integers(0, 9))


def known_or_not(values):
    return st.none() | values


migs = st.just(Mig(enabled=False)) | st.builds(
    Mig, st.just(True), known_or_not(texts), known_or_not(counts), known_or_not(counts)
)
gpus = st.builds(
    Gpu,
    compute_capability=known_or_not(two),
    mig=known_or_not(migs),
    power_limit_watts=known_or_not(st.floats(0, 1e4)),
    **{name: known_or_not(texts) for name in ("name", "uuid", "architecture", "pci", "virtualization")},
    **{one.name: known_or_not(counts) for one in fields(Gpu) if one.type == "int | None"},
)
hosts = st.builds(
    Host,
    glibc=known_or_not(two),
    instruction_sets=known_or_not(st.lists(texts).map(tuple)),
    **{name: known_or_not(texts) for name in ("os", "architecture", "distribution", "kernel", "cpu_model")},
)
containers = st.just(Container("none")) | st.builds(Container, *[known_or_not(texts)] * 3)
plain = st.builds(
    Fingerprint,
    st.lists(gpus, max_size=3).map(tuple),
    st.builds(Driver, known_or_not(versions)),
    st.builds(Cuda, known_or_not(two)),
    st.builds(TensorRT, known_or_not(st.just("10.16.0.72"))),
    hosts,
    containers,
    st.dictionaries(texts, texts, max_size=2),
)


@st.composite
def machines(draw):
    machine = draw(plain)
    return with_reasons(machine, {path: draw(st.text(min_size=1)) for path in unknown(machine)})


# --- JSON ---


@given(machines())
def test_json_there_and_back(machine):
    assert from_json(json.loads(json.dumps(as_json(machine), allow_nan=False)), where="x") == machine


@given(machines())
def test_every_null_has_a_reason_and_nothing_else_has_one(machine):
    data = as_json(machine)
    for path in data["missing"]:
        assert reach(data, path) in (None, [])
    nulls = {path for path in walk(data) if reach(data, path) is None}
    by_nature = {path for path in nulls if ".mig." in path or path.startswith("container.")}  # MIG off, no container
    assert nulls - by_nature <= set(data["missing"])
    assert ("gpus" in data["missing"]) == (not machine.gpus)


def walk(data, path=""):
    items = data.items() if isinstance(data, dict) else [(f"[{i}]", one) for i, one in enumerate(data)]
    for name, value in items:
        here = f"{path}.{name}".replace(".[", "[").lstrip(".")
        if here in ("missing", "packages"):
            continue
        yield here
        if isinstance(value, (dict, list)):
            yield from walk(value, here)


def reach(data, path):
    for name in path.replace("[", ".").replace("]", "").split("."):
        data = data[int(name)] if isinstance(data, list) else data[name]
    return data


@pytest.mark.parametrize("name", NAMES)
def test_machines_by_hand_are_fingerprints(name):
    data = json.loads((MACHINES / f"{name}.json").read_text())
    assert "by hand" in data.pop("note")
    machine = from_json(data, where=name)
    assert as_json(machine) == data
    assert NO_REASON not in machine.missing.values()


def test_the_machines_by_hand_differ():
    assert NAMES == ["a100", "a100-mig", "h100", "h200", "jetson-agx-orin", "l4", "no-gpu"]
    assert len({digest(of(name)) for name in NAMES}) == len(NAMES)


def of(name):
    return from_json(json.loads((MACHINES / f"{name}.json").read_text()), where=name)


def test_a_null_without_a_reason_says_so():
    data = as_json(of("h100"))
    data["gpus"][1]["multiprocessors"] = None
    assert from_json(data, where="x").missing == {"gpus[1].multiprocessors": NO_REASON,
                                                   "container.image": "a container is not told it"}  # fmt: skip


def test_keys_of_a_newer_mlconvert_are_left_out():
    data = as_json(of("h100"))
    data["new"] = data["gpus"][0]["new"] = 1
    assert from_json(data, where="x") == of("h100")


def spoilt(path, value):
    data = as_json(of("a100-mig"))
    *parents, last = path.replace("[", ".").replace("]", "").split(".")
    inner = reach(data, ".".join(parents)) if parents else data
    if value is KeyError:
        del inner[last]
    else:
        inner[last] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("schema", "mlconvert.fingerprint/2", "this mlconvert reads 'mlconvert.fingerprint/1'"),
        ("schema", KeyError, "its schema is None"),
        ("gpus", {}, "gpus is not a list"),
        ("gpus", [[]], r"gpus\[0\] is not an object"),
        ("gpus[0].multiprocessors", KeyError, r"gpus\[0\].multiprocessors is absent"),
        ("gpus[0].multiprocessors", "42", "not of type int"),
        ("gpus[0].multiprocessors", True, "not of type int"),
        ("gpus[0].multiprocessors", -1, "not of type int"),
        ("gpus[0].multiprocessors", 4.5, "not of type int"),
        ("gpus[0].power_limit_watts", float("nan"), "not of type float"),
        ("gpus[0].name", 1, "not of type str"),
        ("gpus[0].compute_capability", "sm_80", "which is no version"),
        ("gpus[0].mig", "on", r"gpus\[0\].mig is not an object"),
        ("gpus[0].mig.enabled", None, r"gpus\[0\].mig.enabled is null"),
        ("gpus[0].mig.enabled", 1, "not of type bool"),
        ("driver", None, "driver is not an object"),
        ("driver.version", "new", "which is no version"),
        ("cuda.version", "13010", "which is no version"),
        ("tensorrt.version", "10", "which is no version"),
        ("host.instruction_sets", "avx2", "not of type tuple"),
        ("host.instruction_sets", [1], "not of type tuple"),
        ("host.glibc", "glibc 2.36", "which is no version"),
        ("container", [], "container is not an object"),
        ("packages", {"torch": None}, "packages is not an object of texts"),
        ("missing", {"gpus": 1}, "missing is not an object of texts"),
        ("missing", KeyError, "missing is not an object of texts"),
    ],
)
def test_what_is_no_fingerprint_is_refused(path, value, said):
    with pytest.raises(UsageError, match=said) as told:
        from_json(spoilt(path, value), where="server.json")
    assert told.value.where == "server.json"
    assert "mlconvert fingerprint -o" in told.value.hint


@pytest.mark.parametrize("data", [None, [], "x", 1, {}])
def test_json_of_something_else_is_refused(data):
    with pytest.raises(UsageError, match="not a fingerprint"):
        from_json(data, where="x")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


@settings(max_examples=300)
@given(st.data())
def test_damage_is_refused_or_harmless(data):
    """Any field put to any value: UsageError, or a fingerprint that goes there and back."""
    fingerprint = as_json(of(data.draw(st.sampled_from(NAMES))))
    path = data.draw(st.sampled_from(sorted(walk(fingerprint))))
    *parents, last = path.replace("[", ".").replace("]", "").split(".")
    inner = reach(fingerprint, ".".join(parents)) if parents else fingerprint
    inner[int(last) if isinstance(inner, list) else last] = data.draw(json_values)
    try:
        read = from_json(fingerprint, where="x")
    except UsageError:
        return
    assert from_json(as_json(read), where="x") == read


# --- digest ---


def changed(machine, part, name, value):
    if part != "gpu":
        return replace(machine, **{part: replace(getattr(machine, part), **{name: value})})
    return replace(machine, gpus=(replace(machine.gpus[0], **{name: value}), *machine.gpus[1:]))


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("gpu", "name", "NVIDIA H200"),
        ("gpu", "compute_capability", "9.1"),
        ("gpu", "multiprocessors", 114),
        ("gpu", "memory_bytes", 1),
        ("gpu", "memory_bus_bits", 1),
        ("gpu", "l2_bytes", 1),
        ("gpu", "max_sm_clock_mhz", 1),
        ("gpu", "max_memory_clock_mhz", 1),
        ("gpu", "mig", Mig(True, "3g.40gb", 3, 3)),
        ("driver", "version", "1.2"),
        ("cuda", "version", "12.0"),
        ("tensorrt", "version", "10.16.0.73"),
        ("host", "os", "windows"),
        ("host", "architecture", "aarch64"),
        ("host", "glibc", "2.17"),
        ("host", "instruction_sets", ("avx2",)),
    ],
)
def test_the_digest_changes_with_what_decides(part, name, value):
    assert digest(changed(of("h100"), part, name, value)) != digest(of("h100"))


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("gpu", "uuid", "GPU-1"),
        ("gpu", "pci", "0000:00:00.0"),
        ("gpu", "power_limit_watts", 500.0),
        ("gpu", "cores", None),
        ("gpu", "virtualization", "vgpu"),
        ("host", "kernel", "6.1"),
        ("host", "cpu_model", "other"),
        ("host", "distribution", "other"),
        ("container", "kind", "podman"),
    ],
)
def test_the_digest_stays_where_nothing_decides(part, name, value):
    assert digest(changed(of("h100"), part, name, value)) == digest(of("h100"))


def test_the_digest_is_of_one_gpu():
    two = of("h100")
    assert digest(two, 0) == digest(two, 1) == digest(replace(two, gpus=two.gpus[:1]))
    uneven = changed(two, "gpu", "multiprocessors", 114)
    assert digest(uneven, 0) != digest(uneven, 1) == digest(two, 1)
    assert digest(two, 2) == digest(two, -1) == digest(replace(two, gpus=()))


@pytest.mark.parametrize("name", ["multiprocessors", "l2_bytes", "mig"])
def test_what_is_not_known_of_two_gpus_makes_no_one_of_them(name):
    machine = changed(of("h100"), "gpu", name, None)
    assert digest(machine) != digest(changed(machine, "gpu", "uuid", "GPU-1"))
    machine = of("a100-mig")
    machine = changed(machine, "gpu", "mig", replace(machine.gpus[0].mig, profile=None))
    assert digest(machine) != digest(changed(machine, "gpu", "uuid", "MIG-1"))


@given(machines(), st.integers(0, 2))
def test_the_digest_survives_json(machine, gpu):
    assert digest(from_json(as_json(machine), where="x"), gpu) == digest(machine, gpu)


def test_the_schema():
    assert as_json(Fingerprint())["schema"] == SCHEMA == "mlconvert.fingerprint/1"
