"""Every name of TensorRT that mlconvert uses, held to the real bindings of TensorRT 10.16 and 11.4.

The bindings are on PyPI, the libraries below them are not: empty ones are compiled here, with which the bindings can be
imported and asked what they have. The double has just the names that mlconvert uses, and its tests run all of them.
"""

from __future__ import annotations

import ast
import enum
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BINDINGS = Path(os.environ.get("MLCONVERT_TENSORRT_BINDINGS", ROOT / "build" / "tensorrt-bindings"))
VERSIONS = ("10.16.1.11", "11.4.0.106")
CALLERS = (
    "converters/tensorrt_build.py",
    "converters/tensorrt_refit.py",
    "readers/tensorrt_engines.py",
    "readers/tensorrt_messages.py",
    "runners/tensorrt.py",
)
LIBRARIES = {
    "nvinfer": ("createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL",
                "getBuilderPluginRegistry", "getPluginRegistry"),
    "nvinfer_plugin": ("initLibNvInferPlugins",),
    "nvonnxparser": ("createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getNvOnnxParserVersion"),
}  # fmt: skip

# What a child with the real bindings says of them: classes, what is in them, and the parameters of what is called.
ASK = """
import enum, json, re, sys
sys.path.insert(0, sys.argv[1])
import tensorrt_bindings as trt
sys.modules["tensorrt"] = trt

def called(member):
    lines = [line for line in (member.__doc__ or "").splitlines() if re.match(r"(\\d+\\. )?\\w+\\(", line)]
    found = []
    for line in lines:
        inner = re.match(r"(?:\\d+\\. )?\\w+\\((.*)\\)(?: ->|$)", line)[1]
        depth, part, parts = 0, "", []
        for letter in inner + ",":
            depth += letter in "[(<"
            depth -= letter in "])>"
            if letter == "," and not depth:
                parts.append(part.strip()); part = ""
            else:
                part += letter
        found.append([one.partition(":")[0] for one in parts if one and one.partition(":")[0] != "self"])
    return found

told = {"version": trt.__version__, "functions": {}, "classes": {}}
for name in dir(trt):
    value = getattr(trt, name)
    if isinstance(value, type):
        members = {one: getattr(value, one) for one in dir(value)}
        told["classes"][name] = {
            "document": value.__doc__ or "",
            "values": list(getattr(value, "__members__", {})),
            "properties": [one for one, member in members.items() if isinstance(member, property)],
            "methods": {one: called(member) for one, member in members.items()
                        if callable(member) and (one == "__init__" or not one.startswith("__"))},
        }
    elif callable(value):
        told["functions"][name] = called(value)
print(json.dumps(told))
"""

# What mlconvert makes of the real classes, as far as that goes without a library below them.
MAKE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import tensorrt_bindings as trt
sys.modules["tensorrt"] = trt
from mlconvert.converters.tensorrt_build import Settings, _new_monitor, build
from mlconvert.artifact import Artifact
from mlconvert.errors import HardwareMismatch
from mlconvert.readers.tensorrt_engines import load_engine
from mlconvert.readers.tensorrt_messages import import_tensorrt, log_of, version_of
from mlconvert.runners.tensorrt import _new_allocator

assert import_tensorrt() is trt
assert len(version_of(trt)) == 4, version_of(trt)
log = log_of(trt)
log.log(trt.ILogger.Severity.ERROR, "one")
log.log(trt.ILogger.Severity.WARNING, "two")
log.log(trt.ILogger.Severity.VERBOSE, "three")
assert (log.errors, log.warnings) == (["one"], ["two"])
assert isinstance(log, trt.ILogger)
assert log_of(trt) is log and not log.errors
monitor = _new_monitor(trt, 1e-9)
assert isinstance(monitor, trt.IProgressMonitor)
monitor.phase_start("a", None, 1)
assert monitor.step_complete("a", 0) is False and monitor.late
class Output: shape, address = (-1,), 0
class Memory:
    def allocate(self, size): return 512
output = Output()
allocator = _new_allocator(trt, output, Memory())
assert isinstance(allocator, trt.IOutputAllocator)
assert allocator.reallocate_output_async("y", 0, 8, 256, 0) == 512 == output.address
allocator.notify_shape("y", trt.Dims((2, 3)))
assert output.shape == (2, 3)
assert 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) > 0
assert trt.BuilderFlag.TF32.name == "TF32" and "TF32" in trt.BuilderFlag.__members__
assert trt.ILogger.Severity.VERBOSE.name == "VERBOSE"
for kind in (trt.SerializationFlag, trt.TensorIOMode, trt.MemoryPoolType):
    assert kind.__members__
try:
    build(Path("model.onnx"), Settings((), {}), where="here")
except HardwareMismatch as error:
    print(error)
try:
    load_engine(Artifact("tensorrt", "here", (Path("model.plan"),)), {})
except HardwareMismatch as error:
    print(error)
"""


@pytest.fixture(scope="module")
def libraries(tmp_path_factory) -> Path:
    """Empty libraries with the names and the functions that the bindings are linked against."""
    folder = tmp_path_factory.mktemp("empty")
    for name, functions in LIBRARIES.items():
        source = folder / f"{name}.c"
        source.write_text("".join(f"void *{function}(void) {{ return 0; }}\n" for function in functions))
        for major in ("10", "11"):
            library = f"lib{name}.so.{major}"
            command = [os.environ.get("CC", "cc"), "-shared", "-fPIC", f"-Wl,-soname,{library}", "-o", folder / library]
            subprocess.run([*command, source], check=True)
    return folder


def child(libraries: Path, version: str, code: str) -> str:
    bindings = BINDINGS / version
    assert (bindings / "tensorrt_bindings").is_dir(), (
        f"TensorRT's bindings are not there: "
        f"pip install --no-deps --target {bindings} tensorrt-cu13-bindings=={version}"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(bindings)],
        env={**os.environ, "LD_LIBRARY_PATH": str(libraries), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=VERSIONS)
def real(request, libraries) -> dict:
    told = json.loads(child(libraries, request.param, ASK))
    assert told["version"] == request.param
    return told


@pytest.fixture
def stand_in(double):
    import tensorrt

    return tensorrt


def classes_of(stand_in) -> dict[str, type]:
    return {
        name: value
        for name, value in vars(stand_in).items()
        if isinstance(value, type) and value.__module__ == stand_in.__name__ and not name.startswith("_")
    }


def members_of(value: type) -> dict[str, object]:
    return {name: member for name, member in vars(value).items() if name == "__init__" or not name.startswith("_")}


def parameters(function) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


MADE_BY_TENSORRT = "Initialize self.  See help(type(self)) for accurate signature."
OVERRIDDEN = {"IOutputAllocator": ("reallocate_output_async", "notify_shape")}


def test_the_double_has_no_name_that_tensorrt_lacks(real, stand_in) -> None:
    for name, value in classes_of(stand_in).items():
        assert name in real["classes"], name
        there = real["classes"][name]
        if issubclass(value, enum.Enum):
            lacking = sorted(set(value.__members__) - set(there["values"]))
            gone = [] if real["version"].startswith("10") or name != "DataType" else lacking
            assert (lacking, gone) == ([], []), f"{name} of {real['version']}"
            continue
        for member, what in members_of(value).items():
            if isinstance(what, property):
                assert member in there["properties"], f"{name}.{member} of {real['version']}"
            elif isinstance(what, type):
                assert set(what.__members__) == {"INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"}
                assert set(what.__members__) <= set(there["methods"]) | set(dir(stand_in.ILogger.Severity))
            elif member != "__init__":
                assert member in there["methods"], f"{name}.{member} of {real['version']}"


def test_what_is_called_takes_the_same_parameters(real, stand_in) -> None:
    compared = 0
    for name, value in classes_of(stand_in).items():
        if issubclass(value, (enum.Enum, bytes)):
            continue
        for member, what in members_of(value).items():
            if not inspect.isfunction(what):
                continue
            ways = real["classes"][name]["methods"][member]
            if member == "__init__" and not ways:
                continue  # TensorRT makes these by itself
            ours = parameters(what)
            # Overloads, and parameters with a default that mlconvert leaves at it.
            assert any(way[: len(ours)] == ours for way in ways), f"{name}.{member}{ours}, and there {ways}"
            compared += 1
    for name in ("init_libnvinfer_plugins", "get_plugin_registry"):
        assert parameters(getattr(stand_in, name)) in real["functions"][name]
    assert compared > 45


# Attributes of objects that TensorRT makes; the double has them per object.
SET_OR_READ = {
    "IBuilderConfig": ("builder_optimization_level", "hardware_compatibility_level", "progress_monitor",
                       "plugins_to_serialize"),
    "ICudaEngine": ("weight_streaming_budget_v2",),
    "IExecutionContext": ("active_optimization_profile",),
    "ITensor": ("name", "dtype", "shape", "is_shape_tensor"),
    "Runtime": ("engine_host_code_allowed",),
}  # fmt: skip


def test_attributes_that_are_set_are_properties_there(real) -> None:
    """An attribute of Python's own would be set without a word."""
    for name, properties in SET_OR_READ.items():
        assert set(properties) <= set(real["classes"][name]["properties"]), f"{name} of {real['version']}"
    for member in ("reallocate_output_async", "notify_shape"):  # told in words alone
        assert f"def {member}(self, tensor_name" in real["classes"]["IOutputAllocator"]["document"]


PYTHONS_OWN = frozenset(
    (
        "DOTALL", "Device", "__version__", "address", "allocate", "allocations", "append",
        "ascontiguousarray", "bfloat16", "cache", "clear", "compile", "complete", "concatenate", "copy_in", "copy_out",
        "ctypes", "data", "empty", "errors", "facts", "files", "find", "findall", "finish", "flags", "format",
        "from_json", "fromkeys", "get", "groupdict", "hardware_compatibility", "hint", "how_far", "import_module",
        "inputs", "items", "itemsize", "join", "late", "load_driver", "location", "lower", "max", "min",
        "monotonic", "nbytes", "ndarray", "opt", "optimization_level", "outputs", "path", "plugins",
        "prod", "profiles", "read", "read_bytes", "repeat", "report", "run", "search", "seconds",
        "signature", "split", "start", "startswith", "stderr", "stream", "sub", "timing_cache", "trial_bytes",
        "trusted", "values", "wait", "warnings", "with_record", "workspace_bytes",
    )
)  # fmt: skip


def test_the_callers_use_no_name_that_is_not_held(real, stand_in) -> None:
    """Read from the sources: a name that no test runs counts too."""
    held = {name for name in vars(stand_in) if not name.startswith("_")}
    held |= {member for value in classes_of(stand_in).values() for member in dir(value)}
    held |= {name for properties in SET_OR_READ.values() for name in properties}
    used: dict[str, str] = {}
    for caller in CALLERS:
        tree = ast.parse((ROOT / "mlconvert" / caller).read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and not _is_own(node):
                used.setdefault(node.attr, caller)
    assert sorted(PYTHONS_OWN - set(used)) == [], "no longer used"
    unknown = sorted(name for name in used if name not in held and name not in PYTHONS_OWN)
    assert unknown == [], (
        f"names that are neither the double's nor known as Python's: {[(n, used[n]) for n in unknown]}"
    )
    flags = set(re.findall(r'"([A-Z][A-Z_0-9]+)"', (ROOT / "mlconvert/converters/onnx_to_tensorrt.py").read_text()))
    flags -= {"FLOAT16", "BFLOAT16"}  # ONNX's
    assert flags >= {"TF32", "REFIT", "STRIP_PLAN", "EXCLUDE_LEAN_RUNTIME"}
    assert flags <= set(real["classes"]["BuilderFlag"]["values"])
    assert {"NONE", "AMPERE_PLUS", "SAME_COMPUTE_CAPABILITY"} <= set(
        real["classes"]["HardwareCompatibilityLevel"]["values"]
    )
    from mlconvert.converters.tensorrt_build import DTYPES

    assert set(DTYPES) <= set(real["classes"]["DataType"]["values"])


def _is_own(node: ast.Attribute) -> bool:
    """Whether it is an attribute of the caller's own object: `self._engine`."""
    return isinstance(node.value, ast.Name) and node.value.id == "self"


def test_nobody_else_talks_to_tensorrt() -> None:
    for path in (ROOT / "mlconvert").rglob("*.py"):
        name = path.relative_to(ROOT / "mlconvert").as_posix()
        text = path.read_text("utf-8")
        if name == "hardware/tensorrt_version.py":  # reads `__version__`, and nothing else
            assert re.findall(r'"tensorrt"\)\.?(\w*)', text) == ["__version__"]
        elif name not in CALLERS:
            assert 'import_module("tensorrt")' not in text, name
            assert "import_tensorrt" not in text, name
            assert not re.search(r"^\s*(import tensorrt|from tensorrt)\b", text, re.MULTILINE), name


@pytest.mark.parametrize("version", VERSIONS)
def test_mlconvert_s_own_classes_are_made_of_the_real_ones(libraries, version) -> None:
    told = child(libraries, version, MAKE)
    assert told.splitlines() == [
        "no engine can be built here: TensorRT needs the GPU that the engine is for",
        "no engine can be run here: TensorRT needs the GPU that the engine is for",
    ]
