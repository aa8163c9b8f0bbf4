"""The options that every step to a jar has, so that they are the same everywhere."""

from __future__ import annotations

from typing import Annotated, Literal

Style = Annotated[
    Literal["arrays", "code"], "arrays in a resource that a loop walks, or trees as Java code, which is larger"
]
ClassName = Annotated[str, "the full name of the class, such as com.example.Churn"]
Version = Annotated[str, "of the jar, in its manifest and its pom"]
Via = Annotated[
    Literal["own", "pmml"], "own: needs nothing but Java; pmml: by sklearn2pmml and JPMML's transpiler (AGPL-3.0)"
]
Seconds = Annotated[float, "of via=pmml, for each program that is run; 0: as long as it takes"]
Memory = Annotated[int, "of via=pmml, the memory of each JVM in MiB; 0: as much as it takes"]
