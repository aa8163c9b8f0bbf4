"""The runner of PMML, on documents of other makers: what they take and give, and a JVM that ends in the middle."""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed, OutOfResources, ParityFailed
from mlconvert.readers.pmml_evaluator import load_document
from mlconvert.runners import pmml as runner

DOCUMENT = """<?xml version="1.0"?>
<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/><DataDictionary>{fields}</DataDictionary>
<RegressionModel functionName="{function}"><MiningSchema>{mining}</MiningSchema>{rest}</RegressionModel></PMML>
"""
NUMBER = '<DataField name="{}" optype="continuous" dataType="double"/>'
WORD = (
    '<DataField name="{}" optype="categorical" dataType="string"><Value value="no"/><Value value="ja, sí"/></DataField>'
)
VALUE = """<RegressionTable intercept="1"><NumericPredictor name="b" coefficient="2"/>
<CategoricalPredictor name="c" value="ja, sí" coefficient="10"/></RegressionTable>"""
CLASSES = """<Output><OutputField name="probability(no)" optype="continuous" dataType="double" feature="probability"
value="no"/><OutputField name="probability(ja)" optype="continuous" dataType="double" feature="probability"
value="ja, sí"/></Output><RegressionTable intercept="0" targetCategory="no"/><RegressionTable intercept="0"
targetCategory="ja, sí"><NumericPredictor name="a" coefficient="1"/></RegressionTable>"""


def document(folder: Path, text: str) -> Artifact:
    path = folder / "m.pmml"
    path.write_text(text, encoding="utf-8")
    return Artifact("pmml", str(path), (path,))


def regression(folder: Path) -> Artifact:
    fields = NUMBER.format("y") + NUMBER.format("b") + WORD.format("c")
    mining = '<MiningField name="y" usageType="target"/><MiningField name="b"/><MiningField name="c"/>'
    return document(folder, DOCUMENT.format(fields=fields, function="regression", mining=mining, rest=VALUE))


def classification(folder: Path, rest: str = CLASSES) -> Artifact:
    fields, mining = (
        WORD.format("y") + NUMBER.format("a"),
        '<MiningField name="y" usageType="target"/><MiningField name="a"/>',
    )
    function = 'classification" normalizationMethod="softmax'
    return document(folder, DOCUMENT.format(fields=fields, function=function, mining=mining, rest=rest))


def test_columns_of_text_are_inputs_of_their_own(tmp_path):
    made = regression(tmp_path)
    session = runner.load(made)
    assert session.signature == runner.signature(made)
    assert [str(spec) for spec in session.signature.inputs] == ["b: float64[batch, 1]", "c: string[batch, 1]"]
    rows = {"b": np.array([[0.5], [1.0], [2.0]]), "c": np.array([["no"], ["ja, sí"], ["no"]])}
    np.testing.assert_array_equal(session.run(rows)["variable"], [[2.0], [13.0], [5.0]])
    with pytest.raises(ParityFailed, match="refuses row 4 of the samples") as raised:
        session.run({"b": np.array([[0.5], [1.0]]), "c": np.array([["no"], ["unseen"]])})
    assert raised.value.where == "variable"
    with pytest.raises(ParityFailed, match="refuses row 4"):  # and not: "its batch axis is frozen"
        session.run({name: values[:1] for name, values in rows.items()})


def test_a_classification_gives_labels_and_probabilities(tmp_path):
    session = runner.load(classification(tmp_path))
    assert [str(spec) for spec in session.signature.inputs] == ["input: float64[batch, 1]"]
    answers = session.run({"input": np.array([[0.0], [np.log(3)]])})
    assert answers["label"].tolist()[1] == "ja, sí"
    np.testing.assert_allclose(answers["probabilities"], [[0.5, 0.5], [0.25, 0.75]], rtol=1e-15)


def test_a_row_without_an_answer_is_no_parity(tmp_path):
    session = runner.load(classification(tmp_path))
    with pytest.raises(ParityFailed, match="gives row 1 of the samples no class of the model's: nan") as raised:
        session.run({"input": np.array([[1.0], [np.nan]])})
    assert raised.value.where == "label, probabilities"
    with pytest.raises(ParityFailed, match="gives row 1"):  # and not: "its batch axis is frozen"
        session.run({"input": np.array([[1.0]])})


def test_what_cannot_be_compared_or_read_is_named(tmp_path):
    without = CLASSES[CLASSES.index("</Output>") + len("</Output>") :]
    with pytest.raises(ConversionFailed, match="neither a regression nor a classification with probabilities"):
        runner.signature(classification(tmp_path, without))
    with pytest.raises(ConversionFailed, match="JPMML-Evaluator: "):
        runner.load(document(tmp_path, "<PMML><Head"))


@pytest.mark.parametrize(
    ("number", "kind", "reason"),
    [(signal.SIGKILL, OutOfResources, "SIGKILL"), (signal.SIGTERM, ConversionFailed, "the JVM ended with status 143")],
)
def test_a_jvm_that_dies_is_told(number, kind, reason, tmp_path):
    session = runner.load(classification(tmp_path))
    rows = {"input": np.ones((2, 1))}
    session.run(rows)
    evaluator: Any = session.run.__closure__  # type: ignore[attr-defined]
    jvm = next(cell.cell_contents for cell in evaluator if type(cell.cell_contents).__name__ == "Evaluator").jvm
    os.kill(jvm.process.pid, number)
    jvm.process.wait(30)
    with pytest.raises(kind, match=reason):
        session.run(rows)


def test_the_jvm_ends_with_the_evaluator(tmp_path):
    evaluator = load_document(classification(tmp_path).path)
    process = evaluator.jvm.process
    assert process.poll() is None
    del evaluator
    gc.collect()
    assert process.wait(30) is not None


def test_too_little_memory_is_told(tmp_path):
    with pytest.raises(OutOfResources, match="memory"):
        load_document(classification(tmp_path).path, memory_mib=3)
