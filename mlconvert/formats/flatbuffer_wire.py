"""FlatBuffers as they lie in memory: tables whose fields are found through a table of offsets, and arrays.

The layout: https://flatbuffers.dev/internals. CatBoost's .cbm files are such, and TensorFlow Lite's; arrays of them
become numpy arrays without a walk over their numbers.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Table:
    """A table at a place in the data; its fields are named by their index in the schema.

    An offset that leads out of the data raises struct.error or ValueError; one that leads elsewhere in damaged data
    is not noticed.
    """

    data: bytes | mmap.mmap
    at: int

    def number(self, field: int, layout: str, default: Any) -> Any:
        """A number or truth value of `struct`'s layout, such as `i`, `d` or `?`; what is not stored is the default."""
        place = self._place(field)
        return struct.unpack_from("<" + layout, self.data, place)[0] if place else default

    def text(self, field: int) -> str:
        start, size = self.vector(field)
        return self.data[start : start + size].decode("utf-8")

    def has(self, field: int) -> bool:
        return self._place(field) > 0

    def table(self, field: int) -> Table:
        place = self._place(field)
        if not place:
            raise ValueError(f"a table without its field {field}")
        return Table(self.data, place + self._unsigned(place))

    def tables(self, field: int) -> list[Table]:
        start, size = self.vector(field, 4)
        places = range(start, start + 4 * size, 4)
        return [Table(self.data, place + self._unsigned(place)) for place in places]

    def numbers(self, field: int, layout: str) -> tuple[Any, ...]:
        """The numbers of a vector, of `struct`'s layout; () for one that is not stored."""
        start, size = self.vector(field, struct.calcsize("<" + layout))
        return struct.unpack_from(f"<{size}{layout}", self.data, start) if size else ()

    def array(self, field: int, dtype: str, width: int = 1) -> np.ndarray:
        """The numbers of a vector [n], or of a vector of structures of `width` numbers [n, width]."""
        import numpy as np

        start, size = self.vector(field)
        numbers = np.frombuffer(self.data, np.dtype(dtype).newbyteorder("<"), size * width, start if size else 0)
        return (numbers if width == 1 else numbers.reshape(size, width)).astype(dtype)

    def check(self) -> None:
        """Raise ValueError or struct.error unless the table's own bytes, without what it points to, are there."""
        (size,) = struct.unpack_from("<H", self.data, self._offsets() + 2)
        if self.at + size > len(self.data):
            raise ValueError(f"a table of {size} bytes at {self.at}, of {len(self.data)} bytes in all")

    def vector(self, field: int, width: int = 1) -> tuple[int, int]:
        """Where the items of a vector begin, and how many they are; a vector that is not stored is empty.

        Raises ValueError for more items, of `width` bytes each, than there are in the data.
        """
        place = self._place(field)
        if not place:
            return 0, 0
        start = place + self._unsigned(place)
        size = self._unsigned(start)
        if start + 4 + size * width > len(self.data):
            raise ValueError(f"{size} items of {width} bytes at {start}, of {len(self.data)} bytes in all")
        return start + 4, size

    def _place(self, field: int) -> int:
        """Where a field is, or 0 if it is not stored."""
        offsets = self._offsets()
        (size,) = struct.unpack_from("<H", self.data, offsets)
        if 4 + 2 * field >= size:
            return 0
        (offset,) = struct.unpack_from("<H", self.data, offsets + 4 + 2 * field)
        return self.at + int(offset) if offset else 0

    def _offsets(self) -> int:
        """Where it is said which fields are stored, and where."""
        offsets = self.at - int(struct.unpack_from("<i", self.data, self.at)[0])
        if offsets < 0:
            raise ValueError(f"the table at {self.at} has its fields before the data")
        return offsets

    def _unsigned(self, at: int) -> int:
        return int(struct.unpack_from("<I", self.data, at)[0])


def root(data: bytes | mmap.mmap, at: int) -> Table:
    """The main table of the buffer that begins at `at`."""
    return Table(data, at + int(struct.unpack_from("<I", data, at)[0]))
