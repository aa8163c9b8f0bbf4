"""The statuses of the real server: a code with its name and a message, and what it is over HTTP."""

from __future__ import annotations

from typing import Any

# code -> its name, its number, and the status that REST answers with (http_server.cc, ToHTTPStatusCode)
CODES = {
    "OK": (0, 200),
    "CANCELLED": (1, 499),
    "UNKNOWN": (2, 500),
    "INVALID_ARGUMENT": (3, 400),
    "DEADLINE_EXCEEDED": (4, 504),
    "NOT_FOUND": (5, 404),
    "ALREADY_EXISTS": (6, 409),
    "PERMISSION_DENIED": (7, 403),
    "RESOURCE_EXHAUSTED": (8, 429),
    "FAILED_PRECONDITION": (9, 400),
    "ABORTED": (10, 409),
    "OUT_OF_RANGE": (11, 400),
    "UNIMPLEMENTED": (12, 501),
    "INTERNAL": (13, 500),
    "UNAVAILABLE": (14, 503),
    "DATA_LOSS": (15, 500),
    "UNAUTHENTICATED": (16, 401),
}
_NAMES = {number: name for name, (number, _) in CODES.items()}


class Refused(Exception):
    """What the server answers instead of doing what it was asked for."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    @property
    def number(self) -> int:
        return CODES[self.code][0]

    @property
    def http(self) -> int:
        return CODES[self.code][1]


def invalid(message: str) -> Refused:
    return Refused("INVALID_ARGUMENT", message)


def refused_by_tensorflow(error: Any) -> Refused:
    """Of a `tf.errors.OpError`; of anything else that a model raises, UNKNOWN."""
    number = getattr(error, "error_code", 2)
    message = str(getattr(error, "message", None) or error)
    return Refused(_NAMES.get(number, "UNKNOWN"), message)
