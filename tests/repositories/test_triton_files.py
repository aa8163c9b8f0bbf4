"""Files beside config.pbtxt and the checksum agent's sums, through publishing, rollback and death at every step."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlconvert import records
from mlconvert.artifact import Artifact, file_sha256
from mlconvert.repositories.triton import checksums, publication, publish, rollback
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton.configuring import files_beside
from mlconvert.tensors.rows import encode_rows

PROGRAM = Path(__file__).with_name("publisher_process.py")
POINTS = ["before", "half", *(name for name, _ in publication.STEPS)]


def with_rows(artifact: Artifact, value: float = 1.0) -> Artifact:
    """The artifact with a record beside it that keeps a row of that value."""
    files = records.described_files(artifact, {path.name: file_sha256(path) for path in artifact.files})
    rows = encode_rows(
        {"input": np.full((1, 4), value, np.float32)}, {"label": np.zeros(1, np.float32)}, count=1, limit=1 << 20
    )
    record = {
        "schema": records.SCHEMA, "format": "onnx", "path": artifact.path.name, "files": files,
        "sha256": records.total_sha256(files), "rows": rows,
    }  # fmt: skip
    records.write_json(records.path_beside(artifact.path), record)
    return artifact


def content(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): file_sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def assert_sound(model_folder: Path, *, leftovers: bool = False) -> None:
    """All files that the configuration names are there and right; nothing else of ours, unless `leftovers`."""
    config = cfg.read(model_folder / "config.pbtxt")
    named = {f"warmup/{row.input_data_file}" for sample in config.model_warmup for row in sample.inputs.values()}
    assert named <= set(files_beside(model_folder))
    assert leftovers or named == set(files_beside(model_folder))
    sums = checksums.sums_of(config)
    for path, digest in sums.items():
        assert hashlib.md5((model_folder / path).read_bytes()).hexdigest() == digest, path
    models = {str(path.relative_to(model_folder)) for path in model_folder.glob("[0-9]*/model.onnx")}
    if not leftovers and checksums.is_on(config):
        assert set(sums) == models


def test_files_come_with_the_configuration_and_nothing_is_written_twice(make_model, tmp_path: Path) -> None:
    repository = tmp_path / "disk" / "models"
    done = publish(with_rows(make_model()), repository, "m")
    (name,) = files_beside(repository / "m")
    file = repository / "m" / name
    assert file.read_bytes() == np.ones(4, np.float32).tobytes()
    assert file.stat().st_mode & 0o777 == 0o644
    assert file.parent.stat().st_mode & 0o777 == 0o755
    assert sorted(path.name for path in (repository / "m").iterdir()) == ["1", "config.pbtxt", "warmup"]
    assert_sound(repository / "m")
    before = {path: path.stat().st_mtime_ns for path in repository.parent.rglob("*")}
    assert publish(with_rows(make_model()), repository, "m").unchanged
    assert publish(with_rows(make_model("copy.onnx")), repository, "m").unchanged
    assert {path: path.stat().st_mtime_ns for path in repository.parent.rglob("*")} == before
    json.dumps(done.as_json())


def test_another_configuration_sweeps_what_only_the_old_one_named(make_model, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    publish(with_rows(make_model()), repository, "m")
    (first,) = files_beside(repository / "m")
    (repository / "m/warmup/mine").write_text("x")
    (repository / "m/labels.txt").write_text("x")
    publish(with_rows(make_model(), 2.0), repository, "m", options={"max_batch_size": 8})
    (second,) = files_beside(repository / "m")
    assert second != first
    assert_sound(repository / "m")
    publish(with_rows(make_model(), 2.0), repository, "m", options={"warmup": "no"})
    assert files_beside(repository / "m") == []
    assert (repository / "m/warmup/mine").is_file()  # not ours to remove
    assert (repository / "m/labels.txt").is_file()


def test_a_file_that_is_gone_or_changed_comes_back(make_model, tmp_path: Path) -> None:
    publish(with_rows(make_model()), tmp_path / "models", "m")
    wanted = content(tmp_path / "models")
    (name,) = files_beside(tmp_path / "models/m")
    (tmp_path / "models/m" / name).unlink()
    assert publish(with_rows(make_model()), tmp_path / "models", "m").config == "replaced"
    assert content(tmp_path / "models") == wanted


def test_the_users_own_configuration_keeps_its_files(make_model, tmp_path: Path) -> None:
    path = publish(with_rows(make_model()), tmp_path / "models", "m").config_path
    path.write_text(path.read_text().replace("count: 1", "count: 2"))
    assert publish(with_rows(make_model(scale=3.0), 5.0), tmp_path / "models", "m").config == "kept"
    assert_sound(tmp_path / "models/m")


# --- checksums ---


def test_the_sums_are_those_of_all_versions(make_model, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    path = publish(make_model(), repository, "m", options={"checksums": "yes"}).config_path
    assert set(checksums.sums_of(cfg.read(path))) == {"1/model.onnx"}
    assert_sound(repository / "m")
    done = publish(
        make_model(scale=3.0), repository, "m"
    )  # without options: the configuration stays, with one sum more
    assert done.config == "replaced"
    assert_sound(repository / "m")
    assert publish(make_model(scale=3.0), repository, "m").unchanged
    assert publish(make_model(scale=3.0), repository, "m", options={"checksums": "yes"}).unchanged
    rollback(repository, "m")
    assert set(checksums.sums_of(cfg.read(path))) == {"1/model.onnx"}
    assert_sound(repository / "m")
    publish(make_model(scale=4.0), repository, "m", options={"checksums": "no"})
    assert not checksums.is_on(cfg.read(path))


def test_external_data_has_sums_too_and_the_record_has_none(make_model, tmp_path: Path) -> None:
    path = publish(with_rows(make_model(data=True)), tmp_path / "models", "m", options={"checksums": "yes"}).config_path
    named = set(checksums.sums_of(cfg.read(path)))
    assert named == {"1/model.onnx/model.onnx", "1/model.onnx/source-weights.bin"}


def test_a_sum_that_is_written_down_is_not_made_anew(make_model, tmp_path: Path) -> None:
    """Else publishing would bless a file that has been damaged since."""
    repository = tmp_path / "models"
    path = publish(make_model(), repository, "m", options={"checksums": "yes"}).config_path
    digest = checksums.sums_of(cfg.read(path))["1/model.onnx"]
    model = repository / "m/1/model.onnx"
    model.write_bytes(model.read_bytes() + b"\x00")
    publish(make_model(scale=3.0), repository, "m")
    assert checksums.sums_of(cfg.read(path))["1/model.onnx"] == digest
    assert checksums.md5(model) != digest


def test_the_comments_of_a_configuration_stay_when_sums_are_added(make_model, tmp_path: Path) -> None:
    path = publish(make_model(), tmp_path / "models", "m", options={"checksums": "yes"}).config_path
    path.write_text("# of the risk team\n" + path.read_text().replace("count: 1", "count: 2"))
    publish(make_model(scale=3.0), tmp_path / "models", "m")
    assert path.read_text().startswith("# of the risk team\n# Written by mlconvert.")
    assert cfg.read(path).instance_group[0].count == 2
    assert_sound(tmp_path / "models/m")


# --- publishers that die ---


def kill(cases: list[dict[str, Any]]) -> None:
    done = subprocess.run([sys.executable, PROGRAM, "die", json.dumps(cases)], capture_output=True, text=True)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [-9] * len(cases), done.stderr


@pytest.mark.parametrize("existing", [False, True])
def test_killed_at_every_step_with_files_and_sums(make_model, tmp_path: Path, existing: bool) -> None:
    options = {"checksums": "yes", "max_batch_size": 8}
    start, goal = tmp_path / "start" / "models", tmp_path / "goal" / "models"
    (tmp_path / "start").mkdir()
    if existing:
        publish(with_rows(make_model("first.onnx")), start, "m", options={"checksums": "yes"})
        shutil.copytree(start, goal)
    second = with_rows(make_model("second.onnx", scale=3.0), 7.0)
    publish(second, goal, "m", options=options)
    should_be = content(goal)
    cases = []
    for point in POINTS:
        shutil.copytree(tmp_path / "start", tmp_path / point)
        cases.append(
            {"action": "publish", "repository": str(tmp_path / point / "models"), "name": "m",
             "model": second.location, "options": options, "die": point}
        )  # fmt: skip
    kill(cases)
    for point in POINTS:
        repository = tmp_path / point / "models"
        if (repository / "m").exists():
            assert_sound(repository / "m", leftovers=True)
        publish(second, repository, "m", options=options)
        assert content(repository) == should_be, point
        assert_sound(repository / "m")
