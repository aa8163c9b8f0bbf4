"""The types of expressions, without writing code (The Java Language Specification, Java SE 8, chapters 5 and 15)."""

from __future__ import annotations

from collections.abc import Mapping

from mlconvert.jars.compiler import syntax as s
from mlconvert.jars.compiler.code import Code
from mlconvert.jars.compiler.library import Library, Member

STRING = "Ljava/lang/String;"
COMPARISONS = frozenset({"==", "!=", "<", ">", "<=", ">="})
SHIFTS = frozenset({"<<", ">>", ">>>"})


def promoted(one: str, other: str = "I") -> str:
    """The type that two numbers are calculated in."""
    return next((kind for kind in "DFJ" if kind in (one, other)), "I")


class Types:
    """What names mean at a place in a method."""

    def __init__(
        self,
        code: Code,
        declared: s.ClassDeclaration,
        library: Library,
        constants: Mapping[str, s.Expression | None],
    ) -> None:
        self.code = code
        self.declared = declared
        self.library = library
        self.constants = constants

    def type_of(self, value: s.Expression) -> str:
        """The type of an expression; raises ValueError for a name that is not known."""
        match value:
            case s.Literal(type=kind) | s.New(type=kind) | s.NewArray(type=kind) | s.Cast(type=kind):
                return kind
            case s.Name() | s.Select():
                return self._type_of_name(value)
            case s.Index(array=array):
                return self.type_of(array)[1:]
            case s.Call():
                return self.called(value).descriptor.partition(")")[2]
            case s.Unary(operator=operator, value=inner):
                return "Z" if operator == "!" else promoted(self.type_of(inner))
            case s.Binary():
                return self._type_of_binary(value)
            case s.Assign(target=target):
                return self.type_of(target)
            case s.Conditional(then=then, otherwise=otherwise):
                return self._common(self.type_of(then), self.type_of(otherwise))
            case s.InstanceOf():
                return "Z"

    def _type_of_name(self, value: s.Name | s.Select) -> str:
        if isinstance(value, s.Name) and (local := self.code.variable(value.name)):
            return local.type
        if isinstance(value, s.Select) and value.name == "class":
            return "Ljava/lang/Class;"
        if isinstance(value, s.Select) and value.name == "length" and self.class_named(value.target) is None:
            return "I"
        return self.field(value).descriptor

    def _type_of_binary(self, value: s.Binary) -> str:
        operator = value.operator
        if operator in COMPARISONS or operator in ("&&", "||"):
            return "Z"
        left, right = self.type_of(value.left), self.type_of(value.right)
        if operator == "+" and STRING in (left, right):
            return STRING
        if operator in SHIFTS:
            return promoted(left)
        return "Z" if left == right == "Z" else promoted(left, right)

    def _common(self, one: str, other: str) -> str:
        if one == other:
            return one
        if one[0] in "L[N":
            return other if self.library.becomes(one, other) else one
        return promoted(one, other)

    # --- names ---

    def class_named(self, value: s.Expression) -> str | None:
        """The class that an expression names, if it is no variable and no field."""
        if not isinstance(value, s.Name) or self.code.variable(value.name):
            return None
        if self.library.field(self.declared.name, value.name):
            return None
        name = self.declared.names.get(value.name)
        if name is None:
            package = self.declared.name.rpartition("/")[0]
            name = f"{package}/{value.name}" if package else value.name
        return name if name in self.library.known else None

    def field(self, value: s.Name | s.Select) -> Member:
        if isinstance(value, s.Name):
            owner = self.declared.name
        else:
            owner = self.class_named(value.target) or self.type_of(value.target)[1:-1]
        found = self.library.field(owner, value.name)
        if found is None:
            raise ValueError(f"line {value.line}: there is no {value.name} in {owner}")
        return found

    def called(self, value: s.Call | s.New) -> Member:
        """The method, or constructor, that a call means."""
        arguments = [self.type_of(one) for one in value.arguments]
        if isinstance(value, s.New):
            owner, name = value.type[1:-1], "<init>"
        elif value.target is None:
            owner, name = self.declared.name, value.name
            if name in ("super", "this"):
                owner, name = ("java/lang/Object" if name == "super" else owner), "<init>"
        else:
            kind = self.class_named(value.target)
            owner, name = kind or self.type_of(value.target)[1:-1], value.name
        found = self.library.method(owner, name, arguments)
        if found is None:
            raise ValueError(f"line {value.line}: there is no {name}({''.join(arguments)}) in {owner}")
        return found
