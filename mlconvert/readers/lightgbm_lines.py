"""The lines of the trees in a LightGBM text file, as numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_TEXT = bytes((10, *range(32, 127)))  # a newline, and ASCII's printable characters
_ANSWERS = frozenset(
    b"num_leaves num_cat split_feature decision_type left_child right_child threshold leaf_value cat_boundaries"
    b" cat_threshold is_linear num_features leaf_features leaf_const leaf_coeff".split()
)
_LINES = 22  # of a tree, that LightGBM reads


class Fields:
    """The lines `name=numbers` of all trees."""

    def __init__(self, data: bytes, start: int, sizes: Sequence[int], *, every_line: bool = True) -> None:
        kept = None if every_line else _ANSWERS
        self.trees = [_lines(*item, kept) for item in _blocks(data, start, sizes)]

    def single(self, name: str, default: bytes | None = None) -> list[int]:
        """One whole number of each tree."""
        values = []
        for index, tree in enumerate(self.trees):
            text = tree.get(name.encode(), default)
            if text is None:
                raise ValueError(f"tree {index} has no '{name}'")
            values.append(integer(text.decode("latin-1"), f"{name} of tree {index}"))
        return values

    def joined(self, name: str, kind: Any, counts: Sequence[int]) -> np.ndarray:
        """The numbers of tree after tree: `counts` of them, and of a tree with none not even the line is needed."""
        import numpy as np

        texts = []
        for index, count in enumerate(counts):
            if not count:
                continue
            text = self.trees[index].get(name.encode())
            if text is None:
                raise ValueError(f"tree {index} has no '{name}'")
            # Spaces are counted where there is one between two numbers; the lines of linear leaves have more.
            if text.count(b" ") + 1 != count and len(text.split()) != count:
                raise ValueError(f"'{name}' of tree {index} has not {count} numbers")
            texts.append(text)
        numbers = _parsed(b" ".join(texts), kind)
        if numbers is None or len(numbers) != sum(counts):
            wrong = (
                index for index, count in enumerate(counts) if count and not self._readable(index, name, kind, count)
            )
            raise ValueError(f"'{name}' of tree {next(wrong, '?')} holds something else than numbers")
        refuse(np.repeat(np.arange(len(counts)), counts), np.isnan(numbers), f"has a NaN in its '{name}'")
        return numbers

    def _readable(self, index: int, name: str, kind: Any, count: int) -> bool:
        numbers = _parsed(self.trees[index][name.encode()], kind)
        return numbers is not None and len(numbers) == count


def _parsed(text: bytes, kind: Any) -> np.ndarray | None:
    import numpy as np

    try:
        return np.fromstring(text, kind, sep=" ")
    except ValueError:
        return None


def _lines(index: int, block: bytes, kept: Collection[bytes] | None) -> Mapping[bytes, bytes]:
    text, blank, _ = block.partition(b"\n\n")
    lines = text.split(b"\n")[1:]
    # LightGBM looks for the next '=', and for an empty line, wherever they may be.
    if not blank or len(lines) > _LINES or any(b"=" not in line for line in lines):
        raise ValueError(f"tree {index} has a line that is damaged")
    pairs = (line.partition(b"=") for line in lines)
    return {name: value for name, _, value in pairs if kept is None or name in kept}


def _blocks(data: bytes, position: int, sizes: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    for index, size in enumerate(sizes):
        block, position = data[position : position + size], position + size
        if len(block) != size or size < 1 or not block.startswith(b"Tree=%d\n" % index):
            raise ValueError(f"tree {index} of {len(sizes)} is not where the header says, or is cut off")
        if block.translate(None, _TEXT):
            raise ValueError(f"tree {index} holds other characters than text")
        yield index, block
    if not data.startswith(b"end of trees", position):
        raise ValueError("'end of trees' is missing where the trees should end")


def check_other_lines(fields: Fields) -> None:
    """Raise ValueError for what LightGBM would read as a number in lines that say nothing of the answers."""
    import numpy as np

    leaves, linear = fields.single("num_leaves"), fields.single("is_linear", b"0")
    for index, tree in enumerate(fields.trees):
        # Of a tree with one leaf, only if it is linear.
        if linear[index] and not tree.keys() >= {b"left_child", b"right_child", b"split_feature", b"threshold"}:
            raise ValueError(f"tree {index} has no inner nodes, not even empty lines of them")
    one, inner = [1] * len(leaves), [max(count - 1, 0) for count in leaves]
    for name, counts in {
        "shrinkage": one,
        "leaf_count": leaves,
        "leaf_weight": leaves,
        "split_gain": inner,
        "internal_count": inner,
        "internal_value": inner,
        "internal_weight": inner,
    }.items():
        # LightGBM leaves lines empty, `leaf_weight` among them, where a tree is a single leaf; it reads none of them.
        present = [
            count if name.encode() in tree and (own > 1 or tree[name.encode()]) else 0
            for own, count, tree in zip(leaves, counts, fields.trees, strict=True)
        ]
        fields.joined(name, np.int64 if name.endswith("count") else np.float64, present)


def refuse(tree: np.ndarray, wrong: np.ndarray, what: str) -> None:
    """Raise ValueError for the first tree in which something is wrong: int [M], bool [M]."""
    if wrong.any():
        raise ValueError(f"tree {tree[wrong.argmax()]} {what}")


def integer(text: str, name: str) -> int:
    """The whole number in a text; raises ValueError, with its name, if it is none."""
    try:
        return int(text)
    except ValueError as error:
        raise ValueError(f"{name} is no whole number: {text[:40]!r}") from error
