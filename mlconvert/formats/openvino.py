"""OpenVINO's IR: the graph in `model.xml`, its weights in `model.bin` beside it. Nothing is parsed here."""

from __future__ import annotations

import re
from pathlib import Path

from mlconvert.errors import ConversionFailed
from mlconvert.formats.content import Content, damaged

_ROOT = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<net\b[^>]*?\bversion=\"(\d+)\"", re.DOTALL
)
OLDEST = 10  # version of the IR; older ones are read by OpenVINO 2023 and before


def is_openvino(content: Content) -> bool:
    """True for a graph of the IR; raises ConversionFailed for one that is cut off, or of an old version."""
    found = _ROOT.match(content.head)
    if found is None:
        return False
    if not content.tail.rstrip().endswith(b"</net>"):
        raise damaged(content.path, "the OpenVINO model is truncated: its last tag is missing")
    if int(found[1]) < OLDEST:
        what = f"the OpenVINO model is of IR version {int(found[1])}; versions from {OLDEST} on are read today"
        raise ConversionFailed(what, where=str(content.path), hint="convert the original model again")
    return True


def weights_of(path: Path) -> Path:
    """The file of weights of a graph. Raises ConversionFailed when it is not there."""
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        what = f"{path.name} needs its weights, {weights.name}, which is not there"
        raise ConversionFailed(what, where=str(path), hint=f"copy {weights.name} beside {path.name}")
    return weights
