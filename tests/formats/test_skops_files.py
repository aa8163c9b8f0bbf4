"""What a .skops file holds, read from its schema: nothing is loaded, skops is not needed, damage is told."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from mlconvert.errors import ConversionFailed
from mlconvert.formats.skops_files import LARGEST_SCHEMA, PLAIN, read_skops

X = np.random.default_rng(5).normal(size=(60, 3))
Y = (X[:, 0] > 0).astype(int)


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(StandardScaler(), LogisticRegression()),
        GradientBoostingClassifier(n_estimators=2),
        HistGradientBoostingClassifier(max_iter=2),
        make_pipeline(FunctionTransformer(np.linalg.cond), LogisticRegression()),
        {"__class__": "C", "__module__": "m", "__loader__": "TypeNode", "model": LogisticRegression()},
    ],
    ids=lambda model: type(model).__name__,
)
def test_all_that_skops_asks_trust_for_is_named(tmp_path, model):
    path = tmp_path / "m.skops"
    if hasattr(model, "fit") and not isinstance(getattr(model, "steps", [[0]])[0][-1], FunctionTransformer):
        model.fit(X, Y)
    skops.io.dump(model, path)
    summary = read_skops(path)
    assert set(skops.io.get_untrusted_types(file=path)) <= set(summary.types)
    assert summary.outermost == f"{type(model).__module__}.{type(model).__qualname__}"
    assert list(summary.types) == sorted(set(summary.types) - PLAIN)
    assert "m.C" not in summary.types  # the keys of a dictionary are no type


def test_methods_and_functions_are_named(tmp_path):
    path = tmp_path / "m.skops"
    skops.io.dump([StandardScaler().fit, np.linalg.cond, np.float32, eval], path)
    names = read_skops(path).types
    assert {"numpy.linalg.cond", "numpy.float32", "builtins.eval"} <= set(names)
    assert any(name.endswith("StandardScaler.fit") for name in names)


def test_nothing_is_imported_for_it(tmp_path):
    path = tmp_path / "m.skops"
    skops.io.dump(LogisticRegression().fit(X, Y), path)
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from mlconvert.formats.skops_files import read_skops\n"
        "print(read_skops(Path(sys.argv[1])).outermost)\n"
        "assert not {'skops', 'sklearn', 'numpy'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True)
    assert done.stdout.strip() == "sklearn.linear_model._logistic.LogisticRegression", done.stderr


@pytest.mark.parametrize(
    "schema", [None, b"", b"{", b"[]", b"{}", b"7", b'{"__class__": 1, "__module__": 2}', b"\xff", b"[" * 100_000]
)
def test_damaged_schemas_are_refused(tmp_path, schema):
    path = tmp_path / "m.skops"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json" if schema is not None else "other.json", schema or b"")
    with pytest.raises(ConversionFailed, match=r"not a readable \.skops file"):
        read_skops(path)


def test_truncated_files_are_refused(tmp_path):
    path = tmp_path / "m.skops"
    skops.io.dump(LogisticRegression().fit(X, Y), path)
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ConversionFailed, match=r"not a readable \.skops file"):
            read_skops(path)


def test_a_schema_that_would_fill_the_memory_is_not_read(tmp_path):
    path = tmp_path / "m.skops"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", json.dumps({"__class__": "A", "__module__": "b", "__loader__": "C"}))
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo("schema.json").file_size.to_bytes(4, "little")
    at = data.rindex(b"PK\x01\x02") + 24  # where the archive's directory has the uncompressed size
    assert data[at : at + 4] == size
    path.write_bytes(data[:at] + (LARGEST_SCHEMA + 1).to_bytes(4, "little") + data[at + 4 :])
    with pytest.raises(ConversionFailed, match="more than 1 GB"):
        read_skops(path)
