"""Jobs in child processes that crash, hang, hoard, litter and are killed: real ones, of the plug-in in tests/plugin."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed, OutOfResources, UsageError
from mlconvert.execution import jobs
from mlconvert.execution.jobs import Cancelled, Children
from mlconvert.recipe import LimitsSpec

PLUGIN = Path(__file__).parents[1] / "plugin"


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("MLCONVERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(PLUGIN))
    return tmp_path / "cache"


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.toy"
    path.write_text("TOY 1\n1 2 3\n")
    return path


def request(model, fault, **options):
    return {
        "job": "convert",
        "converter": f"toy:{fault}",
        "options": options,
        "source": Artifact("toy", str(model), (model,)).as_json(),
        "samples": None,
        "filename": "made.toy",
    }


@contextlib.contextmanager
def failing(kind, children, model, folder, fault, **options):
    with pytest.raises(kind) as caught:
        children.run(fault, request(model, fault, **options), folder)
    yield caught.value


def listed(folder):
    return sorted(path.name for path in folder.iterdir())


def kept_folder(root):
    (kept,) = (root / "failed").iterdir()
    return kept


def alive(pid):
    """Whether the process runs: one that has ended and is not yet waited for by init does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(holds, seconds=60.0):
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


def read_pid(path):
    wait_until(path.exists)
    return int(path.read_text())


def test_a_job_gives_its_result_files_and_cost(model, tmp_path, root):
    done = Children(LimitsSpec()).run("copy", request(model, "copy", delay=0.05), tmp_path / "job")
    assert done.result["artifact"]["files"] == ["made.toy"]
    assert done.result["artifact"]["signature"]["inputs"][0]["shape"] == ["batch", 2]
    assert (done.out / "made.toy").read_text() == model.read_text()
    assert 0.05 < done.seconds < 30
    assert 4 << 20 < done.peak_rss_bytes < 4 << 30
    assert not (root / "failed").exists()


def test_relative_folders_of_modules_are_found_from_the_job_s_own_folder(model, tmp_path, monkeypatch):
    monkeypatch.chdir(PLUGIN.parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["no/such/folder", PLUGIN.name]))
    done = Children(LimitsSpec()).run("copy", request(model, "copy"), tmp_path / "job")
    assert (done.out / "made.toy").exists()


def test_what_a_job_says_goes_to_its_log(model, tmp_path, capfd):
    done = Children(LimitsSpec()).run("chatter", request(model, "chatter"), tmp_path / "job")
    assert done.log.read_text().split("\n") == ["said on stdout", "said on stderr", "said by a child", ""]
    assert capfd.readouterr() == ("", "")


def test_a_crash_names_the_signal_and_keeps_log_and_request(model, tmp_path, root):
    with failing(ConversionFailed, Children(LimitsSpec()), model, tmp_path / "job", "crash") as error:
        assert error.exit_code == 4
        assert error.message == ("step 'crash' crashed (SIGABRT): the library that it calls could not bear this input")
    kept = kept_folder(root)
    assert "about to abort" in (kept / "log.txt").read_text()
    first, log, again = (error.where or "").splitlines()
    assert first == "step 'crash'"
    assert log == f"log: {kept / 'log.txt'}"
    assert again.startswith("again: ")


def test_the_kept_request_reproduces_the_step_by_hand(model, tmp_path, root):
    # The step's name has a space, as that of every verification has: the command must be one that can be pasted.
    with pytest.raises(ConversionFailed) as caught:
        Children(LimitsSpec()).run("verify it", request(model, "raises", message="so it is"), tmp_path / "job")
    command = (caught.value.where or "").splitlines()[-1].removeprefix("again: ")
    done = subprocess.run(shlex.split(command), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 4
    assert "ValueError: so it is\nand a second line" in done.stderr
    told = json.loads((kept_folder(root) / "result.json").read_text())
    assert told["message"] == caught.value.message == "ValueError: so it is"


def test_the_kept_request_of_a_crash_crashes_by_hand(model, tmp_path):
    with failing(ConversionFailed, Children(LimitsSpec()), model, tmp_path / "job", "crash") as error:
        command = (error.where or "").splitlines()[-1].removeprefix("again: ")
    assert subprocess.run(shlex.split(command), cwd=tmp_path, capture_output=True).returncode == -signal.SIGABRT


def test_a_killed_job_is_out_of_resources(model, tmp_path):
    with failing(OutOfResources, Children(LimitsSpec()), model, tmp_path / "job", "killed") as error:
        assert error.exit_code == 9
        assert "was killed (SIGKILL); most often that is the kernel, out of memory" in error.message


def test_a_full_disk_is_out_of_resources(model, tmp_path):
    with failing(OutOfResources, Children(LimitsSpec()), model, tmp_path / "job", "disk_full") as error:
        assert error.message.startswith("no space is left for ")
        assert error.message.endswith("made.toy")


def test_a_job_that_ends_without_a_word_failed(model, tmp_path):
    with failing(ConversionFailed, Children(LimitsSpec()), model, tmp_path / "job", "leaves", status=0) as error:
        assert "ended with status 0 and without a result" in error.message
    # What the worker ends with when it cannot write its result.
    with failing(OutOfResources, Children(LimitsSpec()), model, tmp_path / "job2", "leaves", status=9) as error:
        assert "no space is left for step 'leaves'" in error.message


def test_a_disk_too_full_to_say_anything_is_out_of_resources(model, tmp_path):
    """The scratch folder on a filesystem of 64 KiB, which the log fills: not even the worker's result fits."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs (root, or CAP_SYS_ADMIN)")
    try:
        children = Children(LimitsSpec())
        with failing(OutOfResources, children, model, disk / "job", "raises", times=10_000) as error:
            assert "no space is left for step 'raises'" in error.message
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_library_s_error_is_a_failed_conversion_with_its_first_line(model, tmp_path, root):
    with failing(ConversionFailed, Children(LimitsSpec()), model, tmp_path / "job", "raises") as error:
        assert error.message == "ValueError: weights are negative"
    assert "and a second line" in (kept_folder(root) / "log.txt").read_text()


def test_errors_of_ours_come_through_with_their_kind(model, tmp_path):
    with pytest.raises(UsageError, match=re.escape("unknown converter 'toy:copi'. Did you mean 'toy:copy'?")):
        Children(LimitsSpec()).run("x", request(model, "copi"), tmp_path / "job")


def test_a_job_past_its_time_is_ended_with_its_children(model, tmp_path):
    started = time.monotonic()
    with failing(
        OutOfResources,
        Children(LimitsSpec(seconds=1.5)),
        model,
        tmp_path / "job",
        "hang",
        pid_file=str(tmp_path / "pid"),
    ) as error:
        assert error.message == "took longer than its limit of 1.5 s"
    assert time.monotonic() - started < 10
    assert not alive(read_pid(tmp_path / "pid"))


def test_a_job_past_its_memory_is_ended(model, tmp_path):
    limits = LimitsSpec(seconds=60, memory_bytes=150 << 20)
    started = time.monotonic()
    with failing(OutOfResources, Children(limits), model, tmp_path / "job", "hoard", mebibytes=300) as error:
        assert "MiB of memory, its limit is 150 MiB" in error.message
    assert time.monotonic() - started < 20


def test_a_job_within_its_limits_is_left_alone(model, tmp_path):
    limits = LimitsSpec(seconds=60, memory_bytes=1 << 30)
    done = Children(limits).run("copy", request(model, "copy", delay=0.3), tmp_path / "job")
    assert (done.out / "made.toy").exists()


@pytest.mark.parametrize("fail", [False, True], ids=["done", "crashed"])
def test_what_a_job_left_running_is_ended(model, tmp_path, fail):
    pid_file = tmp_path / "pid"
    try:
        Children(LimitsSpec()).run(
            "litter", request(model, "litter", pid_file=str(pid_file), fail=fail), tmp_path / "job"
        )
    except ConversionFailed:
        assert fail
    pid = read_pid(pid_file)
    wait_until(lambda: not alive(pid))


def test_stop_from_another_thread_ends_what_runs_and_what_waits(model, tmp_path):
    children = Children(LimitsSpec(), jobs=1)
    ended = []

    def run(index):
        try:
            children.run("hang", request(model, "hang", pid_file=str(tmp_path / "pid")), tmp_path / f"job{index}")
        except Cancelled:
            ended.append(index)

    threads = [threading.Thread(target=run, args=[index]) for index in range(3)]
    for thread in threads:
        thread.start()
    pid = read_pid(tmp_path / "pid")
    children.stop()
    children.stop()
    for thread in threads:
        thread.join(10)
    assert sorted(ended) == [0, 1, 2]
    assert not alive(pid)
    with pytest.raises(Cancelled):
        children.run("copy", request(model, "copy"), tmp_path / "late")


def test_no_more_than_so_many_run_at_once(model, tmp_path):
    children = Children(LimitsSpec(), jobs=2)
    together = []

    def run(index):
        done = children.run("copy", request(model, "copy", delay=0.3), tmp_path / f"job{index}")
        together.append(done)

    threads = [threading.Thread(target=run, args=[index]) for index in range(4)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    peak = 0
    while any(thread.is_alive() for thread in threads):
        peak = max(peak, len(children._running))
        time.sleep(0.01)
    assert len(together) == 4
    assert peak == 2
    assert time.monotonic() - started > 0.6


@pytest.mark.parametrize("count", [0, -1])
def test_no_jobs_at_all_is_refused_rather_than_waited_for(count):
    with pytest.raises(UsageError, match="expected at least 1"):
        Children(LimitsSpec(), jobs=count)


def test_another_popen_of_this_process_does_not_reap_our_children(model, tmp_path, monkeypatch):
    """`subprocess` waits for every child whose Popen was collected, whenever a new one is made."""
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0.3)
    children, results = Children(LimitsSpec()), []
    thread = threading.Thread(
        target=lambda: results.append(children.run("copy", request(model, "copy"), tmp_path / "job"))
    )
    thread.start()
    while thread.is_alive():
        gc.collect()
        subprocess.run(["true"], check=True)
    assert len(results) == 1


RUNNING = """
import json, sys
from pathlib import Path
from mlconvert.execution.jobs import Children
from mlconvert.recipe import LimitsSpec
Children(LimitsSpec()).run("hang", json.loads(sys.argv[1]), Path(sys.argv[2]))
"""


def test_a_killed_parent_takes_its_job_with_it(model, tmp_path):
    pid_file = tmp_path / "pid"
    asked = json.dumps(request(model, "hang", pid_file=str(pid_file)))
    parent = subprocess.Popen([sys.executable, "-c", RUNNING, asked, str(tmp_path / "job")])
    worker = read_pid(pid_file)
    assert alive(worker)
    parent.kill()
    parent.wait()
    wait_until(lambda: not alive(worker))


def test_only_so_many_failures_are_kept(model, tmp_path, root, monkeypatch):
    monkeypatch.setattr(jobs, "KEPT_FAILURES", 2)
    for name in ("20000101-000000-old", "20000102-000000-old"):
        (root / "failed" / name).mkdir(parents=True)
    with failing(ConversionFailed, Children(LimitsSpec()), model, tmp_path / "job", "raises"):
        pass
    names = listed(root / "failed")
    assert len(names) == 2
    assert names[0] == "20000102-000000-old"


def test_without_a_place_to_keep_a_failure_it_is_told_all_the_same(model, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MLCONVERT_CACHE", str(tmp_path / "file" / "cache"))
    with failing(ConversionFailed, Children(LimitsSpec()), model, tmp_path / "job", "crash") as error:
        assert error.where == "step 'crash'"
