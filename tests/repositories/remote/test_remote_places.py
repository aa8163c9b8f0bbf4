"""Where a repository can be, and what is said when the store cannot be used."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.repositories.remote import RemoteRepository, connect, located
from mlconvert.repositories.triton.remote import publish, versions


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("models", Path("models")),
        ("/srv/models", Path("/srv/models")),
        ("file:///srv/my%20models", Path("/srv/my models")),
        ("file://localhost/srv/models", Path("/srv/models")),
        ("s3://bucket/models", RemoteRepository("s3", "bucket", "models")),
        ("s3://bucket/team/models/", RemoteRepository("s3", "bucket", "team/models")),
        ("gs://my.bucket/models", RemoteRepository("gs", "my.bucket", "models")),
    ],
)
def test_places(text, place):
    assert located(text) == place


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("s3://bucket", "a bucket as a whole cannot be one"),
        ("s3://bucket/", "a bucket as a whole cannot be one"),
        ("s3:///models", "is not a bucket"),
        ("s3://user:secret@bucket/models", "is not a bucket"),
        ("s3://bucket/a/../b", "needs a prefix"),
        ("s3://bucket/a//b", "needs a prefix"),
        ("s3://bucket/.hidden", "needs a prefix"),
        ("s3://bucket/models?x=1", "is not a bucket"),
        ("file://elsewhere/models", "not a folder of this machine"),
        ("s3a://bucket/models", "no repository can be at s3a://. Did you mean 's3'?"),
        ("http://bucket/models", "no repository can be at http://"),
    ],
)
def test_no_places(text, said):
    with pytest.raises(UsageError, match=said.replace("?", r"\?").replace(".", r"\.")) as caught:
        located(text)
    assert caught.value.hint


def test_the_notes_lie_beside_the_repository():
    assert RemoteRepository("s3", "b", "models").notes == ".mlconvert-models"
    assert RemoteRepository("s3", "b", "team/models").notes == "team/.mlconvert-models"


def test_no_such_bucket(s3, make_model):
    with pytest.raises(RepositoryInvalid, match="no such bucket"):
        versions(located("s3://nowhere/models"), "m")
    with pytest.raises(RepositoryInvalid, match="no such bucket"):
        publish(make_model(), located("s3://nowhere/models"), "m")


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "http://nowhere.invalid"])
def test_an_endpoint_that_is_not_there(s3, monkeypatch, make_model, endpoint):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    start = time.monotonic()
    with pytest.raises(RepositoryInvalid, match="cannot be reached") as caught:
        publish(make_model(), located("s3://bucket/models"), "m")
    assert time.monotonic() - start < 30
    assert endpoint in (caught.value.hint or "")


def test_no_credentials(s3, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")  # where a machine in the cloud asks for its role
    with pytest.raises(UsageError, match="no credentials") as caught:
        versions(located("s3://bucket/models"), "m")
    assert "AWS_ACCESS_KEY_ID" in (caught.value.hint or "")


STORE_SAYS = [
    (403, "AccessDenied", "access denied"),
    (403, "InvalidAccessKeyId", "does not know these credentials"),
    (403, "SignatureDoesNotMatch", "does not know these credentials"),
    (400, "InvalidBucketName", "InvalidBucketName"),
    (503, "SlowDown", "cannot"),
]


@pytest.mark.parametrize(("status", "code", "said"), STORE_SAYS)
def test_what_the_store_says(s3, monkeypatch, status, code, said, refusing):
    monkeypatch.setenv("AWS_ENDPOINT_URL", refusing(status, code))
    start = time.monotonic()
    with pytest.raises(RepositoryInvalid, match=said) as caught:
        versions(located("s3://bucket/models"), "m")
    assert "s3://bucket/" in caught.value.message
    assert "\n" not in caught.value.message
    assert "testing" not in f"{caught.value.message}{caught.value.hint}", "no credential is ever shown"
    assert time.monotonic() - start < 30


@pytest.fixture
def refusing():
    """A function that starts a server which answers everything with that status and code."""
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    servers = []

    def start(status: int, code: str) -> str:
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


def test_nothing_is_asked_before_it_has_to_be(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    connect(RemoteRepository("s3", "bucket", "models"))
