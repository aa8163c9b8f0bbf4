"""What is known of classes: those of the JDK that the sources use, and the sources' own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import resources

from mlconvert.jars.compiler.syntax import NULL, ClassDeclaration

INTERFACES = frozenset({"java/util/function/Function"})
WIDER = {"B": "SIJFD", "S": "IJFD", "C": "IJFD", "I": "JFD", "J": "FD", "F": "D"}


@dataclass(frozen=True)
class Member:
    owner: str
    name: str
    descriptor: str
    static: bool


@dataclass
class Known:
    """What a class has; `parents`, the class it extends first."""

    parents: tuple[str, ...]
    methods: dict[str, list[Member]] = field(default_factory=dict)
    fields: dict[str, Member] = field(default_factory=dict)


def _read() -> dict[str, Known]:
    """Of jdk.txt: a class, its parents, its members. Methods `name(types)result`, fields `name:type`; S: static."""
    found = {}
    table = resources.files("mlconvert.jars.compiler").joinpath("jdk.txt").read_text(encoding="utf-8")
    for row in table.splitlines():
        name, parents, members = (part.strip() for part in row.split("|"))
        known = Known(tuple(parents.split()))
        for member in members.split():
            static, text = member.startswith("S:"), member.removeprefix("S:")
            if "(" in text:
                own, _, descriptor = text.partition("(")
                known.methods.setdefault(own, []).append(Member(name, own, f"({descriptor}", static))
            else:
                own, _, descriptor = text.partition(":")
                known.fields[own] = Member(name, own, descriptor, static)
        found[name] = known
    return found


KNOWN = _read()


def parameters(descriptor: str) -> list[str]:
    """The types between the parentheses of a method's descriptor."""
    found, at = [], 1
    while descriptor[at] != ")":
        start = at
        while descriptor[at] == "[":
            at += 1
        at = descriptor.index(";", at) + 1 if descriptor[at] == "L" else at + 1
        found.append(descriptor[start:at])
    return found


class Library:
    """The JDK's classes and those of the sources."""

    def __init__(self, classes: Iterable[ClassDeclaration]) -> None:
        self.known = dict(KNOWN)
        for declared in classes:
            own = Known(("java/lang/Object", *declared.interfaces))
            for method in declared.methods:
                member = Member(declared.name, method.name, method.descriptor, "static" in method.modifiers)
                own.methods.setdefault(method.name, []).append(member)
            own.methods.setdefault("<init>", [Member(declared.name, "<init>", "()V", static=False)])
            for one in declared.fields:
                own.fields[one.name] = Member(declared.name, one.name, one.type, "static" in one.modifiers)
            self.known[declared.name] = own

    def parents(self, name: str) -> Iterator[str]:
        """The class and all that it extends or implements, nearest first."""
        yield name
        for parent in self.known[name].parents if name in self.known else ():
            yield from self.parents(parent)

    def field(self, owner: str, name: str) -> Member | None:
        return self.known[owner].fields.get(name) if owner in self.known else None

    def method(self, owner: str, name: str, arguments: list[str]) -> Member | None:
        """The method that takes these arguments: one with just these types, else the first that they can become."""
        fitting = []
        for cls in self.parents(owner) if name != "<init>" else (owner,):
            for member in self.known[cls].methods.get(name, ()) if cls in self.known else ():
                taken = parameters(member.descriptor)
                if taken == arguments:
                    return member
                if len(taken) == len(arguments) and all(map(self.becomes, arguments, taken)):
                    fitting.append(member)
        return fitting[0] if fitting else None

    def becomes(self, given: str, wanted: str) -> bool:
        """Whether a value of one type can be given where another is wanted, without a cast."""
        if given == wanted:
            return True
        if given in WIDER:
            return wanted in WIDER[given]
        if wanted[0] not in "L[":
            return False
        if given == NULL or wanted == "Ljava/lang/Object;":
            return given[0] in "L[N"
        if given[0] == wanted[0] == "[" and given[1] in "L[":
            return self.becomes(given[1:], wanted[1:])
        return given[0] == "L" and wanted[0] == "L" and wanted[1:-1] in self.parents(given[1:-1])
