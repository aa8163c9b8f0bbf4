"""What TensorRT says, and what it means: its logger, and the messages that are worth explaining.

TensorRT returns None or False where something failed; why is only in what it logged meanwhile.
"""

from __future__ import annotations

import functools
import importlib
import re
import sys
from collections.abc import Iterable
from typing import Any

from mlconvert.errors import ConversionFailed, HardwareMismatch, MissingPackage, MlconvertError, OutOfResources

_BAD = ("ERROR", "INTERNAL_ERROR")
_PREFIX = re.compile(r"^(?:\[[^\]]*\]\s*|\w+::\w+::\d+:?\s*)+")  # file, function and line of TensorRT's own sources

_REBUILD = "build the engine again on the machine that serves it"
# What a logged message says, in our words, as which error, and what mends it: the first that is found counts.
_KNOWN: tuple[tuple[str, str, type[MlconvertError], str], ...] = (
    (
        r"generated on an incompatible device, expecting compute (?P<here>[\d.]+) got compute (?P<built>[\d.]+)",
        "the engine was built for compute capability {built}, and this GPU has {here}",
        HardwareMismatch,
        _REBUILD,
    ),
    (
        r"this version of TensorRT, expecting library version (?P<here>[\d.]+)(?: got (?P<built>[\d.]+))?",
        "the engine was built with TensorRT {built}, and this is {here}",
        HardwareMismatch,
        f"install the TensorRT that it was built with, or {_REBUILD}; version_compatible=yes is for such moves",
    ),
    (
        r"Version tag does not match.*?Current Version: (?P<here>\d+), Serialized Engine Version: (?P<built>\d+)",
        "the engine is of serialization version {built}, and this TensorRT reads {here}",
        HardwareMismatch,
        f"install the TensorRT that it was built with, or {_REBUILD}",
    ),
    (
        r"Platform specific tag mismatch",
        "the engine was built for another operating system or processor architecture",
        HardwareMismatch,
        _REBUILD,
    ),
    (
        r"CUDA initialization failure with error:? (?P<code>\d+)",
        "TensorRT finds no GPU that it can use here (CUDA error {code})",
        HardwareMismatch,
        "run it on a machine with an NVIDIA GPU and its driver: mlconvert fingerprint shows what is found",
    ),
    (
        r"(?i)out ?of ?memory|insufficient memory",
        "the GPU's memory ran out",
        OutOfResources,
        "end what else uses the GPU, or limit --set tensorrt.workspace_bytes and the profiles' largest shapes",
    ),
)


# A warning that comes with an engine that does run, and what mends it.
_OTHER_PRODUCT = "across different models of devices is not supported"
_OTHER_PRODUCT_MEANS = (
    "the engine was built on another model of GPU of this compute capability: NVIDIA does not support that, and it may "
    f"be slower or fail ({_REBUILD}; mlconvert check shows what differs)"
)


def import_tensorrt() -> Any:
    """TensorRT's bindings. Raises MissingPackage where they, or the libraries that they load, are not there."""
    try:
        return importlib.import_module("tensorrt")
    except ImportError as error:
        what = f"TensorRT cannot be imported: {error}"
        raise MissingPackage(what, hint="pip install 'mlconvert[tensorrt]'") from error


def version_of(trt: Any) -> tuple[int, ...]:
    """The four numbers of a TensorRT's version."""
    return tuple(int(number) for number in re.findall(r"\d+", trt.__version__)[:4])


def log_of(trt: Any) -> Any:
    """The one logger of this process, with nothing in it: TensorRT keeps the first that it gets for good.

    It holds errors and warnings; all but the verbose goes to stderr, which is the step's log.
    """
    log = _only_log(trt)
    log.errors.clear()
    log.warnings.clear()
    return log


@functools.cache
def _only_log(trt: Any) -> Any:

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # TensorRT asks for just this call
            self.errors: list[str] = []
            self.warnings: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity.name == "VERBOSE":
                return
            if _OTHER_PRODUCT in msg:
                msg = f"{msg} - that is: {_OTHER_PRODUCT_MEANS}"
            print(f"TensorRT {severity.name.lower()}: {msg}", file=sys.stderr)  # noqa: T201 - the step's log
            if severity.name in _BAD:
                self.errors.append(msg)
            elif severity.name == "WARNING":
                self.warnings.append(msg)

    return Log()


def failure(
    what: str, messages: Iterable[str], *, where: str, otherwise: type[MlconvertError] = ConversionFailed
) -> MlconvertError:
    """The error for a call of TensorRT that gave nothing, from what was logged meanwhile.

    A message that is known decides which error it is and is told in our words; else the last two are quoted.
    """
    said = list(messages)
    for pattern, meaning, kind, hint in _KNOWN:
        for message in said:
            found = re.search(pattern, message, re.DOTALL)
            if found:
                told = {key: value or "another version" for key, value in found.groupdict().items()}
                return kind(f"{what}: {meaning.format(**told)}", where=where, hint=hint)
    quoted = "; ".join(short(message) for message in said[-2:]) or "TensorRT does not say why"
    return otherwise(f"{what}: {quoted}", where=where)


def parser_errors(parser: Any) -> list[str]:
    """What an ONNX parser (or refitter) has against a model, node by node, each said once."""
    return list(dict.fromkeys(_node_error(parser.get_error(number)) for number in range(parser.num_errors)))


def _node_error(error: Any) -> str:
    why = short(error.desc())
    if error.node() < 0 and not error.node_name():
        return why
    name = error.node_name() or f"number {error.node()}"
    return f"node {name} of type {error.node_operator() or '?'}: {why}"


def short(message: str) -> str:
    """A logged message without the places in TensorRT's sources, on one line."""
    return " ".join(_PREFIX.sub("", message).split())[:500]
