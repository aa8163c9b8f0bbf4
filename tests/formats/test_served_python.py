"""A model.py is told by its first line and read without being run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.formats import recognise, source_artifact
from mlconvert.formats.served_python import read_served, served_files
from mlconvert.signature import TensorSpec

GOLDEN = Path(__file__).parent.parent / "python_backend/golden/pipeline.txt"


@pytest.fixture
def folder(tmp_path):
    shutil.copy(GOLDEN, tmp_path / "model.py")
    (tmp_path / "model.skops").write_bytes(b"PK")
    (tmp_path / "requirements.txt").write_text("numpy==2.4.6\n")
    return tmp_path


def test_it_is_recognised_with_its_files(folder):
    artifact = source_artifact(str(folder))
    assert artifact.format == "triton-python"
    assert [path.name for path in artifact.files] == ["model.py", "model.skops", "requirements.txt"]
    (folder / "__pycache__").write_text("a file")
    assert [path.name for path in source_artifact(str(folder / "model.py")).files][-1] == "__pycache__"


def test_a_cache_of_pythons_own_is_no_part_of_it(folder):
    (folder / "__pycache__").mkdir()
    assert len(served_files(folder / "model.py")) == 3


def test_the_signature_comes_from_the_constants(folder):
    served = read_served(folder / "model.py")
    assert (served.kind, served.model_class, served.model_file) == ("sklearn-columns", "Pipeline", "model.skops")
    assert served.signature.inputs == (
        TensorSpec("age", "float64", ("batch", 1)),
        TensorSpec("city", "string", ("batch", 1)),
    )
    assert [str(spec) for spec in served.signature.outputs] == [
        "label: string[batch]",
        "probabilities: float64[batch, 2]",
    ]


def test_a_factory_in_a_folder_with_weights_is_no_served_model(tmp_path):
    (tmp_path / "model.py").write_text("def build(): ...\n")
    with pytest.raises(UsageError, match="mlconvert cannot read that"):
        recognise(str(tmp_path / "model.py"))


def test_what_it_needs_must_be_there(folder):
    (folder / "model.skops").unlink()
    with pytest.raises(ConversionFailed, match=r"model\.py needs model\.skops, which is not there"):
        source_artifact(str(folder))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('MODEL = "model.skops"', "MODEL = open('model.skops')", "its constants cannot be read"),
        ('MODEL = "model.skops"', 'MODEL = "../model.skops"', "is not the name of a file beside it"),
        ('MODEL = "model.skops"', 'MODEL = "model.py"', "is not the name of a file beside it"),
        ("INPUTS = {", "OTHER = {", "its constants cannot be read: 'INPUTS'"),
        ('"float64", ["batch", 1]', '"float65", ["batch", 1]', "has no dtype and shape"),
        ("import json", "import json(", "its constants cannot be read"),
        ("triton-python/1 sklearn-columns Pipeline", "triton-python/1 ?", "its first line is not the mark"),
    ],
)
def test_damage_is_told(folder, old, new, reason):
    path = folder / "model.py"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ConversionFailed, match=r"model\.py: ") as caught:
        read_served(path)
    assert reason in caught.value.message


def test_bytes_that_are_no_text_and_files_that_are_too_large(folder):
    path = folder / "model.py"
    path.write_bytes(path.read_bytes() + b"# \xff")
    with pytest.raises(ConversionFailed, match="not UTF-8"):
        read_served(path)
    path.write_bytes(b"# mlconvert triton-python/1 sklearn-matrix X\n" + b"#" * (1 << 20))
    with pytest.raises(ConversionFailed, match="was not written by mlconvert"):
        read_served(path)
