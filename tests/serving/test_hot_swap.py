"""Versions come, go and fail under load: no request is refused, and each answer is of a version that was published."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest

from mlconvert.cli.app import run

CLIENTS = 8  # half over HTTP, half over gRPC; none of them names a version
REQUESTS = 20_000
SWAPS = 12
LIMIT_SECONDS = 300.0


@dataclass
class Load:
    """What the clients saw: how often each number answered, over which protocol, and what failed."""

    stop: threading.Event = field(default_factory=threading.Event)
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=lambda: [0] * CLIENTS)
    threads: list[threading.Thread] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, http: str, grpc: str) -> None:
        for number in range(CLIENTS):
            address = http if number % 2 else grpc
            thread = threading.Thread(target=self.ask, args=(address, number), name=f"client-{number}")
            thread.start()
            self.threads.append(thread)

    def ask(self, address: str, seed: int) -> None:
        from mlconvert.serving.client import connect

        client = connect(address, seconds=60)
        random = np.random.default_rng(seed)
        seen: Counter[int] = Counter()
        failures = []
        while not self.stop.is_set():
            self.counts[seed] += 1
            x = random.integers(0, 1000, (1, 4)).astype(np.float32)
            try:
                told = np.unique(client.infer("m", {"x": x})["y"] - 2 * x)
                if len(told) == 1 and float(told[0]).is_integer():
                    seen[int(told[0])] += 1
                else:
                    failures.append(f"a mixed answer: {told}")
            except Exception as error:
                failures.append(f"{type(error).__name__}: {error}")
        client.close()
        with self.lock:
            self.failures += failures
            for number, count in seen.items():
                self.answers[client.protocol, number] += count

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()


@pytest.mark.slow
def test_no_request_fails_while_versions_come_and_go(live, numbered, capsys):
    """Publishing, `--keep`, rollbacks, and versions that do not load or answer wrongly, each by command."""
    urls = (live.http, live.grpc)
    options = ["--to", "triton", "--name", "m", "--keep", "3"]
    swaps: Counter[str] = Counter()
    number = 1
    published = {number}
    assert run(["publish", numbered(number), str(live.root), *options, "--load", live.http]) == 0
    load = Load()
    begun = time.monotonic()
    load.start(live.http, live.grpc)
    try:
        done = 0
        while done < SWAPS or (sum(load.counts) < REQUESTS and time.monotonic() - begun < LIMIT_SECONDS):
            at = urls[done % 2]
            number += 1
            if done % 6 == 2:
                kind, code, words = "rolled back", 0, ["rollback", str(live.root), "m"]
            elif done % 6 == 3:
                kind, code = "does not load", 8
                words = ["publish", numbered(number, broken="load"), str(live.root), *options]
            elif done % 6 == 5:
                kind, code = "answers wrongly", 5
                words = ["publish", numbered(number, broken="answers"), str(live.root), *options]
                published.add(number)  # it is in service until its answers have been compared
            else:
                kind, code = "published", 0
                words = ["publish", numbered(number), str(live.root), *options]
                published.add(number)
            assert run([*words, "--load", at]) == code, capsys.readouterr()
            swaps[kind] += 1
            done += 1
    finally:
        load.end()
    total = sum(load.answers.values())
    with capsys.disabled():
        seconds = time.monotonic() - begun
        by = Counter(dict.fromkeys(("http", "grpc"), 0))
        for (protocol, _), count in load.answers.items():
            by[protocol] += count
        print(  # the figures that the promise is about
            f"\nhot swap: {total} requests ({by['http']} HTTP, {by['grpc']} gRPC) of {CLIENTS} clients in "
            f"{seconds:.0f} s, {dict(swaps)}, {len(load.failures)} failures"
        )
    assert load.failures == []
    assert {told for _, told in load.answers} <= published
    assert total >= REQUESTS
    assert min(by.values()) >= REQUESTS / 10
    assert sum(swaps.values()) >= SWAPS
    assert min(swaps[kind] for kind in ("published", "rolled back", "does not load", "answers wrongly")) >= 2
