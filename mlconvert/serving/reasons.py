"""The server's reasons in one line: without the traceback of a Python model, and without what a caller knows."""

from __future__ import annotations

import re

_TRACE = re.compile(r"\n+At:\n(?:  .*\n?)+")  # what a model in Python adds: file and line of each call


def reason_of(text: str) -> str:
    """A server's message in one line."""
    parts = [part.strip().removesuffix(";") for part in _TRACE.sub("", text).splitlines()]
    return "; ".join(part for part in parts if part)


def load_failure(text: str) -> str:
    """Why a model was not loaded, of a message or of a row of the index: what the core or the backend said."""
    told = reason_of(text)
    told = re.sub(r"^load failed for model '[^']*': ", "", told)
    told = re.sub(r"^version \d+ is at UNAVAILABLE state: ", "", told)
    told = re.sub(
        r"^(?:Internal|Invalid argument|Not found|Unavailable|Unsupported|Unknown|Already exists): ", "", told
    )
    return re.sub(r"^TritonModelException: ", "", told)
