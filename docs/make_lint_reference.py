"""Write docs/reference/lint.md: every case that `lint` and a real tritonserver are held against each other with.

    python docs/make_lint_reference.py

The cases are those of tests/repositories/lint_cases.py. The test beside it runs them too, and fails when a row of the
page is not what the server says. The server is found as `mlconvert doctor` says.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

PAGE = Path(__file__).parent / "reference" / "lint.md"
CASES = Path(__file__).parents[1] / "tests" / "repositories" / "lint_cases.py"
LONGEST = 180  # characters of a server's message

HEAD = """\
# What lint finds

<!-- Written by docs/make_lint_reference.py from the cases and a real server: change the cases, then run it. -->

`mlconvert lint REPOSITORY` reads a repository as the server would. Each row below is a repository that is right, or
wrong in one thing. The tests give every one of them to `lint` and to a real tritonserver (2.51, which is 24.10; loaded
by name, `--disable-auto-complete-config`): where `lint` finds an error, the server refuses the model, and where it does
not, the server loads it. {total} cases, of which the server loads {loaded}.

The wheel's server has no onnxruntime backend: messages about graphs come from mlconvert's stand-in, which is held to
the real backend's words and rules. Rows with *needs* load on a server that has what they name; `lint` warns.

How to use it: [lint](../how-to/lint.md).

## Findings

A finding has a level, a code, the model, the file (relative to the repository; with a line where it is known), the
field and a fix.

| level | meaning | exit code |
|---|---|---|
| error | the server refuses the model, or it would answer wrongly | 8 (5: all are wrong answers over the wire) |
| unchecked | asked for, and not possible here: never silence | 6 |
| warning | it loads, and is hardly meant | 0 |

Found by `lint` alone, for a server does not look at it: `checksum` (a file was changed after its record was written),
`record-file-missing`, `record-unreadable`, `not-readable` (by a server of another user), `broken-link`, `stray-file`,
`stray-folder`, `name-unusual`, `label-version`; of engines and packages bound to hardware, which are judged
[without it](../how-to/check.md), `engine-plan`, `engine-record`, `engine-package`, `engine-weights`,
`engine-unrecorded`, `engine-hardware`, `engine-cache`; and, with `--release`, `release-opset`, `release-ir`,
`release-operator`, `release-numpy`, `release-backend`.
"""


def cases_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lint_cases", CASES)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look for it there
    spec.loader.exec_module(module)
    return module


def row(case: Any, told: str, root: Path) -> str:
    """A line of the table: the case, what lint finds, and what the server says (nothing: it loads)."""
    codes = [f"`{code}`" for code in sorted(case.codes)] + [f"`{code}` (warning)" for code in sorted(case.warnings)]
    server = f"`{_told(told, root)}`" if told else "loads"
    if case.lacks:
        server = f"*needs {case.lacks}:* {server}"
    if case.stricter:
        server = f"loads, but {case.stricter}"
    return f"| {case.what} | {', '.join(codes) or 'nothing'} | {server} |".replace("\n", " ")


def _told(text: str, root: Path) -> str:
    """The server's words without what differs from run to run."""
    text = text.replace(str(root), "…")
    text = re.sub(r"/\S*?/(onnxruntime|core)/", r"…/\1/", text)
    text = re.sub(r", searched: .*", "", text)
    text = re.sub(r"\S+\.cc:[0-9]+ ?", "", text)
    text = re.sub(r"(max allowed is 8); .*", r"\1", text)
    text = " ".join(text.replace("`", "'").replace("|", "/").replace("\ufffd", "?").split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + "…"


def page(rows: Mapping[str, str], cases: ModuleType) -> str:
    """The whole page; `rows` by the case's name."""
    every = [*cases.CASES, *cases.FATAL]
    parts = [HEAD.format(total=len(every), loaded=sum(case.loads for case in every))]
    for title, group in {**cases.GROUPS, "What ends a server of 24.10": cases.FATAL}.items():
        parts.append(f"\n## {title}\n\n| repository | lint | server |\n|---|---|---|\n")
        parts.append("".join(f"{rows[case.name]}\n" for case in group))
    return "".join(parts)


def fatal_rows(cases: ModuleType, root: Path) -> dict[str, str]:
    return {case.name: row(case, "the process ends", root) for case in cases.FATAL}


def served(cases: Iterable[Any], root: Path) -> dict[str, str]:
    """What the server says of each case."""
    from mlconvert.errors import RepositoryInvalid
    from mlconvert.serving.client import connect_both
    from mlconvert.serving.home import find_server
    from mlconvert.serving.loading import load_model
    from mlconvert.serving.server import started

    module, said = cases_module(), {}
    with started(find_server(), root) as server:
        http, grpc = connect_both(server.http, server.grpc, seconds=60)
        for case in cases:
            case.write(root)
            try:
                load_model(server, http, case.name)
                said[case.name] = ""
            except RepositoryInvalid as error:
                said[case.name] = error.message
            if server.process.poll() is not None:
                raise RepositoryInvalid(f"the server ended at '{case.name}'", where=server.log_text()[-2000:])
            http.unload(case.name)
            module.remove(root, case)
        http.close()
        grpc.close()
    return said


def main() -> int:
    ours = Path(__file__).parents[1] / "build" / "tritonserver"  # where `make` installs it
    if ours.is_dir():
        os.environ.setdefault("MLCONVERT_TRITONSERVER", str(ours))
    cases = cases_module()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch).resolve()
        said = served(cases.CASES, root)
        rows = {case.name: row(case, said[case.name], root) for case in cases.CASES} | fatal_rows(cases, root)
        PAGE.write_text(page(rows, cases), "utf-8")
    sys.stdout.write(f"{PAGE}: {len(rows)} cases\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
