"""The Java service of the documentation: run from its source, and given newer jars while requests come in."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from mlconvert.artifact import Artifact
from mlconvert.converters.lightgbm_to_jar import convert
from mlconvert.java import find_java
from mlconvert.runners import lightgbm as lightgbm_runner

DOCS = Path(__file__).parent.parent / "docs"
SOURCE, PAGE = DOCS / "examples" / "ModelService.java", DOCS / "how-to" / "jvm.md"
X = np.random.default_rng(5).normal(size=(64, 3))
X[3, 1] = np.nan
CLIENTS, SWAPS, SECONDS = 4, 5, 60.0


@pytest.fixture(scope="module")
def jars(tmp_path_factory) -> dict[str, tuple[Path, np.ndarray]]:
    """Two versions of a model, by the digests of their jars: the jar, and what the model itself answers."""
    import lightgbm

    made = {}
    for version, sign in enumerate((1, -1)):
        folder = tmp_path_factory.mktemp("version")
        text = folder / "model.txt"
        labels = (sign * X[:, 0] > 0).astype(int)
        known = {"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 4}
        lightgbm.train(known, lightgbm.Dataset(X, labels, params={"verbose": -1}), 3).save_model(text)
        source = Artifact("lightgbm", str(text), (text,))
        jar = convert(source, folder / f"v{version}.jar").path
        answers = lightgbm_runner.load(source).run({"input": X})
        made[hashlib.sha256(jar.read_bytes()).hexdigest()] = (jar, answers["probabilities"])
    assert len(made) == 2
    return made


@contextlib.contextmanager
def service(jar: Path) -> Iterator[tuple[int, list[str]]]:
    """The running service: its port, and the lines that it writes."""
    java = find_java(11, compiler=True)
    words = [str(java.path), str(SOURCE), str(jar), "0"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")), daemon=True)
    try:
        first = ""
        while process.poll() is None and not first.startswith("port "):
            first = process.stdout.readline()
        found = re.match(r"port (\d+), jar ", first)
        assert found, first
        reader.start()
        yield int(found[1]), lines
    finally:
        process.terminate()
        process.wait(30)
        if reader.ident:
            reader.join(30)
        process.stdout.close()


def ask(port: int, rows: np.ndarray) -> tuple[int, dict]:
    body = "\n".join(",".join("" if np.isnan(value) else repr(float(value)) for value in row) for row in rows)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request("POST", "/predict", body)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_jars_are_swapped_under_requests_and_none_is_lost(jars, tmp_path):
    served = tmp_path / "model.jar"
    (first, second) = jars
    shutil.copyfile(jars[first][0], served)
    answered: list[tuple[str, int]] = []  # by which jar, to which row
    wrong: list[object] = []
    over = threading.Event()

    def client(seed: int) -> None:
        random = np.random.default_rng(seed)
        while not over.is_set():
            row = int(random.integers(len(X)))
            try:
                status, said = ask(port, X[row : row + 1])
                np.testing.assert_allclose(said["answers"][0], jars[said["jar"]][1][row], rtol=1e-12)
                assert status == 200
            except Exception as error:  # a request that is lost, or answered by no version or by a mixture of them
                wrong.append(error)
            else:
                answered.append((said["jar"], row))

    with service(served) as (port, lines):
        clients = [threading.Thread(target=client, args=(seed,)) for seed in range(CLIENTS)]
        for each in clients:
            each.start()
        try:
            for swap in range(SWAPS):
                version = (second, first)[swap % 2]
                newer = tmp_path / "newer.jar"
                shutil.copyfile(jars[version][0], newer)
                newer.replace(served)
                until(lambda version=version, swap=swap: lines.count(f"now {version}\n") == swap // 2 + 1 or wrong)
                seen = len(answered)
                until(lambda seen=seen: len(answered) > seen + 20 or wrong)
                assert answered[-1][0] == version
        finally:
            over.set()
            for each in clients:
                each.join(30)
    assert wrong == []
    assert {jar for jar, _ in answered} == {first, second}
    assert len(answered) > 20 * SWAPS


def test_the_page_s_own_program_answers_as_the_model(tmp_path, monkeypatch):
    import lightgbm

    blocks = re.findall(r"^```(python|java)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (train,) = (text for kind, text in blocks if kind == "python")
    (program,) = (text for kind, text in blocks if kind == "java")
    monkeypatch.chdir(tmp_path)
    exec(compile(train, str(PAGE), "exec"), {})
    text = tmp_path / "churn.txt"
    jar = convert(Artifact("lightgbm", str(text), (text,)), tmp_path / "churn.jar", class_name="com.example.Churn").path
    Path("Score.java").write_text(program)
    java = find_java(11, compiler=True).path
    done = subprocess.run([java, "-cp", jar, "Score.java"], capture_output=True, text=True, check=True)
    chance, label = done.stdout.split()
    wanted = lightgbm.Booster(model_file=text).predict([[0.5, -1.2, 0.3, np.nan]])[0]
    assert float(chance) == pytest.approx(wanted, rel=1e-12)
    assert label == str(int(wanted > 0.5))


def test_a_broken_jar_is_not_taken_in(jars, tmp_path):
    served = tmp_path / "model.jar"
    (first, _) = jars
    shutil.copyfile(jars[first][0], served)
    with service(served) as (port, lines):
        newer = tmp_path / "newer.jar"
        newer.write_bytes(jars[first][0].read_bytes()[:-300])
        newer.replace(served)
        until(lambda: any(line.startswith(f"kept {first}") for line in lines))
        status, said = ask(port, X)
        assert (status, said["jar"]) == (200, first)
        np.testing.assert_allclose(said["answers"], jars[first][1], rtol=1e-12)
        status, said = ask(port, X[:, :2])
        assert status == 400
        assert said["error"] == "a row of 2 values, and the model takes 3"
