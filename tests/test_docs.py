"""The documentation says what the code does: its pages, links, commands, recipes and tables are checked against it."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import mlconvert
from mlconvert.converter import options_of
from mlconvert.converters import CONVERTERS
from mlconvert.errors import BY_NAME
from mlconvert.execution import cache, jobs
from mlconvert.formats import FORMATS
from mlconvert.onnx_model import files
from mlconvert.onnx_model.releases import RUNTIMES, TRITON
from mlconvert.parity.tolerance import DEFAULTS
from mlconvert.recipe import load_recipe
from mlconvert.repositories import REPOSITORIES

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])
GENERATED = DOCS / "reference"
IDS = [str(page.relative_to(ROOT)) for page in PAGES]


def _load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_reference = _load(DOCS / "make_reference.py")


# --- reading Markdown ---


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    info: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def _split(page: Path) -> tuple[list[Block], str]:
    """The fenced blocks of a page, and its text without them (as many lines, so that numbers stay)."""
    blocks, prose, fence, start, info = [], [], None, 0, ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            if fence is None:
                fence, start, info = [], number, line.removeprefix("```").strip()
            else:
                blocks.append(Block(page, start, info, "\n".join(fence) + "\n"))
                fence = None
            prose.append("")
        elif fence is not None:
            fence.append(line)
            prose.append("")
        else:
            prose.append(line)
    assert fence is None, f"{page}: the block from line {start} on is not closed"
    return blocks, "\n".join(prose)


SPLIT = {page: _split(page) for page in PAGES}
BLOCKS = [block for blocks, _ in SPLIT.values() for block in blocks]


def _blocks(*infos: str) -> list[Block]:
    found = [block for block in BLOCKS if block.info in infos]
    assert found, f"no block of {infos} in the documentation"
    return found


def _anchors(prose: str) -> set[str]:
    """The anchors that Git hosts make of headings: lower case, no punctuation, spaces as hyphens, repeats numbered."""
    anchors: set[str] = set()
    for heading in re.findall(r"^#{1,6} (.+)$", prose, flags=re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = base = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        count = 0
        while slug in anchors:
            count += 1
            slug = f"{base}-{count}"
        anchors.add(slug)
    return anchors


def _rows(page: Path, *heading: str) -> list[list[str]]:
    """The rows of the first table of a page whose heading starts with these cells."""
    lines = SPLIT[page][1].splitlines()
    for index, line in enumerate(lines):
        cells = _cells(line)
        if line.startswith("|") and cells[: len(heading)] == list(heading):
            rows = []
            for row in lines[index + 2 :]:
                if not row.startswith("|"):
                    break
                rows.append(_cells(row))
            return rows
    raise AssertionError(f"{page} has no table {heading}")


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


# --- the generated reference ---


def test_the_reference_is_what_the_code_says(capsys):
    assert make_reference.main(["--check"]) == 0, capsys.readouterr().err


def test_a_stale_reference_is_found(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(make_reference, "FOLDER", tmp_path)
    assert make_reference.main([]) == 0
    assert make_reference.main(["--check"]) == 0
    (tmp_path / "formats.md").write_text("old")
    (tmp_path / "report.md").unlink()
    assert make_reference.main(["--check"]) == 1
    told = capsys.readouterr().err
    assert "formats.md" in told
    assert "report.md" in told


def test_there_are_no_other_pages_in_the_reference():
    # lint.md is made by docs/make_lint_reference.py and held to the real server by test_lint_agreement.py.
    assert {path.name for path in GENERATED.iterdir()} == {*make_reference.PAGES, "lint.md"}


def test_the_record_has_the_documented_keys(small_onnx, tmp_path):
    out = tmp_path / "out"
    mlconvert.convert(small_onnx, to="onnx", via=["lower"], options={"lower.opset": 17}, output=out)
    documented = [key for key, _, _ in make_reference.record_rows(make_reference.RECORD)]
    assert list(json.loads((out / "record.json").read_bytes())) == documented
    from mlconvert.operations.publish import publish

    done = publish(out, tmp_path / "models", to="triton", name="small")
    published = json.loads((Path(done["path"]) / "record.json").read_bytes())
    more = [key for key, _, _ in make_reference.record_rows(make_reference.RECORD_IN_REPOSITORY)]
    assert set(published) - set(documented) == set(more)


# --- links ---


def _links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", SPLIT[page][1]):
            yield page, target


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page):
    for owner, target in _links():
        if owner != page:
            continue
        assert not re.match(r"[a-z]+:", target), f"{target}: links lead to files of the checkout only"
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{target} does not exist"
        if anchor:
            assert anchor in _anchors(SPLIT[there][1]), f"{target}: no such heading"


def test_the_index_links_every_page():
    index = DOCS / "index.md"
    linked = {(index.parent / target.partition("#")[0]).resolve() for page, target in _links() if page == index}
    assert sorted(set(PAGES) - linked - {index, ROOT / "README.md"}) == []


def test_pages_hold_no_machine_paths():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        text = text.replace("`/opt/tritonserver`", "")  # where NVIDIA's image has the server
        assert not re.search(r"(?<![\w.~…])/(?:tmp|work|root|home|usr|opt|Users)/", text), page


# --- command lines ---


@dataclass(frozen=True)
class CommandLine:
    where: str
    words: list[str]
    whole: bool  # as it can be typed; otherwise a mention that leaves arguments out


def _command_lines() -> Iterator[CommandLine]:
    for block in BLOCKS:
        if block.info in ("console", "sh"):
            yield from _typed(block)
    for page in PAGES:
        for span in re.findall(r"`([^`]+)`", SPLIT[page][1]):
            words = _words(span)
            if words[:1] == ["mlconvert"] and len(words) > 1:
                yield CommandLine(f"{page.relative_to(ROOT)}: {span}", words[1:], whole=False)


def _typed(block: Block) -> Iterator[CommandLine]:
    text = block.text.replace("\\\n", " ")
    prompt = "$ " if block.info == "console" else ""
    for line in (row.removeprefix(prompt) for row in text.splitlines() if row.startswith(prompt)):
        for part in _commands_of(_words(line)):
            if part[:1] == ["mlconvert"]:
                yield CommandLine(f"{block.where}: {line}", part[1:], whole=True)


def _commands_of(words: list[str]) -> Iterator[list[str]]:
    """The commands of a line of shell: what stands between pipes, without redirections and variables in front."""
    command: list[str] = []
    for word in [*words, "|"]:
        if word in ("|", "&&", "||", ";", ">", "2>", "#"):
            while command and re.fullmatch(r"\w+=.*", command[0]):
                command.pop(0)
            yield command
            command = []
            if word == "#":
                return
        else:
            command.append(word)


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:  # a quotation over several lines is not of mlconvert's
        return []


LINES = list(_command_lines())


@pytest.fixture(scope="module")
def commands():
    import typer

    from mlconvert.cli.app import application

    return typer.main.get_command(application()).commands


def test_command_lines_are_found():
    assert len([line for line in LINES if line.whole]) > 40
    assert len([line for line in LINES if not line.whole]) > 10
    made = Block(PAGES[0], 1, "console", "$ A=1 mlconvert run x.yaml \\\n  --jobs 2 | tail -3\nmlconvert said this\n")
    assert [line.words for line in _typed(made)] == [["run", "x.yaml", "--jobs", "2"]]


@pytest.mark.parametrize("line", LINES, ids=[line.where for line in LINES])
def test_command_lines_parse(line, commands):
    from typer._click.exceptions import MissingParameter, UsageError

    verb, *rest = line.words
    if verb.isupper() or verb.startswith("-"):  # `mlconvert COMMAND --help`, `mlconvert --version`
        assert not line.whole or verb in ("--help", "--version")
        return
    assert verb in commands, f"there is no command {verb}"
    rest = [word for word in rest if word != "…"]
    if "--help" in rest:
        rest.remove("--help")
        assert rest == []
        return
    try:
        parameters = commands[verb].make_context(verb, rest).params
    except MissingParameter:
        assert not line.whole
        return
    except UsageError as error:
        raise AssertionError(error.format_message()) from None
    _check_words(verb, parameters)


def _check_words(verb: str, parameters: dict) -> None:
    """What the parser takes as any text: formats, passes, options of steps."""
    placeholder = re.compile(r"[A-Z]+(\.[A-Z]+)?(=[A-Z]+)?")
    steps = {row.name for row in CONVERTERS} | {row.name for row in FORMATS}
    settings = [text for text in parameters.get("settings") or () if not placeholder.fullmatch(text)]
    if verb == "convert":
        for name in (parameters["to"], *parameters["via"]):
            assert name in steps or placeholder.fullmatch(name), name
        for text in settings:
            step, _, option = text.partition("=")[0].rpartition(".")
            known = {name for row in CONVERTERS if step in ("", row.name) for name in options_of(row.load())}
            assert option in known, text
    elif verb == "publish":
        layouts = {row.name: row for row in REPOSITORIES}
        assert parameters["to"] in layouts or placeholder.fullmatch(parameters["to"])
        known = {name for row in REPOSITORIES for form in row.formats for name in row.load().options(form)}
        assert {text.partition("=")[0] for text in settings} <= known


def test_options_that_are_mentioned_alone_exist(commands):
    """`--jobs N` in the prose, where no verb says whose it is."""
    known = {spelling for command in commands.values() for row in command.params for spelling in row.opts}
    others = {
        "--check",
        "--disable-auto-complete-config",
        "--help",
        "--list",
        "--model-control-mode",
        "--model-repository",
        "--quiet",
        "--strict-readiness",
        "--version",
    }
    for page in PAGES:
        for span in re.findall(r"`(--[^`]+)`", SPLIT[page][1]):
            for word in re.findall(r"(?<!\S)--[a-z][a-z0-9-]*", span):
                assert word in known | others, f"{page.relative_to(ROOT)}: {span}"


# --- what is in the blocks ---


def test_every_block_says_what_it_is():
    checked = {"console", "java", "json", "protobuf", "python", "sh", "text", "toml", "yaml"}  # java: test_jvm_service
    assert [block.where for block in BLOCKS if block.info not in checked] == []


@pytest.mark.parametrize("block", _blocks("yaml"), ids=lambda block: block.where)
def test_recipes_validate(block, tmp_path):
    path = tmp_path / "recipe.yaml"
    text = block.text
    if "targets:" not in text and "ensemble:" not in text:
        text += "targets: {one: {steps: [onnx]}}\n"
    path.write_text(text, encoding="utf-8")
    recipe = load_recipe(path)
    members = recipe.ensemble.members if recipe.ensemble else ()
    for target in (*recipe.targets, *(member.target for member in members)):
        for step in target.steps:
            rows = [row for row in CONVERTERS if row.name == step.name]
            assert rows, f"there is no step {step.name}"
            known = {name for row in rows for name in options_of(row.load())}
            assert set(step.options) <= known
        if target.publish:
            row = next(row for row in REPOSITORIES if row.name == target.publish.to)
            assert set(target.publish.options) <= {name for form in row.formats for name in row.load().options(form)}
    assert yaml.safe_load(text).get("targets", {}).keys() == {target.name for target in recipe.targets}


@pytest.mark.parametrize("block", _blocks("python"), ids=lambda block: block.where)
def test_python_compiles(block):
    compile(ast.parse(block.text), block.where, "exec")


@pytest.mark.parametrize("block", _blocks("python"), ids=lambda block: block.where)
def test_python_imports_what_mlconvert_has(block):
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "mlconvert":
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module}.{alias.name}"


def test_toml_and_json_parse():
    for block in BLOCKS:
        if block.info == "toml":
            tomllib.loads(block.text)
        if block.info == "json":
            json.loads(block.text)


@pytest.mark.parametrize("block", _blocks("protobuf"), ids=lambda block: block.where)
def test_configurations_are_complete(block):
    from mlconvert.repositories.triton.config import parse

    config = parse(block.text, where=block.where)
    assert config.backend
    assert config.input
    assert config.output


# --- tables and numbers ---

README = ROOT / "README.md"


def test_readme_lists_all_extras():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(project["optional-dependencies"]) - {"dev", "fixtures"}
    install = next(block for block in BLOCKS if block.page == README and "pip install" in block.text)
    assert set(re.findall(r"'\.\[([\w-]+)\]'", install.text)) == extras
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for listed in re.findall(r"pip install '(?:\.|mlconvert)\[([\w,-]+)\]'", text):
            assert set(listed.split(",")) <= extras, f"{page}: {listed}"
    assert project["requires-python"] == ">=3.11"
    assert "Python >= 3.11" in SPLIT[README][1]


def test_readme_lists_all_exit_codes():
    codes = {row[0] for row in _rows(README, "code", "meaning")}
    assert codes == {"0"} | {str(error.exit_code) for error in BY_NAME.values()}


def test_readme_lists_every_route():
    rows = _rows(README, "source", "file", "becomes", "extra")
    files = " ".join(row[1] for row in rows)
    for source in {row.source for row in CONVERTERS}:
        form = next(row for row in FORMATS if row.name == source)
        assert not form.suffixes or form.suffixes[0] in files, f"{source} is not in the table"
    for kind, source in (("ONNX", "onnx"), ("TorchScript", "torchscript")):
        passes = next(row[2] for row in rows if row[0] == kind).partition(":")[2]
        known = {row.name for row in CONVERTERS if row.is_pass and row.source == source}
        assert set(re.findall(r"`([\w-]+)`", passes)) == known
    assert len(rows) == len({row.source for row in CONVERTERS})


def test_default_tolerances_are_the_real_ones():
    rows = _rows(DOCS / "how-to" / "parity.md", "precision", "rtol", "atol")
    used = {row.precision for row in CONVERTERS} - {None} | {"float32"}
    assert {name for name, _, _ in rows} == used
    for name, rtol, atol in rows:
        assert (float(rtol), float(atol)) == (DEFAULTS[name].rtol, DEFAULTS[name].atol), name


def test_limits_of_runtimes_are_the_real_ones():
    page = DOCS / "how-to" / "older-servers.md"
    told = {}
    for versions, opset, ml_opset, ir in _rows(page, "ONNX Runtime", "opset"):
        first, _, last = versions.partition(" to ")
        minors = [int(version.strip().split(".")[1]) for version in (first.split(",") if not last else (first, last))]
        for minor in range(minors[0], minors[-1] + 1) if last else minors:
            told[f"1.{minor}"] = (int(opset), int(ml_opset), int(ir))
    assert told == {name: (row.opset, row.ml_opset, row.ir) for name, row in RUNTIMES.items()}
    pairs = re.findall(r"(\d\d\.\d\d) has (?:ONNX Runtime )?(1\.\d+)", SPLIT[page][1])
    assert dict(pairs) == TRITON


def test_sizes_are_the_real_ones():
    text = " ".join(SPLIT[DOCS / "how-to" / "operate.md"][1].split())
    assert f"more than {cache.LARGE >> 20} MiB is not copied" in text
    assert f"{cache.DEFAULT_BYTES} ({cache.DEFAULT_BYTES >> 30} GiB)" in text
    assert f"The last {jobs.KEPT_FAILURES} failures" in text
    large = SPLIT[DOCS / "how-to" / "large-models.md"][1]
    assert f"more than {cache.LARGE >> 20} MiB is not copied" in " ".join(large.split())
    assert f"Above {files.EXTERNAL_ABOVE >> 30} GiB of weights" in large


def test_environment_variables_exist():
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "mlconvert").rglob("*.py"))
    for page in PAGES:
        for name in re.findall(r"\bMLCONVERT_\w+", page.read_text(encoding="utf-8")):
            assert name in sources, f"{page}: {name}"


def test_paths_of_the_checkout_exist():
    for page in PAGES:
        for path in re.findall(r"`((?:docs|fixtures|mlconvert|recipes|tests)/[\w./-]*)`", SPLIT[page][1]):
            assert (ROOT / path).exists(), f"{page.relative_to(ROOT)}: {path}"


def test_the_changelog_has_this_version():
    assert f"## {mlconvert.__version__}" in SPLIT[DOCS / "changelog.md"][1]
