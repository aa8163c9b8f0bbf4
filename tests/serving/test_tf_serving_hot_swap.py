"""TensorFlow Serving: versions come, go and fail under load, and no request is refused or answered by half."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest

from mlconvert.cli.app import run
from mlconvert.repositories.tf_serving.models_config import CONFIG

CLIENTS = 6  # half over REST, half over gRPC; every other one asks for a label
REQUESTS = 5_000
SWAPS = 14
LIMIT_SECONDS = 120.0


@dataclass
class Load:
    """What the clients saw: how often each number answered, to whom, and what failed."""

    stop: threading.Event = field(default_factory=threading.Event)
    answers: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=lambda: [0] * CLIENTS)
    threads: list[threading.Thread] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, name: str, rest: str, grpc: str) -> None:
        for number in range(CLIENTS):
            target = (name, rest if number % 2 else grpc, number)
            thread = threading.Thread(target=self.ask, args=target, name=f"client-{number}")
            thread.start()
            self.threads.append(thread)

    def ask(self, name: str, address: str, seed: int) -> None:
        from mlconvert.serving.tf_serving.client import connect
        from mlconvert.serving.tf_serving.signatures import signature_of

        label = "stable" if seed % 4 < 2 else None
        with contextlib.closing(connect(address, seconds=60)) as client:
            signature = signature_of(client.metadata(name), where=address)
            random = np.random.default_rng(seed)
            seen: Counter[int] = Counter()
            failures = []
            while not self.stop.is_set():
                self.counts[seed] += 1
                x = random.integers(0, 1000, (1, 4)).astype(np.float32)
                try:
                    told = np.unique(client.predict(name, {"x": x}, version=label, signature=signature)["y"] - 2 * x)
                    if len(told) == 1 and float(told[0]).is_integer():
                        seen[int(told[0])] += 1
                    else:
                        failures.append(f"a mixed answer: {told}")
                except Exception as error:
                    failures.append(f"{type(error).__name__}: {error}")
            protocol = client.protocol
        with self.lock:
            self.failures += failures
            for number, count in seen.items():
                self.answers[protocol, label or "newest", number] += count

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()


@pytest.mark.slow
def test_no_request_fails_while_versions_come_and_go(tf_servings, numbered_saved, capsys):
    """Publishing, labels, rollbacks, and versions that do not load or answer wrongly, each by command.

    One model's versions come by their folders, the other's by models.config, where a label says which is served.
    """
    serving = tf_servings("changing")
    names = {kind: f"swap-{kind}" for kind in ("labels", "folders")}
    at = {"rest": f"tfserving://{serving.server.rest}", "grpc": f"tfserving://{serving.server.grpc}"}
    root = str(serving.root)

    def publish(kind: str, number: int, *more: str, broken: str | None = None) -> list[str]:
        words = ["--to", "tf-serving", "--name", names[kind], "--set", f"base_path={root}", *more]
        return ["publish", numbered_saved(number, broken=broken), root, *words]

    for kind, name in names.items():
        assert run([*publish(kind, 1), "--load", at["grpc"]]) == 0, capsys.readouterr()
        assert run(["labels", root, name, "stable=1", "--load", at["grpc"]]) == 0, capsys.readouterr()
    # A label on all versions leaves the choice of the newest to the folders.
    assert run(["labels", root, names["folders"], "--all", "--load", at["grpc"]]) == 0, capsys.readouterr()
    loads = {kind: Load() for kind in names}
    swaps: Counter[str] = Counter()
    begun = time.monotonic()
    for kind, load in loads.items():
        load.start(names[kind], at["rest"], at["grpc"])
    version = 1
    try:
        for done in range(SWAPS):
            number = 2 + done % 6
            url = at["grpc"] if done % 2 else at["rest"]
            step = done % 7
            if step in (0, 3):  # a version, which the label then moves to
                assert run([*publish("folders", number), "--load", url]) == 0, capsys.readouterr()
                assert run(publish("labels", number)) == 0, capsys.readouterr()
                version = max(int(path.name) for path in (serving.root / names["labels"]).iterdir())
                words = ["labels", root, names["labels"], f"stable={version}", "--load", at["grpc"]]
                assert run(words) == 0, capsys.readouterr()
                swaps["published"] += 1
            elif step in (1, 4):
                assert run([*publish("folders", number, broken="load"), "--load", url]) == 8, capsys.readouterr()
                swaps["does not load"] += 1
            elif step == 2:
                words = [*publish("folders", number, broken="answers"), "--load", url]
                assert run(words) == 5, capsys.readouterr()
                swaps["answers wrongly"] += 1
            elif step == 5:
                assert run(["rollback", root, names["folders"], "--load", url]) == 0, capsys.readouterr()
                swaps["rolled back"] += 1
            else:
                assert run(publish("labels", number, broken="answers")) == 0, capsys.readouterr()
                wrong = max(int(path.name) for path in (serving.root / names["labels"]).iterdir())
                words = ["labels", root, names["labels"], f"stable={wrong}", "--load", at["grpc"]]
                assert run(words) == 5, capsys.readouterr()
                swaps["label refused"] += 1
        while sum(map(sum, (load.counts for load in loads.values()))) < REQUESTS:
            assert time.monotonic() - begun < LIMIT_SECONDS
            time.sleep(0.1)
    finally:
        for load in loads.values():
            load.end()
    answers = sum((load.answers for load in loads.values()), Counter())
    failures = [failure for load in loads.values() for failure in load.failures]
    by = Counter(dict.fromkeys(("http", "grpc"), 0))
    for (protocol, _, _), count in answers.items():
        by[protocol] += count
    with capsys.disabled():
        print(  # the figures that the promise is about
            f"\nhot swap: {sum(by.values())} requests ({by['http']} REST, {by['grpc']} gRPC) of {2 * CLIENTS} clients "
            f"in {time.monotonic() - begun:.0f} s, {dict(swaps)}, {len(failures)} failures"
        )
    assert failures == []
    assert {told for _, _, told in answers} <= set(range(1, 8))
    assert min(by.values()) >= REQUESTS / 10
    assert sum(swaps.values()) == SWAPS
    assert f'"{names["labels"]}"' in (serving.root / CONFIG).read_text()
