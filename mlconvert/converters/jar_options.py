"""The options that every step to a jar has, so that they are the same everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from mlconvert.jars.naming import check_version, names_of
from mlconvert.readers.jvm import check_limits

if TYPE_CHECKING:
    from mlconvert.artifact import Artifact

CLASS_NAME, VERSION = "model.Model", "1"
SECONDS = 900.0  # a hundred trees of 31 leaves take a quarter of a minute

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


def check(source: Artifact, options: Mapping[str, Any]) -> None:  # noqa: ARG001 - of any source
    """Raise UsageError for names that a jar cannot have, and limits that are none."""
    names_of(options.get("class_name", CLASS_NAME))
    check_version(options.get("version", VERSION))
    check_limits(options.get("seconds", SECONDS), options.get("memory_mib", 0))
