# ruff: noqa: N802, N815 - the doubles' methods have the names of the functions that they stand for
"""What CUDA and NVML say becomes GPUs: both libraries are doubles behind real C function pointers.

The prototypes are those of cuda.h and nvml.h: ctypes refuses a call that does not keep to them.
"""

from __future__ import annotations

import ctypes
import json
from ctypes import CFUNCTYPE, POINTER, c_char, c_char_p, c_int, c_size_t, c_ubyte, c_uint, c_void_p
from dataclasses import dataclass, field

import pytest

from mlconvert.hardware import cuda, gpus, nvml, probe
from mlconvert.hardware.fingerprint import as_json, from_json, take
from mlconvert.hardware.machine import NO_REASON
from mlconvert.hardware.readings import Library, Reading, library_as_json, library_from_json

TEXT = POINTER(c_char)
CUDA = {
    "cuInit": (c_uint,),
    "cuDriverGetVersion": (POINTER(c_int),),
    "cuDeviceGetCount": (POINTER(c_int),),
    "cuDeviceGet": (POINTER(c_int), c_int),
    "cuDeviceGetName": (TEXT, c_int, c_int),
    "cuDeviceTotalMem_v2": (POINTER(c_size_t), c_int),
    "cuDeviceGetAttribute": (POINTER(c_int), c_int, c_int),
    "cuDeviceGetUuid": (POINTER(c_ubyte * 16), c_int),
    "cuDeviceGetUuid_v2": (POINTER(c_ubyte * 16), c_int),
    "cuDeviceGetPCIBusId": (TEXT, c_int, c_int),
    "cuGetErrorString": (c_int, POINTER(c_char_p)),
}
NVML = {
    "nvmlInit_v2": (),
    "nvmlShutdown": (),
    "nvmlSystemGetDriverVersion": (TEXT, c_uint),
    "nvmlSystemGetCudaDriverVersion_v2": (POINTER(c_int),),
    "nvmlDeviceGetCount_v2": (POINTER(c_uint),),
    "nvmlDeviceGetHandleByIndex_v2": (c_uint, POINTER(c_void_p)),
    "nvmlDeviceGetName": (c_void_p, TEXT, c_uint),
    "nvmlDeviceGetUUID": (c_void_p, TEXT, c_uint),
    "nvmlDeviceGetCudaComputeCapability": (c_void_p, POINTER(c_int), POINTER(c_int)),
    "nvmlDeviceGetMemoryInfo": (c_void_p, POINTER(nvml.Memory)),
    "nvmlDeviceGetMemoryBusWidth": (c_void_p, POINTER(c_uint)),
    "nvmlDeviceGetNumGpuCores": (c_void_p, POINTER(c_uint)),
    "nvmlDeviceGetMaxClockInfo": (c_void_p, c_int, POINTER(c_uint)),
    "nvmlDeviceGetPciInfo_v3": (c_void_p, POINTER(nvml.PciInfo)),
    "nvmlDeviceGetMigMode": (c_void_p, POINTER(c_uint), POINTER(c_uint)),
    "nvmlDeviceGetMaxMigDeviceCount": (c_void_p, POINTER(c_uint)),
    "nvmlDeviceGetMigDeviceHandleByIndex": (c_void_p, c_uint, POINTER(c_void_p)),
    "nvmlDeviceGetAttributes_v2": (c_void_p, POINTER(nvml.Attributes)),
    "nvmlDeviceGetVirtualizationMode": (c_void_p, POINTER(c_uint)),
    "nvmlDeviceGetEnforcedPowerLimit": (c_void_p, POINTER(c_uint)),
}
MIG_ON, NO_SUCH, NOT_SUPPORTED, UNKNOWN = 1, 6, 3, 999


@dataclass
class Card:
    """A GPU or a MIG device in all detail."""

    name: str = "NVIDIA H100 80GB HBM3"
    number: int = 1
    capability: tuple[int, int] = (9, 0)
    multiprocessors: int = 132
    memory: int = 80 * 2**30
    bus: int = 5120
    l2: int = 50 * 2**20
    cores: int = 16896
    clocks: tuple[int, int] = (1980, 2619)
    place: int = 0x1B
    mode: int = 0
    watts: int = 700
    mig: int | None = 0  # None: cannot be split
    slices: tuple[int, int] = (0, 0)
    parts: list[Card | None] = field(default_factory=list)

    @property
    def uuid(self):
        return bytes([self.number]) * 16

    @property
    def written(self):
        digits = self.uuid.hex()
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


class Double:
    """Functions of a library by name; `failing`: the numbers that some answer with; `lacking`: those of a newer one."""

    def __init__(self, prototypes, failing=None, lacking=()):
        self.failing = failing or {}
        self.calls = []
        for name, types in prototypes.items():
            if name not in lacking:
                setattr(self, name, CFUNCTYPE(c_int, *types)(self._answering(name)))

    def _answering(self, name):
        def answer(*arguments):
            self.calls.append(name)
            code = self.failing.get(name, 0)
            return code or getattr(self, f"on_{name}")(*arguments) or 0

        return answer


def put(buffer, size, text):
    data = text.encode() + b"\0"
    assert len(data) <= size
    ctypes.memmove(buffer, data, len(data))


class Cuda(Double):
    def __init__(self, cards, version=13010, **kwargs):
        self.cards, self.version, self.kept = cards, version, []
        super().__init__(CUDA, **kwargs)

    def on_cuInit(self, flags):
        assert flags == 0
        return 0 if self.cards else cuda.NO_DEVICE

    def on_cuDriverGetVersion(self, out):
        out[0] = self.version

    def on_cuDeviceGetCount(self, out):
        out[0] = len(self.cards)

    def on_cuDeviceGet(self, out, ordinal):
        out[0] = ordinal + 40  # a handle, not the ordinal

    def on_cuDeviceGetName(self, buffer, size, device):
        put(buffer, size, self.cards[device - 40].name)

    def on_cuDeviceTotalMem_v2(self, out, device):
        out[0] = self.cards[device - 40].memory

    def on_cuDeviceGetAttribute(self, out, number, device):
        card = self.cards[device - 40]
        out[0] = {
            13: card.clocks[0] * 1000,
            16: card.multiprocessors,
            36: card.clocks[1] * 1000,
            37: card.bus,
            38: card.l2,
            75: card.capability[0],
            76: card.capability[1],
        }[number]

    def on_cuDeviceGetUuid_v2(self, out, device):
        out[0][:] = list(self.cards[device - 40].uuid)

    on_cuDeviceGetUuid = on_cuDeviceGetUuid_v2

    def on_cuDeviceGetPCIBusId(self, buffer, size, device):
        put(buffer, size, f"0000:{self.cards[device - 40].place:02X}:00.0")

    def on_cuGetErrorString(self, code, out):
        self.kept.append(c_char_p(b"the words of CUDA"))
        out[0] = self.kept[-1]


class Nvml(Double):
    def __init__(self, cards, **kwargs):
        self.cards = cards
        self.handles = {index + 1: card for index, card in enumerate(cards)}
        super().__init__(NVML, **kwargs)

        def error_string(code):
            return b"the words of NVML"

        self.nvmlErrorString = error_string

    def on_nvmlInit_v2(self):
        pass

    def on_nvmlShutdown(self):
        pass

    def on_nvmlSystemGetDriverVersion(self, buffer, size):
        put(buffer, size, "580.95.05")

    def on_nvmlSystemGetCudaDriverVersion_v2(self, out):
        out[0] = 13000

    def on_nvmlDeviceGetCount_v2(self, out):
        out[0] = len(self.cards)

    def on_nvmlDeviceGetHandleByIndex_v2(self, index, out):
        out[0] = index + 1

    def on_nvmlDeviceGetName(self, handle, buffer, size):
        put(buffer, size, self.handles[handle].name)

    def on_nvmlDeviceGetUUID(self, handle, buffer, size):
        put(buffer, size, f"{'MIG' if handle > 100 else 'GPU'}-{self.handles[handle].written}")

    def on_nvmlDeviceGetCudaComputeCapability(self, handle, major, minor):
        major[0], minor[0] = self.handles[handle].capability

    def on_nvmlDeviceGetMemoryInfo(self, handle, out):
        out[0].total = self.handles[handle].memory + 1000

    def on_nvmlDeviceGetMemoryBusWidth(self, handle, out):
        out[0] = self.handles[handle].bus

    def on_nvmlDeviceGetNumGpuCores(self, handle, out):
        out[0] = self.handles[handle].cores

    def on_nvmlDeviceGetMaxClockInfo(self, handle, kind, out):
        out[0] = self.handles[handle].clocks[{1: 0, 2: 1}[kind]]

    def on_nvmlDeviceGetPciInfo_v3(self, handle, out):
        out[0].bus = self.handles[handle].place

    def on_nvmlDeviceGetMigMode(self, handle, current, pending):
        if self.handles[handle].mig is None:
            return NOT_SUPPORTED
        current[0], pending[0] = self.handles[handle].mig, 1
        return 0

    def on_nvmlDeviceGetMaxMigDeviceCount(self, handle, out):
        out[0] = len(self.handles[handle].parts)

    def on_nvmlDeviceGetMigDeviceHandleByIndex(self, handle, index, out):
        card = self.handles[handle].parts[index]
        if card is None:
            return NO_SUCH
        out[0] = 100 * handle + index + 1
        self.handles[out[0]] = card
        return 0

    def on_nvmlDeviceGetAttributes_v2(self, handle, out):
        card = self.handles[handle]
        out[0].multiprocessors, (out[0].gpu_slices, out[0].compute_slices) = card.multiprocessors, card.slices

    def on_nvmlDeviceGetVirtualizationMode(self, handle, out):
        out[0] = self.handles[handle].mode

    def on_nvmlDeviceGetEnforcedPowerLimit(self, handle, out):
        out[0] = self.handles[handle].watts * 1000


NO_NVML = Library(failed="libnvidia-ml.so.1 is not here (no NVIDIA driver)")
NO_CUDA = Library(failed="libcuda.so.1 cannot be loaded: boom")


@pytest.fixture(autouse=True)
def no_driver_of_this_machine(monkeypatch, tmp_path):
    monkeypatch.setattr(nvml, "KERNEL_MODULE", tmp_path / "version")


def a100():
    """Split in two, with a place between them that holds nothing."""
    whole = Card("NVIDIA A100-SXM4-40GB", 7, (8, 0), 108, 40 * 2**30, 5120, 40 * 2**20, 6912, (1410, 1215), mig=MIG_ON)
    whole.parts = [
        Card("NVIDIA A100-SXM4-40GB MIG 3g.20gb", 8, (8, 0), 42, 20 * 2**30, 2560, 20 * 2**20, slices=(3, 3),
             clocks=(1410, 1215)),
        None,
        Card("NVIDIA A100-SXM4-40GB MIG 1g.5gb", 9, (8, 0), 14, 5 * 2**30, 640, 5 * 2**20, slices=(1, 1),
             clocks=(1410, 1215)),
    ]  # fmt: skip
    return whole


# --- both libraries ---


def test_a_gpu_from_both():
    card = Card()
    found, system = gpus.merge(cuda.read(Cuda([card])), nvml.read(Nvml([card])))
    assert found == [
        Reading(
            {
                "name": "NVIDIA H100 80GB HBM3",
                "uuid": "GPU-01010101-0101-0101-0101-010101010101",
                "compute_capability": "9.0",
                "architecture": "hopper",
                "multiprocessors": 132,
                "memory_bytes": 80 * 2**30,  # CUDA's, not NVML's
                "memory_bus_bits": 5120,
                "l2_bytes": 50 * 2**20,
                "cores": 16896,
                "max_sm_clock_mhz": 1980,
                "max_memory_clock_mhz": 2619,
                "pci": "0000:1b:00.0",
                "mig": {"enabled": False},
                "virtualization": "none",
                "power_limit_watts": 700.0,
            }
        )
    ]
    assert system == Reading({"driver.version": "580.95.05", "cuda.version": "13.1"})


def test_the_order_is_cuda_s_and_hidden_gpus_are_left_out():
    one, two, three = (Card(number=n, place=n, watts=100 * n) for n in (1, 2, 3))
    found, _ = gpus.merge(cuda.read(Cuda([three, one])), nvml.read(Nvml([one, two, three])))
    assert [gpu.values["uuid"][-1] for gpu in found] == ["3", "1"]
    assert [gpu.values["power_limit_watts"] for gpu in found] == [300.0, 100.0]


def test_without_nvml_cuda_tells_what_decides():
    (gpu,), system = gpus.merge(cuda.read(Cuda([Card()])), NO_NVML)
    assert set(gpu.missing) == {"cores", "mig", "virtualization", "power_limit_watts"}
    assert gpu.missing["mig"] == f"NVML: {NO_NVML.failed}"
    assert gpu.values["uuid"] == "GPU-01010101-0101-0101-0101-010101010101"
    assert set(system.missing) == {"driver.version"}


def test_without_nvml_the_kernel_tells_the_driver(tmp_path):
    nvml.KERNEL_MODULE.write_text("570.133.20\n")
    assert gpus.merge(cuda.read(Cuda([Card()])), NO_NVML)[1].values["driver.version"] == "570.133.20"
    nvml.KERNEL_MODULE.write_text("soon\n")
    assert "told as 'soon'" in gpus.merge(cuda.read(Cuda([Card()])), NO_NVML)[1].missing["driver.version"]


def test_without_cuda_nvml_lists_the_gpus():
    (gpu,), system = gpus.merge(NO_CUDA, nvml.read(Nvml([Card(mig=None)])))
    assert set(gpu.missing) == {"multiprocessors", "l2_bytes"}
    assert gpu.missing["multiprocessors"] == f"CUDA: {NO_CUDA.failed}; NVML: tells no count of multiprocessors"
    assert gpu.values["memory_bytes"] == 80 * 2**30 + 1000
    assert gpu.values["mig"] == {"enabled": False}
    assert system.values == {"driver.version": "580.95.05", "cuda.version": "13.0"}


def test_gpus_that_are_hidden_from_cuda_are_none():
    found, system = gpus.merge(cuda.read(Cuda([])), nvml.read(Nvml([Card()])))
    assert found == []
    assert "the words of CUDA (100)" in system.missing["gpus"]
    assert "NVML lists NVIDIA H100 80GB HBM3, hidden from CUDA" in system.missing["gpus"]


def test_no_driver_at_all():
    found, system = gpus.merge(NO_CUDA, NO_NVML)
    assert found == []
    assert system.values == {}
    assert set(system.missing) == {"gpus", "driver.version", "cuda.version"}
    assert system.missing["cuda.version"] == f"CUDA: {NO_CUDA.failed}; NVML: {NO_NVML.failed}"


# --- MIG ---


@pytest.mark.parametrize("place", [0, 2])
def test_a_mig_device_in_both(place):
    whole = a100()
    part = whole.parts[place]
    (gpu,), _ = gpus.merge(cuda.read(Cuda([part])), nvml.read(Nvml([Card(), whole])))
    assert gpu.values["name"] == "NVIDIA A100-SXM4-40GB"
    assert gpu.values["uuid"] == f"MIG-{part.written}"
    assert gpu.values["multiprocessors"] == part.multiprocessors
    assert gpu.values["memory_bus_bits"] == part.bus
    profile = part.name.split()[-1]
    assert gpu.values["mig"] == {"enabled": True, "profile": profile, "gpu_slices": part.slices[0],
                                 "compute_slices": part.slices[1]}  # fmt: skip
    assert set(gpu.missing) == {"cores", "power_limit_watts"}


def test_mig_devices_without_cuda():
    found, _ = gpus.merge(NO_CUDA, nvml.read(Nvml([a100()])))
    assert [gpu.values["multiprocessors"] for gpu in found] == [42, 14]
    assert [gpu.values["mig"]["profile"] for gpu in found] == ["3g.20gb", "1g.5gb"]
    assert all(set(gpu.missing) == {"cores", "power_limit_watts", "memory_bus_bits", "l2_bytes"} for gpu in found)


def test_a_mig_device_without_nvml():
    (gpu,), _ = gpus.merge(cuda.read(Cuda([a100().parts[0]])), NO_NVML)
    assert gpu.values["mig"] == {"enabled": True, "profile": "3g.20gb"}
    assert gpu.values["uuid"].startswith("MIG-08")
    assert gpu.missing["mig.gpu_slices"] == gpu.missing["mig.compute_slices"] == f"NVML: {NO_NVML.failed}"
    assert "mig" not in gpu.missing


def test_a_name_without_the_profile():
    whole = a100()
    for part in whole.parts:
        if part:
            part.name = whole.name
    found, _ = gpus.merge(NO_CUDA, nvml.read(Nvml([whole])))
    assert "profile" not in found[0].values["mig"]
    assert "mig.profile" in found[0].missing


def test_an_old_cuda_that_tells_the_uuid_of_the_whole_gpu():
    """Which of two MIG devices it is, is not guessed; of one, it is that."""
    whole = a100()
    part = Card(**{**vars(whole.parts[0]), "number": whole.number})
    library = Cuda([part], lacking=("cuDeviceGetUuid_v2",))
    (gpu,), _ = gpus.merge(cuda.read(library), nvml.read(Nvml([whole])))
    assert "cuDeviceGetUuid" in library.calls
    assert gpu.values["mig"] == {"enabled": True, "profile": "3g.20gb"}
    assert gpu.missing["cores"] == "NVML: several MIG devices have that place on the bus"
    whole.parts = whole.parts[:1]
    (gpu,), _ = gpus.merge(cuda.read(library), nvml.read(Nvml([whole])))
    assert gpu.values["mig"]["gpu_slices"] == 3


def test_a_split_gpu_without_parts():
    whole = a100()
    whole.parts = [None]
    library = nvml.read(Nvml([whole]))
    assert (library.devices, library.none_visible) == ((), True)
    assert "NVML lists no GPU" in gpus.merge(NO_CUDA, library)[1].missing["gpus"]


@pytest.mark.parametrize(
    ("failing", "unknown"),
    [
        ({"nvmlDeviceGetAttributes_v2": UNKNOWN}, {"multiprocessors", "mig.gpu_slices", "mig.compute_slices"}),
        ({"nvmlDeviceGetMaxMigDeviceCount": UNKNOWN}, {"multiprocessors", "name", "mig"}),
        ({"nvmlDeviceGetMigDeviceHandleByIndex": UNKNOWN}, {"multiprocessors", "name", "mig"}),
        ({"nvmlDeviceGetMigMode": UNKNOWN}, {"multiprocessors", "mig"}),
    ],
)
def test_what_fails_under_mig_is_unknown(failing, unknown):
    found, _ = gpus.merge(NO_CUDA, nvml.read(Nvml([a100()], failing=failing)))
    assert found
    for gpu in found:
        assert unknown <= set(gpu.missing)
        assert not unknown & set(gpu.values)


# --- failures ---


FIELDS_OF_CUDA = {
    "cuDeviceGetName": {"name"},
    "cuDeviceGetUuid_v2": {"uuid"},
    "cuDeviceTotalMem_v2": {"memory_bytes"},
    "cuDeviceGetPCIBusId": {"pci"},
    "cuDeviceGetAttribute": {"compute_capability", "architecture", "multiprocessors", "memory_bus_bits", "l2_bytes",
                             "max_sm_clock_mhz", "max_memory_clock_mhz"},
}  # fmt: skip
WITHOUT_NVML = {"cores", "mig", "virtualization", "power_limit_watts"}


@pytest.mark.parametrize("name", FIELDS_OF_CUDA)
def test_one_call_of_cuda_that_fails_costs_its_fields(name):
    (gpu,), _ = gpus.merge(cuda.read(Cuda([Card()], failing={name: UNKNOWN})), NO_NVML)
    assert set(gpu.missing) == WITHOUT_NVML | FIELDS_OF_CUDA[name]
    for lost in FIELDS_OF_CUDA[name]:
        assert f"{name}: the words of CUDA (999); NVML: " in gpu.missing[lost]


@pytest.mark.parametrize("name", ["cuInit", "cuDeviceGetCount"])
@pytest.mark.parametrize("code", [cuda.NO_DEVICE, 803, UNKNOWN])
def test_a_cuda_that_does_not_start_leaves_it_to_nvml(name, code):
    library = cuda.read(Cuda([Card()], failing={name: code}))
    assert library.failed == f"{name}: the words of CUDA ({code})"
    assert library.none_visible == (code == cuda.NO_DEVICE)
    found, _ = gpus.merge(library, nvml.read(Nvml([Card()])))
    assert len(found) == (0 if code == cuda.NO_DEVICE else 1)


def test_a_device_that_cuda_cannot_open_is_there_and_unknown():
    (gpu,), _ = gpus.merge(cuda.read(Cuda([Card()], failing={"cuDeviceGet": UNKNOWN})), NO_NVML)
    assert gpu.values == {}
    assert set(gpu.missing) == {"architecture", *gpus.FIELDS}


FIELDS_OF_NVML = {
    "nvmlDeviceGetName": {"name"},
    "nvmlDeviceGetUUID": {"uuid"},
    "nvmlDeviceGetCudaComputeCapability": {"compute_capability", "architecture"},
    "nvmlDeviceGetMemoryInfo": {"memory_bytes"},
    "nvmlDeviceGetMemoryBusWidth": {"memory_bus_bits"},
    "nvmlDeviceGetNumGpuCores": {"cores"},
    "nvmlDeviceGetMaxClockInfo": {"max_sm_clock_mhz", "max_memory_clock_mhz"},
    "nvmlDeviceGetPciInfo_v3": {"pci"},
    "nvmlDeviceGetMigMode": {"mig"},
    "nvmlDeviceGetVirtualizationMode": {"virtualization"},
    "nvmlDeviceGetEnforcedPowerLimit": {"power_limit_watts"},
}


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("name", FIELDS_OF_NVML)
def test_one_call_of_nvml_that_fails_or_lacks_costs_its_fields(name, older):
    double = Nvml([Card()], lacking=(name,)) if older else Nvml([Card()], failing={name: UNKNOWN})
    (gpu,), _ = gpus.merge(NO_CUDA, nvml.read(double))
    assert set(gpu.missing) == {"multiprocessors", "l2_bytes"} | FIELDS_OF_NVML[name]
    said = f"NVML: this driver has no {name}" if older else f"NVML: {name}: the words of NVML (999)"
    assert all(said in gpu.missing[lost] for lost in FIELDS_OF_NVML[name])
    assert double.calls[-1] == "nvmlShutdown"


@pytest.mark.parametrize("name", ["nvmlInit_v2", "nvmlDeviceGetCount_v2", "nvmlDeviceGetHandleByIndex_v2"])
def test_an_nvml_that_does_not_start_costs_nothing_that_cuda_tells(name):
    library = nvml.read(Nvml([Card()], failing={name: 9}))
    (gpu,), system = gpus.merge(cuda.read(Cuda([Card()])), library)
    assert set(gpu.missing) == WITHOUT_NVML
    assert system.values["cuda.version"] == "13.1"


def test_system_versions_that_fail():
    failing = {"nvmlSystemGetDriverVersion": UNKNOWN, "nvmlSystemGetCudaDriverVersion_v2": UNKNOWN}
    library = cuda.read(Cuda([Card()], failing={"cuDriverGetVersion": UNKNOWN}))
    _, system = gpus.merge(library, nvml.read(Nvml([Card()], failing=failing)))
    assert set(system.missing) == {"driver.version", "cuda.version"}
    assert "cuDriverGetVersion" in system.missing["cuda.version"]
    assert "nvmlSystemGetCudaDriverVersion_v2" in system.missing["cuda.version"]


def test_zeros_are_no_values():
    empty = Card("", 0, (0, 0), 0, 0, 0, 0, 0, (0, 0), watts=0, mode=9, mig=None)
    (gpu,), _ = gpus.merge(cuda.read(Cuda([empty])), nvml.read(Nvml([empty])))
    assert set(gpu.values) == {"uuid", "memory_bytes", "pci", "mig"}  # NVML's double has no zeros of those
    assert "9, which this mlconvert does not know" in gpu.missing["virtualization"]


@pytest.mark.parametrize(
    ("number", "version"), [(13010, "13.1"), (12080, "12.8"), (13000, "13.0"), (11040, "11.4"), (12000, "12.0")]
)
def test_versions_as_nvidia_numbers_them(number, version):
    assert cuda.read(Cuda([Card()], version=number)).system.values["cuda.version"] == version


@pytest.mark.parametrize(("text", "address"), [("0000:1B:00.0", "0000:1b:00.0"), ("00000000:03:0A.1", "0000:03:0a.1")])
def test_addresses_in_one_spelling(text, address):
    assert cuda.pci_address(text) == address


@pytest.mark.parametrize(
    ("capability", "name"),
    [("7.0", "volta"), ("7.2", "volta"), ("7.5", "turing"), ("8.0", "ampere"), ("8.6", "ampere"), ("8.7", "ampere"),
     ("8.9", "ada"), ("9.0", "hopper"), ("10.0", "blackwell"), ("10.3", "blackwell"), ("11.0", "blackwell"),
     ("12.0", "blackwell"), ("12.1", "blackwell"), ("3.5", None), ("13.0", None), ("14.2", None)],
)  # fmt: skip
def test_architectures(capability, name):
    assert gpus.architecture_of(capability) == name


def test_a_gpu_newer_than_the_table():
    (gpu,), _ = gpus.merge(cuda.read(Cuda([Card(capability=(15, 0))])), NO_NVML)
    assert gpu.missing["architecture"] == "this mlconvert has no name for compute capability 15.0"


def test_the_structures_have_the_sizes_of_nvml_h():
    sizes = {kind: ctypes.sizeof(kind) for kind in (nvml.Memory, nvml.PciInfo, nvml.Attributes)}
    assert sizes == {nvml.Memory: 24, nvml.PciInfo: 68, nvml.Attributes: 40}


# --- on the way into a fingerprint ---


def test_what_a_library_said_travels_as_json():
    library = nvml.read(Nvml([a100(), Card()], failing={"nvmlDeviceGetPciInfo_v3": UNKNOWN}))
    assert library_from_json(json.loads(json.dumps(library_as_json(library)))) == library


def test_a_fingerprint_of_a_machine_with_gpus(monkeypatch):
    whole = a100()
    told = {
        "cuda": cuda.read(Cuda([whole.parts[2]])),
        "nvml": nvml.read(Nvml([whole])),
        "tensorrt": Library(system=Reading({"version": "11.4.0.106"})),
    }
    monkeypatch.setattr(probe, "ask_all", lambda: told)
    taken = take()
    assert from_json(as_json(taken), where="x") == taken
    assert NO_REASON not in taken.missing.values()
    assert {path for path in taken.missing if path.startswith("gpus")} == {
        "gpus[0].cores", "gpus[0].power_limit_watts"
    }  # fmt: skip
    assert (taken.gpus[0].mig.profile, taken.gpus[0].architecture) == ("1g.5gb", "ampere")
    assert taken.tensorrt.version == "11.4.0.106"


def test_a_cuda_that_counts_no_gpu(monkeypatch):
    library = Cuda([Card()])
    library.on_cuDeviceGetCount = lambda out: out.__setitem__(0, 0)
    read = cuda.read(library)
    assert (read.failed, read.none_visible, read.devices) == ("CUDA shows no device", True, ())
    assert read.system.values == {"cuda.version": "13.1"}


@pytest.mark.parametrize("text", ["x", "0000:1B:00", "0000:zz:00.0"])
def test_an_address_that_is_none(text):
    library = Cuda([Card()])
    library.on_cuDeviceGetPCIBusId = lambda buffer, size, device: put(buffer, size, text)
    assert cuda.read(library).devices[0].missing["pci"] == f"cuDeviceGetPCIBusId answers {text!r}"


def test_a_tensorrt_that_crashes_is_a_reason(monkeypatch):
    told = {"cuda": NO_CUDA, "nvml": NO_NVML, "tensorrt": Library(failed="ended by signal 11")}
    monkeypatch.setattr(probe, "ask_all", lambda: told)
    assert take().missing["tensorrt.version"] == "ended by signal 11"
