"""The command line costs nothing until it works, and every module can be imported without any framework."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("catboost", "google.protobuf", "jsonschema", "lightgbm", "numpy", "onnx", "onnx_ir", "onnxmltools",
         "onnxruntime", "onnxscript", "onnxsim", "onnxslim", "pandas", "pyarrow", "safetensors", "scipy", "skl2onnx",
         "sklearn", "skops", "torch", "transformers", "tritonclient", "xgboost", "yaml")  # fmt: skip
# numpy and what the base install brings beside it are no frameworks.
FRAMEWORKS = tuple(name for name in HEAVY if name not in ("jsonschema", "numpy", "yaml"))
COMMANDS = (
    "convert", "run", "bundle", "build-bundle", "verify", "bench", "samples", "inspect", "routes", "doctor", "publish",
    "merge", "versions", "rollback", "labels", "lint", "check", "deploy", "fingerprint", "bom",
)  # fmt: skip

BLOCKED = """
import json, sys
blocked = set(json.loads(sys.argv[1]))
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name in blocked:
            raise ImportError(f"{name} is blocked by the test")
        return None
sys.meta_path.insert(0, Blocker())
"""
CLI = """
from mlconvert.cli import main
heavy = json.loads(sys.argv[1])
statuses = {}
for line in json.loads(sys.argv[2]):
    print(f"<<{' '.join(line)}>>", flush=True)
    statuses[" ".join(line)] = main(line)
print(json.dumps([statuses, [name for name in heavy if name in sys.modules]]), file=sys.stderr)
"""


def child(code, *arguments):
    command = [sys.executable, "-c", code, *map(json.dumps, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def told(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stderr.splitlines()[-1])


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_nothing_heavy_is_imported(argument):
    done = child("import json, sys" + CLI, HEAVY, [[argument]])
    assert told(done) == [{argument: 0}, []]


def test_every_command_s_help_works_without_anything_and_shows_an_example():
    lines = [[command, "--help"] for command in COMMANDS]
    done = child(BLOCKED + CLI, HEAVY, lines)
    statuses, imported = told(done)
    assert (set(statuses.values()), imported) == ({0}, [])
    helps = dict(part.split(">>", 1) for part in done.stdout.split("<<")[1:])
    for command in COMMANDS:
        text = helps[f"{command} --help"]
        assert "Example" in text, command
        assert f"mlconvert {command} " in text.partition("Example")[2] or command == "doctor", command
    assert "mlconvert doctor" in helps["doctor --help"]


def test_these_are_all_commands():
    from mlconvert.cli.app import COMMANDS as TABLE

    assert tuple(name for name, _, _ in TABLE) == COMMANDS


IMPORTING = """
import importlib, pkgutil, traceback
import mlconvert
failed = {}
# What lowers to TensorFlow is TensorFlow code throughout: it is imported by the functions of one converter alone.
names = [module.name for module in pkgutil.walk_packages(mlconvert.__path__, "mlconvert.")
         if not module.name.startswith("mlconvert.tensorflow.")]
for name in names:
    try:
        importlib.import_module(name)
    except BaseException as error:
        traceback.print_exc()
        failed[name] = repr(error)
print(json.dumps([len(names), failed]), file=sys.stderr)
"""


def test_every_module_can_be_imported_without_any_framework():
    count, failed = told(child(BLOCKED + IMPORTING, FRAMEWORKS))
    assert failed == {}
    assert count > 80


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["convert", "--nope"], "No such option"),
        (["converd", "x"], "No such command"),
        (["convert", "x"], "--to"),
        (["samples", "x", "-o", "y.npz", "--count", "0"], "--count"),
        (["convert", "x", "--to", "onnx", "--rtol", "much"], "--rtol"),
        (["convert", "no/such/file.onnx", "--to", "onnx"], "does not exist"),
    ],
)
def test_wrong_use_ends_with_2_and_no_traceback(line, message):
    code = "import json, sys; from mlconvert.cli import main; sys.exit(main(json.loads(sys.argv[1])))"
    done = child(code, line)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert message in done.stderr


def test_with_json_a_wrong_use_is_told_as_json():
    code = "import json, sys; from mlconvert.cli import main; sys.exit(main(json.loads(sys.argv[1])))"
    for line in (["convert", "no.onnx", "--to", "onnx", "--json"], ["convert", "--nope", "--json"]):
        done = child(code, line)
        data = json.loads(done.stdout)
        assert (done.returncode, data["ok"], data["exit_code"]) == (2, False, 2)
        assert data["targets"][0]["error"]["error"] == "UsageError"
