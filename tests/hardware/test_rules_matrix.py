"""The rules over a synthetic matrix, held to NVIDIA's rules written down here a second time, as plain tables.

TensorRT version x compute capability x product x SMs x MIG x driver x OS x flags. No combination that NVIDIA refuses
may be anything but `refuse`, and none that it loads may be refused.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import pytest

from mlconvert.hardware.comparing import Build
from mlconvert.hardware.fingerprint import Cuda, Driver, Fingerprint, Gpu, Host, Mig, TensorRT
from mlconvert.hardware.rules import judge, values_of

# --- the second statement: what loads, in tables and without any comparison of numbers ---

V85, V86, V103, V1016, V111, V114 = "8.5.3.1", "8.6.1.6", "10.3.0.26", "10.16.1.11", "11.1.0.20", "11.4.0.106"
VERSIONS = (V85, V86, V103, V1016, V111, V114)
LOADED_BY = {  # a version-compatible engine of the first is loaded by these; any other engine by its own version alone
    V85: {V85},  # there were no such engines yet
    V86: {V86, V103, V1016},
    V103: {V103, V1016, V111, V114},
    V1016: {V1016, V111, V114},
    V111: {V111, V114},
    V114: {V114},
}


def gpu(name: str, capability: str, multiprocessors: int, gigabytes: int, **more) -> Gpu:
    return Gpu(
        name=name, uuid="GPU-1", compute_capability=capability, multiprocessors=multiprocessors,
        memory_bytes=gigabytes << 30, memory_bus_bits=384, l2_bytes=50 << 20, max_sm_clock_mhz=1980,
        max_memory_clock_mhz=2619, **{"mig": Mig(enabled=False), **more},
    )  # fmt: skip


GPUS = {
    "V100": gpu("Tesla V100-SXM2-16GB", "7.0", 80, 16),
    "T4": gpu("Tesla T4", "7.5", 40, 16),
    "RTX 8000": gpu("Quadro RTX 8000", "7.5", 72, 48),
    "A100": gpu("NVIDIA A100-SXM4-40GB", "8.0", 108, 40),
    "A100 3g": gpu("NVIDIA A100-SXM4-40GB", "8.0", 42, 20, mig=Mig(True, "3g.20gb", 4, 3)),
    "A100 1g": gpu("NVIDIA A100-SXM4-40GB", "8.0", 14, 5, mig=Mig(True, "1g.5gb", 1, 1)),
    "A10": gpu("NVIDIA A10", "8.6", 72, 24),
    "A40": gpu("NVIDIA A40", "8.6", 84, 48),
    "Orin": gpu("Orin", "8.7", 16, 32),
    "L4": gpu("NVIDIA L4", "8.9", 58, 24),
    "H100 PCIe": gpu("NVIDIA H100 PCIe", "9.0", 114, 80),
    "H100": gpu("NVIDIA H100 80GB HBM3", "9.0", 132, 80),
    "H200": gpu("NVIDIA H200", "9.0", 132, 141),
    "B200": gpu("NVIDIA B200", "10.0", 148, 180),
}
# On which GPUs the engine of the first loads, by the hardware compatibility that it was built with.
LOADS_ON = {
    "V100": {"V100"},
    "T4": {"T4", "RTX 8000"},
    "RTX 8000": {"RTX 8000"},  # the T4 has fewer multiprocessors
    "A100": {"A100"},
    "A100 3g": {"A100 3g", "A100"},
    "A100 1g": {"A100 1g", "A100 3g", "A100"},
    "A10": {"A10", "A40"},
    "A40": {"A40"},
    "Orin": {"Orin"},
    "L4": {"L4"},
    "H100 PCIe": {"H100 PCIe", "H100", "H200"},
    "H100": {"H100", "H200"},
    "H200": {"H100", "H200"},
    "B200": {"B200"},
}
ALIKE = ({"T4", "RTX 8000"}, {"A100", "A100 3g", "A100 1g"}, {"A10", "A40"}, {"Orin"}, {"L4"},
         {"H100 PCIe", "H100", "H200"}, {"B200"})  # fmt: skip
SAME_CAPABILITY = {name: next((group for group in ALIKE if name in group), set()) for name in GPUS}
DESKTOP_AMPERE = {"A100", "A100 3g", "A100 1g", "A10", "A40", "L4", "H100 PCIe", "H100", "H200", "B200"}
AMPERE_PLUS = {name: DESKTOP_AMPERE if name in DESKTOP_AMPERE else {name} & {"Orin"} for name in GPUS}
LOADS = {"none": LOADS_ON, "same_compute_capability": SAME_CAPABILITY, "ampere_plus": AMPERE_PLUS}

SYSTEMS = {
    "linux": Host(os="linux", architecture="x86_64"),
    "arm": Host(os="linux", architecture="aarch64"),
    "windows": Host(os="windows", architecture="x86_64"),
}


def machine(name: str, version: str = V114, system: str = "linux", driver: str = "580.82.07") -> Fingerprint:
    return Fingerprint(
        gpus=(GPUS[name],), driver=Driver(driver), cuda=Cuda("13.0"), tensorrt=TensorRT(version), host=SYSTEMS[system]
    )


def engine(built_on: Fingerprint, compatibility: str = "none", *flags: str) -> Build:
    values, reasons = values_of(built_on, 0)
    return Build("tensorrt", values=values, reasons=reasons, flags=frozenset(flags),
                 hardware_compatibility=compatibility)  # fmt: skip


def loads(first: tuple, second: tuple, compatibility: str, flags: tuple[str, ...]) -> bool:
    """Whether NVIDIA's rules load it; `first` and `second` are GPU, version and system."""
    (gpu_a, version_a, system_a), (gpu_b, version_b, system_b) = first, second
    versions = LOADED_BY[version_a] if "VERSION_COMPATIBLE" in flags else {version_a}
    return system_a == system_b and version_b in versions and gpu_b in LOADS[compatibility][gpu_a]


def test_no_engine_that_nvidia_refuses_is_let_through_and_none_that_it_loads_is_refused():
    seen: Counter[str] = Counter()
    machines = {key: machine(*key) for key in itertools.product(GPUS, VERSIONS)}
    for compatibility, flags in itertools.product(LOADS, ((), ("VERSION_COMPATIBLE", "TF32"))):
        for first, built_on in machines.items():
            built = engine(built_on, compatibility, *flags)
            for second, here in machines.items():
                if first[1] not in (V1016, V114, V86) and second[0] != first[0]:
                    continue  # all versions against each other on one GPU; all GPUs against each other with three
                verdict = judge(built, here, 0).verdict
                seen[verdict] += 1
                expected = loads((*first, "linux"), (*second, "linux"), compatibility, flags)
                assert (verdict != "refuse") is expected, (first, second, compatibility, flags)
                if verdict == "ok":
                    assert first == second
    assert sum(seen.values()) > 20_000
    assert min(seen["ok"], seen["suboptimal"], seen["refuse"]) > 100


DRIVERS = ("550.54.15", "580.82.07", "580.95.05")


def test_systems_and_drivers_across_the_products():
    seen: Counter[str] = Counter()
    pairs = list(itertools.product(SYSTEMS, DRIVERS))
    for name, other in itertools.product(("A100", "A100 1g", "H100", "H200", "Orin"), repeat=2):
        for (system_a, driver_a), (system_b, driver_b) in itertools.product(pairs, repeat=2):
            for compatibility in LOADS:
                built = engine(machine(name, V114, system_a, driver_a), compatibility)
                verdict = judge(built, machine(other, V114, system_b, driver_b), 0).verdict
                expected = loads((name, V114, system_a), (other, V114, system_b), compatibility, ())
                assert (verdict != "refuse") is expected, (name, other, system_a, system_b, compatibility)
                if expected:
                    assert (verdict == "ok") is (name == other and driver_a == driver_b)
                seen[verdict] += 1
    assert sum(seen.values()) > 5000


# --- what is not known ---

REFUSING = ("host.os", "host.architecture", "tensorrt.version", "gpu.compute_capability", "gpu.multiprocessors")
WARNING = ("gpu.name", "gpu.memory_bytes", "gpu.memory_bus_bits", "gpu.l2_bytes", "gpu.max_sm_clock_mhz",
           "gpu.max_memory_clock_mhz", "driver.version", "cuda.version", "gpu.mig")  # fmt: skip


def without(fingerprint: Fingerprint, path: str) -> Fingerprint:
    part, _, name = path.partition(".")
    if part == "gpu":
        return replace(fingerprint, gpus=tuple(replace(one, **{name: None}) for one in fingerprint.gpus))
    return replace(fingerprint, **{part: replace(getattr(fingerprint, part), **{name: None})})


@pytest.mark.parametrize("side", ["built", "here"])
@pytest.mark.parametrize("path", [*REFUSING, *WARNING])
@pytest.mark.parametrize("name", GPUS)
def test_what_is_not_known_is_never_ok(name, path, side):
    whole = machine(name)
    assert judge(engine(whole), whole, 0).verdict == "ok"
    part = without(whole, path)
    judgement = judge(engine(part), whole, 0) if side == "built" else judge(engine(whole), part, 0)
    if "3g" in name or "1g" in name:
        assert judgement.verdict in ("suboptimal", "refuse")
    else:
        assert judgement.verdict == ("refuse" if path in REFUSING else "suboptimal")
    told = [found for found in judgement.findings if found.level != "ok"]
    assert all("is not known" in found.sentence for found in told)
    assert told


def test_a_part_of_a_gpu_that_is_not_known_is_refused():
    whole = machine("A100 3g")
    split = replace(whole, gpus=(replace(whole.gpus[0], mig=Mig(enabled=True)),))
    judgement = judge(engine(whole), split, 0)
    assert [found.rule for found in judgement.findings if found.level == "refuse"] == ["mig"]


def test_without_a_gpu_everything_is_refused_with_the_reason():
    bare = replace(machine("H100"), gpus=(), missing={"gpus": "no NVIDIA driver"})
    judgement = judge(engine(machine("H100")), bare, None)
    assert judgement.verdict == "refuse"
    assert [found.rule for found in judgement.findings] == ["gpu"]
    assert "no NVIDIA driver" in judgement.findings[0].sentence
