"""Bills of materials: each is held to the schema of CycloneDX, and says what the record says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given, settings
from hypothesis import strategies as st

from mlconvert import records
from mlconvert.api import convert
from mlconvert.cli import main
from mlconvert.operations.bom import bill, bill_of

MACHINES = sorted((Path(__file__).resolve().parents[1] / "hardware" / "fingerprints").glob("*.json"))


@pytest.fixture(scope="module")
def valid():
    """Refuses what the schema refuses."""
    validator = JsonStrictValidator(SchemaVersion.V1_6)

    def check(found):
        error = validator.validate_str(json.dumps(found))
        assert error is None, str(error)
        references = [part["bom-ref"] for part in found["components"]]
        references += [part["bom-ref"] for part in found["metadata"]["component"]["components"]]
        assert len(set(references)) == len(references)
        return found

    return check


@pytest.fixture(scope="module")
def converted(small_onnx, tmp_path_factory):
    target = tmp_path_factory.mktemp("bom") / "optimized.onnx"
    convert(str(small_onnx), to="onnx", output=str(target), via=["optimize"])
    return target


def test_a_bill_says_what_the_record_says(converted, valid):
    found = valid(bill_of(str(converted)))
    record = records.read(records.path_beside(converted))
    model = found["metadata"]["component"]
    assert model["hashes"] == [{"alg": "SHA-256", "content": record["sha256"]}]
    assert model["modelCard"]["modelParameters"]["inputs"] == [{"format": "x: float32 [batch, 4]"}]
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert {row["slice"] for row in metrics} == {"y", "sum"}
    parts = {part["bom-ref"]: part for part in found["components"]}
    assert parts["source"]["hashes"][0]["content"] == record["source"]["sha256"]
    assert parts["samples"]["hashes"][0]["content"] == record["parity"]["samples_sha256"]
    packages = record["environment"]["packages"]
    assert {part["name"]: part["version"] for part in parts.values() if part["type"] == "library"} == packages
    assert all(f"pkg:pypi/{name}@{version}" in parts for name, version in packages.items())
    steps = found["formulation"][0]["workflows"][0]["steps"]
    assert [step["name"] for step in steps] == [step["converter"] for step in record["steps"]]
    assert bill_of(str(converted)) == found


@pytest.mark.parametrize("path", MACHINES, ids=lambda path: path.stem)
def test_a_hardware_bound_artifact_names_its_machine(path, converted, valid):
    record = records.read(records.path_beside(converted))
    record["fingerprint"] = json.loads(path.read_text())
    record["facts"] = {"hardware": {"kind": "tensorrt", "plugins": {"libnms.so": "a" * 64}}}
    parts = {part["bom-ref"]: part for part in valid(bill(record))["components"]}
    gpus = [part["name"] for part in parts.values() if part["bom-ref"].startswith("gpu:")]
    assert gpus == [gpu["name"] for gpu in record["fingerprint"]["gpus"]]
    assert parts["plug-in:libnms.so"]["hashes"][0]["content"] == "a" * 64
    assert ("driver" in parts) == bool(record["fingerprint"]["driver"]["version"])


digests = st.text("0123456789abcdef", min_size=64, max_size=64)
words = st.text(min_size=1, max_size=20)
drawn = st.fixed_dictionaries(
    {
        "schema": st.just(records.SCHEMA),
        "format": words,
        "path": words,
        "files": st.lists(
            st.fixed_dictionaries({"path": words, "sha256": digests, "bytes": st.integers(0)}),
            min_size=1,
            max_size=4,
            unique_by=lambda row: row["path"],
        ),
    },
    optional={
        "source": st.fixed_dictionaries({"path": words, "format": words, "sha256": digests}),
        "precision": st.none() | words,
        "parity": st.none()
        | st.fixed_dictionaries(
            {
                "ok": st.booleans(),
                "samples": st.integers(0),
                "samples_sha256": digests,
                "outputs": st.lists(
                    st.fixed_dictionaries({"name": words, "max_abs": st.none() | st.floats(allow_nan=False)}),
                    max_size=3,
                ),
            }
        ),
        "steps": st.lists(
            st.fixed_dictionaries({"converter": words, "options": st.dictionaries(words, st.integers() | words)})
        ),
        "environment": st.none() | st.fixed_dictionaries({"python": words, "packages": st.just({"onnx": "1.2+cpu"})}),
    },
)


@settings(max_examples=30)
@given(drawn)
def test_whatever_a_record_has_the_bill_is_valid(valid, record):
    assert valid(bill(record)) == bill(record)


def test_the_command_writes_a_file_or_prints_it(converted, tmp_path, capsys, valid):
    target = tmp_path / "bom.cdx.json"
    assert main(["bom", str(converted), "-o", str(target)]) == 0
    assert "components of optimized.onnx" in capsys.readouterr().out
    assert main(["bom", str(converted), "-o", str(target)]) == 0  # one that is there is replaced
    capsys.readouterr()
    assert main(["bom", str(converted)]) == 0
    assert valid(json.loads(capsys.readouterr().out)) == json.loads(target.read_text())


def test_bad_input(converted, small_onnx, tmp_path, capsys):
    def refused(code, message, *line):
        assert main(["bom", *map(str, line)]) == code
        told = capsys.readouterr()
        assert message in told.err
        assert told.out == ""

    refused(2, "has no record", small_onnx)
    refused(2, "does not exist", tmp_path / "none.onnx")
    refused(2, "is a folder", converted, "-o", tmp_path)
    refused(2, "does not exist", converted, "-o", tmp_path / "no" / "bom.json")
    other = tmp_path / "notes.json"
    other.write_text("{}")
    refused(2, "it would be lost", converted, "-o", other)
    assert other.read_text() == "{}"
    copy = tmp_path / "optimized.onnx"
    assert b"small" in converted.read_bytes()
    copy.write_bytes(converted.read_bytes().replace(b"small", b"smell"))
    records.path_beside(copy).write_bytes(records.path_beside(converted).read_bytes())
    refused(8, "was changed after its record was written", copy)
