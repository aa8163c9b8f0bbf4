"""The backends beside onnxruntime and python: what they are given, and what they are not.

Golden files lie in `golden/backends/`; MLCONVERT_WRITE_GOLDEN=1 writes them anew (look at the difference). The
repositories load in a real server, in which stand-ins answer for the backends themselves.
"""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from mlconvert import records
from mlconvert.artifact import Artifact, file_sha256
from mlconvert.errors import ConversionFailed, RepositoryInvalid, UsageError
from mlconvert.formats import source_artifact
from mlconvert.repositories import REPOSITORIES
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton import publish
from mlconvert.repositories.triton.backends import BACKENDS, backend_for, backend_of, fil, openvino, pytorch, tensorrt
from mlconvert.signature import Signature, TensorSpec

GOLDEN = Path(__file__).parent / "golden" / "backends"


def signature(inputs: dict[str, tuple[str, tuple]], outputs: dict[str, tuple[str, tuple]]) -> Signature:
    return Signature(
        tuple(TensorSpec(name, dtype, shape) for name, (dtype, shape) in inputs.items()),
        tuple(TensorSpec(name, dtype, shape) for name, (dtype, shape) in outputs.items()),
    )


IMAGES = signature({"image": ("float32", ("batch", 1, 8, 8))}, {"logits": ("float32", ("batch", 10))})
TOKENS = signature(
    {"ids": ("int64", ("batch", "sequence")), "mask": ("int64", ("batch", "sequence"))},
    {"logits": ("float32", ("batch", 3)), "classes": ("int64", ("batch",))},
)
PLACED = signature({"INPUT__0": ("float32", ("batch", 4))}, {"OUTPUT__0": ("float32", ("batch", 3))})
PROFILES = [{"image": {"min": [1, 1, 8, 8], "opt": [8, 1, 8, 8], "max": [16, 1, 8, 8]}}]


def artifact(of: Signature, format_name: str, **facts) -> Artifact:
    return Artifact(format_name, "/nowhere/model", (Path("/nowhere/model"),), of, facts=facts)


GOLDENS = {
    "openvino_images": (openvino, IMAGES, None, {}),
    "openvino_batches": (
        openvino, IMAGES, None,
        {"max_batch_size": "8", "num_streams": "2", "performance_hint": "throughput", "inference_num_threads": "4"},
    ),
    "openvino_tokens": (openvino, TOKENS, None, {}),
    "pytorch_images": (pytorch, IMAGES, artifact(IMAGES, "torchscript", arguments=["image"], returns="Tensor"), {}),
    "pytorch_gpu": (
        pytorch, IMAGES, None,
        {
            "instance_kind": "gpu", "inference_mode": "yes", "jit_executor": "no", "weight_sharing": "yes",
            "intra_op_threads": 2,
        },
    ),
    "pytorch_aoti": (
        pytorch, PLACED,
        artifact(PLACED, "aotinductor", device="cpu", built_for="cpu linux x86_64 AVX2", torch="2.13.0"), {},
    ),
    "pytorch_aoti_cuda": (
        pytorch, PLACED,
        artifact(PLACED, "aotinductor", device="cuda", built_for="cuda linux x86_64", torch="2.13.0"),
        {},
    ),
    "tensorrt_profile": (
        tensorrt, IMAGES,
        artifact(IMAGES, "tensorrt", profiles=PROFILES, tensorrt="11.4.0.1", compute_capability="9.0"), {},
    ),
}  # fmt: skip


def described(module, of: Signature, made: Artifact | None = None, **options):
    return module.describe(of, "m", artifact=made, **options)


def text_of(module, of: Signature, made: Artifact | None, options: dict) -> str:
    description = described(module, of, made, **options)
    return cfg.as_text(description.config, description.comments)


def against_golden(case: str, text: str) -> None:
    path = GOLDEN / f"{case}.pbtxt"
    if os.environ.get("MLCONVERT_WRITE_GOLDEN"):
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")
    text_format.Parse(text, model_config_pb2.ModelConfig())


@pytest.mark.parametrize("case", GOLDENS)
def test_golden(case: str) -> None:
    module, of, made, options = GOLDENS[case]
    against_golden(case, text_of(module, of, made, options))


@pytest.mark.parametrize("case", GOLDENS)
def test_what_is_described_fits_the_model(case: str) -> None:
    module, of, made, options = GOLDENS[case]
    config = described(module, of, made, **options).config
    assert module.misfits(config, of, "m") == []
    assert backend_of(config).load() is module
    other = Signature(of.inputs, (*of.outputs[1:], TensorSpec("another", "float32", ("batch", 1))))
    assert module.misfits(config, other, "m")
    assert module.misfits(config, of, "n")


def test_every_format_of_the_table_can_be_published() -> None:
    formats = [name for row in BACKENDS for name in row.formats]
    assert len(formats) == len(set(formats))
    assert set(formats) == set(REPOSITORIES[0].formats)
    for row in BACKENDS:
        module = row.load()
        for name in (
            "ABILITIES",
            "SECTIONS",
            "describe",
            "placed_files",
            "signature_of",
            "published_signature",
            "misfits",
        ):
            assert hasattr(module, name), f"{row.module} has no {name}"


# --- openvino ---


@pytest.mark.parametrize(
    ("of", "message"),
    [
        (signature({"x": ("float64", ("batch", 2))}, {"y": ("float32", ("batch", 1))}), "input 'x' is float64"),
        (signature({"x": ("string", ("batch", 2))}, {"y": ("float32", ("batch", 1))}), "input 'x' is string"),
        (signature({"x": ("float32", ())}, {"y": ("float32", ("batch", 1))}), "input 'x' is a scalar"),
        (signature({"x": ("float32", ("batch", 1))}, {"y": ("float32", ())}), "output 'y' is a scalar"),
    ],
)
def test_openvino_refuses_what_its_backend_does_not_take(of: Signature, message: str) -> None:
    with pytest.raises(RepositoryInvalid, match=message):
        described(openvino, of)


def test_openvino_fills_batches_up_only_where_it_batches() -> None:
    assert "ENABLE_BATCH_PADDING" not in described(openvino, IMAGES).config.parameters
    batched = described(openvino, IMAGES, max_batch_size=4).config
    assert batched.parameters["ENABLE_BATCH_PADDING"].string_value == "YES"
    with pytest.raises(UsageError, match="openvino backend runs on cpu only"):
        described(openvino, IMAGES, instance_kind="gpu")
    with pytest.raises(UsageError, match="num_streams=many"):
        described(openvino, IMAGES, num_streams="many")
    config = described(openvino, IMAGES).config
    config.instance_group[0].kind = 1  # KIND_GPU
    assert [str(one) for one in openvino.misfits(config, IMAGES, "m")] == [
        "instance_group 0: the configuration has KIND_GPU, the model only a CPU"
    ]


def test_openvino_says_that_it_may_answer_in_bfloat16() -> None:
    description = described(openvino, IMAGES)
    assert openvino.BFLOAT16 in description.warnings
    assert openvino.BFLOAT16 in description.comments


def test_an_openvino_model_is_published_and_loads(make_model, tmp_path, loads) -> None:
    from mlconvert.converters import onnx_to_openvino

    made = onnx_to_openvino.convert(make_model(), tmp_path / "model.xml")
    for name, options in (("plain", {}), ("batched", {"max_batch_size": 4})):
        published = publish(made, tmp_path / "repository", name, options=options)
        assert sorted(path.name for path in published.path.iterdir()) == ["model.bin", "model.xml"]
        assert openvino.published_signature(published.path) == made.signature
        assert openvino.BFLOAT16 in published.warnings
    rows = np.arange(12, dtype=np.float32).reshape(3, 4)  # whole numbers, which bfloat16 has too
    labels = (2 * rows).sum(axis=1)
    loads(
        tmp_path / "repository",
        answers={
            "plain": ({"input": rows}, {"variable": 2 * rows, "label": labels}),
            "batched": ({"input": rows}, {"variable": 2 * rows, "label": labels[:, None]}),
        },
    )


# --- pytorch ---


def test_torchscript_without_a_record_is_not_guessed_at(trained) -> None:
    source = source_artifact(str(trained("digits_script.pt")))
    assert backend_for(source.format).name == "pytorch"
    with pytest.raises(UsageError, match="does not say what it takes") as caught:
        pytorch.signature_of(source)
    assert "--via freeze --samples FILE" in caught.value.hint


@pytest.mark.parametrize(
    ("of", "facts", "message"),
    [
        (IMAGES, {"arguments": ["image", "scale"]}, "forward takes 'scale' too"),
        (IMAGES, {"arguments": ["image"], "returns": "Dict"}, "the module returns a Dict"),
        (
            signature({"x": ("float32", (1,))}, {"y__1": ("float32", (1,)), "y__0": ("float32", (1,))}),
            {"arguments": ["x"]},
            "would read places from the outputs' names y__1, y__0",
        ),
        (signature({"x": ("uint16", ("batch", 1))}, {"y": ("float32", ("batch", 1))}), {"arguments": ["x"]}, "uint16"),
    ],
)  # fmt: skip
def test_pytorch_refuses_what_its_backend_would_map_wrongly(of: Signature, facts: dict, message: str) -> None:
    with pytest.raises(RepositoryInvalid, match=message):
        described(pytorch, of, artifact(of, "torchscript", **facts))


def test_an_aotinductor_package_does_not_batch_and_runs_where_it_was_compiled_for() -> None:
    made = artifact(PLACED, "aotinductor", device="cpu", torch="2.13.0")
    with pytest.raises(RepositoryInvalid, match="torch_aoti does not batch"):
        described(pytorch, PLACED, made, max_batch_size=4)
    with pytest.raises(RepositoryInvalid, match="compiled for cpu, and instance_group has KIND_GPU"):
        described(pytorch, PLACED, made, instance_kind="gpu")
    with pytest.raises(UsageError, match="jit_executor is of TorchScript"):
        described(pytorch, PLACED, made, jit_executor=True)
    with pytest.raises(RepositoryInvalid, match="by their places"):
        described(pytorch, IMAGES, artifact(IMAGES, "aotinductor", device="cpu"))
    config = described(pytorch, PLACED, made).config
    config.max_batch_size = 2
    assert any(one.field == "max_batch_size" for one in pytorch.misfits(config, PLACED, "m"))


def test_torchscript_is_published_with_its_record_and_loads(trained, tmp_path, loads) -> None:
    from mlconvert.converters import torchscript_freeze
    from mlconvert.runners import torchscript

    path = trained("digits_script.pt")
    samples = dict(np.load(path.with_suffix(".npz")))
    made = torchscript_freeze.convert(source_artifact(str(path)), tmp_path / "model.pt", samples=samples)
    record = _write_record(made)
    published = publish(made, tmp_path / "repository", "digits", record=record)
    assert pytorch.published_signature(published.path) == made.signature
    rows = {"image": samples["image"][:5]}
    loads(tmp_path / "repository", answers={"digits": (rows, torchscript.load(made).run(rows))})
    (published.path / "model.pt").write_bytes(b"another file")
    assert pytorch.published_signature(published.path) is None  # the record is of another file: no guess


def _write_record(made: Artifact) -> dict:
    row = {"path": made.path.name, "sha256": file_sha256(made.path), "bytes": made.path.stat().st_size}
    record = {
        "schema": records.SCHEMA,
        "format": made.format,
        "path": made.path.name,
        "sha256": row["sha256"],
        "files": [row],
        "signature": made.signature.as_json(),
        "facts": dict(made.facts),
    }
    records.write_json(records.path_beside(made.path), record)
    return record


# --- fil ---


def fil_text(path: Path, **options) -> str:
    source = source_artifact(str(path))
    description = fil.describe(fil.signature_of(source), "m", artifact=source, **options)
    return cfg.as_text(description.config, description.comments)


@pytest.mark.parametrize(
    ("case", "name", "options"),
    [
        ("fil_lightgbm", "breast_cancer.txt", {}),
        (
            "fil_lightgbm_labels",
            "breast_cancer.txt",
            {"predict_proba": "no", "release": "24.10", "storage_type": "DENSE"},
        ),
        ("fil_xgboost", "iris_xgboost.ubj", {"release": "26.06", "layout": "layered", "chunk_size": "4"}),
        ("fil_xgboost_json", "iris_xgboost.json", {"threshold": "0.3", "instance_kind": "cpu"}),
    ],
)
def test_golden_of_trees(trained, case: str, name: str, options: dict) -> None:
    against_golden(case, fil_text(trained(name), **options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"release": "24.10", "layout": "layered"}, "layout is of Triton 25.09 and later"),
        ({"release": "26.06", "storage_type": "DENSE"}, "storage_type left in Triton 25.09"),
        ({"release": "new"}, "expected a release"),
        ({"chunk_size": 3}, "a power of 2"),
        ({"threshold": 2.0}, "a probability"),
        ({"max_batch_size": 0}, "expected 1 or more"),
    ],
)
def test_fil_refuses_options_that_do_not_go_together(trained, options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        fil_text(trained("breast_cancer.txt"), **options)


def test_a_lightgbm_file_goes_to_fil_with_a_warning(trained, tmp_path, loads) -> None:
    import lightgbm

    path = trained("breast_cancer.txt")
    source = source_artifact(str(path))
    published = publish(source, tmp_path / "repository", "bc")
    assert published.warnings[:2] == (fil.DOUBLES, fil.UNVERIFIED)
    labels = publish(source, tmp_path / "repository", "labels", options={"predict_proba": "no"})
    config = cfg.read(labels.config_path)
    assert list(config.output[0].dims) == [1]
    assert fil.misfits(config, fil.published_signature(labels.path), "labels") == []
    rows = np.loadtxt(path.with_suffix(".csv"), delimiter=",", skiprows=1)[:20].astype(np.float32)
    positive = lightgbm.Booster(model_file=str(path)).predict(rows.astype(np.float64))
    probabilities = np.stack([1 - positive, positive], axis=1).astype(np.float32)
    loads(
        tmp_path / "repository",
        answers={
            "bc": ({"input__0": rows}, {"output__0": probabilities}),
            "labels": ({"input__0": rows}, {"output__0": (positive > 0.5).astype(np.float32)[:, None]}),
        },
    )


def test_xgboost_and_treelite_go_to_fil(trained, tmp_path, loads) -> None:
    import xgboost

    from mlconvert.converters import xgboost_to_treelite

    path = trained("iris_xgboost.ubj")
    checkpoint = xgboost_to_treelite.convert(source_artifact(str(path)), tmp_path / "checkpoint.tl")
    for name, source in (
        ("ubj", source_artifact(str(path))),
        ("json", source_artifact(str(trained("iris_xgboost.json")))),
        ("treelite", checkpoint),
    ):
        published = publish(source, tmp_path / "repository", name)
        assert fil.DOUBLES not in published.warnings
        assert fil.UNVERIFIED in published.warnings
    files = {path.name for path in (tmp_path / "repository").glob("*/1/*")}
    assert files == {"xgboost.ubj", "xgboost.json", "checkpoint.tl"}
    rows = np.loadtxt(path.with_name("iris_xgboost.csv"), delimiter=",", skiprows=1)[:20].astype(np.float32)
    booster = xgboost.Booster(model_file=str(path))
    wanted = booster.predict(xgboost.DMatrix(rows, feature_names=booster.feature_names))
    answers = ({"input__0": rows}, {"output__0": wanted})
    loads(tmp_path / "repository", answers={"ubj": answers, "json": answers, "treelite": answers})


def _lightgbm(path: Path, parameters: dict, *, labels=2, categories=()) -> Artifact:
    import lightgbm

    random = np.random.default_rng(0)
    rows = random.normal(size=(200, 3))
    rows[:, 0] = random.integers(0, 4, 200)
    target = random.integers(0, labels, 200)
    data = lightgbm.Dataset(rows, target, categorical_feature=list(categories))
    lightgbm.train({"verbose": -1, "num_leaves": 4, **parameters}, data, 3).save_model(path)
    return source_artifact(str(path))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"objective": "multiclassova", "num_class": 3}, "a sigmoid of its own"),
        ({"objective": "regression", "linear_tree": True}, "leaves are linear models"),
        ({"objective": "binary", "zero_as_missing": True}, "zero_as_missing"),
    ],
)
def test_fil_refuses_by_name_what_it_would_answer_wrongly(tmp_path, parameters: dict, message: str) -> None:
    source = _lightgbm(tmp_path / "model.txt", parameters, labels=3 if "num_class" in parameters else 2)
    with pytest.raises(RepositoryInvalid, match=message):
        fil.signature_of(source)


def test_fil_refuses_xgboosts_targets_categories_and_linear_models(tmp_path) -> None:
    import xgboost

    random = np.random.default_rng(0)
    rows, target = random.normal(size=(100, 3)), random.normal(size=(100, 2))

    def trained_on(name: str, data, **parameters) -> Artifact:
        xgboost.train({"verbosity": 0, "nthread": 1, **parameters}, data, 2).save_model(tmp_path / name)
        return source_artifact(str(tmp_path / name))

    several = trained_on("several.json", xgboost.DMatrix(rows, target))
    with pytest.raises(RepositoryInvalid, match="2 targets"):
        fil.signature_of(several)
    linear = trained_on("linear.ubj", xgboost.DMatrix(rows, target[:, 0]), booster="gblinear")
    with pytest.raises(RepositoryInvalid, match="a linear model"):
        fil.signature_of(linear)
    rows[:, 0] = random.integers(0, 5, 100)
    data = xgboost.DMatrix(rows, rows[:, 0] % 2, feature_types=["c", "q", "q"], enable_categorical=True)
    categories = trained_on("categories.json", data)
    with pytest.raises(RepositoryInvalid, match="splits by categories") as caught:
        fil.signature_of(categories)
    assert "--to treelite" in caught.value.hint


# --- tensorrt ---


def plan(path: Path, of: Signature, **facts) -> Artifact:
    path.write_bytes(b"ftrt" + struct.pack("<II", 0, 2) + bytes(4) + struct.pack("<Q", 64) + bytes(40))
    return Artifact("tensorrt", str(path), (path,), of, facts=facts)


def test_a_plan_is_placed_by_its_record(tmp_path) -> None:
    made = plan(tmp_path / "model.plan", IMAGES, profiles=PROFILES, tensorrt="11.4.0.1")
    assert source_artifact(str(made.path)).format == "tensorrt"
    with pytest.raises(UsageError, match="does not say what it takes"):
        tensorrt.signature_of(source_artifact(str(made.path)))
    published = publish(made, tmp_path / "repository", "engine", record=_write_record(made))
    config = cfg.read(published.config_path)
    assert (config.max_batch_size, config.instance_group[0].kind) == (16, 1)
    assert tensorrt.published_signature(published.path) == IMAGES
    record = json.loads((published.path / "record.json").read_text())
    assert record["signature"] == IMAGES.as_json()
    with pytest.raises(RepositoryInvalid, match="more than the 16 rows of the engine's profile 0"):
        described(tensorrt, IMAGES, made, max_batch_size=32)
    with pytest.raises(UsageError, match="runs on gpu only"):
        described(tensorrt, IMAGES, made, instance_kind="cpu")


def test_a_plan_that_is_cut_off_or_has_something_before_it_is_told(tmp_path) -> None:
    path = plan(tmp_path / "model.plan", IMAGES).path
    whole = path.read_bytes()
    path.write_bytes(whole[:50])
    with pytest.raises(ConversionFailed, match="truncated: 50 bytes of 64"):
        source_artifact(str(path))
    text = b'{"names": {}}'
    path.write_bytes(struct.pack("<I", len(text)) + text + whole)
    with pytest.raises(ConversionFailed, match="17 bytes of metadata before it") as caught:
        source_artifact(str(path))
    assert "tail -c +18" in caught.value.hint
