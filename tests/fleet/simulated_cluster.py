"""A Ray cluster of simulated machines on loopback, in a process of its own: Ray leaves threads and pipes behind.

Run as a program it starts the machines that its arguments name (`-` for one without a GPU), says where the cluster is,
and then does what it is told line by line: `kill N` ends the N-th machine without a word, `stop` all of them.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The first one keeps everything on loopback, whatever other addresses this machine has.
ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_raylet_start_wait_time_s": "180",  # a busy machine is no failure
    "RAY_agent_register_timeout_ms": "180000",
}
STORE_BYTES = 80 << 20
STARTS = 5  # a machine gives itself up when its agents take longer than 15 seconds, as they do where others are at work
# Named, so that a machine does not wait for its agents to choose them: it gives that up after seconds.
AGENT_PORTS = ("metrics_agent_port", "dashboard_agent_listen_port", "metrics_export_port", "runtime_env_agent_port")


@dataclass(frozen=True)
class Simulated:
    """`address` is that of the cluster, `client` that of its client server."""

    process: subprocess.Popen[str]
    address: str
    client: str
    scratch: Path

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == "done"


@contextlib.contextmanager
def simulated(kinds: list[str], port: int, environment: Mapping[str, str], scratch: Path) -> Iterator[Simulated]:
    """The cluster, until the end. `scratch` is where its machines put what they work on."""
    for _ in range(STARTS):
        with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as session:
            given = {**os.environ, **ENVIRONMENT, **environment, "TMPDIR": str(scratch), "RAY_TMPDIR": session}
            with subprocess.Popen(
                [sys.executable, __file__, str(port), *kinds],
                env=given,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            ) as process:
                assert process.stdout is not None
                address = next((line.split()[1] for line in process.stdout if line.startswith("address ")), "")
                if not address:
                    continue
                cluster = Simulated(process, address, f"ray://127.0.0.1:{port}", scratch)
                try:
                    yield cluster
                finally:
                    with contextlib.suppress(OSError):
                        cluster.tell("stop")
                    process.communicate(timeout=60)
                return
    raise AssertionError(f"the cluster did not start, {STARTS} times")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_up(cluster: Any, nodes: list[Any]) -> bool:
    """Whether the machines are all known to the head; waits until they are, or one has given up."""
    while not any(node.dead_processes() for node in nodes):
        if sum(row["Alive"] for row in cluster.global_state.node_table()) == len(nodes):
            return True
        time.sleep(0.2)
    return False


def main(argv: list[str]) -> None:
    from ray.cluster_utils import Cluster

    cluster: Any = Cluster()
    nodes: list[Any] = []
    for index, kind in enumerate(argv[1:]):
        gpu = {} if kind == "-" else {"num_gpus": 1, "resources": {f"accelerator_type:{kind}": 1}}
        head = {} if index else {"ray_client_server_port": int(argv[0])}
        nodes.append(
            cluster.add_node(
                num_cpus=1,
                object_store_memory=STORE_BYTES,
                node_ip_address="127.0.0.1",
                include_dashboard=False,
                include_log_monitor=False,
                no_monitor=True,
                wait=False,
                **{name: free_port() for name in AGENT_PORTS},
                **gpu,
                **head,
            )
        )
        if not _is_up(cluster, nodes):  # one after the other: together they would be too slow, each for itself
            for node in nodes:
                node.kill_all_processes(check_alive=False, allow_graceful=False)
            return
    sys.stdout.write(f"address {cluster.address}\n")
    sys.stdout.flush()
    for line in sys.stdin:
        words = line.split()
        if words[0] == "kill":
            nodes[int(words[1])].kill_raylet(check_alive=False)
        else:
            for node in reversed(nodes):
                node.kill_all_processes(check_alive=False, allow_graceful=False)
        sys.stdout.write("done\n")
        sys.stdout.flush()
        if words[0] == "stop":
            return


if __name__ == "__main__":
    main(sys.argv[1:])
