"""What a hardware-bound artifact asks of a machine: one table of rules, and the judgement that they give.

A rule compares one value of the machine that built the artifact with the same value of the machine that is to run it.
What is not known fits nothing: of a rule that refuses it refuses, of one that warns it warns.

The rules of TensorRT are NVIDIA's (Engine Compatibility and Hardware Compatibility in its documentation, the support
matrix, and the messages of the runtime). NVIDIA calls the use of a plan on another model of GPU unsupported, and loads
it; here that is `suboptimal`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, is_dataclass, replace
from typing import Any, Literal

from mlconvert.hardware import comparing as c
from mlconvert.hardware.comparing import Build
from mlconvert.hardware.fingerprint import Fingerprint, Gpu
from mlconvert.hardware.plans import refitting

Verdict = Literal["ok", "suboptimal", "refuse"]
Level = Literal["suboptimal", "refuse"]
VERDICTS: tuple[Verdict, ...] = ("ok", "suboptimal", "refuse")  # the worst one last


def _always(build: Build) -> bool:  # noqa: ARG001
    return True


def _bound(build: Build) -> bool:
    return not build.portable


def _portable(build: Build) -> bool:
    return build.portable


def _on_gpu(build: Build) -> bool:
    return build.device == "cuda"


def _as_they_are(built: Any, here: Any) -> tuple[Any, Any]:
    return built, here


@dataclass(frozen=True)
class Rule:
    """`reads` names the value; `fits` tells whether the two go together; `sentence` says what becomes of it if not.

    `when` says for which artifacts the rule is, `fix` what mends it; `shows` turns both values into what a reader sees.
    """

    name: str
    kind: str
    level: Level
    reads: str
    fits: Callable[[Any, Any, Build], bool]
    sentence: str
    when: Callable[[Build], bool] = _always
    fix: str = ""
    shows: Callable[[Any, Any], tuple[Any, Any]] = _as_they_are


@dataclass(frozen=True)
class Finding:
    """What one rule says; `built` and `here` are the two values, None where they are not known."""

    rule: str
    level: Verdict
    built: Any
    here: Any
    sentence: str
    fix: str = ""


@dataclass(frozen=True)
class Judgement:
    """The worst of the findings, and all of them; `gpu` is the number of the GPU, None where none is needed."""

    verdict: Verdict
    findings: tuple[Finding, ...]
    gpu: int | None = None

    def as_json(self) -> dict[str, Any]:
        return {"gpu": self.gpu, "verdict": self.verdict, "findings": [vars(one).copy() for one in self.findings]}


_TENSORRT, _AOTI, _ORT = "tensorrt", "aotinductor", "onnxruntime"
_BUILD_THERE = "build it on such a machine: mlconvert convert MODEL.onnx --to tensorrt"
_COMPILE_THERE = "compile it on such a machine: mlconvert convert MODEL.pt2 --to aotinductor"
_OPTIMISE_THERE = "optimise it on such a machine, or serve the model that it was made from"

RULES: tuple[Rule, ...] = (
    # --- TensorRT: does it load? ---
    Rule("os", _TENSORRT, "refuse", "host.os", c.same_name, "a plan loads on no other operating system",
         fix=_BUILD_THERE),
    Rule("architecture", _TENSORRT, "refuse", "host.architecture", c.same_name, "a plan loads on no other processor",
         fix=_BUILD_THERE),
    Rule("tensorrt-version", _TENSORRT, "refuse", "tensorrt.version", c.tensorrt_runs,
         "TensorRT loads plans of its own version alone; version-compatible ones of an older one, across majors "
         "only 8 to 10 and 10 to 11",
         fix="build it with that TensorRT, or for newer ones with --set tensorrt.version_compatible=true"),
    Rule("compute-capability", _TENSORRT, "refuse", "gpu.compute_capability", c.capability_runs,
         "a plan holds code for one compute capability, unless it was built hardware-compatible",
         fix=f"{_BUILD_THERE}; or, from 8.0 on, with --set tensorrt.hardware_compatibility=ampere_plus"),
    Rule("multiprocessors", _TENSORRT, "refuse", "gpu.multiprocessors", c.at_least,
         "a plan that was tuned for more multiprocessors may not load on fewer", when=_bound,
         fix=f"{_BUILD_THERE}; or with --set tensorrt.hardware_compatibility=same_compute_capability"),
    # --- and as well as where it was built? ---
    Rule("version-compatible", _TENSORRT, "suboptimal", "tensorrt.version", c.equal,
         "a version-compatible plan brings its own runtime, which the server has to be told to trust, and is slower "
         "than one of this version", when=lambda build: build.version_compatible),
    Rule("multiprocessors-fewer", _TENSORRT, "suboptimal", "gpu.multiprocessors", c.at_least,
         "it was tuned for more multiprocessors", when=_portable),
    Rule("multiprocessors-more", _TENSORRT, "suboptimal", "gpu.multiprocessors", lambda a, b, _: b <= a,
         "it was tuned for fewer multiprocessors, and may leave some idle"),
    Rule("product", _TENSORRT, "suboptimal", "gpu.name", c.equal,
         "NVIDIA does not support a plan on another model of GPU than it was tuned on; it is likely slower",
         when=_bound),
    Rule("product-compatible", _TENSORRT, "suboptimal", "gpu.name", c.equal,
         "a plan for several models of GPU is likely slower than one that was tuned on this model", when=_portable),
    Rule("mig-profile", _TENSORRT, "suboptimal", "gpu.mig.profile", c.equal, "it was tuned on another part of a GPU"),
    Rule("memory", _TENSORRT, "suboptimal", "gpu.memory_bytes", c.equal,
         "it was tuned with another amount of GPU memory: with less it may not fit"),
    Rule("memory-bus", _TENSORRT, "suboptimal", "gpu.memory_bus_bits", c.equal,
         "it was tuned for another bus to the memory"),
    Rule("l2-cache", _TENSORRT, "suboptimal", "gpu.l2_bytes", c.equal, "it was tuned for another L2 cache"),
    Rule("sm-clock", _TENSORRT, "suboptimal", "gpu.max_sm_clock_mhz", c.equal, "it was tuned at another clock"),
    Rule("memory-clock", _TENSORRT, "suboptimal", "gpu.max_memory_clock_mhz", c.equal,
         "it was tuned at another clock of the memory"),
    Rule("driver", _TENSORRT, "suboptimal", "driver.version", c.equal, "it was tuned with another driver"),
    Rule("cuda", _TENSORRT, "suboptimal", "cuda.version", c.equal,
         "the driver here is for another CUDA than where it was built"),
    # --- AOTInductor ---
    Rule("os", _AOTI, "refuse", "host.os", c.same_name, "it is native code of one operating system",
         fix=_COMPILE_THERE),
    Rule("architecture", _AOTI, "refuse", "host.architecture", c.same_name, "it is native code of one processor",
         fix=_COMPILE_THERE),
    Rule("instruction-sets", _AOTI, "refuse", "host.instruction_sets", c.has_instructions,
         "it was compiled for this very processor: without one of its instructions it ends the process",
         fix=_COMPILE_THERE, shows=c.lacking),
    Rule("glibc", _AOTI, "refuse", "host.glibc", c.not_older,
         "native code may need what an older C library does not have", fix=_COMPILE_THERE),
    Rule("torch-version", _AOTI, "refuse", "packages.torch", c.same_minor,
         "a package runs with the PyTorch that compiled it", fix="compile it again with the PyTorch that serves"),
    Rule("torch-build", _AOTI, "suboptimal", "packages.torch", c.equal,
         "PyTorch promises nothing for packages of another release"),
    Rule("compute-capability", _AOTI, "refuse", "gpu.compute_capability", c.same_capability,
         "its kernels were compiled for one compute capability", when=_on_gpu, fix=_COMPILE_THERE),
    Rule("cuda", _AOTI, "refuse", "cuda.version", c.major_not_older,
         "the driver here is for an older CUDA than where it was compiled", when=_on_gpu,
         fix="update the driver, or compile it with a PyTorch for that CUDA"),
    Rule("multiprocessors", _AOTI, "suboptimal", "gpu.multiprocessors", c.equal,
         "its kernels were chosen for another number of multiprocessors", when=_on_gpu),
    Rule("product", _AOTI, "suboptimal", "gpu.name", c.equal,
         "its kernels were chosen on another model of GPU", when=_on_gpu),
    # --- ONNX Runtime's fully optimised models ---
    Rule("architecture", _ORT, "refuse", "host.architecture", c.same_name,
         "it was optimised for one processor: nodes and the order of weights are of that", fix=_OPTIMISE_THERE),
    Rule("block-size", _ORT, "refuse", "host.instruction_sets", c.same_block,
         "the weights of its convolutions were written in the blocks of another kind of processor",
         fix=_OPTIMISE_THERE, shows=c.blocks),
    Rule("runtime-version", _ORT, "refuse", "packages.onnxruntime", c.not_older,
         "an older ONNX Runtime may not know the operators that were put in", fix=_OPTIMISE_THERE),
    Rule("runtime-build", _ORT, "suboptimal", "packages.onnxruntime", c.equal,
         "ONNX Runtime promises nothing for models that another version optimised"),
    Rule("compute-capability", _ORT, "suboptimal", "gpu.compute_capability", c.same_capability,
         "it was optimised on another kind of GPU", when=_on_gpu),
)  # fmt: skip
_DISTRIBUTIONS = {"torch": ("torch",), "onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino")}
_TELL = "take a fingerprint of the machine anew, where it can be read; build what has no record again"
KINDS = tuple(dict.fromkeys(rule.kind for rule in RULES))


def judge(built: Build, on: Fingerprint, gpu: int | None) -> Judgement:
    """What becomes of the artifact on that GPU of a machine (its number; None: the machine has none)."""
    findings = list(own_findings(built))
    if built.kind not in KINDS:
        what = f"there are no rules for artifacts of the kind '{built.kind}'"
        findings.append(Finding("kind", "refuse", built.kind, None, what))
    here, reasons = values_of(on, gpu)
    if built.device == "cuda":
        findings += _gpu(built, here, reasons, on)
        if gpu is None:  # every rule about a GPU would repeat it
            return _judgement(findings, None)
    findings += [_finding(rule, built, here, reasons) for rule in RULES if rule.kind == built.kind and rule.when(built)]
    return _judgement(findings, gpu if built.device == "cuda" else None)


def judge_machine(built: Build, on: Fingerprint, gpus: Iterable[int] | None = None) -> tuple[Judgement, ...]:
    """A judgement for each GPU of the machine that may be used: all, or those of the numbers.

    A number that the machine does not have is refused, and so is everything by a machine without GPUs.
    """
    if built.device != "cuda":
        return (judge(built, on, None),)
    if gpus is None and not on.gpus:
        return (judge(built, on, None),)
    found: list[Judgement] = []
    alike: dict[Gpu, Judgement] = {}  # servers have many GPUs of one kind
    for number in dict.fromkeys(range(len(on.gpus)) if gpus is None else gpus):
        if number >= len(on.gpus):
            found.append(judge(built, on, None))
            continue
        kind = replace(on.gpus[number], uuid=None, pci=None)
        known = alike.get(kind)
        # Where something is not known the reasons may differ.
        if known is None or any(path.startswith(f"gpus[{number}]") for path in on.missing):
            known = judge(built, on, number)
        alike[kind] = replace(known, gpu=number)
        found.append(alike[kind])
    return tuple(found)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    return max(verdicts, key=VERDICTS.index, default="ok")


def values_of(machine: Fingerprint, gpu: int | None) -> tuple[dict[str, Any], dict[str, str]]:
    """The values of a machine and of one of its GPUs under the names that rules read, and why others are unknown."""
    found: dict[str, Any] = {}
    for part in ("driver", "cuda", "tensorrt", "host"):
        _flatten(part, getattr(machine, part), found)
    for module, names in _DISTRIBUTIONS.items():
        found[f"packages.{module}"] = next((machine.packages[name] for name in names if name in machine.packages), None)
    prefix = f"gpus[{gpu}]"
    if gpu is not None:
        _flatten("gpu", machine.gpus[gpu], found)
        if found.get("gpu.mig.enabled") is False:
            found["gpu.mig.profile"] = "whole"  # known to be no part of a GPU
    reasons = {
        path.replace(prefix, "gpu", 1) if path.startswith(prefix) else path: reason
        for path, reason in machine.missing.items()
    }
    reasons |= {f"packages.{module}": "it is not installed there" for module in _DISTRIBUTIONS}
    return found, reasons


def _flatten(path: str, part: Any, found: dict[str, Any]) -> None:
    for name, value in vars(part).items():
        if is_dataclass(value):
            _flatten(f"{path}.{name}", value, found)
        else:
            found[f"{path}.{name}"] = value


def _finding(rule: Rule, built: Build, here: Mapping[str, Any], reasons: Mapping[str, str]) -> Finding:
    first, second = built.values.get(rule.reads), here.get(rule.reads)
    if first is None or second is None:
        unknown = [
            f"{side} {rule.reads} is not known{_because(why, rule.reads)}"
            for side, value, why in (
                ("of where it was built,", first, built.reasons),
                ("of the machine that is to run it,", second, reasons),
            )
            if value is None
        ]
        return Finding(rule.name, rule.level, _short(first), _short(second), "; ".join(unknown), _TELL)
    fits = rule.fits(first, second, built)
    return Finding(rule.name, "ok" if fits else rule.level, *rule.shows(first, second), rule.sentence, rule.fix)


def _because(reasons: Mapping[str, str], path: str) -> str:
    """Why a value is not known: its own reason, or that of the part which it is in."""
    while path:
        if path in reasons:
            return f" ({reasons[path]})"
        path = path.rpartition(".")[0]
    return ""


def _short(value: Any) -> Any:
    return f"{len(value)} of them" if isinstance(value, (list, tuple, frozenset)) else value


def _gpu(built: Build, here: Mapping[str, Any], reasons: Mapping[str, str], on: Fingerprint) -> Iterable[Finding]:
    """Whether there is a GPU to speak of: none, or a split one of which no part is seen, runs nothing."""
    asked = built.values.get("gpu.name")
    if not any(path.startswith("gpu.") for path in here):
        there = f"{len(on.gpus)} GPUs" if on.gpus else "none"
        told = "it runs on a GPU, and the machine does not have that one" if on.gpus else "it runs on a GPU alone"
        yield Finding("gpu", "refuse", asked, there, told + (_because(reasons, "gpus") if not on.gpus else ""))
    elif here.get("gpu.mig.enabled") and here.get("gpu.mig.profile") is None:
        what = "the GPU is split (MIG), and which part of it is used is not known"
        yield Finding("mig", "refuse", asked, here.get("gpu.name"), what + _because(reasons, "gpu.mig.profile"))


def own_findings(built: Build) -> Iterable[Finding]:
    """What holds on any machine: faults of the artifact, and what the way in which it was built asks for."""
    for rule, sentence in built.faults:
        yield Finding(rule, "refuse", None, None, sentence)
    if "STRIP_PLAN" in built.flags:
        what = "the plan was built without its weights: it answers nothing before it is refitted with them"
        yield Finding("weights", "refuse", "STRIP_PLAN", None, what, fix=refitting())
    if built.plugins and "VERSION_COMPATIBLE" not in built.flags:  # in those the libraries are in the plan
        what = "the plan does not load before these plug-in libraries are; whether a server loads them is not seen here"
        yield Finding("plugins", "suboptimal", ", ".join(built.plugins), None, what)


def _judgement(findings: Iterable[Finding], gpu: int | None) -> Judgement:
    kept = tuple(findings)
    return Judgement(worst(one.level for one in kept), kept, gpu)
