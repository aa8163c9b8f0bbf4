"""exported-program -> aotinductor and its runner. One tiny model: compiling takes its time."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlconvert.artifact import Artifact
from mlconvert.converters import exported_program_to_aotinductor as converter
from mlconvert.errors import ConversionFailed, HardwareMismatch, MissingPackage, NotVerified, UsageError
from mlconvert.formats import source_artifact
from mlconvert.hardware.fingerprint import Fingerprint, from_json
from mlconvert.readers.aoti_packages import package_metadata, package_note
from mlconvert.readers.hardware_builds import require_fits
from mlconvert.runners import aotinductor as runner
from mlconvert.signature import Signature, TensorSpec


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """x [batch, 4] and scale [1] -> (x * scale, the sum of each row)."""
    import torch

    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor, *, scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x * scale, x.sum(dim=1)

    from mlconvert.readers.torch_archives import quiet_torch

    path = tmp_path_factory.mktemp("program") / "net.pt2"
    shapes = {"x": {0: torch.export.Dim("batch")}, "scale": None}
    with quiet_torch():
        exported = torch.export.export(
            Net(), (torch.ones(2, 4),), {"scale": torch.ones(1)}, dynamic_shapes=shapes
        )  # fmt: skip
        torch.export.save(exported, path)
    return source_artifact(str(path))


@pytest.mark.slow
def test_a_program_becomes_native_code_that_answers_alike(program, tmp_path, monkeypatch) -> None:
    # Optimising the wrapper and asking the compiler for the processor's abilities take most of the time.
    monkeypatch.setattr("torch._inductor.config.cpp.vec_isa_ok", True)
    monkeypatch.setattr("torch._inductor.config.aot_inductor.compile_wrapper_opt_level", "O0")
    made = converter.convert(program, tmp_path / "model.pt2")
    assert made.files == (tmp_path / "model.pt2",)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]  # the compiler's folders are gone
    assert made.signature == runner.signature(made) == Signature(
        (TensorSpec("INPUT__0", "float32", ("batch", 4)), TensorSpec("INPUT__1", "float32", (1,))),
        (TensorSpec("OUTPUT__0", "float32", ("batch", 4)), TensorSpec("OUTPUT__1", "float32", ("batch",))),
    )  # fmt: skip
    assert made.renamed == {"x": "INPUT__0", "scale": "INPUT__1", "output_0": "OUTPUT__0", "output_1": "OUTPUT__1"}
    assert (made.facts["device"], made.trusted) == ("cpu", True)
    assert made.facts["built_for"].startswith("cpu linux ")
    assert made.facts["hardware"] == {"kind": "aotinductor", "device": "cpu"}
    assert package_note(package_metadata(made.path))["fingerprint"] == made.facts["fingerprint"]

    found = source_artifact(str(made.path))
    assert found.format == "aotinductor"  # and not an ExportedProgram, which is a .pt2 as well
    with pytest.raises(UsageError, match="native code") as caught:
        runner.load(found)
    assert "--trust" in caught.value.hint

    here = from_json(made.facts["fingerprint"], where="here")
    fewer = replace(here, host=replace(here.host, instruction_sets=("sse2",)))
    for other, rule in (
        (fewer, "instruction-sets"),
        (replace(here, host=replace(here.host, architecture="riscv64")), "architecture"),
        (replace(here, packages={"torch": "1.13.1"}), "torch-version"),
        (replace(here, packages={}), "torch-version"),
    ):
        with pytest.raises(HardwareMismatch, match=f"^{rule}: "):
            require_fits(replace(made, facts={}), on=other)  # the package itself says it

    session = runner.load(made)
    for rows in (1, 5):
        x = np.arange(4 * rows, dtype=np.float32).reshape(rows, 4)
        answers = session.run({"INPUT__0": x, "INPUT__1": np.array([2], np.float32)})
        np.testing.assert_allclose(answers["OUTPUT__0"], 2 * x)
        np.testing.assert_allclose(answers["OUTPUT__1"], x.sum(axis=1))


def package(path: Path, metadata: dict | None, folder: str = "m") -> Artifact:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{folder}/archive_format", "pt2")
        archive.writestr(f"{folder}/data/aotinductor/model/c.wrapper.so", b"\x7fELF")
        if metadata is not None:
            archive.writestr(f"{folder}/data/aotinductor/model/c.wrapper_metadata.json", json.dumps(metadata))
    return Artifact("aotinductor", str(path), (path,), trusted=True)


def test_a_package_of_another_tool_is_not_guessed_at(tmp_path) -> None:
    made = package(tmp_path / "model.pt2", {"AOTI_DEVICE_KEY": "cpu"})
    assert source_artifact(str(made.path)).format == "aotinductor"
    assert runner.signature(made) is None
    with pytest.raises(NotVerified, match="mlconvert did not make it"):
        runner.load(made)
    with pytest.raises(ConversionFailed, match="not an AOTInductor package"):
        runner.signature(package(tmp_path / "other.pt2", None))
    made.path.write_bytes(made.path.read_bytes()[:100])
    with pytest.raises(ConversionFailed, match="damaged"):
        runner.signature(made)


def test_a_package_for_a_gpu_is_not_run_without_one(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("mlconvert.readers.hardware_builds.take", Fingerprint)
    told = Signature((TensorSpec("INPUT__0", "float32", (1,)),), (TensorSpec("OUTPUT__0", "float32", (1,)),)).as_json()
    made = package(tmp_path / "m.pt2", {"AOTI_DEVICE_KEY": "cuda", "mlconvert": json.dumps({"signature": told})})
    with pytest.raises(HardwareMismatch, match=r"gpu: .*it runs on a GPU alone"):
        runner.load(made)


def test_what_is_missing_is_told_before_anything_runs(program, tmp_path, monkeypatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(HardwareMismatch, match="finds no GPU here"):
        converter.convert(program, tmp_path / "model.pt2", device="cuda")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(MissingPackage, match=r"needs a C\+\+ compiler") as caught:
        converter.convert(program, tmp_path / "model.pt2")
    assert "g++" in caught.value.hint
    assert list(tmp_path.iterdir()) == []
