"""`lint` and the real tritonserver agree, case by case: see lint_cases.py. The page docs/reference/lint.md is held too.

`python docs/make_lint_reference.py` writes the page anew.
"""

from __future__ import annotations

import contextlib
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from mlconvert.errors import RepositoryInvalid
from mlconvert.repositories.triton.lint import lint
from mlconvert.serving.client import connect_both
from mlconvert.serving.home import find_server
from mlconvert.serving.loading import load_model
from mlconvert.serving.server import started

RELEASE = "24.10"  # of the server that the tests install


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DOCS = _module(Path(__file__).parents[2] / "docs" / "make_lint_reference.py")
CASES = DOCS.cases_module()


def found(repository: Path, name: str) -> tuple[set[str], set[str]]:
    """The codes of errors, and those of everything else."""
    findings = lint(repository, release=RELEASE, names=[name])
    errors = {one.code for one in findings if one.level == "error"}
    return errors, {one.code for one in findings if one.level != "error"}


@pytest.mark.parametrize("case", CASES.CASES, ids=lambda case: case.name)
def test_lint_and_the_server_agree(case, on_triton):
    on_triton(lambda server: agree(case, server))


def agree(case, triton_server) -> None:
    root = triton_server.root
    http = triton_server.clients[0]
    case.write(root)
    try:
        # Before the server: it may leave its own things in the folder.
        errors, others = found(root, case.name)
        assert errors == case.codes
        assert errors or others == case.warnings
        try:
            load_model(triton_server.server, http, case.name)
            told = ""
        except RepositoryInvalid as error:
            told = error.message
        assert bool(told) is not case.loads, f"the server {f'refuses it: {told}' if told else 'loads it'}"
        row = DOCS.row(case, told, root)
        assert row in DOCS.PAGE.read_text("utf-8").splitlines(), f"python docs/make_lint_reference.py: {row}"
    finally:
        triton_server.drop(case.name, *{path.partition("/")[0] for path in case.tree()} - {case.name})
        CASES.remove(root, case)


def test_the_page_has_every_case_and_no_others():
    rows = {case.name: f"| {case.what} |" for case in (*CASES.CASES, *CASES.FATAL)}
    every = (*CASES.CASES, *CASES.FATAL)
    head = DOCS.HEAD.format(total=len(every), loaded=sum(case.loads for case in every))
    assert DOCS.PAGE.read_text("utf-8").startswith(head), "python docs/make_lint_reference.py"
    lines = DOCS.PAGE.read_text("utf-8").splitlines()
    first = {f"{line[: line.index(' | ') + 2]}" for line in lines if line.startswith("| ") and line.count(" | ") >= 2}
    assert {row for row in rows.values() if row not in first} == set()
    tables = [line for line in lines[lines.index("## The configuration") :] if line.startswith("| ")]
    assert len(tables) == len(rows) + len(CASES.GROUPS) + 1
    assert len(rows) >= 200
    assert len({case.what for case in CASES.CASES}) == len(CASES.CASES), "two rows that look the same"


@pytest.mark.parametrize("case", CASES.FATAL, ids=lambda case: case.name)
def test_what_ends_a_server_is_an_error(case, tmp_path):
    root = tmp_path / "repository"
    root.mkdir()
    case.write(root)
    assert found(root, case.name)[0] == case.codes
    with started(find_server(), root) as server:
        http, grpc = connect_both(server.http, server.grpc, seconds=10)
        with pytest.raises(RepositoryInvalid):
            http.load(case.name)
        assert server.process.wait(20) != 0
        for client in (http, grpc):
            with contextlib.suppress(RepositoryInvalid):
                client.close()
    assert DOCS.fatal_rows(CASES, root)[case.name] in DOCS.PAGE.read_text("utf-8").splitlines()


def starts(repository: Path) -> bool:
    """Whether a server that loads everything at its start comes up."""
    try:
        with started(find_server(), repository, mode="none", wait_seconds=20):
            return True
    except RepositoryInvalid:
        return False


def test_a_server_that_loads_everything_takes_every_folder_for_a_model(tmp_path):
    """What lint says of the root: files do no harm, a folder without a configuration does."""
    root = tmp_path / "models"
    root.mkdir()
    CASES.CASES[0].write(root)
    (root / "notes.txt").write_text("a file")
    assert [one.code for one in lint(root)] == ["stray-file"]
    assert starts(root)
    (root / "staging").mkdir()
    assert {(one.level, one.code) for one in lint(root)} == {("warning", "stray-file"), ("error", "config-missing")}
    assert not starts(root)


def test_a_hidden_folder_is_a_model_to_a_server_that_loads_everything(tmp_path):
    root = tmp_path / "models"
    root.mkdir()
    CASES.CASES[0].write(root)
    (root / ".git").mkdir()
    assert [(one.level, one.code) for one in lint(root)] == [("warning", "stray-folder")]
    assert not starts(root)
