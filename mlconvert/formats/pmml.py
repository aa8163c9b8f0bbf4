"""PMML documents, and the note that mlconvert leaves in those that it makes.

The note is JSON in an `Extension` of the document's `Header`, where the PMML schema allows one: it says in which order
the model's features came, which PMML itself does not keep (it drops those that nothing depends on).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr, unescape

from mlconvert.errors import ConversionFailed
from mlconvert.formats.content import Content, damaged

NOTE = "mlconvert"
HEAD = 4 << 20  # bytes in which a header ends: a signature of ten thousand columns fits
_PROLOG = rb"(?:\xef\xbb\xbf)?\s*(?:<\?.*?\?>\s*|<!--.*?-->\s*|<!DOCTYPE[^\[>]*>\s*)*"
_ROOT = re.compile(_PROLOG + rb"<(?:\w+:)?PMML[\s>]", re.DOTALL)
_HEADER = re.compile(rb"<((?:\w+:)?)Header(?:\s[^>]*)?>")
_EXTENSION = re.compile(rb"<(?:\w+:)?Extension name=\"mlconvert\" value=(?:\"([^\"]*)\"|'([^']*)')\s*/>")
_TIMESTAMP = re.compile(rb"\s*<(?:\w+:)?Timestamp>[^<]*</(?:\w+:)?Timestamp>")


def is_pmml(content: Content) -> bool:
    if _ROOT.match(content.head) is None:
        return False
    if re.search(rb"</(?:\w+:)?PMML>\s*(?:<!--.*-->\s*)*$", content.tail, re.DOTALL) is None:
        raise damaged(content.path, "the PMML document is truncated: </PMML> is missing")
    return True


def read_note(path: Path) -> dict[str, Any] | None:
    """What mlconvert wrote into a document of its own; None in one of another maker's.

    Raises ConversionFailed for a file that cannot be read and for a note that is damaged.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD)
    except OSError as error:
        raise ConversionFailed(f"cannot read the PMML document: {error.strerror}", where=str(path)) from error
    header = _header(head)
    found = _EXTENSION.search(header) if header else None
    if found is None:
        return None
    text = (found[1] or found[2]).decode("utf-8", errors="replace")
    try:
        note = json.loads(unescape(text, {"&quot;": '"', "&#10;": "\n", "&apos;": "'"}))
    except ValueError:
        note = None
    if not isinstance(note, dict):
        raise damaged(path, "mlconvert's note in the header of the PMML document cannot be read")
    return note


def write_note(path: Path, note: Mapping[str, Any]) -> None:
    """Put the note into a document, and take out the time at which it was made: the same model, the same bytes.

    Raises ConversionFailed for a document without a header.
    """
    data = path.read_bytes()
    header = _header(data)
    begin = _HEADER.search(data)
    if not header or begin is None:
        raise ConversionFailed("the PMML document has no header", where=str(path))
    value = quoteattr(json.dumps(note, separators=(",", ":")))
    extension = b'\n\t\t<%bExtension name="%b" value=%b/>' % (begin[1], NOTE.encode(), value.encode())
    end = begin.start() + len(header)
    rest = _TIMESTAMP.sub(b"", data[begin.end() : end])
    path.write_bytes(data[: begin.end()] + extension + rest + data[end:])


def _header(data: bytes) -> bytes:
    """From `<Header>` to before its end; empty where there is none."""
    begin = _HEADER.search(data)
    if begin is None or begin[0].endswith(b"/>"):
        return b""
    end = data.find(b"</%bHeader>" % begin[1], begin.end())
    return data[begin.start() : end] if end >= 0 else b""
