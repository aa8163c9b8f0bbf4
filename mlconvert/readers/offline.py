"""A program run without the network, behind a filter of system calls that it cannot undo.

On Linux a seccomp filter refuses (EACCES) every socket but those of the local machine's files (AF_UNIX), and io_uring,
which could make sockets past it. It needs no privileges and holds for all that the program starts. Where there is no
seccomp the program runs as it is: whoever needs the network to be out of reach there has to see to it by other means.
The rules are those of <linux/seccomp.h> and <linux/bpf_common.h>. This file is run by itself, and imports nothing of
mlconvert.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Sequence

SOCKET = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}  # machine -> (AUDIT_ARCH_*, number of `socket`)
IO_URING_SETUP = 425  # on every machine
X32 = 0x40000000  # set in the numbers of x86_64's second set of calls

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000 | 13  # EACCES
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data, little-endian
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 38, 22, 2


def offline(words: Sequence[str]) -> list[str]:
    """The command that runs a program (by its full path) behind the filter."""
    return [sys.executable, "-I", "-S", __file__, *words]


def _program(audit_arch: int, socket: int) -> bytes:
    """The filter, as BPF instructions: (code, jump if true, jump if false, value)."""
    instructions = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, audit_arch),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 5, 0, X32),
        (_EQUAL, 4, 0, IO_URING_SETUP),
        (_EQUAL, 0, 2, socket),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_EQUAL, 0, 1, 1),  # AF_UNIX
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in instructions)


def _shut() -> bool:
    """Put the filter on this process; False where this system has none."""
    if sys.platform != "linux" or platform.machine() not in SOCKET:
        return False
    program = ctypes.create_string_buffer(_program(*SOCKET[platform.machine()]))

    class Filter(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("program", ctypes.c_void_p)]

    holder = Filter((len(program) - 1) // 8, ctypes.addressof(program))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    return not prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) and not prctl(_PR_SET_SECCOMP, _FILTER, ctypes.byref(holder))


def main(words: Sequence[str]) -> None:
    _shut()
    os.execv(words[0], list(words))  # noqa: S606 - that is what this is for


if __name__ == "__main__":
    main(sys.argv[1:])
