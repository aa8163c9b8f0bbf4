"""The contracts that a plug-in meets: converters (edges between formats) and runners (what runs a format).

Both are rows of a table that name a module; the module is imported only when the row is used, and imports its
framework only inside its functions. So planning is pure, and `mlconvert --help` costs nothing.
"""

from __future__ import annotations

import importlib
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NewType, Union

from mlconvert.errors import UsageError, suggest
from mlconvert.java import find_java
from mlconvert.packages import Package, load_attribute, require
from mlconvert.signature import Signature

if TYPE_CHECKING:
    import numpy as np

MORE_OUTPUTS = ("leaf_indices", "raw_scores", "scores")
"""Outputs that a converted model may have on demand, and its source's `Session.more` then gives too."""

LocalFile = NewType("LocalFile", str)
"""The type of an option that names a file by its absolute path: what a step makes depends on what is in the file."""

Precision = Literal["float64", "float32", "float16", "bfloat16", "int8"]


@dataclass(frozen=True)
class Converter:
    """An edge from one format to another, or to the same one (then it is a *pass*: optimize, float16, …).

    `module` holds a function named `function`:

        def convert(source: Artifact, target: Path, *, option: type = default, …) -> Artifact

    It writes the main file (or folder) `target`, any further files beside it under names that start with
    `target.name`, and returns the artifact it wrote. Its keyword-only parameters are its options; their help is
    the text of `Annotated[type, "help"]`. A converter with `uses_samples` also takes `samples: Mapping[str, ndarray]`,
    as keyword, an empty mapping when there are none. It raises ConversionFailed (the model cannot be converted) or
    UsageError (an option contradicts the model).

    A `check(source: Artifact, options: Mapping[str, Any]) -> None` is called by the plan, before anything runs, where
    the step is a target's first one: it raises the same errors, imports no framework and costs next to nothing.
    """

    source: str
    target: str
    name: str  # the step's name on the command line and in recipes
    module: str
    packages: tuple[Package, ...]
    title: str
    function: str = "convert"
    uses_samples: bool = False
    precision: Precision | None = None  # what the result computes in, where the step changes that
    check: str | None = None  # a function of `module` that tells from a source's file alone what will not go
    hardware_bound: bool = False  # the result runs on machines like this one alone: another one makes its own
    java: int = 0  # the oldest Java that it works with; 0: it needs none

    @property
    def id(self) -> str:
        return f"{self.source}->{self.target}" if self.source != self.target else f"{self.source}:{self.name}"

    @property
    def is_pass(self) -> bool:
        return self.source == self.target

    def require(self) -> None:
        """Raise MissingPackage, with the command that brings it, where something is missing that the step needs."""
        _require(self, f"step '{self.name}' ({self.id})")

    def load(self) -> Callable[..., Any]:
        """The function. Raises UsageError when a plug-in's module cannot be imported or lacks it."""
        function: Callable[..., Any] = load_attribute(self.module, self.function)
        return function

    def check_source(self, source: Any, options: Mapping[str, Any]) -> None:
        """Raise what `check` raises; nothing where there is none."""
        if self.check is not None:
            load_attribute(self.module, self.check)(source, options)


@dataclass(frozen=True)
class Session:
    """A loaded model. `run` takes one batch, input name -> array, and returns output name -> array.

    `signature` is None for a model that does not know its inputs before it sees some (a PyTorch module).
    Arrays of strings are numpy unicode arrays (`<U…`), bfloat16 is `ml_dtypes.bfloat16`. `more` are outputs that
    the model gives only when a converted one has them too, each by a function of the batch: `raw_scores` [N, K],
    `leaf_indices` [N, T].
    """

    signature: Signature | None
    run: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]
    more: Mapping[str, Callable[[Mapping[str, np.ndarray]], np.ndarray]] = field(default_factory=dict)


@dataclass(frozen=True)
class Runner:
    """What runs artifacts of one format on samples. Its module has two functions, and may have a third:

        def signature(artifact: Artifact) -> Signature | None      # cheap where the format allows it
        def load(artifact: Artifact) -> Session
        def boundary_samples(
            artifact: Artifact, samples: Mapping[str, ndarray], *, count: int, seed: int
        ) -> dict[str, ndarray] | None

    The third gives at most `count` rows at the thresholds of a model's trees, made of `samples`, with the same
    inputs; None for a model without trees that they could be made for.

    The first two raise ConversionFailed when the file cannot be read as its format; `load` raises NotVerified for a
    valid model that cannot run here (an operator without a kernel for this processor).
    """

    format: str
    module: str
    packages: tuple[Package, ...]
    java: int = 0  # the oldest Java that it works with; 0: it needs none

    def require(self, purpose: str = "") -> None:
        """Raise MissingPackage, with the command that brings it, where something is missing that `load` needs."""
        _require(self, f"running {self.format}{purpose and f', {purpose},'}")

    def signature(self, artifact: Any) -> Signature | None:
        result: Signature | None = load_attribute(self.module, "signature")(artifact)
        return result

    def load(self, artifact: Any) -> Session:
        session: Session = load_attribute(self.module, "load")(artifact)
        return session

    def boundary_samples(
        self, artifact: Any, samples: Mapping[str, np.ndarray], *, count: int, seed: int
    ) -> dict[str, np.ndarray] | None:
        """Rows at the thresholds of the model's trees; None where there are none, or the module does not make them."""
        function = getattr(importlib.import_module(self.module), "boundary_samples", None)
        rows: dict[str, np.ndarray] | None = function(artifact, samples, count=count, seed=seed) if function else None
        return rows


def _require(row: Converter | Runner, what: str) -> None:
    require(row.packages, what)
    if row.java:
        find_java(row.java)


# --- options: the keyword-only parameters of a converter ---


@dataclass(frozen=True)
class Option:
    name: str
    type: Any
    default: Any
    help: str

    @property
    def type_name(self) -> str:
        if typing.get_origin(self.type) is Literal:
            return "|".join(str(choice) for choice in typing.get_args(self.type))
        if typing.get_origin(self.type) is dict:
            values = typing.get_origin(typing.get_args(self.type)[1]) is tuple
            return "NAME=A,B;NAME=…" if values else "NAME=VALUE;NAME=…"
        if self.type == tuple[LocalFile, ...]:
            return "FILE,FILE,…"
        return {bool: "yes|no", int: "integer", float: "number", str: "text", LocalFile: "FILE"}.get(self.type, "A,B,…")


def options_of(function: Callable[..., Any], *, ignore: Iterable[str] = ("samples",)) -> dict[str, Option]:
    """The options of a converter's function, read from its keyword-only parameters."""
    options = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is not parameter.KEYWORD_ONLY or parameter.name in ignore:
            continue
        # One annotation at a time: the other parameters may name frameworks that are imported for type checkers only.
        hint, text = _resolved(function, parameter.annotation), ""
        if typing.get_origin(hint) is typing.Annotated:
            hint, text = typing.get_args(hint)[:2]
        options[parameter.name] = Option(parameter.name, _without_none(hint), parameter.default, text)
    return options


def check_options(step: str, known: Mapping[str, Option], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as the function wants them, from text (command line) or typed values (recipe).

    Raises UsageError for an unknown option, with the nearest known one, and for a value of the wrong type.
    """
    checked = {}
    for name, value in values.items():
        if name not in known:
            listed = ", ".join(known) or "none"
            what = f"step '{step}' has no option '{name}'.{suggest(name, known)}"
            raise UsageError(what, hint=f"its options: {listed}")
        option = known[name]
        try:
            checked[name] = _coerce(option.type, value)
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise UsageError(f"{step}.{name}={value!r} is not valid: expected {option.type_name}") from error
        for path in _files_in(option, checked[name]):
            _check_file(f"{step}.{name}", path)
    return checked


def option_files(known: Mapping[str, Option], values: Mapping[str, Any]) -> list[Path]:
    """The files that the values of some options name (`LocalFile`)."""
    return [path for name, value in values.items() for path in _files_in(known[name], value)]


def with_option_files(
    known: Mapping[str, Option], values: Mapping[str, Any], moved: Callable[[str], str]
) -> dict[str, Any]:
    """The values of some options, the files among them by other names."""
    return {
        name: value if not (files := _files_in(known[name], value))
        else moved(value) if known[name].type is LocalFile
        else tuple(moved(str(path)) for path in files)
        for name, value in values.items()
    }  # fmt: skip


def _files_in(option: Option, value: Any) -> list[Path]:
    if option.type is LocalFile:
        return [Path(value)] if value is not None else []
    return [Path(path) for path in value] if option.type == tuple[LocalFile, ...] else []


def _check_file(option: str, path: Path) -> None:
    if not path.is_absolute():
        what = f"{option}: {path} is no absolute path, and steps run in folders of their own"
        raise UsageError(what, hint=f'--set {option}="$PWD/{path}"')
    if not path.is_file():
        raise UsageError(f"{option}: there is no file {path}")


def _resolved(function: Callable[..., Any], annotation: Any) -> Any:
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    return typing.get_type_hints(holder, function.__globals__, include_extras=True)["it"]


def _without_none(hint: Any) -> Any:
    if typing.get_origin(hint) in (Union, types.UnionType):
        rest = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        return rest[0] if len(rest) == 1 else hint
    return hint


_BOOLEANS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def _coerce(kind: Any, value: Any) -> Any:
    origin = typing.get_origin(kind)
    if origin is Literal:
        for choice in typing.get_args(kind):
            if str(choice) == str(value):
                return choice
        raise ValueError(value)
    if kind is bool:
        return _BOOLEANS[str(value).lower()]
    if kind in (int, float):
        return _number(kind, value)
    if origin is tuple:
        return _items(typing.get_args(kind)[0], value)
    if origin is dict:
        return _pairs(typing.get_args(kind)[1], value)
    if kind in (str, LocalFile) and not isinstance(value, (str, int, float)):
        raise ValueError(value)
    return str(value)


def _number(kind: Any, value: Any) -> Any:
    number = kind(value)
    # int(17.5) is 17, and neither infinity nor NaN can be written to a report.
    if isinstance(value, bool) or not math.isfinite(number) or (isinstance(value, float) and number != value):
        raise ValueError(value)
    return number


def _items(inner: Any, value: Any) -> tuple[Any, ...]:
    if isinstance(value, Mapping):
        raise TypeError(value)
    parts = value.split(",") if isinstance(value, str) else value
    items = [part.strip() if isinstance(part, str) else part for part in parts]
    if "" in items:
        raise ValueError(value)
    return tuple(_coerce(inner, item) for item in items)


def _pairs(inner: Any, value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        pairs = [part.partition("=") for part in value.split(";") if part.strip()]
        if not pairs or not all(key.strip() and equals for key, equals, _ in pairs):
            raise ValueError(value)
        value = {key.strip(): rest.strip() for key, _, rest in pairs}
    if not isinstance(value, Mapping):
        raise TypeError(value)
    return {str(key): _coerce(inner, item) for key, item in value.items()}


def parse_settings(texts: Iterable[str] | None) -> tuple[tuple[str | None, str, str], ...]:
    """`step.option=value` or `option=value` as (step or None, option, value). Raises UsageError."""
    settings: list[tuple[str | None, str, str]] = []
    for text in texts or ():
        name, equals, value = text.partition("=")
        step, dot, option = name.rpartition(".")
        if not equals or not option.strip() or (dot and not step):
            raise UsageError(f"--set {text!r} is not STEP.OPTION=VALUE", hint="for example: --set onnx.opset=17")
        settings.append((step.strip() or None, option.strip().replace("-", "_"), value))
    return tuple(settings)
