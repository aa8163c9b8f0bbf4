"""Run by tests as a program: one change of a repository, killed after each call that changes the disk.

    killed_process.py START PLACE CASE

The folder START is copied to PLACE/1, PLACE/2, …; in the K-th copy a child of this process makes the change and dies
by SIGKILL right after its K-th call. The last one comes to its end. How many there are is printed.

CASE is JSON: {"layout": "triton" | "tf_serving", "action": "publish" | "merge" | "rollback" | "label", "name", "model",
"arguments", "server"}. `server` is null, or what a server that is made up does: "takes", "does not load", "answers
wrongly".
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import shutil
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from mlconvert import records
from mlconvert.artifact import Artifact
from mlconvert.errors import MlconvertError, ParityFailed, RepositoryInvalid
from mlconvert.formats import source_artifact
from mlconvert.onnx_model.files import onnx_artifact
from mlconvert.repositories.trials import Change
from mlconvert.repositories.triton.engine_sets import Built

CALLS = ("link", "mkdir", "rename", "replace", "rmdir", "unlink")


class MadeUp:
    """A server as the layout sees it."""

    def __init__(self, does: str) -> None:
        self.does, self.loaded, self.before = does, False, frozenset[int]()

    def look(self, change: Change) -> None:
        self.before = change.back or frozenset()

    def take(self, change: Change) -> None:
        if self.does == "does not load":
            raise RepositoryInvalid("it does not load")
        self.loaded = True
        if self.does == "answers wrongly":
            raise ParityFailed("it answers wrongly")

    def give_back(self, change: Change) -> str:
        return ""

    def load(self, name: str, versions: Any) -> None:
        pass

    def failed(self, name: str) -> frozenset[int]:
        return frozenset([9]) if self.does == "does not load" else frozenset()

    def is_ready(self, seconds: float) -> bool:
        return True

    def in_use(self, name: str) -> frozenset[int]:
        return frozenset()


def arm(limit: int) -> None:
    count = itertools.count(1)

    def counted(function):
        def call(*args, **kwargs):
            result = function(*args, **kwargs)
            if next(count) == limit:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))


def act(repository: Path, case: dict[str, Any]) -> None:
    server = MadeUp(case["server"]) if case["server"] else None
    layout = layout_of(case)
    name, arguments = case["name"], case["arguments"]
    if case["action"] == "publish":
        layout.publish(artifact_of(Path(case["model"])), repository, name, server=server, **arguments)
    elif case["action"] == "merge":
        found = [records.with_record(source_artifact(path)) for path in case["built"]]
        layout.merge([Built(*one) for one in found], repository, name, **arguments)
    elif case["action"] == "rollback":
        layout.rollback(repository, name, server=server, **arguments)
    else:
        layout.label(repository, name, arguments.get("put", {}), arguments.get("remove", ()), server=server)


def layout_of(case: dict[str, Any]) -> Any:
    return importlib.import_module(f"mlconvert.repositories.{case['layout']}")


def artifact_of(model: Path) -> Artifact:
    if model.name != "saved_model.pb":
        return onnx_artifact(model, (model,))
    left_out = (model.name, "record.json")
    others = sorted(path for path in model.parent.rglob("*") if path.is_file() and path.name not in left_out)
    return Artifact("saved-model", str(model), (model, *others))


WARM = {
    "triton": (
        "google.protobuf.text_format", "tritonclient.grpc.model_config_pb2",
        "mlconvert.repositories.triton.backends.onnxruntime",
    ),
    "tf_serving": ("google.protobuf.text_format", "google.protobuf.message_factory", "mlconvert.tensors.dtypes"),
}  # fmt: skip


def warm(case: dict[str, Any]) -> None:
    """Import here what each child would import."""
    layout_of(case)
    for name in WARM[case["layout"]]:
        importlib.import_module(name)


def main() -> None:
    start, place, case = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    warm(case)
    place.mkdir()
    for limit in itertools.count(1):
        shutil.copytree(start, place / str(limit))
        child = os.fork()
        if child == 0:
            try:
                arm(limit)
                with_error = case["server"] not in (None, "takes")
                try:
                    act(place / str(limit) / "models", case)
                except MlconvertError:
                    if not with_error:
                        raise
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            print(limit)
            return
        if code != -signal.SIGKILL:
            sys.exit(f"after {limit} calls it ended with {code}")


if __name__ == "__main__":
    main()
