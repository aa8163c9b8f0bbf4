"""What lint finds in a TensorFlow Serving repository that is wrong in one thing, and nothing in one that is right."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mlconvert import records
from mlconvert.artifact import Artifact
from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.operations.lint import lint_repository
from mlconvert.repositories.tf_serving import label, publish
from mlconvert.repositories.tf_serving.lint import lint, model_folders
from mlconvert.repositories.tf_serving.warmup import tf_record
from mlconvert.serving.tf_serving.messages import DATA_TYPES, message

PB, CONFIG = "m/2/saved_model.pb", "models.config"
WARM = "m/2/assets.extra/tf_serving_warmup_requests"


@pytest.fixture
def models(make_saved: Callable[..., Artifact], saved_models: Path, tmp_path: Path) -> Path:
    """A repository with two versions of `m`, of which the second is served, warm-up requests and the server's files."""
    kept = saved_models.parent / "lint" / "models"  # publishing waits for the disk: once is enough
    for scale in (1.0, 2.0) if not kept.exists() else ():
        artifact = make_saved(scale, record=True)
        record = records.read(artifact.folder / records.IN_FOLDER)
        publish(artifact, kept, "m", record=record, options={"monitoring": True, "batching": True})
    assert (kept / WARM).is_file()
    return Path(shutil.copytree(kept, tmp_path / "models"))


def forget_records(models: Path) -> None:
    for path in models.rglob("record.json"):
        path.unlink()


def replaced(file: str, old: str, new: str) -> Callable[[Path], None]:
    def change(models: Path) -> None:
        text = (models / file).read_text()
        assert old in text
        (models / file).write_text(text.replace(old, new))

    return change


def written(file: str, content: str | bytes) -> Callable[[Path], None]:
    def change(models: Path) -> None:
        path = models / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return change


def removed(*files: str) -> Callable[[Path], None]:
    def change(models: Path) -> None:
        forget_records(models)
        for file in files:
            (models / file).unlink()

    return change


def moved(old: str, new: str) -> Callable[[Path], None]:
    def change(models: Path) -> None:
        forget_records(models)
        (models / new).parent.mkdir(exist_ok=True)
        (models / old).rename(models / new)

    return change


def nested(models: Path) -> None:
    forget_records(models)
    (models / "m/2").rename(models / "m/inside")
    (models / "m/2").mkdir()
    (models / "m/inside").rename(models / "m/2/exported")


def saved(change: Callable[[Any, Any], None], file: str = PB) -> Callable[[Path], None]:
    """Change the SavedModel's message: the function is given the graph and its serving signature."""

    def edit(models: Path) -> None:
        forget_records(models)
        model = message("SavedModel").FromString((models / file).read_bytes())
        graph = model.meta_graphs[0]
        change(graph, graph.signature_def["serving_default"])
        (models / file).write_bytes(model.SerializeToString())

    return edit


def typed(side: str, name: str, dtype: str) -> Callable[[Path], None]:
    def change(graph: Any, signature: Any) -> None:
        getattr(signature, side)[name].dtype = DATA_TYPES[dtype]

    def edit(models: Path) -> None:
        shutil.rmtree(models / "m/2/assets.extra")
        saved(change)(models)

    return edit


def operator(name: str) -> Callable[[Path], None]:
    return saved(lambda graph, _: graph.graph_def.node.add(name="added", op=name))


def operator_in_a_function(graph: Any, _: Any) -> None:
    graph.graph_def.library.function[0].node_def.add(name="added", op="EagerPyFunc")


def tagged(tag: str) -> Callable[[Any, Any], None]:
    def change(graph: Any, _: Any) -> None:
        graph.meta_info_def.tags[:] = [tag]

    return change


def renamed_signature(graph: Any, signature: Any) -> None:
    graph.signature_def["other"].CopyFrom(signature)
    del graph.signature_def["serving_default"]


def no_signature(graph: Any, _: Any) -> None:
    del graph.signature_def["serving_default"]


def bytes_name(_: Any, signature: Any) -> None:
    signature.outputs["y_bytes"].CopyFrom(signature.outputs["y"])


def asset(graph: Any, _: Any) -> None:
    graph.asset_file_def.add(filename="words.txt")


def request(*, name: str = "x", dtype: str = "DT_FLOAT", shape: tuple[int, ...] = (1, 4), key: str = "") -> bytes:
    log = message("PredictionLog")()
    predict = log.predict_log.request
    predict.model_spec.signature_name = key
    tensor = predict.inputs[name]
    tensor.dtype = DATA_TYPES[dtype]
    for length in shape:
        tensor.tensor_shape.dim.add(size=length)
    return bytes(log.SerializeToString())


def warm(*records: bytes) -> Callable[[Path], None]:
    def change(models: Path) -> None:
        forget_records(models)
        (models / WARM).write_bytes(tf_record(records))

    return change


def flipped(models: Path) -> None:
    content = bytearray((models / WARM).read_bytes())
    content[30] ^= 1
    (models / WARM).write_bytes(bytes(content))


def mode(file: str, to: int) -> Callable[[Path], None]:
    return lambda models: (models / file).chmod(to)


def linked(models: Path, target: str | None) -> None:
    (models / CONFIG).rename(models.parent / "elsewhere")
    (models / CONFIG).symlink_to(models.parent / (target or "nothing"))


@dataclass(frozen=True)
class Case:
    name: str
    change: Callable[[Path], object]
    found: set[tuple[str, str, str]]  # level, code, file


E, W, U = "error", "warning", "unchecked"
WITH_N = 'model_config_list {\n  config { name: "n" base_path: "%s/n" model_platform: "tensorflow" }'
TWICE = 'config { name: "m" base_path: "/models/m" }\n  config {\n    name'
DATA = "m/2/variables/variables.data-00000-of-0000"
LABEL = 'version_labels { key: "stable" value: '
LATEST = "latest { num_versions: 1 }"
CASES = [
    Case(
        "models.config does not parse", written(CONFIG, "model_config_list {\n"), {(E, "config-syntax", f"{CONFIG}:2")}
    ),
    Case(
        "an unknown value",
        replaced(CONFIG, "num_versions: 1", "num_versions: x"),
        {(E, "config-syntax", f"{CONFIG}:7")},
    ),
    Case("not text", written(CONFIG, b"\xff\xfe"), {(E, "config-syntax", CONFIG)}),
    Case("a model twice", replaced(CONFIG, "config {\n    name", TWICE), {(E, "config-syntax", CONFIG)}),
    Case(
        "a missing folder", replaced(CONFIG, "model_config_list {", WITH_N % "/models"), {(E, "folder-missing", CONFIG)}
    ),
    Case("a folder elsewhere", replaced(CONFIG, "model_config_list {", WITH_N % "/srv"), {(W, "elsewhere", CONFIG)}),
    Case("a relative base path", replaced(CONFIG, '"/models/m"', '"m"'), {(E, "base-path", CONFIG)}),
    Case(
        "a label on no version",
        replaced(CONFIG, "model_version_policy", f"{LABEL}9 }}\n    model_version_policy"),
        {(E, "label", CONFIG)},
    ),
    Case(
        "a label on a version that is not served",
        replaced(CONFIG, "model_version_policy", f"{LABEL}1 }}\n    model_version_policy"),
        {(E, "label", CONFIG)},
    ),
    Case(
        "a link to nothing",
        lambda models: linked(models, None),
        {(E, "config-syntax", CONFIG), (W, "config-link", CONFIG)},
    ),
    Case("a link", lambda models: linked(models, "elsewhere"), {(W, "config-link", CONFIG)}),
    Case("a policy of nothing", replaced(CONFIG, LATEST, "specific { versions: 7 }"), {(E, "version-policy", CONFIG)}),
    Case(
        "a policy with a missing one",
        replaced(CONFIG, LATEST, "specific { versions: 2 versions: 7 }"),
        {(W, "version-policy", CONFIG)},
    ),
    Case("not in models.config", written(CONFIG, ""), {(W, "not-in-config", "m")}),
    Case("no saved_model.pb", removed(PB), {(E, "saved-model-missing", "m/2")}),
    Case("no saved_model.pb, not served", removed("m/1/saved_model.pb"), {(W, "saved-model-missing", "m/1")}),
    Case("one level too deep", nested, {(E, "nested", "m/2/exported")}),
    Case("a SavedModel as text", moved(PB, "m/2/saved_model.pbtxt"), {(U, "saved-model-text", "m/2")}),
    Case(
        "no version folder",
        lambda models: (shutil.rmtree(models / "m/1"), shutil.rmtree(models / "m/2")),
        {(E, "no-version", "m")},
    ),
    Case("a folder that is no number", lambda models: (models / "m/2.tmp").mkdir(), {(W, "version-name", "m/2.tmp")}),
    Case("leading zeros", lambda models: (models / "m/2").rename(models / "m/02"), {(W, "version-name", "m/02")}),
    Case(
        "one version twice",
        lambda models: shutil.copytree(models / "m/2", models / "m/02"),
        {(E, "version-name", "m/02")},
    ),
    Case("a model without versions", lambda models: (models / "n").mkdir(), {(W, "stray-folder", "n")}),
    Case(
        "a damaged saved_model.pb",
        lambda models: (forget_records(models), (models / PB).write_bytes(b"\x12\xff\xff")),
        {(E, "model-unreadable", PB)},
    ),
    Case(
        "an empty saved_model.pb",
        lambda models: (forget_records(models), (models / PB).write_bytes(b"")),
        {(E, "model-unreadable", PB)},
    ),
    Case("another tag", saved(tagged("train")), {(E, "no-serve-tag", PB)}),
    Case("another signature", saved(renamed_signature), {(W, "no-signature", PB), (E, "warmup-request", WARM)}),
    Case("no signature", saved(no_signature), {(E, "no-signature", PB), (E, "warmup-request", WARM)}),
    *(
        Case(f"{dtype} over REST", typed("inputs", "x", dtype), {(W, "rest-type", PB)})
        for dtype in ("DT_HALF", "DT_BFLOAT16", "DT_COMPLEX64", "DT_COMPLEX128")
    ),
    Case("a resource", typed("outputs", "y", "DT_RESOURCE"), {(E, "tensor-type", PB)}),
    Case("numbers named _bytes", saved(bytes_name), {(W, "bytes-name", PB)}),
    *(Case(name, operator(name), {(E, "operator", PB)}) for name in ("PyFunc", "PyFuncStateless", "TRTEngineOp")),
    Case("an operator in a function", saved(operator_in_a_function), {(E, "operator", PB)}),
    Case("a missing asset", saved(asset), {(E, "asset-missing", "m/2/assets/words.txt")}),
    Case("no index", removed("m/2/variables/variables.index"), {(E, "variables", "m/2/variables")}),
    Case("no shard", removed(f"{DATA}1"), {(E, "variables", "m/2/variables")}),
    Case("one shard of two", moved(f"{DATA}1", f"{DATA}2"), {(E, "variables", "m/2/variables")}),
    Case(
        "no variables",
        lambda models: (forget_records(models), shutil.rmtree(models / "m/2/variables")),
        {(E, "variables", "m/2/variables")},
    ),
    Case("a changed file", lambda models: (models / f"{DATA}1").write_bytes(b"x" * 9), {(E, "checksum", f"{DATA}1")}),
    Case(
        "a file fewer than recorded",
        lambda models: (models / "m/2/fingerprint.pb").unlink(),
        {(E, "record-file-missing", "m/2/fingerprint.pb")},
    ),
    Case("a record that is none", written("m/2/record.json", "{}"), {(W, "record-unreadable", "m/2/record.json")}),
    Case(
        "warm-up cut off",
        lambda models: (models / WARM).write_bytes((models / WARM).read_bytes()[:-3]),
        {(E, "warmup-damaged", WARM)},
    ),
    Case("a bit of warm-up", flipped, {(E, "warmup-damaged", WARM)}),
    Case("too many requests", warm(*[request()] * 1001), {(E, "warmup-count", WARM)}),
    Case("another input", warm(request(name="z")), {(E, "warmup-request", WARM)}),
    Case("another type", warm(request(dtype="DT_DOUBLE")), {(E, "warmup-request", WARM)}),
    Case("another shape", warm(request(), request(shape=(1, 5))), {(E, "warmup-request", WARM)}),
    Case("another rank", warm(request(shape=(4,))), {(E, "warmup-request", WARM)}),
    Case("another signature asked", warm(request(key="other")), {(E, "warmup-request", WARM)}),
    Case("no log", warm(b"\xff"), {(E, "warmup-request", WARM)}),
    Case("no request", warm(b""), {(E, "warmup-request", WARM)}),
    Case("an unreadable file", mode(PB, 0o600), {(W, "not-readable", PB)}),
    Case("an unreadable folder", mode("m/2", 0o700), {(W, "not-readable", "m/2")}),
    Case("an unreadable configuration", mode(CONFIG, 0o600), {(W, "not-readable", CONFIG)}),
    Case(
        "what staging left",
        lambda models: (models.parent / ".mlconvert-models/staged/m").mkdir(parents=True),
        {(W, "staging-leftover", "../.mlconvert-models/staged/m")},
    ),
    Case(
        "batching.config",
        written("batching.config", "max_batch_size: 4\n"),
        {(E, "config-syntax", "batching.config:1")},
    ),
    Case(
        "sizes of batches",
        written("batching.config", "max_batch_size { value: 8 }\nallowed_batch_sizes: 4\n"),
        {(E, "batch-sizes", "batching.config")},
    ),
    Case(
        "falling sizes",
        written("batching.config", "allowed_batch_sizes: 4 allowed_batch_sizes: 2\n"),
        {(E, "batch-sizes", "batching.config")},
    ),
    Case(
        "monitoring.config",
        written("monitoring.config", "prometheus { }"),
        {(E, "config-syntax", "monitoring.config:1")},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_thing_is_wrong(models: Path, case: Case) -> None:
    case.change(models)
    found = lint(models)
    assert {(one.level, one.code, one.file) for one in found} == case.found, found
    assert all(one.message and one.fix for one in found)


def test_what_publish_writes_is_clean(models: Path) -> None:
    assert lint(models) == ()
    label(models, "m", {"stable": 1, "canary": 2})
    assert lint(models) == ()
    assert model_folders(models) == ["m"]


def test_without_models_config_the_newest_is_served(models: Path) -> None:
    (models / CONFIG).unlink()
    assert lint(models) == ()
    removed("m/1/saved_model.pb")(models)
    assert [one.level for one in lint(models)] == ["warning"]


def test_a_folder_by_another_name_than_its_model(models: Path) -> None:
    replaced(CONFIG, 'name: "m"', 'name: "renamed"')(models)
    assert lint(models, names=["renamed"]) == lint(models) == ()


def test_a_publisher_at_work_has_left_nothing(models: Path) -> None:
    root = models.parent / ".mlconvert-models"
    (root / "staged/m").mkdir(parents=True)
    (root / "locks").mkdir()
    with (root / "locks/m").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert lint(models) == ()
    assert [one.code for one in lint(models)] == ["staging-leftover"]


def test_the_report_chooses_the_layout(models: Path) -> None:
    report = lint_repository(str(models))
    assert (report["ok"], report["exit_code"], report["served"]) == (True, 0, False)
    assert [row["name"] for row in report["models"]] == ["m"]
    removed(PB)(models)
    report = lint_repository(str(models), names=["m"])
    assert (report["exit_code"], report["models"][0]["errors"]) == (8, 1)
    json.dumps(report)


def test_what_is_refused(models: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no model 'x'"):
        lint(models, names=["x"])
    with pytest.raises(UsageError, match="for Triton"):
        lint(models, release="24.10")
    with pytest.raises(UsageError, match="there is no"):
        lint(tmp_path / "nowhere")
    (models / "t").mkdir()
    (models / "t/config.pbtxt").write_text("")
    with pytest.raises(RepositoryInvalid, match="both"):
        lint_repository(str(models))
