"""The fingerprint of a machine: taken here, written to JSON and read back, and its digest."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import asdict, fields
from typing import Any

from mlconvert.errors import UsageError
from mlconvert.hardware import probe
from mlconvert.hardware.container import read_container
from mlconvert.hardware.gpus import merge
from mlconvert.hardware.host import read_host, read_packages
from mlconvert.hardware.machine import (
    Container,
    Cuda,
    Driver,
    Fingerprint,
    Gpu,
    Host,
    Mig,
    TensorRT,
    unknown,
    with_reasons,
)
from mlconvert.hardware.readings import Reading

__all__ = [
    "SCHEMA",
    "Container",
    "Cuda",
    "Driver",
    "Fingerprint",
    "Gpu",
    "Host",
    "Mig",
    "TensorRT",
    "as_json",
    "digest",
    "from_json",
    "take",
]

SCHEMA = "mlconvert.fingerprint/1"
HINT = "mlconvert fingerprint -o FILE, on the machine that is meant"


# What rules compare. Identity (uuid, pci), limits that an administrator sets and the container are left out: two
# machines that differ in those alone run the same engines equally well.
DECIDING: dict[str, tuple[str, ...]] = {
    "driver": ("version",),
    "cuda": ("version",),
    "tensorrt": ("version",),
    "host": ("os", "architecture", "glibc", "instruction_sets"),
}
DECIDING_OF_GPU = (
    "name", "compute_capability", "multiprocessors", "memory_bytes", "memory_bus_bits", "l2_bytes",
    "max_sm_clock_mhz", "max_memory_clock_mhz", "mig",
)  # fmt: skip


def take() -> Fingerprint:
    """The fingerprint of this machine, as this process sees it. Raises nothing: what cannot be read is missing.

    NVIDIA's libraries are asked in child processes: a driver that hangs or crashes costs the GPUs' fields and no more,
    and a process that forks later has no CUDA of its parent's.
    """
    told = probe.ask_all()
    gpus, system = merge(told["cuda"], told["nvml"])
    tensorrt = told["tensorrt"].system
    if told["tensorrt"].failed is not None:
        tensorrt = Reading(missing={"version": told["tensorrt"].failed})
    host, around = read_host(), read_container()
    parts = {"host": host, "container": around, "tensorrt": tensorrt}
    parts |= {f"gpus[{index}]": gpu for index, gpu in enumerate(gpus)}
    missing = {f"{path}.{name}": why for path, part in parts.items() for name, why in part.missing.items()}
    taken = Fingerprint(
        gpus=tuple(_gpu(reading) for reading in gpus),
        driver=Driver(system.values.get("driver.version")),
        cuda=Cuda(system.values.get("cuda.version")),
        tensorrt=TensorRT(**tensorrt.values),
        host=Host(**host.values),
        container=Container(**around.values),
        packages=read_packages(),
    )
    return with_reasons(taken, missing | system.missing)


def _gpu(reading: Reading) -> Gpu:
    values = dict(reading.values)
    if values.get("mig") is not None:
        values["mig"] = Mig(**values["mig"])
    return Gpu(**values)


def digest(fingerprint: Fingerprint, gpu: int = 0) -> str:
    """A sha256 over the fields that decide whether and how well an engine runs on that GPU of the machine.

    Two machines of one digest are the same to every rule. A GPU with an unknown among those fields has a digest of
    its own (its UUID goes in): what is not known cannot be said to be the same. Without that GPU the digest is of the
    rest of the machine.
    """
    kept: dict[str, Any] = {
        part: {name: getattr(getattr(fingerprint, part), name) for name in names} for part, names in DECIDING.items()
    }
    kept["packages"] = dict(fingerprint.packages)
    if 0 <= gpu < len(fingerprint.gpus):
        described = asdict(fingerprint.gpus[gpu])
        kept["gpu"] = {name: described[name] for name in DECIDING_OF_GPU}
        deciding = {f"gpus[{gpu}].{name}" for name in DECIDING_OF_GPU}
        if any(path.removesuffix(".profile") in deciding for path in unknown(fingerprint)):
            kept["gpu"]["uuid"] = described["uuid"]
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


# --- JSON ---


def as_json(fingerprint: Fingerprint) -> dict[str, Any]:
    """The fingerprint as it stands in files and records."""
    data: dict[str, Any] = json.loads(json.dumps(asdict(fingerprint)))  # tuples as lists
    return {"schema": SCHEMA, **data}


def from_json(data: Any, *, where: str) -> Fingerprint:
    """The fingerprint that `as_json` described; keys that a newer mlconvert added are left out.

    Raises UsageError, with `where`, when it is not one: another schema, a field that is absent or of another type.
    """
    if not isinstance(data, dict):
        raise _not_one("it is not a JSON object", where)
    schema = data.get("schema")
    if schema != SCHEMA:
        raise _not_one(f"its schema is {schema!r}, and this mlconvert reads {SCHEMA!r}", where)
    gpus = data.get("gpus")
    if not isinstance(gpus, list):
        raise _not_one("gpus is not a list", where)
    read = Fingerprint(
        gpus=tuple(_part(Gpu, one, f"gpus[{index}]", where) for index, one in enumerate(gpus)),
        driver=_part(Driver, data.get("driver"), "driver", where),
        cuda=_part(Cuda, data.get("cuda"), "cuda", where),
        tensorrt=_part(TensorRT, data.get("tensorrt"), "tensorrt", where),
        host=_part(Host, data.get("host"), "host", where),
        container=_part(Container, data.get("container"), "container", where),
        packages=_texts(data.get("packages"), "packages", where),
    )
    return with_reasons(read, _texts(data.get("missing"), "missing", where))


_VERSION = re.compile(r"\d+(\.\d+)*")
_PATTERNS = {  # the fields that rules take apart, so that a rule never meets another form
    "compute_capability": re.compile(r"\d+\.\d"),
    "cuda.version": re.compile(r"\d+\.\d+"),
    "driver.version": _VERSION,
    "tensorrt.version": re.compile(r"\d+\.\d+\.\d+(\.\d+)?"),
    "host.glibc": re.compile(r"\d+\.\d+(\.\d+)?"),
}


def _part(kind: type[Any], data: Any, path: str, where: str) -> Any:
    if not isinstance(data, dict):
        raise _not_one(f"{path} is not an object", where)
    found = {}
    for one in fields(kind):
        here = f"{path}.{one.name}"
        if one.name not in data:
            raise _not_one(f"{here} is absent (null says that it is not known)", where)
        value = data[one.name]
        declared = str(one.type)
        if value is None and not declared.endswith("| None"):
            raise _not_one(f"{here} is null", where)
        found[one.name] = None if value is None else _value(declared.removesuffix(" | None"), value, here, where)
        pattern = _PATTERNS.get(here) or _PATTERNS.get(one.name)
        if value is not None and pattern is not None and not pattern.fullmatch(value):
            raise _not_one(f"{here} is {value!r}, which is no version", where)
    return kind(**found)


def _texts(data: Any, path: str, where: str) -> dict[str, str]:
    if not isinstance(data, dict) or not all(isinstance(text, str) for text in data.values()):
        raise _not_one(f"{path} is not an object of texts", where)
    return dict(data)


def _value(declared: str, value: Any, path: str, where: str) -> Any:
    match declared, value:
        case "Mig", _:
            return _part(Mig, value, path, where)
        case ("str", str()) | ("bool", bool()):
            return value
        case ("int", int()) | ("float", int() | float()) if not isinstance(value, bool):
            if math.isfinite(value) and value >= 0:
                return value if declared == "int" else float(value)
        case "tuple[str, ...]", list() if all(isinstance(word, str) for word in value):
            return tuple(value)
    raise _not_one(f"{path} is {value!r}, not of type {declared}", where)


def _not_one(why: str, where: str) -> UsageError:
    return UsageError(f"not a fingerprint of a machine: {why}", where=where, hint=HINT)
