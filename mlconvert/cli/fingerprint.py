"""`mlconvert fingerprint`: what this machine is, for engines that run only on hardware like it."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mlconvert.hardware.fingerprint import Fingerprint, Gpu

COLUMNS = 80
INDENT = 12
UNKNOWN = "unknown"


def fingerprint(
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write it to a file, as JSON.", show_default=False),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print it as JSON on stdout, and nothing else there.")
    ] = False,
) -> int:
    """Show GPUs, driver, CUDA, TensorRT, processor and container of this machine; works without a GPU too.

    What cannot be read is unknown, with the reason. `mlconvert check --on FILE` takes the file that -o writes.

    Example:

    mlconvert fingerprint -o server.json
    """
    from mlconvert.hardware.fingerprint import as_json as described
    from mlconvert.hardware.fingerprint import take

    taken = take()
    if output is not None:
        _write(output, taken)
    if as_json:
        sys.stdout.write(json.dumps(described(taken), indent=1) + "\n")
    else:
        sys.stdout.write("\n".join(lines(taken)) + "\n")
    return 0


def _write(path: Path, taken: Fingerprint) -> None:
    from mlconvert.errors import UsageError
    from mlconvert.hardware.fingerprint import as_json as described
    from mlconvert.records import write_json

    if path.is_dir():
        raise UsageError(f"{path} is a folder, not a file", hint=f"mlconvert fingerprint -o {path / 'machine.json'}")
    if not path.parent.is_dir():
        raise UsageError(f"the folder {path.parent} does not exist", hint=f"mkdir -p {path.parent}")
    try:
        write_json(path, described(taken))
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def lines(taken: Fingerprint) -> Iterator[str]:
    """The fingerprint as text of 80 columns."""
    from mlconvert.hardware.fingerprint import digest

    for index, gpu in enumerate(taken.gpus):
        yield from _row(f"GPU {index}", *_gpu(gpu), f"digest {digest(taken, index)[:16]}")
    if not taken.gpus:
        yield from _row("GPUs", "none")
    yield from _row("driver", taken.driver.version or UNKNOWN)
    yield from _row("CUDA", f"up to {taken.cuda.version}" if taken.cuda.version else UNKNOWN)
    yield from _row("TensorRT", taken.tensorrt.version or UNKNOWN)
    packages = ", ".join(f"{name} {number}" for name, number in taken.packages.items())
    yield from _row("packages", packages or "none that load hardware-bound artifacts")
    host = taken.host
    system = f"{host.os or UNKNOWN} on {host.architecture or UNKNOWN}, {host.distribution or 'distribution unknown'}"
    yield from _row("system", f"{system}, kernel {host.kernel or UNKNOWN}, glibc {host.glibc or UNKNOWN}")
    sets = "unknown" if host.instruction_sets is None else " ".join(host.instruction_sets) or "none"
    yield from _row("processor", host.cpu_model or UNKNOWN, f"instruction sets: {sets}")
    around = taken.container
    image = "" if around.kind == "none" else f", image {around.image or (around.image_digest or UNKNOWN)[:19]}"
    yield from _row("container", (around.kind or UNKNOWN) + image)
    if taken.missing:
        yield "unknown, and why"
        for path, why in taken.missing.items():
            yield f"  {path}"
            yield from textwrap.wrap(why, COLUMNS, initial_indent=" " * 4, subsequent_indent=" " * 4)


def _gpu(gpu: Gpu) -> Iterator[str]:
    from mlconvert.report.numbers import size

    def known(value: float | str | None, unit: str = "") -> str:
        return UNKNOWN if value is None else f"{value:g}{unit}" if isinstance(value, float) else f"{value}{unit}"

    part = ""
    if gpu.mig is not None and gpu.mig.enabled:
        part = f", MIG {gpu.mig.profile or 'profile unknown'}"
    yield f"{gpu.name or 'name unknown'}{part}"
    yield f"compute capability {known(gpu.compute_capability)} ({known(gpu.architecture)})"
    yield f"{known(gpu.multiprocessors)} multiprocessors, {known(gpu.cores)} cores"
    memory = UNKNOWN if gpu.memory_bytes is None else size(gpu.memory_bytes)
    l2 = UNKNOWN if gpu.l2_bytes is None else size(gpu.l2_bytes)
    yield f"memory {memory}, bus {known(gpu.memory_bus_bits, ' bits')}, L2 cache {l2}"
    clocks = f"clocks up to {known(gpu.max_sm_clock_mhz, ' MHz')}, memory {known(gpu.max_memory_clock_mhz, ' MHz')}"
    yield f"{clocks}, power limit {known(gpu.power_limit_watts, ' W')}"
    mig = UNKNOWN if gpu.mig is None else "on" if gpu.mig.enabled else "off"
    yield f"MIG {mig}, virtualization {known(gpu.virtualization)}"
    yield f"{known(gpu.uuid)} at {known(gpu.pci)}"


def _row(name: str, *told: str) -> Iterator[str]:
    """Lines under a name; what is longer than the page goes on in the next line."""
    start = f"{name:<{INDENT}}"
    for text in told:
        wrapped = textwrap.wrap(text, COLUMNS - INDENT, break_on_hyphens=False)
        for line in wrapped:
            yield start + line
            start = " " * INDENT
