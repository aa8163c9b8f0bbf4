"""Signed versions of TensorFlow Serving, which passes over what it does not know in a folder."""

from __future__ import annotations

import pytest

from mlconvert.errors import RepositoryInvalid
from mlconvert.operations.lint import lint_repository
from mlconvert.operations.publish import publish, rollback, versions
from mlconvert.operations.signing import verify_signature
from mlconvert.records import SIGNATURE


def test_the_signature_is_of_all_and_nothing_trips_over_it(make_saved, keys, tmp_path):
    private, public = keys / "ours.pem", keys / "ours.pub"
    repository = tmp_path / "models"
    plain = publish(make_saved(1.0, record=True).path, repository, to="tf-serving", name="m")
    before = lint_repository(str(repository))["findings"]
    done = publish(make_saved(2.0, record=True).path, repository, to="tf-serving", name="m", sign=private)
    folder = repository / "m" / "2"
    told = [row["path"] for row in verify_signature(done["path"], public)["files"]]
    assert told == sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name != SIGNATURE
    )
    assert {"saved_model.pb", "record.json", "assets.extra/tf_serving_warmup_requests"} <= set(told)
    assert len(lint_repository(str(repository))["findings"]) == len(before)
    assert all(SIGNATURE not in row.files for row in versions(repository, "m")[0]), "it is no file of the model"
    (folder / "fingerprint.pb").write_bytes(b"another")
    with pytest.raises(RepositoryInvalid, match="was changed after it was signed"):
        verify_signature(folder, public)
    rollback(repository, "m")
    assert plain["version"] == 1
