"""`mlconvert check`: artifacts and repositories against machines that are only described."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mlconvert.cli import main
from mlconvert.errors import HardwareMismatch, RepositoryInvalid, UsageError
from mlconvert.hardware.fingerprint import Fingerprint, as_json
from mlconvert.operations.check import check_location
from mlconvert.readers.hardware_builds import require_fits


@pytest.fixture
def on(tmp_path: Path):
    """Writes the fingerprint of a machine into a file."""

    def write(machine: Fingerprint, name: str = "machine.json") -> Path:
        path = tmp_path / name
        path.write_text(json.dumps(as_json(machine)))
        return path

    return write


def refusing(report: dict, number: int = 0) -> list[str]:
    return [
        found["rule"]
        for one in report["artifacts"][number]["judgements"]
        for found in one["findings"]
        if found["level"] == "refuse"
    ]


def test_where_it_was_built_it_is_ok(make_engine, machine, on, tmp_path):
    make_engine(tmp_path / "e" / "model.plan", machine())
    for location in (tmp_path / "e", tmp_path / "e" / "model.plan"):
        report = check_location(str(location), on=on(machine()))
        assert (report["verdict"], report["exit_code"], report["ok"]) == ("ok", 0, True)
        assert {found["level"] for found in report["artifacts"][0]["judgements"][0]["findings"]} == {"ok"}


@pytest.mark.parametrize(
    ("there", "rule", "built", "here"),
    [
        ({"capability": "8.0"}, "compute-capability", "9.0", "8.0"),
        ({"version": "11.4.1.7"}, "tensorrt-version", "11.4.0.106", "11.4.1.7"),
        ({"multiprocessors": 114}, "multiprocessors", 132, 114),
    ],
)
def test_a_rule_that_refuses_is_named_with_both_values(make_engine, machine, on, tmp_path, there, rule, built, here):
    make_engine(tmp_path / "model.plan", machine())
    report = check_location(str(tmp_path / "model.plan"), on=on(machine(**there)))
    assert (report["verdict"], report["exit_code"], refusing(report)) == ("refuse", 7, [rule])
    found = next(one for one in report["artifacts"][0]["judgements"][0]["findings"] if one["rule"] == rule)
    assert (found["built"], found["here"]) == (built, here)


def test_another_product_is_suboptimal_and_ends_with_0(make_engine, machine, on, tmp_path):
    make_engine(tmp_path / "model.plan", machine())
    report = check_location(str(tmp_path / "model.plan"), on=on(machine(name="NVIDIA H200")))
    assert (report["verdict"], report["exit_code"]) == ("suboptimal", 0)


def test_this_machine_has_no_gpu(make_engine, machine, tmp_path, monkeypatch):
    monkeypatch.setattr("mlconvert.operations.check.take", lambda: replace(machine(), gpus=()))
    make_engine(tmp_path / "model.plan", machine())
    assert refusing(check_location(str(tmp_path / "model.plan"))) == ["gpu"]


def test_a_plan_without_a_record_is_refused(make_engine, machine, on, tmp_path):
    make_engine(tmp_path / "model.plan", None)
    report = check_location(str(tmp_path / "model.plan"), on=on(machine()))
    assert refusing(report) == ["os", "architecture", "compute-capability", "multiprocessors"]
    assert "has no record" in report["artifacts"][0]["judgements"][0]["findings"][0]["sentence"]


@pytest.mark.parametrize("content", ["truncated", "foreign", "wrapped", "longer"])
def test_a_file_that_no_server_loads_is_refused_whatever_its_record_says(
    make_engine, make_plan, wrap_plan, machine, on, tmp_path, content
):
    broken = {
        "truncated": make_plan()[:-5],
        "foreign": b"ftr" + bytes(100),
        "wrapped": wrap_plan(),
        "longer": make_plan() + b"more",
    }[content]
    repository = tmp_path / "models"
    make_engine(repository / "m" / "1" / "model.plan", machine(), broken)
    report = check_location(str(repository), on=on(machine()))
    assert refusing(report) == ["plan"]
    if content != "foreign":
        assert "plan" in refusing(check_location(str(repository / "m" / "1" / "model.plan"), on=on(machine())))
    else:
        with pytest.raises(UsageError, match="not a TensorRT plan"):
            check_location(str(repository / "m" / "1" / "model.plan"), on=on(machine()))


def test_a_record_of_another_file_says_nothing(make_engine, make_plan, machine, on, tmp_path):
    artifact = make_engine(tmp_path / "models" / "m" / "1" / "model.plan", machine())
    for content in (make_plan((10, 16, 1, 11)), make_plan(body=b"other")):
        artifact.path.write_bytes(content)
        assert refusing(check_location(str(tmp_path / "models"), on=on(machine()))) == ["record"]
        assert refusing(check_location(str(artifact.path), on=on(machine()))) == ["record"]
    artifact.path.write_bytes(make_plan(body=b"engine" * 10 + b"ENGINE"))  # of the same size: only the digest tells
    assert refusing(check_location(str(artifact.path), on=on(machine()))) == ["record"]


def test_a_record_with_a_fingerprint_that_is_none_is_refused(make_engine, machine, on, tmp_path):
    make_engine(tmp_path / "model.plan", machine())
    path = tmp_path / "record.json"
    record = json.loads(path.read_text())
    for wrong in ({"schema": "other/1"}, [1], "x"):
        path.write_text(json.dumps({**record, "fingerprint": wrong}))
        assert "record" in refusing(check_location(str(tmp_path / "model.plan"), on=on(machine())))
    record["facts"]["hardware"]["gpu"] = 3
    path.write_text(json.dumps(record))
    assert "record" in refusing(check_location(str(tmp_path / "model.plan"), on=on(machine())))


def test_a_stripped_plan_and_plug_ins(make_engine, machine, on, tmp_path):
    make_engine(tmp_path / "a" / "model.plan", machine(), flags=["STRIP_PLAN"])
    assert refusing(check_location(str(tmp_path / "a"), on=on(machine()))) == ["weights"]
    make_engine(tmp_path / "b" / "model.plan", machine(), plugins={"libmine.so": "0" * 64})
    assert check_location(str(tmp_path / "b"), on=on(machine()))["verdict"] == "suboptimal"


@pytest.mark.parametrize("compatibility", ["ampere_plus", "same_compute_capability", "of_tomorrow"])
def test_engines_built_to_be_carried(make_engine, machine, on, tmp_path, compatibility):
    make_engine(tmp_path / "model.plan", machine(), hardware_compatibility=compatibility)
    fewer, older = machine(multiprocessors=114), machine(name="NVIDIA A100", capability="8.0", multiprocessors=108)
    verdicts = [check_location(str(tmp_path / "model.plan"), on=on(there))["verdict"] for there in (fewer, older)]
    assert (
        verdicts
        == {
            "ampere_plus": ["suboptimal", "suboptimal"],
            "same_compute_capability": ["suboptimal", "refuse"],
            "of_tomorrow": ["refuse", "refuse"],
        }[compatibility]
    )


# --- repositories ---


def write_config(folder: Path, text: str = "") -> None:
    (folder / "config.pbtxt").write_text(f'name: "{folder.name}"\nbackend: "tensorrt"\n{text}\n')


def test_every_engine_of_a_repository_is_judged_and_the_others_are_counted(make_engine, machine, on, tmp_path):
    repository = tmp_path / "models"
    make_engine(repository / "good" / "1" / "model.plan", machine())
    make_engine(repository / "bad" / "1" / "model.plan", machine(capability="8.0"))
    (repository / "plain" / "1").mkdir(parents=True)
    (repository / "plain" / "1" / "model.onnx").write_bytes(b"x")
    report = check_location(str(repository), on=on(machine()))
    assert [(row["model"], row["verdict"]) for row in report["artifacts"]] == [("bad", "refuse"), ("good", "ok")]
    assert (report["unbound"], report["exit_code"]) == (1, 7)


def test_versions_out_of_service_do_not_count(make_engine, machine, on, tmp_path):
    model = tmp_path / "models" / "m"
    make_engine(model / "1" / "model.plan", machine(capability="8.0"))
    make_engine(model / "2" / "model.plan", machine())
    for policy, verdict in (
        ("", "ok"),
        ("version_policy { all {} }", "refuse"),
        ("version_policy: { latest: { num_versions: 2 } }", "refuse"),
        ("version_policy { specific { versions: [ 1 ] } }", "refuse"),
        ("version_policy { specific { versions: 2 } }", "ok"),
    ):
        write_config(model, policy)
        report = check_location(str(model.parent), on=on(machine()))
        assert report["verdict"] == verdict, policy
        assert [row["verdict"] for row in report["artifacts"]] == ["refuse", "ok"]


def test_the_configuration_says_which_gpus_and_which_file(make_engine, machine, on, tmp_path):
    model = tmp_path / "models" / "m"
    two = replace(machine(), gpus=(*machine().gpus, *machine(name="NVIDIA A100", capability="8.0").gpus))
    make_engine(model / "1" / "model.plan", machine())
    write_config(model)
    report = check_location(str(model.parent), on=on(two))
    assert [one["verdict"] for one in report["artifacts"][0]["judgements"]] == ["ok", "refuse"]
    for gpus, verdict in (("0", "ok"), ("1", "refuse"), ("0, 1", "refuse"), ("7", "refuse")):
        write_config(model, f"instance_group [ {{ kind: KIND_GPU gpus: [ {gpus} ] }} ]")
        assert check_location(str(model.parent), on=on(two))["verdict"] == verdict
    # A file for each compute capability: the record of the second lies beside it.
    made = make_engine(tmp_path / "a100" / "model.plan", machine(name="NVIDIA A100", capability="8.0"))
    shutil.copy(made.path, model / "1" / "a100.plan")
    record = json.loads((made.path.parent / "record.json").read_text())
    record["path"] = record["files"][0]["path"] = "a100.plan"
    (model / "1" / "a100.plan.json").write_text(json.dumps(record))
    write_config(model, 'cc_model_filenames { key: "8.0" value: "a100.plan" }')
    report = check_location(str(model.parent), on=on(two))
    assert report["verdict"] == "ok"
    assert [[one["gpu"] for one in row["judgements"]] for row in report["artifacts"]] == [[0], [1]]
    (model / "1" / "a100.plan").unlink()
    assert check_location(str(model.parent), on=on(two))["verdict"] == "refuse"
    assert check_location(str(model.parent), on=on(machine()))["verdict"] == "ok"  # no GPU here loads that file


def test_a_model_file_that_is_not_there_and_a_configuration_that_is_damaged_are_refused(
    make_engine, machine, on, tmp_path
):
    model = tmp_path / "models" / "m"
    (model / "1").mkdir(parents=True)
    write_config(model)
    assert refusing(check_location(str(model.parent), on=on(machine())))[0] == "plan"
    make_engine(model / "1" / "model.plan", machine())
    (model / "config.pbtxt").write_text("instance_group [ {")
    report = check_location(str(model.parent), on=on(machine()))
    assert refusing(report) == ["record"]


def test_wrong_use(make_engine, machine, on, tmp_path):
    make_engine(tmp_path / "model.plan", machine())
    with pytest.raises(UsageError, match="does not exist"):
        check_location(str(tmp_path / "nothing"))
    with pytest.raises(UsageError, match="cannot be read"):
        check_location(str(tmp_path / "model.plan"), on=tmp_path / "no.json")
    for text in ("{", "[]", '{"schema": "mlconvert.record/1"}'):
        (tmp_path / "wrong.json").write_text(text)
        with pytest.raises(UsageError) as caught:
            check_location(str(tmp_path / "model.plan"), on=tmp_path / "wrong.json")
        assert "mlconvert fingerprint" in caught.value.hint
    (tmp_path / "empty").mkdir()
    with pytest.raises((UsageError, RepositoryInvalid)):
        check_location(str(tmp_path / "empty"))


def test_what_is_bound_to_nothing_is_ok(on, machine, tmp_path):
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04N.")
    report = check_location(str(tmp_path / "model.pkl"), on=on(machine()))
    assert (report["verdict"], report["artifacts"], report["unbound"]) == ("ok", [], 1)


def test_a_plan_that_a_backend_of_one_s_own_loads_is_judged_too(make_engine, machine, on, tmp_path):
    model = tmp_path / "models" / "m"
    make_engine(model / "1" / "mine.engine", machine(capability="8.0"))
    (model / "1" / "model.py").write_text("class TritonPythonModel: ...")
    (model / "config.pbtxt").write_text('backend: "python"')
    report = check_location(str(model.parent), on=on(machine()))
    assert [(Path(row["path"]).name, row["verdict"]) for row in report["artifacts"]] == [("mine.engine", "refuse")]


# --- before a load ---


def test_a_load_is_refused_where_no_gpu_will_do(make_engine, machine, tmp_path):
    artifact = make_engine(tmp_path / "model.plan", machine())
    record = json.loads((tmp_path / "record.json").read_text())
    two = replace(machine(), gpus=(*machine(capability="8.0").gpus, *machine().gpus))
    require_fits(artifact, record, machine())
    require_fits(artifact, record, two)  # the second one is right
    with pytest.raises(HardwareMismatch, match=r"compute-capability: built for 9\.0, here 8\.0") as caught:
        require_fits(artifact, record, machine(capability="8.0"))
    assert "mlconvert check" in caught.value.hint
    require_fits(artifact, None, machine())  # the record beside it
    (tmp_path / "record.json").unlink()
    with pytest.raises(HardwareMismatch, match="has no record"):
        require_fits(artifact, None, machine())
    fresh = replace(artifact, facts={"hardware": record["facts"]["hardware"], "fingerprint": record["fingerprint"]})
    require_fits(fresh, None, machine())  # as the converter hands it on, before there is a record


# --- the command ---


def test_the_command_names_rules_with_both_values_within_80_columns(
    make_engine, machine, on, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    make_engine(Path("models/m/1/model.plan"), machine())
    path = on(machine(name="NVIDIA A100-SXM4-40GB", capability="8.0", multiprocessors=108, count=8))
    assert main(["check", "models", "--on", str(path)]) == 7
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "models/m/1/model.plan  refuse" in out
    assert "GPUs 0 to 7: NVIDIA A100-SXM4-40GB" in out
    assert "refuse  compute-capability\n      built for 9.0; here 8.0" in out
    assert "and suboptimal: product" in out
    assert out.splitlines()[-1] == "1 refuse"
    assert main(["check", "models", "--on", str(path), "--json"]) == 7
    report = json.loads(capsys.readouterr().out)
    assert (report["schema"], report["exit_code"]) == ("mlconvert.check/1", 7)
    assert main(["check", "models", "--on", str(on(machine()))]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 ok"


def test_nothing_heavy_is_imported(make_engine, machine, on, tmp_path):
    make_engine(tmp_path / "models" / "m" / "1" / "model.plan", machine())
    heavy = ("numpy", "google.protobuf", "onnx", "onnxruntime", "torch", "tensorrt", "tritonclient", "yaml")
    code = f"""
import sys
from mlconvert.cli import main
status = main(["check", {str(tmp_path / "models")!r}, "--on", {str(on(machine()))!r}])
print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)
sys.exit(status)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "[]\n")


# --- in front of lint and publish ---


def test_lint_finds_engines_that_no_server_loads_and_says_what_it_does_not_know(
    make_engine, make_plan, machine, tmp_path, monkeypatch
):
    from mlconvert.repositories.triton.lint import engines, lint

    repository = tmp_path / "models"
    content = {"good": make_plan(), "cut": make_plan()[:-4], "bare": make_plan()}
    for name, plan in content.items():
        make_engine(repository / name / "1" / "model.plan", None if name == "bare" else machine(), plan)
        write_config(repository / name)

    def told(here: Fingerprint) -> dict[str, list[tuple[str, str]]]:
        monkeypatch.setattr(engines, "this_machine", lambda: here)
        found = [one for one in lint(repository) if one.code.startswith("engine-")]
        return {name: [(one.level, one.code) for one in found if one.model == name] for name in content}

    wrong = {"cut": [("error", "engine-plan")], "bare": [("warning", "engine-unrecorded")]}
    assert told(machine()) == {"good": [], **wrong}
    assert told(machine(name="NVIDIA H200")) == {"good": [], **wrong}
    assert told(machine(capability="8.0")) == {"good": [("warning", "engine-hardware")], **wrong}
    assert told(replace(machine(), gpus=())) == {"good": [("warning", "engine-hardware")], **wrong}


def test_publishing_warns_of_other_hardware_and_refuses_what_runs_nowhere(make_engine, machine, tmp_path, monkeypatch):
    from mlconvert.operations.publish import publish

    def signed(folder: Path, **hardware) -> str:
        made = make_engine(folder / "model.plan", machine(), **hardware)
        record = json.loads((folder / "record.json").read_text())
        tensor = {"name": "x", "dtype": "float32", "shape": ["batch", 4]}
        record["signature"] = {"inputs": [tensor], "outputs": [{**tensor, "name": "y"}]}
        (folder / "record.json").write_text(json.dumps(record))
        return str(made.path)

    here = {"machine": machine()}
    monkeypatch.setattr("mlconvert.operations.publish.take", lambda: here["machine"])
    first = signed(tmp_path / "a")
    assert publish(first, tmp_path / "models", to="triton", name="m")["warnings"] == []
    here["machine"] = machine(capability="8.0")
    warnings = publish(first, tmp_path / "models", to="triton", name="n")["warnings"]
    assert len(warnings) == 1
    assert "does not run on this machine" in warnings[0]
    with pytest.raises(HardwareMismatch, match="compute-capability"):
        publish(first, tmp_path / "models", to="triton", name="o", load="triton://127.0.0.1:9")
    with pytest.raises(RepositoryInvalid, match="without its weights"):
        publish(signed(tmp_path / "b", flags=["STRIP_PLAN"]), tmp_path / "models", to="triton", name="p")
    assert sorted(path.name for path in (tmp_path / "models").iterdir() if not path.name.startswith(".")) == ["m", "n"]
    report = check_location(str(tmp_path / "models"))  # the record travels with the engine
    assert {row["model"]: row["verdict"] for row in report["artifacts"]} == {"m": "refuse", "n": "refuse"}
    monkeypatch.setattr("mlconvert.operations.check.take", machine)
    assert check_location(str(tmp_path / "models"))["verdict"] == "ok"
