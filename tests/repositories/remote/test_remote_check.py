"""`mlconvert check` of a repository in a bucket: it is downloaded for that."""

from __future__ import annotations

import obstore

from mlconvert.operations.check import check_location


def test_an_engine_in_a_bucket_is_judged(repository, bucket) -> None:
    plan = b"ftrt" + bytes(12) + (60).to_bytes(8, "little") + bytes((11, 4, 0, 106)) + bytes(32)
    obstore.put(bucket.store, "team/models/m/config.pbtxt", b'name: "m" backend: "tensorrt"')
    obstore.put(bucket.store, "team/models/m/1/model.plan", plan)
    report = check_location(str(repository))
    assert [(row["model"], row["version"], row["verdict"]) for row in report["artifacts"]] == [("m", 1, "refuse")]
    assert report["exit_code"] == 7
