"""From a pickle to a served folder on the command line, and what may be proven again without trust."""

from __future__ import annotations

import json
import pickle

import numpy as np

from mlconvert.cli import main


def test_a_pickle_is_served_and_proven_on_trust_alone(tmp_path, monkeypatch, capsys):
    from sklearn.neighbors import KNeighborsRegressor

    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    model = KNeighborsRegressor().fit(random.normal(size=(20, 2)), random.normal(size=20))
    (tmp_path / "near.pkl").write_bytes(pickle.dumps(model))

    assert main(["convert", "near.pkl", "--to", "triton-python", "-o", "near"]) == 2
    assert "opened only on your word" in capsys.readouterr().out
    assert main(["convert", "near.pkl", "--to", "triton-python", "-o", "near", "--trust", "--json"]) == 0
    (target,) = json.loads(capsys.readouterr().out)["targets"]
    assert target["steps"][0]["parity"]["ok"]
    record = json.loads((tmp_path / "near/record.json").read_text())
    assert record["facts"]["runs_code"]
    assert [row["path"] for row in record["files"]] == ["model.py", "model.pkl", "requirements.txt", "__pycache__"]

    assert main(["verify", "near", "--trust"]) == 0
    assert main(["verify", "near"]) == 2  # not handed out of the cache either
    assert "model.pkl is a pickle" in capsys.readouterr().out
    assert main(["publish", "near", "models", "--to", "triton", "--name", "near"]) == 0

    code = tmp_path / "near/model.py"
    code.write_text(code.read_text().replace("import json", "import json  # mine"))
    assert main(["verify", "near", "--trust"]) == 8  # not the file that the record was written for
