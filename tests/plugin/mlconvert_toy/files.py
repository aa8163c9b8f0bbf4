"""The two formats of toy models: `y = x @ weights + bias`, as text and packed.

A packed model without a number has them beside it, in `<name>.data`.
"""

from __future__ import annotations

import struct
from pathlib import Path

from mlconvert.errors import ConversionFailed
from mlconvert.formats.content import Content

TEXT = b"TOY 1\n"
PACKED = b"TOYBIN1\n"


def is_toy(content: Content) -> bool:
    return content.head.startswith(TEXT)


def is_toybin(content: Content) -> bool:
    return content.head.startswith(PACKED)


def read_numbers(path: Path) -> list[float]:
    """The weights and, last, the bias. Raises ConversionFailed."""
    data = path.read_bytes()
    if data == PACKED:
        data += path.with_name(f"{path.name}.data").read_bytes()
    try:
        if data.startswith(TEXT):
            return [float(word) for word in data[len(TEXT) :].split()]
        return [number for (number,) in struct.iter_unpack("<d", data[len(PACKED) :])]
    except (ValueError, struct.error) as error:
        raise ConversionFailed(f"{path.name} is damaged: {error}", where=str(path)) from error


def write_packed(path: Path, numbers: list[float]) -> None:
    path.write_bytes(PACKED + b"".join(struct.pack("<d", number) for number in numbers))
