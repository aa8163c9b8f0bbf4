"""A server on loopback that speaks S3 (moto's), a bucket of its own for each test, and publishers that die."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from typing import Any

import obstore
import pytest
from google.protobuf import text_format

from mlconvert import records
from mlconvert.artifact import Artifact, file_sha256
from mlconvert.repositories.remote import Bucket, RemoteRepository, connect, located
from mlconvert.repositories.triton import config as cfg

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_REGION": "us-east-1"}
_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The endpoint, and the environment that says so."""
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": s3_endpoint}.items():
        monkeypatch.setenv(name, value)
    return s3_endpoint


@pytest.fixture
def repository(s3: str) -> RemoteRepository:
    """An empty repository in a new bucket."""
    import urllib.request

    name = f"bucket-{next(_NUMBERS)}"
    with urllib.request.urlopen(urllib.request.Request(f"{s3}/{name}", method="PUT")):
        pass
    place = located(f"s3://{name}/team/models")
    assert isinstance(place, RemoteRepository)
    return place


@pytest.fixture
def recorded(make_model: Callable[..., Artifact]) -> Callable[..., Artifact]:
    """A function like `make_model`, whose models have a record beside them."""

    def make(name: str = "source.onnx", **kwargs: Any) -> Artifact:
        model = make_model(name, **kwargs)
        digests = {path.relative_to(model.folder).as_posix(): file_sha256(path) for path in model.files}
        rows = records.described_files(model, digests)
        record = {"schema": records.SCHEMA, "format": "onnx", "path": model.path.name, "files": rows}
        records.write_json(records.path_beside(model.path), {**record, "sha256": records.total_sha256(rows)})
        return model

    return make


@pytest.fixture
def bucket(repository: RemoteRepository) -> Bucket:
    return connect(repository)


@pytest.fixture
def content(bucket: Bucket) -> Callable[[], dict[str, bytes]]:
    """A function that reads the whole bucket: key -> bytes."""

    def read() -> dict[str, bytes]:
        return {key: obstore.get(bucket.store, key).bytes().to_bytes() for key in bucket.list("")}

    return read


@pytest.fixture
def served(content: Callable[[], dict[str, bytes]]) -> Callable[[str], dict[int, dict[str, bytes]] | None]:
    """A function that looks at a model as a server does: the versions that its policy has in service, their files.

    None: there is no configuration, so no server has such a model. A version that is listed and not there is empty.
    """

    def look(name: str) -> dict[int, dict[str, bytes]] | None:
        found = {k.removeprefix(f"team/models/{name}/"): v for k, v in content().items()}
        if cfg.CONFIG not in found:
            return None
        config = text_format.Parse(found[cfg.CONFIG].decode(), cfg.model_config())
        numbers = {int(path.partition("/")[0]) for path in found if path[0].isdigit()}
        if config.version_policy.WhichOneof("policy_choice") == "specific":
            numbers = set(config.version_policy.specific.versions)
        elif config.version_policy.WhichOneof("policy_choice") != "all":
            numbers = {max(numbers)}
        return {
            number: {path: data for path, data in found.items() if path.startswith(f"{number}/")} for number in numbers
        }

    return look


class Killed(BaseException):
    """kill -9, as far as the store goes: not one request more comes from that publisher."""


class Fate:
    """Counts what changes the store, and lets the publisher die before or after the change of that number."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.die_at: int | None = None
        self.after = False
        self.dead = False

    def lives_on(self) -> None:
        self.die_at, self.dead, self.steps = None, False, []


@pytest.fixture
def fate(monkeypatch: pytest.MonkeyPatch) -> Fate:
    state = Fate()
    change, ask = Bucket._change, Bucket._ask

    def changing(self: Bucket, what: str, key: str, call: Callable[[], Any]) -> Any:
        last = state.die_at == len(state.steps)
        state.steps.append(f"{what} {key.removeprefix('team/')}")
        if last and not state.after:
            state.dead = True
            raise Killed
        done = change(self, what, key, call)
        if last:
            state.dead = True
            raise Killed
        return done

    def asking(self: Bucket, what: str, key: str, call: Callable[[], Any]) -> Any:
        if state.dead:
            raise Killed
        return ask(self, what, key, call)

    monkeypatch.setattr(Bucket, "_change", changing)
    monkeypatch.setattr(Bucket, "_ask", asking)
    return state
