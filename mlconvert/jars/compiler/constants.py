"""The constant pool of a class file (The Java Virtual Machine Specification, Java SE 8, 4.4)."""

from __future__ import annotations

import struct

LIMIT = 65_535


class ConstantPool:
    """Constants in the order in which they were first asked for; each method gives the index of one."""

    def __init__(self) -> None:
        self._index: dict[tuple[object, ...], int] = {}
        self._data = bytearray()
        self._next = 1

    def _add(self, key: tuple[object, ...], data: bytes, *, wide: bool = False) -> int:
        if key not in self._index:
            if self._next + wide >= LIMIT:
                raise ValueError(f"a class cannot have more than {LIMIT:,} constants")
            self._index[key] = self._next
            self._data += data
            self._next += 2 if wide else 1
        return self._index[key]

    def text(self, value: str) -> int:
        data = modified_utf8(value)
        if len(data) > LIMIT:
            raise ValueError(f"a text of {len(data):,} bytes is longer than a class file can hold")
        return self._add(("text", value), struct.pack(">BH", 1, len(data)) + data)

    def integer(self, value: int) -> int:
        return self._add(("int", value), struct.pack(">Bi", 3, value))

    def single(self, value: float) -> int:
        data = struct.pack(">Bf", 4, value)
        return self._add(("float", data), data)

    def long(self, value: int) -> int:
        return self._add(("long", value), struct.pack(">Bq", 5, value), wide=True)

    def double(self, value: float) -> int:
        data = struct.pack(">Bd", 6, value)  # two zeros are two constants
        return self._add(("double", data), data, wide=True)

    def cls(self, name: str) -> int:
        return self._add(("class", name), struct.pack(">BH", 7, self.text(name)))

    def string(self, value: str) -> int:
        return self._add(("string", value), struct.pack(">BH", 8, self.text(value)))

    def member(self, kind: int, owner: str, name: str, descriptor: str) -> int:
        """`kind`: 9 for a field, 10 for a method of a class, 11 for one of an interface."""
        named = struct.pack(">BHH", 12, self.text(name), self.text(descriptor))
        pair = self._add(("pair", name, descriptor), named)
        return self._add((kind, owner, name, descriptor), struct.pack(">BHH", kind, self.cls(owner), pair))

    def to_bytes(self) -> bytes:
        return struct.pack(">H", self._next) + bytes(self._data)


def modified_utf8(value: str) -> bytes:
    """4.4.7: a zero takes two bytes, and a character beyond U+FFFF is written as its two surrogates."""
    units = value.encode("utf-16-be", "surrogatepass")
    found = bytearray()
    for (unit,) in struct.iter_unpack(">H", units):
        found += b"\xc0\x80" if unit == 0 else chr(unit).encode("utf-8", "surrogatepass")
    return bytes(found)
