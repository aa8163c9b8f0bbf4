"""Planning: options assigned and checked, packages looked for, all before anything runs and without a framework."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import pytest

from mlconvert.converter import Converter
from mlconvert.errors import MissingPackage, UsageError
from mlconvert.execution.planned import plan_as_json, plan_run
from mlconvert.packages import Package
from mlconvert.plan import Waypoint, make_plan
from mlconvert.recipe import ModelSpec, ParitySpec, Recipe, SamplesSpec, StepSpec, TargetSpec


def export(source, target, *, opset: Annotated[int, "of ai.onnx"] = 18, names: tuple[str, ...] = ()):
    raise AssertionError("planning runs nothing")


def shrink(source, target, *, level: Literal["basic", "all"] = "all", samples=None):
    raise AssertionError("planning runs nothing")


def lower(source, target, *, opset: int = 17):
    raise AssertionError("planning runs nothing")


TABLE = (
    Converter("a", "b", "b", __name__, (), title="", function="export"),
    Converter("b", "b", "shrink", __name__, (), title="", function="shrink", uses_samples=True, precision="int8"),
    Converter("b", "b", "lower", __name__, (), title="", function="lower"),
    Converter("b", "c", "c", __name__, (Package("no_such_module", ("no-such-dist",), "extra"),), title="",
              function="export"),
)  # fmt: skip


def plan_of(*names, settings=(), options=None):
    waypoints = [Waypoint(name, (options or {}).get(name, {})) for name in names]
    return make_plan("a", waypoints, TABLE, settings)


@pytest.fixture(autouse=True)
def _this_module_can_be_imported(monkeypatch):
    # A converter's row names its module; that of a test has a name that import_module does not find by itself.
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or importlib.import_module(__name__))


def test_a_setting_without_a_step_goes_to_the_only_step_that_has_the_option():
    plan = plan_of("shrink", settings=[(None, "opset", "17"), (None, "level", "basic")])
    assert [(step.name, dict(step.options)) for step in plan.steps] == [
        ("b", {"opset": 17}),
        ("shrink", {"level": "basic"}),
    ]
    assert plan.needs_samples
    assert plan.target_format == "b"


def test_an_ambiguous_setting_is_refused_and_names_the_places():
    with pytest.raises(UsageError, match="several steps have an option 'opset'") as caught:
        plan_of("lower", settings=[(None, "opset", "17")])
    assert caught.value.hint == "name one: b.opset, lower.opset"


def test_a_setting_with_a_step_goes_there_alone():
    plan = plan_of("lower", settings=[("lower", "opset", "15")])
    assert [dict(step.options) for step in plan.steps] == [{}, {"opset": 15}]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ((None, "opzet", "17"), "no step has an option 'opzet'. Did you mean 'opset'?"),
        (("shrnk", "level", "all"), "the route has no step 'shrnk'. Did you mean 'shrink'?"),
        (("shrink", "levle", "all"), "step 'shrink' has no option 'levle'. Did you mean 'level'?"),
        (("shrink", "level", "most"), "shrink.level='most' is not valid: expected basic|all"),
        (("shrink", "samples", "x"), "step 'shrink' has no option 'samples'."),
    ],
)
def test_a_wrong_setting_is_refused(setting, message):
    with pytest.raises(UsageError) as caught:
        plan_of("shrink", settings=[setting])
    assert caught.value.message.startswith(message)
    assert caught.value.exit_code == 2


def test_options_of_a_recipe_s_step_belong_to_the_step_that_ends_there():
    plan = plan_of("lower", options={"lower": {"opset": 13}})
    assert [(step.name, dict(step.options)) for step in plan.steps] == [("b", {}), ("lower", {"opset": 13})]


def test_an_unknown_option_of_a_recipe_s_step_is_refused():
    with pytest.raises(UsageError, match="step 'lower' has no option 'level'"):
        plan_of("lower", options={"lower": {"level": "all"}})


def test_a_missing_package_is_told_with_the_command_that_installs_it():
    with pytest.raises(MissingPackage, match="needs no-such-dist, not installed here") as caught:
        plan_of("c")
    assert caught.value.exit_code == 3
    assert caught.value.hint == "pip install 'mlconvert[extra]'"


def test_a_built_in_route_without_its_packages_names_the_extra(monkeypatch, tmp_path):
    there = importlib.util.find_spec
    lacking = ("lightgbm",)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name in lacking else there(name, *rest)
    )
    with pytest.raises(MissingPackage) as caught:
        plan_run(recipe_of(lightgbm_file(tmp_path)), tmp_path / "out", single=True)
    assert "needs lightgbm" in caught.value.message
    assert caught.value.hint == "pip install 'mlconvert[lightgbm]'"
    assert not (tmp_path / "out").exists()


def lightgbm_file(folder: Path) -> Path:
    """The least that is recognised as LightGBM's; nothing loads it."""
    path = folder / "model.txt"
    path.write_text("tree\nversion=v4\nnum_class=1\nTree=0\nend of trees\npandas_categorical:null\n")
    return path


def recipe_of(model: Path, steps=("onnx",), settings=(), **parity) -> Recipe:
    target = TargetSpec("t", tuple(StepSpec(name) for name in steps), ParitySpec(**parity), settings=settings)
    return Recipe("r", ModelSpec(str(model)), SamplesSpec(), (target,), folder=model.parent)


def test_the_plan_as_json_shows_defaults_and_settings(tmp_path):
    planned = plan_run(
        recipe_of(lightgbm_file(tmp_path), ("onnx", "float16"), (("onnx", "opset", "17"),)), tmp_path / "o.onnx",
        single=True,
    )  # fmt: skip
    data = json.loads(json.dumps(plan_as_json(planned)))
    assert data["source"] == {"path": str(tmp_path / "model.txt"), "format": "lightgbm"}
    (target,) = data["targets"]
    assert [step["converter"] for step in target["steps"]] == ["lightgbm->onnx", "onnx:float16"]
    assert target["steps"][0]["options"]["opset"] == 17
    assert target["path"] == str(tmp_path / "o.onnx")


def test_samples_that_are_not_there_are_found_missing_before_anything_runs(tmp_path):
    model = lightgbm_file(tmp_path)
    recipe = Recipe("r", ModelSpec(str(model)), SamplesSpec(tmp_path / "no.npz"), recipe_of(model).targets)
    with pytest.raises(UsageError, match=r"no\.npz does not exist"):
        plan_run(recipe, tmp_path / "out")


def test_an_unknown_target_of_a_recipe_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no target 'x'") as caught:
        plan_run(recipe_of(lightgbm_file(tmp_path)), tmp_path / "out", names=("x",))
    assert caught.value.hint == "its targets: t"


def test_a_source_from_which_nothing_leads_is_refused_with_what_to_do(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes((2).to_bytes(8, "little") + b"{}")
    with pytest.raises(UsageError, match="weights in safetensors: nothing can be made from that") as caught:
        plan_run(recipe_of(path), tmp_path / "out")
    assert "--weights" in (caught.value.hint or "")


def test_planning_imports_no_framework(tmp_path):
    code = """
import json, sys
from pathlib import Path
from mlconvert.cli import main
status = main(["convert", sys.argv[1], "--to", "onnx", "--via", "optimize", "--set", "onnx.opset=17", "--dry-run",
               "--json", "-o", sys.argv[2]])
heavy = {"catboost", "lightgbm", "numpy", "onnx", "onnxmltools", "onnxruntime", "onnxscript", "onnxslim", "pandas",
         "scipy", "skl2onnx", "sklearn", "torch", "xgboost", "yaml"}
print(json.dumps([status, sorted(heavy & set(sys.modules))]), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(lightgbm_file(tmp_path)), str(tmp_path / "out.onnx")],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert json.loads(done.stderr.splitlines()[-1]) == [0, []], done.stderr
    assert json.loads(done.stdout)["schema"] == "mlconvert.plan/1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.txt"]
