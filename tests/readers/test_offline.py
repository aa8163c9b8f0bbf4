"""What runs behind the filter reaches no network; sklearn2pmml's report of a failure does not leave the machine."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mlconvert.errors import ConversionFailed, MissingPackage
from mlconvert.java import find_java
from mlconvert.readers import sklearn2pmml_runs as runs
from mlconvert.readers.jvm import java_words
from mlconvert.readers.offline import offline

TRIES = """
import ctypes, socket
for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK):
    try:
        socket.socket(family).close()
        print(family.name, "open")
    except OSError as error:
        print(family.name, error.errno)
calls = ctypes.CDLL(None, use_errno=True)
print("io_uring", calls.syscall(425, 8, 0), ctypes.get_errno())
"""


def test_sockets_are_refused_but_those_of_the_machine_itself():
    done = subprocess.run(offline([sys.executable, "-c", TRIES]), capture_output=True, text=True, check=True)
    refused = ["AF_INET 13", "AF_INET6 13", "AF_NETLINK 13", "io_uring -1 13"]
    assert done.stdout.splitlines() == ["AF_UNIX open", *refused]
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {TRIES!r}])"
    done = subprocess.run(offline([sys.executable, "-c", child]), capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1:] == refused  # of what it starts, too


@pytest.fixture
def proxy(monkeypatch):
    """A listener that every JVM here takes for the way to the world; the list of who called."""
    calls: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            while True:
                try:
                    caller, _ = server.accept()
                except OSError:
                    return
                with caller:
                    calls.append(caller.recv(200))

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        port = server.getsockname()[1]
        monkeypatch.setenv("JAVA_TOOL_OPTIONS", f"-Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort={port}")
        yield calls
        server.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def test_nothing_connects_when_a_conversion_fails(tmp_path, proxy):
    with pytest.raises(ConversionFailed, match="does not take the model"):
        runs.write_pmml({"no": "model"}, tmp_path / "m.pmml", where="", seconds=60, memory_mib=0)
    assert proxy == []
    # The same program as its maker ships it does call: the test would see it.
    from sklearn2pmml.resources import _package_classpath

    pickled = tmp_path / "m.pkl"
    runs._dump({"no": "model"}, pickled)
    words = [*java_words(find_java(11), list(map(Path, _package_classpath()))), runs.PROGRAM]
    words += ["--pkl-input", str(pickled), "--pmml-output", str(tmp_path / "m.pmml")]
    subprocess.run(words, capture_output=True, check=False, timeout=60)
    assert proxy
    assert proxy[0].startswith(b"CONNECT telemetry.jpmml.org:443")
    calls = len(proxy)
    subprocess.run(offline(words), capture_output=True, check=False, timeout=60)  # with the jar that posts
    assert len(proxy) == calls


def test_the_date_of_the_converter_is_read_before_it_refuses(tmp_path):
    jar = tmp_path / "sklearn2pmml-1.jar"
    built = datetime(2026, 8, 30, 20, 30, tzinfo=UTC)
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\r\nBuild-Timestamp: 2026-08-30T20:30:00Z\r\n")
    runs.check_date(jar, built + timedelta(days=359))
    with pytest.raises(MissingPackage, match="built on 2026-08-30, and refuses to convert 360 days after") as raised:
        runs.check_date(jar, built + timedelta(days=361))
    assert raised.value.exit_code == 3
    assert "pip install --upgrade sklearn2pmml" in (raised.value.hint or "")
    runs.check_date(None, built)
