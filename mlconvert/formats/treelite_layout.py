"""The bytes of a treelite checkpoint: where each field is, without the numbers themselves.

Checkpoints are what `treelite.Model.serialize` writes and Triton's FIL backend loads. The layout, little-endian and
without padding, is that of `Serializer` in treelite 4 (src/serializer.cc); it is the same from 4.0 on. treelite reads
a file that was cut off without a complaint, or crashes, so the fields are found here first.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass

MAJOR = 4  # the versions whose checkpoints are described here

# What a field is: a scalar, or after its length (u64) an array, of numbers of this kind. `number` is float32 or
# float64, as the header says; text is UTF-8 after its length.
HEADER: Mapping[str, str] = {
    "num_feature": "i4",
    "task_type": "u1",
    "average_tree_output": "u1",
    "num_target": "i4",
    "num_class": "i4[]",
    "leaf_vector_shape": "i4[]",
    "target_id": "i4[]",
    "class_id": "i4[]",
    "postprocessor": "text",
    "sigmoid_alpha": "f4",
    "ratio_c": "f4",
    "base_scores": "f8[]",
    "attributes": "text",
    "num_opt_field_per_model": "i4",
}
TREE: Mapping[str, str] = {
    "num_nodes": "i4",
    "has_categorical_split": "u1",
    "node_type": "i1[]",
    "cleft": "i4[]",
    "cright": "i4[]",
    "split_index": "i4[]",
    "default_left": "u1[]",
    "leaf_value": "number[]",
    "threshold": "number[]",
    "cmp": "i1[]",
    "category_list_right_child": "u1[]",
    "leaf_vector": "number[]",
    "leaf_vector_begin": "u8[]",
    "leaf_vector_end": "u8[]",
    "category_list": "u4[]",
    "category_list_begin": "u8[]",
    "category_list_end": "u8[]",
    "data_count": "u8[]",
    "data_count_present": "u1[]",
    "sum_hess": "f8[]",
    "sum_hess_present": "u1[]",
    "gain": "f8[]",
    "gain_present": "u1[]",
    "num_opt_field_per_tree": "i4",
    "num_opt_field_per_node": "i4",
}
START = struct.Struct("<3i2BQ")  # major, minor, patch; the types of thresholds and leaves; the number of trees
NUMBERS = {2: "f4", 3: "f8"}  # by the types in the start

_MOST = 1 << 20  # a minor or patch version above it is no version


@dataclass(frozen=True)
class Field:
    """`count` numbers of `kind` (or bytes of text) from the byte `start` on."""

    kind: str  # as numpy names it, or `text`
    start: int
    count: int


@dataclass(frozen=True)
class TreeliteLayout:
    version: tuple[int, int, int]
    number: str  # `f4` or `f8`: the thresholds and leaves
    header: Mapping[str, Field]
    trees: tuple[Mapping[str, Field], ...]


def version_of(data: bytes) -> tuple[int, int, int] | None:
    """The treelite version that wrote a file, of its first bytes; None if they are not those of a checkpoint.

    Of versions that are not described here no more than the numbers at the beginning can be checked.
    """
    if len(data) < START.size:
        return None
    major, minor, patch, thresholds, leaves, trees = START.unpack_from(data)
    known = 3 <= major < 100 and 0 <= minor < _MOST and 0 <= patch < _MOST and trees < 1 << 40
    if not known or thresholds not in NUMBERS or leaves not in (1, *NUMBERS):
        return None
    if major != MAJOR:
        return major, minor, patch
    # Then come the features, a task of five, a yes or no, and the targets, as often as there is a number of classes.
    features, task, averaged, targets, classes = struct.unpack_from("<i2BiQ", data.ljust(64, b"\0"), START.size)
    whole = len(data) >= START.size + 18
    if leaves != thresholds or (whole and not (features >= 0 and task < 5 and averaged < 2 and 0 < targets == classes)):
        return None
    return major, minor, patch


def read_layout(data: bytes | mmap.mmap) -> TreeliteLayout:
    """Where the fields of a checkpoint of treelite 4 are; raises ValueError for one that is cut off, or too long."""
    major, minor, patch, thresholds, _, trees = START.unpack_from(data)
    number = NUMBERS[thresholds]
    header, position = _fields(data, START.size, HEADER, number, "its header")
    listed = []
    for index in range(trees):
        fields, position = _fields(data, position, TREE, number, f"tree {index}")
        listed.append(fields)
    if position != len(data):
        raise ValueError(f"it has {len(data) - position} bytes after its last tree")
    return TreeliteLayout((major, minor, patch), number, header, tuple(listed))


def _fields(
    data: bytes | mmap.mmap, position: int, wanted: Mapping[str, str], number: str, what: str
) -> tuple[Mapping[str, Field], int]:
    """The fields from `position` on, and where they end."""
    found = {}
    for name, text in wanted.items():
        kind, count = text.removesuffix("[]").replace("number", number), 1
        if text == "text" or text.endswith("[]"):
            count, position = int.from_bytes(data[position : position + 8], "little"), position + 8
        found[name] = Field(kind, position, count)
        position += count * (1 if kind == "text" else int(kind[1]))
        if position > len(data):
            raise ValueError(f"it is cut off in {what}")
        if name.startswith("num_opt_field") and any(data[position - 4 : position]):
            raise ValueError(f"{what} has fields of a newer treelite, or is damaged")
    return found, position
