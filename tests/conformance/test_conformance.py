"""A part of the ONNX backend suite through SavedModels; `make conformance` runs all of it."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PARTS = 32
"""Every 32nd case, with the lengths that it states; other cases without them, and in double."""


def module(name):
    spec = importlib.util.spec_from_file_location(f"conformance_{name}", HERE / f"{name}.py")
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


suite, known = module("suite"), module("known")


@pytest.fixture(scope="module")
def cases():
    return list(suite.cases())


def test_a_part_of_the_suite_passes(cases):
    doubles = [double for case in cases[PARTS * 2 // 3 :: PARTS] if (double := suite.as_double(case)) is not None]
    wanted = [*cases[::PARTS], *map(suite.as_dynamic, cases[PARTS // 3 :: 2 * PARTS]), *doubles]
    problems = {(result.case, result.mode): result.problem for result in suite.run(wanted)}
    assert len(problems) == len(wanted)
    assert all(sum(mode == one for _, mode in problems) >= 20 for one in ("stated", "dynamic", "double"))
    failed = {case: problem for case, problem in problems.items() if problem and not known.reason(*case)}
    passed = [case for case, problem in problems.items() if not problem and known.reason(*case)]
    assert (failed, passed) == ({}, [])


def test_the_table_names_cases_of_the_suite(cases):
    names = {case.name for case in cases}
    assert [name for table in (known.NOT_PASSING, *known.IN_MODE.values()) for name in table if name not in names] == []


def test_a_wrong_answer_is_seen(cases):
    case = next(case for case in cases if case.name == "test_relu")
    inputs, outputs = case.data[0]
    wrong = dataclasses.replace(case, data=((inputs, [outputs[0] + 1]),))
    assert [result.problem for result in suite.run([wrong])] == ["y: differs by 1"]


def test_the_page_has_the_table():
    page = HERE.parents[1] / "docs" / "explanation" / "conformance.md"
    rows = page.read_text().partition("| reason | cases |\n| --- | --- |\n")[2].splitlines()
    assert rows == known.rows(), "copy the rows that known.rows() gives into the page"
