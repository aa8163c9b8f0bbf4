"""onnx -> tensorrt and its runner, all but TensorRT itself, which a double stands in for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from mlconvert.artifact import Artifact
from mlconvert.converters import onnx_float16, onnx_int8_static, onnx_to_tensorrt
from mlconvert.converters.tensorrt_build import build
from mlconvert.errors import ConversionFailed, HardwareMismatch, MissingPackage, NotVerified, OutOfResources, UsageError
from mlconvert.formats import source_artifact
from mlconvert.hardware.plans import read_plan
from mlconvert.readers import cuda_memory
from mlconvert.runners import onnx as onnx_runner
from mlconvert.runners import tensorrt as runner

LINEAR = "g (float[batch, 4] x) => (float[batch, 4] y) { y = Relu(x) }"


@pytest.fixture(autouse=True)
def _quick(monkeypatch, request):
    """The machine is looked at once: that starts processes."""
    from mlconvert.hardware import fingerprint

    taken = _machine()
    monkeypatch.setattr(fingerprint, "take", lambda: taken)


def _machine(kept: list = []):  # noqa: B006 - between tests
    from mlconvert.hardware import fingerprint

    kept[:] = kept or [fingerprint.take()]
    return kept[0]


def built(source: Artifact, rows: int = 6, **options) -> Artifact:
    samples = options.pop("samples", None)
    if samples is None:
        samples = {"x": np.random.default_rng(0).normal(size=(rows, 4)).astype(np.float32)}
    target = source.path.parent / "made" / "model.plan"
    target.parent.mkdir(exist_ok=True)
    return onnx_to_tensorrt.convert(source, target, samples=samples, **options)


def asked(file: Path) -> dict:
    return json.loads(file.read_text())


def test_an_engine_answers_as_the_model_does(double, small_onnx, tmp_path) -> None:
    source = source_artifact(str(small_onnx))
    (tmp_path / "made").mkdir()
    samples = {"x": np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)}
    made = onnx_to_tensorrt.convert(source, tmp_path / "made" / "model.plan", samples=samples)
    assert (made.format, made.trusted) == ("tensorrt", True)
    assert read_plan(made.path).version == "11.4.0.106"
    assert made.signature == onnx_runner.signature(source)
    assert source_artifact(str(made.path)).format == "tensorrt"
    answers, wanted = runner.load(made).run(samples), onnx_runner.load(source).run(samples)
    assert set(answers) == set(wanted)
    for name, values in wanted.items():
        np.testing.assert_array_equal(answers[name], values)


def test_facts_say_what_was_built_and_on_what(double, model) -> None:
    made = built(model(LINEAR))
    facts = made.facts
    assert facts["tensorrt"] == "11.4.0.106"
    assert facts["precision"] == "float32"
    assert facts["profiles"] == [{"x": {"min": [1, 4], "opt": [6, 4], "max": [6, 4]}}]
    assert facts["fingerprint"]["schema"] == "mlconvert.fingerprint/1"
    assert facts["hardware"] == {
        "kind": "tensorrt", "tensorrt_version": "11.4.0.106", "flags": [], "hardware_compatibility": "none", "gpu": 0,
        "plugins": {},
    }  # fmt: skip
    assert len(facts["onnx_sha256"]) == 64
    assert facts["warnings"] == ["Detected layernorm nodes in FP16"]
    assert asked(double)["flags"] == []  # TF32 too, with which TensorRT begins


@pytest.mark.parametrize("version", ["10.16.1.11", "11.4.0.106"])
def test_both_versions_build_strongly_typed_networks(double, model, monkeypatch, version) -> None:
    monkeypatch.setenv("DOUBLE_TENSORRT", version)
    made = built(model(LINEAR))  # the double refuses a flag where there is none
    assert made.facts["tensorrt"] == version
    assert runner.load(made).run({"x": -np.ones((2, 4), np.float32)})["y"].tolist() == [[0] * 4] * 2


def test_options_reach_the_builder(double, model) -> None:
    made = built(
        model(LINEAR), tf32=True, optimization_level=5, workspace_bytes=1 << 30, trial_bytes=2 << 30,
        version_compatible=True, lean_runtime=False, hardware_compatibility="ampere_plus", refit="all",
        weight_streaming=True,
        profiles={"x": ("1x4", "2x4", "8x4", "8x4", "16x4", "32x4")},
    )  # fmt: skip
    told = asked(double)
    flags = ["EXCLUDE_LEAN_RUNTIME", "REFIT", "TF32", "VERSION_COMPATIBLE", "WEIGHT_STREAMING"]
    assert (told["flags"], told["level"], told["hardware"]) == (flags, 5, "AMPERE_PLUS")
    assert told["pools"] == {"WORKSPACE": 1 << 30, "TACTIC_DRAM": 2 << 30}
    assert told["profiles"] == [{"x": [[1, 4], [2, 4], [8, 4]]}, {"x": [[8, 4], [16, 4], [32, 4]]}]
    assert sorted(made.facts["hardware"]["flags"]) == flags
    assert made.facts["hardware"]["hardware_compatibility"] == "ampere_plus"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimization_level": 6}, "0 to 5"),
        ({"workspace_bytes": -1}, "0 or more"),
        ({"reproducible": True}, "add timing_cache=FOLDER"),
        ({"lean_runtime": False}, "is for version_compatible=yes"),
        ({"timing_cache": "timings"}, "no absolute path"),
        ({"profiles": {"x": ("1x4",)}}, "three, min, opt and max"),
        ({"precision": "float16"}, "computes in float32, and TensorRT takes the precision from the ONNX file"),
    ],
)
def test_options_that_cannot_be_met_are_told_before_the_build(double, model, options, message) -> None:
    with pytest.raises(UsageError, match=message):
        built(model(LINEAR), **options)
    assert not double.exists()


def test_half_precision_is_a_step_before_it(double, model, tmp_path) -> None:
    source = model("g (float[batch, 4] x) => (float[batch, 4] y) { y = MatMul(x, w) }", w=np.eye(4, dtype=np.float32))
    with pytest.raises(UsageError) as caught:
        built(source, precision="float16")
    assert caught.value.hint == "add the step float16 before it: --via float16"
    half = onnx_float16.convert(source, tmp_path / "half.onnx")
    assert built(half, precision="float16").facts["precision"] == "float16"
    with pytest.raises(UsageError, match="precision=float32: the model computes in float16"):
        built(half, precision="float32")


def test_int8_is_taken_around_zero_alone(double, model, tmp_path) -> None:
    source = model("g (float[batch, 4] x) => (float[batch, 4] y) { a = Relu(x)\n y = Gemm(a, w, b) }",
                   w=np.eye(4, dtype=np.float32), b=np.ones(4, np.float32))  # fmt: skip
    samples = {"x": np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)}
    plain = onnx_int8_static.convert(source, tmp_path / "plain.onnx", samples=samples)
    with pytest.raises(ConversionFailed, match="and TensorRT takes int8 around 0") as caught:
        built(plain, samples=samples)
    assert "int8-static.symmetric=yes" in caught.value.hint
    fits = onnx_int8_static.convert(
        source, tmp_path / "fits.onnx", samples=samples, symmetric=True, quantize_bias=False
    )
    assert not any(tensor.data_type == onnx.TensorProto.INT32 for tensor in onnx.load(fits.path).graph.initializer)
    made = built(fits, samples=samples, precision="int8")
    assert made.facts["precision"] == "int8"
    wanted = onnx_runner.load(fits).run(samples)["y"]
    np.testing.assert_allclose(runner.load(made).run(samples)["y"], wanted, atol=0.05)


def test_nodes_that_tensorrt_lacks_are_named(double, model) -> None:
    source = model(
        "g (float[batch, 4] x) => (float[batch, 4] y) { a = own.Sharpen(x)\n b = Relu(a)\n y = own.Blur(b) }",
        opsets='"" : 18, "own" : 1',
    )
    with pytest.raises(ConversionFailed) as caught:
        built(source)
    assert "of type Sharpen: checkFallbackPluginImporter: Plugin not found: Sharpen; node" in caught.value.message
    assert "of type Blur" in caught.value.message
    assert caught.value.message.endswith("It has 1 of the 3 nodes")
    assert "mlconvert publish MODEL.onnx REPOSITORY --to triton --name NAME" in caught.value.hint
    assert "--set accelerator=tensorrt" in caught.value.hint
    assert "tensorrt.plugins" in caught.value.hint


def test_trees_and_types_are_refused_before_tensorrt_is_asked(double, model) -> None:
    trees = model("g (float[batch, 4] x) => (float[batch, 4] y) { y = ai.onnx.ml.Scaler <scale = [1.0]> (x) }",
                  opsets='"" : 18, "ai.onnx.ml" : 3')  # fmt: skip
    with pytest.raises(ConversionFailed, match="none of the operators of ONNX-ML: node y of type Scaler"):
        built(trees)
    with pytest.raises(ConversionFailed, match="the input 'x' is float64, which TensorRT does not take"):
        built(model("g (double[batch, 4] x) => (double[batch, 4] y) { y = Neg(x) }"))


def test_plugin_libraries_are_hashed_and_go_along(double, model, tmp_path, monkeypatch) -> None:
    library = tmp_path / "libSharpen.so"
    library.write_bytes(b"\x7fELF and so on")
    source = model("g (float[batch, 4] x) => (float[batch, 4] y) { y = own.Sharpen(x) }", opsets='"" : 18, "own" : 1')
    made = built(source, plugins=(str(library),))
    assert [path.name for path in made.files] == ["model.plan", "model.plan.libSharpen.so"]
    assert list(made.facts["hardware"]["plugins"]) == ["libSharpen.so"]
    within = built(source, plugins=(str(library),), version_compatible=True)
    assert [path.name for path in within.files] == ["model.plan"]
    assert asked(double)["plugins"] == [str(library)]
    monkeypatch.setenv("DOUBLE_VC_LIBRARY", str(library))  # and one that the parser itself takes an operator of
    text = "g (float[1, 1, 4, 4] x, float[n, 4] r, int64[n] b) => (float[n, 1, 1, 1] y) { y = RoiAlign(x, r, b) }"
    samples = {"x": np.ones((1, 1, 4, 4), "f4"), "r": np.ones((3, 4), "f4"), "b": np.zeros(3, "i8")}
    made = built(model(text), samples=samples, version_compatible=True)
    assert (asked(double)["plugins"], [*made.facts["hardware"]["plugins"]]) == ([str(library)], ["libSharpen.so"])
    library.write_bytes(b"text")
    source = model("g (float[batch, 4] x) => (float[batch, 4] y) { y = own.Sharpen(x) }", opsets='"" : 18, "own" : 1')
    with pytest.raises(UsageError, match=r"cannot load the plug-in library libSharpen\.so: .*invalid ELF header"):
        built(source, plugins=(str(library),))


def test_the_timing_cache_is_kept_per_machine(double, model, monkeypatch, tmp_path) -> None:
    folder = tmp_path / "timings"
    with pytest.raises(ConversionFailed, match="the timing cache lacks what this build needs") as caught:
        built(model(LINEAR), timing_cache=str(folder), reproducible=True)
    assert "build once without reproducible" in caught.value.hint
    made = built(model(LINEAR), timing_cache=str(folder))
    (file,) = folder.iterdir()
    assert file.read_bytes() == b"timings of 9.0"
    assert "EDITABLE_TIMING_CACHE" in asked(double)["flags"]
    again = built(model(LINEAR), timing_cache=str(folder), reproducible=True)
    assert again.facts["timing_cache_sha256"] == made.facts["timing_cache_sha256"]
    assert "ERROR_ON_TIMING_CACHE_MISS" in asked(double)["flags"]
    monkeypatch.setenv("DOUBLE_GPU", "8.9")
    with pytest.raises(UsageError, match="does not take the timing cache: it is of another GPU"):
        built(model(LINEAR), timing_cache=str(folder))


def test_a_build_that_takes_too_long_is_ended(double, model, capfd) -> None:
    with pytest.raises(OutOfResources, match="not built within 1e-09 seconds"):
        built(model(LINEAR), seconds=1e-9)
    assert "TensorRT build: 0 s: Building Engine, 3 steps" in capfd.readouterr().err


def test_no_gpu_and_no_tensorrt_are_told(double, model, monkeypatch) -> None:
    monkeypatch.setenv("DOUBLE_GPU", "none")
    with pytest.raises(HardwareMismatch, match=r"finds no GPU that it can use here \(CUDA error 35\)") as caught:
        built(model(LINEAR))
    assert "mlconvert fingerprint" in caught.value.hint
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingPackage) as missing:
        built(model(LINEAR))
    assert missing.value.hint == "pip install 'mlconvert[tensorrt]'"


def test_a_builder_that_gives_nothing_is_a_failure_with_its_words(double, model) -> None:
    source = model(LINEAR)
    from mlconvert.converters.tensorrt_build import Settings

    with pytest.raises(ConversionFailed, match="TensorRT built no engine: Error Code 4: x has no profile"):
        build(source.path, Settings((), {}), where="here")


def test_values_that_are_shapes_get_their_range_from_the_samples(double, model) -> None:
    source = model("g (float[batch, 4] x, int64[2] shape) => (float[batch, 4] y) { y = Reshape(x, shape) }")
    samples = {"x": np.ones((3, 4), np.float32), "shape": np.array([[-1, 4], [3, 4], [-1, 4]])}
    with pytest.raises(UsageError, match="reads the values of 'shape' as a shape"):
        built(source, samples={}, profiles={"x": ("1x4", "3x4", "3x4")})
    made = built(source, samples=samples)
    assert asked(double)["values"] == [{"shape": [[-1, 4], [-1, 4], [3, 4]]}]
    assert runner.load(made).run({"x": samples["x"], "shape": samples["shape"][0]})["y"].shape == (3, 4)


def test_a_warning_worth_knowing_is_explained(double, capsys) -> None:
    import tensorrt

    from mlconvert.readers.tensorrt_messages import log_of

    log = log_of(tensorrt)
    said = "Using an engine plan file across different models of devices is not supported and is likely to fail"
    log.log(tensorrt.ILogger.Severity.WARNING, said)
    assert f"{said} - that is: the engine was built on another model of GPU" in capsys.readouterr().err
    assert "mlconvert check" in log.warnings[0]


# --- running ---


def test_rows_go_through_in_calls_that_the_engine_takes(double, model) -> None:
    made = built(model(LINEAR), profiles={"x": ("1x4", "2x4", "3x4")})
    rows = np.random.default_rng(1).normal(size=(10, 4)).astype(np.float32)
    np.testing.assert_array_equal(runner.load(made).run({"x": rows})["y"], np.maximum(rows, 0))
    made = built(model(LINEAR), profiles={"x": ("4x4", "4x4", "4x4")})  # the last two rows are filled up to four
    np.testing.assert_array_equal(runner.load(made).run({"x": rows})["y"], np.maximum(rows, 0))
    np.testing.assert_array_equal(runner.load(made).run({"x": rows[:1]})["y"], np.maximum(rows[:1], 0))
    other = model("g (float[n, m] x) => (float[n, m] y) { y = Relu(x) }")
    made = built(other, profiles={"x": ("1x4", "2x4", "3x4")}, samples={})
    with pytest.raises(NotVerified, match=r"no profile of the engine takes x \[10, 4\]"):
        runner.load(made).run({"x": rows})  # its first axis may be something else than rows


def test_outputs_whose_shape_is_known_late_and_other_types(double, model) -> None:
    source = model("g (float16[batch, 4] x) => (int64[2, found] y) { y = NonZero(x) }")
    rows = np.array([[0, 1, 0, 2]], np.float16)
    made = built(source, samples={"x": rows})
    assert made.facts["precision"] == "float16"
    assert runner.load(made).run({"x": rows})["y"].tolist() == [[0, 0], [1, 3]]


def test_weights_are_streamed_as_memory_wants_it(double, model) -> None:
    session = runner.load(built(model(LINEAR), weight_streaming=True))
    assert session.run.__self__._engine.weight_streaming_budget_v2 == 1 << 20
    assert session.run({"x": -np.ones((2, 4), np.float32)})["y"].tolist() == [[0] * 4] * 2


def test_memory_of_the_gpu_is_given_back(double, model) -> None:
    made = built(model(LINEAR))
    session = runner.load(made)
    session.run({"x": np.ones((2, 4), np.float32)})
    driver = cuda_memory.load_driver()
    assert (driver._held, driver.most) == ({}, 2)
    with pytest.raises(OutOfResources, match=r"the GPU's memory ran out: cuMemAlloc_v2: out of memory"):
        cuda_memory.Device(driver).allocate(1 << 41)


def test_an_engine_of_other_hardware_is_told_in_our_words(double, model, monkeypatch) -> None:
    made = built(model(LINEAR))
    monkeypatch.setenv("DOUBLE_GPU", "8.9")
    with pytest.raises(HardwareMismatch, match=r"built for compute capability 9\.0, and this GPU has 8\.9"):
        runner.load(made)
    monkeypatch.setenv("DOUBLE_GPU", "none")
    with pytest.raises(HardwareMismatch, match="no GPU can be used here: cuInit: no CUDA-capable device"):
        runner.load(made)
    monkeypatch.setenv("DOUBLE_GPU", "9.0")
    monkeypatch.setenv("DOUBLE_TENSORRT", "11.5.0.1")
    monkeypatch.delitem(sys.modules, "tensorrt")
    with pytest.raises(HardwareMismatch, match=r"built with TensorRT 11\.4\.0\.106, and this is 11\.5\.0\.1") as caught:
        runner.load(made)
    assert "version_compatible=yes" in caught.value.hint
    newer = built(model(LINEAR), version_compatible=True)
    monkeypatch.setenv("DOUBLE_TENSORRT", "11.6.0.1")
    monkeypatch.delitem(sys.modules, "tensorrt")
    runner.load(newer)


def test_what_cannot_be_run_is_not_called_verified(double, model) -> None:
    from dataclasses import replace

    made = built(model(LINEAR), stripped=True)
    assert sorted(made.facts["hardware"]["flags"]) == ["REFIT_IDENTICAL", "STRIP_PLAN"]
    with pytest.raises(NotVerified, match="holds no weights"):
        runner.load(made)
    with pytest.raises(UsageError, match="is native code, and loading it runs it"):
        runner.load(replace(made, trusted=False))
    with pytest.raises(NotVerified, match="does not say what it takes"):
        runner.load(replace(made, signature=None))
    with pytest.raises(HardwareMismatch):  # nobody knows what it was built on
        runner.load(replace(made, facts={}))
    whole = built(model(LINEAR))
    other = onnx_runner.signature(model("g (float[batch, 4] z) => (float[batch, 4] y) { y = Relu(z) }"))
    with pytest.raises(ConversionFailed, match="has x as inputs, and its record other ones"):
        runner.load(replace(whole, signature=other))


def test_a_built_engine_gets_a_configuration_of_its_profiles(double, model, tmp_path) -> None:
    from mlconvert.repositories.triton.backends import tensorrt

    library = tmp_path / "libSharpen.so"
    library.write_bytes(b"\x7fELF and so on")
    source = model("g (float[batch, 4] x) => (float[batch, 4] y) { y = own.Sharpen(x) }", opsets='"" : 18, "own" : 1')
    made = built(source, plugins=(str(library),), stripped=True, profiles={"x": ("1x4", "8x4", "32x4")})
    described = tensorrt.describe(made.signature, "m", artifact=made)
    assert described.config.max_batch_size == 32
    assert [list(tensor.dims) for tensor in described.config.input] == [[4]]
    comments = "\n".join(described.comments)
    assert "Profile 0, x: min [1, 4] | opt [8, 4] | max [32, 4]" in comments
    assert 'loaded by tritonserver --backend-config=tensorrt,plugins="/path/to/libSharpen.so"' in comments
    assert any("without libSharpen.so: --backend-config=tensorrt,plugins=" in one for one in described.warnings)
    assert any("holds no weights" in warning for warning in described.warnings)
    made = built(source, plugins=(str(library),), version_compatible=True)
    comments = "\n".join(tensorrt.describe(made.signature, "m", artifact=made).comments)
    assert "libraries that are in the plan" in comments
    assert "tritonserver --backend-config=tensorrt,version-compatible=true" in comments


# --- through the command line ---


def mlconvert(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    around = {**os.environ, "MLCONVERT_CACHE": str(folder / "cache"), **environment}
    command = [sys.executable, "-m", "mlconvert", *words]
    return subprocess.run(command, cwd=folder, env=around, capture_output=True, text=True, check=False)


def test_a_run_is_verified_and_leaves_a_record(double, small_onnx, tmp_path) -> None:
    done = mlconvert(tmp_path, "convert", str(small_onnx), "--to", "tensorrt", "-o", "out", "--json")
    assert done.returncode == 0, done.stderr
    (target,) = json.loads(done.stdout)["targets"]
    assert target["steps"][0]["parity"]["ok"] is True
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["fingerprint"]["schema"] == "mlconvert.fingerprint/1"
    assert "fingerprint" not in record["facts"]
    assert record["facts"]["hardware"]["tensorrt_version"] == "11.4.0.106"
    again = mlconvert(tmp_path, "convert", str(small_onnx), "--to", "tensorrt", "-o", "again", "--json")
    assert json.loads(again.stdout)["targets"][0]["steps"][0]["cached"] is True

    # Another TensorRT under the same package's version: the fingerprint is another one, and so is the engine.
    words = ("convert", str(small_onnx), "--to", "tensorrt", "-o", "other", "--json")
    other = mlconvert(tmp_path, *words, DOUBLE_TENSORRT="11.5.0.1")
    assert json.loads(other.stdout)["targets"][0]["steps"][0]["cached"] is False

    # From its record it is loaded where its hardware is found, and not where a double stands in for that.
    told = mlconvert(tmp_path, "verify", "out")
    assert (told.returncode, "native code" in told.stderr) == (2, True)
    told = mlconvert(tmp_path, "verify", str(small_onnx), "out", "--trust")
    assert told.returncode == 7, told.stderr


@pytest.mark.parametrize(
    ("words", "gpu", "status", "message"),
    [
        (["--via", "float16", "--set", "tensorrt.profiles=x=1x4,8x4,32x4"], "9.0", 0, "model"),
        (["--set", "tensorrt.precision=float16"], "9.0", 2, "--via float16"),
        (["--set", "tensorrt.profiles=x=1x4,8x4"], "9.0", 2, "three, min, opt and max"),
        ([], "none", 7, "finds no GPU that it can use here"),
        (["--set", "tensorrt.seconds=1e-9"], "9.0", 9, "not built within"),
    ],
    ids=["half", "precision", "profiles", "no GPU", "too long"],
)
def test_exit_codes(double, small_onnx, tmp_path, words, gpu, status, message) -> None:
    done = mlconvert(
        tmp_path, "convert", str(small_onnx), "--to", "tensorrt", "-o", "out/model.plan", *words, DOUBLE_GPU=gpu
    )
    assert (done.returncode, message in done.stdout + done.stderr) == (status, True), done.stderr
    assert (tmp_path / "out" / "model.plan").exists() == (status == 0)
    if status == 0:
        assert json.loads((tmp_path / "out" / "model.plan.json").read_text())["precision"] == "float16"


def test_a_changed_plug_in_library_is_another_step(double, small_onnx, tmp_path) -> None:
    library = tmp_path / "libown.so"
    words = ("convert", str(small_onnx), "--to", "tensorrt", "-o", "out", "--no-verify", "--json")

    def cached(path: str) -> bool:
        done = mlconvert(tmp_path, *words, "--set", f"tensorrt.plugins={path}")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["targets"][0]["steps"][0]["cached"]

    library.write_bytes(b"\x7fELF one")
    assert [cached(str(library)), cached(str(library))] == [False, True]
    library.write_bytes(b"\x7fELF two")
    assert cached(str(library)) is False
    done = mlconvert(tmp_path, *words, "--set", "tensorrt.plugins=libown.so")
    assert (done.returncode, "$PWD/libown.so" in done.stderr) == (2, True), done.stderr


def test_a_build_tells_how_far_it_is(double, model, tmp_path) -> None:
    from mlconvert import progress

    progress.write_to(tmp_path / progress.FILENAME)
    try:
        built(model(LINEAR))
    finally:
        progress.write_to(None)
    told = progress.read(tmp_path / progress.FILENAME)
    assert told == progress.Progress(0.0, "Building Engine")


def test_without_tensorrt_the_install_line_comes_before_anything_runs(small_onnx, tmp_path) -> None:
    done = mlconvert(tmp_path, "convert", str(small_onnx), "--to", "tensorrt", "-o", "out")
    assert done.returncode == 3
    assert "pip install 'mlconvert[tensorrt]'" in done.stderr
    assert not (tmp_path / "out").exists()
