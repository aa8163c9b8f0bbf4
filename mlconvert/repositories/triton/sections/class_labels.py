"""label_filename: the names of an output's classes, for clients that ask for the best classes by name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from mlconvert.errors import RepositoryInvalid, UsageError, suggest
from mlconvert.repositories.triton.description import Draft, digest_name
from mlconvert.signature import TensorSpec


def class_labels(
    draft: Draft,
    *,
    class_labels: Annotated[
        dict[str, str],
        "files with the classes' names, one a line, of outputs: probabilities=classes.txt (default: the names that the "
        "converter knows)",
    ] = {},  # noqa: B006
) -> None:
    """The files are copied beside the configuration."""
    specs = {spec.name: spec for spec in draft.signature.outputs}
    if not class_labels:
        _fill_known(draft)
    for output, location in class_labels.items():
        if output not in specs or output not in {tensor.name for tensor in draft.config.output}:
            raise UsageError(
                f"class_labels: the model has no output '{output}'.{suggest(output, specs)}",
                hint=f"outputs: {', '.join(specs)}",
            )
        try:
            content = Path(location).read_bytes()
            names = content.decode("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise UsageError(f"class_labels: the file cannot be read: {reason}", where=location) from error
        _fill(draft, specs[output], names, where=location)


def _fill_known(draft: Draft) -> None:
    """Where the converter has put down the classes, and one output alone has a number for each."""
    classes = draft.artifact.facts.get("classes", ()) if draft.artifact else ()
    names = [str(name) for name in classes]
    fitting = [spec for spec in draft.signature.outputs if _scores(spec) == len(names)]
    if names and len(fitting) == 1 and not any("\n" in name or "\r" in name for name in names):
        _fill(draft, fitting[0], names, where=None)


def _scores(spec: TensorSpec) -> int | None:
    last = spec.shape[-1] if len(spec.shape) > 1 else None
    return last if isinstance(last, int) and spec.dtype.startswith("float") else None


def _fill(draft: Draft, spec: TensorSpec, names: list[str], *, where: str | None) -> None:
    if spec.dtype == "string":
        raise RepositoryInvalid(f"output '{spec.name}' is strings already: class labels are for numbers", where=where)
    last = spec.shape[-1] if spec.shape else 1
    if isinstance(last, int) and last != len(names):
        raise RepositoryInvalid(
            f"class_labels: {len(names)} names for the {last} numbers of output '{spec.name}'", where=where
        )
    content = "".join(f"{name}\n" for name in names).encode()
    path = digest_name("", content, f"{spec.name}-labels.txt")
    draft.files[path] = content
    next(tensor for tensor in draft.config.output if tensor.name == spec.name).label_filename = path
