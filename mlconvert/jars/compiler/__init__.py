"""A compiler for the part of Java that mlconvert's own classes are written in.

Whoever converts a model has no JDK, and a compiled class is no source: so the classes are kept as Java, and compiled
here. It knows classes with fields and methods, all types, the statements and operators but `switch`, `synchronized`,
`finally`, lambdas, generics (type arguments are read and dropped) and inner classes, and those classes of the JDK that
are listed in jdk.txt. Class files are of version 52, for Java 8 and later, with the frames that the verifier asks for
(The Java Virtual Machine Specification, Java SE 8, chapters 4 and 6). The same sources give the same bytes.

It does not check a program as javac does: it trusts the sources, which the tests also compile with javac.
"""

from __future__ import annotations

from collections.abc import Iterable

from mlconvert.jars.compiler.classes import write_class
from mlconvert.jars.compiler.library import Library
from mlconvert.jars.compiler.parsing import parse


def compile_java(sources: Iterable[str]) -> dict[str, bytes]:
    """The class files of sources that know each other, one public class each: `package/Name` -> bytes.

    Raises ValueError, with the line, for what the compiler does not know, and for a method or a class beyond the
    limits of the format (65,535 bytes of code, 65,535 constants).
    """
    classes = [parse(source) for source in sources]
    library = Library(classes)
    return {declared.name: write_class(declared, library) for declared in classes}
