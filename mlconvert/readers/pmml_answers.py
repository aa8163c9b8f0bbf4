"""What an evaluator of PMML answers, under mlconvert's names: the document's fields, in the model's own order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlconvert.converter import Session
from mlconvert.errors import ConversionFailed, ParityFailed
from mlconvert.readers.pmml_evaluator import Evaluator
from mlconvert.readers.pmml_notes import PmmlNote
from mlconvert.signature import Signature, TensorSpec

if TYPE_CHECKING:
    import numpy as np

_NUMBERS = ("double", "float", "integer")
_DTYPES = {"double": "float64", "float": "float64", "integer": "int64", "string": "string", "boolean": "bool"}


def session_of(evaluator: Evaluator, note: PmmlNote | None) -> Session:
    """A session that takes and gives what the note says; without one, what the document itself shows.

    Raises ConversionFailed where note and document do not go together, and for a document of another maker's that is
    neither a classification with probabilities nor a regression. Its `run` raises ParityFailed for a row that the
    document gives no answer to.
    """
    told = note or note_from_fields(evaluator)
    names = [spec.name for spec in told.signature.outputs]
    labels = _labels(evaluator, told) if "label" in names else {}

    failed: list[ParityFailed] = []

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if failed:  # asked again for fewer rows, it would answer those, as if their number were the reason
            raise failed[0]
        try:
            answers = evaluator.evaluate(_columns(evaluator, told, inputs))
            return {spec.name: _output(evaluator, spec, answers, labels) for spec in told.signature.outputs}
        except ParityFailed as error:
            error.where = ", ".join(names)  # of the outputs: a row without an answer has none of them
            failed.append(error)
            raise

    return Session(told.signature, run)


def note_from_fields(evaluator: Evaluator) -> PmmlNote:
    """What a document of another maker's takes and gives: one matrix where all its fields are numbers."""
    fields = tuple(field.name for field in evaluator.inputs)
    unknown = next((field for field in evaluator.inputs if field.dtype not in _DTYPES), None)
    if unknown:
        what = f"the field '{unknown.name}' of the PMML document is of the type {unknown.dtype}"
        raise ConversionFailed(what, where=evaluator.where, hint=f"types that can be sent: {', '.join(_DTYPES)}")
    if all(field.dtype in _NUMBERS for field in evaluator.inputs):
        inputs: tuple[TensorSpec, ...] = (TensorSpec("input", "float64", ("batch", len(fields)), fields),)
    else:
        inputs = tuple(TensorSpec(field.name, _DTYPES[field.dtype], ("batch", 1)) for field in evaluator.inputs)
    target = evaluator.targets[0] if evaluator.targets else None
    if target and target.categories and evaluator.probabilities:
        classes = target.categories
        whole = all(isinstance(value, int) for value in classes)
        kept = tuple(int(value) for value in classes) if whole else tuple(map(str, classes))
        label = TensorSpec("label", "int64" if whole else "string", ("batch",))
        probabilities = TensorSpec("probabilities", "float64", ("batch", len(evaluator.probabilities)))
        return PmmlNote(Signature(inputs, (label, probabilities)), fields, kept)
    if target and not target.categories:
        values = TensorSpec("variable", "float64", ("batch", len(evaluator.targets)))
        return PmmlNote(Signature(inputs, (values,)), fields)
    what = "the PMML document is neither a regression nor a classification with probabilities"
    raise ConversionFailed(what, where=evaluator.where, hint="that is what mlconvert can compare")


def _labels(evaluator: Evaluator, note: PmmlNote) -> dict[Any, int | str]:
    categories = evaluator.targets[0].categories if evaluator.targets else ()
    if len(categories) != len(note.classes) or len(evaluator.probabilities) not in (0, len(note.classes)):
        what = f"the PMML document has the classes {list(categories)}, and its note says {list(note.classes)}"
        raise ConversionFailed(what, where=evaluator.where, hint="convert the model again")
    return dict(zip(categories, note.classes, strict=True))


def _columns(evaluator: Evaluator, note: PmmlNote, inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The rows by the names of the fields; what the document does not use is not sent."""
    if len(note.signature.inputs) == 1 and note.signature.inputs[0].name == "input":
        columns: dict[str, Any] = dict(zip(note.fields, inputs["input"].T, strict=True))
    else:
        specs = zip(note.fields, note.signature.inputs, strict=True)
        columns = {field: inputs[spec.name].reshape(-1) for field, spec in specs}
    used = [field for field in columns if field in {own.name for own in evaluator.inputs}]
    sent = {field: columns[field] for field in used}
    # Where nothing is used the number of rows still has to arrive.
    return sent or dict(list(columns.items())[:1])


def _output(
    evaluator: Evaluator, spec: TensorSpec, answers: Mapping[str, Any], labels: Mapping[Any, int | str]
) -> np.ndarray:
    import numpy as np

    if spec.name == "label":
        found = list(answers[evaluator.targets[0].name])
        strange = next((number for number, value in enumerate(found) if value not in labels), None)
        if strange is not None:
            row = evaluator.answered - len(found) + strange
            raise ParityFailed(
                f"the evaluator gives row {row} of the samples no class of the model's: {found[strange]!r}"
            )
        return np.array([labels[value] for value in found], dtype=np.str_ if spec.dtype == "string" else np.int64)
    names = evaluator.probabilities if spec.name == "probabilities" else [field.name for field in evaluator.targets]
    return np.stack([np.asarray(answers[name], dtype=spec.dtype) for name in names], axis=1)
