"""A model as a jar, its sources as another beside it, and a pom."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed
from mlconvert.forests.model import check_forest
from mlconvert.formats.jar import BESIDE, DESCRIPTOR, SCHEMA
from mlconvert.jars.archive import MANIFEST, manifest, pom, write_zip
from mlconvert.jars.compiler import compile_java
from mlconvert.jars.contents import Style, contents
from mlconvert.jars.model import JarModel, answers_of
from mlconvert.jars.naming import MAIN, check_version, names_of
from mlconvert.jars.template import fill
from mlconvert.jars.verification import ROWS, verification_rows
from mlconvert.signature import Signature, TensorSpec


def write_jar(
    model: JarModel,
    target: Path,
    *,
    signature: Signature | None = None,
    style: Style = "arrays",
    class_name: str = "model.Model",
    version: str = "1",
    where: str = "",
) -> Artifact:
    """Write `target`, and beside it `<target>.sources.jar` and `<target>.pom`.

    The jar holds the class `class_name`, a class `Main` beside it and what they read, and depends on nothing but Java
    8 or later. The same model gives the same bytes. Raises ConversionFailed, with a way out, for a model that is too
    large for a jar, UsageError for a name that is none of a class, or a version that is none.
    """
    check_forest(model.trees.forest)
    package, simple = names_of(class_name)
    check_version(version)
    signature = signature or signature_of(model)
    made = contents(model, style, package, simple, where)
    texts = {**made.texts, "package": package, "simple": simple, "main": MAIN, "title": title_of(model), "rows": ROWS}
    sources = {
        simple: fill("Model", texts, made.flags),
        MAIN: fill("Main", texts, made.flags),
        **made.sources,
    }
    folder, title = package.replace(".", "/"), title_of(model)
    project = pom(package, simple.lower(), version, title)
    entries = {
        **_about(model, signature, style, class_name, version),
        f"META-INF/maven/{package}/{simple.lower()}/pom.xml": project,
        f"{folder}/{simple}.bin": made.resource,
        f"{folder}/{simple}.rows": verification_rows(model),
        **_classes(sources.values(), where),
    }
    beside = {f"{folder}/{name}.java": source.encode() for name, source in sources.items()}
    more = tuple(target.with_name(target.name + suffix) for suffix in BESIDE)
    write_zip(more[0], {MANIFEST: manifest({"Created-By": "mlconvert"}), **beside})
    more[1].write_bytes(project)
    write_zip(target, entries)
    # A jar is a program, and whoever runs one has to trust it: this one was made here.
    facts = _facts(model, style, class_name)
    return Artifact("jar", str(target), (target, *more), signature, trusted=True, facts=facts)


def _classes(sources: Iterable[str], where: str) -> dict[str, bytes]:
    try:
        return {f"{name}.class": data for name, data in compile_java(sources).items()}
    except ValueError as error:  # the limits of a method and of a class
        what = f"the model does not fit into Java's classes: {error}"
        hint = "leave out --set jar.style=code, or use --to onnx"
        raise ConversionFailed(what, where=where, hint=hint) from error


def _about(model: JarModel, signature: Signature, style: Style, class_name: str, version: str) -> dict[str, bytes]:
    """The entries that say what the jar is: to Java, to Maven and to mlconvert."""
    package, _, simple = class_name.rpartition(".")
    descriptor = {
        "schema": SCHEMA,
        "kind": style,
        "class": class_name,
        "main": f"{package}.{MAIN}",
        "features": list(model.names),
        "texts": sorted(model.texts),
        "classes": list(model.trees.classes),
        "answers": answers_of(model),
        "signature": signature.as_json(),
    }
    lines = {
        "Main-Class": f"{package}.{MAIN}",
        "Automatic-Module-Name": package,
        "Implementation-Title": class_name,
        "Implementation-Version": version,
        "Created-By": "mlconvert",
    }
    properties = f"artifactId={simple.lower()}\ngroupId={package}\nversion={version}\n"
    return {
        MANIFEST: manifest(lines),
        DESCRIPTOR: json.dumps(descriptor, indent=1, ensure_ascii=False).encode(),
        f"META-INF/maven/{package}/{simple.lower()}/pom.properties": properties.encode(),
    }


def _facts(model: JarModel, style: Style, class_name: str) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "precision": model.trees.arithmetic,
        "class": class_name,
        "style": style,
        "java": "8 or later",
    }
    if model.trees.arithmetic == "float32":
        from mlconvert.forests.onnx_file import SAME_SUMS

        facts["tolerance"] = SAME_SUMS
    return facts


def signature_of(model: JarModel) -> Signature:
    """One matrix `input`, and the outputs as the ONNX file of the same trees has them."""
    tree_model = model.trees
    floats = tree_model.arithmetic
    text = bool(tree_model.classes) and isinstance(tree_model.classes[0], str)
    outputs = [
        TensorSpec("label", "string" if text else "int64", ("batch",))
        if name == "label"
        else TensorSpec(name, floats, ("batch", width))
        for name, width in answers_of(model)
    ]
    return Signature((TensorSpec("input", "float64", ("batch", len(model.names)), model.names),), tuple(outputs))


def title_of(model: JarModel) -> str:
    """What the model is, in a sentence."""
    forest = model.trees.forest
    what = f"{forest.trees:,} trees" if len(forest.feature) else "linear sums"
    if model.trees.task == "value":
        given = "a value" if model.trees.outputs == 1 else f"{model.trees.outputs} values"
    elif model.trees.task == "outlier":
        given = "whether a row is an outlier"
    else:
        given = f"one of {len(model.trees.classes)} classes"
    return f"A model of {what} over {len(model.names)} features that predicts {given}; made by mlconvert."
