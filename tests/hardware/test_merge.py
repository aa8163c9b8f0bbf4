"""`mlconvert merge`: engines of machines that are only described, as one Triton model.

Golden configurations lie in `golden/merge/`; MLCONVERT_WRITE_GOLDEN=1 writes them anew (look at the difference).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mlconvert import records
from mlconvert.artifact import file_sha256
from mlconvert.cli import main
from mlconvert.errors import ConversionFailed, MlconvertError, RepositoryInvalid, UsageError
from mlconvert.hardware.fingerprint import Fingerprint, Mig, as_json
from mlconvert.onnx_model.files import onnx_artifact
from mlconvert.operations.check import check_location
from mlconvert.operations.merge import merge
from mlconvert.operations.publish import label, publish, rollback, versions
from mlconvert.repositories.triton.lint import lint
from mlconvert.serving.client import connect_both, wait_ready
from mlconvert.serving.home import find_server
from mlconvert.serving.server import started
from mlconvert.signature import Signature, TensorSpec

GOLDEN = Path(__file__).parent / "golden" / "merge"
KILLED = Path(__file__).parents[1] / "repositories" / "killed_process.py"
SIGNATURE = Signature((TensorSpec("x", "float32", ("batch", 4)),), (TensorSpec("y", "float32", ("batch", 4)),))
PROFILE = {"x": {"min": [1, 4], "opt": [8, 4], "max": [32, 4]}}
Machine = Callable[..., Fingerprint]


def network(path: Path) -> Path:
    """`y` = 2 `x`."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "double", values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return network(tmp_path / "double.onnx")


@pytest.fixture
def build(make_engine, make_plan, machine, plain: Path, tmp_path: Path) -> Callable[..., Path]:
    """A function from a GPU's name, compute capability and multiprocessors to a folder with an engine for it."""

    def make(
        name: str,
        capability: str,
        count: int,
        *,
        body: bytes = b"",
        rows: int = 32,
        changes: dict | None = None,
        mig: Mig | None = None,
        version: tuple[int, int, int, int] = (11, 4, 0, 106),
        **hardware: Any,
    ) -> Path:
        folder = tmp_path / "built" / f"{len(list((tmp_path / 'built').glob('*')))}"
        there = machine(name, capability, count, version=".".join(map(str, version)))
        if mig is not None:
            there = replace(there, gpus=(replace(there.gpus[0], mig=mig),))
        make_engine(folder / "model.plan", there, make_plan(version, body=body or name.encode() * 3), **hardware)
        record = json.loads((folder / "record.json").read_text())
        profile = {"x": {**PROFILE["x"], "max": [rows, 4]}}
        record |= {"signature": SIGNATURE.as_json(), "source": {"format": "onnx", "sha256": file_sha256(plain)}}
        record["facts"]["profiles"] = [profile]
        record |= changes or {}
        records.write_json(folder / "record.json", record)
        return folder

    return make


H100, H200 = ("NVIDIA H100 80GB HBM3", "9.0", 132), ("NVIDIA H200", "9.0", 132)
PCIE = ("NVIDIA H100 PCIe", "9.0", 114)
A100, L4 = ("NVIDIA A100-SXM4-80GB", "8.0", 108), ("NVIDIA L4", "8.9", 58)

CASES: dict[str, tuple[tuple[tuple[str, str, int], ...], bool, dict[str, str]]] = {
    "capabilities": ((H100, A100), False, {}),
    "products": ((H100, PCIE, A100), False, {}),
    "fallback": ((H100, H200), True, {"max_batch_size": "8", "max_queue_delay_us": "100"}),
}


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str, build, plain: Path, tmp_path: Path) -> None:
    gpus, with_plain, options = CASES[name]
    built = [build(*gpu) for gpu in gpus] + ([plain] if with_plain else [])
    done = merge(tmp_path / "models", built, name="m", options=options)
    folder = tmp_path / "models" / "m"
    told = {path.relative_to(folder).as_posix(): path.read_text() for path in sorted(folder.rglob("*.pbtxt"))}
    assert set(told) == {"config.pbtxt", *done["configs"]}
    golden = GOLDEN / name
    if os.environ.get("MLCONVERT_WRITE_GOLDEN"):
        shutil.rmtree(golden, ignore_errors=True)
        for path, text in told.items():
            (golden / path).parent.mkdir(parents=True, exist_ok=True)
            (golden / path).write_text(text)
    assert golden.is_dir(), "no golden files: run the test with MLCONVERT_WRITE_GOLDEN=1 and look at them"
    assert told == {path.relative_to(golden).as_posix(): path.read_text() for path in sorted(golden.rglob("*.pbtxt"))}
    assert errors(tmp_path / "models") == []


def errors(repository: Path) -> list[str]:
    return [str(found) for found in lint(repository) if found.level != "warning"]


@pytest.fixture
def verdict(tmp_path: Path) -> Callable[..., str]:
    """What `check` says of the merged model on a machine, by the configuration that its server was started with."""

    def ask(there: Fingerprint, config_name: str | None = None) -> str:
        path = tmp_path / "there.json"
        path.write_text(json.dumps(as_json(there)))
        report = check_location(str(tmp_path / "models"), on=path, config_name=config_name)
        assert (report["exit_code"] == 7) is (report["verdict"] == "refuse")
        return str(report["verdict"])

    return ask


def test_each_gpu_loads_its_own_engine(build, machine: Machine, plain: Path, verdict, tmp_path: Path) -> None:
    done = merge(tmp_path / "models", [build(*H100), build(*PCIE), build(*A100), plain], name="m")
    assert done["configs"] == ["configs/h100-80gb-hbm3.pbtxt", "configs/h100-pcie.pbtxt", "configs/onnx.pbtxt"]
    assert verdict(machine(*A100)) == "ok"
    assert verdict(machine(*PCIE)) == "ok"  # the engine for the fewest multiprocessors is everybody's
    assert verdict(machine(*H100)) == "suboptimal"
    assert verdict(machine(*H100), "h100-80gb-hbm3") == "ok"
    assert verdict(machine(*A100), "h100-80gb-hbm3") == "ok"
    assert verdict(machine(*PCIE), "h100-80gb-hbm3") == "refuse"
    assert verdict(machine(*L4)) == "refuse"
    assert verdict(machine(*L4), "onnx") == "ok"
    assert verdict(replace(machine(), gpus=())) == "refuse"
    assert verdict(replace(machine(), gpus=()), "onnx") == "ok"
    two = replace(machine(), gpus=(*machine(*A100).gpus, *machine(*PCIE).gpus))
    assert verdict(two) == "ok"


def test_an_engine_for_all_gpus_from_ampere_on_is_everybody_s_who_has_none(
    build, machine: Machine, verdict, tmp_path: Path
) -> None:
    carried = build(*A100, body=b"carried" * 4, hardware_compatibility="ampere_plus")
    done = merge(tmp_path / "models", [build(*A100), carried], name="m")
    assert [row["file"] for row in done["engines"]] == ["model.plan", "model_sm80_a100-sxm4-80gb.plan"]
    assert verdict(machine(*A100)) == "ok"
    assert verdict(machine(*L4)) == "suboptimal"
    assert verdict(machine("Tesla T4", "7.5", 40)) == "refuse"
    assert errors(tmp_path / "models") == []


def test_a_part_of_a_gpu_is_another_product(build, tmp_path: Path) -> None:
    part = Mig(True, "1g.10gb", 1, 1)
    done = merge(tmp_path / "models", [build(*A100), build(*A100[:2], 14, mig=part)], name="m")
    files = [row["file"] for row in done["engines"]]
    assert files == ["model_sm80_a100-sxm4-80gb-mig-1g.10gb.plan", "model_sm80_a100-sxm4-80gb.plan"]


def test_the_same_again_is_not_a_new_version_and_more_gpus_are(build, plain: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    first, second = build(*H100), build(*A100)
    assert not merge(models, [first, second], name="m")["unchanged"]
    again = merge(models, [second, first], name="m")
    assert (again["unchanged"], again["version"]) == (True, 1)
    more = merge(models, [first, second, build(*L4), plain], name="m")
    assert (more["version"], more["configs"]) == (2, ["configs/onnx.pbtxt"])
    assert errors(models) == []
    assert [row.number for row in versions(models, "m")[0]] == [1, 2]
    rollback(models, "m", 1)
    assert [found.code for found in lint(models) if found.level == "error"] == ["model-file-missing"]  # of onnx.pbtxt


def test_records_stay_with_their_engines_and_changes_are_found(build, plain: Path, tmp_path: Path) -> None:
    merge(tmp_path / "models", [build(*H100), build(*A100), plain], name="m")
    version = tmp_path / "models" / "m" / "1"
    assert {path.name for path in version.iterdir()} == {
        "model_sm90_h100-80gb-hbm3.plan", "model_sm90_h100-80gb-hbm3.plan.json", "model_sm80_a100-sxm4-80gb.plan",
        "model_sm80_a100-sxm4-80gb.plan.json", "model.onnx", "record.json",
    }  # fmt: skip
    for path in version.glob("*.plan"):
        found = records.find(path)
        assert found is not None
        assert found[1].name == f"{path.name}.json"
    path = version / "model_sm90_h100-80gb-hbm3.plan"
    path.write_bytes(path.read_bytes().replace(b"NVIDIA", b"nvidia"))
    assert [found.code for found in lint(tmp_path / "models") if found.level == "error"] == ["checksum"]


# --- bad input ---


@pytest.mark.parametrize(
    ("what", "kind", "message"),
    [
        ("nothing", UsageError, "no engine was given"),
        ("twice", UsageError, "both of NVIDIA H100 80GB HBM3: a GPU loads one engine"),
        ("carried twice", UsageError, "both for any GPU from Ampere on"),
        ("two onnx", UsageError, "two ONNX models"),
        ("pickle", UsageError, "is pickle|is sklearn"),
        ("no record", UsageError, "has no record"),
        ("no machine", RepositoryInvalid, "does not tell its GPU's name"),
        ("other source", RepositoryInvalid, "is of another model"),
        ("no source", RepositoryInvalid, "does not say what model|no record says of what"),
        ("other onnx", RepositoryInvalid, "is of another model"),
        ("other signature", RepositoryInvalid, "takes or gives '[xz]' in another way"),
        ("stripped", RepositoryInvalid, "no server loads"),
        ("truncated", ConversionFailed, "truncated|bytes"),
        ("of another version", RepositoryInvalid, "it is of another file"),
        ("changed", RepositoryInvalid, "was changed after its record"),
        ("too large a batch", RepositoryInvalid, "max_batch_size=64 is more than the 32 rows"),
        ("a store", UsageError, "engines are merged in a folder"),
    ],
)
def test_what_does_not_belong_together(  # noqa: C901 - a case each
    what: str, kind: type[MlconvertError], message: str, build, plain: Path, tmp_path: Path
) -> None:
    first = build(*H100)
    second, options, models = build(*A100), {}, str(tmp_path / "models")
    other = Signature((TensorSpec("z", "float32", ("batch", 4)),), SIGNATURE.outputs)
    built: list[Path] = [first, second]
    if what == "nothing":
        built = [plain]
    elif what == "twice":
        built = [first, build(*H100, body=b"again")]
    elif what == "carried twice":
        built = [build(*gpu, hardware_compatibility="ampere_plus") for gpu in (A100, L4)]
    elif what == "two onnx":
        built = [first, plain, network(tmp_path / "other.onnx")]
    elif what == "pickle":
        built.append(tmp_path / "model.pkl")
        built[-1].write_bytes(b"\x80\x04N.")
    elif what == "no record":
        (second / "record.json").unlink()
    elif what == "no machine":
        built = [first, build(*A100, changes={"fingerprint": None})]
    elif what == "other source":
        built = [first, build(*A100, changes={"source": {"format": "onnx", "sha256": "0" * 64}})]
    elif what == "no source":
        built = [first, build(*A100, changes={"source": None})]
    elif what == "other onnx":
        onnx.save(_renamed(onnx.load(plain)), tmp_path / "other.onnx")
        built = [first, tmp_path / "other.onnx"]
    elif what == "other signature":
        built = [first, build(*A100, changes={"signature": other.as_json()})]
    elif what == "stripped":
        built = [first, build(*A100, flags=["STRIP_PLAN"])]
    elif what == "truncated":
        plan = second / "model.plan"
        plan.write_bytes(plan.read_bytes()[:-3])
    elif what == "of another version":
        built = [first, build(*A100, tensorrt_version="10.16.0.1")]
    elif what == "changed":
        plan = second / "model.plan"
        plan.write_bytes(plan.read_bytes().replace(b"A100", b"a100"))
    elif what == "too large a batch":
        options = {"max_batch_size": "64"}
    else:
        models = "s3://bucket/models"
    with pytest.raises(kind, match=message) as caught:
        merge(models, built, name="m", options=options)
    assert caught.value.exit_code in (2, 4, 8)
    assert not (tmp_path / "models").exists()


def _renamed(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.name = "another"
    return model


def test_engines_of_two_versions_of_tensorrt_are_a_warning(build, tmp_path: Path) -> None:
    done = merge(tmp_path / "models", [build(*H100), build(*A100, version=(10, 16, 0, 1))], name="m")
    assert done["warnings"] == [
        "the engines are of TensorRT 10.16.0.1 and 11.4.0.106: a server loads those of its own alone"
    ]


def test_the_smallest_largest_batch_is_everybody_s(build, tmp_path: Path) -> None:
    merge(tmp_path / "models", [build(*H100, rows=64), build(*A100, rows=16)], name="m")
    assert "max_batch_size: 16\n" in (tmp_path / "models" / "m" / "config.pbtxt").read_text()


@pytest.mark.parametrize(
    "what", ["an engine less", "a product less", "published", "another batch", "onnx less", "fewer multiprocessors"]
)
def test_what_is_there_must_go_on_serving(what: str, build, plain: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    first, second, third = build(*H100), build(*A100), build(*H200)
    if what == "published":
        publish(first, models, to="triton", name="m")
    else:
        merge(models, [first, second, third, plain], name="m")
    before = {path: path.read_bytes() for path in models.rglob("*") if path.is_file()}
    given: dict[str, tuple[list[Path], dict[str, str]]] = {
        "an engine less": ([first, third, plain], {}),
        "a product less": ([first, second, plain], {}),
        "published": ([first, second], {}),
        "another batch": ([first, second, third, plain], {"max_batch_size": "4"}),
        "onnx less": ([first, second, third], {}),
        "fewer multiprocessors": ([first, second, third, build(*PCIE), plain], {}),  # 9.0 would load it in version 1
    }
    with pytest.raises(RepositoryInvalid) as caught:
        merge(models, given[what][0], name="m", options=given[what][1])
    assert "--name OTHER" in (caught.value.hint or "")
    assert {path: path.read_bytes() for path in models.rglob("*") if path.is_file()} == before


def test_a_merged_model_takes_no_single_engine_and_no_labels(build, plain: Path, tmp_path: Path) -> None:
    models, first = tmp_path / "models", build(*H100)
    merge(models, [first, build(*A100), plain], name="m")
    with pytest.raises(RepositoryInvalid, match="for each kind of GPU"):
        publish(first, models, to="triton", name="m")
    with pytest.raises(RepositoryInvalid, match="several configurations"):
        label(models, "m", {"stable": 1})


def test_lint_reads_every_configuration(build, plain: Path, tmp_path: Path) -> None:
    merge(tmp_path / "models", [build(*H100), build(*A100), plain], name="m")
    configs = tmp_path / "models" / "m" / "configs"
    (configs / "broken.pbtxt").write_text("input [ {")
    (configs / "onnx.pbtxt").write_text((configs / "onnx.pbtxt").read_text().replace('"x"', '"u"'))
    found = {(one.code, one.file.partition(":")[0]) for one in lint(tmp_path / "models") if one.level == "error"}
    assert ("config-syntax", "m/configs/broken.pbtxt") in found
    assert any(file == "m/configs/onnx.pbtxt" for _, file in found)
    assert not any(file == "m/config.pbtxt" for _, file in found)
    config = tmp_path / "models" / "m" / "config.pbtxt"
    config.write_text(config.read_text().replace("dims: [4]", "dims: [5]"))  # which no engine takes
    assert any(one.level == "error" and one.file == "m/config.pbtxt" for one in lint(tmp_path / "models"))


# --- killed, and served ---


@pytest.mark.parametrize("before", [False, True])
def test_killed_after_any_call(before: bool, build, plain: Path, tmp_path: Path) -> None:
    models = tmp_path / "start" / "models"
    models.mkdir(parents=True)
    (models / ".mlconvert-repository").touch()
    built = [build(*H100), build(*A100)]
    if before:
        merge(models, built, name="m")
    built += [build(*H200), build(*L4), plain]
    case = {"layout": "triton", "action": "merge", "name": "m", "built": list(map(str, built)), "arguments": {},
            "server": None}  # fmt: skip
    done = subprocess.run(
        [sys.executable, KILLED, tmp_path / "start", tmp_path / "killed", json.dumps(case)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    calls = int(done.stdout)
    assert calls >= 8
    held: dict[frozenset[tuple[str, str]], Path] = {}
    for limit in range(1, calls + 1):
        there = tmp_path / "killed" / str(limit) / "models"
        files = frozenset((str(one.relative_to(there)), file_sha256(one)) for one in there.rglob("*") if one.is_file())
        held.setdefault(files, there)
    assert len(held) >= (4 if before else 2)
    for there in held.values():
        if (there / "m").is_dir():
            assert errors(there) == []
        # Whatever was left behind, the next merge goes through, and leaves nothing of it.
        assert merge(there, built, name="m")["version"] == (2 if before else 1)
        assert errors(there) == []
        assert not (there.parent / ".mlconvert-models").exists()


def test_the_real_server_serves_the_plain_model_where_there_is_no_gpu(build, plain: Path, tmp_path: Path) -> None:
    merge(tmp_path / "models", [build(*H100), build(*A100), plain], name="m", options={"max_batch_size": "8"})
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    with started(find_server(), tmp_path / "models", arguments=["--model-config-name=onnx"]) as server:
        clients = connect_both(server.http, server.grpc, seconds=60)
        for client in clients:
            client.load("m")
            wait_ready(client, "m", seconds=60)
            np.testing.assert_array_equal(client.infer("m", {"x": x})["y"], 2 * x)
            client.close()


def test_the_command(build, plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["merge", str(tmp_path / "models"), str(build(*H100)), str(build(*H200)), str(plain), "--name", "m"]
    assert main(line) == 0
    told = capsys.readouterr().out
    assert "m/1: merged in" in told
    assert "model_sm90_h200.plan  NVIDIA H200 (9.0)" in told
    assert "configs/h200.pbtxt: tritonserver --model-config-name=h200" in told
    assert main([*line, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unchanged"] is True
    assert main(["merge", str(tmp_path / "models"), str(plain), "--name", "m"]) == 2
    assert "no engine was given" in capsys.readouterr().err
    assert main([*line, "--set", "tensorrt.tf32=yes"]) == 2


def test_the_plain_model_may_lie_in_a_folder_with_its_data(build, plain: Path, tmp_path: Path) -> None:
    assert onnx_artifact(plain, (plain,)).format == "onnx"
    model = onnx.load(plain)
    weights = onnx.numpy_helper.from_array(np.full(4, 2, np.float32), "w")
    model.graph.initializer.append(weights)
    model.graph.node[0].CopyFrom(helper.make_node("Mul", ["x", "w"], ["y"]))
    folder = tmp_path / "large"
    folder.mkdir()
    onnx.save(model, folder / "model.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    source = onnx_artifact(folder / "model.onnx", (folder / "model.onnx", folder / "w.bin"))
    digest = records.total_sha256(
        records.described_files(source, {path.name: file_sha256(path) for path in source.files})
    )
    made = build(*H100, changes={"source": {"format": "onnx", "sha256": digest}})
    merge(tmp_path / "models", [made, folder], name="m")
    assert (tmp_path / "models/m/1/model.onnx/w.bin").is_file()
    assert errors(tmp_path / "models") == []


def test_a_merged_version_is_signed(build, plain, keys, tmp_path, capsys):
    models, built = tmp_path / "models", [str(build(*H100)), str(build(*A100)), str(plain)]
    version, public = models / "m" / "1", str(keys / "ours.pub")
    command = ["merge", str(models), *built, "--name", "m", "--sign"]
    assert main([*command, str(keys / "ours.pem")]) == 0
    assert "signed with" in capsys.readouterr().out
    assert main(["verify", str(version), "--signature", public]) == 0
    assert main([*command, str(keys / "ours.pem")]) == 0  # the same again, signed by the same
    assert main([*command, str(keys / "other.pem")]) == UsageError.exit_code
    assert "not signed with this key" in capsys.readouterr().err
    engine = next(version.glob("*.plan"))
    engine.write_bytes(engine.read_bytes() + b"more")
    assert main(["verify", str(version), "--signature", public]) == RepositoryInvalid.exit_code
    assert f"'{engine.name}' was changed" in capsys.readouterr().err
