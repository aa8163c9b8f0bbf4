"""Loading a model into a server of our own, with the reason where it does not load: what the client is not told, the
log tells.
"""

from __future__ import annotations

import re

from mlconvert.errors import RepositoryInvalid
from mlconvert.serving.protocol import Client
from mlconvert.serving.reasons import load_failure
from mlconvert.serving.server import Server

_ONLY_IN_THE_LOG = "failed to poll from model repository"


def load_model(server: Server, client: Client, name: str) -> None:
    """Load a model by its name. Raises RepositoryInvalid with the server's reason, in one line, as its message."""
    before = server.log.stat().st_size
    try:
        client.load(name)
    except RepositoryInvalid as error:
        told = load_failure(error.message)
        if _ONLY_IN_THE_LOG in told:
            told = _logged(server, name, before) or told
        raise RepositoryInvalid(told, where=f"model '{name}'") from error


def _logged(server: Server, name: str, start: int) -> str | None:
    with server.log.open("rb") as stream:
        stream.seek(start)
        text = stream.read().decode("utf-8", errors="replace")
    found = re.search(rf"Poll failed for model directory '{re.escape(name)}': (.*?)\"?$", text, re.MULTILINE)
    return load_failure(found[1]) if found else None
