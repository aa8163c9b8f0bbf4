"""Models that a running server serves, as a user names them: `triton://host:port/name[/version]`, `tfserving://…`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from mlconvert.errors import UsageError


@dataclass(frozen=True)
class ServerKind:
    """A kind of server: the format that its models are, its words, and its schemes with the port of each.

    The first scheme leaves it open which protocol speaks there; the others end with `+http` or `+grpc`.
    """

    format: str
    title: str
    ports: Mapping[str, int]

    @property
    def scheme(self) -> str:
        return next(iter(self.ports))

    @property
    def example(self) -> str:
        return f"{self.scheme}://HOST:PORT/NAME or {self.scheme}://HOST:PORT/NAME/VERSION"

    @property
    def server_example(self) -> str:
        _, *exact = self.ports
        return f"{self.scheme}://HOST:PORT; {' or '.join(f'{scheme}://' for scheme in exact)} to say what speaks there"


TRITON = ServerKind("triton", "Triton server", {"triton": 8000, "triton+http": 8000, "triton+grpc": 8001})
# Without flags a TensorFlow Serving has its gRPC port alone.
TF_SERVING = ServerKind(
    "tf-serving", "TensorFlow Serving", {"tfserving": 8500, "tfserving+http": 8501, "tfserving+grpc": 8500}
)
KINDS = (TRITON, TF_SERVING)
SERVED = tuple(kind.format for kind in KINDS)  # the formats of models that are asked over the wire
LABEL = "mlconvert.label."  # the parameter of a Triton model's configuration that names a version


@dataclass(frozen=True)
class ServedModel:
    """`version` is a number, or a label that the model's configuration gives one; None: the server chooses."""

    scheme: str
    host: str
    port: int
    name: str
    version: str | None

    @property
    def kind(self) -> ServerKind:
        return kind_of(self.scheme)

    @property
    def url(self) -> str:
        """The server's own address."""
        return f"{self.scheme}://{joined(self.host, self.port)}"

    def __str__(self) -> str:
        version = f"/{quote(self.version, safe='')}" if self.version else ""
        return f"{self.url}/{quote(self.name, safe='')}{version}"


def joined(host: str, port: int) -> str:
    """`host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def kind_of(scheme: str) -> ServerKind:
    """Raises KeyError for a scheme of no server."""
    return {name: kind for kind in KINDS for name in kind.ports}[scheme]


def is_served(location: str) -> bool:
    """Whether a location is spelled as one of a server's: `triton://…`, `triton+grpc://…`, `tfserving+http://…`."""
    scheme, colon, _ = location.partition("://")
    return bool(colon) and any(scheme in kind.ports for kind in KINDS)


def parse_served(location: str) -> ServedModel:
    """Raises UsageError, with what is expected."""
    scheme, _, rest = location.partition("://")
    address, *path = rest.split("/")
    while path and not path[-1]:
        path.pop()
    kind = next((kind for kind in KINDS if scheme in kind.ports), TRITON)
    scheme, host, port = split_address(f"{scheme}://{address}", kind)
    if not 1 <= len(path) <= 2 or not all(path) or set("?#") & set(rest):
        raise UsageError(f"'{location}' does not name a model of a server", hint=kind.example)
    name, version = unquote(path[0]), unquote(path[1]) if len(path) == 2 else None
    return ServedModel(scheme, host, port, name, version)


def split_address(url: str, kind: ServerKind = TRITON) -> tuple[str, str, int]:
    """Scheme, host and port of a server of that kind. Raises UsageError."""
    what = f"'{url}' is no address of a {kind.title}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{what}: {error}", hint=kind.server_example) from error
    if parts.scheme not in kind.ports or not host or parts.username is not None or parts.query or parts.fragment:
        raise UsageError(what, hint=kind.server_example)
    return parts.scheme, host, port if port is not None else kind.ports[parts.scheme]
