"""What a hardware-bound artifact was built for: from its record, and from what its own file says.

Three kinds are bound to hardware: TensorRT's plans, AOTInductor's packages, and ONNX models that ONNX Runtime optimised
for one processor. None of them is loaded here. Where the file and the record contradict each other, the record is of
another file, and nothing is known.
"""

from __future__ import annotations

import functools
import json
import mmap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlconvert import records
from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed, HardwareMismatch, UsageError
from mlconvert.formats.protobuf_wire import LENGTH, WireError, fields
from mlconvert.hardware.comparing import Build, named_instructions, numbers
from mlconvert.hardware.fingerprint import Fingerprint, from_json, take
from mlconvert.hardware.plans import read_plan
from mlconvert.hardware.rules import Judgement, judge_machine, values_of
from mlconvert.readers.aoti_packages import package_metadata, package_note

ONNX_NOTE = "mlconvert.hardware"  # among the properties of an optimised ONNX model
_METADATA_PROPS = 14  # of onnx.ModelProto
KINDS = {"tensorrt": "tensorrt", "aotinductor": "aotinductor"}  # the format of a file, and the kind that it is
NO_RECORD = "it has no record that says so: mlconvert did not build it, or the record was left behind"


def build_of(format_name: str, path: Path, record: Mapping[str, Any] | None) -> Build | None:
    """What the artifact was built for; None for one that runs on any hardware.

    `record` is its record, or a mapping with the same `facts`. A file that is damaged, or that the record does not fit,
    is a build with `faults`.
    """
    facts = _table((record or {}).get("facts"))
    hardware = _table(facts.get("hardware"))
    ours: Mapping[str, Any] = {}  # what lies in the file itself
    if format_name == "onnx":
        ours = onnx_note(path)
        hardware = {**hardware, **_table(ours.get("hardware"))}
    kind = hardware.get("kind") or KINDS.get(format_name)
    if kind is None:
        return None
    fingerprint = (record or {}).get("fingerprint") or facts.get("fingerprint")
    if format_name == "aotinductor":
        try:
            ours = package_note(package_metadata(path))
        except ConversionFailed as error:
            return Build(str(kind), faults=(("package", error.message),))
        hardware = {**hardware, **_table(ours.get("hardware"))}
    fingerprint = ours.get("fingerprint") or fingerprint
    build = _recorded(str(kind), hardware, fingerprint)
    expected = KINDS.get(format_name, "onnxruntime")
    if kind != expected:
        return _fault(build, "record", f"the record is of the kind '{kind}', and the file is of '{expected}'")
    if kind == "tensorrt":
        return _plan(build, path, hardware)
    return (
        _package(build, package_metadata(path), ours, facts) if kind == "aotinductor" else _optimised(build, hardware)
    )


def onnx_note(path: Path) -> Mapping[str, Any]:
    """What ONNX Runtime's optimised models carry with them; empty for other models, and for what is no model."""
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for span in fields(data, 0, len(data)):
                if span.field == _METADATA_PROPS and span.wire_type == LENGTH:
                    pair = {
                        one.field: data[one.start : one.end]
                        for one in fields(data, span.start, span.end)
                        if one.wire_type == LENGTH
                    }
                    if pair.get(1) == ONNX_NOTE.encode():
                        return _table(json.loads(pair.get(2, b"")))
    except (OSError, ValueError, WireError):  # an empty file cannot be mapped; a damaged one is told when it is read
        return {}
    return {}


def judged(
    artifact: Artifact, record: Mapping[str, Any] | None = None, on: Fingerprint | None = None
) -> tuple[Judgement, ...]:
    """What becomes of the artifact on a machine (this one), GPU by GPU; empty for one that runs on any hardware.

    Without `record` the one beside it is looked for.
    """
    if record is None and "fingerprint" not in artifact.facts:
        found = records.find(artifact.path)
        record = found[0] if found else None
    build = build_of(artifact.format, artifact.path, record or {"facts": artifact.facts})
    return () if build is None else judge_machine(build, on if on is not None else take())


def require_fits(artifact: Artifact, record: Mapping[str, Any] | None = None, on: Fingerprint | None = None) -> None:
    """Raise HardwareMismatch unless the artifact may be loaded on the machine (this one): before anything is loaded.

    Of a machine with several GPUs one that will do is enough: it is for the caller to choose.
    """
    told = refusals(judged(artifact, record, on))
    if told:
        hint = f"build it on such hardware; mlconvert check {artifact.location} shows all that differs"
        raise HardwareMismatch(told, where=artifact.location, hint=hint)


def refusals(judgements: Sequence[Judgement]) -> str | None:
    """Why none of the GPUs will do, by the first of them; None where one will, or none is needed."""
    if not judgements or any(one.verdict != "refuse" for one in judgements):
        return None
    told = [found for found in judgements[0].findings if found.level == "refuse"]
    return "; ".join(refusal(found.rule, found.built, found.here, found.sentence) for found in told)


def refusal(rule: str, built: Any, here: Any, sentence: str) -> str:
    """A finding in one sentence, with both values."""
    if built is None and here is None:
        return f"{rule}: {sentence}"
    return f"{rule}: built for {shown(built)}, here {shown(here)} ({sentence})"


def shown(value: Any) -> str:
    if value is None:
        return "unknown"
    return (", ".join(map(str, value)) or "none") if isinstance(value, (list, tuple)) else str(value)


def _recorded(kind: str, hardware: Mapping[str, Any], fingerprint: Any) -> Build:
    """What the record tells."""
    device = "cuda" if kind == "tensorrt" else str(hardware.get("device") or "cpu")
    build = Build(
        kind,
        device=device,
        flags=frozenset(str(flag).upper() for flag in _list(hardware.get("flags"))),
        hardware_compatibility=str(hardware.get("hardware_compatibility") or "none").lower(),
        plugins=tuple(sorted(map(str, _list(hardware.get("plugins"))))),
    )
    if fingerprint is None:
        return replace(build, reasons=dict.fromkeys(("gpu", "host", "driver", "cuda", "packages"), NO_RECORD))
    try:
        machine = _machine(json.dumps(fingerprint))
    except UsageError as error:
        return _fault(build, "record", error.message)
    gpu = hardware.get("gpu", 0)
    if not machine.gpus or device != "cuda":
        gpu = None
    elif not isinstance(gpu, int) or not 0 <= gpu < len(machine.gpus):
        return _fault(build, "record", f"the record names the GPU {gpu}, and its machine had {len(machine.gpus)}")
    values, reasons = values_of(machine, gpu)
    return replace(build, values=values, reasons=reasons)


@functools.lru_cache(maxsize=64)
def _machine(text: str) -> Fingerprint:
    """The engines of a repository were mostly built on one machine."""
    return from_json(json.loads(text), where="the record")


def _plan(build: Build, path: Path, hardware: Mapping[str, Any]) -> Build:
    try:
        header = read_plan(path)
    except (ConversionFailed, UsageError) as error:
        return _fault(build, "plan", error.message)
    if header.begins:
        what = f"{header.begins} bytes of text lie before the plan, as Ultralytics writes it: no server takes that"
        build = _fault(build, "plan", f"{what}; take them off with tail -c +{header.begins + 1}")
    # What the process that built it said of itself counts; the other two are the machine's, and the plan's own.
    told = hardware.get("tensorrt_version") or build.values.get("tensorrt.version")
    if told is not None and header.tensorrt is not None:
        if tuple(number & 255 for number in numbers(told)[:4]) != header.tensorrt[: len(numbers(told)[:4])]:
            what = f"the plan is of TensorRT {header.version}, and the record of TensorRT {told}: it is of another file"
            return _fault(build, "record", what)
        told = told if len(numbers(told)) == 4 else header.version
    version = told or header.version
    reasons = {**build.reasons, "tensorrt.version": "the plan is older than TensorRT 8.6, and does not say"}
    return replace(build, values={**build.values, "tensorrt.version": version}, reasons=reasons)


def _package(build: Build, told: Mapping[str, str], ours: Mapping[str, Any], facts: Mapping[str, Any]) -> Build:
    device = told.get("AOTI_DEVICE_KEY", "cpu")
    values = dict(build.values)
    own = {
        "host.os": told.get("AOTI_PLATFORM"),
        "host.architecture": told.get("AOTI_MACHINE"),
        "gpu.compute_capability": _capability(told.get("AOTI_COMPUTE_CAPABILITY")) if device != "cpu" else None,
        "packages.torch": ours.get("torch"),
    }
    for name, value in own.items():
        before = values.get(name)
        if value and before is not None and str(before).lower() != str(value).lower():
            what = f"the package says {name} {value}, and the record {before}: it is of another file"
            return _fault(build, "record", what)
        values[name] = value or before
    if values["packages.torch"] is None:
        values["packages.torch"] = facts.get("torch")
    known = values.get("host.instruction_sets")
    if known is not None and device == "cpu":
        values["host.instruction_sets"] = sorted({*known, *named_instructions(told.get("AOTI_CPU_ISA", ""))})
    return replace(build, device="cuda" if device.startswith("cuda") else "cpu", values=values)


def _capability(text: str | None) -> str | None:
    """`90` -> `9.0`."""
    return f"{text[:-1]}.{text[-1]}" if text and text.isdigit() and len(text) > 1 else None


def _optimised(build: Build, hardware: Mapping[str, Any]) -> Build:
    version = hardware.get("onnxruntime_version")
    return replace(build, values={**build.values, "packages.onnxruntime": version}) if version else build


def _list(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [value]
    return list(value) if isinstance(value, (list, tuple, Mapping)) else []


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _fault(build: Build, rule: str, sentence: str) -> Build:
    return replace(build, faults=(*build.faults, (rule, sentence)))
