"""The rules of lint that a server does not know of, and the form of what is found. The others: test_lint_agreement."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from mlconvert import records
from mlconvert.artifact import Artifact, file_sha256
from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.onnx_model.files import onnx_artifact
from mlconvert.repositories.findings import Finding, exit_code, in_order
from mlconvert.repositories.triton import checksums, publish
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton.backends import onnxruntime
from mlconvert.repositories.triton.config import CONFIG, as_text
from mlconvert.repositories.triton.lint import lint
from mlconvert.signature import Signature, TensorSpec


def codes(repository: Path, **kwargs) -> list[tuple[str, str]]:
    return [(one.level, one.code) for one in lint(repository, **kwargs)]


@pytest.fixture
def models(make_model, tmp_path: Path) -> Path:
    """A repository with the model `m`, published with a record."""
    artifact = make_model()
    record = {
        "schema": records.SCHEMA,
        "path": artifact.path.name,
        "format": "onnx",
        "files": records.described_files(artifact, {artifact.path.name: file_sha256(artifact.path)}),
    }
    repository = tmp_path / "models"
    publish(artifact, repository, "m", record=record)
    return repository


def make_opset(path: Path, *, opset: int, ir: int, ml: int | None = None) -> Artifact:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "opset",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
    )
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid("ai.onnx.ml", ml)] if ml else [])
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=ir).SerializeToString())
    return onnx_artifact(path, (path,))


# --- what publish writes is clean ---


def test_what_publish_writes_lints_clean(models):
    assert lint(models) == ()
    assert lint(models, release="24.10") == ()


@pytest.mark.parametrize(
    "options",
    [
        {"max_batch_size": 0},
        {"instances": 2, "instance_kind": "cpu"},
        {"preferred_batch_sizes": "4,8", "max_queue_delay_us": 10},
        {"version_policy": "all"},
        {"response_cache": True},
    ],
    ids=str,
)
def test_what_publish_writes_with_options_lints_clean(make_model, tmp_path, options):
    publish(make_model(), tmp_path / "models", "m", options=options)
    assert lint(tmp_path / "models", release="24.10") == ()


def test_a_model_with_weights_in_a_file_of_their_own_lints_clean(make_model, tmp_path):
    publish(make_model(data=True), tmp_path / "models", "m")
    assert lint(tmp_path / "models") == ()


def test_a_forest_for_fil_lints_clean(trained, tmp_path):
    path = trained("breast_cancer.txt")
    publish(Artifact("lightgbm", str(path), (path,)), tmp_path / "models", "m")
    assert lint(tmp_path / "models", release="26.06") == ()


DTYPES = sorted(onnxruntime.ABILITIES.dtypes)
SHAPES = st.lists(st.sampled_from([1, 3, "batch", "time", None]), max_size=3).map(tuple)
TENSORS = st.dictionaries(st.sampled_from("abcd"), st.tuples(st.sampled_from(DTYPES), SHAPES), min_size=1, max_size=3)


def specs(tensors) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name, dtype, shape) for name, (dtype, shape) in tensors.items())


@given(TENSORS, TENSORS)
def test_a_configuration_that_is_written_for_a_signature_is_never_found_at_fault(tmp_path_factory, inputs, outputs):
    """Without the model: what the core would refuse in any configuration of ours."""
    signature = Signature(specs(inputs), specs(outputs))
    folder = tmp_path_factory.mktemp("lint") / "models" / "m"
    try:
        description = onnxruntime.describe(signature, "m")
    except RepositoryInvalid:
        return  # a scalar string, say: nothing is written then
    assert onnxruntime.misfits(description.config, signature, "m") == []
    (folder / "1").mkdir(parents=True)
    (folder / CONFIG).write_text(as_text(description.config))
    assert [one.code for one in lint(folder.parent)] == ["model-file-missing"]


# --- records and checksums ---


def test_a_model_file_that_was_changed_after_its_record(models, make_model):
    other = make_model("other.onnx", scale=3.0)
    shutil.copyfile(other.path, models / "m/1/model.onnx")
    (found,) = lint(models)
    assert (found.level, found.code, found.model, found.file) == ("error", "checksum", "m", "m/1/model.onnx")
    assert "sha256" in found.message
    assert exit_code([found]) == 8


def test_a_file_of_a_record_that_is_gone(models):
    record = models / "m/1/record.json"
    data = json.loads(record.read_text())
    data["files"].append({"path": "weights.bin", "sha256": "0" * 64, "bytes": 3})
    record.write_text(json.dumps(data))
    assert codes(models) == [("error", "record-file-missing")]
    record.write_text("{}")
    assert codes(models) == [("warning", "record-unreadable")]


def test_the_sums_of_the_checksum_agent(make_model, tmp_path):
    repository = tmp_path / "models"
    publish(make_model(), repository, "m", options={"checksums": True})
    assert lint(repository) == ()
    config = repository / "m" / CONFIG
    text = config.read_text()
    digest = checksums.sums_of(cfg.read(config))["1/model.onnx"]
    config.write_text(text.replace(digest, digest[::-1]))
    assert codes(repository) == [("error", "checksum-agent")]
    config.write_text(text.replace("MD5:1/model.onnx", "MD5:2/model.onnx"))
    assert codes(repository) == [("error", "checksum-agent")]


# --- what others cannot read, and what lies about ---


def test_files_that_only_their_owner_can_read(models):
    (models / "m/1/model.onnx").chmod(0o600)
    (models / "m/1").chmod(0o700)
    found = lint(models)
    assert [(one.level, one.code, one.file) for one in found] == [
        ("warning", "not-readable", "m/1"),
        ("warning", "not-readable", "m/1/model.onnx"),
    ]
    assert "chmod 755" in found[0].fix
    assert "chmod 644" in found[1].fix


def test_what_lies_in_the_root(models):
    (models / "notes.txt").write_text("x")
    (models / "staging").mkdir()
    (models / ".hidden").mkdir()
    (models / "gone").symlink_to("nowhere")
    assert [(one.level, one.code, one.file) for one in lint(models)] == [
        ("warning", "stray-folder", ".hidden"),
        ("warning", "stray-file", "gone"),
        ("warning", "stray-file", "notes.txt"),
        ("error", "config-missing", "staging/config.pbtxt"),
    ]
    assert lint(models, names=["m"]) == ()


def test_a_link_to_nothing_in_a_version(models):
    (models / "m/1/data.bin").symlink_to("nowhere")
    assert codes(models) == [("warning", "broken-link")]


def test_a_name_that_tools_cannot_take(models):
    (models / "m").rename(models / "m m")
    config = models / "m m" / CONFIG
    config.write_text(config.read_text().replace('name: "m"', 'name: "m m"'))
    assert codes(models) == [("warning", "name-unusual")]


def test_labels_of_versions(models):
    config = models / "m" / CONFIG
    text = config.read_text()
    config.write_text(text + 'parameters { key: "mlconvert.label.stable" value { string_value: "1" } }\n')
    assert lint(models) == ()
    config.write_text(text + 'parameters { key: "mlconvert.label.stable" value { string_value: "7" } }\n')
    (found,) = lint(models)
    assert (found.code, found.field) == ("label-version", "parameters 'mlconvert.label.stable'")
    config.write_text(text + 'parameters { key: "mlconvert.label.stable" value { string_value: "new" } }\n')
    assert codes(models) == [("error", "label-version")]


def test_decoupled_answers_of_a_backend_that_has_none(models):
    """Not in the table: a server of 24.10 may end when the stand-in of such a model is unloaded."""
    config = models / "m" / CONFIG
    config.write_text(config.read_text() + "model_transaction_policy { decoupled: true }\n")
    assert codes(models) == [("warning", "decoupled")]


def test_a_warm_up_of_more_rows_than_a_batch(models):
    """Not in the table: a server of 24.10 refuses it, and at times dies of it."""
    config = models / "m" / CONFIG
    config.write_text(
        config.read_text() + 'model_warmup { name: "rows" batch_size: 99 '
        'inputs { key: "x" value { data_type: TYPE_FP32 dims: [4] zero_data: true } } }\n'
    )
    assert ("error", "warmup-batch-size") in codes(models)


# --- releases ---


@pytest.mark.parametrize(
    ("opset", "ir", "ml", "release", "expected"),
    [
        (21, 10, None, "24.10", []),
        (22, 10, None, "24.10", ["release-opset"]),
        (21, 11, None, "24.10", ["release-ir"]),
        (22, 11, None, "25.02", ["release-ir", "release-opset"]),
        (25, 13, 5, "26.06", []),
        (26, 13, 5, "26.06", ["release-opset"]),
        (26, 13, 5, "26.07", []),
        (21, 10, 6, "26.07", ["release-opset"]),
    ],
)
def test_what_a_release_can_load(tmp_path, opset, ir, ml, release, expected):
    folder = tmp_path / "models/m/1"
    folder.mkdir(parents=True)
    artifact = make_opset(folder / "model.onnx", opset=opset, ir=ir, ml=ml)
    assert artifact.signature is not None
    (folder.parent / CONFIG).write_text(as_text(onnxruntime.describe(artifact.signature, "m").config))
    found = lint(tmp_path / "models", release=release)
    assert sorted(one.code for one in found) == expected
    assert all(release in one.message and one.level == "error" for one in found)
    assert lint(tmp_path / "models") == ()


def test_an_unknown_release_names_the_known_ones(models):
    with pytest.raises(UsageError) as caught:
        lint(models, release="19.01")
    assert "24.10 to 26.07" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("heading", "release", "expected"),
    [
        ('backend: "tensorflow" platform: "tensorflow_savedmodel"', None, {"release-backend", "backend-not-checked"}),
        ('platform: "tensorflow_graphdef"', "25.02", {"backend-not-checked"}),
        ('platform: "tensorflow_graphdef"', "26.06", {"release-backend", "backend-not-checked"}),
        ('backend: "pytorch" platform: "torch_aoti"', "26.02", {"release-backend", "model-file-missing"}),
        ('backend: "pytorch" platform: "torch_aoti"', "26.06", {"model-file-missing"}),
        ('backend: "vllm"', None, {"backend-not-checked"}),
    ],
)
def test_backends_that_come_and_go(tmp_path, heading, release, expected):
    folder = tmp_path / "models/m/1"
    folder.mkdir(parents=True)
    (folder.parent / CONFIG).write_text(heading)
    assert {one.code for one in lint(tmp_path / "models", release=release)} == expected


@pytest.mark.parametrize(
    ("pin", "release", "expected"),
    [
        ("numpy==2.4.1", "24.10", ["release-numpy"]),
        ("numpy==1.26.4", "24.10", []),
        ("numpy==2.4.1", "26.06", []),
        ("numpy==2.4.1", None, []),
    ],
)
def test_a_python_model_that_asks_for_numpy_2(tmp_path, pin, release, expected):
    folder = tmp_path / "models/m/1"
    folder.mkdir(parents=True)
    (folder.parent / CONFIG).write_text('backend: "python"')
    (folder / "model.py").write_text("class TritonPythonModel:\n    def execute(self, requests): ...\n")
    (folder / "requirements.txt").write_text(f"# What model.py needs\nscipy==1.17.0\n{pin}\n")
    assert [one.code for one in lint(tmp_path / "models", release=release)] == expected


# --- what is no repository ---


def test_what_is_no_repository(tmp_path, models):
    with pytest.raises(UsageError, match="there is no"):
        lint(tmp_path / "nothing")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "notes.txt").write_text("x")
    with pytest.raises(RepositoryInvalid, match="does not look like a model repository"):
        lint(folder)
    with pytest.raises(RepositoryInvalid, match="this is a file"):
        lint(folder / "notes.txt")
    with pytest.raises(RepositoryInvalid, match="the folder of a model"):
        lint(models / "m")
    with pytest.raises(UsageError, match="no model 'n'"):
        lint(models, names=["n"])


def test_an_empty_folder_is_a_repository_without_models(tmp_path):
    assert lint(tmp_path) == ()


# --- findings ---


def finding(level, code="x", model="m", file="m/config.pbtxt") -> Finding:
    return Finding(level, code, model, file, None, "what", "fix")


def test_the_exit_code_is_that_of_the_worst():
    assert exit_code([]) == 0
    assert exit_code([finding("warning")]) == 0
    assert exit_code([finding("warning"), finding("unchecked")]) == 6
    assert exit_code([finding("unchecked"), finding("error", "wrong-answer")]) == 5
    assert exit_code([finding("error"), finding("error", "wrong-answer")]) == 8


@given(st.lists(st.builds(finding, st.sampled_from(["error", "warning", "unchecked"]), st.sampled_from("ab"))))
def test_findings_are_in_one_order_each_once(found):
    ordered = in_order(found)
    assert set(ordered) == set(found)
    assert in_order(reversed(ordered)) == ordered or len({one.code for one in found}) > 1
    levels = [one.level for one in ordered]
    assert levels == sorted(levels, key=["error", "unchecked", "warning"].index)


def test_every_finding_has_a_fix_and_a_place(models):
    (models / "m" / CONFIG).write_text('name: "n"\nmax_batch_size: -1\ninput { dims: [ 0 ] }\n')
    found = lint(models)
    assert len(found) > 4
    for one in found:
        assert one.fix
        assert one.file.startswith("m/")
        assert json.loads(json.dumps(one.as_json()))["code"] == one.code


def test_a_syntax_error_names_the_line(models):
    path = models / "m" / CONFIG
    path.write_text(path.read_text() + "max_batchsize: 8\n")
    lines = len(path.read_text().splitlines())
    (found,) = lint(models)
    assert (found.code, found.file) == ("config-syntax", f"m/{CONFIG}:{lines}")


# --- engines that the server builds itself ---


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"tensorrt_engine_cache": "/var/cache/engines"}, None),
        ({}, "built again at every load"),
        ({"accelerator_parameters": "trt_engine_cache_path=/var/cache"}, "so its path does nothing"),
        ({"accelerator_parameters": "trt_engine_cache_enable=1"}, "there is no path"),
        ({"tensorrt_engine_cache": "engines"}, "is relative to"),
        ({"tensorrt_engine_cache": "@/m/cache"}, "is in the repository"),
    ],
)
def test_the_cache_of_engines(make_model, tmp_path: Path, told: dict[str, str], message: str | None) -> None:
    repository = tmp_path / "models"
    options = {name: value.replace("@", str(repository)) for name, value in told.items()}
    publish(make_model(), repository, "m", options={"accelerator": "tensorrt", **options})
    found = [one for one in lint(repository) if one.code == "engine-cache"]
    assert [one.level for one in found] == (["warning"] if message else [])
    assert all(message in one.message for one in found if message)
