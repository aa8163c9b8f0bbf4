"""A part of the ONNX backend suite through SavedModels; `make conformance` runs all of it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PARTS = 16


def module(name):
    spec = importlib.util.spec_from_file_location(f"conformance_{name}", HERE / f"{name}.py")
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


suite, known = module("suite"), module("known").NOT_PASSING


@pytest.fixture(scope="module")
def cases():
    return list(suite.cases())


def checked(wanted, **settings):
    problems = {result.case: result.problem for result in suite.run(wanted, **settings)}
    assert len(problems) == len(wanted) > 50
    failed = {case: problem for case, problem in problems.items() if problem and case not in known}
    passed = [case for case, problem in problems.items() if not problem and case in known]
    return failed, passed


def test_every_sixteenth_case_passes(cases):
    assert checked(cases[::PARTS]) == ({}, [])


def test_the_table_names_cases_of_the_suite(cases):
    assert sorted(set(known) - {case.name for case in cases}) == []


def test_a_wrong_answer_is_seen(cases):
    case = next(case for case in cases if case.name == "test_relu")
    inputs, outputs = case.data[0]
    wrong = suite.Case(case.name, case.kind, case.model, ((inputs, [outputs[0] + 1]),), case.rtol, case.atol)
    assert [result.problem for result in suite.run([wrong])] == ["y: differs by 1"]
