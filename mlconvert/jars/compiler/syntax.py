"""What a source says: expressions, statements, members. Types are descriptors: `D`, `[I`, `Ljava/lang/String;`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

Type = str
NULL: Type = "N"  # the type of null

# --- expressions ---


@dataclass(frozen=True)
class Literal:
    value: int | float | str | bool | None
    type: Type


@dataclass(frozen=True)
class Name:
    """A local variable, a field of the class itself, or a class."""

    name: str
    line: int


@dataclass(frozen=True)
class Select:
    """`target.name`: a field, or the length of an array."""

    target: Expression
    name: str
    line: int


@dataclass(frozen=True)
class Index:
    array: Expression
    index: Expression


@dataclass(frozen=True)
class Call:
    """`target` is None for a method of the class itself; `super(...)` and `this(...)` have these names."""

    target: Expression | None
    name: str
    arguments: tuple[Expression, ...]
    line: int


@dataclass(frozen=True)
class New:
    type: Type
    arguments: tuple[Expression, ...]
    line: int


@dataclass(frozen=True)
class NewArray:
    """Either a length or the elements; `type` is the array's."""

    type: Type
    length: Expression | None
    elements: tuple[Expression, ...] = ()


@dataclass(frozen=True)
class Unary:
    operator: str  # - ! ~
    value: Expression


@dataclass(frozen=True)
class Binary:
    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True)
class Assign:
    """`target = value`, or with an operator: `target += value`; `x++` is `x += 1` whose value is not used."""

    target: Expression
    operator: str
    value: Expression
    after: bool = False  # the value of the expression is that from before: `x++`


@dataclass(frozen=True)
class Conditional:
    test: Expression
    then: Expression
    otherwise: Expression


@dataclass(frozen=True)
class Cast:
    type: Type
    value: Expression


@dataclass(frozen=True)
class InstanceOf:
    value: Expression
    type: Type


Expression: TypeAlias = (
    "Literal | Name | Select | Index | Call | New | NewArray | Unary | Binary | Assign | Conditional | Cast | "
    "InstanceOf"
)

# --- statements ---


@dataclass(frozen=True)
class Local:
    type: Type
    name: str
    value: Expression | None
    line: int


@dataclass(frozen=True)
class Evaluate:
    value: Expression
    line: int


@dataclass(frozen=True)
class Block:
    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class If:
    test: Expression
    then: Statement
    otherwise: Statement | None
    line: int


@dataclass(frozen=True)
class Loop:
    """`for`; `while` is one without start and step. `first`: the test comes after the body (`do`)."""

    start: Statement | None
    test: Expression | None
    steps: tuple[Expression, ...]
    body: Statement
    line: int
    first: bool = False


@dataclass(frozen=True)
class Jump:
    kind: str  # break, continue
    line: int


@dataclass(frozen=True)
class Return:
    value: Expression | None
    line: int


@dataclass(frozen=True)
class Throw:
    value: Expression
    line: int


@dataclass(frozen=True)
class Try:
    body: Block
    handlers: tuple[tuple[Type, str, Block], ...]
    line: int


Statement: TypeAlias = "Local | Evaluate | Block | If | Loop | Jump | Return | Throw | Try"

# --- members ---


@dataclass(frozen=True)
class Field:
    modifiers: frozenset[str]
    type: Type
    name: str
    value: Expression | None
    line: int


@dataclass(frozen=True)
class Method:
    modifiers: frozenset[str]
    name: str  # <init> for a constructor, <clinit> for a static block
    parameters: tuple[tuple[Type, str], ...]
    result: Type
    body: Block
    line: int

    @property
    def descriptor(self) -> str:
        return f"({''.join(kind for kind, _ in self.parameters)}){self.result}"


@dataclass(frozen=True)
class ClassDeclaration:
    name: str  # package/Name
    modifiers: frozenset[str]
    interfaces: tuple[str, ...]
    fields: tuple[Field, ...]
    methods: tuple[Method, ...]
    names: Mapping[str, str]  # simple names of classes -> package/Name
