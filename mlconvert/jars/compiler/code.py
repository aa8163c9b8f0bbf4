"""A method's code as it is written: bytes, the types on the stack and in the locals, labels, frames.

The verifier wants to know, at every place that is jumped to, what the stack and the locals hold there (4.7.4 and
4.10.1 of the specification). As all jumps are those of statements and of conditions, that is known when the place is
written: the locals in scope, and what was on the stack at the jump.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from mlconvert.jars.compiler.constants import ConstantPool
from mlconvert.jars.compiler.library import parameters

WIDE = "JD"  # types that take two places
REACH = 32_767  # bytes of a jump


@dataclass
class Label:
    at: int | None = None
    jumps: list[int] = field(default_factory=list)  # where the opcodes of the jumps are
    stack: tuple[str, ...] = ()


@dataclass(frozen=True)
class Variable:
    name: str
    type: str
    place: int


class Code:
    """Types on the stack are descriptors; `U12` is what the `new` at 12 made, before its constructor ran."""

    def __init__(self, pool: ConstantPool) -> None:
        self.pool = pool
        self.bytes = bytearray()
        self.stack: list[str] = []
        self.locals: list[Variable] = []
        self.most_stack = self.most_locals = 0
        self.reachable = True
        self.frames: dict[int, tuple[tuple[str, ...], tuple[str, ...]]] = {}
        self.handlers: list[tuple[int, int, int, int]] = []
        self.lines: list[tuple[int, int]] = []
        self._first: tuple[str, ...] = ()

    # --- instructions ---

    def op(self, opcode: int, operands: bytes = b"", pops: int = 0, push: str = "") -> None:
        """An instruction that takes `pops` values off the stack and leaves one of the type `push`."""
        if pops:
            del self.stack[-pops:]
        if push:
            self.stack.append(push)
            self.most_stack = max(self.most_stack, sum(2 if kind in WIDE else 1 for kind in self.stack))
        self.bytes.append(opcode)
        self.bytes += operands

    def duplicated(self, opcode: int, types: tuple[str, ...]) -> None:
        """One of the dup instructions; `types` are the values that it adds on top, or below where it says so."""
        self.bytes.append(opcode)
        self.stack += types
        self.most_stack = max(self.most_stack, sum(2 if kind in WIDE else 1 for kind in self.stack))

    def line(self, number: int) -> None:
        if not self.lines or (self.lines[-1][1] != number and self.lines[-1][0] != len(self.bytes)):
            self.lines.append((len(self.bytes), number))

    def ends(self) -> None:
        """What comes next is not reached from here."""
        self.reachable = False

    def invoke(self, opcode: int, owner: str, name: str, descriptor: str, *, interface: bool = False) -> None:
        taken = parameters(descriptor)
        result = descriptor.partition(")")[2]
        index = self.pool.member(11 if interface else 10, owner, name, descriptor)
        operands = struct.pack(">H", index)
        if interface:
            operands += bytes([1 + sum(2 if kind in WIDE else 1 for kind in taken), 0])
        pops = len(taken) + (opcode != 0xB8)
        self.op(opcode, operands, pops, "" if result == "V" else result)

    # --- locals ---

    def declare(self, name: str, kind: str) -> Variable:
        last = self.locals[-1] if self.locals else None
        place = 0 if last is None else last.place + (2 if last.type in WIDE else 1)
        variable = Variable(name, kind, place)
        self.locals.append(variable)
        self.most_locals = max(self.most_locals, place + (2 if kind in WIDE else 1))
        return variable

    def variable(self, name: str) -> Variable | None:
        return next((one for one in reversed(self.locals) if one.name == name), None)

    # --- jumps ---

    def jump(self, opcode: int, label: Label, pops: int = 0) -> None:
        self.op(opcode, b"\0\0", pops)
        label.jumps.append(len(self.bytes) - 3)
        label.stack = tuple(self.stack)
        if label.at is not None:
            self._patch(label, label.jumps[-1])
        if opcode == 0xA7:
            self.ends()

    def bind(self, label: Label, *, loop: bool = False) -> None:
        """The label is here. A `loop` is jumped to from behind, so that its jumps are still to come."""
        if not label.jumps and not loop:
            return
        label.at = len(self.bytes)
        for jump in label.jumps:
            self._patch(label, jump)
        if not self.reachable and label.jumps:
            self.stack = list(label.stack)
        self.reachable = True
        self.frame()

    def frame(self) -> None:
        self.frames[len(self.bytes)] = (tuple(one.type for one in self.locals), tuple(self.stack))

    def _patch(self, label: Label, jump: int) -> None:
        assert label.at is not None
        distance = label.at - jump
        if abs(distance) > REACH:
            raise ValueError("a jump goes further than 32,767 bytes: the method is too long")
        self.bytes[jump + 1 : jump + 3] = struct.pack(">h", distance)

    def handler(self, start: int, end: int, kind: str) -> None:
        """Between two places, exceptions of a class come here, where the stack holds nothing else."""
        self.handlers.append((start, end, len(self.bytes), self.pool.cls(kind)))
        self.stack = [f"L{kind};"]
        self.most_stack = max(self.most_stack, 1)
        self.reachable = True
        self.frame()

    # --- frames ---

    def stack_map(self) -> bytes:
        """The StackMapTable: a frame that changes nothing in the locals is short, all others are whole ones."""
        entries: list[bytes] = []
        before, last = self._first, -1
        for at in sorted(self.frames):
            held, stack = self.frames[at]
            delta = at - last - 1
            if held == before and not stack:
                entries.append(bytes([delta]) if delta < 64 else struct.pack(">BH", 251, delta))
            else:
                whole = struct.pack(">BHH", 255, delta, len(held)) + b"".join(map(self._type, held))
                entries.append(whole + struct.pack(">H", len(stack)) + b"".join(map(self._type, stack)))
            before, last = held, at
        return struct.pack(">H", len(entries)) + b"".join(entries)

    def begin(self, *, constructor: bool) -> None:
        """The parameters are declared. A constructor begins with an object that is none yet: no frame is like that."""
        self._first = () if constructor else tuple(one.type for one in self.locals)

    def _type(self, kind: str) -> bytes:
        if kind[0] == "U":
            return struct.pack(">BH", 8, int(kind[1:]))
        if kind[0] in "L[":
            return struct.pack(">BH", 7, self.pool.cls(kind[1:-1] if kind[0] == "L" else kind))
        return bytes([{"F": 2, "D": 3, "J": 4, "N": 5}.get(kind, 1)])
