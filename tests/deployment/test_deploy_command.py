"""`mlconvert deploy` on repositories that mlconvert published, and the server's command line on the real server."""

from __future__ import annotations

import shutil
import urllib.request
from pathlib import Path

import pytest
import yaml

from mlconvert.cli.app import run
from mlconvert.operations.deploy import deploy
from mlconvert.operations.publish import publish


@pytest.fixture
def models(small_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one model, in the current folder."""
    monkeypatch.chdir(tmp_path)
    publish(small_onnx, Path("models"), to="triton", name="small", options={"max_batch_size": "8"})
    return Path("models")


@pytest.mark.parametrize("target", ["compose", "kubernetes"])
def test_the_files_are_written_and_named(models, capsys, target):
    assert run(["deploy", "models", "--to", target, "--name", "triton", "--release", "26.06"]) == 0
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert lines[0] == "triton: 1 model on nvcr.io/nvidia/tritonserver:26.06-py3"
    assert all(Path(line.strip()).is_file() for line in lines[1:])
    assert len(lines) > 1
    assert {Path(line.strip()).parts[0] for line in lines[1:]} == {f"triton-{target}"}
    assert run(["deploy", "models", "--to", target, "--name", "triton", "--release", "26.06"]) == 0, "written again"


def test_options(models):
    out = Path("elsewhere")
    assert run(["deploy", "models", "--to", "compose", "-o", "elsewhere", "--set", "prometheus=yes"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["compose.yaml", "prometheus.yml"]
    assert run(["deploy", "models", "--to", "compose", "-o", "elsewhere"]) == 0
    assert [path.name for path in out.iterdir()] == ["compose.yaml"], "what is no longer wanted goes"
    data = yaml.safe_load((out / "compose.yaml").read_text())
    assert (out / data["services"]["models"]["volumes"][0]["source"]).resolve() == models.resolve()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--to", "swarm"], 2, "unknown deployment target"),
        (["--to", "compose", "--set", "cpu=1"], 2, "no option 'cpu'"),
        (["--to", "compose", "--set", "kubernetes.cpus=1"], 2, "no step 'kubernetes'"),
        (["--to", "compose", "--release", "99.01"], 2, "Triton '99.01'"),
        (["--to", "compose", "--image", "triton:latest"], 2, "not pinned"),
        (["--to", "compose", "--name", "No"], 2, "host's name"),
    ],
)
def test_wrong_use(models, capsys, arguments, code, said):
    assert run(["deploy", "models", *arguments]) == code
    assert said in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["models"]


def test_a_repository_with_errors_is_not_deployed(models, capsys):
    path = models / "small" / "config.pbtxt"
    path.write_text(path.read_text().replace("TYPE_FP32", "TYPE_FP64"))
    assert run(["deploy", "models", "--to", "compose"]) == 8
    told = capsys.readouterr().err
    assert "mlconvert lint models" in told
    assert "TYPE_FP64" in told
    assert not Path("models-compose").exists()


def test_a_release_that_cannot_load_the_model_is_refused(tmp_path, monkeypatch, small_onnx, capsys):
    import onnx

    monkeypatch.chdir(tmp_path)
    model = onnx.load(small_onnx)
    model.ir_version = 12
    onnx.save(model, "new.onnx")
    publish(Path("new.onnx"), Path("models"), to="triton", name="new")
    assert run(["deploy", "models", "--to", "compose", "--release", "24.10"]) == 8
    assert run(["deploy", "models", "--to", "compose"]) == 0


def test_a_file_that_was_changed_is_kept(models, capsys):
    assert run(["deploy", "models", "--to", "compose"]) == 0
    path = Path("models-compose/compose.yaml")
    path.write_text(path.read_text().replace("expose:", "ports:"))
    before = path.read_text()
    assert run(["deploy", "models", "--to", "compose"]) == 2
    assert "was changed since" in capsys.readouterr().err
    assert path.read_text() == before


@pytest.mark.parametrize("place", ["nowhere", "file"])
def test_no_repository(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    assert run(["deploy", place, "--to", "compose"]) == 2


def test_the_command_line_starts_the_real_server(models, tmp_path):
    """With the models loaded by the time it is live; and its metrics are those that the autoscaler's rule names."""
    from mlconvert.serving.client import connect
    from mlconvert.serving.home import find_server
    from mlconvert.serving.server import free_ports, started

    shutil.copytree(models / "small", models / "second")
    text = (models / "second" / "config.pbtxt").read_text()
    (models / "second" / "config.pbtxt").write_text(text.replace('"small"', '"second"'))
    done = deploy(models, to="kubernetes", name="triton")
    written = {path.name: yaml.safe_load(path.read_text()) for path in done.files}
    container = written["deployment.yaml"]["spec"]["template"]["spec"]["containers"][0]
    own = ("tritonserver", "--model-repository", "--model-control-mode", "--disable-auto-complete", "--exit-timeout")
    arguments = [text for text in container["args"] if not text.startswith(own)]
    assert len(arguments) == len(container["args"]) - len(own)
    (port,) = free_ports(1)
    with started(find_server(), models, arguments=[*arguments, f"--metrics-port={port}"]) as server:
        path = container["readinessProbe"]["httpGet"]["path"]
        with urllib.request.urlopen(f"http://{server.http}{path}", timeout=5) as answer:
            assert answer.status == 200, "live means ready: its address opens when the models are loaded"
        with urllib.request.urlopen(f"http://{server.http}/v2/health/live", timeout=5) as answer:
            assert answer.status == 200
        client = connect(f"triton://{server.http}")
        assert client.ready("small")
        assert client.ready("second")
        client.close()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            metrics = answer.read().decode()
    (rule,) = written["prometheus-adapter-values.yaml"]["rules"]["custom"]
    for name in ("nv_inference_queue_duration_us", "nv_inference_request_success"):
        assert name in rule["metricsQuery"]
        assert f'\n{name}{{model="small",version="1"}}' in metrics


def test_a_model_that_cannot_be_loaded_ends_the_real_server(models):
    """So that a rolling update stops there, instead of going on with a server that lacks a model."""
    from mlconvert.errors import RepositoryInvalid
    from mlconvert.serving.home import find_server
    from mlconvert.serving.server import started

    (models / "small" / "1" / "model.onnx").unlink()
    arguments = ["--load-model=small", "--strict-readiness=false"]
    with pytest.raises(RepositoryInvalid), started(find_server(), models, arguments=arguments):
        pass
