"""Runs that are stopped, killed, or have no room: real processes, of the toy formats of tests/plugin.

That Ctrl-C and SIGTERM end a `convert` is told in tests/test_registry.py, what a single job does in
tests/execution/test_jobs.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parents[1] / "plugin"


class Here:
    """The user's folder with a toy model in it; caches and temporary files lie outside it."""

    def __init__(self, base: Path) -> None:
        self.folder = base / "here"
        self.temporary = base / "tmp"
        for folder in (self.folder, self.temporary):
            folder.mkdir()
        self.environment = dict(
            os.environ,
            PYTHONPATH=str(PLUGIN),
            MLCONVERT_CACHE=str(base / "cache"),
            TMPDIR=str(self.temporary),
        )
        self.write_model(1.5, -2, 0.5)

    def write_model(self, *numbers: float) -> None:
        (self.folder / "model.toy").write_text("TOY 1\n" + " ".join(map(str, numbers)) + "\n")

    def recipe(self, text: str) -> str:
        (self.folder / "recipe.yaml").write_text(textwrap.dedent(text))
        return "recipe.yaml"

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "mlconvert", *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a process group of its own, as a shell gives it
        )

    def mlconvert(self, code: int, *arguments: str, **environment: str) -> str:
        """Run a command that must end with this code; all that it printed."""
        return ended(self.start(*arguments, **environment), code)

    def listed(self) -> list[str]:
        """All that is in the folder, hidden files too, but for the model and the recipe."""
        found = sorted(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*"))
        return [name for name in found if name not in ("model.toy", "recipe.yaml")]


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


def ended(run: subprocess.Popen[str], code: int) -> str:
    said = "".join(run.communicate(timeout=60))
    assert run.returncode == code, said
    assert "Traceback" not in said
    return said


def wait_until(holds: Callable[[], object], run: subprocess.Popen[str], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert run.poll() is None, "".join(run.communicate())
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


def read_pid(path: Path, run: subprocess.Popen[str]) -> int:
    wait_until(path.exists, run)
    return int(path.read_text())


def gone(pid: int) -> bool:
    """Whether a process has ended, be it waited for or not."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


# --- stopped ---


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_recipe_that_is_stopped_ends_all_its_children_and_leaves_what_was_finished(here, tmp_path, number, code):
    pids = [tmp_path / "first", tmp_path / "second"]
    recipe = here.recipe(
        f"""
        model: model.toy
        targets:
          quick: {{steps: [toybin], parity: false}}
          first: {{steps: [{{hang: {{pid_file: {pids[0]}}}}}, toybin], parity: false}}
          second: {{steps: [copy, {{hang: {{pid_file: {pids[1]}}}}}, toybin], parity: false}}
        """
    )
    # A slot for each: the two that hang must not keep the quick one from its turn.
    run = here.start("run", recipe, "--jobs", "3", "--report", "r.json")
    children = [read_pid(path, run) for path in pids]
    wait_until((here.folder / "build/recipe/quick/record.json").exists, run)
    os.killpg(run.pid, number)
    said = ended(run, code)
    assert "stopped" in said
    assert all(gone(pid) for pid in children)
    assert here.listed() == [
        "build",
        "build/recipe",
        "build/recipe/quick",
        "build/recipe/quick/model.toybin",
        "build/recipe/quick/record.json",
    ]
    assert list(here.temporary.iterdir()) == []


@pytest.mark.parametrize("times", [1, 3], ids=["once", "impatiently"])
def test_ctrl_c_during_verification(here, tmp_path, times):
    here.mlconvert(0, "convert", "model.toy", "--to", "toybin", "-o", "m.toybin", "--no-verify")
    before = here.listed()
    for command in (
        ["verify", "model.toy", "m.toybin"],
        ["convert", "model.toy", "--to", "toybin", "-o", "n.toybin"],
    ):
        pid_file = tmp_path / f"pid-{command[0]}"
        run = here.start(*command, TOY_HANGS=str(pid_file))
        pid = read_pid(pid_file, run)
        for _ in range(times):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGINT)
            time.sleep(0.02)
        said = "".join(run.communicate(timeout=60))
        assert "stopped (Ctrl-C)" in said
        # The last of several may meet a process that has done all it had to do.
        assert run.returncode in ((130,) if times == 1 else (130, -signal.SIGINT))
        assert gone(pid)
        assert here.listed() == before
        assert list(here.temporary.iterdir()) == []


SPAWN = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"


def test_ctrl_c_at_a_terminal(here, tmp_path):
    """A real terminal: the key itself, and progress that is drawn and then wiped away."""
    pid_file = tmp_path / "pid"
    run = subprocess.Popen(
        [
            sys.executable, "-c", SPAWN, sys.executable, "-m", "mlconvert",
            "convert", "model.toy", "--to", "toybin", "--via", "hang", "--set", f"pid_file={pid_file}", "-o", "out",
        ],
        cwd=here.folder, env={**here.environment, "TERM": "xterm", "COLUMNS": "100"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    wait_until(pid_file.exists, run)
    time.sleep(0.5)
    said = run.communicate(b"\x03", timeout=60)[0].decode()
    assert run.returncode == 130, said
    assert "stopped (Ctrl-C)" in said
    assert "Traceback" not in said
    assert "✓ samples" in said
    assert "hang" in said
    assert "\x1b[?25h" in said, "the cursor was left hidden"
    assert gone(int(pid_file.read_text()))
    assert here.listed() == []


# --- killed ---


def test_after_a_killed_run_the_next_one_cleans_up_and_succeeds(here, tmp_path):
    here.mlconvert(0, "convert", "model.toy", "--to", "toybin", "-o", "out", "--no-verify")
    here.write_model(4, 5, 6)
    pid_file = tmp_path / "pid"
    hanging = ["convert", "model.toy", "--to", "toybin", "--via", "hang", "--set", f"pid_file={pid_file}", "-o", "out"]
    run = here.start(*hanging, "--no-verify")
    pid = read_pid(pid_file, run)
    run.kill()
    run.communicate()
    assert gone(pid), "the step outlived the run"
    assert {".mlconvert-out", ".mlconvert-out.lock", "out/model.toybin"} <= set(here.listed())
    here.mlconvert(0, "convert", "model.toy", "--to", "toybin", "-o", "out")
    assert here.listed() == ["out", "out/model.toybin", "out/record.json"]
    here.mlconvert(0, "verify", "out")
    here.mlconvert(0, "verify", "model.toy", "out")


def test_a_step_that_is_killed_is_named(here, tmp_path):
    pid_file = tmp_path / "pid"
    run = here.start(
        "convert", "model.toy", "--to", "toybin", "--via", "hang", "--set", f"pid_file={pid_file}", "-o", "out",
        "--no-verify", "--report", "r.json",
    )  # fmt: skip
    os.kill(read_pid(pid_file, run), signal.SIGKILL)
    said = ended(run, 9)
    assert "step 'hang' was killed (SIGKILL)" in said
    assert json.loads((here.folder / "r.json").read_text())["exit_code"] == 9
    assert here.listed() == ["r.json"]


def test_a_verification_that_is_killed_is_named(here, tmp_path):
    pid_file = tmp_path / "pid"
    run = here.start("convert", "model.toy", "--to", "toybin", "-o", "out", TOY_HANGS=str(pid_file))
    os.kill(read_pid(pid_file, run), signal.SIGKILL)
    assert "step 'reference' was killed (SIGKILL)" in ended(run, 9)
    assert here.listed() == []


# --- two at once ---


def test_of_two_runs_into_one_folder_the_second_is_told_of_the_first(here):
    slow = ["convert", "model.toy", "--to", "toybin", "--via", "copy", "--set", "delay=3", "-o", "out"]
    first = here.start(*slow)
    lock = here.folder / ".mlconvert-out.lock"
    wait_until(lambda: lock.exists() and lock.read_text(), first)
    said = here.mlconvert(2, "convert", "model.toy", "--to", "toybin", "-o", "out")
    assert f"another mlconvert (process {first.pid}) is writing to" in said
    assert "out" in said
    here.mlconvert(0, "convert", "model.toy", "--to", "toybin", "-o", "elsewhere")
    assert first.poll() is None, "the first was not at work any more"
    ended(first, 0)
    here.mlconvert(0, "verify", "out")
    assert [name for name in here.listed() if name.startswith(".")] == []


def test_of_two_runs_of_one_recipe_the_second_is_told_of_the_first(here):
    recipe = here.recipe(
        """
        model: model.toy
        targets:
          t: {steps: [{copy: {delay: 2}}, toybin]}
        """
    )
    first = here.start("run", recipe)
    lock = here.folder / "build" / "recipe" / ".mlconvert.lock"
    wait_until(lambda: lock.exists() and lock.read_text(), first)
    assert f"process {first.pid}" in here.mlconvert(2, "run", recipe)
    ended(first, 0)


# --- no room ---


@pytest.fixture
def disk(here: Here) -> Iterator[Callable[[int], Path]]:
    """Mounts a disk of so many KiB in the user's folder."""
    folder = here.folder / "disk"
    folder.mkdir()

    def mount(kibibytes: int) -> Path:
        subprocess.run(["umount", folder], capture_output=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("needs the right to mount a tmpfs (root, or CAP_SYS_ADMIN)")
        return folder

    yield mount
    subprocess.run(["umount", folder], capture_output=True)


NUMBERS = 20_000  # of the model: 160 kB packed, and 256 rows of samples are 40 MB


def test_on_a_full_disk_nothing_is_half_written(here, disk):
    """With more room at every turn: each run ends with 9 and leaves nothing, until there is room for all of it."""
    here.write_model(*[1] * NUMBERS, 0)
    codes = []
    for kibibytes in (16, 100, 400, 1000):
        folder = disk(kibibytes)
        run = here.start("convert", "model.toy", "--to", "toybin", "--no-verify", "-o", "disk/out")
        said = "".join(run.communicate(timeout=60))
        codes.append(run.returncode)
        assert "Traceback" not in said
        found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
        if run.returncode:
            assert "no space is left" in said
            assert found == []
        else:
            assert found == ["out", "out/model.toybin", "out/record.json"]
    assert codes[0] == 9
    assert codes[-1] == 0


@pytest.mark.parametrize("kibibytes", [1_000, 30_000, 41_500])
def test_on_a_full_disk_a_verified_run_says_what_lacked(here, disk, kibibytes):
    here.write_model(*[1] * NUMBERS, 0)
    folder = disk(kibibytes)
    said = here.mlconvert(9, "convert", "model.toy", "--to", "toybin", "-o", "disk/out", MLCONVERT_CACHE_BYTES="0")
    assert "no space is left" in said
    assert list(folder.iterdir()) == []


def test_a_full_disk_keeps_the_earlier_result(here, disk):
    folder = disk(500)
    here.mlconvert(0, "convert", "model.toy", "--to", "toybin", "-o", "disk/out", "--no-verify")
    here.write_model(*[1] * (4 * NUMBERS), 0)
    here.mlconvert(9, "convert", "model.toy", "--to", "toybin", "-o", "disk/out", "--no-verify")
    assert [path.name for path in folder.iterdir()] == ["out"]
    here.mlconvert(2, "verify", "disk/out")  # it was made without verification, but it is whole
    assert (folder / "out" / "model.toybin").stat().st_size == 32


def test_a_cache_without_room_is_done_without(here, disk):
    here.write_model(*[1] * NUMBERS, 0)
    folder = disk(64)
    here.mlconvert(0, "convert", "model.toy", "--to", "toybin", "-o", "out", MLCONVERT_CACHE=str(folder / "cache"))
    here.mlconvert(0, "verify", "out", MLCONVERT_CACHE=str(folder / "cache"))


def test_a_temporary_folder_without_room_is_named(here, disk):
    here.write_model(*[1] * NUMBERS, 0)
    here.mlconvert(0, "convert", "model.toy", "--to", "toybin", "-o", "out", "--no-verify")
    folder = disk(512)
    said = here.mlconvert(9, "verify", "model.toy", "out", TMPDIR=str(folder), MLCONVERT_CACHE=str(folder / "cache"))
    assert "no space is left" in said
    assert [path.name for path in folder.iterdir() if path.name != "cache"] == []


def test_a_disk_of_its_own_holds_the_outputs_of_a_recipe(here, disk):
    """As in a container, where the folder for results is a volume: nothing can be renamed into it from outside."""
    folder = disk(1000)
    recipe = here.recipe(
        """
        model: model.toy
        targets:
          a: {steps: [toybin]}
          b: {steps: [toybin, round]}
        """
    )
    for _ in range(2):
        here.mlconvert(0, "run", recipe, "--out", "disk")
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == [
        "a/model.toybin", "a/record.json", "b/model.toybin", "b/record.json",
    ]  # fmt: skip
    here.mlconvert(0, "convert", "model.toy", "--to", "toybin", "-o", "disk/m.toybin")
    here.mlconvert(0, "convert", "model.toy", "--to", "toybin", "-o", "disk/m")
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_a_disk_is_not_replaced_by_a_folder(here, disk):
    folder = disk(1000)
    said = here.mlconvert(2, "convert", "model.toy", "--to", "toybin", "-o", "disk")
    assert "disk is a mount point" in said
    assert "disk/model" in said
    assert "…" not in said, "a step was started"
    assert list(folder.iterdir()) == []


# --- a reader that has gone ---


@pytest.mark.parametrize("arguments", [["inspect", "model.toy", "--json"], ["routes"], ["--help"]], ids=lambda a: a[0])
def test_a_reader_that_has_gone_is_no_bug(here, arguments):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "mlconvert", *arguments],
            cwd=here.folder, env=here.environment, stdout=writing, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    finally:
        os.close(writing)
    assert done.returncode == 1
    assert done.stderr == ""
