"""Repositories that are right and repositories that are wrong in one thing, to hold `lint` against a real server.

Each case is a model's folder as a mapping of paths to bytes, made from a good one by a mutation. The model is called
as the case is, so that one server can hold all of them. `codes` are those of the errors that lint must find: none
says that the server loads the model.
"""
# ruff: noqa: E501 - configurations of one line

from __future__ import annotations

import functools
import shutil
import struct
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto, helper

Tree = dict[str, bytes | None]  # path in the repository's folder of one case -> content; None: an empty folder
Mutation = Callable[[Tree], None]

CONFIG = "@/config.pbtxt"  # `@` stands for the case's name, in paths and in configurations
MODEL = "@/1/model.onnx"

# --- graphs ---

Axis = int | str | None
Tensor = tuple[int, list[Axis]]
FLOAT, DOUBLE, HALF, INT64, TEXT = (
    TensorProto.FLOAT,
    TensorProto.DOUBLE,
    TensorProto.FLOAT16,
    TensorProto.INT64,
    TensorProto.STRING,
)


@functools.cache
def network() -> bytes:
    """`x` [batch, 4] -> `y` [batch, 4], its double, and `sum` [batch]."""
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["x", "x"], ["y"]),
            helper.make_node("ReduceSum", ["y", "axes"], ["sum"], keepdims=0),
        ],
        "network",
        [helper.make_tensor_value_info("x", FLOAT, ["batch", 4])],
        [
            helper.make_tensor_value_info("y", FLOAT, ["batch", 4]),
            helper.make_tensor_value_info("sum", FLOAT, ["batch"]),
        ],
        [helper.make_tensor("axes", INT64, [1], [1])],
    )
    return saved(graph)


def copies(**tensors: Tensor) -> bytes:
    """A graph that gives each input `name` back as the output `name_out`."""
    values = {name: helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in tensors.items()}
    answers = [helper.make_tensor_value_info(f"{name}_out", kind, shape) for name, (kind, shape) in tensors.items()]
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in tensors]
    return saved(helper.make_graph(nodes, "copies", list(values.values()), answers))


def zipmap() -> bytes:
    """Probabilities as a sequence of maps, the way scikit-learn's exporters write them by default."""
    element = helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FLOAT, []))
    answer = helper.make_value_info("probabilities", helper.make_sequence_type_proto(element))
    node = helper.make_node("ZipMap", ["x"], ["probabilities"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    graph = helper.make_graph([node], "zipmap", [helper.make_tensor_value_info("x", FLOAT, ["batch", 2])], [answer])
    return saved(graph, helper.make_opsetid("ai.onnx.ml", 1))


def with_data() -> bytes:
    """A graph whose weight lies in `weights.bin` beside it."""
    weight = TensorProto(name="w", data_type=FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="weights.bin")
    weight.external_data.add(key="length", value="16")
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        "data",
        [helper.make_tensor_value_info("x", FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", FLOAT, ["batch", 4])],
        [weight],
    )
    return saved(graph)


WEIGHTS = struct.pack("<4f", 1, 2, 3, 4)


def saved(graph: onnx.GraphProto, *opsets: onnx.OperatorSetIdProto) -> bytes:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), *opsets], ir_version=8)
    return bytes(model.SerializeToString())


# --- the good ones ---

NETWORK = """
name: "@"
backend: "onnxruntime"
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ 4 ] }
output { name: "sum" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } }
instance_group { count: 1 kind: KIND_CPU }
"""


def model(config: str, graph: bytes, **more: bytes) -> Callable[[], Tree]:
    return lambda: {CONFIG: config.encode(), MODEL: graph, **more}


def network_tree() -> Tree:
    return {CONFIG: NETWORK.encode(), MODEL: network()}


def onnx_tree(graph: bytes, body: str) -> Tree:
    text = f'name: "@"\nbackend: "onnxruntime"\n{body}\ninstance_group {{ count: 1 kind: KIND_CPU }}\n'
    return {CONFIG: text.encode(), MODEL: graph}


def member(name: str, *, rows: int = 8, columns: int = 4) -> Tree:
    """A model beside the case's own, for ensembles."""
    graph = copies(x=(FLOAT, ["batch", columns]))
    text = f"""
        name: "{name}" backend: "onnxruntime" max_batch_size: {rows}
        input {{ name: "x" data_type: TYPE_FP32 dims: [ {columns} ] }}
        output {{ name: "x_out" data_type: TYPE_FP32 dims: [ {columns} ] }}
        instance_group {{ count: 1 kind: KIND_CPU }}
    """
    return {f"{name}/config.pbtxt": textwrap.dedent(text).encode(), f"{name}/1/model.onnx": graph}


ENSEMBLE = """
name: "@"
platform: "ensemble"
max_batch_size: 8
input { name: "raw" data_type: TYPE_FP32 dims: [ 4 ] }
output { name: "answer" data_type: TYPE_FP32 dims: [ 4 ] }
ensemble_scheduling {
  step {
    model_name: "@-first" model_version: -1
    input_map { key: "x" value: "raw" }
    output_map { key: "x_out" value: "between" }
  }
  step {
    model_name: "@-second" model_version: -1
    input_map { key: "x" value: "between" }
    output_map { key: "x_out" value: "answer" }
  }
}
"""


def ensemble_tree() -> Tree:
    return {CONFIG: ENSEMBLE.encode(), "@/1": None, **member("@-first"), **member("@-second")}


PYTHON = """
name: "@"
backend: "python"
input { name: "x" data_type: TYPE_FP32 dims: [ -1, 4 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ -1, 4 ] }
instance_group { count: 1 kind: KIND_CPU }
"""
PYTHON_MODEL = b"class TritonPythonModel:\n    def execute(self, requests):\n        return []\n"


def python_tree() -> Tree:
    return {CONFIG: PYTHON.encode(), "@/1/model.py": PYTHON_MODEL}


# --- mutations ---


def edit(old: str, new: str, path: str = CONFIG) -> Mutation:
    def mutate(tree: Tree) -> None:
        text = (tree[path] or b"").decode()
        assert old in text, f"{old!r} is not in {path}"
        tree[path] = text.replace(old, new, 1).encode()

    return mutate


def add(text: str) -> Mutation:
    return lambda tree: tree.update({CONFIG: (tree[CONFIG] or b"") + text.encode() + b"\n"})


def put(path: str, content: bytes | None) -> Mutation:
    return lambda tree: tree.update({path: content})


def move(old: str, new: str) -> Mutation:
    def mutate(tree: Tree) -> None:
        for path in [path for path in tree if path == old or path.startswith(f"{old}/")]:
            tree[new + path.removeprefix(old)] = tree.pop(path)

    return mutate


def copy(old: str, new: str) -> Mutation:
    def mutate(tree: Tree) -> None:
        for path in [path for path in tree if path == old or path.startswith(f"{old}/")]:
            tree[new + path.removeprefix(old)] = tree[path]

    return mutate


def drop(old: str) -> Mutation:
    def mutate(tree: Tree) -> None:
        for path in [path for path in tree if path == old or path.startswith(f"{old}/")]:
            del tree[path]

    return mutate


# --- the table ---


@dataclass(frozen=True)
class Case:
    name: str
    what: str
    base: Callable[[], Tree]
    mutations: tuple[Mutation, ...]
    codes: frozenset[str] = frozenset()  # of errors; empty: the server loads it
    warnings: frozenset[str] = frozenset()
    lacks: str = ""  # what the tests' server lacks, so that it refuses what lint can only warn about
    stricter: str = ""  # why lint refuses what the server loads

    @property
    def loads(self) -> bool:
        return not (self.codes or self.lacks) or bool(self.stricter)

    def tree(self) -> Tree:
        tree = self.base()
        for mutate in self.mutations:
            mutate(tree)
        return {
            path.replace("@", self.name): content if content is None else _renamed(path, content, self.name)
            for path, content in tree.items()
        }

    def write(self, repository: Path) -> Path:
        for path, content in self.tree().items():
            target = repository / path
            if content is None:
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        return repository


def _renamed(path: str, content: bytes, name: str) -> bytes:
    return content.replace(b"@", name.encode()) if path.endswith((".pbtxt", ".json")) else content


def remove(repository: Path, case: Case) -> None:
    for name in {path.partition("/")[0] for path in case.tree()}:
        shutil.rmtree(repository / name, ignore_errors=True)


def of(graph: bytes, body: str) -> Mutation:
    """Another graph and configuration instead of the base's."""

    def mutate(tree: Tree) -> None:
        tree.clear()
        tree.update(onnx_tree(graph, body))

    return mutate


def good(
    name: str,
    what: str,
    *mutations: Mutation,
    base: Callable[[], Tree] = network_tree,
    warns: str = "",
    lacks: str = "",
) -> Case:
    return Case(name, what, base, mutations, frozenset(), frozenset(warns.split()), lacks)


def bad(
    name: str,
    codes: str,
    what: str,
    *mutations: Mutation,
    base: Callable[[], Tree] = network_tree,
    lacks: str = "",
    stricter: str = "",
) -> Case:
    return Case(name, what, base, mutations, frozenset(codes.split()), frozenset(), lacks, stricter)


X, Y = 'input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }', 'output { name: "y" data_type: TYPE_FP32 dims: [ 4 ] }'
SUM = 'output { name: "sum" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } }'
WARM = """
model_warmup {
  name: "one row"
  batch_size: 1
  inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 4 ] zero_data: true } }
}
"""
TEXTS = """
max_batch_size: 8
input { name: "s" data_type: TYPE_STRING dims: [ 1 ] }
output { name: "s_out" data_type: TYPE_STRING dims: [ 1 ] }
"""
FIXED = """
max_batch_size: 0
input { name: "x" data_type: TYPE_FP32 dims: [ 1, 16 ] }
output { name: "x_out" data_type: TYPE_FP32 dims: [ 1, 16 ] }
"""
IMAGE = """
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 format: FORMAT_NCHW dims: [ 3, 8, 8 ] }
output { name: "x_out" data_type: TYPE_FP32 dims: [ 3, 8, 8 ] }
"""
TWO = """
max_batch_size: 8
input { name: "a" data_type: TYPE_FP32 dims: [ 2 ] }
input { name: "b" data_type: TYPE_INT64 dims: [ 1 ] reshape { shape: [ ] } }
output { name: "a_out" data_type: TYPE_FP32 dims: [ 2 ] }
output { name: "b_out" data_type: TYPE_INT64 dims: [ 1 ] reshape { shape: [ ] } }
"""


def texts() -> bytes:
    return copies(s=(TEXT, ["batch", 1]))


def two() -> bytes:
    return copies(a=(FLOAT, ["batch", 2]), b=(INT64, ["batch"]))


GROUP = "instance_group { count: 1 kind: KIND_CPU }"
SECOND = copy("@/1", "@/2")

CONFIGURATIONS: tuple[Case, ...] = (
    good("as-published", "nothing is wrong"),
    good("name-left-out", "no `name`: the folder's", edit('name: "@"\n', "")),
    good(
        "platform-only",
        "`platform` instead of `backend`",
        edit('backend: "onnxruntime"', 'platform: "onnxruntime_onnx"'),
    ),
    good(
        "comments",
        "comments, separators and angle brackets",
        edit("{ count: 1 kind: KIND_CPU }", "< count: 1; kind: KIND_CPU, > # ok"),
    ),
    good(
        "parameters",
        "`parameters` and `metric_tags`",
        add(
            'parameters { key: "intra_op_thread_count" value { string_value: "1" } } metric_tags { key: "team" value: "risk" }'
        ),
    ),
    good(
        "other-file-name",
        "`default_model_filename` of a file that is there",
        add('default_model_filename: "net.onnx"'),
        move(MODEL, "@/1/net.onnx"),
    ),
    good(
        "backend-left-out",
        "neither `backend` nor `platform`: told by `model.onnx`",
        edit('backend: "onnxruntime"\n', ""),
        warns="backend-missing",
    ),
    bad("not-closed", "config-syntax", "a brace is not closed", edit("{ count: 1 kind: KIND_CPU }", "{ count: 1")),
    bad("unknown-field", "config-syntax", "a field that does not exist", add("max_batchsize: 8")),
    bad(
        "number-as-text",
        "config-syntax",
        "text where a number belongs",
        edit("max_batch_size: 8", 'max_batch_size: "8"'),
    ),
    bad("type-in-lower-case", "config-syntax", "a data type that does not exist", edit("TYPE_FP32", "fp32")),
    bad("field-twice", "config-syntax", "a single field twice", add("max_batch_size: 4")),
    bad(
        "two-schedulers",
        "config-syntax",
        "dynamic and sequence batching",
        add("dynamic_batching { } sequence_batching { }"),
    ),
    bad("not-utf-8", "config-syntax", "bytes that are no text", put(CONFIG, b'name: "\xff\xfe"')),
    bad("no-configuration", "config-missing", "no config.pbtxt", drop(CONFIG)),
    bad(
        "empty-configuration", "input-missing", "an empty config.pbtxt: nothing but a guessed backend", put(CONFIG, b"")
    ),
    bad("other-name", "name-mismatch", "`name` is not the folder's", edit('name: "@"', 'name: "other"')),
    bad("unknown-backend", "backend-unknown", "a backend that does not exist", edit('"onnxruntime"', '"onnx"')),
    bad(
        "unknown-platform",
        "platform-unknown",
        "a platform that does not exist",
        edit('backend: "onnxruntime"', 'platform: "onnx"'),
    ),
    bad(
        "platform-of-another",
        "platform-mismatch",
        "backend and platform contradict each other",
        add('platform: "tensorrt_plan"'),
    ),
    bad(
        "negative-batch",
        "batch-size-negative reshape-elements",
        "`max_batch_size: -1`",
        edit("max_batch_size: 8", "max_batch_size: -1"),
    ),
    bad(
        "runtime-library",
        "runtime-missing",
        "`runtime` names a library that is not there",
        add('runtime: "libtriton_other.so"'),
    ),
    bad(
        "custom-operations",
        "operations-file-missing",
        "`model_operations` names a library that is not there",
        add('model_operations { op_library_filename: "ops.so" }'),
    ),
    bad(
        "checksum-agent",
        "checksum-agent",
        "a checksum that is not the file's",
        add(
            'model_repository_agents { agents { name: "checksum" parameters { key: "MD5:1/model.onnx" value: "00" } } }'
        ),
        lacks="the agent",
    ),
    good(
        "unknown-agent",
        "an agent that is not there",
        add('model_repository_agents { agents { name: "nothing" } }'),
        warns="agent-library",
        lacks="the agent",
    ),
    good("response-cache", "`response_cache`", add("response_cache { enable: true }")),
    bad(
        "cache-and-decoupled",
        "cache-decoupled",
        "response cache and decoupled answers",
        add("response_cache { enable: true } model_transaction_policy { decoupled: true }"),
    ),
    bad(
        "accelerator-bogus",
        "accelerator-unknown",
        "an accelerator that does not exist",
        add('optimization { execution_accelerators { cpu_execution_accelerator { name: "bogus" } } }'),
    ),
    bad(
        "metrics",
        "release-field",
        "`model_metrics`, which 24.10 does not know yet",
        add(
            'model_metrics { metric_control { metric_identifier { family: "nv_inference_first_response_histogram_ms" } histogram_options { buckets: [1, 2] } } }'
        ),
    ),
)

TENSORS: tuple[Case, ...] = (
    good("subset-of-outputs", "an output left out", edit(SUM, "")),
    good(
        "not-batched",
        "the batch axis as a dynamic dimension",
        edit("max_batch_size: 8", "max_batch_size: 0"),
        edit("[ 4 ]", "[ -1, 4 ]"),
        edit("dims: [ 4 ]", "dims: [ -1, 4 ]"),
        edit("[ 1 ] reshape { shape: [ ] }", "[ -1 ]"),
    ),
    good(
        "narrower-input",
        "a fixed length where the graph's is dynamic",
        edit("max_batch_size: 8", "max_batch_size: 0"),
        edit("[ 4 ]", "[ 2, 4 ]"),
        edit("dims: [ 4 ]", "dims: [ -1, 4 ]"),
        edit("[ 1 ] reshape { shape: [ ] }", "[ -1 ]"),
    ),
    good("fixed-shape", "fixed shapes without batching", of(copies(x=(FLOAT, [1, 16])), FIXED)),
    good("strings", "strings", of(texts(), TEXTS)),
    good("reshaped-input", "an input of rows of one number", of(two(), TWO)),
    good("scalar", "a scalar as one number", of(copies(x=(FLOAT, [])), FIXED.replace("[ 1, 16 ]", "[ 1 ]"))),
    good("image", "`format` with three dimensions", of(copies(x=(FLOAT, ["n", 3, 8, 8])), IMAGE)),
    bad("no-inputs", "input-missing", "no input", edit(X, "")),
    good("no-outputs", "no output", edit(Y, ""), edit(SUM, ""), warns="output-missing"),
    bad(
        "one-input-missing",
        "input-missing",
        "one of two inputs",
        of(two(), TWO),
        edit('input { name: "b" data_type: TYPE_INT64 dims: [ 1 ] reshape { shape: [ ] } }', ""),
    ),
    bad("unknown-input", "input-missing tensor-unknown", "an input that the graph does not have", edit('"x"', '"xx"')),
    bad(
        "extra-input",
        "tensor-unknown",
        "an input too many",
        add('input { name: "z" data_type: TYPE_FP32 dims: [ 4 ] }'),
    ),
    bad("unknown-output", "tensor-unknown", "an output that the graph does not have", edit('"y"', '"z"')),
    bad("input-twice", "tensor-twice", "an input twice", add(X)),
    good("output-twice", "an output twice", add(Y), warns="tensor-twice"),
    bad("input-without-name", "input-missing tensor-name-missing", "an input without a name", edit('name: "x" ', "")),
    bad("output-without-name", "tensor-name-missing", "an output without a name", edit('name: "y" ', "")),
    bad(
        "input-without-type",
        "data-type-missing",
        "an input without a type",
        edit('input { name: "x" data_type: TYPE_FP32', 'input { name: "x"'),
    ),
    bad(
        "output-without-type",
        "data-type-missing",
        "an output without a type",
        edit('output { name: "y" data_type: TYPE_FP32', 'output { name: "y"'),
    ),
    bad("wrong-input-type", "data-type-mismatch", "another width of input", edit("TYPE_FP32", "TYPE_FP64")),
    bad("wrong-output-type", "data-type-mismatch", "another width of output", edit(Y, Y.replace("FP32", "FP64"))),
    bad(
        "string-as-number",
        "data-type-mismatch",
        "a string output where a number is configured",
        of(texts(), TEXTS.replace('"s_out" data_type: TYPE_STRING', '"s_out" data_type: TYPE_INT64')),
    ),
    bad("no-dims", "dims-missing", "no `dims`", edit("dims: [ 4 ]", "")),
    bad("empty-dims", "dims-missing", "`dims: [ ]`", edit("[ 4 ]", "[ ]")),
    bad(
        "empty-output-dims",
        "dims-missing",
        "`dims: [ ]` of an output",
        edit('"sum" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] }', '"sum" data_type: TYPE_FP32 dims: [ ]'),
    ),
    bad("zero-dim", "dims-value", "a length of 0", edit("[ 4 ]", "[ 0 ]")),
    bad("negative-dim", "dims-value", "a length of -2", edit("[ 4 ]", "[ -2 ]")),
    bad("batch-axis-in-dims", "shape-mismatch", "the batch axis is in dims too", edit("[ 4 ]", "[ -1, 4 ]")),
    bad(
        "too-few-dims",
        "reshape-elements shape-mismatch",
        "a dimension too few",
        edit("max_batch_size: 8", "max_batch_size: 0"),
    ),
    bad("wrong-length", "shape-mismatch", "another length", edit("[ 4 ]", "[ 5 ]")),
    bad("wrong-output-length", "shape-mismatch", "another length of an output", edit(Y, Y.replace("4", "5"))),
    bad("wider-input", "shape-mismatch", "an input wider than the graph's", edit("[ 4 ]", "[ -1 ]")),
    bad("wider-output", "shape-mismatch", "an output wider than the graph's", edit(Y, Y.replace("4", "-1"))),
    bad(
        "reshape-count",
        "reshape-elements",
        "a reshape to another number of elements",
        edit("[ 4 ] }", "[ 4 ] reshape { shape: [ 3 ] } }"),
    ),
    bad(
        "reshape-zero",
        "reshape-elements",
        "a reshape with a length of 0",
        edit("[ 4 ] }", "[ 4 ] reshape { shape: [ 0 ] } }"),
    ),
    bad(
        "reshape-dynamic",
        "reshape-elements",
        "a reshape with another number of dynamic lengths",
        edit("[ 4 ] }", "[ 4 ] reshape { shape: [ -1 ] } }"),
    ),
    bad(
        "reshape-negative",
        "reshape-elements",
        "a reshape with a length of -2",
        edit("[ 4 ] }", "[ 4 ] reshape { shape: [ -2 ] } }"),
    ),
    bad(
        "reshape-dynamic-count",
        "reshape-elements",
        "a reshape with another product beside a dynamic length",
        edit("[ 4 ] }", "[ -1, 4 ] reshape { shape: [ -1, 2 ] } }"),
    ),
    bad(
        "reshape-empty",
        "reshape-elements",
        "an empty reshape of four numbers",
        edit("[ 4 ] }", "[ 4 ] reshape { shape: [ ] } }"),
    ),
    bad(
        "reshape-not-batched",
        "reshape-elements",
        "an empty reshape without batching",
        of(copies(x=(FLOAT, [])), FIXED.replace("[ 1, 16 ]", "[ 1 ] reshape { shape: [ ] }")),
    ),
    bad("no-reshape", "shape-mismatch", "rows of one number without reshape", edit("reshape { shape: [ ] }", "")),
    bad(
        "image-dims",
        "format-dims",
        "`format` with one dimension",
        edit("dims: [ 4 ]", "format: FORMAT_NHWC dims: [ 4 ]"),
    ),
    bad(
        "shape-tensor",
        "tensorrt-only",
        "`is_shape_tensor` without TensorRT",
        edit("[ 4 ] }", "[ 4 ] is_shape_tensor: true }"),
    ),
    bad(
        "non-linear",
        "tensorrt-only",
        "`is_non_linear_format_io` without TensorRT",
        edit("[ 4 ] }", "[ 4 ] is_non_linear_format_io: true }"),
    ),
    bad("optional", "optional-input", "`optional` in a model that batches", edit("[ 4 ] }", "[ 4 ] optional: true }")),
    bad(
        "cannot-batch",
        "cannot-batch",
        "a graph with fixed rows asked to batch",
        of(copies(x=(FLOAT, [1, 16])), FIXED.replace("max_batch_size: 0", "max_batch_size: 8").replace("1, 16", "16")),
    ),
    bad(
        "scalar-batched",
        "cannot-batch",
        "a scalar asked to batch",
        of(copies(x=(FLOAT, [])), FIXED.replace("max_batch_size: 0", "max_batch_size: 8").replace("1, 16", "1")),
        stricter="no row of its answer belongs to a row of the request",
    ),
    bad(
        "scalar-wide",
        "shape-mismatch",
        "a scalar as two numbers",
        of(copies(x=(FLOAT, [])), FIXED.replace("1, 16", "2")),
    ),
    bad(
        "zipmap",
        "output-not-tensor",
        "a ZipMap output",
        of(
            zipmap(),
            'max_batch_size: 8 input { name: "x" data_type: TYPE_FP32 dims: [ 2 ] } output { name: "probabilities" data_type: TYPE_FP32 dims: [ 2 ] }',
        ),
    ),
    bad(
        "bfloat16",
        "data-type-unsupported",
        "bfloat16 inputs",
        of(
            copies(x=(TensorProto.BFLOAT16, ["batch", 2])),
            'max_batch_size: 8 input { name: "x" data_type: TYPE_BF16 dims: [ 2 ] } output { name: "x_out" data_type: TYPE_BF16 dims: [ 2 ] }',
        ),
    ),
    bad(
        "batch-input-kind",
        "batch-tensor",
        "a batch_input without a source",
        add('batch_input { kind: BATCH_ELEMENT_COUNT target_name: "n" data_type: TYPE_INT32 }'),
    ),
    bad(
        "batch-input-type",
        "batch-tensor",
        "a batch_input of another type",
        add('batch_input { kind: BATCH_ELEMENT_COUNT target_name: "n" data_type: TYPE_INT8 source_input: "x" }'),
    ),
    bad(
        "batch-input-source",
        "batch-tensor",
        "a batch_input of an unknown input",
        add('batch_input { kind: BATCH_ELEMENT_COUNT target_name: "n" data_type: TYPE_INT32 source_input: "q" }'),
    ),
    bad(
        "batch-output-unknown",
        "batch-tensor",
        "a batch_output of an unknown output",
        add('batch_output { kind: BATCH_SCATTER_WITH_INPUT_SHAPE target_name: "n" source_input: "x" }'),
    ),
    good(
        "labels",
        "a file of labels",
        edit(Y, Y.replace("[ 4 ]", '[ 4 ] label_filename: "labels.txt"')),
        put("@/labels.txt", b"a\nb\nc\nd\n"),
    ),
    good(
        "labels-fewer",
        "fewer labels than scores",
        edit(Y, Y.replace("[ 4 ]", '[ 4 ] label_filename: "labels.txt"')),
        put("@/labels.txt", b"a\nb\n"),
        warns="label-count",
    ),
    bad(
        "no-labels",
        "label-file-missing",
        "a file of labels that is not there",
        edit(Y, Y.replace("[ 4 ]", '[ 4 ] label_filename: "labels.txt"')),
    ),
)

SCHEDULING: tuple[Case, ...] = (
    good("zero-instances", "`count: 0`: one", edit("count: 1", "count: 0")),
    good("negative-instances", "`count: -1`", edit("count: 1", "count: -1"), warns="instance-count"),
    bad("cpu-with-gpus", "instance-gpus", "GPUs of KIND_CPU", edit("kind: KIND_CPU", "kind: KIND_CPU gpus: [ 0 ]")),
    bad(
        "model-with-gpus", "instance-gpus", "GPUs of KIND_MODEL", edit("kind: KIND_CPU", "kind: KIND_MODEL gpus: [ 0 ]")
    ),
    good("gpu-on-cpu", "KIND_GPU", edit("KIND_CPU", "KIND_GPU"), warns="instance-needs-gpu", lacks="a GPU"),
    good(
        "auto-gpus-on-cpu",
        "GPUs without a kind",
        edit("kind: KIND_CPU", "gpus: [ 0 ]"),
        warns="instance-needs-gpu",
        lacks="a GPU",
    ),
    bad(
        "profile",
        "instance-profile",
        "an optimization profile without TensorRT",
        edit("kind: KIND_CPU", 'kind: KIND_CPU profile: [ "0" ]'),
    ),
    good(
        "rate-limiter",
        "a rate limiter",
        edit("kind: KIND_CPU", 'kind: KIND_CPU rate_limiter { resources { name: "R" count: 2 } priority: 1 }'),
    ),
    good(
        "dynamic",
        "dynamic batching with preferred sizes and a delay",
        add("dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100 }"),
    ),
    good(
        "queue-policy",
        "a queue policy",
        add(
            "dynamic_batching { default_queue_policy { timeout_action: REJECT default_timeout_microseconds: 1000 max_queue_size: 10 } }"
        ),
    ),
    good(
        "priorities",
        "priorities",
        add(
            "dynamic_batching { priority_levels: 2 default_priority_level: 1 priority_queue_policy { key: 2 value { max_queue_size: 5 } } }"
        ),
    ),
    good(
        "dynamic-without-batching",
        "dynamic batching with max_batch_size 0",
        of(copies(x=(FLOAT, [1, 16])), FIXED),
        add("dynamic_batching { }"),
        warns="dynamic-batching-idle",
    ),
    good(
        "priority-policy-without-levels",
        "a policy for priorities that there are not",
        add("dynamic_batching { priority_queue_policy { key: 2 value { max_queue_size: 5 } } }"),
        warns="priority-level",
    ),
    bad(
        "preferred-too-large",
        "preferred-batch-size",
        "a preferred batch above max_batch_size",
        add("dynamic_batching { preferred_batch_size: [ 16 ] }"),
    ),
    bad(
        "preferred-zero",
        "preferred-batch-size",
        "a preferred batch of 0",
        add("dynamic_batching { preferred_batch_size: [ 0 ] }"),
    ),
    bad(
        "preferred-without-batching",
        "preferred-batch-size",
        "a preferred batch without batching",
        of(copies(x=(FLOAT, [1, 16])), FIXED),
        add("dynamic_batching { preferred_batch_size: [ 2 ] }"),
    ),
    bad(
        "no-default-priority",
        "priority-level",
        "levels without a default priority",
        add("dynamic_batching { priority_levels: 2 }"),
    ),
    bad(
        "default-priority-too-high",
        "priority-level",
        "a default priority above the levels",
        add("dynamic_batching { priority_levels: 2 default_priority_level: 3 }"),
    ),
    bad(
        "policy-of-no-level",
        "priority-level",
        "a policy for a level that is not there",
        add(
            "dynamic_batching { priority_levels: 2 default_priority_level: 1 priority_queue_policy { key: 3 value { } } }"
        ),
    ),
    bad(
        "ordered-priorities",
        "preserve-ordering",
        "priorities and kept order",
        add("dynamic_batching { preserve_ordering: true priority_levels: 2 default_priority_level: 1 }"),
    ),
    bad(
        "ordered-delay",
        "preserve-ordering",
        "delayed requests and kept order",
        add(
            "dynamic_batching { preserve_ordering: true default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 10 } }"
        ),
    ),
    good("sequence", "sequence batching", add("sequence_batching { max_sequence_idle_microseconds: 1000000 }")),
    bad(
        "sequence-cache",
        "cache-sequence",
        "sequences and a response cache",
        add("sequence_batching { } response_cache { enable: true }"),
    ),
    bad(
        "sequence-control-values",
        "sequence-control",
        "a control with one value",
        add(
            'sequence_batching { control_input { name: "START" control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0 ] } } }'
        ),
    ),
    bad(
        "sequence-control-none",
        "sequence-control",
        "a control without values",
        add('sequence_batching { control_input { name: "START" control { kind: CONTROL_SEQUENCE_START } } }'),
    ),
    bad(
        "sequence-control-noname",
        "sequence-control",
        "a control without a name",
        add(
            "sequence_batching { control_input { control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } } }"
        ),
    ),
    bad(
        "sequence-control-twice",
        "sequence-control",
        "one control twice",
        add(
            'sequence_batching { control_input { name: "a" control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } } control_input { name: "b" control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } } }'
        ),
    ),
    bad(
        "sequence-control-two-types",
        "sequence-control",
        "a control of two types",
        add(
            'sequence_batching { control_input { name: "a" control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] fp32_false_true: [ 0, 1 ] } } }'
        ),
    ),
    bad(
        "sequence-control-unknown",
        "sequence-control",
        "a control that the graph does not have",
        add(
            'sequence_batching { control_input { name: "START" control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } } }'
        ),
    ),
    bad(
        "sequence-corrid-type",
        "sequence-control",
        "an identifier of floats",
        add(
            'sequence_batching { control_input { name: "x" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_FP32 } } }'
        ),
    ),
    bad(
        "sequence-corrid-notype",
        "sequence-control",
        "an identifier without a type",
        add('sequence_batching { control_input { name: "x" control { kind: CONTROL_SEQUENCE_CORRID } } }'),
    ),
    bad(
        "sequence-oldest",
        "preferred-batch-size",
        "a preferred batch of sequences above max_batch_size",
        add("sequence_batching { oldest { max_candidate_sequences: 4 preferred_batch_size: [ 16 ] } }"),
    ),
    bad(
        "sequence-slots",
        "sequence-slots",
        "a share above 1",
        add("sequence_batching { direct { minimum_slot_utilization: 1.5 } }"),
    ),
)

VERSIONS: tuple[Case, ...] = (
    good("two-versions", "two versions: the newest is served", SECOND),
    good("all-versions", "all versions", SECOND, add("version_policy { all { } }")),
    good("specific-version", "the older version", SECOND, add("version_policy { specific { versions: [ 1 ] } }")),
    good(
        "older-is-broken",
        "a broken version that is not served",
        SECOND,
        put(MODEL, b"nothing"),
        warns="model-unreadable",
    ),
    good(
        "one-of-two-missing",
        "one of two specific versions",
        add("version_policy { specific { versions: [ 1, 7 ] } }"),
        warns="version-policy",
    ),
    bad("latest-zero", "version-policy", "the latest 0 versions", add("version_policy { latest { num_versions: 0 } }")),
    good("notes", "folders and files that are no versions", put("@/notes/readme.txt", b"x"), put("@/readme.md", b"x")),
    bad("specific-none", "version-policy", "an empty list of versions", add("version_policy { specific { } }")),
    bad(
        "specific-missing",
        "version-policy",
        "a version that is not there",
        add("version_policy { specific { versions: [ 7 ] } }"),
    ),
    bad("no-version", "no-version", "no version folder", drop("@/1")),
    bad("empty-version", "model-file-missing", "an empty version folder", drop("@/1"), put("@/1", None)),
    bad("newest-is-empty", "model-file-missing", "the newest version is empty", put("@/2", None)),
    bad(
        "one-of-all-is-broken",
        "model-unreadable",
        "one of all versions is broken",
        SECOND,
        add("version_policy { all { } }"),
        put("@/2/model.onnx", b"nothing"),
    ),
    bad("staged-version", "version-name", "a half-copied `2.tmp` is version 2", put("@/2.tmp/model.onn", b"x")),
    bad(
        "staged-version-whole",
        "version-name",
        "a whole `2.tmp` is version 2, and is looked for in `2`",
        copy("@/1", "@/2.tmp"),
    ),
    bad("leading-zero", "no-version", "the only version has a leading zero", move("@/1", "@/01")),
    good("leading-zero-2", "another version with a leading zero", copy("@/1", "@/02"), warns="version-name"),
    good("version-zero", "version 0", move("@/1", "@/0"), warns="version-name"),
    bad("version-negative", "version-name", "version -1", move("@/1", "@/-1")),
    bad("version-word", "no-version", "a version `v1`", move("@/1", "@/v1")),
    bad("version-hidden", "no-version", "a version `.1`", move("@/1", "@/.1")),
    bad("version-is-a-file", "no-version", "the version is a file", drop("@/1"), put("@/1", b"x")),
)

FILES: tuple[Case, ...] = (
    good("model-folder", "model.onnx is a folder", move(MODEL, f"{MODEL}/model.onnx")),
    good(
        "external-data",
        "weights in a file beside",
        of(with_data(), NETWORK.split("\n", 3)[3].replace(SUM, "").replace(GROUP, "")),
        move(MODEL, f"{MODEL}/model.onnx"),
        put(f"{MODEL}/weights.bin", WEIGHTS),
    ),
    bad(
        "external-data-missing",
        "model-unreadable",
        "weights are missing",
        of(with_data(), NETWORK.split("\n", 3)[3].replace(SUM, "").replace(GROUP, "")),
    ),
    bad(
        "external-data-short",
        "model-unreadable",
        "weights are cut off",
        of(with_data(), NETWORK.split("\n", 3)[3].replace(SUM, "").replace(GROUP, "")),
        put("@/1/weights.bin", WEIGHTS[:7]),
    ),
    bad("model-folder-empty", "model-file-missing", "model.onnx is an empty folder", drop(MODEL), put(MODEL, None)),
    bad(
        "model-is-text",
        "model-unreadable",
        "model.onnx is text",
        put(MODEL, b"version https://git-lfs.github.com/spec/v1\n"),
    ),
    bad("model-is-empty", "model-unreadable", "model.onnx is empty", put(MODEL, b"")),
    bad(
        "model-is-cut-off",
        "model-unreadable",
        "model.onnx is cut off",
        lambda tree: tree.update({MODEL: (tree[MODEL] or b"")[:60]}),
    ),
    bad("other-model-file", "model-file-missing", "the model has another name", move(MODEL, "@/1/network.onnx")),
    good("python", "a python model", base=python_tree),
    bad(
        "python-syntax",
        "python-syntax",
        "a syntax error",
        put("@/1/model.py", b"class TritonPythonModel\n"),
        base=python_tree,
    ),
    bad(
        "python-no-class",
        "python-class",
        "no TritonPythonModel",
        put("@/1/model.py", b"class Other:\n    pass\n"),
        base=python_tree,
    ),
    good(
        "python-no-execute",
        "no `execute`",
        put("@/1/model.py", b"class TritonPythonModel:\n    pass\n"),
        base=python_tree,
        warns="python-execute",
    ),
)

WARM_UP: tuple[Case, ...] = (
    good("warm-up", "zeros", add(WARM)),
    good(
        "warm-up-file",
        "data from a file",
        add(WARM.replace("zero_data: true", 'input_data_file: "x"')),
        put("@/warmup/x", b"\0" * 16),
    ),
    good("warm-up-batch-zero", "a batch of 0 rows", add(WARM.replace("batch_size: 1", "batch_size: 0"))),
    bad(
        "warm-up-count-negative",
        "config-syntax",
        "a negative count",
        add(WARM.replace("batch_size: 1", "batch_size: 1 count: -3")),
    ),
    bad("warm-up-unknown-input", "warmup-input", "an input that is not there", add(WARM.replace('"x"', '"q"'))),
    bad(
        "warm-up-input-missing",
        "warmup-input",
        "one of two inputs missing",
        of(two(), TWO),
        add(WARM.replace('"x"', '"a"').replace("[ 4 ]", "[ 2 ]")),
    ),
    bad("warm-up-type", "warmup-type", "another type", add(WARM.replace("TYPE_FP32", "TYPE_FP64"))),
    bad("warm-up-shape", "warmup-dims", "another shape", add(WARM.replace("[ 4 ]", "[ 5 ]"))),
    bad("warm-up-dynamic", "warmup-dims", "a length of -1", add(WARM.replace("[ 4 ]", "[ -1 ]"))),
    bad("warm-up-no-source", "warmup-source", "no source of data", add(WARM.replace("zero_data: true", ""))),
    good(
        "warm-up-zero-false",
        "`zero_data: false` are zeros too",
        add(WARM.replace("zero_data: true", "zero_data: false")),
    ),
    bad(
        "warm-up-no-file",
        "warmup-file",
        "a file that is not there",
        add(WARM.replace("zero_data: true", 'input_data_file: "x"')),
    ),
    bad(
        "warm-up-short-file",
        "warmup-file",
        "a file that is too short",
        add(WARM.replace("zero_data: true", 'input_data_file: "x"')),
        put("@/warmup/x", b"\0" * 15),
    ),
    good(
        "warm-up-long-file",
        "a file that is too long",
        add(WARM.replace("zero_data: true", 'input_data_file: "x"')),
        put("@/warmup/x", b"\0" * 17),
        warns="warmup-file",
    ),
    good(
        "warm-up-strings-file",
        "texts from a file",
        of(texts(), TEXTS),
        add(
            WARM.replace('"x"', '"s"')
            .replace("[ 4 ]", "[ 1 ]")
            .replace("FP32", "STRING")
            .replace("zero_data: true", 'input_data_file: "x"')
        ),
        put("@/warmup/x", b"\3\0\0\0abc"),
    ),
    bad(
        "warm-up-strings-bad",
        "warmup-file",
        "a file that is cut off within a text",
        of(texts(), TEXTS),
        add(
            WARM.replace('"x"', '"s"')
            .replace("[ 4 ]", "[ 1 ]")
            .replace("FP32", "STRING")
            .replace("zero_data: true", 'input_data_file: "x"')
        ),
        put("@/warmup/x", b"abc"),
    ),
)

ENSEMBLES: tuple[Case, ...] = (
    good("ensemble", "two steps", base=ensemble_tree),
    bad(
        "ensemble-groups",
        "ensemble-field",
        "an ensemble with an instance_group",
        add("instance_group { count: 1 }"),
        base=ensemble_tree,
    ),
    bad(
        "ensemble-opt",
        "ensemble-field",
        "an ensemble with optimization",
        add("optimization { graph { level: 1 } }"),
        base=ensemble_tree,
    ),
    bad(
        "ensemble-warm-up",
        "ensemble-field",
        "an ensemble with model_warmup",
        add(WARM.replace('"x"', '"raw"')),
        base=ensemble_tree,
    ),
    good(
        "ensemble-unused-output",
        "a tensor between steps as an output",
        add('output { name: "between" data_type: TYPE_FP32 dims: [ 4 ] }'),
        base=ensemble_tree,
    ),
    bad(
        "ensemble-dynamic",
        "config-syntax",
        "dynamic batching of an ensemble",
        add("dynamic_batching { }"),
        base=ensemble_tree,
    ),
    bad(
        "ensemble-backend",
        "ensemble-backend",
        "an ensemble with a backend",
        add('backend: "onnxruntime"'),
        base=ensemble_tree,
    ),
    bad(
        "ensemble-no-platform", "ensemble-platform", "no platform", edit('platform: "ensemble"', ""), base=ensemble_tree
    ),
    bad(
        "ensemble-no-steps",
        "ensemble-steps",
        "no scheduling",
        lambda tree: tree.update({CONFIG: ENSEMBLE.split("ensemble_scheduling", maxsplit=1)[0].encode()}),
        base=ensemble_tree,
    ),
    bad(
        "ensemble-empty-steps",
        "ensemble-steps",
        "scheduling without steps",
        lambda tree: tree.update(
            {CONFIG: ENSEMBLE.split("ensemble_scheduling", maxsplit=1)[0].encode() + b"ensemble_scheduling { }"}
        ),
        base=ensemble_tree,
    ),
    bad("ensemble-no-version", "no-version", "an ensemble without a version folder", drop("@/1"), base=ensemble_tree),
    bad("ensemble-no-member", "ensemble-member", "a member is missing", drop("@-second"), base=ensemble_tree),
    bad(
        "ensemble-itself",
        "ensemble-circle",
        "a step is the ensemble itself",
        edit('"@-second"', '"@"'),
        base=ensemble_tree,
    ),
    bad(
        "ensemble-batch",
        "ensemble-edge",
        "larger batches than a member",
        edit("max_batch_size: 8", "max_batch_size: 16"),
        base=ensemble_tree,
    ),
    bad("ensemble-type", "ensemble-edge", "an edge of two types", edit("TYPE_FP32", "TYPE_FP64"), base=ensemble_tree),
    bad("ensemble-shape", "ensemble-edge", "an edge of two shapes", edit("[ 4 ]", "[ 5 ]"), base=ensemble_tree),
    bad(
        "ensemble-output-shape",
        "ensemble-edge",
        "an output of another shape",
        edit('"answer" data_type: TYPE_FP32 dims: [ 4 ]', '"answer" data_type: TYPE_FP32 dims: [ 5 ]'),
        base=ensemble_tree,
    ),
    bad(
        "ensemble-inner-shape",
        "ensemble-edge",
        "steps that do not fit each other",
        lambda tree: tree.update(member("@-second", columns=5)),
        base=ensemble_tree,
    ),
    bad(
        "ensemble-input-unmapped",
        "ensemble-map",
        "an input of a member is not mapped",
        edit('input_map { key: "x" value: "between" }', ""),
        base=ensemble_tree,
    ),
    bad(
        "ensemble-output-unmapped",
        "ensemble-map",
        "no output of a member is mapped",
        edit('output_map { key: "x_out" value: "between" }', ""),
        base=ensemble_tree,
    ),
    bad(
        "ensemble-unknown-key",
        "ensemble-edge",
        "a tensor that the member does not have",
        edit('key: "x" value: "raw"', 'key: "z" value: "raw"'),
        base=ensemble_tree,
    ),
    bad(
        "ensemble-unknown-out",
        "ensemble-edge",
        "an output that the member does not have",
        edit('key: "x_out" value: "answer"', 'key: "z" value: "answer"'),
        base=ensemble_tree,
    ),
    bad(
        "ensemble-unknown-tensor",
        "ensemble-map",
        "a tensor that nothing gives",
        edit('value: "raw"', 'value: "nothing"'),
        base=ensemble_tree,
    ),
    bad(
        "ensemble-output-not-made",
        "ensemble-map",
        "an output that nothing gives",
        edit('value: "answer"', 'value: "nothing"'),
        base=ensemble_tree,
    ),
    bad(
        "ensemble-made-twice",
        "ensemble-map",
        "a tensor from two steps",
        edit('value: "between" }\n  }\n  step', 'value: "answer" }\n  }\n  step'),
        edit('value: "between"', 'value: "raw"'),
        base=ensemble_tree,
    ),
    bad(
        "ensemble-unused-input",
        "ensemble-map",
        "an input that nothing takes",
        add('input { name: "more" data_type: TYPE_FP32 dims: [ 4 ] }'),
        base=ensemble_tree,
    ),
    bad(
        "ensemble-version",
        "ensemble-version",
        "a version of a member that is not there",
        edit("model_version: -1", "model_version: 7"),
        base=ensemble_tree,
    ),
    good(
        "ensemble-version-good",
        "a version that is there",
        edit("model_version: -1", "model_version: 1"),
        base=ensemble_tree,
    ),
    bad(
        "ensemble-no-model-name",
        "ensemble-map",
        "a step of no model",
        edit('model_name: "@-first" ', ""),
        base=ensemble_tree,
    ),
    bad(
        "ensemble-circle",
        "ensemble-circle ensemble-map",
        "steps in a circle",
        edit('key: "x" value: "raw"', 'key: "x" value: "answer"'),
        base=ensemble_tree,
    ),
)

# A server of 24.10 ends when it reads these: each needs one of its own.
FATAL: tuple[Case, ...] = (
    bad(
        "configuration-is-a-folder", "config-missing", "config.pbtxt is a folder", drop(CONFIG), put(f"{CONFIG}/x", b"")
    ),
    bad("version-huge", "version-name", "too large a number", move("@/1", "@/99999999999999999999")),
    bad("version-huge-2", "version-name", "too large a number beside 1", copy("@/1", "@/99999999999999999999")),
)

GROUPS = {
    "The configuration": CONFIGURATIONS,
    "Tensors": TENSORS,
    "Instances and batching": SCHEDULING,
    "Versions": VERSIONS,
    "Files": FILES,
    "Warm-up": WARM_UP,
    "Ensembles": ENSEMBLES,
}
CASES = tuple(case for cases in GROUPS.values() for case in cases)
