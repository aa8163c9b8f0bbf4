"""Models that a running server serves, as a user names them: `triton://host:port/name[/version]`."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from mlconvert.errors import UsageError

SCHEMES = ("triton", "triton+http", "triton+grpc")
PORTS = {"triton": 8000, "triton+http": 8000, "triton+grpc": 8001}
EXAMPLE = "triton://HOST:PORT/NAME or triton://HOST:PORT/NAME/VERSION"
SERVER_EXAMPLE = "triton://HOST:PORT; triton+http:// or triton+grpc:// to say what speaks there"
LABEL = "mlconvert.label."  # the parameter of a configuration that names a version


@dataclass(frozen=True)
class ServedModel:
    """`version` is a number, or a label that the model's configuration gives one; None: the server chooses."""

    scheme: str
    host: str
    port: int
    name: str
    version: str | None

    @property
    def url(self) -> str:
        """The server's own address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def __str__(self) -> str:
        version = f"/{quote(self.version, safe='')}" if self.version else ""
        return f"{self.url}/{quote(self.name, safe='')}{version}"


def is_served(location: str) -> bool:
    """Whether a location is spelled as one of a server's: `triton://…`, `triton+http://…` or `triton+grpc://…`."""
    scheme, colon, _ = location.partition("://")
    return bool(colon) and scheme in SCHEMES


def parse_served(location: str) -> ServedModel:
    """Raises UsageError, with what is expected."""
    scheme, _, rest = location.partition("://")
    address, *path = rest.split("/")
    while path and not path[-1]:
        path.pop()
    scheme, host, port = split_address(f"{scheme}://{address}")
    if not 1 <= len(path) <= 2 or not all(path) or set("?#") & set(rest):
        raise UsageError(f"'{location}' does not name a model of a server", hint=EXAMPLE)
    name, version = unquote(path[0]), unquote(path[1]) if len(path) == 2 else None
    return ServedModel(scheme, host, port, name, version)


def split_address(url: str) -> tuple[str, str, int]:
    """Scheme, host and port. Raises UsageError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"'{url}' is no address of a Triton server: {error}", hint=SERVER_EXAMPLE) from error
    if parts.scheme not in SCHEMES or not host or parts.username is not None or parts.query or parts.fragment:
        raise UsageError(f"'{url}' is no address of a Triton server", hint=SERVER_EXAMPLE)
    return parts.scheme, host, port if port is not None else PORTS[parts.scheme]
