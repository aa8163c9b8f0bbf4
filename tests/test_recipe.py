from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from mlconvert import recipe as recipes
from mlconvert.converter import check_options, options_of
from mlconvert.errors import UsageError
from mlconvert.plan import route
from mlconvert.recipe import (
    LimitsSpec,
    ModelSpec,
    ParitySpec,
    PublishSpec,
    SamplesSpec,
    StepSpec,
    load_recipe,
    locate,
    parse_bytes,
    parse_seconds,
)
from mlconvert.registry import registry
from mlconvert.repositories import REPOSITORIES

ROOT = Path(__file__).parents[1]
SCHEMA = json.loads((Path(recipes.__file__).parent / "schema.json").read_text(encoding="utf-8"))

SMALL = """
model: m.txt
targets:
  a:
    steps: [onnx]
"""

WHOLE = """
model:
  source: ../models/breast_cancer.txt
  from: lightgbm
  weights: w.safetensors
  trust: yes
samples: {count: 1e3, seed: 7, kind: random}
limits: {time: 10m, memory: 8GB}
targets:
  triton:
    steps:
      - onnx: {opset: 18, dynamic: {input: [batch, _]}}
      - optimize
      - float16: {keep_io_types: true}
      - simplify:
    parity: {rtol: 1e-4, atol: 1e-6, outputs: {probabilities: {rtol: 1e-3}, on: {atol: 0}}}
    publish: {to: triton, name: breast_cancer, repository: ../repo, version: 3, options: {max_batch_size: 8}}
  quick:
    steps: [onnx]
    parity: off
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="recipes/r.yaml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).lstrip("\n").encode())
        return path

    return write


def refusal(path):
    with pytest.raises(UsageError) as caught:
        load_recipe(path)
    assert caught.value.exit_code == 2
    return caught.value


# --- what a recipe says ---


def test_a_whole_recipe(write, tmp_path):
    recipe = load_recipe(write(WHOLE))
    assert recipe.name == "r"
    assert recipe.folder == tmp_path / "recipes"
    assert recipe.model == ModelSpec(
        str(tmp_path / "models/breast_cancer.txt"), "lightgbm", tmp_path / "recipes/w.safetensors", trust=True
    )
    assert recipe.samples == SamplesSpec(None, 1000, 7, "random")
    assert recipe.limits == LimitsSpec(600.0, 8_000_000_000)
    triton, quick = recipe.targets
    assert triton.name == "triton"
    assert triton.steps == (
        StepSpec("onnx", {"opset": 18, "dynamic": {"input": ["batch", "_"]}}),
        StepSpec("optimize", {}),
        StepSpec("float16", {"keep_io_types": True}),
        StepSpec("simplify", {}),
    )
    assert triton.parity == ParitySpec(True, 1e-4, 1e-6, {"probabilities": {"rtol": 1e-3}, "on": {"atol": 0.0}})
    assert triton.publish == PublishSpec("triton", "breast_cancer", tmp_path / "repo", 3, {"max_batch_size": 8})
    assert quick.parity == ParitySpec(verify=False)
    assert quick.publish is None


def test_a_small_recipe_has_the_defaults(write):
    recipe = load_recipe(write(SMALL))
    assert recipe.model == ModelSpec(str(recipe.folder / "m.txt"))
    assert recipe.samples == SamplesSpec(file=None, count=256, seed=0, kind="random")
    assert recipe.limits == LimitsSpec(None, None)
    (target,) = recipe.targets
    assert (target.parity, target.publish, target.settings, target.filename) == (ParitySpec(), None, (), None)


@pytest.mark.parametrize(
    ("source", "location"),
    [
        ("package.module:factory", "package.module:factory"),
        ("module:factory", "module:factory"),
        ("../networks.py:factory", "{root}/networks.py:factory"),
        ("networks.py:factory", "{root}/recipes/networks.py:factory"),
        ("networks.py", "{root}/recipes/networks.py"),
        ("./models/m.onnx", "{root}/recipes/models/m.onnx"),
        ("odd:name.onnx", "{root}/recipes/odd:name.onnx"),
        ("/abs/m.onnx", "/abs/m.onnx"),
        ("..", "{root}"),
    ],
)
def test_paths_are_relative_to_the_recipe_and_modules_stay(write, tmp_path, source, location):
    recipe = load_recipe(write(SMALL.replace("m.txt", json.dumps(source))))
    assert recipe.model.location == location.format(root=tmp_path)


def test_the_folder_is_absolute_whatever_the_current_one(write, tmp_path, monkeypatch):
    write(SMALL)
    monkeypatch.chdir(tmp_path)
    assert load_recipe(Path("recipes/r.yaml")).model.location == str(tmp_path / "recipes/m.txt")


def test_a_linked_model_keeps_its_own_name(write, tmp_path):
    path = write(SMALL)
    (path.parent / "m.txt").symlink_to(tmp_path / "blob")
    assert load_recipe(path).model.location == str(path.parent / "m.txt")


@pytest.mark.parametrize("text", ["s.csv", "{file: s.csv}"])
def test_samples_of_a_file(write, text):
    recipe = load_recipe(write(SMALL + f"samples: {text}\n"))
    assert recipe.samples == SamplesSpec(file=recipe.folder / "s.csv")


@pytest.mark.parametrize(
    ("text", "parity"),
    [
        ("off", ParitySpec(verify=False)),
        ("'off'", ParitySpec(verify=False)),
        ("false", ParitySpec(verify=False)),
        ("no", ParitySpec(verify=False)),
        ("on", ParitySpec()),
        ("'on'", ParitySpec()),
        ("{}", ParitySpec()),
        ("{rtol: 1e-4}", ParitySpec(rtol=1e-4)),
        ("{rtol: 1E-4}", ParitySpec(rtol=1e-4)),
        ("{rtol: .5}", ParitySpec(rtol=0.5)),
        ("{atol: 0}", ParitySpec(atol=0.0)),
    ],
)
def test_parity(write, text, parity):
    assert load_recipe(write(SMALL + f"    parity: {text}\n")).targets[0].parity == parity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("-1.5e+3", -1500.0),
        ("010", 10),
        ("0x1F", 31),
        ("+3", 3),
        ("12:30", "12:30"),
        ("2026-01-31", "2026-01-31"),
        ("1_000", "1_000"),
        ("~", None),
        ("yes", True),
        ("'yes'", "yes"),
        ("!!str 5", "5"),
        ("y", "y"),
        ("=", "="),
        ("[a, 1]", ["a", 1]),
    ],
)
def test_scalars(write, text, value):
    recipe = load_recipe(write(SMALL.replace("[onnx]", f"[{{onnx: {{option: {text}}}}}]")))
    assert recipe.targets[0].steps[0].options == {"option": value}
    assert type(recipe.targets[0].steps[0].options["option"]) is type(value)


def test_anchors_aliases_and_merges(write):
    recipe = load_recipe(
        write("""
        model: m.txt
        x-shared: &shared
          steps: &steps [onnx, optimize]
          parity: {rtol: 1}
        targets:
          a: {<<: *shared, parity: off}
          b: {steps: *steps}
          c: {<<: [{parity: off}, *shared]}
        """)
    )
    a, b, c = recipe.targets
    assert a.steps == b.steps == c.steps == (StepSpec("onnx", {}), StepSpec("optimize", {}))
    assert [target.parity.verify for target in recipe.targets] == [False, True, False]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("10m", 600),
        ("10 min", 600),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("2d", 172800),
    ],
)
def test_seconds(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8GB", 8 * 10**9),
        ("8 GiB", 8 * 2**30),
        ("512MiB", 2**29),
        ("8g", 8 * 10**9),
        ("1.5kB", 1500),
        ("100B", 100),
        ("2Ti", 2**41),
    ],
)
def test_bytes(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", [" ", "10", "m", "10x", "10m5", "-5s", "10m,5s"])
def test_text_that_is_no_time(text):
    with pytest.raises(ValueError, match=text):
        parse_seconds(text)


@pytest.mark.parametrize("text", [" ", "GB", "8XB", "1.5B", "-1GB"])
def test_text_that_is_no_size(text):
    with pytest.raises(ValueError, match=text):
        parse_bytes(text)


# --- what is wrong, and where ---

# The text, put at the end of SMALL; line and column; words of the message; words of the hint.
BAD = [
    ("modell: x\n", "5:1", "modell: unknown key 'modell'. Did you mean 'model'?", "model, samples, limits, targets"),
    ("    stepps: []\n", "5:5", "targets.a.stepps: unknown key 'stepps'. Did you", "steps, hardware, parity, publish"),
    ("  b: {}\n", "5:3", "targets.b: the key 'steps' is missing", None),
    ("  b: {steps: []}\n", "5:14", "targets.b.steps: needs at least one item", None),
    ("  b: {steps: onnx}\n", "5:14", "expected a list, found the text 'onnx'", None),
    ("  b: {steps: [3]}\n", "5:15", "targets.b.steps[0]: expected text or a mapping, found the number 3", None),
    ("  b: {steps: [{onnx: 18}]}\n", "5:22", "targets.b.steps[0].onnx: expected a mapping or nothing", None),
    ("  b: {steps: [{onnx: , opset: 18}]}\n", "5:15", "a step is one name with its options beneath, found onnx", None),
    ("  b c: {steps: [onnx]}\n", "5:3", "targets['b c']: 'b c' cannot be a name here", None),
    ("  ../x: {steps: [onnx]}\n", "5:3", "cannot be a name here", None),
    ("  b:\n", "5:5", "targets.b: expected a mapping, found nothing", None),
    ("    steps: [onnx]\n", "5:5", "targets.a.steps: 'steps' is given twice, first on line 4", None),
    ("    parity: maybe\n", "5:13", "'maybe' is not of the right form; right are: on, off", None),
    ("    parity: {rtol: -1}\n", "5:20", "targets.a.parity.rtol: -1 is too small: at least 0", None),
    ("    parity: {rtol: .inf}\n", "5:20", "'.inf' is not a finite number", None),
    ("    parity: {rtol: .nan}\n", "5:20", "'.nan' is not a finite number", None),
    ("    parity: {rtol: 1e999}\n", "5:20", "'1e999' is not a finite number", None),
    ("    parity: {rtol: small}\n", "5:20", "expected a number, found the text 'small'", None),
    ("    parity: {rtoll: 1}\n", "5:14", "unknown key 'rtoll'. Did you mean 'rtol'?", "rtol, atol, outputs"),
    ("    parity: {outputs: {p: {tol: 1}}}\n", "5:28", "targets.a.parity.outputs.p.tol: unknown key", "rtol, atol"),
    ("    parity: {outputs: {p: {}}}\n", "5:27", "targets.a.parity.outputs.p: needs at least one key", None),
    ("    publish: {name: x}\n", "5:5", "targets.a.publish: the key 'to' is missing", None),
    (
        "    publish: {to: trition, name: x}\n",
        "5:19",
        "'trition' is not one of triton, tf-serving. Did you mean 'triton'?",
        None,
    ),
    ("    publish: {to: triton, name: 3}\n", "5:33", "expected text, found the number 3; put it in quotes", None),
    ("    publish: {to: triton, name: a/b}\n", "5:33", "'a/b' is not of the right form", None),
    ("    publish: {to: triton, name: x, version: 0}\n", "5:45", "0 is too small: at least 1", None),
    ("    publish: {to: triton, name: x, version: 1.5}\n", "5:45", "expected a whole number, found", None),
    ("    publish: {to: triton, name: x, max_batch_size: 8}\n", "5:36", "unknown key 'max_batch_size'", "options"),
    ("samples: {file: x.csv, count: 3}\n", "5:24", "samples.count: cannot be given together with 'file'", None),
    ("samples: {count: 0}\n", "5:18", "samples.count: 0 is too small: at least 1", None),
    ("samples: {kind: randon}\n", "5:17", "'randon' is not one of random, boundary. Did you mean 'random'?", None),
    ("samples: [a]\n", "5:10", "samples: expected text or a mapping, found a list", None),
    ("limits: {time: 10 minutes}\n", "5:16", "right are: 90s, 10m, 1h 30m", None),
    ("limits: {time: 0}\n", "5:16", "limits.time: 0 is too small: it has to be more than 0", None),
    ("limits: {time: 0s}\n", "5:16", "'0s' is not of the right form", None),
    ("limits: {memory: lots}\n", "5:18", "right are: 8GB, 512MiB", None),
    ("limits: {memory: yes}\n", "5:18", "expected a whole number or text, found true", None),
    ("samples: !!python/name:os.system x\n", "5:10", "samples: the tag !!python/name:os.system is not allowed", None),
    ("samples: !thing {}\n", "5:10", "samples: the tag !thing is not allowed", None),
    ("samples: !!set {a}\n", "5:10", "the tag !!set is not allowed", None),
    ("samples: !!int many\n", "5:10", "'many' is not a whole number", None),
    ("? [a]\n: b\n", "5:3", "a key has to be text", None),
    ("<<: 3\n", "5:5", "`<<` takes the alias of a mapping", None),
    ("x-loop: &x [*x]\n", "5:9", "x-loop[0]: an alias inside of what it stands for", None),
    ('samples: "a\\ud800b"\n', "5:10", "half a surrogate pair", None),
    ('samples: "a\\0b"\n', "5:10", "is not of the right form", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "place", "words", "hint"), BAD, ids=[row[0].strip()[:40] for row in BAD])
def test_bad_recipe_is_refused_with_its_place(write, text, place, words, hint):
    path = write(SMALL + text)
    error = refusal(path)
    assert error.where == f"{path}:{place}"
    assert words in error.message
    assert hint is None or hint in error.hint


SYNTAX = [
    ("model: m\n\ttargets: x\n", "2:1", "a tab"),
    ("model: [a\ntargets: x\n", "2:8", "not valid YAML"),
    ("model: a: b\n", "1:9", "mapping values are not allowed"),
    ("model: 'a\n", "2:1", "unexpected end of stream"),
    ("model: *nowhere\n", "1:8", "found undefined alias"),
    ("---\nmodel: a\n---\nmodel: b\n", "3:1", "more than one YAML document"),
]


@pytest.mark.parametrize(("text", "place", "words"), SYNTAX, ids=[row[2] for row in SYNTAX])
def test_syntax_error_is_refused_with_its_place(write, text, place, words):
    path = write(text)
    error = refusal(path)
    assert error.where == f"{path}:{place}"
    assert words in error.message


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing but a remark\n", "---\n"])
def test_empty_file(write, text):
    error = refusal(write(text))
    assert "empty" in error.message or "found nothing" in error.message


@pytest.mark.parametrize("text", ["just text\n", "[a]\n", "3\n"])
def test_no_mapping(write, text):
    assert "expected a mapping" in refusal(write(text)).message


@pytest.mark.parametrize("data", [b"\x80\x04\x95pickle", b"PK\x03\x04\x00\x00\x08", b"model: \x00\n"])
def test_a_binary_file(write, data):
    assert "not a text file" in refusal(write(data)).message


def test_a_model_passed_by_mistake_is_not_read_whole(write):
    error = refusal(write(b"a" * (1 << 19), "model.onnx"))
    assert "not a recipe" in error.message
    assert "mlconvert convert" in error.hint


def test_missing_file_with_a_suggestion(write):
    path = write(SMALL, "recipes/breast_cancer.yaml")
    assert "Did you mean 'breast_cancer.yaml'?" in refusal(path.with_name("brest_cancer.yaml")).message
    assert "no recipe at" in refusal(path.parent / "no/folder/x.yaml").message


def test_a_folder(tmp_path):
    assert "cannot be read" in refusal(tmp_path).message


def test_aliases_of_aliases_are_bounded(write):
    levels = "".join(f"x-{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]\n" for n in range(1, 12))
    assert "aliases" in refusal(write("x-0: &x0 [lol]\n" + levels + SMALL)).message


def test_merges_of_merges_are_bounded(write):
    levels = "".join(f"x-{n}: &x{n} {{<<: [{', '.join([f'*x{n - 1}'] * 10)}]}}\n" for n in range(1, 12))
    assert "aliases" in refusal(write("x-0: &x0 {a: b}\n" + levels + SMALL)).message


def test_deep_nesting(write):
    assert "nested too deeply" in refusal(write(SMALL + "x-deep: " + "[" * 1000 + "]" * 1000 + "\n")).message


def test_a_merge_of_itself(write):
    assert "`<<` takes" in refusal(write(SMALL + "x-a: &a {b: {<<: *a}}\n")).message


def test_all_problems_at_once_in_the_order_of_lines(write):
    path = write("""
    model: {source: m.txt, form: lightgbm}
    samples: {cuont: 3}
    targets:
      a:
        steps:
        - onnx:
          opset: 18
        parity: {rtol: 1, rtol: big, atol: !x 3}
      b: {steps: [onnx], publish: {name: b, to: tritn}}
    """)
    error = refusal(path)
    assert error.where == str(path)
    head, *lines = error.message.splitlines()
    assert head == f"{len(lines)} problems in the recipe"
    places = [line.removeprefix(f"{path}:").split(" ")[0] for line in lines]
    assert places == ["1:24:", "2:11:", "6:7:", "8:23:", "8:29:", "8:40:", "9:45:"]


def test_a_problem_inside_an_alias_is_told_once(write):
    path = write("""
    model: m.txt
    x-parity: &parity {rtoll: 1}
    targets:
      a: {steps: [onnx], parity: *parity}
      b: {steps: [onnx], parity: *parity}
    """)
    message = refusal(path).message
    assert message.count("rtoll") >= 1
    assert len({line.split(": ")[0] for line in message.splitlines()}) == len(message.splitlines())


def test_duplicate_in_a_merged_mapping_is_found(write):
    assert "given twice" in refusal(write(SMALL + "x-a: &a {b: 1, b: 2}\nx-b: {<<: *a}\n")).message


def test_no_tag_builds_an_object(write, tmp_path):
    marker = tmp_path / "ran"
    error = refusal(write(SMALL + f'x-a: !!python/object/apply:os.mkdir ["{marker}"]\n'))
    assert "not allowed" in error.message
    assert not marker.exists()


def test_locate(write):
    path = write(WHOLE)
    assert locate(path, ("targets", "triton", "steps", 2, "float16")) == f"{path}:13:18"
    assert locate(path, ("targets", "triton", "steps", 2, "float16", "unknown")) == f"{path}:13:18"
    assert locate(path, ("nothing",)) == f"{path}:1:1"


# --- the schema is the one that is published, and says what is loaded ---


def test_schema_is_valid_json_schema():
    Draft202012Validator.check_schema(SCHEMA)


def test_every_key_is_described():
    def walk(node, where):
        for name, each in node.get("properties", {}).items():
            if not isinstance(each, dict):
                continue
            described = "description" in each or "description" in SCHEMA["$defs"].get(each.get("$ref", "")[8:], {})
            assert described, f"{where}.{name}"
            walk(each, f"{where}.{name}")

    walk(SCHEMA, "recipe")
    for name, each in SCHEMA["$defs"].items():
        walk(each, name)


def test_schema_knows_the_repositories_that_there_are():
    known = SCHEMA["$defs"]["publish"]["properties"]["to"]["enum"]
    assert known == [row.name for row in REPOSITORIES]


def test_defaults_in_the_schema_are_those_of_the_dataclasses():
    properties = SCHEMA["properties"]["samples"]["properties"]
    defaults = SamplesSpec()
    for name in ("count", "seed", "kind"):
        assert properties[name]["default"] == getattr(defaults, name)


NAMES = st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,8}\Z") | st.sampled_from(
    ["on", "1e-4", "null", "a b", "", "x\n"]
)
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), max_size=6).filter(
    lambda text: text.isprintable()
)
PATHS = (
    st.sampled_from(
        ["m.txt", "../m.txt", "p.q:f", "n.py:f", "~", "~/m", "~nobody/m", "..", ".", "/", "a:b", "", "a\tb"]
    )
    | TEXTS
)
NUMBERS = st.one_of(
    st.integers(-2, 3),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([1e-4, 10**400, 2**63, 1e300, True]),
)
ANY = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)
TOLERANCES = st.dictionaries(st.sampled_from(["rtol", "atol"]), NUMBERS, max_size=2)
TIMES = (
    st.sampled_from(["90s", "10m", "1h 30m", "0.001ms", "0s", "999999999d 5ms", "10", "1h30", "10m\n", "5 min 3s"])
    | NUMBERS
)
SIZES = (
    st.sampled_from(["8GB", "0.001k", "512 MiB", "0B", "1B", "1.5B", "8gb", "999999999.999TiB", "8GB\n", "5i"])
    | NUMBERS
)


def mapping(required, optional):
    return st.fixed_dictionaries(required, optional=optional)


STEPS = st.lists(
    NAMES | st.dictionaries(NAMES, st.none() | st.dictionaries(NAMES, ANY, max_size=2), max_size=2), max_size=3
)
TARGETS = st.dictionaries(
    NAMES,
    mapping(
        {"steps": STEPS},
        {
            "parity": st.sampled_from([True, False, "on", "off", "maybe"])
            | mapping(
                {}, {"rtol": NUMBERS, "atol": NUMBERS, "outputs": st.dictionaries(NAMES, TOLERANCES, max_size=2)}
            ),
            "publish": mapping(
                {"to": st.sampled_from(["triton", "triton", "else"]), "name": NAMES},
                {"repository": PATHS, "version": NUMBERS, "options": st.dictionaries(NAMES, ANY, max_size=2)},
            ),
        },
    ),
    max_size=2,
)
RECIPES = mapping(
    {
        "model": PATHS | mapping({"source": PATHS}, {"from": NAMES, "weights": PATHS, "trust": st.booleans()}),
        "targets": TARGETS,
    },
    {
        "samples": PATHS
        | mapping({}, {"count": NUMBERS, "seed": NUMBERS, "kind": st.sampled_from(["random", "boundary", "x"])})
        | mapping({"file": PATHS}, {"count": NUMBERS}),
        "limits": mapping({}, {"time": TIMES, "memory": SIZES}),
        "x-anything": ANY,
        "unknown": ANY,
    },
)


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(value=RECIPES)
def test_a_recipe_loads_just_when_the_schema_accepts_it(tmp_path, value):
    path = tmp_path / "r.yaml"
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")  # JSON is YAML
    if Draft202012Validator(SCHEMA).is_valid(value):
        recipe = load_recipe(path)
        assert [target.name for target in recipe.targets] == list(value["targets"])
        for target in recipe.targets:
            assert target.steps
            assert all(isinstance(step.options, dict) for step in target.steps)
            assert all(isinstance(x, float) for each in target.parity.outputs.values() for x in each.values())
        assert recipe.limits.seconds is None or recipe.limits.seconds > 0
        assert recipe.limits.memory_bytes is None or recipe.limits.memory_bytes > 0
        assert recipe.samples.file is None or recipe.samples.file.is_absolute()
    else:
        with pytest.raises(UsageError) as caught:
            load_recipe(path)
        assert caught.value.where.startswith(str(path))


# --- the recipes that are shipped ---

SHIPPED = sorted((ROOT / "recipes").glob("*.yaml"))
SOURCES = {
    "bikes": "sklearn",
    "breast_cancer": "lightgbm",
    "breast_cancer_servers": "lightgbm",
    "breast_cancer_tf_serving": "lightgbm",
    "churn": "sklearn",
    "churn_parts": "sklearn",
    "claims": "statsmodels",
    "digits": "exported-program",
    "digits_tf_serving": "exported-program",
    "loans": "xgboost",
    "tickets": "sklearn",
    "tickets_tf_serving": "sklearn",
    "tiny_transformer": "torch",
    "tiny_transformer_tf_serving": "torch",
}


def test_recipes_are_shipped():
    assert set(SOURCES) == {path.stem for path in SHIPPED}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_recipe_names_steps_and_options_that_exist(path):
    recipe = load_recipe(path)
    members = recipe.ensemble.members if recipe.ensemble else ()
    for target in (*recipe.targets, *(member.target for member in members)):
        names = [step.name for step in target.steps]
        edges = route(SOURCES[recipe.name], names, registry().converters)
        assert [edge.name for edge, _ in edges] == names
        for (edge, _), step in zip(edges, target.steps, strict=True):
            check_options(step.name, options_of(edge.load()), step.options)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_recipe_means_the_same_to_other_readers_of_yaml(path):
    # Editors check it against the schema with a reader of their own.
    value = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(value) <= {"model", "samples", "limits", "targets", "models", "ensemble"}
    assert list(value.get("targets", {})) == [target.name for target in load_recipe(path).targets]
    assert ("ensemble" in value) == (load_recipe(path).ensemble is not None)


def test_targets_of_digits_share_their_first_steps():
    targets = load_recipe(ROOT / "recipes/digits.yaml").targets
    assert len(targets) == 3
    assert len({(step.name, json.dumps(step.options)) for target in targets for step in target.steps[:2]}) == 2


# --- what reading a recipe costs those who read none ---


def test_nothing_heavy_is_imported_before_a_recipe_is_read():
    code = "import sys, mlconvert.recipe; print([m for m in ('yaml', 'jsonschema', 'numpy') if m in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"
