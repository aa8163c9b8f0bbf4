"""The runner of torch modules from a factory (those of .pt2 and TorchScript are tested with their converters)."""

import numpy as np
import pytest
import torch

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.runners import torch as runner

FACTORY = """
import torch
from torch import nn

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.9)
        self.scale = nn.Parameter(torch.tensor([2.0]))
    def forward(self, x, weight=None):
        x += 1  # in place: the caller's samples must not see it
        y = self.dropout(x) * self.scale
        weighted = None if weight is None else y * weight
        return {"y": y, "half": y.to(torch.bfloat16), "positive": y > 0, "weighted": weighted}

class ModelWithOutput(nn.Module):
    def forward(self, x):
        from transformers.modeling_outputs import BaseModelOutput
        return BaseModelOutput(last_hidden_state=x, hidden_states=(x, x))
"""


@pytest.fixture
def artifact(tmp_path):
    (tmp_path / "user_model.py").write_text(FACTORY)
    return lambda name: Artifact("torch", f"{tmp_path}/user_model.py:{name}", ())


def test_outputs_by_key_without_gradients_or_dropout(artifact):
    import ml_dtypes

    assert runner.signature(artifact("Model")) is None
    session = runner.load(artifact("Model"))
    assert session.signature is None
    x = np.arange(3, dtype=np.float32)
    for _ in range(2):
        outputs = session.run({"x": x})
        assert list(outputs) == ["y", "half", "positive"]
        assert outputs["y"].tolist() == [2.0, 4.0, 6.0]
    assert x.tolist() == [0, 1, 2]
    assert outputs["half"].dtype == ml_dtypes.bfloat16
    assert outputs["positive"].dtype == np.bool_
    assert session.run({"x": x, "weight": x})["weighted"].tolist() == [0.0, 4.0, 12.0]


def test_transformers_outputs(artifact):
    pytest.importorskip("transformers", reason="transformers is not installed: there is no ModelOutput")
    outputs = runner.load(artifact("ModelWithOutput")).run({"x": np.ones((2, 3), np.float32)})
    assert list(outputs) == ["last_hidden_state", "hidden_states_0", "hidden_states_1"]


def test_samples_that_do_not_fit(artifact):
    session = runner.load(artifact("Model"))
    with pytest.raises(UsageError, match="no input 'y'"):
        session.run({"y": np.ones(3, np.float32)})
    with pytest.raises(ConversionFailed, match=r"failed on the samples \(x: float32\[3\], weight: float32\[2\]\)"):
        session.run({"x": np.ones(3, np.float32), "weight": np.ones(2, np.float32)})
    with pytest.raises(UsageError, match="numbers and booleans"):
        session.run({"x": np.array(["text"])})


def test_a_missing_factory(tmp_path):
    with pytest.raises(UsageError, match="there is no file"):
        runner.load(Artifact("torch", f"{tmp_path}/none.py:make", ()))


def test_runs_in_several_threads_agree(artifact):
    from concurrent.futures import ThreadPoolExecutor

    session = runner.load(artifact("Model"))
    batches = [np.full(4, n, np.float32) for n in range(16)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda x: session.run({"x": x})["y"], batches))
    assert [result[0] for result in results] == [2.0 * (n + 1) for n in range(16)]
    assert torch.is_grad_enabled()
