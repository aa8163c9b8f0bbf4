"""The text of `model.py`: short, readable, of nothing but its constants; so it can be told from any other code.

`render` is a function of a ServedModel alone, and `read_served` reads that back from the text. A file for which both
agree holds our code and no other, whoever it came from: `is_ours`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mlconvert.errors import ConversionFailed
from mlconvert.formats.served_python import MARK, ServedModel, parse_served
from mlconvert.python_backend.kinds import KINDS
from mlconvert.python_backend.literals import literal

_A_CLASS = re.compile(r"[A-Za-z_][\w.]*", re.ASCII)

_DTYPE = 'output["name"]: pb_utils.triton_string_to_numpy(output["data_type"])'

# What stands above a constant.
_REMARKS: Mapping[str, str] = MappingProxyType(
    {
        "TRUSTED": "Types in the file beside those that skops itself trusts; it refuses all others.",
        "INPUTS": "Name -> dtype and shape. A name in a shape is an axis of any length.",
        "COLUMNS": "The columns of the input, by the names that the model was fitted on.",
        "METHODS": "Output -> the method of the estimator that gives it.",
        "LEVELS": "The categories of the fit. A row with any other has no answer: NaN.",
        "ARGUMENTS": "What the module is called with, by position: names of inputs, or constants.",
        "KEYWORDS": "What the module is called with, by keyword: names of inputs, or constants.",
        "PATHS": "Output -> where it is in what the module returns.",
    }
)


def render(served: ServedModel) -> str:
    """The text of model.py, the same for the same model. Raises ConversionFailed for a kind that there is none of."""
    kind = KINDS.get(served.kind)
    if kind is None or _A_CLASS.fullmatch(served.model_class) is None:
        raise ConversionFailed(f"there is no model.py for {served.kind!r} of class {served.model_class!r}")
    parts = [
        f"{MARK.decode()}{served.kind} {served.model_class}",
        f'"""Serves {kind.title} ({served.model_class}) with Triton\'s python backend. Written by mlconvert.',
        "",
        *kind.remarks(served),
        '"""',
        "",
        *_imports(kind.imports(served)),
        "",
        *_constants(served.constants),
        "",
        "class TritonPythonModel:",
        "    def initialize(self, args):",
        '        """Load the model, once for each instance."""',
        '        config = json.loads(args["model_config"])',
        "        self.dtypes = {",
        f'            {_DTYPE} for output in config["output"]',
        "        }",
        *kind.load(served),
        "",
        "    def answer(self, inputs, wanted):",
        '        """The wanted outputs, as arrays, for the inputs by name."""',
        *kind.answer(served),
        "",
        *(_JOINED if joins(served) else _ONE_BY_ONE),
        "",
        *_helpers(served),
    ]
    return "\n".join(parts)


def is_ours(text: str) -> bool:
    """Whether the text is, byte for byte, what `render` writes: then running it runs no one else's code."""
    try:
        return render(parse_served(text, Path("model.py"))) == text
    except (
        ConversionFailed,
        AttributeError,
        IndexError,
        KeyError,
        TypeError,
        ValueError,
    ):  # constants of another shape
        return False


def joins(served: ServedModel) -> bool:
    """Whether requests can be answered together: all tensors begin with the same dynamic axis, and have it once."""
    signature = served.signature
    specs = (*signature.inputs, *signature.outputs)
    first = {spec.shape[0] if spec.shape else 0 for spec in specs}
    again = any(axis in first for spec in specs for axis in spec.shape[1:] if isinstance(axis, str))
    return len(first) == 1 and isinstance(next(iter(first)), str) and not again


# --- the parts ---


def _imports(modules: Iterable[str]) -> list[str]:
    own, others = ["import json", "from pathlib import Path"], ["import triton_python_backend_utils as pb_utils"]
    for line in modules:
        (own if line == "import pickle" else others).append(line)

    def order(line: str) -> tuple[bool, str]:
        return line.startswith("from"), line.split()[1]

    return [*sorted(own, key=order), "", *sorted(others, key=order)]


def _constants(constants: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, value in constants.items():
        if name in _REMARKS:
            lines += ["", f"# {_REMARKS[name]}"]
        lines += _assigned(name, value)
    return [*lines, ""]


def _assigned(name: str, value: Any) -> list[str]:
    """One item of a list or dict a line, as a formatter would leave it."""
    if isinstance(value, dict) and value:
        return [f"{name} = {{", *(f"    {literal(key)}: {literal(item)}," for key, item in value.items()), "}"]
    if isinstance(value, list) and value:
        return [f"{name} = [", *(f"    {literal(item)}," for item in value), "]"]
    return [f"{name} = {literal(value)}"]


_JOINED = '''
    def execute(self, requests):
        """One response for each request, in order."""
        try:
            return self.respond(requests)
        except Exception as error:
            if len(requests) == 1:
                reason = f"{type(error).__name__}: {error}"
                return [pb_utils.InferenceResponse(error=pb_utils.TritonError(reason))]
        # One of them is bad. It must not fail those that came with it, so each is asked by itself.
        return [response for request in requests for response in self.execute([request])]

    def respond(self, requests):
        """Answer the rows of all requests in one call, and deal the answers out."""
        wanted = {name for request in requests for name in request.requested_output_names()}
        given = [read(request) for request in requests]
        answers = self.answer({name: np.concatenate([each[name] for each in given]) for name in INPUTS}, wanted)
        responses, start = [], 0
        for each in given:
            stop = start + len(next(iter(each.values())))
            responses.append(self.response({name: values[start:stop] for name, values in answers.items()}))
            start = stop
        return responses
'''.strip("\n").split("\n")  # fmt: skip

_ONE_BY_ONE = '''
    def execute(self, requests):
        """One response for each request, in order. Their rows cannot be joined: the model's first axes differ."""
        responses = []
        for request in requests:
            try:
                responses.append(self.response(self.answer(read(request), set(request.requested_output_names()))))
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                responses.append(pb_utils.InferenceResponse(error=pb_utils.TritonError(reason)))
        return responses
'''.strip("\n").split("\n")  # fmt: skip

_RESPONSE = '''
    def response(self, answers):
        """The arrays as tensors, in the dtypes that config.pbtxt promises."""
        tensors = [
            pb_utils.Tensor(name, np.ascontiguousarray(values, dtype=self.dtypes[name]))
            for name, values in answers.items()
        ]
        return pb_utils.InferenceResponse(output_tensors=tensors)


def read(request):
    """The inputs of a request by name."""
    return {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in INPUTS}
'''.strip("\n").split("\n")  # fmt: skip

_RESPONSE_WITH_TEXT = [
    *_RESPONSE[:-3],
    *'''
def read(request):
    """The inputs of a request by name; text comes as UTF-8 bytes."""
    inputs = {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in INPUTS}
    for name, (dtype, _) in INPUTS.items():
        if dtype == "string":
            texts = [text.decode() for text in inputs[name].reshape(-1)]
            inputs[name] = np.array(texts, dtype=object).reshape(inputs[name].shape)
    return inputs
'''.strip("\n").split("\n"),
]  # fmt: skip


def _helpers(served: ServedModel) -> list[str]:
    text = any(spec.dtype == "string" for spec in served.signature.inputs)
    lines = [*(_RESPONSE_WITH_TEXT if text else _RESPONSE)]
    return [*lines, "", "", *KINDS[served.kind].helpers(served), ""]
