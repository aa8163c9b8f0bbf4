"""A class file: its fields, its methods and what they need (The Java Virtual Machine Specification, Java SE 8, 4.1)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from mlconvert.jars.compiler import syntax as s
from mlconvert.jars.compiler.code import Code
from mlconvert.jars.compiler.constants import ConstantPool
from mlconvert.jars.compiler.library import Library
from mlconvert.jars.compiler.statements import Statements

VERSION = 52  # Java 8
MAGIC = 0xCAFEBABE
FLAGS = {"public": 0x0001, "private": 0x0002, "protected": 0x0004, "static": 0x0008, "final": 0x0010}
SUPER = 0x0020
LIMIT = 65_535  # bytes of a method


def write_class(declared: s.ClassDeclaration, library: Library) -> bytes:
    """The bytes of the class file; raises ValueError for what the compiler does not know."""
    pool = ConstantPool()
    constants = {one.name: one.value for one in declared.fields if _is_constant(one)}
    methods = [_method(one, declared, library, pool, constants) for one in _all_methods(declared)]
    fields = [_field(one, pool, constants) for one in declared.fields]
    own, parent = pool.cls(declared.name), pool.cls("java/lang/Object")
    interfaces = [struct.pack(">H", pool.cls(name)) for name in declared.interfaces]
    simple = declared.name.rpartition("/")[2]
    attribute = _attribute(pool, "SourceFile", struct.pack(">H", pool.text(f"{simple}.java")))
    return b"".join([
        struct.pack(">IHH", MAGIC, 0, VERSION),
        pool.to_bytes(),
        struct.pack(">HHH", _flags(declared.modifiers) | SUPER, own, parent),
        _counted(interfaces),
        _counted(fields),
        _counted(methods),
        _counted([attribute]),
    ])  # fmt: skip


def _all_methods(declared: s.ClassDeclaration) -> list[s.Method]:
    """The methods with what Java adds: a constructor where there is none, one method of all that is static."""
    found = [one for one in declared.methods if one.name != "<clinit>"]
    if not any(one.name == "<init>" for one in found):
        found.insert(0, s.Method(frozenset({"public"}), "<init>", (), "V", s.Block(()), 1))
    for one in declared.fields:
        if one.value is not None and "static" not in one.modifiers:
            raise ValueError(f"line {one.line}: {one.name} of an object gets its value in a constructor, not here")
    starts: list[s.Statement] = [
        s.Evaluate(s.Assign(s.Name(one.name, one.line), "", one.value), one.line)
        for one in declared.fields
        if one.value is not None and not _is_constant(one)
    ]
    starts += [one.body for one in declared.methods if one.name == "<clinit>"]
    if starts:
        found.append(s.Method(frozenset({"static"}), "<clinit>", (), "V", s.Block(tuple(starts)), 1))
    return found


def _is_constant(one: s.Field) -> bool:
    return {"static", "final"} <= one.modifiers and isinstance(one.value, s.Literal) and one.type[0] != "["


def _flags(modifiers: frozenset[str]) -> int:
    return sum(FLAGS[name] for name in modifiers)


def _counted(items: list[bytes]) -> bytes:
    return struct.pack(">H", len(items)) + b"".join(items)


def _attribute(pool: ConstantPool, name: str, data: bytes) -> bytes:
    return struct.pack(">HI", pool.text(name), len(data)) + data


def _field(one: s.Field, pool: ConstantPool, constants: Mapping[str, s.Expression | None]) -> bytes:
    attributes = []
    value = constants.get(one.name)
    if isinstance(value, s.Literal):
        index = _constant(pool, one.type, value.value)
        attributes.append(_attribute(pool, "ConstantValue", struct.pack(">H", index)))
    return struct.pack(">HHH", _flags(one.modifiers), pool.text(one.name), pool.text(one.type)) + _counted(attributes)


def _constant(pool: ConstantPool, kind: str, value: Any) -> int:
    if kind == "D":
        return pool.double(value)
    if kind == "F":
        return pool.single(value)
    if kind == "J":
        return pool.long(value)
    return pool.string(value) if isinstance(value, str) else pool.integer(int(value))


def _method(
    one: s.Method,
    declared: s.ClassDeclaration,
    library: Library,
    pool: ConstantPool,
    constants: Mapping[str, s.Expression | None],
) -> bytes:
    code = Code(pool)
    statements = Statements(code, declared, library, one, constants)
    try:
        statements.write()
    except ValueError as error:
        raise ValueError(f"{declared.name}.{one.name}: {error}") from error
    if len(code.bytes) > LIMIT:
        raise ValueError(f"{declared.name}.{one.name} takes {len(code.bytes):,} bytes, and Java allows {LIMIT:,}")
    whole = _attribute(pool, "Code", _code(code, pool))
    return struct.pack(">HHH", _flags(one.modifiers), pool.text(one.name), pool.text(one.descriptor)) + _counted(
        [whole]
    )


def _code(code: Code, pool: ConstantPool) -> bytes:
    handlers = [struct.pack(">HHHH", *row) for row in code.handlers]
    attributes = [
        _attribute(pool, "LineNumberTable", _counted([struct.pack(">HH", at, line) for at, line in code.lines]))
    ]
    if code.frames:
        attributes.append(_attribute(pool, "StackMapTable", code.stack_map()))
    return b"".join([
        struct.pack(">HHI", code.most_stack, code.most_locals, len(code.bytes)),
        bytes(code.bytes),
        _counted(handlers),
        _counted(attributes),
    ])  # fmt: skip
