"""Run by tests as a program: publishers and rollbacks in processes of their own, some of which die on the way.

    publisher_process.py die CASES      a child for each case, killed after (or in) a step
    publisher_process.py publish REPOSITORY NAME MODEL…

CASES is JSON: [{"action", "repository", "name", "model", "options", "die"}]. `die` is "before", the name of a step
after which the process ends, "half" (in the middle of a copy) or "rename" (after the first rename of a rollback).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from mlconvert.artifact import Artifact
from mlconvert.onnx_model.files import onnx_artifact
from mlconvert.repositories import staging, tf_serving, triton
from mlconvert.repositories.triton import publication, publish, rollback


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str) -> None:
    names = [name for name, _ in publication.STEPS]
    if point == "half":
        copied = staging.copy_file

        def half(source: Path, target: Path) -> str:
            copied(source, target)
            os.truncate(target, target.stat().st_size // 2)
            die()
            return ""

        staging.copy_file = half
    elif point == "rename":
        rename = Path.rename

        def once(self: Path, target: Path) -> None:
            rename(self, target)
            die()

        Path.rename = once  # type: ignore[method-assign, assignment]
    else:
        position = 0 if point == "before" else names.index(point) + 1
        publication.STEPS = (*publication.STEPS[:position], ("die", die))


def act(case: dict) -> None:
    arm(case["die"])
    repository = Path(case["repository"])
    if case["action"] == "rollback":
        rollback(repository, case["name"], 1)
    else:
        model = Path(case["model"])
        publish(onnx_artifact(model, (model,)), repository, case["name"], options=case["options"])


def main() -> None:
    if sys.argv[1] == "publish":
        repository, name, *models = sys.argv[2:]
        for model in map(Path, models):
            saved = model.name == "saved_model.pb"
            layout = tf_serving if saved else triton
            artifact = Artifact("saved-model", str(model), (model,)) if saved else onnx_artifact(model, (model,))
            print(layout.publish(artifact, Path(repository), name).version, flush=True)
        return
    for case in json.loads(sys.argv[2]):
        child = os.fork()
        if child == 0:
            try:
                act(case)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        print(json.dumps(os.waitstatus_to_exitcode(status)), flush=True)


if __name__ == "__main__":
    main()
