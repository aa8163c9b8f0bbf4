"""What is bound to hardware: whether a server anywhere could load it, and what is known of where.

Lint does not know the server's machine. What holds on this one is a warning; `mlconvert check --on` asks for another.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace

from mlconvert.hardware.fingerprint import Fingerprint, take
from mlconvert.hardware.rules import judge_machine, own_findings
from mlconvert.readers.hardware_builds import build_of, refusals
from mlconvert.repositories.findings import Finding
from mlconvert.repositories.triton.engines import bound_files
from mlconvert.repositories.triton.lint.model import ModelFolder


@functools.cache
def this_machine() -> Fingerprint:
    return take()


def engines(model: ModelFolder) -> Iterator[Finding]:
    if model.is_ensemble:
        return
    versions = {version.number: version for version in model.versions if version.plain}
    for file in bound_files(model.repository, model.name, model.config_file)[0]:
        build = build_of(file.format, file.path, file.record)
        if build is None or not file.path.exists() or file.version not in versions:
            continue  # a file that is not there is told by `files`
        version, name = versions[file.version], file.path.name
        if file.fault is not None:
            build = replace(build, faults=(*build.faults, ("record", file.fault)))
        publish = f"and publish it as '{model.name}'"
        again = f"build it again, {publish}"
        wrong = [found for found in own_findings(build) if found.level == "refuse"]
        for found in wrong:
            fix = f"{found.fix}, {publish}" if found.fix else again
            yield model.of_version(version, f"engine-{found.rule}", None, found.sentence, fix, file=name)
        if wrong:
            continue
        where = f"{version.name}/{name}"
        ask = f"mlconvert check {model.repository} --on FINGERPRINT, with that of the server's machine"
        if not build.values.get("host.os"):
            what = "nothing says on what hardware it runs: it has no record of the machine that built it"
            yield model.warning("engine-unrecorded", None, what, again, file=where)
            continue
        judgements = judge_machine(build, this_machine(), file.placement.gpus)
        if build.device == "cuda" and not this_machine().gpus:
            what = f"it was built for {build.described()}: this machine has no GPU, so the server's was not looked at"
            yield model.warning("engine-hardware", None, what, ask, file=where)
        elif told := refusals(judgements):
            yield model.warning("engine-hardware", None, f"it does not run on this machine: {told}", ask, file=where)


RULES = (engines,)
