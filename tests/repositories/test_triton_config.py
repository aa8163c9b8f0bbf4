"""config.pbtxt: what is written for a signature, and how it compares with a model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.errors import MissingPackage, RepositoryInvalid, UsageError
from mlconvert.repositories.names import check_name
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton.backends import onnxruntime
from mlconvert.repositories.triton.description import Description
from mlconvert.signature import Signature, TensorSpec


def signature(inputs: dict[str, tuple[str, tuple]], outputs: dict[str, tuple[str, tuple]]) -> Signature:
    return Signature(
        tuple(TensorSpec(name, dtype, shape) for name, (dtype, shape) in inputs.items()),
        tuple(TensorSpec(name, dtype, shape) for name, (dtype, shape) in outputs.items()),
    )


CLASSIFIER = signature(
    {"input": ("float32", ("batch", 30))}, {"label": ("int64", ("batch",)), "probabilities": ("float32", ("batch", 2))}
)
FRAME = signature(
    {"city": ("string", ("batch", 1)), "age": ("float64", ("batch", 1)), "code": ("int64", ("batch",))},
    {"label": ("string", ("batch",))},
)
TRANSFORMER = signature(
    {"input_ids": ("int64", ("batch", "sequence")), "attention_mask": ("int64", ("batch", "sequence"))},
    {"logits": ("float32", ("batch", "sequence", 100))},
)
FIXED = signature({"x": ("float16", (1, 16))}, {"y": ("uint8", (1, 2))})
SCALAR = signature({"x": ("float32", ("batch", 3)), "k": ("int32", ())}, {"mean": ("float32", ())})
UNNAMED = signature({"x": ("float32", (None, 16))}, {"y": ("float32", (None, 2))})


def described(of: Signature, name: str = "m", **options) -> Description:
    return onnxruntime.describe(of, name, **options)


def text_of(description: Description) -> str:
    return cfg.as_text(description.config, description.comments)


def message(of: Signature, **options):
    return described(of, **options).config


def test_a_rank_1_tensor_is_reshaped_when_it_batches_and_only_then() -> None:
    label = message(CLASSIFIER).output[0]
    assert (list(label.dims), label.HasField("reshape"), list(label.reshape.shape)) == ([1], True, [])
    label = message(CLASSIFIER, max_batch_size=0).output[0]
    assert (list(label.dims), label.HasField("reshape")) == ([-1], False)


def test_unbatched_dims_are_the_whole_shape() -> None:
    config = message(TRANSFORMER, max_batch_size=0)
    assert [list(tensor.dims) for tensor in config.input] == [[-1, -1], [-1, -1]]
    assert list(config.output[0].dims) == [-1, -1, 100]
    assert not config.HasField("dynamic_batching")


@pytest.mark.parametrize(
    ("of", "reason"),
    [
        (FIXED, "the first axis of input 'x' is fixed at 1"),
        (SCALAR, "input 'k' is a scalar"),
        (signature({"x": ("float32", ("n", 3))}, {"y": ("float32", ("n", "n"))}), "the batch axis 'n' a second time"),
        (signature({"x": ("float32", ("n", 3))}, {"y": ("float32", (7, 3))}), "output 'y' is fixed at 7"),
    ],
)
def test_a_model_that_cannot_batch(of: Signature, reason: str) -> None:
    description = described(of)
    assert description.config.max_batch_size == 0
    assert reason in " ".join(description.comments)
    with pytest.raises(RepositoryInvalid, match="cannot batch") as caught:
        described(of, max_batch_size=8)
    assert reason in caught.value.message


@pytest.mark.parametrize("of", [UNNAMED, signature({"x": ("float32", ("n", 3))}, {"y": ("float32", ("m", 3))})])
def test_axes_that_may_differ_batch_only_when_asked(of: Signature) -> None:
    assert message(of).max_batch_size == 0
    config = message(of, max_batch_size=8)
    assert config.max_batch_size == 8
    assert config.HasField("dynamic_batching")


@pytest.mark.parametrize(
    ("of", "match"),
    [
        (signature({"x": ("bfloat16", ("n", 3))}, {"y": ("float32", ("n", 3))}), "input 'x' is bfloat16"),
        (signature({"x": ("float32", ("n", 3))}, {"y": ("complex64", ("n", 3))}), "output 'y' is complex64"),
        (signature({"x": ("string", ())}, {"y": ("float32", (3,))}), "scalar string"),
        (signature({"x": ("float32", ("n", 0))}, {"y": ("float32", ("n",))}), "length 0"),
        (signature({}, {"y": ("float32", (3,))}), "no inputs"),
        (signature({"x": ("float32", (3,))}, {}), "no outputs"),
    ],
)
def test_what_the_server_refuses_is_refused(of: Signature, match: str) -> None:
    with pytest.raises(RepositoryInvalid, match=match):
        described(of)


@pytest.mark.parametrize(
    "options",
    [
        {"max_batch_size": -1},
        {"instances": 0},
        {"instance_kind": "tpu"},
        {"instance_kind": "cpu", "gpus": "0"},
        {"gpus": "-1"},
        {"preferred_batch_sizes": "65"},
        {"preferred_batch_sizes": "0"},
        {"max_queue_delay_us": -5},
        {"dynamic_batching": "no", "max_queue_delay_us": 5},
        {"max_batch_size": 0, "preferred_batch_sizes": "4"},
        {"max_batch_sise": 4},
    ],
)
def test_options_that_make_no_sense(options: dict) -> None:
    with pytest.raises(UsageError):
        described(CLASSIFIER, **options)


def test_dynamic_batching_needs_batching() -> None:
    with pytest.raises(RepositoryInvalid, match="needs a model that batches"):
        described(CLASSIFIER, max_batch_size=0, dynamic_batching="yes")
    assert not message(CLASSIFIER, dynamic_batching="no").HasField("dynamic_batching")


@pytest.mark.parametrize("name", ["", "a/b", "../up", "..", ".", ".hidden", "a b", "a\nb", "-x", "m" * 201, "modèle"])
def test_bad_model_names(name: str) -> None:
    with pytest.raises(RepositoryInvalid):
        check_name(name)


@pytest.mark.parametrize("name", ["m", "2024-model", "bert_base.v1", "_x", "m" * 200])
def test_good_model_names(name: str) -> None:
    check_name(name)


def test_without_tritonclient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlconvert.packages.installed", lambda package: package.module != "tritonclient")
    with pytest.raises(MissingPackage, match="tritonclient") as caught:
        described(CLASSIFIER)
    assert caught.value.hint == "pip install 'mlconvert[triton]'"


axes = st.one_of(st.integers(1, 9), st.sampled_from(["batch", "n", None]))
tensors = st.lists(
    st.tuples(st.sampled_from([t for t in cfg.TYPES if t != "bfloat16"]), st.lists(axes, max_size=3).map(tuple)),
    min_size=1,
    max_size=3,
)


@given(inputs=tensors, outputs=tensors)
def test_what_is_written_reads_back_and_always_fits_its_own_model(inputs: list, outputs: list) -> None:
    of = signature(
        {f"i{n}": tensor for n, tensor in enumerate(inputs)}, {f"o{n}": tensor for n, tensor in enumerate(outputs)}
    )
    try:
        description = described(of)
    except RepositoryInvalid as error:
        assert "scalar string" in error.message  # noqa: PT017 - the one refusal that is possible here
        return
    config = description.config
    assert cfg.parse(text_of(description), where="") == config
    assert text_of(description) == text_of(description)
    assert onnxruntime.misfits(config, of, "m") == []
    assert len(config.input) == len(inputs)
    assert len(config.output) == len(outputs)
    assert all(len(tensor.dims) > 0 for tensor in (*config.input, *config.output))  # `dims: []` is illegal


def test_a_configuration_that_is_not_one() -> None:
    with pytest.raises(RepositoryInvalid, match="max_batch_sise") as caught:
        cfg.parse('name: "m"\nmax_batch_sise: 4\n', where="models/m/config.pbtxt")
    assert caught.value.where == "models/m/config.pbtxt:2"


@pytest.mark.parametrize(
    ("edit", "field"),
    [
        (lambda c: setattr(c, "name", "other"), "name"),
        (lambda c: setattr(c, "backend", "tensorrt"), "backend"),
        (lambda c: setattr(c, "default_model_filename", "m.onnx"), "default_model_filename"),
        (lambda c: setattr(c.input[0], "name", "x"), "input"),
        (lambda c: setattr(c.input[0], "data_type", 12), "input 'input' data_type"),
        (lambda c: c.input[0].dims.append(3), "input 'input' shape"),
        (lambda c: c.input[0].dims.__setitem__(0, -1), "input 'input' shape"),  # wider than the graph's 30
        (lambda c: c.output[1].dims.__setitem__(0, -1), "output 'probabilities' shape"),
        (lambda c: c.output[0].ClearField("reshape"), "output 'label' shape"),
        (lambda c: setattr(c.output[0], "data_type", 13), "output 'label' data_type"),
        (lambda c: setattr(c, "max_batch_size", 0), "input 'input' shape"),
        (lambda c: c.ClearField("input"), "input"),
    ],
)
def test_contradictions_name_the_field(edit, field: str) -> None:
    config = message(CLASSIFIER)
    edit(config)
    assert field in [found.field for found in onnxruntime.misfits(config, CLASSIFIER, "m")]


def test_what_the_server_takes_is_no_contradiction() -> None:
    config = message(TRANSFORMER)
    config.input[0].dims[0] = 128  # an input may be narrower than the graph
    assert onnxruntime.misfits(config, TRANSFORMER, "m") == []
    config = message(CLASSIFIER)
    del config.output[0]  # an output may be left out
    config.ClearField("backend")
    config.platform = "onnxruntime_onnx"
    assert onnxruntime.misfits(config, CLASSIFIER, "m") == []


@pytest.mark.parametrize(
    ("policy", "live"),
    [
        ("", {10}),
        ("version_policy { latest { num_versions: 2 } }", {2, 10}),
        ("version_policy { all { } }", {1, 2, 10}),
        ("version_policy { specific { versions: [1, 7] } }", {1}),
    ],
)
def test_version_policy(policy: str, live: set[int]) -> None:
    assert cfg.live_versions(cfg.parse(policy, where=""), [1, 2, 10]) == live
