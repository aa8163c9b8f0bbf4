"""The sections of config.pbtxt: what options make of them, and which contradict each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.artifact import Artifact
from mlconvert.errors import MlconvertError, RepositoryInvalid, UsageError
from mlconvert.repositories import REPOSITORIES
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton import options
from mlconvert.repositories.triton.backends import BACKENDS, backend_for, backend_of, onnxruntime
from mlconvert.repositories.triton.description import Abilities, describer, digest_name, is_ours, section_options
from mlconvert.repositories.triton.sections import COMMON
from mlconvert.repositories.triton.sections.instances import instances, optimization_profiles
from mlconvert.repositories.triton.sections.policies import decoupled
from mlconvert.signature import Signature, TensorSpec


def model(inputs: dict[str, tuple], outputs: dict[str, tuple]) -> Signature:
    return Signature(
        tuple(TensorSpec(name, *spec) for name, spec in inputs.items()),
        tuple(TensorSpec(name, *spec) for name, spec in outputs.items()),
    )


ROWS = model({"x": ("float32", ("n", 4))}, {"y": ("float32", ("n", 3)), "label": ("string", ("n",))})
LISTS = model({"ids": ("int64", ("n", "m"))}, {"y": ("float32", ("n", 3))})
STEPS = model(
    {
        "x": ("float32", ("n", 4)), "begin": ("bool", ("n", 1)), "end": ("float64", ("n", 1)),
        "id": ("uint64", ("n", 1)), "flat": ("int32", ("n",)), "state": ("float32", ("n", 2)),
        "long": ("float32", ("n", "m")),
    },
    {"y": ("float32", ("n", 3)), "after": ("float32", ("n", 2)), "longer": ("float32", ("n", "m"))},
)  # fmt: skip


def config_of(signature: Signature, **chosen: Any) -> Any:
    return onnxruntime.describe(signature, "m", **chosen).config


DIRECT, OLDEST = {"sequence_batching": "direct"}, {"sequence_batching": "oldest"}

# Options that contradict the model or each other, and words of the message and of what mends it.
CONTRADICTIONS: list[tuple[Signature, dict[str, Any], type[MlconvertError], str, str]] = [
    (ROWS, {"max_batch_size": 0, "dynamic_batching": "yes"}, RepositoryInvalid, "needs a model that batches", "max_b"),
    (ROWS, {"max_batch_size": 0, "max_queue_size": 8}, UsageError, "max_queue_size: only with dynamic", "dynamic_b"),
    (ROWS, {"dynamic_batching": "no", "priority_levels": 2}, UsageError, "priority_levels: only", "dynamic_batching"),
    (ROWS, {"preferred_batch_sizes": "8,65"}, UsageError, r"1 to max_batch_size \(64\)", "max_batch_size=65"),
    (ROWS, {"preferred_batch_sizes": "0"}, UsageError, "expected 1 to", ""),
    (ROWS, {"max_queue_delay_us": -1}, UsageError, "expected 0 or more", ""),
    (ROWS, {"max_queue_size": -1}, UsageError, "expected 0 or more", ""),
    (ROWS, {"default_priority_level": 2}, UsageError, "without levels", "priority_levels=2"),
    (ROWS, {"priority_levels": 2, "default_priority_level": 3}, UsageError, "expected 1 to priority_levels", ""),
    (ROWS, {"priority_levels": 2, "preserve_ordering": "yes"}, UsageError, "contradicts priority_levels", "leave one"),
    (ROWS, {"priority_queue_sizes": "1=4"}, UsageError, "priority level '1'", "priority_levels"),
    (ROWS, {"priority_levels": 2, "priority_timeouts_us": "3=4"}, UsageError, "priority level '3'", "priority_levels"),
    (ROWS, {"priority_levels": 2, "priority_timeouts_us": "x=4"}, UsageError, "priority level 'x'", "priority_levels"),
    (ROWS, {"priority_levels": 2, "priority_timeouts_us": "1=-4"}, UsageError, "expected 0 or more", ""),
    (ROWS, {"queue_timeout_action": "delay"}, UsageError, "nothing ever times out", "queue_timeout_us"),
    (ROWS, {"queue_timeout_action": "delay", "queue_timeout_us": 5, "preserve_ordering": "yes"}, UsageError,
     "contradicts preserve_ordering", "reject"),
    (ROWS, {**DIRECT, "dynamic_batching": "yes"}, UsageError, "one or the other", "leave it out"),
    (ROWS, {**OLDEST, "max_queue_delay_us": 5}, UsageError, "max_queue_delay_us contradicts", "sequ"),
    (STEPS, {"sequence_controls": "START=begin"}, UsageError, "sequence_batching=no", "sequence_batching=direct"),
    (STEPS, {**DIRECT, "sequence_candidates": 4}, UsageError, "sequence_candidates", "=oldest"),
    (STEPS, {**OLDEST, "sequence_slot_utilization": 0.5}, UsageError, "slot_util", "=direct"),
    (STEPS, {**DIRECT, "sequence_slot_utilization": 1.5}, UsageError, "expected 0 to 1", ""),
    (STEPS, {**OLDEST, "sequence_preferred_batch_sizes": "99"}, UsageError, "expected 1 to", "=99"),
    (STEPS, {**DIRECT, "sequence_controls": "STOP=end"}, UsageError, "unknown control 'STOP'", "END"),
    (STEPS, {**DIRECT, "sequence_controls": "START=begn"}, UsageError, "Did you mean 'begin'", "begin"),
    (STEPS, {**DIRECT, "sequence_controls": "START=begin;END=begin"}, UsageError, "no input 'begin'",
     "inputs"),
    (STEPS, {**DIRECT, "sequence_controls": "END=end"}, RepositoryInvalid, "float64", "types"),
    (STEPS, {**DIRECT, "sequence_controls": "READY=flat"}, RepositoryInvalid, "one number a row", "N, 1"),
    (STEPS, {**DIRECT, "sequence_states": "state=y"}, RepositoryInvalid, "they differ", ""),
    (STEPS, {**DIRECT, "sequence_states": "long=longer"}, RepositoryInvalid, "whole shape", "fixed"),
    (STEPS, {**DIRECT, "warmup": "yes"}, RepositoryInvalid, "no real rows", "verification"),
    (STEPS, {**OLDEST, "response_cache": "yes"}, UsageError, "no cache for sequences", "leave one"),
    (ROWS, {"instances": 0}, UsageError, "expected 1 or more", ""),
    (ROWS, {"instance_kind": "model"}, UsageError, "runs on auto, cpu, gpu only", "instance_kind=auto"),
    (ROWS, {"instance_kind": "cpu", "gpus": "0"}, UsageError, "contradicts instance_kind=cpu", "instance_kind=gpu"),
    (ROWS, {"gpus": "0,-1"}, UsageError, "numbered from 0", ""),
    (ROWS, {"cpu_instances": 2}, UsageError, "beside those on GPUs", "instance_kind=gpu"),
    (ROWS, {"rate_limiter_global": "bus"}, UsageError, "'bus' is none of the resources", "rate_limiter_resources=bus"),
    (ROWS, {"rate_limiter_resources": "bus=0"}, UsageError, "expected 1 or more", ""),
    (ROWS, {"version_policy": "newest"}, UsageError, "expected latest, latest:N", ""),
    (ROWS, {"version_policy": "latest:0"}, UsageError, "expected latest, latest:N", ""),
    (ROWS, {"version_policy": "0"}, UsageError, "expected latest, latest:N", ""),
    (ROWS, {"warmup": "yes"}, RepositoryInvalid, "no real rows", "verification"),
    (ROWS, {"warmup_batch_sizes": "4"}, RepositoryInvalid, "no real rows", "verification"),
    (ROWS, {"warmup": "no", "warmup_batch_sizes": "4"}, UsageError, "contradicts warmup=no", "leave one"),
    (ROWS, {"warmup_count": 0}, UsageError, "expected 1 or more", ""),
    (ROWS, {"class_labels": "z=labels.txt"}, UsageError, "no output 'z'", "outputs: y, label"),
    (ROWS, {"class_labels": "y=missing.txt"}, UsageError, "cannot be read", ""),
    (ROWS, {"intra_op_threads": -1}, UsageError, "intra_op_threads=-1", ""),
    (ROWS, {"intra_op_threads": 2, "parameters": "intra_op_thread_count=4"}, UsageError, "the same thing", "leave one"),
    (ROWS, {"parameters": "mlconvert.label.stable=4"}, UsageError, "mlconvert's own", "mlconvert labels"),
    (ROWS, {"inter_op_threads": 2}, UsageError, "one by one", "execution_mode=parallel"),
    (ROWS, {"accelerator_parameters": "a=b"}, UsageError, "without an accelerator", "accelerator=tensorrt"),
    (ROWS, {"tensorrt_precision": "fp16"}, UsageError, "is for TensorRT", "accelerator=tensorrt"),
    (ROWS, {"accelerator": "tensorrt", "instance_kind": "cpu"}, UsageError, "runs on a GPU", "accelerator=openvino"),
    (ROWS, {"accelerator": "openvino", "instance_kind": "gpu"}, UsageError, "runs on the CPU", "instance_kind=cpu"),
    (ROWS, {"accelerator": "openvino", "accelerator_parameters": "a=b"}, UsageError, "no parameters", "leave"),
    (ROWS, {"accelerator": "tensorrt", "accelerator_parameters": "trt_engine_cache=1"}, UsageError,
     "Did you mean 'trt_engine_cache_path'|Did you mean 'trt_engine_cache_enable'", "precision_mode"),
    (LISTS, {"accelerator": "tensorrt", "tensorrt_min_shapes": "ids=1,1"}, UsageError, "tensorrt_opt_shapes", "min"),
    (LISTS, {"accelerator": "tensorrt", **{f"tensorrt_{p}_shapes": "ids=4" for p in ("min", "opt", "max")}},
     RepositoryInvalid, "no shape of ids", "rows included"),
    (LISTS, {"accelerator": "tensorrt", **{f"tensorrt_{p}_shapes": f"ids=64,{n}" for p, n in
     (("min", 8), ("opt", 4), ("max", 16))}}, UsageError, "min <= opt <= max", ""),
    (LISTS, {"accelerator": "tensorrt", **{f"tensorrt_{p}_shapes": "ids=8,8" for p in ("min", "opt", "max")}},
     UsageError, r"fewer than max_batch_size \(64\)", "max_batch_size=8"),
    (LISTS, {"accelerator": "tensorrt", **{f"tensorrt_{p}_shapes": "ids=64,8;odd=1" for p in ("min", "opt", "max")}},
     UsageError, "no input 'odd'", ""),
]  # fmt: skip


@pytest.mark.parametrize(("signature", "chosen", "error", "message", "hint"), CONTRADICTIONS)
def test_contradictions(
    signature: Signature, chosen: dict[str, Any], error: type[MlconvertError], message: str, hint: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        config_of(signature, **chosen)
    assert type(caught.value) is error
    if hint:
        assert any(part in (caught.value.hint or "") for part in hint.split("|"))


def test_every_option_has_help_and_is_one_of_the_types_that_text_can_give() -> None:
    known = options("onnx")
    assert len(known) > 50
    for option in known.values():
        assert option.help, option.name
        assert option.type_name, option.name
        assert not option.help.endswith("."), option.name
    names = [name for section in onnxruntime.SECTIONS for name in section_options((section,))]
    assert len(names) == len(set(names)) == len(known)  # no option is in two sections


def test_the_layouts_formats_are_those_that_some_backend_serves() -> None:
    served = {name for row in BACKENDS for name in row.formats}
    assert set(REPOSITORIES[0].formats) == served
    for row in BACKENDS:
        module = row.load()
        for name in ("describe", "placed_files", "signature_of", "published_signature", "misfits"):
            assert callable(getattr(module, name)), (row.name, name)
        assert section_options(module.SECTIONS)
    assert backend_for("onnx").name == "onnxruntime"
    assert backend_of(cfg.parse('platform: "onnxruntime_onnx"', where="")) is backend_for("onnx")
    assert backend_of(cfg.parse('backend: "unheard-of" platform: "onnxruntime_onnx"', where="")) is None


def test_the_controls_and_states_of_sequences_are_no_inputs_of_clients() -> None:
    config = config_of(
        STEPS,
        sequence_batching="oldest",
        sequence_controls={"start": "begin", "CORRID": "id"},
        sequence_states={"state": "after"},
    )
    assert [tensor.name for tensor in config.input] == ["x", "end", "flat", "long"]
    assert [tensor.name for tensor in config.output] == ["y", "longer"]
    assert not config.HasField("dynamic_batching")
    assert onnxruntime.misfits(config, STEPS, "m") == []
    del config.sequence_batching.control_input[0]
    assert [found.field for found in onnxruntime.misfits(config, STEPS, "m")] == ["input"]


def test_instances_on_gpus_and_on_the_cpu() -> None:
    auto = config_of(ROWS)
    assert [(group.kind, group.count) for group in auto.instance_group] == [(0, 1)]
    both = config_of(ROWS, instance_kind="gpu", gpus="1,0,1", instances=3, cpu_instances=2, host_policy="numa")
    assert [(group.count, list(group.gpus), group.host_policy) for group in both.instance_group] == [
        (3, [0, 1], "numa"),
        (2, [], "numa"),
    ]


def test_a_backend_has_its_own_kinds_profiles_and_answers() -> None:
    def composed(abilities: Abilities, *more: Any, **chosen: Any) -> Any:
        return describer(abilities, (*COMMON, *more))(ROWS, "m", **chosen).config

    engine = Abilities("tensorrt", frozenset(cfg.TYPES), platform="tensorrt_plan", kinds=("gpu",))
    config = composed(engine, optimization_profiles, profiles="2,0,2")
    assert (config.platform, list(config.instance_group[0].profile)) == ("tensorrt_plan", ["2", "0"])
    with pytest.raises(UsageError, match="runs on gpu only"):
        composed(engine, instance_kind="cpu")
    with pytest.raises(UsageError, match="answers each request once"):
        composed(engine, decoupled, decoupled="yes")
    python = Abilities("python", frozenset(cfg.TYPES), decoupled=True)
    assert composed(python, decoupled, decoupled="yes").model_transaction_policy.decoupled
    with pytest.raises(UsageError, match="response_cache contradicts decoupled"):
        composed(python, decoupled, decoupled="yes", response_cache="yes")
    single = Abilities("pytorch", frozenset(cfg.TYPES), platform="torch_aoti", batches=False)
    assert composed(single).max_batch_size == 0
    with pytest.raises(RepositoryInvalid, match="torch_aoti does not batch"):
        composed(single, max_batch_size=4)


def test_class_labels_come_from_a_file_or_from_the_converter(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("eins\nzwei\ndrei", encoding="utf-8")
    chosen = {"class_labels": f"y={tmp_path / 'names.txt'}"}
    description = onnxruntime.describe(ROWS, "m", **chosen)
    (path, content), = description.files.items()  # fmt: skip
    assert content == b"eins\nzwei\ndrei\n"
    assert description.config.output[0].label_filename == path
    assert is_ours(path)
    known = Artifact("onnx", "m.onnx", (), ROWS, facts={"classes": [1, 2, 3]})
    assert list(onnxruntime.describe(ROWS, "m", artifact=known).files.values()) == [b"1\n2\n3\n"]
    other = Artifact("onnx", "m.onnx", (), ROWS, facts={"classes": ["a", "b"]})  # of no output here
    assert onnxruntime.describe(ROWS, "m", artifact=other).files == {}
    (tmp_path / "names.txt").write_text("eins\nzwei\n", encoding="utf-8")
    with pytest.raises(RepositoryInvalid, match="2 names for the 3 numbers of output 'y'"):
        onnxruntime.describe(ROWS, "m", **chosen)
    with pytest.raises(RepositoryInvalid, match="strings already"):
        onnxruntime.describe(ROWS, "m", class_labels=f"label={tmp_path / 'names.txt'}")
    (tmp_path / "names.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8"):
        onnxruntime.describe(ROWS, "m", **chosen)


@given(label=st.text(max_size=300), content=st.binary(max_size=20), folder=st.sampled_from(["", "warmup"]))
def test_names_of_files_are_plain_and_known_again(label: str, content: bytes, folder: str) -> None:
    name = digest_name(folder, content, label or "x")
    assert is_ours(name)
    assert len(name) < 200
    assert name.count("/") == (1 if folder else 0)
    assert name == digest_name(folder, content, label or "x")
    assert not is_ours(name.rpartition("/")[2][1:])
    assert not any(map(is_ours, ("config.pbtxt", "warmup/mine", "labels.txt", "1/model.onnx", "warmup")))


@given(
    levels=st.integers(0, 4), default=st.integers(0, 5), ordering=st.booleans(),
    timeout=st.integers(0, 3), delay=st.booleans(), sizes=st.lists(st.integers(-1, 70), max_size=3),
    rows=st.integers(0, 70),
)  # fmt: skip
def test_what_is_accepted_holds_the_servers_rules(
    levels: int, default: int, ordering: bool, timeout: int, delay: bool, sizes: list[int], rows: int
) -> None:
    """The checks that the server's core makes of dynamic_batching, of anything that is not refused here."""
    try:
        config = config_of(
            ROWS,
            max_batch_size=rows,
            priority_levels=levels,
            default_priority_level=default,
            preserve_ordering=ordering,
            queue_timeout_us=timeout,
            queue_timeout_action="delay" if delay else "reject",
            preferred_batch_sizes=sizes,
        )
    except (UsageError, RepositoryInvalid):
        return
    batching = config.dynamic_batching
    assert all(0 < size <= config.max_batch_size for size in batching.preferred_batch_size)
    if batching.priority_levels:
        assert 1 <= batching.default_priority_level <= batching.priority_levels
    if batching.preserve_ordering:
        policy = batching.default_queue_policy
        assert batching.priority_levels <= 1
        assert not (policy.default_timeout_microseconds and policy.timeout_action == policy.DELAY)
    assert cfg.parse(cfg.as_text(config), where="") == config


def test_instances_is_a_section_like_any_other() -> None:
    assert {"instances", "gpus", "rate_limiter_resources"} <= section_options((instances,)).keys()
