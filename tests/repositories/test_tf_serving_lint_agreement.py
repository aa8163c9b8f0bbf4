"""Lint and a TensorFlow Serving on the same cases: what lint calls an error is not served, and all else is.

All cases about a version are models of one repository, which one server loads.
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import sys
import time
from pathlib import Path

from mlconvert.errors import RepositoryInvalid
from mlconvert.repositories.tf_serving.models_config import Entry, parsed, with_entry
from mlconvert.serving.tf_serving.client import Client, connect

_SPEC = importlib.util.spec_from_file_location(
    "tf_serving_lint_cases", Path(__file__).with_name("test_tf_serving_lint.py")
)
assert _SPEC is not None
assert _SPEC.loader is not None
cases = sys.modules[_SPEC.name] = importlib.util.module_from_spec(_SPEC)  # dataclasses look it up
_SPEC.loader.exec_module(cases)
models = cases.models  # the fixture

# Errors of lint's with which a server may load the version all the same.
MAY_LOAD = {
    "checksum": "a server does not compare files with the record",
    "record-file-missing": "a server does not compare files with the record",
    "no-signature": "it loads, and refuses every request",
    "tensor-type": "it loads, and refuses every request",
    "version-name": "one of the two folders is served",
}
WAIT = 60.0


def about_versions() -> dict[str, object]:
    return {
        f"case{place}": case
        for place, case in enumerate(cases.CASES)
        if all(file.startswith("m/") for _, _, file in case.found)
    }


def settled(client: Client, name: str) -> dict[int, str]:
    deadline = time.monotonic() + WAIT
    while True:
        rows = client.status(name)
        if rows and not any(row.state in ("START", "LOADING") for row in rows):
            return {row.version: row.state if not row.reason else f"END: {row.reason}" for row in rows}
        assert time.monotonic() < deadline, name
        time.sleep(0.05)


def test_lint_says_what_the_server_says(tf_servings, models, tmp_path):
    root = tmp_path / "all"
    text = "model_config_list { }"
    wanted = about_versions()
    for name, case in wanted.items():
        repository = Path(shutil.copytree(models, tmp_path / name / "models"))
        case.change(repository)
        shutil.move(repository / "m", root / name)
        text = with_entry(text, Entry(name, str(root / name)), where="")
    serving = tf_servings("changing")
    staged = serving.root / ".models.config"
    staged.write_text(text)
    staged.replace(serving.root / "models.config")
    disagree = []
    with contextlib.closing(connect(f"tfserving://{serving.server.grpc}", seconds=WAIT)) as client:
        with contextlib.suppress(RepositoryInvalid):  # some do not load
            client.reload(parsed(text, where=""))
        for name, case in wanted.items():
            states = settled(client, name)
            serves = states.get(2) == "AVAILABLE"
            errors = {code for level, code, _ in case.found if level == "error"}
            unsure = any(level == "unchecked" for level, _, _ in case.found) or errors & set(MAY_LOAD)
            if not unsure and serves == bool(errors):
                disagree.append((case.name, sorted(case.found), states))
    assert not disagree, "\n".join(map(str, disagree))


def test_every_exception_is_one_of_lint():
    codes = {code for case in cases.CASES for level, code, _ in case.found if level == "error"}
    assert set(MAY_LOAD) <= codes
