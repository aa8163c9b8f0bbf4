"""Whether a value of the machine that built an artifact and one of the machine that is to run it go together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

AMPERE, TURING = (8, 0), (7, 5)
INTEGRATED = frozenset(((5, 3), (6, 2), (7, 2), (8, 7), (10, 1), (11, 0)))
"""Compute capabilities of Jetson and DRIVE, for which TensorRT has no engines that fit other GPUs."""
ACROSS_MAJORS = frozenset(((8, 10), (10, 11)))
"""The only pairs (built, here) of TensorRT's majors that a version-compatible engine bridges."""
FIRST_VERSION_COMPATIBLE = (8, 6)


@dataclass(frozen=True)
class Build:
    """What a hardware-bound artifact was built for, and how.

    `values` are what the machine that built it had, by the names that rules read (`gpu.compute_capability`,
    `tensorrt.version`; absent or None: unknown), `reasons` why a value is unknown. `flags` are TensorRT's builder
    flags in capitals. `faults` are what is wrong with the artifact on any machine: rule and sentence.
    """

    kind: str  # tensorrt, aotinductor, onnxruntime
    device: str = "cuda"
    values: Mapping[str, Any] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()
    hardware_compatibility: str = "none"
    plugins: tuple[str, ...] = ()
    faults: tuple[tuple[str, str], ...] = ()

    @property
    def portable(self) -> bool:
        """Whether the engine was built to run on other GPUs, too."""
        return self.hardware_compatibility != "none"

    def described(self) -> str:
        """What it was built for, in a few words."""
        told = (
            self.values.get("gpu.name"),
            f"TensorRT {self.values['tensorrt.version']}" if self.values.get("tensorrt.version") else None,
            " ".join(filter(None, (self.values.get("host.os"), self.values.get("host.architecture")))),
        )
        return ", ".join(filter(None, told)) or "unknown hardware"

    @property
    def version_compatible(self) -> bool:
        """Whether the plan brings the runtime that newer versions run it with."""
        return "VERSION_COMPATIBLE" in self.flags and "EXCLUDE_LEAN_RUNTIME" not in self.flags


def numbers(text: Any) -> tuple[int, ...]:
    """The numbers that a version begins with: `13.0` -> (13, 0); none where it is no version."""
    told = re.match(r"[0-9]+(\.[0-9]+)*", str(text))
    return tuple(int(part) for part in told[0].split(".")) if told else ()


def capability(text: Any) -> tuple[int, int] | None:
    """`9.0` -> (9, 0); None for what is no compute capability."""
    told = re.fullmatch(r"([0-9]+)\.([0-9]+)", str(text))
    return (int(told[1]), int(told[2])) if told else None


# --- fits(built, here, build): neither value is None ---


def equal(built: Any, here: Any, build: Build) -> bool:  # noqa: ARG001 - one shape for all
    return bool(built == here)


_MACHINES = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}


def same_name(built: Any, here: Any, build: Build) -> bool:  # noqa: ARG001
    """Of operating systems and processors, which go by several names."""
    first, second = (str(value).strip().lower() for value in (built, here))
    return _MACHINES.get(first, first) == _MACHINES.get(second, second)


def at_least(built: Any, here: Any, build: Build) -> bool:  # noqa: ARG001
    return bool(here >= built)


def not_older(built: Any, here: Any, build: Build) -> bool:  # noqa: ARG001
    """Of versions; what is no version fits nothing."""
    first, second = numbers(built), numbers(here)
    return bool(first and second) and second >= first


def same_minor(built: Any, here: Any, build: Build) -> bool:  # noqa: ARG001
    """Of versions: the first two numbers are the same."""
    first, second = numbers(built)[:2], numbers(here)[:2]
    return len(first) == 2 and first == second


def major_not_older(built: Any, here: Any, build: Build) -> bool:  # noqa: ARG001
    first, second = numbers(built)[:1], numbers(here)[:1]
    return bool(first and second) and second >= first


def tensorrt_runs(built: Any, here: Any, build: Build) -> bool:
    """Whether a TensorRT of that version loads the engine.

    NVIDIA, Engine Compatibility: without VERSION_COMPATIBLE only the very same version; with it a newer one of the
    same major, and across majors only 8 to 10 and 10 to 11.
    """
    first, second = numbers(built), numbers(here)
    if len(first) != 4 or len(second) != 4:  # a version without its build number may be another one
        return False
    if first == second:
        return True
    if not build.version_compatible or first < FIRST_VERSION_COMPATIBLE:
        return False
    if first[0] != second[0]:
        return (first[0], second[0]) in ACROSS_MAJORS
    return second >= first


def capability_runs(built: Any, here: Any, build: Build) -> bool:
    """Whether an engine of that compute capability loads here.

    NVIDIA, Hardware Compatibility: only on the same one, save AMPERE_PLUS, which asks for 8.0 on both sides and does
    not exist for Jetson and DRIVE. SAME_COMPUTE_CAPABILITY exists from Turing on.
    """
    first, second = capability(built), capability(here)
    if first is None or second is None:
        return False
    match build.hardware_compatibility:
        case "none":
            return first == second
        case "same_compute_capability":
            return first == second and first >= TURING
        case "ampere_plus":
            return min(first, second) >= AMPERE and (first == second or not INTEGRATED & {first, second})
        case _:  # of a TensorRT that is newer than these rules
            return False


def same_capability(built: Any, here: Any, build: Build) -> bool:  # noqa: ARG001
    first = capability(built)
    return first is not None and first == capability(here)


# --- processors ---

EMITTED = (
    "3dnow", "abm", "adx", "amx", "asimd", "atomics", "avx", "bf16", "bmi", "crc32", "cx16", "f16c", "fcma", "fma",
    "fp", "gfni", "i8mm", "jscvt", "lahf_lm", "lrcpc", "lzcnt", "mmx", "movbe", "neon", "pni", "popcnt", "sme", "sse",
    "ssse", "sve", "tbm", "uscat", "vaes", "vpclmul", "xop",
)  # fmt: skip
"""How flags of /proc/cpuinfo begin that stand for instructions which a compiler writes by itself, told to compile for
this very processor: of x86 and of 64-bit ARM."""

_VECTOR_NAMES = {
    "avx2": {"avx2", "fma", "f16c"},
    "avx512": {"avx512f", "avx512dq", "avx512vl", "avx512bw", "fma"},
    "avx512_vnni": {"avx512_vnni"},
    "amx_tile": {"amx_tile", "amx_bf16", "amx_int8"},
    "asimd": {"asimd"},
    "neon": {"asimd"},
}


def instructions(flags: Iterable[str]) -> frozenset[str]:
    """Those of a processor's flags that name instructions which compiled code can hold."""
    return frozenset(flag for flag in (str(one).lower() for one in flags) if flag.startswith(EMITTED))


def named_instructions(text: str) -> frozenset[str]:
    """What PyTorch's words for a processor (`AVX512 AVX512_VNNI AMX_TILE`) need."""
    found: set[str] = set()
    for word in text.lower().split():
        found |= _VECTOR_NAMES.get(word, {word})
    return frozenset(found)


def has_instructions(built: Any, here: Any, build: Build) -> bool:  # noqa: ARG001
    return not instructions(built) - frozenset(str(one).lower() for one in here)


def lacking(built: Any, here: Any) -> tuple[Any, Any]:
    """Both sets as a reader wants them: what was compiled for and is not here."""
    gone = sorted(instructions(built) - frozenset(str(one).lower() for one in here))
    return (gone, []) if gone else ("its instructions", "all of them")


def block_size(flags: Iterable[str]) -> int:
    """How many channels ONNX Runtime puts side by side for such a processor: it writes weights in that order."""
    known = {str(one).lower() for one in flags}
    return 16 if "avx512f" in known else 8


def same_block(built: Any, here: Any, build: Build) -> bool:  # noqa: ARG001
    return block_size(built) == block_size(here)


def blocks(built: Any, here: Any) -> tuple[Any, Any]:
    return f"blocks of {block_size(built)}", f"blocks of {block_size(here)}"
