"""`mlconvert bundle` and `mlconvert build-bundle`: from a recipe to results, and what is refused on the way."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from jsonschema.validators import Draft202012Validator

from mlconvert.bundles import archive, building, packing
from mlconvert.bundles.building import unpacked
from mlconvert.cli import main
from mlconvert.execution import planned_hardware, versions
from mlconvert.report import SCHEMA

ROOT = Path(__file__).parents[2]

RECIPE = """
x-notes: &notes {opset: 18}   # of the user's own
model: model.onnx
samples: {file: rows.npz}
targets:
  simple:
    steps: [optimize]
    publish: {to: triton, name: small, options: {max_batch_size: 16}}
  bound: {steps: [optimize, onnxruntime]}
"""


@pytest.fixture
def here(tmp_path, monkeypatch, small_onnx):
    """The user's folder: a recipe, a model that keeps its weights in a file beside it, rows."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLCONVERT_CACHE", os.environ["MLCONVERT_CACHE"])
    model = onnx.load(small_onnx)
    onnx.save(model, "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=60)
    np.savez("rows.npz", x=np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32))
    Path("recipe.yaml").write_text(RECIPE)
    return folder


@pytest.fixture
def shell(capsys):
    def run(code: int, line: str) -> str:
        ended = main(shlex.split(line))
        told = capsys.readouterr()
        assert ended == code, told.err + told.out
        assert "Traceback" not in told.err
        return told.out + told.err

    return run


@pytest.fixture
def job(here, shell):
    shell(0, "bundle recipe.yaml -o job.tar")
    return here / "job.tar"


def listed(folder: Path = Path()) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


INPUTS = ["model.onnx", "recipe.yaml", "rows.npz", "weights.bin"]


def forged(path: Path, change, *, files=None) -> Path:
    """The bundle again, its manifest and digests right, after `change` has rewritten its recipe."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest, _ = archive.unpack(path, folder, schema="mlconvert.bundle/1")
        recipe = folder / "recipe.yaml"
        recipe.write_text(json.dumps(change(json.loads(recipe.read_text()), manifest) or {}))
        rows = {row["path"]: folder / row["path"] for row in manifest.pop("files")} | (files or {})
        out = path.with_name("forged.tar")
        out.unlink(missing_ok=True)
        archive.write(out, manifest, rows)
    return out


# --- there and back ---


def test_there_and_back(here, shell, tmp_path):
    told = shell(0, "bundle recipe.yaml -o job.tar")
    digest = hashlib.sha256(Path("job.tar").read_bytes()).hexdigest()
    assert "job.tar: 4 files" in told
    assert "left out: to publish simple as small" in told
    assert f"there: mlconvert build-bundle job.tar -o built.tar --sha256 {digest}\n" in told
    assert listed() == sorted([*INPUTS, "job.tar"])

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move("job.tar", elsewhere)
    shutil.move(here, tmp_path / "away")  # nothing of it is needed
    os.chdir(elsewhere)
    told = shell(0, f"build-bundle job.tar -o h100.tar --sha256 {digest} --report told.json")
    report = json.loads(Path("told.json").read_text())
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(report)
    assert [each["path"] for each in report["targets"]] == ["h100/simple/model.onnx", "h100/bound/model.onnx"]
    assert all(step["parity"]["ok"] for each in report["targets"] for step in each["steps"])
    assert report["source"]["path"] == "models/model.onnx"
    assert listed() == ["h100.tar", "job.tar", "told.json"]

    subprocess.run(["tar", "-xf", "h100.tar"], check=True)
    assert json.loads(Path("h100/report.json").read_text()) == report
    assert {each.partition("/")[0] for each in listed(Path("h100"))} == {
        "simple", "bound", "manifest.json", "manifest.json.sha256", "report.json",
    }  # fmt: skip
    built = json.loads(Path("h100/manifest.json").read_text())
    assert (built["schema"], built["bundle"]) == ("mlconvert.built/1", digest)
    record = json.loads(Path("h100/bound/record.json").read_text())
    assert record["source"]["path"] == "models/model.onnx"
    assert record["fingerprint"] is not None
    for path in Path("h100").rglob("*.json"):
        assert str(tmp_path) not in path.read_text(), path
        assert ".mlconvert" not in path.read_text(), path

    (publish,) = [line.strip() for line in told.splitlines() if "mlconvert publish" in line]
    assert publish == "mlconvert publish h100/simple models --to triton --name small --set max_batch_size=16"
    shell(0, publish.removeprefix("mlconvert "))
    assert "max_batch_size: 16" in Path("models/small/config.pbtxt").read_text()
    shell(0, "verify h100/bound")


def test_equal_content_is_the_same_bundle_wherever_it_lies(job, tmp_path, shell):
    copied = tmp_path / "another" / "place"
    shutil.copytree(job.parent, copied)
    (copied / "job.tar").unlink()
    os.utime(copied / "model.onnx", (1, 1))
    (copied / "rows.npz").chmod(0o600)
    os.chdir(copied)
    shell(0, "bundle ./recipe.yaml -o job.tar")
    assert (copied / "job.tar").read_bytes() == job.read_bytes()
    assert str(tmp_path).encode() not in job.read_bytes()


def test_the_bundle_runs_by_hand(job, shell, tmp_path):
    (tmp_path / "by-hand").mkdir()
    os.chdir(tmp_path / "by-hand")
    subprocess.run(["tar", "-xf", job], check=True)
    shell(0, "run recipe.yaml --target simple")
    assert Path("build/recipe/simple/model.onnx").is_file()


def test_some_of_the_targets(here, shell):
    told = shell(0, "bundle recipe.yaml -o job.tar --target bound")
    assert "left out" not in told
    with tarfile.open("job.tar") as tar:
        recipe = json.load(tar.extractfile("recipe.yaml"))
    assert list(recipe["targets"]) == ["bound"]
    assert "x-notes" not in recipe
    assert "has no target 'bund'" in shell(2, "bundle recipe.yaml -o other.tar --target bund")
    assert listed() == sorted([*INPUTS, "job.tar"])


def test_what_was_packed_and_built_as_json(here, shell, capsys):
    assert main(["bundle", "recipe.yaml", "-o", "job.tar", "--json"]) == 0
    packed = json.loads(capsys.readouterr().out)
    assert packed["sha256"] == hashlib.sha256(Path("job.tar").read_bytes()).hexdigest()
    assert packed["manifest"]["targets"] == ["simple", "bound"]
    assert (packed["missing"], packed["needs_trust"]) == ([], [])
    assert main(["build-bundle", "job.tar", "-o", "built.tar", "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["ok"] is True
    assert "there: tar xf built.tar" in told.err


def test_an_ensemble(tmp_path, monkeypatch, shell):
    path = ROOT / "tests" / "ensembles" / "three_models.py"
    spec = importlib.util.spec_from_file_location("three_models", path)
    three = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "three_models", three)
    spec.loader.exec_module(three)
    three.write(tmp_path / "three")
    monkeypatch.chdir(tmp_path / "three")
    (recipe,) = Path().glob("*.yaml")
    told = shell(0, f"bundle {recipe} -o job.tar")
    assert "left out: to publish ensemble as three" in told
    with tarfile.open("job.tar") as tar:
        assert [name for name in tar.getnames() if "/" in name] == [
            "models/join/join.onnx", "models/project/project.onnx", "models/total/total.onnx", "samples/rows.npz",
        ]  # fmt: skip
    told = shell(0, "build-bundle job.tar -o built.tar")
    assert "mlconvert publish built/ensemble models --to triton --name three" in told
    subprocess.run(["tar", "-xf", "built.tar"], check=True)
    assert {path.name for path in Path("built").iterdir() if path.is_dir()} == {"total", "project", "join", "ensemble"}
    for path in Path("built").rglob("*.json"):
        assert str(tmp_path) not in path.read_text(), path
        assert ".mlconvert" not in path.read_text(), path


# --- what is not packed ---


def test_the_users_own_code_is_not_packed(here, shell):
    Path("networks.py").write_text("def small():\n    raise RuntimeError\n")
    Path("recipe.yaml").write_text("model: networks.py:small\ntargets: {a: {steps: [onnx]}}\n")
    told = shell(2, "bundle recipe.yaml -o job.tar")
    assert "networks.py:small is code of yours, which no bundle takes along" in told
    assert "try: mlconvert convert networks.py:small --to exported-program -o model.pt2; then let the recipe" in told
    assert "job.tar" not in listed()


def test_links_out_of_a_model_are_not_followed(here, shell, tmp_path):
    secret = tmp_path / "secret"
    shutil.move("weights.bin", secret)
    Path("weights.bin").symlink_to(secret)
    assert "weights.bin" in shell(4, "bundle recipe.yaml -o job.tar")

    variables = here / "saved" / "variables"
    variables.mkdir(parents=True)
    (here / "saved" / "saved_model.pb").write_bytes(b"\x08\x01\x12\x00")
    (variables / "variables.index").write_bytes(b"index")
    Path("recipe.yaml").write_text("model: saved\nsamples: rows.npz\ntargets: {a: {steps: [onnx]}}\n")
    (variables / "variables.data-00000-of-00001").symlink_to(secret)
    told = shell(2, "bundle recipe.yaml -o job.tar")
    assert "variables.data-00000-of-00001 is a link out of the model's folder" in told
    assert "try: cp -rL saved copied" in told
    assert not list(Path().glob("*.tar"))

    (variables / "variables.data-00000-of-00001").unlink()
    shutil.move(secret, variables / "variables.data-00000-of-00001")
    shell(0, "bundle recipe.yaml -o job.tar")
    with tarfile.open("job.tar") as tar:
        assert [name.removeprefix("models/") for name in tar.getnames() if name.startswith("models/")] == [
            "saved_model.pb",
            "variables/variables.data-00000-of-00001",
            "variables/variables.index",
        ]


def test_a_model_may_be_named_by_a_link(here, shell, tmp_path):
    shutil.copytree(here, tmp_path / "kept")
    Path("link.onnx").symlink_to(tmp_path / "kept" / "model.onnx")
    Path("linked").symlink_to(tmp_path / "kept")
    Path("recipe.yaml").write_text(RECIPE.replace("model.onnx", "linked/model.onnx"))
    shell(0, "bundle recipe.yaml -o job.tar")
    with tarfile.open("job.tar") as tar:
        assert all(member.isreg() for member in tar)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("bundle nothing.yaml -o job.tar", "no recipe at nothing.yaml"),
        ("bundle model.onnx -o job.tar", "not a text file"),
        ("bundle recipe.yaml -o job.zip", "'job.zip' is no name for a bundle"),
        ("bundle recipe.yaml -o job", "try: -o job.tar"),
        ("bundle recipe.yaml -o .", ". is a folder"),
        ("bundle recipe.yaml -o notes.tar", "notes.tar is there already, and is no bundle"),
        ("bundle recipe.yaml", "Missing option"),
        ("bundle recipe.yaml -o job.tar --targets a", "No such option"),
        ("build-bundle job.tar", "Missing option"),
        ("build-bundle job.tar -o built.tar", "job.tar does not exist"),
        ("build-bundle recipe.yaml -o built.tar", "not a bundle of mlconvert"),
        ("build-bundle recipe.yaml -o notes.tar", "notes.tar is there already"),
        ("build-bundle recipe.yaml -o built.tar --sha256 123", "not 64 hexadecimal digits"),
        ("build-bundle recipe.yaml -o built.tar --report built.tar", "the report would lie where the results do"),
    ],
)
def test_wrong_use(line, said, here, shell):
    Path("notes.tar").write_text("mine\n")
    assert said in shell(2, line)
    assert listed() == sorted([*INPUTS, "notes.tar"])
    assert Path("notes.tar").read_text() == "mine\n"


def test_the_result_does_not_replace_the_bundle(job, shell):
    before = job.read_bytes()
    assert "the result would replace the bundle" in shell(2, "build-bundle job.tar -o job.tar")
    assert job.read_bytes() == before


def test_what_could_never_be_published_is_told_before(here, shell):
    Path("recipe.yaml").write_text(RECIPE.replace("max_batch_size", "max_batch_sise"))
    assert "max_batch_size" in shell(2, "bundle recipe.yaml -o job.tar")
    assert listed() == INPUTS


def test_a_target_called_like_a_file_of_the_results(here, shell):
    Path("recipe.yaml").write_text("model: model.onnx\ntargets: {report.json: {steps: [optimize]}}\n")
    assert "cannot be called 'report.json'" in shell(2, "bundle recipe.yaml -o job.tar")


# --- what is not built ---


@pytest.mark.parametrize("place", [3, 700, 3000, -1, -1500])
def test_a_bundle_that_was_changed(place, job, shell):
    data = bytearray(job.read_bytes())
    data[place] ^= 1
    job.write_bytes(data)
    shell(2, "build-bundle job.tar -o built.tar --report told.json")
    assert json.loads(Path("told.json").read_text())["exit_code"] == 2
    assert listed() == sorted([*INPUTS, "job.tar", "told.json"])


def test_a_bundle_that_somebody_rewrote_whole(job, shell):
    digest = hashlib.sha256(job.read_bytes()).hexdigest()
    rewritten = forged(job, lambda recipe, _: recipe | {"limits": {"time": "1h"}})
    rewritten.replace(job)
    assert "not the bundle that --sha256 names" in shell(2, f"build-bundle job.tar -o built.tar --sha256 {digest}")
    shell(0, "build-bundle job.tar -o built.tar")  # without the digest nobody can know


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "os:system"}, "its model is os:system"),
        ({"model": "models/evil.py:run"}, "models/evil.py:run"),
        ({"model": {"source": "models/evil.py", "from": "torch"}}, "evil.py"),
        ({"model": "/etc/passwd"}, "its model is /etc/passwd"),
        ({"model": "../model.onnx"}, "its model is"),
        ({"model": {"source": "models/model.onnx", "weights": "weights.bin"}}, "its model is"),
        ({"samples": "/etc/passwd"}, "its samples are /etc/passwd"),
        ({"samples": "../rows.npz"}, "its samples are"),
        ({"targets": {"simple": {"steps": ["optimize"], "publish": {"to": "triton", "name": "a"}}}}, "it publishes"),
        ({"targets": {"other": {"steps": ["optimize"]}}}, "no target 'simple'"),
        ({"targets": {"simple": {"steps": ["optimise"]}}}, "optimise"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_recipes_that_no_bundle_has(change, said, here, shell):
    shell(0, "bundle recipe.yaml -o job.tar --target simple")
    evil = here / "evil.py"
    evil.write_text("import pathlib\npathlib.Path('ran').touch()\n\ndef run():\n    return None\n")
    bad = forged(here / "job.tar", lambda recipe, _: recipe | change, files={"models/evil.py": evil})
    told = shell(2, f"build-bundle {bad.name} -o built.tar --trust")
    assert said in told
    assert str(here) not in told
    assert "ran" not in listed()
    assert "built.tar" not in listed()


@pytest.mark.parametrize(
    "change",
    [
        {"targets": []},
        {"targets": "simple"},
        {"targets": ["../../x"]},
        {"name": None},
        {"versions": {}},
        {"versions": None},
        {"not_published": {"simple": {"to": "triton", "name": "a\x1b[2J"}}},
        {"more": 1},
    ],
)
def test_manifests_that_no_bundle_has(change, job, shell):
    bad = forged(job, lambda recipe, manifest: (manifest.update(change), recipe)[1])
    told = shell(2, f"build-bundle {bad.name} -o built.tar")
    assert "manifest is none that `mlconvert bundle` writes" in told
    assert "\x1b" not in told


def test_code_is_loaded_only_from_who_is_trusted(here, shell):
    import pickle

    Path("model.pkl").write_bytes(pickle.dumps({"no": "model"}))
    recipe = "model: {source: model.onnx, trust: true}\nsamples: rows.npz\ntargets: {a: {steps: [optimize]}}\n"
    Path("recipe.yaml").write_text(recipe)
    told = shell(0, "bundle recipe.yaml -o job.tar")
    assert "to be trusted there: it will load model.onnx, which can run code" in told
    assert "-o built.tar --trust --sha256" in told
    told = shell(2, "build-bundle job.tar -o built.tar")
    assert "building job.tar would load model.onnx, which can run code" in told
    assert "--trust, if you know who made it" in told
    shell(0, "build-bundle job.tar -o built.tar --trust")


def test_files_that_options_name_travel_and_want_trust(here, shell, tmp_path):
    library = tmp_path / "plugins" / "libmine.so"
    library.parent.mkdir()
    library.write_bytes(b"\x7fELF")
    Path("recipe.yaml").write_text(
        "model: model.onnx\nsamples: rows.npz\ntargets:\n  gpu:\n    hardware: H100\n    steps:\n"
        f"      - tensorrt: {{plugins: '{library}', timing_cache: /var/cache/timings}}\n"
    )
    told = shell(0, "bundle recipe.yaml -o job.tar")
    assert "it will load libmine.so, which can run code" in told
    assert "it will use /var/cache/timings of the building machine" in told
    assert str(library.parent).encode() not in Path("job.tar").read_bytes()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        manifest, _ = archive.unpack(Path("job.tar"), folder, schema="mlconvert.bundle/1")
        files = {folder / row["path"] for row in manifest["files"]}
        recipe = building.placed(building.load_recipe(folder / "recipe.yaml"), files)
        options = recipe.targets[0].steps[0].options
        assert Path(options["plugins"]).read_bytes() == b"\x7fELF"
        assert Path(options["plugins"]).is_relative_to(folder)
        assert options["timing_cache"] == "/var/cache/timings"


def test_targets_for_several_machines(here, shell):
    text = "model: model.onnx\nsamples: rows.npz\ntargets:\n  a: {hardware: A100, steps: [onnxruntime]}\n"
    Path("recipe.yaml").write_text(text + "  h: {hardware: H100, steps: [onnxruntime]}\n")
    told = shell(0, "bundle recipe.yaml -o job.tar")
    assert "hardware: A100, H100: one machine has to have all, or make a bundle of each (--target)" in told
    assert "  hardware: H100\n" in shell(0, "bundle recipe.yaml -o job.tar --target h")


def test_hardware_that_is_here(here, shell, monkeypatch):
    gpus = [SimpleNamespace(name="NVIDIA A100-SXM4-40GB"), SimpleNamespace(name="NVIDIA H100 80GB HBM3")]
    monkeypatch.setattr(planned_hardware, "take", lambda: SimpleNamespace(gpus=gpus, missing={}))
    Path("recipe.yaml").write_text(
        "model: model.onnx\nsamples: rows.npz\ntargets: {gpu: {hardware: H100, steps: [onnxruntime]}}\n"
    )
    shell(0, "bundle recipe.yaml -o job.tar")
    shell(0, "build-bundle job.tar -o built.tar")


def test_an_engine_travels_with_its_record(here, shell):
    engine = here / "engine" / "model.plan"
    engine.parent.mkdir()
    engine.write_bytes(b"ftrt")
    (here / "engine" / "plugins").mkdir()
    (here / "engine" / "plugins" / "libmine.so").write_bytes(b"ftrt")
    names = ("model.plan", "plugins/libmine.so")
    rows = [{"path": name, "sha256": hashlib.sha256(b"ftrt").hexdigest(), "bytes": 4} for name in names]
    record = {"schema": "mlconvert.record/1", "path": "model.plan", "files": rows}
    (here / "engine" / "record.json").write_text(json.dumps(record))
    text = "model: model.onnx\nsamples: rows.npz\ntargets:\n  gpu: {steps: [{tensorrt: {weights_into: '%s'}}]}\n"
    Path("recipe.yaml").write_text(text % engine)
    assert "load model.plan, which can run code" in shell(0, "bundle recipe.yaml -o job.tar")
    with tarfile.open("job.tar") as tar:
        names = [name for name in tar.getnames() if name.startswith("files/")]
    assert names == ["files/0/model.plan", "files/0/plugins/libmine.so", "files/0/record.json"]


def test_hardware_that_is_not_here(here, shell):
    Path("recipe.yaml").write_text(
        "model: model.onnx\nsamples: rows.npz\ntargets: {gpu: {hardware: H100, steps: [onnxruntime]}}\n"
    )
    shell(0, "bundle recipe.yaml -o job.tar")  # no such GPU is needed for that
    told = shell(7, "build-bundle job.tar -o built.tar --report told.json")
    assert "on a machine that has it" in told
    assert "job.tar: recipe.yaml:" in told
    assert json.loads(Path("told.json").read_text())["exit_code"] == 7
    assert listed() == sorted([*INPUTS, "job.tar", "told.json"])


# --- versions ---


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda told: told.update(mlconvert="9.9.9"), "made by mlconvert 9.9.9"),
        (lambda told: told.update(code="00" * 32), "other code"),
        (lambda told: told.update(python="3.99"), "made with Python 3.99"),
        (lambda told: told["packages"].update(onnx="0.0.1"), "onnx 0.0.1, here"),
    ],
)
def test_other_versions_are_refused_before_the_work(change, said, job, shell):
    bad = forged(job, lambda recipe, manifest: (change(manifest["versions"]), recipe)[1])
    assert said in shell(3, f"build-bundle {bad.name} -o built.tar")
    assert "built.tar" not in listed()


def test_packages_that_are_only_there(here, shell, monkeypatch):
    """A laptop without TensorRT makes bundles for machines that have it, whichever version."""
    text = "model: model.onnx\nsamples: rows.npz\ntargets: {gpu: {steps: [tensorrt]}}\n"
    Path("recipe.yaml").write_text(text)
    monkeypatch.setattr(packing, "versions_for", lambda _: replace(versions.versions_for(()), packages={"onnx": "1"}))
    told = shell(0, "bundle recipe.yaml -o job.tar")
    assert "not installed here, so any version will do there: " in told
    assert "tensorrt-cu13" in told


# --- runs that fail ---


def test_a_target_that_fails(here, shell):
    Path("recipe.yaml").write_text(
        "model: model.onnx\nsamples: rows.npz\n"
        "targets: {half: {steps: [float16], parity: {rtol: 0, atol: 0}}, simple: {steps: [optimize]}}\n"
    )
    shell(0, "bundle recipe.yaml -o job.tar")
    shell(0, "bundle recipe.yaml -o built.tar --target simple")  # an archive of ours, which is there already
    before = Path("built.tar").read_bytes()
    told = shell(5, "build-bundle job.tar -o built.tar --report told.xml --report told.json")
    assert "half" in told
    assert "sha256" not in told
    assert Path("built.tar").read_bytes() == before
    report = json.loads(Path("told.json").read_text())
    assert [each["ok"] for each in report["targets"]] == [False, True]
    assert listed() == sorted([*INPUTS, "built.tar", "job.tar", "told.json", "told.xml"])


@pytest.mark.parametrize("fails", ["write", "unpack"])
def test_no_room(fails, job, shell, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", str(job))

    monkeypatch.setattr(archive, fails, full)
    assert "no space is left" in shell(9, "build-bundle job.tar -o built.tar")
    assert listed() == sorted([*INPUTS, "job.tar"])


def test_stopped_while_it_builds(job, shell, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(building, "execute", stopped)
    shell(130, "build-bundle job.tar -o built.tar")
    assert listed() == sorted([*INPUTS, "job.tar"])


def test_stopped_while_it_packs(here, shell, monkeypatch):
    plain = archive._copy

    def stopped(path, row, out):
        plain(path, row, out)
        raise KeyboardInterrupt

    monkeypatch.setattr(archive, "_copy", stopped)
    shell(130, "bundle recipe.yaml -o job.tar")
    assert listed() == INPUTS


def test_two_builds_into_one_file(job, shell):
    with unpacked(job, Path("built.tar")):
        assert "another mlconvert" in shell(2, "build-bundle job.tar -o built.tar")
    assert listed() == sorted([*INPUTS, "job.tar"])
