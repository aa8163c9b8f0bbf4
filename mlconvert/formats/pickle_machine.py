"""A symbolic machine for pickles: it follows the opcodes and makes nothing.

Names stay names, calls stay `Made` objects, and plain values are kept only as far as they are needed: tuples and
dictionaries describe the arrays that joblib writes raw into the stream, which have to be stepped over.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

CHUNK = 1 << 20  # bytes read at a time: a length that lies must not become an allocation

_OLD_BUILTINS = {"__builtin__": "builtins", "__builtins__": "builtins", "copy_reg": "copyreg"}  # as Python 2 named them

# Callables whose first argument is the class that they make.
_MAKERS = frozenset(
    (
        "copyreg._reconstructor",
        "copyreg.__newobj__",
        "copyreg.__newobj_ex__",
        "numpy.core.multiarray._reconstruct",
        "numpy._core.multiarray._reconstruct",
    )
)
_JOBLIB_ARRAY = "joblib.numpy_pickle.NumpyArrayWrapper"


# --- reading ---


class Source(Protocol):
    def read(self, size: int, /) -> bytes: ...
    def readline(self, size: int = ..., /) -> bytes: ...


class Stream:
    """What pickletools reads from: a long read comes in chunks, and `skip` steps over raw arrays."""

    def __init__(self, source: Source) -> None:
        self.readline = source.readline
        self._read = source.read

    def read(self, size: int) -> bytes:
        if size <= CHUNK:
            return self._read(size)
        parts = []
        while size > 0 and (part := self._read(min(size, CHUNK))):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def skip(self, size: int) -> None:
        while size > 0:
            part = self._read(min(size, CHUNK))
            if not part:
                raise EOFError("the file ends inside an array")
            size -= len(part)


# --- values ---


class _Global(NamedTuple):
    module: str
    name: str

    @property
    def dotted(self) -> str:
        return f"{_OLD_BUILTINS.get(self.module, self.module)}.{self.name}"


@dataclass(eq=False)
class Made:
    """What a call in the pickle would make; the call is not made."""

    function: Any
    arguments: Any
    state: Any = None


class _Opaque(NamedTuple):
    """A value of which only the type matters."""

    type_name: str


_UNKNOWN = _Opaque("object")
_UNKNOWN_GLOBAL = _Global("?", "?")


def _class_name(value: Any) -> str:
    if isinstance(value, _Global):
        return value.dotted
    if isinstance(value, Made):
        function = value.function.dotted if isinstance(value.function, _Global) else "?.?"
        first = value.arguments[0] if isinstance(value.arguments, tuple) and value.arguments else None
        if function in _MAKERS and isinstance(first, _Global):
            return first.dotted
        return "numpy.ndarray" if function == _JOBLIB_ARRAY else function
    if isinstance(value, _Opaque):
        return f"builtins.{value.type_name}"
    return f"builtins.{type(value).__name__}"


# --- the machine ---


@dataclass
class Machine:
    stream: Stream
    stack: list[Any] = field(default_factory=list)
    marks: list[list[Any]] = field(default_factory=list)  # the stacks below each open mark
    memo: dict[int, Any] = field(default_factory=dict)
    globals: dict[str, None] = field(default_factory=dict)  # in the order they are met
    protocol: int = 0
    depth: int = 0  # of pickles inside pickles: joblib's arrays of objects

    def run(self, *, outermost_only: bool = False) -> bool:
        """Follow one pickle; True when its end was reached. Raises what damaged bytes make pickletools raise."""
        for opcode, argument, _ in pickletools.genops(self.stream):  # type: ignore[arg-type]
            if opcode.name == "STOP":
                return True
            action = _ACTIONS.get(opcode.name)
            if action:
                action(self, argument)
            else:
                self._generic(opcode, argument)
            if outermost_only and not self.marks and len(self.stack) == 1 and isinstance(self.stack[0], Made):
                return False
        return False

    def restart(self) -> None:
        self.stack, self.marks, self.memo = [], [], {}

    def outermost(self) -> str | None:
        """The class of the finished object or, before the end, of the object at the bottom: the one begun first."""
        stack = self.marks[0] if self.marks and self.marks[0] else self.stack
        return _class_name(stack[0 if self.marks or len(stack) > 1 else -1]) if stack else None

    def pop_mark(self) -> list[Any]:
        items = self.stack
        self.stack = self.marks.pop()
        return items

    def push_global(self, found: _Global) -> None:
        self.globals[found.dotted] = None
        self.stack.append(found)

    def built(self, state: Any) -> None:
        made = self.stack[-1]
        if isinstance(made, Made):
            made.state = state
            if _class_name_of_function(made) == _JOBLIB_ARRAY:
                self._skip_array(state)

    def _skip_array(self, state: Any) -> None:
        """Step over the array that joblib writes right after its wrapper: a pad, then the raw bytes, or a pickle."""
        if not isinstance(state, dict):
            raise ValueError("joblib's array has no description")  # noqa: TRY004 - damaged data, not a caller's mistake
        size = _item_size(state.get("dtype"))
        if size is None:
            if self.depth > 50:
                raise ValueError("pickles inside pickles, too deep")
            inner = Machine(self.stream, globals=self.globals, depth=self.depth + 1)
            if not inner.run():
                raise EOFError("the file ends inside an array of objects")
            return
        if state.get("numpy_array_alignment_bytes") is not None:
            self.stream.skip(int.from_bytes(self.stream.read(1), "little"))
        for length in state["shape"]:
            size *= int(length)
        self.stream.skip(size)

    def _generic(self, opcode: Any, argument: Any) -> None:
        """Any other opcode, by its effect on the stack alone."""
        if opcode.stack_before and opcode.stack_before[-1] is pickletools.stackslice:
            self.pop_mark()
            below = opcode.stack_before[: opcode.stack_before.index(pickletools.markobject)]
        else:
            below = opcode.stack_before
        for _ in below:
            self.stack.pop()
        for kind in opcode.stack_after:
            scalar = argument is not None and not opcode.stack_before
            self.stack.append(argument if scalar else _CONSTANTS.get(opcode.name, _Opaque(kind.name)))


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


def _class_name_of_function(made: Made) -> str | None:
    return made.function.dotted if isinstance(made.function, _Global) else None


def _item_size(dtype: Any) -> int | None:
    """Bytes of an element of the numpy dtype that the pickle describes; None for Python objects."""
    code = dtype.arguments[0] if isinstance(dtype, Made) and isinstance(dtype.arguments, tuple) else None
    found = re.fullmatch(r"[<>|=]?([biufcmMSUVOp?])(\d*)", code) if isinstance(code, str) else None
    if found is None:
        raise ValueError("a dtype that cannot be read")
    kind, size = found.groups()
    if kind == "O" or (kind == "V" and _holds_objects(dtype.state)):
        return None
    return int(size or 1) * (4 if kind == "U" else 1)


def _holds_objects(state: Any) -> bool:
    """True when a structured dtype (its state ends with numpy's flags) has a field of Python objects."""
    flags = state[7] if isinstance(state, tuple) and len(state) > 7 else 0
    return isinstance(flags, int) and bool(flags & 1)


# --- what opcodes do, where more than the stack's height matters ---


def _mark(machine: Machine, _: Any) -> None:
    machine.marks.append(machine.stack)
    machine.stack = []


def _pop(machine: Machine, _: Any) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.pop_mark()


def _dup(machine: Machine, _: Any) -> None:
    machine.stack.append(machine.stack[-1])


def _memoize(machine: Machine, _: Any) -> None:
    machine.memo[len(machine.memo)] = machine.stack[-1]


def _put(machine: Machine, argument: Any) -> None:
    machine.memo[int(argument)] = machine.stack[-1]


def _get(machine: Machine, argument: Any) -> None:
    machine.stack.append(machine.memo[int(argument)])


def _global(machine: Machine, argument: str) -> None:
    module, _, name = argument.partition(" ")
    machine.push_global(_Global(module, name))


def _stack_global(machine: Machine, _: Any) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    known = isinstance(name, str) and isinstance(module, str)
    machine.push_global(_Global(module, name) if known else _UNKNOWN_GLOBAL)


def _extension(machine: Machine, argument: Any) -> None:
    machine.push_global(_Global("?", f"extension_{argument}"))  # a number that only the loading process can look up


def _call(machine: Machine, _: Any) -> None:
    arguments, function = machine.stack.pop(), machine.stack.pop()
    machine.stack.append(Made(function, arguments))


def _call_with_keywords(machine: Machine, _: Any) -> None:
    machine.stack.pop()
    _call(machine, None)


def _obj(machine: Machine, _: Any) -> None:
    function, *arguments = machine.pop_mark()
    machine.stack.append(Made(function, tuple(arguments)))


def _inst(machine: Machine, argument: str) -> None:
    arguments = tuple(machine.pop_mark())
    _global(machine, argument)
    machine.stack.append(Made(machine.stack.pop(), arguments))


def _build(machine: Machine, _: Any) -> None:
    machine.built(machine.stack.pop())


def _tuple(machine: Machine, _: Any) -> None:
    items = tuple(machine.pop_mark())
    machine.stack.append(items)


def _short_tuple(length: int) -> Callable[[Machine, Any], None]:
    def action(machine: Machine, _: Any) -> None:
        if len(machine.stack) < length:
            raise IndexError("the stack is empty")
        items = tuple(machine.stack[len(machine.stack) - length :])
        del machine.stack[len(machine.stack) - length :]
        machine.stack.append(items)

    return action


def _new_dict(machine: Machine, _: Any) -> None:
    machine.stack.append({})


def _dict(machine: Machine, _: Any) -> None:
    items = machine.pop_mark()
    machine.stack.append(_text_keys(items))


def _set_item(machine: Machine, _: Any) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    _update(machine.stack[-1], [key, value])


def _set_items(machine: Machine, _: Any) -> None:
    items = machine.pop_mark()
    _update(machine.stack[-1], items)


def _update(target: Any, items: list[Any]) -> None:
    if isinstance(target, dict):
        target.update(_text_keys(items))


def _text_keys(items: list[Any]) -> dict[str, Any]:
    # Other keys are dropped: hashing a tuple from a hostile file may take for ever.
    return {key: value for key, value in zip(items[::2], items[1::2], strict=False) if isinstance(key, str)}


def _protocol(machine: Machine, argument: int) -> None:
    machine.protocol = max(machine.protocol, argument)


_ACTIONS: Mapping[str, Callable[[Machine, Any], None]] = {
    "BINGET": _get,
    "BINPUT": _put,
    "BUILD": _build,
    "DICT": _dict,
    "DUP": _dup,
    "EMPTY_DICT": _new_dict,
    "EXT1": _extension,
    "EXT2": _extension,
    "EXT4": _extension,
    "GET": _get,
    "GLOBAL": _global,
    "INST": _inst,
    "LONG_BINGET": _get,
    "LONG_BINPUT": _put,
    "MARK": _mark,
    "MEMOIZE": _memoize,
    "NEWOBJ": _call,
    "NEWOBJ_EX": _call_with_keywords,
    "OBJ": _obj,
    "POP": _pop,
    "PROTO": _protocol,
    "PUT": _put,
    "REDUCE": _call,
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    "STACK_GLOBAL": _stack_global,
    "TUPLE": _tuple,
    "TUPLE1": _short_tuple(1),
    "TUPLE2": _short_tuple(2),
    "TUPLE3": _short_tuple(3),
}
