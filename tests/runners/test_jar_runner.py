"""The runner of jars: one JVM, rows in binary, and a JVM that ends as it should not is told as such."""

from __future__ import annotations

import gc
import json
import os
import signal
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlconvert import java as java_reader
from mlconvert.artifact import Artifact
from mlconvert.converters.jar_via_pmml import transpile
from mlconvert.converters.lightgbm_to_jar import convert
from mlconvert.errors import ConversionFailed, MissingPackage, OutOfResources, UsageError
from mlconvert.formats import recognise, source_artifact
from mlconvert.formats.jar import DESCRIPTOR
from mlconvert.readers.jar_answers import outputs_of, rows_of
from mlconvert.runners import jar as runner
from mlconvert.runners import lightgbm as lightgbm_runner

RANDOM = np.random.default_rng(7)
X = RANDOM.normal(size=(500, 3))


def model_file(folder: Path) -> Artifact:
    import lightgbm

    path = folder / "model.txt"
    known = {"objective": "multiclass", "num_class": 3, "verbose": -1, "num_threads": 1, "num_leaves": 7}
    lightgbm.train(known, lightgbm.Dataset(X, np.searchsorted([-0.5, 0.5], X[:, 0])), 5).save_model(path)
    return Artifact("lightgbm", str(path), (path,))


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Artifact:
    return model_file(tmp_path_factory.mktemp("source"))


@pytest.fixture
def made(source, tmp_path) -> Artifact:
    return replace(convert(source, tmp_path / "m.jar"), trusted=True)


def test_answers_are_the_sources_on_boundary_rows(source, made):
    rows = lightgbm_runner.boundary_samples(source, {"input": X}, count=2000, seed=1)
    assert rows is not None
    wanted, session = lightgbm_runner.load(source).run(rows), runner.load(made)
    got = session.run(rows)
    assert session.signature == runner.signature(made) == made.signature
    for name, expected in wanted.items():
        assert (got[name].dtype, got[name].shape) == (expected.dtype, expected.shape)
    assert np.array_equal(got["label"], wanted["label"])
    np.testing.assert_allclose(got["probabilities"], wanted["probabilities"], rtol=1e-12, atol=1e-12)


def test_many_small_batches_go_to_one_jvm(source, made):
    session = runner.load(made)
    began = time.monotonic()
    for start in range(0, 2000, 2):
        session.run({"input": X[start % 400 : start % 400 + 2]})
    assert time.monotonic() - began < 30  # a thousand JVMs would take minutes


def test_the_jvm_ends_with_the_session(made):
    session = runner.load(made)
    process: Any = session.run._stream.process  # type: ignore[attr-defined]
    assert process.poll() is None
    del session
    gc.collect()
    assert process.wait(30) == 0


def test_a_jar_that_is_not_trusted_is_not_run(made):
    with pytest.raises(UsageError, match="a jar is a program") as raised:
        runner.load(replace(made, trusted=False))
    assert "--trust" in (raised.value.hint or "")
    assert runner.signature(replace(made, trusted=False)) == made.signature


def test_a_jvm_that_is_killed_is_told(made):
    session = runner.load(made)
    os.kill(session.run._stream.process.pid, signal.SIGTERM)  # type: ignore[attr-defined]
    session.run._stream.process.wait(30)  # type: ignore[attr-defined]
    with pytest.raises(ConversionFailed, match="JVM"):
        session.run({"input": X})


def test_a_jvm_without_memory_is_told(made, monkeypatch):
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Xmx8m")
    session = runner.load(made)
    with pytest.raises(OutOfResources, match="out of memory"):
        session.run({"input": np.zeros((900_000, 3))})


def test_without_java_both_ways_are_told(made, monkeypatch, tmp_path):
    monkeypatch.setenv(java_reader.CHOSEN, str(tmp_path / "none"))
    with pytest.raises(MissingPackage, match="is not there"):
        runner.load(made)


def test_files_that_are_no_jar_of_ours(made, tmp_path):
    assert recognise(made.location) == "jar"
    assert [path.name for path in source_artifact(made.location).files] == ["m.jar", "m.jar.sources.jar", "m.jar.pom"]
    whole = made.path.read_bytes()
    made.path.write_bytes(whole[:-100])
    with pytest.raises(ConversionFailed, match="truncated or damaged"):
        recognise(made.location)
    with pytest.raises(ConversionFailed, match="cannot be read"):
        runner.signature(made)
    other = tmp_path / "other.jar"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\r\n")
    with pytest.raises(UsageError, match="a jar that mlconvert did not make"):
        recognise(str(other))
    with pytest.raises(ConversionFailed, match="none of mlconvert's"):
        runner.signature(Artifact("jar", str(other), (other,)))
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr(DESCRIPTOR, json.dumps({"schema": "mlconvert.jar/99"}))
    with pytest.raises(ConversionFailed, match=r"mlconvert\.jar/99"):
        runner.signature(Artifact("jar", str(other), (other,)))


def test_columns_of_text_go_beside_the_numbers():
    signature = {
        "inputs": [],
        "outputs": [
            {"name": "label", "dtype": "string", "shape": ["batch"]},
            {"name": "probabilities", "dtype": "float32", "shape": ["batch", 2]},
        ],
    }
    told = {"features": ["a", "b", "c"], "texts": [1], "classes": ["no", "yes"], "signature": signature,
            "answers": [["label", 1], ["probabilities", 2]]}  # fmt: skip
    columns = {"c": np.array([[1], [2]]), "b": np.array([["x"], ["ü"]]), "a": np.array([[0.5], [np.nan]])}
    rows, texts = rows_of(told, columns)
    np.testing.assert_array_equal(rows, [[0.5, np.nan, 1], [np.nan, np.nan, 2]])
    assert texts == [["x", "ü"]]
    answers = outputs_of(told, np.array([[1.0, 0.25, 0.75], [0.0, 1.0, 0.0]]))
    assert answers["label"].tolist() == ["yes", "no"]
    assert answers["probabilities"].dtype == np.float32
    assert answers["probabilities"].tolist() == [[0.25, 0.75], [1.0, 0.0]]


# --- by way of PMML ---


def test_a_transpiled_jar_answers_as_the_source(source, tmp_path):
    made = transpile(source, tmp_path / "m.jar")
    assert [path.name for path in tmp_path.iterdir()] == ["m.jar"]
    assert made.facts["license_of_runtime"].startswith("AGPL-3.0")
    session = runner.load(made)
    assert session.signature == runner.signature(made) == made.signature
    wanted, got = lightgbm_runner.load(source).run({"input": X}), session.run({"input": X})
    assert np.array_equal(got["label"], wanted["label"])
    np.testing.assert_allclose(got["probabilities"], wanted["probabilities"], rtol=1e-12, atol=1e-12)


def test_transpiling_is_held_to_its_limits(source, tmp_path, monkeypatch):
    with pytest.raises(OutOfResources, match=r"limit of 0\.1 s"):
        transpile(source, tmp_path / "m.jar", seconds=0.1)
    runtime = tmp_path / "java"
    runtime.write_text("#!/bin/sh\necho 'openjdk version \"17.0.1\"' >&2\n")
    runtime.chmod(0o755)
    monkeypatch.setenv(java_reader.CHOSEN, str(runtime))
    with pytest.raises(MissingPackage, match="without a compiler") as raised:
        transpile(source, tmp_path / "m.jar")
    assert "default-jdk-headless" in (raised.value.hint or "")
    assert [path.name for path in tmp_path.iterdir()] == ["java"]
