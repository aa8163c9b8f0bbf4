"""LightGBM's text file: its header, and its trees as arrays. LightGBM itself is not needed.

LightGBM's loader crashes on a file that was cut off, and aborts on a child index that is out of range. So it is given
only what was read here first. The layout is that of `GBDT::SaveModelToString` (src/boosting/gbdt_model_text.cpp) and
`Tree::ToString` (src/io/tree.cpp) of LightGBM 4.7.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mlconvert.errors import ConversionFailed
from mlconvert.readers.lightgbm_lines import Fields, check_other_lines, integer
from mlconvert.readers.lightgbm_trees import LightgbmTrees, lightgbm_trees

VERSIONS = ("v2", "v3", "v4")  # of the file: written since LightGBM 2.1, all with the same meaning to LightGBM 4


@dataclass(frozen=True)
class LightgbmHeader:
    """What stands before the trees."""

    objective: str  # the first word, `binary`; empty or `custom` for one of the user's own
    parameters: tuple[str, ...]  # the others, `sigmoid:1`
    outputs: int  # 1, or one for each class: tree t adds to the output t % outputs
    feature_names: tuple[str, ...]
    trees: int
    averaged: bool  # boosting=rf

    @property
    def features(self) -> int:
        return len(self.feature_names)

    def parameter(self, name: str) -> str | None:
        """What follows `name:` in the objective's line."""
        found = [value for key, _, value in (text.partition(":") for text in self.parameters) if key == name]
        return found[0] if found else None


@dataclass(frozen=True)
class LightgbmText:
    header: LightgbmHeader
    trees: LightgbmTrees


def read_lightgbm_text(data: bytes, where: str, *, every_line: bool = False) -> LightgbmText:
    """The content of a LightGBM text model.

    Raises ConversionFailed for what is not one, is cut off or damaged (naming the tree), or is of a newer version.
    With `every_line`, also for damage in lines that mean nothing to the answers, but end LightGBM's process.
    """
    with _naming_damage(where):
        header, sizes, start = _header(data, where)
        fields = Fields(data, start, sizes, every_line=every_line)
        if every_line:
            check_other_lines(fields)
        return LightgbmText(header, lightgbm_trees(fields, header.features))


def read_lightgbm_header(data: bytes, where: str) -> LightgbmHeader:
    """The header alone; the trees are not looked at. Raises ConversionFailed as `read_lightgbm_text` does."""
    with _naming_damage(where):
        return _header(data, where)[0]


@contextmanager
def _naming_damage(where: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, OverflowError) as error:
        reason = f"it has no '{error.args[0]}'" if isinstance(error, KeyError) else str(error)
        what = f"not a LightGBM text model, or a damaged one: {reason}"
        raise ConversionFailed(what, where=where, hint="save it again with booster.save_model(path)") from error


# --- the header ---


def _header(data: bytes, where: str) -> tuple[LightgbmHeader, list[int], int]:
    """The header, the sizes of the trees in bytes, and where the first begins."""
    head, separator, _ = data.partition(b"\n\n")
    lines = head.decode("utf-8").split("\n")
    if lines[0].strip() != "tree":
        raise ValueError("it does not begin with 'tree'")
    if lines[0].endswith("\r"):
        raise ValueError("its lines end with CR LF: it was changed on its way, as FTP does in text mode")
    if not separator:
        raise ValueError("it ends before its trees")
    fields = {name: value for name, equals, value in (line.partition("=") for line in lines) if equals}
    if fields["version"] not in VERSIONS:
        what = f"the LightGBM model is a file of the version {fields['version']}, which is not known here"
        hint = f"known are {', '.join(VERSIONS)}: save it with LightGBM 4, or update mlconvert"
        raise ConversionFailed(what, where=where, hint=hint)
    sizes = [integer(word, "tree_sizes") for word in fields["tree_sizes"].split()]
    features = integer(fields["max_feature_idx"], "max_feature_idx") + 1
    names = tuple(fields["feature_names"].split(" "))
    if features < 1 or len(names) != features:
        raise ValueError(f"it names {len(names)} features, and its trees use {features}")
    per_iteration, num_class = (integer(fields[name], name) for name in ("num_tree_per_iteration", "num_class"))
    if per_iteration < 1 or num_class < 1 or len(sizes) % per_iteration:
        raise ValueError(f"{len(sizes)} trees are not a whole number of iterations of {per_iteration}")
    if per_iteration != num_class:
        raise ValueError(f"it has {per_iteration} trees an iteration, and {num_class} classes")
    objective, *parameters = fields.get("objective", "").split(" ")
    averaged = "average_output" in lines
    header = LightgbmHeader(objective, tuple(parameters), num_class, names, len(sizes), averaged)
    own = header.parameter("num_class")
    if own not in (None, str(num_class)):
        raise ValueError(f"its objective has {own} classes, and the model {num_class}")
    return header, sizes, len(head) + len(separator)
