"""FlatBuffers as they lie in memory: tables whose fields are found through a table of offsets, and arrays.

The layout: https://flatbuffers.dev/internals. CatBoost's .cbm files are such, and arrays of them become numpy arrays
without a walk over their numbers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Table:
    """A table at a place in the data; its fields are named by their index in the schema.

    The data must be known to be whole (a library has loaded it): an offset that leads out of it raises struct.error
    or ValueError.
    """

    data: bytes
    at: int

    def number(self, field: int, layout: str, default: Any) -> Any:
        """A number or truth value of `struct`'s layout, such as `i`, `d` or `?`; what is not stored is the default."""
        place = self._place(field)
        return struct.unpack_from("<" + layout, self.data, place)[0] if place else default

    def text(self, field: int) -> str:
        start, size = self._vector(field)
        return self.data[start : start + size].decode("utf-8")

    def table(self, field: int) -> Table:
        place = self._place(field)
        if not place:
            raise ValueError(f"a table without its field {field}")
        return Table(self.data, place + self._unsigned(place))

    def tables(self, field: int) -> list[Table]:
        start, size = self._vector(field)
        places = range(start, start + 4 * size, 4)
        return [Table(self.data, place + self._unsigned(place)) for place in places]

    def array(self, field: int, dtype: str, width: int = 1) -> np.ndarray:
        """The numbers of a vector [n], or of a vector of structures of `width` numbers [n, width]."""
        import numpy as np

        start, size = self._vector(field)
        numbers = np.frombuffer(self.data, np.dtype(dtype).newbyteorder("<"), size * width, start if size else 0)
        return (numbers if width == 1 else numbers.reshape(size, width)).astype(dtype)

    def _place(self, field: int) -> int:
        """Where a field is, or 0 if it is not stored."""
        offsets = self.at - int(struct.unpack_from("<i", self.data, self.at)[0])
        (size,) = struct.unpack_from("<H", self.data, offsets)
        if 4 + 2 * field >= size:
            return 0
        (offset,) = struct.unpack_from("<H", self.data, offsets + 4 + 2 * field)
        return self.at + int(offset) if offset else 0

    def _vector(self, field: int) -> tuple[int, int]:
        """Where the items of a vector begin, and how many they are; a vector that is not stored is empty."""
        place = self._place(field)
        if not place:
            return 0, 0
        start = place + self._unsigned(place)
        return start + 4, self._unsigned(start)

    def _unsigned(self, at: int) -> int:
        return int(struct.unpack_from("<I", self.data, at)[0])


def root(data: bytes, at: int) -> Table:
    """The main table of the buffer that begins at `at`."""
    return Table(data, at + int(struct.unpack_from("<I", data, at)[0]))
