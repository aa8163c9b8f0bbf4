"""Models timed inside a JVM: the calls that are timed answer as the source does; a JVM that dies is told as such."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mlconvert
from mlconvert.benchmarking.inputs import inputs_of
from mlconvert.benchmarking.ways import ways_of
from mlconvert.errors import ConversionFailed, NotVerified, OutOfResources
from mlconvert.formats import source_artifact
from mlconvert.readers import pmml_notes
from mlconvert.registry import registry
from mlconvert.samples import check_samples, read_samples
from mlconvert.signature import Signature, TensorSpec


@pytest.fixture(scope="module")
def made(trained, tmp_path_factory):
    """A function from a fixture, a format and options to the converted artifact; each is made once."""
    folder, known = tmp_path_factory.mktemp("jvm"), {}

    def convert(name: str, to: str, **options):
        key = (name, to, *options.values())
        if key not in known:
            out = folder / "-".join(key).replace(".", "-") / f"model.{to}"
            out.parent.mkdir()
            rows = trained(name).with_suffix(".csv")
            mlconvert.convert(trained(name), to=to, output=out, options=options, samples=rows, verify=False)
            known[key] = source_artifact(str(out), trusted=True)
        artifact = known[key]
        return replace(artifact, signature=registry().runner(artifact.format).signature(artifact))

    return convert


def opened(trained, artifact, name, way_name="inside the JVM", rows=6, in_batch=9):
    source = source_artifact(str(trained(name)))
    signature = registry().runner(source.format).signature(source)
    samples = check_samples(read_samples(trained(name).with_suffix(".csv"), signature), signature)
    way = next(way for way in ways_of(artifact.format) if way.name == way_name)
    turns = way.open(artifact, 1)(inputs_of(artifact, samples, rows), in_batch)
    right = registry().runner(source.format).load(source).run({key: array[:rows] for key, array in samples.items()})
    return turns, right


@pytest.mark.parametrize(
    ("name", "to", "options"),
    [
        ("breast_cancer.txt", "jar", {}),
        ("breast_cancer.txt", "pmml", {}),
    ],
)
def test_what_is_timed_answers_as_the_source_does(trained, made, name, to, options):
    turns, right = opened(trained, made(name, to, **options), name)
    try:
        assert turns.cold_seconds > 0.01
        assert turns.process != os.getpid()
        assert Path(f"/proc/{turns.process}").exists()
        for told in turns.answers(5):
            assert set(told) & set(right)
            for output in set(told) & set(right):
                if told[output].dtype.kind == "f":
                    np.testing.assert_allclose(told[output], right[output][:5], rtol=1e-6, atol=1e-12)
                else:
                    np.testing.assert_array_equal(told[output], right[output][:5])
        single, batch = turns.one_row(20), turns.batch(3)
        assert (len(single), len(batch)) == (20, 3)
        assert min(single + batch) > 0
    finally:
        turns.close()
    assert not Path(f"/proc/{turns.process}").exists()


def test_a_jar_by_jpmml_is_timed_as_its_documents_are(tmp_path):
    import lightgbm

    rows = np.random.default_rng(0).normal(size=(200, 3))
    data = lightgbm.Dataset(rows, rows.sum(axis=1) > 0, feature_name=["a", "b", "c"])
    booster = lightgbm.train({"objective": "binary", "num_leaves": 6, "verbose": -1}, data, 5)
    booster.save_model(tmp_path / "m.txt")
    options = {"jar.via": "pmml"}
    mlconvert.convert(tmp_path / "m.txt", to="jar", output=tmp_path / "m.jar", options=options, verify=False)
    artifact = source_artifact(str(tmp_path / "m.jar"), trusted=True)
    artifact = replace(artifact, signature=registry().runner("jar").signature(artifact))
    (way,) = ways_of("jar")
    turns = way.open(artifact, 1)(inputs_of(artifact, {"input": rows}, 50), 50)
    try:
        (told,) = turns.answers(20)
        np.testing.assert_allclose(told["probabilities"][:, 1], booster.predict(rows[:20]), rtol=1e-9)
        assert len(turns.one_row(5)) == 5
    finally:
        turns.close()


def test_a_jvm_that_dies_is_told(trained, made):
    turns, _ = opened(trained, made("breast_cancer.txt", "jar"), "breast_cancer.txt")
    os.kill(turns.process, signal.SIGKILL)
    with pytest.raises((ConversionFailed, OutOfResources), match="JVM"):
        turns.one_row(10_000)
    turns.close()


def test_a_document_of_text_is_measured_through_its_runner_alone(made, monkeypatch):
    inside, through = ways_of("pmml")
    assert (inside.name, through.name) == ("inside the JVM", "from Python")
    columns = Signature((TensorSpec("colour", "string", ("batch", 1)),), ())
    monkeypatch.setattr(pmml_notes, "note_of", lambda path: pmml_notes.PmmlNote(columns, ("colour",)))
    with pytest.raises(NotVerified, match="not all numbers"):
        inside.open(made("breast_cancer.txt", "pmml"), 1)


def test_without_a_compiler_it_is_said_what_is_missing(made, monkeypatch, tmp_path):
    monkeypatch.setenv("MLCONVERT_JAVA", str(tmp_path / "java"))
    with pytest.raises(NotVerified, match="a JDK, version 11 or newer, is needed"):
        ways_of("pmml")[0].open(made("breast_cancer.txt", "pmml"), 1)
