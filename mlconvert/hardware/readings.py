"""What could be read of a machine, and why the rest could not: value by value, so that no failure hides another."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


class Unreadable(Exception):
    """A value cannot be read; the message is the reason that a fingerprint gives, `code` the library's own number."""

    def __init__(self, reason: str, code: int | None = None) -> None:
        super().__init__(reason)
        self.code = code


ALL = "*"  # in place of a field's name: the reason for all of them


@dataclass(frozen=True)
class Reading:
    """Values by the name of the field, and the reason for each that is missing."""

    values: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Library:
    """What one of NVIDIA's libraries said: about the system, and a reading for each GPU.

    `failed` is why it said nothing at all; `none_visible` means that it works and shows no GPU.
    """

    system: Reading = field(default_factory=Reading)
    devices: tuple[Reading, ...] = ()
    failed: str | None = None
    none_visible: bool = False


def gather(readers: Mapping[str, Callable[[], Any]]) -> Reading:
    """Call each reader; what raises Unreadable is missing, for the reason that it gives."""
    reading = Reading()
    for name, reader in readers.items():
        try:
            reading.values[name] = reader()
        except Unreadable as error:
            reading.missing[name] = str(error)
    return reading


def version(text: str) -> str:
    """The text, where it is numbers with dots between them; raises Unreadable for any other."""
    if not re.fullmatch(r"\d+(\.\d+)+", text):
        raise Unreadable(f"the version is told as {text!r}")
    return text


def load(name: str, of: str) -> Any:
    """The system's library of that name. Raises Unreadable where there is none, or it cannot be loaded."""
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        absent = str(error).startswith(name) and "No such file" in str(error)
        raise Unreadable(f"{name} is not here ({of})" if absent else f"{name} cannot be loaded: {error}") from error


def call(library: Any, function: str, say: Callable[[int], str], *arguments: Any) -> None:
    """Call a C function that answers with 0 or the number of an error, which `say` puts into words.

    Raises Unreadable for an error, and where the library, an older one, lacks the function.
    """
    try:
        found = getattr(library, function)
    except AttributeError as error:
        raise Unreadable(f"this driver has no {function}") from error
    code = found(*arguments)
    if code != 0:
        raise Unreadable(f"{function}: {say(code)} ({code})", code)


def library_as_json(library: Library) -> dict[str, Any]:
    """The library's answers as they travel from the child process that asked it."""
    return asdict(library)


def library_from_json(data: Mapping[str, Any]) -> Library:
    devices = tuple(Reading(**device) for device in data["devices"])
    return Library(Reading(**data["system"]), devices, data["failed"], data["none_visible"])


def positive(value: int) -> int:
    """The value; raises Unreadable for 0, which drivers answer for what they do not know."""
    if value <= 0:
        raise Unreadable(f"the driver answers {value}")
    return value
