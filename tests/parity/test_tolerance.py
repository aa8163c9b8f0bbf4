from __future__ import annotations

import json
import subprocess
import sys

import pytest

from mlconvert.errors import UsageError
from mlconvert.parity.tolerance import DEFAULTS, Tolerance, Tolerances, defaults_for


def test_importing_tolerances_and_results_imports_no_numpy():
    code = "import sys, mlconvert.parity.tolerance, mlconvert.parity.result; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf"), "1e-5", None, True])
def test_a_tolerance_that_is_no_tolerance_is_refused(bad):
    with pytest.raises(UsageError, match="rtol="):
        Tolerance(bad, 0.0)
    with pytest.raises(UsageError, match="atol="):
        Tolerance(0.0, bad)


def test_json_round_trip_and_inheritance():
    tolerances = Tolerances.from_json({"rtol": 0.5, "outputs": {"y": {"atol": 2}}}, Tolerance(1.0, 1.0))
    assert tolerances.default == Tolerance(0.5, 1.0)
    assert tolerances.of("y") == Tolerance(0.5, 2)
    assert tolerances.of("z", "y") == Tolerance(0.5, 2)
    assert tolerances.of("z") == tolerances.default
    assert Tolerances.from_json(json.loads(json.dumps(tolerances.as_json()))) == tolerances
    assert Tolerances.from_json({}).default == DEFAULTS["float32"]


@pytest.mark.parametrize("data", [{"rtoll": 1}, {"outputs": {"y": {"atoll": 1}}}, {"outputs": {"y": 3}}])
def test_unknown_keys_are_refused(data):
    with pytest.raises(UsageError):
        Tolerances.from_json(data)


def test_defaults_widen_with_the_loss_of_precision():
    names = ["float64", "float32", "float16", "bfloat16", "int8"]
    values = [defaults_for(name) for name in names]
    assert [v.rtol for v in values] == sorted(v.rtol for v in values)
    assert [v.atol for v in values] == sorted(v.atol for v in values)
    with pytest.raises(UsageError, match="Did you mean 'float16'"):
        defaults_for("flaot16")
