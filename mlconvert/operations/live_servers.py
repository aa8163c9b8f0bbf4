"""Running servers by their URLs: which has to take a change of a repository, and what it has of a model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlconvert.errors import UsageError
from mlconvert.operations.live import LiveServer
from mlconvert.operations.live_tf_serving import LiveTfServing
from mlconvert.serving.locations import KINDS, ServerKind

WAIT_SECONDS = 120.0


def kind_at(url: str) -> ServerKind:
    """Whose server a URL is, by its scheme. Raises UsageError."""
    scheme = url.partition("://")[0]
    for kind in KINDS:
        if scheme in kind.ports:
            return kind
    raise UsageError(f"'{url}' is no address of a server", hint=" or ".join(kind.server_example for kind in KINDS))


@contextlib.contextmanager
def live_server(
    url: str | None, layout: str, repository: Any, *, wait_seconds: float, verify: bool
) -> Iterator[LiveServer | LiveTfServing | None]:
    """The server at the URL, connected; None without a URL. `layout` is the repository's (`triton`, `tf-serving`).

    Raises UsageError where the URL is of another kind of server, RepositoryInvalid when nothing answers there.
    """
    if url is None:
        yield None
        return
    kind = kind_at(url)
    _check_fits(kind, layout, url)
    if kind.format == "triton":
        from mlconvert.serving.client import connect

        client = connect(url, seconds=wait_seconds)
        with contextlib.closing(client):
            yield LiveServer(client, url, wait_seconds=wait_seconds, verify=verify)
        return
    from mlconvert.serving.tf_serving import client as tf_serving

    tf_client = tf_serving.connect(url, seconds=wait_seconds)
    with contextlib.closing(tf_client):
        yield LiveTfServing(tf_client, url, Path(repository), wait_seconds=wait_seconds, verify=verify)


def states_at(url: str, layout: str, name: str, *, wait_seconds: float = WAIT_SECONDS) -> dict[int, str]:
    """What the server at the URL has of a model: version -> its state, with the reason where it failed.

    Raises UsageError where the URL is of another kind of server, RepositoryInvalid when nothing answers there.
    """
    kind = kind_at(url)
    _check_fits(kind, layout, url)
    if kind.format == "triton":
        from mlconvert.operations.live import states_at as triton_states
        from mlconvert.serving.client import connect

        with contextlib.closing(connect(url, seconds=wait_seconds)) as client:
            return triton_states(client, name)
    from mlconvert.operations.live_tf_serving import states_at as tf_states
    from mlconvert.serving.tf_serving import client as tf_serving

    with contextlib.closing(tf_serving.connect(url, seconds=wait_seconds)) as tf_client:
        return tf_states(tf_client, name)


def _check_fits(kind: ServerKind, layout: str, url: str) -> None:
    if kind.format != layout:
        other = next(one for one in KINDS if one.format == layout)
        raise UsageError(
            f"{url} is a {kind.title}, and the repository is of a {other.title}", hint=other.server_example
        )
