"""The names that a jar can have: of its class, and of its version."""

from __future__ import annotations

import re

from mlconvert.errors import UsageError
from mlconvert.jars.compiler.library import KNOWN

MAIN = "Main"
KEYWORDS = (
    "abstract assert boolean break byte case catch char class const continue default do double else enum extends "
    "final finally float for goto if implements import instanceof int interface long native new package private "
    "protected public return short static strictfp super switch synchronized this throw throws transient try void "
    "volatile while true false null"
)


def names_of(class_name: str) -> tuple[str, str]:
    """The package and the class; raises UsageError for a name that Java, or the class's own code, has no room for."""
    *packages, simple = parts = class_name.split(".")
    words = all(re.fullmatch(r"[A-Za-z_]\w*", part, re.ASCII) and part not in KEYWORDS.split() for part in parts)
    if not packages or not words or packages[0] == "java":
        what = f"'{class_name}' is no full name that a Java class of yours can have"
        raise UsageError(what, hint="give a package and a name: --set jar.class_name=com.example.Churn")
    if simple == MAIN or simple in (name.rpartition("/")[2] for name in KNOWN):
        what = f"the class cannot be called {simple}: the jar has, or needs, another one of that name"
        raise UsageError(what, hint="choose another name: --set jar.class_name=com.example.Churn")
    return ".".join(packages), simple


def check_version(version: str) -> None:
    """Raise UsageError for what a manifest and a pom cannot have."""
    if not re.fullmatch(r"[\w.+-]{1,60}", version, re.ASCII):
        raise UsageError(f"'{version}' is no version", hint="use letters, digits and . + - _: --set jar.version=1.2")
