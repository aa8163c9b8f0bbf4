"""Plug-ins: the tiny one in tests/plugin from the command line, one that is broken, one that takes a name of ours."""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlconvert.errors import UsageError
from mlconvert.registry import registry

PLUGIN = Path(__file__).parent / "plugin"
MAIN = "import sys; from mlconvert.cli import main; sys.exit(main(sys.argv[1:]))"


class Here:
    """A folder with a toy model, and mlconvert run there with plug-ins from some folders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plugins = [PLUGIN]
        (folder / "model.toy").write_text("TOY 1\n1.5 -2 0.123456789\n")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        path = os.pathsep.join(map(str, self.plugins))
        environment = dict(os.environ, PYTHONPATH=path, MLCONVERT_CACHE=str(self.folder / "cache"))
        return subprocess.Popen(
            [sys.executable, "-c", MAIN, *arguments],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def mlconvert(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        run = self.start(*arguments)
        said = run.communicate()
        return subprocess.CompletedProcess(run.args, run.returncode, *said)

    def listed(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def plug_in(self, name: str, source: str) -> None:
        folder = self.folder / f"plugin-{name}"
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (folder / f"{name}.py").write_text(source)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[mlconvert.plugins]\n{name} = {name}\n")
        self.plugins.append(folder)


@pytest.fixture
def here(tmp_path):
    return Here(tmp_path)


def numbers(path: Path) -> list[float]:
    return [number for (number,) in struct.iter_unpack("<d", path.read_bytes().removeprefix(b"TOYBIN1\n"))]


def test_a_plugin_s_model_is_converted_verified_and_proven_again(here):
    done = here.mlconvert("convert", "model.toy", "--to", "toybin", "-o", "out", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["source"]["format"] == "toy"
    (target,) = report["targets"]
    assert target["steps"][0]["converter"] == "toy->toybin"
    assert target["steps"][0]["parity"]["outputs"][0]["name"] == "y"
    assert numbers(here.folder / "out" / "model.toybin") == [1.5, -2, 0.123456789]
    record = json.loads((here.folder / "out" / "record.json").read_text())
    assert record["facts"] == {"packed": True}
    assert record["rows"]["count"] == 32

    inspected = json.loads(here.mlconvert("inspect", "out", "--json").stdout)
    assert (inspected["format"], inspected["signature"]["inputs"][0]["name"]) == ("toybin", "x")
    assert here.mlconvert("verify", "out").returncode == 0
    assert here.mlconvert("verify", "model.toy", "out").returncode == 0

    again = json.loads(here.mlconvert("convert", "model.toy", "--to", "toybin", "-o", "out", "--json").stdout)
    assert all(step["cached"] for step in again["targets"][0]["steps"])


def test_a_plugin_s_pass_and_options_are_planned(here):
    done = here.mlconvert(
        "convert", "model.toy", "--to", "toybin", "--via", "round", "--set", "digits=3", "-o", "out.toybin",
        "--dry-run", "--json",
    )  # fmt: skip
    (target,) = json.loads(done.stdout)["targets"]
    assert [(step["converter"], step["options"]) for step in target["steps"]] == [
        ("toy->toybin", {"scale": 1.0}),
        ("toybin:round", {"digits": 3}),
    ]
    wrong = here.mlconvert("convert", "model.toy", "--to", "toybin", "--set", "skale=2", "-o", "out")
    assert wrong.returncode == 2
    assert "Did you mean 'scale'?" in wrong.stderr
    assert not (here.folder / "out").exists()


def test_a_plugin_s_wrong_conversion_is_not_let_through(here):
    done = here.mlconvert("convert", "model.toy", "--to", "toybin", "--set", "scale=1.5", "-o", "out", "--json")
    assert done.returncode == 5
    report = json.loads(done.stdout)
    assert (report["ok"], report["exit_code"]) == (False, 5)
    assert "'y'" in report["targets"][0]["error"]["message"]
    assert here.listed() == ["cache", "model.toy"]


@pytest.mark.parametrize(("fault", "status"), [("crash", 4), ("killed", 9), ("disk_full", 9), ("raises", 4)])
def test_a_plugin_s_faults_end_with_their_codes_and_leave_nothing(here, fault, status):
    done = here.mlconvert("convert", "model.toy", "--via", fault, "--to", "toybin", "--no-verify", "-o", "out")
    assert done.returncode == status, done.stderr
    assert f"step '{fault}'" in done.stdout + done.stderr
    assert here.listed() == ["cache", "model.toy"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_stopped_leaves_nothing(here, number, status):
    pid_file = here.folder / "pid"
    run = here.start("convert", "model.toy", "--to", "toybin", "--via", "hang", "--set", f"pid_file={pid_file}",
                     "-o", "deep/out", "--no-verify")  # fmt: skip
    until = time.monotonic() + 60
    while not pid_file.exists():
        assert time.monotonic() < until
        time.sleep(0.01)
    run.send_signal(number)
    _, said = run.communicate(timeout=60)
    assert run.returncode == status
    assert "stopped" in said
    assert "Traceback" not in said
    pid = int(pid_file.read_text())
    pid_file.unlink()
    assert not Path(f"/proc/{pid}").exists()
    assert set(here.listed()) <= {"cache", "model.toy"}


def test_a_plugin_is_among_the_routes(here):
    told = here.mlconvert("routes", "toy", "toybin")
    assert "toy → toybin" in told.stdout
    assert "--set toybin.scale=number" in told.stdout
    here.plugins = []
    without = here.mlconvert("routes", "toy", "toybin")
    assert without.returncode == 2
    assert "unknown format 'toy'" in without.stderr


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module_at_all", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("1 / 0", "ZeroDivisionError"),
        ("FORMATS = 3", "TypeError"),
        ("CONVERTERS = ['onnx']", "TypeError: CONVERTERS holds 'onnx', which is no Converter"),
    ],
)
def test_a_broken_plugin_is_a_warning_that_names_it(here, source, reason):
    here.plug_in("shaky", source)
    done = here.mlconvert("convert", "model.toy", "--to", "toybin", "-o", "out", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"warning: plug-in 'shaky' of shaky is left out: {reason}" in done.stderr
    assert "Traceback" not in done.stderr


REDEFINES = {
    "format": "from mlconvert.formats import Format\n"
    "FORMATS = (Format('onnx', 'mine', ('.onnx',), 'm.onnx', 'mlconvert.formats.content:never'),)",
    "converter": "from mlconvert.converter import Converter\n"
    "CONVERTERS = (Converter('lightgbm', 'onnx', 'mine', 'greedy', (), 'mine'),)",
    "runner": "from mlconvert.converter import Runner\nRUNNERS = (Runner('onnx', 'greedy', ()),)",
}


@pytest.mark.parametrize("kind", REDEFINES)
def test_a_plugin_that_redefines_a_built_in_is_an_error(here, kind):
    here.plug_in("greedy", REDEFINES[kind])
    done = here.mlconvert("convert", "model.toy", "--to", "toybin", "-o", "out")
    assert done.returncode == 2
    name = "lightgbm->onnx" if kind == "converter" else "onnx"
    assert f"plug-in 'greedy' redefines '{name}'" in done.stderr
    assert "pip uninstall greedy" in done.stderr
    assert not (here.folder / "out").exists()


def test_two_plugins_may_not_claim_one_name(here):
    here.plug_in("zweite", "from mlconvert_toy import FORMATS")
    done = here.mlconvert("routes")
    assert done.returncode == 2
    assert "plug-in 'zweite' redefines 'toy'" in done.stderr


def test_unknown_names_get_suggestions():
    with pytest.raises(
        UsageError, match=re.escape("unknown converter 'lightgbm->onx'. Did you mean 'lightgbm->onnx'?")
    ):
        registry().converter("lightgbm->onx")
    with pytest.raises(UsageError, match=re.escape("unknown format 'onxx'. Did you mean 'onnx'?")):
        registry().format("onxx")
    with pytest.raises(UsageError, match="nothing here runs the format 'safetensors'") as caught:
        registry().runner("safetensors")
    assert "onnx" in (caught.value.hint or "")


def test_the_built_in_tables_fit_together():
    tables = registry()
    formats = {row.name for row in tables.formats}
    assert len(formats) == len(tables.formats)
    assert len({row.id for row in tables.converters}) == len(tables.converters)
    assert {row.source for row in tables.converters} | {row.target for row in tables.converters} <= formats
    runnable = {row.format for row in tables.runners}
    assert runnable <= formats
    # What can be converted can be verified: both ends of every edge have a runner.
    assert {end for row in tables.converters for end in (row.source, row.target)} <= runnable
