"""The kinds of model that a `model.py` serves: how each is loaded and asked, in lines of code.

Every line is a function of the ServedModel alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from mlconvert.formats.served_python import ServedModel
from mlconvert.python_backend.literals import literal

_PLACE = "Path(__file__).with_name(MODEL)"
_PICKLE_WARNING = "# Opening this file can run code: serve it only if you trust who made it."

# Called directly by the server's C++, statsmodels would look for names where there is no caller left, and fail.
_FORMULA = "The results. statsmodels evaluates their formula again, with the names that the caller of this knows."

# How the rows become what the model was fitted on.
_TABLES: Mapping[str, str] = MappingProxyType(
    {
        "columns": "pd.DataFrame({name: values.reshape(-1) for name, values in inputs.items()})",
        "matrix": 'inputs["input"]',
        "named-matrix": 'pd.DataFrame(inputs["input"], columns=COLUMNS)',
        "text": 'list(inputs["input"].reshape(-1))',
    }
)


@dataclass(frozen=True)
class Kind:
    """How one kind of model is loaded and asked; lines of code, each from the ServedModel."""

    title: str
    remarks: Callable[[ServedModel], list[str]]
    imports: Callable[[ServedModel], list[str]]
    load: Callable[[ServedModel], list[str]]
    answer: Callable[[ServedModel], list[str]]
    helpers: Callable[[ServedModel], list[str]]  # the functions that those lines use


def _table_of(served: ServedModel) -> str:
    return served.kind.partition("-")[2]


def _opened_imports(served: ServedModel) -> list[str]:
    by_suffix = {".skops": "from skops import io", ".joblib": "import joblib"}
    lines = ["import numpy as np", by_suffix.get(Path(served.model_file).suffix, "import pickle")]
    return [*lines, "import pandas as pd"] if _table_of(served) in ("columns", "named-matrix") else lines


def _loaded(served: ServedModel, attribute: str) -> list[str]:
    if Path(served.model_file).suffix == ".skops":
        return [f"        self.{attribute} = io.load({_PLACE}, trusted=TRUSTED)"]
    return [f"        {_PICKLE_WARNING}", f"        self.{attribute} = unpickled({_PLACE})"]


def _unpickled(served: ServedModel, remark: str) -> list[str]:
    """The function that opens a pickle; none for what is no pickle."""
    suffix = Path(served.model_file).suffix
    if suffix == ".skops":
        return []
    lines = ["", "", "def unpickled(path):", f'    """{remark}"""']
    if suffix == ".joblib":
        return [*lines, "    return joblib.load(path)"]
    return [*lines, '    with path.open("rb") as stream:', "        return pickle.load(stream)"]


def _opened_remarks(served: ServedModel) -> list[str]:
    lines = [f"{served.model_file} is the fitted model, requirements.txt lists the packages that it needs."]
    if Path(served.model_file).suffix != ".skops":
        lines.append("It is a pickle: opening it can run code.")
    return lines


def _sklearn_answer(served: ServedModel) -> list[str]:
    lines = [f"        table = {_TABLES[_table_of(served)]}"]
    asked = "getattr(self.estimator, METHODS[name])(table)"
    if "transform" in served.constants["METHODS"].values():
        lines += [
            f"        answers = {{name: {asked} for name in METHODS if name in wanted}}",
            "        return {",
            '            name: shaped(name, values.toarray() if hasattr(values, "toarray") else values)',
            "            for name, values in answers.items()",
            "        }",
        ]
        return lines
    return [*lines, f"        return {{name: shaped(name, {asked}) for name in METHODS if name in wanted}}"]


def _statsmodels_answer(served: ServedModel) -> list[str]:
    (output,) = served.constants["OUTPUTS"]
    lines = [f"        table = {_TABLES[_table_of(served)]}"]
    name = literal(output)
    if "LEVELS" not in served.constants:
        return [*lines, f"        return {{{name}: shaped({name}, self.results.predict(table))}}"]
    return [
        *lines,
        "        known = np.all([table[name].isin(levels) for name, levels in LEVELS.items()], axis=0)",
        f"        answers = np.full((len(table), {_width(served)}), np.nan)",
        "        if known.any():",
        f"            answers[known] = shaped({name}, self.results.predict(table[known]))",
        f"        return {{{name}: answers}}",
    ]


def _width(served: ServedModel) -> int:
    (spec,) = served.signature.outputs
    return int(str(spec.shape[1]))


def _torch_load(served: ServedModel) -> list[str]:
    lines = [
        '        gpu = args["model_instance_kind"] == "GPU"',
        '        self.device = torch.device(f"cuda:{args[\'model_instance_device_id\']}" if gpu else "cpu")',
    ]
    if served.kind == "torchscript":
        return [*lines, f"        self.module = torch.jit.load({_PLACE}, map_location=self.device).eval()"]
    return [
        *lines,
        f"        program = torch.export.load({_PLACE})",
        "        if gpu:",
        "            program = move_to_device_pass(program, self.device)",
        "        self.module = program.module()",
    ]


def _torch_imports(served: ServedModel) -> list[str]:
    lines = ["import numpy as np", "import torch"]
    if served.kind == "torchscript":
        return lines
    return [*lines, "from torch.export.passes import move_to_device_pass"]


def _torch_answer(served: ServedModel) -> list[str]:
    called = []
    if served.constants.get("ARGUMENTS"):
        called.append("*[tensors.get(value, value) for value in ARGUMENTS]")
    if served.constants.get("KEYWORDS"):
        called.append("**{name: tensors.get(value, value) for name, value in KEYWORDS.items()}")
    return [
        "        tensors = {name: torch.from_numpy(values).to(self.device) for name, values in inputs.items()}",
        "        with torch.inference_mode():",
        f"            result = self.module({', '.join(called)})",
        "        return {name: tensor_at(result, path) for name, path in PATHS.items() if name in wanted}",
    ]


def _torch_remarks(served: ServedModel) -> list[str]:
    what = "TorchScript" if served.kind == "torchscript" else "an ExportedProgram"
    return [
        f"{served.model_file} is {what}: the code that defined the network is not needed.",
        "requirements.txt lists the packages that are.",
    ]


# --- the table ---

_SHAPED = '''
def shaped(name, values):
    """The values in the shape that OUTPUTS promises."""
    return np.reshape(values, [length if isinstance(length, int) else -1 for length in OUTPUTS[name][1]])
'''.strip("\n").split("\n")  # fmt: skip


_TENSOR_AT = '''
def tensor_at(result, path):
    """The array at that place of what the module returned."""
    for step in path:
        result = result[step]
    return result.cpu().numpy()
'''.strip("\n").split("\n")  # fmt: skip


_ESTIMATOR = Kind(
    "a scikit-learn estimator",
    _opened_remarks,
    _opened_imports,
    lambda served: _loaded(served, "estimator"),
    _sklearn_answer,
    lambda served: [*_SHAPED, *_unpickled(served, "The estimator.")],
)
_RESULTS = Kind(
    "fitted statsmodels results",
    _opened_remarks,
    _opened_imports,
    lambda served: _loaded(served, "results"),
    _statsmodels_answer,
    lambda served: [*_SHAPED, *_unpickled(served, _FORMULA if _table_of(served) == "columns" else "The results.")],
)
_TORCH = Kind("a PyTorch network", _torch_remarks, _torch_imports, _torch_load, _torch_answer, lambda _: _TENSOR_AT)

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "exported-program": _TORCH,
        "sklearn-columns": _ESTIMATOR,
        "sklearn-matrix": _ESTIMATOR,
        "sklearn-named-matrix": _ESTIMATOR,
        "sklearn-text": _ESTIMATOR,
        "statsmodels-columns": _RESULTS,
        "statsmodels-matrix": _RESULTS,
        "torchscript": _TORCH,
    }
)
