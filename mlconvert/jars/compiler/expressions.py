"""The code of expressions (The Java Virtual Machine Specification, Java SE 8, chapter 6)."""

from __future__ import annotations

import math
import struct

from mlconvert.jars.compiler import syntax as s
from mlconvert.jars.compiler.code import WIDE, Label
from mlconvert.jars.compiler.library import INTERFACES, parameters
from mlconvert.jars.compiler.types import COMPARISONS, SHIFTS, STRING, Types, promoted

KINDS = {"J": 1, "F": 2, "D": 3}  # how far an instruction for a type is from the one for int; 4 for references
ELEMENTS = {"I": 0, "J": 1, "F": 2, "D": 3, "B": 5, "Z": 5, "C": 6, "S": 7}  # the same for elements of arrays
ARITHMETIC = {"+": 0x60, "-": 0x64, "*": 0x68, "/": 0x6C, "%": 0x70}
BITS = {"<<": 0x78, ">>": 0x7A, ">>>": 0x7C, "&": 0x7E, "|": 0x80, "^": 0x82}
TESTS = {"==": 0, "!=": 1, "<": 2, ">=": 3, ">": 4, "<=": 5}
OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
CASTS = {
    "IJ": 0x85, "IF": 0x86, "ID": 0x87, "JI": 0x88, "JF": 0x89, "JD": 0x8A, "FI": 0x8B, "FJ": 0x8C, "FD": 0x8D,
    "DI": 0x8E, "DJ": 0x8F, "DF": 0x90, "IB": 0x91, "IC": 0x92, "IS": 0x93,
}  # fmt: skip
ARRAY_TYPES = {"Z": 4, "C": 5, "F": 6, "D": 7, "B": 8, "S": 9, "I": 10, "J": 11}
NULL, LDC, LDC_W, LDC2_W = 0x01, 0x12, 0x13, 0x14
DUP, DUP_X1, DUP_X2, DUP2, DUP2_X1, DUP2_X2 = 0x59, 0x5A, 0x5B, 0x5C, 0x5D, 0x5E
GOTO, GET_STATIC, PUT_STATIC, GET_FIELD, PUT_FIELD = 0xA7, 0xB2, 0xB3, 0xB4, 0xB5
VIRTUAL, SPECIAL, STATIC, INTERFACE = 0xB6, 0xB7, 0xB8, 0xB9


def _kind(type_: str) -> int:
    return KINDS.get(type_, 4 if type_[0] in "L[NU" else 0)


def _two(value: int) -> bytes:
    return struct.pack(">H", value)


class Expressions(Types):
    """`value` leaves an expression's value on the stack, `drop` none; `branch` jumps by it."""

    def value(self, expression: s.Expression) -> str:
        """Write the code; the type of what it leaves."""
        match expression:
            case s.Literal():
                return self._literal(expression)
            case s.Name() | s.Select():
                return self._named(expression)
            case s.Index(array=array, index=index):
                kind = self.value(array)[1:]
                self.value_as(index, "I")
                self.code.op(0x2E + ELEMENTS.get(kind, 4), pops=2, push=kind)
                return kind
            case s.Call() | s.New():
                return self._call(expression)
            case s.NewArray():
                return self._new_array(expression)
            case s.Cast(type=kind, value=inner):
                return self._cast(kind, inner)
            case s.Assign():
                return self._assign(expression, wanted=True)
            case s.Conditional():
                return self._choice(expression)
            case s.Binary(operator=operator) if operator not in COMPARISONS and operator not in ("&&", "||"):
                return self._binary(expression)
            case s.InstanceOf(value=inner, type=kind):
                self.value(inner)
                self.code.op(0xC1, _two(self.code.pool.cls(_class(kind))), pops=1, push="Z")
                return "Z"
            case _:
                return self._unary_or_test(expression)

    def _unary_or_test(self, expression: s.Expression) -> str:
        match expression:
            case s.Unary(operator="-", value=inner):
                kind = self.value_as(inner, promoted(self.type_of(inner)))
                self.code.op(0x74 + _kind(kind), pops=1, push=kind)
                return kind
            case s.Unary(operator="~", value=inner):
                return self._binary(s.Binary("^", inner, s.Literal(-1, promoted(self.type_of(inner)))))
        return self._choice(s.Conditional(expression, s.Literal(True, "Z"), s.Literal(False, "Z")))

    def value_as(self, expression: s.Expression, wanted: str) -> str:
        if isinstance(expression, s.Literal) and expression.type == "I" and wanted in "JFD":
            assert isinstance(expression.value, int)
            number = expression.value if wanted == "J" else float(expression.value)
            return self._literal(s.Literal(number, wanted))
        self.convert(self.value(expression), wanted)
        return wanted

    def drop(self, expression: s.Expression) -> None:
        """Write an expression for what it does."""
        if isinstance(expression, s.Assign):
            self._assign(expression, wanted=False)
            return
        kind = self.value(expression)
        if kind != "V":
            self.code.op(0x58 if kind in WIDE else 0x57, pops=1)

    def convert(self, given: str, wanted: str) -> None:
        """Make a number of another type of the one on the stack; references are left as they are."""
        if given == wanted or given[0] in "L[N" or "Z" in (given, wanted):
            return
        given = "I" if given in "BCS" else given
        if given != "I" and wanted in "BCS":
            self.convert(given, "I")
            given = "I"
        if given != wanted:
            self.code.op(CASTS[given + wanted], pops=1, push=wanted)

    # --- constants and names ---

    def _literal(self, literal: s.Literal) -> str:
        code, value, kind = self.code, literal.value, literal.type
        if value is None:
            code.op(NULL, push="N")
        elif isinstance(value, str):
            self._load_constant(code.pool.string(value), STRING)
        elif kind == "D":
            assert isinstance(value, (int, float))
            if value in (0, 1) and math.copysign(1, value) > 0:
                code.op(0x0E + int(value), push="D")
            else:
                code.op(LDC2_W, _two(code.pool.double(value)), push="D")
        elif kind == "F":
            assert isinstance(value, (int, float))
            if value in (0, 1, 2) and math.copysign(1, value) > 0:
                code.op(0x0B + int(value), push="F")
            else:
                self._load_constant(code.pool.single(value), "F")
        elif kind == "J":
            assert isinstance(value, int)
            if value in (0, 1):
                code.op(0x09 + value, push="J")
            else:
                code.op(LDC2_W, _two(code.pool.long(value)), push="J")
        else:
            self._integer(int(value), kind)
        return kind

    def _integer(self, value: int, kind: str) -> None:
        if -1 <= value <= 5:
            self.code.op(0x03 + value, push=kind)
        elif -128 <= value < 128:
            self.code.op(0x10, struct.pack(">b", value), push=kind)
        elif -32768 <= value < 32768:
            self.code.op(0x11, struct.pack(">h", value), push=kind)
        else:
            self._load_constant(self.code.pool.integer(value), kind)

    def _load_constant(self, index: int, kind: str) -> None:
        if index < 256:
            self.code.op(LDC, bytes([index]), push=kind)
        else:
            self.code.op(LDC_W, _two(index), push=kind)

    def _named(self, value: s.Name | s.Select) -> str:
        code = self.code
        if isinstance(value, s.Name) and (local := code.variable(value.name)):
            self._local(0x15, 0x1A, local.type, local.place, push=local.type)
            return local.type
        if isinstance(value, s.Select) and value.name == "class":
            self._load_constant(code.pool.cls(self.class_named(value.target) or ""), "Ljava/lang/Class;")
            return "Ljava/lang/Class;"
        if isinstance(value, s.Select) and self._type_of_name(value) == "I" and value.name == "length":
            self.value(value.target)
            code.op(0xBE, pops=1, push="I")
            return "I"
        field = self.field(value)
        if field.owner == self.declared.name and isinstance(constant := self.constants.get(field.name), s.Literal):
            return self.value_as(constant, field.descriptor)
        index = _two(code.pool.member(9, field.owner, field.name, field.descriptor))
        if field.static:
            code.op(GET_STATIC, index, push=field.descriptor)
        else:
            self._object_of(value)
            code.op(GET_FIELD, index, pops=1, push=field.descriptor)
        return field.descriptor

    def _object_of(self, value: s.Name | s.Select) -> None:
        self.value(s.Name("this", value.line) if isinstance(value, s.Name) else value.target)

    def _local(self, opcode: int, short: int, kind: str, place: int, pops: int = 0, push: str = "") -> None:
        """Load or store a local: there are short forms for the first four places."""
        number = _kind(kind)
        if place < 4:
            self.code.op(short + 4 * number + place, pops=pops, push=push)
        elif place < 256:
            self.code.op(opcode + number, bytes([place]), pops, push)
        else:
            raise ValueError("more than 256 places for locals")

    # --- calls and arrays ---

    def _call(self, value: s.Call | s.New) -> str:
        code, method = self.code, self.called(value)
        if isinstance(value, s.New):
            made = f"U{len(code.bytes)}"
            code.op(0xBB, _two(code.pool.cls(method.owner)), push=made)
            code.duplicated(DUP, (made,))
        elif not method.static:
            self.value(value.target or s.Name("this", value.line))
        for argument, wanted in zip(value.arguments, parameters(method.descriptor), strict=True):
            self.value_as(argument, wanted)
        if method.static:
            code.invoke(STATIC, method.owner, method.name, method.descriptor)
        elif method.name == "<init>":
            code.invoke(SPECIAL, method.owner, method.name, method.descriptor)
        elif method.owner in INTERFACES:
            code.invoke(INTERFACE, method.owner, method.name, method.descriptor, interface=True)
        else:
            code.invoke(VIRTUAL, method.owner, method.name, method.descriptor)
        if isinstance(value, s.New):
            code.stack[-1] = value.type
            return value.type
        return method.descriptor.partition(")")[2]

    def _new_array(self, value: s.NewArray) -> str:
        code, element = self.code, value.type[1:]
        self.value_as(value.length or s.Literal(len(value.elements), "I"), "I")
        if element in ARRAY_TYPES:
            code.op(0xBC, bytes([ARRAY_TYPES[element]]), pops=1, push=value.type)
        else:
            code.op(0xBD, _two(code.pool.cls(_class(element))), pops=1, push=value.type)
        for index, one in enumerate(value.elements):
            code.duplicated(DUP, (value.type,))
            self._integer(index, "I")
            self.value_as(one, element)
            code.op(0x4F + ELEMENTS.get(element, 4), pops=3)
        return value.type

    def _cast(self, kind: str, inner: s.Expression) -> str:
        given = self.value(inner)
        self.convert(given, kind)
        if kind[0] in "L[" and not self.library.becomes(given, kind):
            self.code.op(0xC0, _two(self.code.pool.cls(_class(kind))), pops=1, push=kind)
        elif kind[0] not in "L[":
            self.code.stack[-1] = kind
        return kind

    # --- operators ---

    def _binary(self, value: s.Binary) -> str:
        kind = self._type_of_binary(value)
        if kind == STRING:
            return self._text(value)
        self.value_as(value.left, kind)
        self.value_as(value.right, "I" if value.operator in SHIFTS else kind)
        self._operate(value.operator, kind)
        return kind

    def _operate(self, operator: str, kind: str) -> None:
        if operator in ARITHMETIC:
            self.code.op(ARITHMETIC[operator] + _kind(kind), pops=2, push=kind)
        else:
            self.code.op(BITS[operator] + (kind == "J"), pops=2, push=kind)

    def _text(self, value: s.Binary) -> str:
        """Text put together by a StringBuilder."""
        parts: list[s.Expression] = []
        rest: s.Expression = value
        while isinstance(rest, s.Binary) and rest.operator == "+" and self.type_of(rest) == STRING:
            parts.insert(0, rest.right)
            rest = rest.left
        parts.insert(0, rest)
        builder: s.Expression = s.New("Ljava/lang/StringBuilder;", (), 0)
        for part in parts:
            builder = s.Call(builder, "append", (part,), 0)
        return self.value(s.Call(builder, "toString", (), 0))

    def _choice(self, value: s.Conditional) -> str:
        kind = self.type_of(value)
        otherwise, end = Label(), Label()
        self.branch(value.test, otherwise, when=False)
        self.value_as(value.then, kind)
        self.code.stack[-1] = kind
        self.code.jump(GOTO, end)
        del self.code.stack[-1:]
        self.code.bind(otherwise)
        self.value_as(value.otherwise, kind)
        self.code.stack[-1] = kind
        self.code.bind(end)
        return kind

    def branch(self, test: s.Expression, label: Label, *, when: bool) -> None:
        """Jump to the label if the test is as `when` says; else go on."""
        match test:
            case s.Literal(value=value, type="Z"):
                if value is when:
                    self.code.jump(GOTO, label)
            case s.Unary(operator="!", value=inner):
                self.branch(inner, label, when=not when)
            case s.Binary(operator="&&" | "||" as operator, left=left, right=right):
                if (operator == "||") is when:
                    self.branch(left, label, when=when)
                    self.branch(right, label, when=when)
                else:
                    past = Label()
                    self.branch(left, past, when=not when)
                    self.branch(right, label, when=when)
                    self.code.bind(past)
            case s.Binary(operator=operator) if operator in COMPARISONS:
                self._compare(test, label, when=when)
            case _:
                self.value_as(test, "Z")
                self.code.jump(0x9A if when else 0x99, label, pops=1)

    def _compare(self, test: s.Binary, label: Label, *, when: bool) -> None:
        code, operator = self.code, test.operator
        used = TESTS[operator if when else OPPOSITE[operator]]
        left, right = self.type_of(test.left), self.type_of(test.right)
        if "N" in (left, right):
            self.value(test.left if right == "N" else test.right)
            code.jump(0xC6 + used, label, pops=1)
            return
        if left[0] in "L[":
            self.value(test.left)
            self.value(test.right)
            code.jump(0xA5 + used, label, pops=2)
            return
        kind = promoted(left, right)
        self.value_as(test.left, "Z" if left == "Z" else kind)
        if kind == "I" and isinstance(test.right, s.Literal) and test.right.value == 0:
            code.jump(0x99 + used, label, pops=1)
            return
        self.value_as(test.right, "Z" if right == "Z" else kind)
        if kind == "I":
            code.jump(0x9F + used, label, pops=2)
            return
        # NaN makes every comparison but != false: of the two instructions, the one that then says so.
        opcode = {"J": 0x94, "F": 0x95, "D": 0x97}[kind] + (kind != "J" and operator in ("<", "<="))
        code.op(opcode, pops=2, push="I")
        code.jump(0x99 + used, label, pops=1)

    # --- assignments ---

    def _assign(self, value: s.Assign, *, wanted: bool) -> str:
        target = value.target
        if value.operator == "+" and self.type_of(target) == STRING:
            value = s.Assign(target, "", s.Binary("+", target, value.value))
        if isinstance(target, s.Name) and (local := self.code.variable(target.name)):
            return self._assign_local(value, local.type, local.place, wanted=wanted)
        if isinstance(target, s.Index):
            kind = self.value(target.array)[1:]
            self.value_as(target.index, "I")
            if value.operator:
                self.code.duplicated(DUP2, tuple(self.code.stack[-2:]))
                self.code.op(0x2E + ELEMENTS.get(kind, 4), pops=2, push=kind)
            self._new_value(value, kind, wanted=wanted, below=2)
            self.code.op(0x4F + ELEMENTS.get(kind, 4), pops=3)
            return kind
        assert isinstance(target, (s.Name, s.Select))
        field = self.field(target)
        index = _two(self.code.pool.member(9, field.owner, field.name, field.descriptor))
        if not field.static:
            self._object_of(target)
        if value.operator:
            if not field.static:
                self.code.duplicated(DUP, (self.code.stack[-1],))
            self.code.op(GET_STATIC if field.static else GET_FIELD, index, 0 if field.static else 1, field.descriptor)
        self._new_value(value, field.descriptor, wanted=wanted, below=0 if field.static else 1)
        self.code.op(PUT_STATIC if field.static else PUT_FIELD, index, 1 if field.static else 2)
        return field.descriptor

    def _assign_local(self, value: s.Assign, kind: str, place: int, *, wanted: bool) -> str:
        step = value.value
        small = isinstance(step, s.Literal) and isinstance(step.value, int) and -127 <= step.value <= 127
        if kind == "I" and value.operator in ("+", "-") and small and place < 256:
            assert isinstance(step, s.Literal)
            assert isinstance(step.value, int)
            change = step.value if value.operator == "+" else -step.value
            if wanted and value.after:
                self._local(0x15, 0x1A, kind, place, push=kind)
            self.code.op(0x84, struct.pack(">Bb", place, change))
            if wanted and not value.after:
                self._local(0x15, 0x1A, kind, place, push=kind)
            return kind
        if value.operator:
            self._local(0x15, 0x1A, kind, place, push=kind)
        self._new_value(value, kind, wanted=wanted, below=0)
        self._local(0x36, 0x3B, kind, place, pops=1)
        return kind

    def _new_value(self, value: s.Assign, kind: str, *, wanted: bool, below: int) -> None:
        """Leave what is stored; what the expression is worth, if that is wanted, lies below the `below` operands."""
        if not value.operator:
            self.value_as(value.value, kind)
        else:
            if wanted and value.after:
                self._copy(kind, below)
            used = promoted(kind) if value.operator in SHIFTS else promoted(kind, self.type_of(value.value))
            if kind == "Z":
                used = "Z"
            self.convert(kind, used)
            self.value_as(value.value, "I" if value.operator in SHIFTS else used)
            self._operate(value.operator, used)
            self.convert(used, kind)
        if wanted and not value.after:
            self._copy(kind, below)

    def _copy(self, kind: str, below: int) -> None:
        table = (DUP2, DUP2_X1, DUP2_X2) if kind in WIDE else (DUP, DUP_X1, DUP_X2)
        stack = self.code.stack
        stack.insert(len(stack) - 1 - below, kind)
        self.code.duplicated(table[below], ())


def _class(kind: str) -> str:
    return kind[1:-1] if kind[0] == "L" else kind
