"""The operating system, the processor, and the installed libraries of a machine."""

from __future__ import annotations

import contextlib
import os
import platform
import re
from importlib import metadata
from pathlib import Path

from mlconvert.hardware.readings import Reading, Unreadable, gather

CPUINFO = Path("/proc/cpuinfo")
ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}  # one name for one thing, whatever the system calls it

# What runs AOTInductor's packages and models that ONNX Runtime optimised, under all the names it is installed by.
PACKAGES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "torch")

# What compilers make code for, by the kernel's names; most of the other flags tell of the system or of bugs.
_X86 = (
    "sse sse2 pni ssse3 sse4_1 sse4_2 sse4a popcnt cx16 movbe aes pclmulqdq rdrand abm bmi1 bmi2 adx f16c fma fma4 xop "
    "avx avx2 avx_vnni avx_vnni_int8 avx_vnni_int16 avx_ifma avx_ne_convert vaes vpclmulqdq gfni sha_ni sha512 sm3 sm4 "
    "avx512f avx512cd avx512er avx512pf avx512bw avx512dq avx512vl avx512ifma avx512vbmi avx512_vbmi2 avx512_vnni "
    "avx512_bitalg avx512_vpopcntdq avx512_bf16 avx512_fp16 avx512_vp2intersect avx512_4vnniw avx512_4fmaps avx10_1 "
    "avx10_2 amx_tile amx_int8 amx_bf16 amx_fp16 amx_complex"
)
_ARM = (
    "fp asimd fphp asimdhp asimdrdm asimddp asimdfhm aes pmull sha1 sha2 sha3 sha512 crc32 atomics fcma jscvt lrcpc "
    "bf16 i8mm dotprod sve sve2 svebf16 svei8mm svef32mm svef64mm svebitperm svepmull sveaes sve2p1 sme sme2 smef16f16 "
    "smeb16f32 smef32f32 smei8i32 neon vfpv4"
)
INSTRUCTION_SETS = frozenset([*_X86.split(), *_ARM.split()])


def read_host() -> Reading:
    """The fields of `Host`."""
    return gather(
        {
            "os": lambda: platform.system().lower() or _unknown("the system has no name"),
            "architecture": lambda: architecture(platform.machine()),
            "distribution": _distribution,
            "kernel": lambda: platform.release() or _unknown("the kernel tells no release"),
            "glibc": _glibc,
            "cpu_model": lambda: cpu_model(_cpuinfo()),
            "instruction_sets": lambda: instruction_sets(_cpuinfo()),
        }
    )


def read_packages() -> dict[str, str]:
    """The versions of the libraries that load hardware-bound artifacts, of those that are installed."""
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def architecture(machine: str) -> str:
    """The processor's architecture under one name on all systems. Raises Unreadable for an empty one."""
    name = machine.lower()
    return ARCHITECTURES.get(name, name) or _unknown("the system tells no architecture")


def cpu_model(cpuinfo: str) -> str:
    """The name of the processor; ARM's kernels tell numbers in its place. Raises Unreadable."""
    for key in ("model name", "cpu model"):
        names = _values(cpuinfo, key)
        if names and names[0]:
            return names[0]
    implementer, part = _values(cpuinfo, "CPU implementer"), _values(cpuinfo, "CPU part")
    if implementer and part:
        return "ARM implementer {}, parts {}".format(implementer[0], ", ".join(dict.fromkeys(part)))
    raise Unreadable("/proc/cpuinfo does not name it")


def instruction_sets(cpuinfo: str) -> tuple[str, ...]:
    """Those that every processor of the machine has, sorted. Raises Unreadable where none is told."""
    told = [set(flags.split()) for key in ("flags", "Features") for flags in _values(cpuinfo, key)]
    if not told:
        raise Unreadable("/proc/cpuinfo lists none")
    return tuple(sorted(set.intersection(*told) & INSTRUCTION_SETS))


def _values(cpuinfo: str, key: str) -> list[str]:
    return re.findall(rf"^{re.escape(key)}[ \t]*:[ \t]*(.*?)[ \t]*$", cpuinfo, flags=re.MULTILINE)


def _cpuinfo() -> str:
    try:
        return CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise Unreadable(f"{CPUINFO} cannot be read: {error.strerror}") from error


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError) as error:
        raise Unreadable("there is no os-release file that names it") from error


def _glibc() -> str:
    """The C library's own word; others than glibc do not know the question."""
    try:
        told = os.confstr("CS_GNU_LIBC_VERSION")
    except (AttributeError, ValueError, OSError) as error:
        raise Unreadable("the C library is not glibc") from error
    found = re.fullmatch(r"glibc (\d+\.\d+(?:\.\d+)?)\S*", told or "")
    return found[1] if found else _unknown("the C library is not glibc")


def _unknown(why: str) -> str:
    raise Unreadable(why)
