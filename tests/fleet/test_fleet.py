"""Fleets on a Ray cluster of simulated machines, from the command line: placed, lost, stopped, refused."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlconvert import records

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / "tests" / "plugin"
KINDS = ["A100", "H100", "H100"]
_SPEC = importlib.util.spec_from_file_location("simulated_cluster", Path(__file__).with_name("simulated_cluster.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
simulation = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = simulation  # where its dataclass looks for itself
_SPEC.loader.exec_module(simulation)


def environment(**more):
    path = os.pathsep.join((str(ROOT), str(PLUGIN)))
    return {**os.environ, **simulation.ENVIRONMENT, "PYTHONPATH": path, "COLUMNS": "80", **more}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def fresh_cluster(folder):
    scratch = folder / "scratch"
    scratch.mkdir()
    cache = {"MLCONVERT_CACHE": str(folder / "cache-of-machines")}
    with simulation.simulated(KINDS, free_port(), environment(**cache), scratch) as cluster:
        yield cluster


class Shell:
    """The user's folder, and what is typed there."""

    def __init__(self, folder, cluster, trained):
        self.folder, self.cluster, self.trained = folder, cluster, trained
        folder.mkdir()
        self.environment = environment(MLCONVERT_CACHE=str(folder / "cache"), RAY_ADDRESS=cluster.address)
        (folder / "model.toy").write_text("TOY 1\n1 2 3\n")

    def recipe(self, targets, name="engines.yaml", model="model.toy"):
        data = {"model": model, "targets": targets}
        (self.folder / name).write_text(json.dumps(data))  # JSON is YAML
        return name

    def start(self, *argv):
        return subprocess.Popen(
            [sys.executable, "-m", "mlconvert", *argv],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *argv):
        with self.start(*argv) as process:
            out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(argv, process.returncode, out, err)

    def local(self, *argv):
        """The same on this machine alone, with a cache of its own."""
        kept = self.environment
        self.environment = {**kept, "MLCONVERT_CACHE": str(self.folder / "cache-of-the-other")}
        try:
            return self.run(*argv)
        finally:
            self.environment = kept


def models(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("model.*"))
        if path.suffix != ".json"
    }


def nodes_of(report):
    return {entry["name"]: [step["node"] for step in entry["steps"]] for entry in report["targets"]}


def leftovers(cluster):
    return sorted(path.name for path in cluster.scratch.glob("mlconvert-fleet-*"))


def wait_until(holds, seconds=30.0):
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.1)


def real_engines_through_the_client_equal_those_made_here(shell):
    """Optimised models of ONNX Runtime, verified where they were made; the store is the folder in the cache."""
    shutil.copyfile(shell.trained("breast_cancer.txt"), shell.folder / "breast_cancer.txt")
    targets = {
        "h100": {"steps": ["onnx", "onnxruntime"], "hardware": "h100"},
        "a100": {"steps": [{"onnx": {"opset": 17}}, "onnxruntime"], "hardware": "A100"},
    }
    done = shell.run("run", shell.recipe(targets, model="breast_cancer.txt"), "--on", shell.cluster.client, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert "H100" in nodes_of(report)["h100"][1]
    assert "A100" in nodes_of(report)["a100"][1]
    assert all(step["parity"]["ok"] for entry in report["targets"] for step in entry["steps"])
    assert all(line[:1] in " ✓" for line in done.stderr.splitlines()), "Ray has said something"
    fleet = shell.folder / "build" / "engines"
    record = json.loads((fleet / "h100" / "record.json").read_bytes())
    assert record["environment"]["packages"]["onnxruntime"]
    assert record["fingerprint"]["schema"].startswith("mlconvert.fingerprint/")
    for target in targets.values():
        del target["hardware"]
    assert shell.local("run", shell.recipe(targets, model="breast_cancer.txt"), "--out", "here").returncode == 0
    assert models(fleet) == models(shell.folder / "here") != {}
    for name in targets:
        ours, theirs = (records.read(base / name / "record.json") for base in (fleet, shell.folder / "here"))
        assert records.same(ours, theirs)
    assert leftovers(shell.cluster) == []


def a_run_with_an_empty_cache_takes_what_the_store_has(shell):
    recipe = shell.recipe({"one": {"steps": ["copy", {"stamp": {"mark": 7}}], "hardware": "A100", "parity": False}})
    argv = ("run", recipe, "--on", "ray", "--store", "store", "--json")
    done = shell.run(*argv)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr}"
    first = json.loads(done.stdout)
    shutil.rmtree(shell.folder / "cache")
    shutil.rmtree(shell.folder / "build")
    again = json.loads(shell.run(*argv).stdout)
    assert [step["cached"] for step in first["targets"][0]["steps"]] == [False, False]
    assert [step["cached"] for step in again["targets"][0]["steps"]] == [True, True]
    assert nodes_of(first) == nodes_of(again)


def what_is_lost_is_done_again_and_what_fails_is_told(shell):
    """A process that is killed under its step, and a step that fails there: with the machine, and its log here."""
    stamp = {"stamp": {"crash_once": str(shell.folder / "crashed")}}
    targets = {
        "lost": {"steps": [stamp], "hardware": "A100", "parity": False},
        "fails": {"steps": ["chatter", "raises"], "parity": False},
    }
    done = shell.run("run", shell.recipe(targets), "--on", "ray", "--store", "store", "--json")
    assert done.returncode == 4, f"{done.returncode}: {done.stderr}"
    lost, fails = json.loads(done.stdout)["targets"]
    assert lost["ok"], done.stderr
    assert (shell.folder / "crashed").exists()
    assert fails["error"]["error"] == "ConversionFailed"
    assert "weights are negative" in fails["error"]["message"]
    first, log, again = fails["error"]["where"].splitlines()
    assert first.startswith("step 'raises' on ")
    assert "Traceback" in Path(log.removeprefix("log: ")).read_text()
    assert str(shell.folder / "cache") in again


def ctrl_c_ends_the_steps_in_the_cluster_and_leaves_nothing(shell):
    pid_file, before = shell.folder / "pid", leftovers(shell.cluster)  # of processes that were killed earlier
    recipe = shell.recipe({"one": {"steps": [{"hang": {"pid_file": str(pid_file)}}], "parity": False}})
    with shell.start("run", recipe, "--on", "ray", "--store", "store") as process:
        wait_until(pid_file.exists)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "stopped (Ctrl-C)" in err
    wait_until(lambda: not alive(int(pid_file.read_text())))
    wait_until(lambda: leftovers(shell.cluster) == before)
    assert not (shell.folder / "build" / "engines" / "one").exists()
    assert not list((shell.folder / "store").rglob("*.part"))


def alive(pid):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def a_type_that_no_machine_has_is_told_with_those_there_are(shell):
    recipe = shell.recipe({"one": {"steps": ["stamp"], "hardware": "L40S", "parity": False}})
    done = shell.run("run", recipe, "--on", "ray", "--store", "store")
    assert done.returncode == 7
    assert "no machine with an accelerator of the type L40S: its machines have A100, H100" in done.stderr
    assert not (shell.folder / "build").exists()


def sixty_four_steps_land_where_they_belong_though_a_machine_is_lost(shell):
    """The last one: a machine is gone afterwards."""
    kinds = ["H100", "A100", "H100", None]
    targets = {}
    for index in range(32):
        steps = [{"copy": {"delay": 0.02 + index / 1e6}}, {"stamp": {"mark": index, "delay": 0.05}}]
        kind = kinds[index % len(kinds)]
        if kind is None:  # bound to nothing: goes anywhere
            steps[1] = {"copy": {"delay": 0.05 + index / 1e6}}
        targets[f"t{index:02}"] = {"steps": steps, "parity": False} | ({"hardware": kind} if kind else {})
    recipe = shell.recipe(targets)
    told = []
    with shell.start("run", recipe, "--on", "ray", "--store", "store", "--report", "report.json") as process:
        for line in process.stderr:
            told.append(line)
            if sum(one.startswith("✓") and "stamp" in one for one in told) == 6 and line.startswith("✓"):
                shell.cluster.tell("kill 1")
        process.communicate(timeout=120)
    assert process.returncode == 0, "".join(told)
    report = json.loads((shell.folder / "report.json").read_bytes())
    nodes = nodes_of(report)
    assert sum(map(len, nodes.values())) == 64
    for index in range(32):
        kind = kinds[index % len(kinds)]
        assert kind is None or kind in nodes[f"t{index:02}"][1]
    for target in targets.values():
        target.pop("hardware", None)
    assert shell.local("run", shell.recipe(targets), "--out", "here", "--jobs", "2").returncode == 0
    assert models(shell.folder / "build" / "engines") == models(shell.folder / "here")
    assert len(models(shell.folder / "here")) == 32


IN_ORDER = (
    real_engines_through_the_client_equal_those_made_here,
    a_run_with_an_empty_cache_takes_what_the_store_has,
    what_is_lost_is_done_again_and_what_fails_is_told,
    ctrl_c_ends_the_steps_in_the_cluster_and_leaves_nothing,
    a_type_that_no_machine_has_is_told_with_those_there_are,
    sixty_four_steps_land_where_they_belong_though_a_machine_is_lost,
)


@pytest.mark.slow
def test_a_fleet(tmp_path, trained, subtests):
    """One test for all: the cluster takes longer to start than most of them, and pytest may run two tests at once."""
    with fresh_cluster(tmp_path) as cluster:
        for scenario in IN_ORDER:
            with subtests.test(scenario.__name__):
                scenario(Shell(tmp_path / scenario.__name__, cluster, trained))
