"""Deployment files for TensorFlow Serving: what is read and refused, and how a volume is filled under its servers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import grpc
import pytest
import yaml

from mlconvert.cli.app import run
from mlconvert.deployment.tf_serving import compose, kubernetes, looked_at
from mlconvert.deployment.tf_serving.filling import ARRIVING, place_script
from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.operations.deploy import deploy
from mlconvert.operations.publish import label, publish
from mlconvert.serving.tf_serving.home import find_model_server
from mlconvert.serving.tf_serving.server import started


def of(repository, **kwargs):
    return looked_at(repository, **{"name": None, "release": None, "image": None, **kwargs})


def command_of(repository: Path, **options) -> list[str]:
    text = compose.files(of(repository), repository.parent / "deploy", **options)["compose.yaml"]
    return yaml.safe_load(text)["services"]["models"]["command"]


# --- what is read ---


def test_what_is_read(served):
    found = of(served("churn", "price", batching=True))
    assert found.models == ("churn", "price")
    assert (found.name, found.image, found.mount) == ("models", "tensorflow/serving:2.21.0", "/models")
    assert (found.batching, found.monitoring, found.metrics) == (True, False, None)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("enable: true", "/monitoring/prometheus/metrics"),
        ('enable: true path: "/m"', "/m"),
        ("enable: false", None),
        ('path: "/m"', None),
    ],
)
def test_metrics_are_those_that_the_server_has(served, text, path):
    root = served("churn", monitoring=text)
    assert of(root).metrics == path
    assert "--monitoring_config_file=/models/monitoring.config" in command_of(root)
    found = kubernetes.files(of(root), root)
    assert ("monitoring/service-monitor.yaml" in found) == (path is not None)
    rules = yaml.safe_load(found["network-policy.yaml"])["spec"]["ingress"]
    assert len(rules) == (2 if path else 1), "nobody else is let in where there is nothing to read"


def test_the_command_line(served):
    found = command_of(served("churn", mount="/srv/all", batching=True), cpus=2.5, poll_seconds=3)
    assert found == [
        "--port=8500",
        "--rest_api_port=8501",
        "--model_config_file=/srv/all/models.config",
        "--model_config_file_poll_wait_seconds=3",
        "--allow_version_labels_for_unavailable_models=true",
        "--tensorflow_session_parallelism=3",
        "--enable_grpc_healthcheck_service=true",
        "--num_load_threads=2",
        "--num_unload_threads=1",
        "--load_retry_interval_micros=5000000",
        "--enable_batching=true",
        "--batching_parameters_file=/srv/all/batching.config",
    ]


def test_the_server_itself_is_told_to_stop(served):
    """It handles no signals, so as process 1 it would ignore them; its image's script would not pass them on."""
    deployment = of(served("churn"))
    server = yaml.safe_load(compose.files(deployment, Path())["compose.yaml"])["services"]["models"]
    assert (server["entrypoint"], server["init"]) == (["tensorflow_model_server"], True)
    pod = yaml.safe_load(kubernetes.files(deployment, Path())["deployment.yaml"])["spec"]["template"]["spec"]
    assert pod["shareProcessNamespace"] is True
    assert pod["containers"][0]["command"] == ["tensorflow_model_server"]


@pytest.mark.parametrize("timeout", [10, 11, 30, 600])
def test_every_connection_ends_before_its_server_does(served, timeout):
    found = kubernetes.files(of(served("churn")), Path(), exit_timeout=timeout)
    pod = yaml.safe_load(found["deployment.yaml"])["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    waits = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert waits == timeout
    assert pod["terminationGracePeriodSeconds"] > waits
    (age,) = (int(text.rpartition("=")[2]) for text in container["args"] if "max_connection_age" in text)
    assert 0 < age * 1.1 <= (timeout - 5) * 1000


# --- what is refused ---


@pytest.mark.parametrize(
    ("release", "said"),
    [("2.10.0", "older than 2.11"), ("26.06", "no release of TensorFlow"), ("latest", "no release")],
)
def test_releases(served, release, said):
    with pytest.raises(UsageError, match=said):
        of(served("churn"), release=release)


def test_a_release_names_an_image(served):
    root = served("churn")
    assert of(root, release="2.19.1").image == "tensorflow/serving:2.19.1"
    assert of(root, image="registry.example/serving:7").image == "registry.example/serving:7"
    with pytest.raises(UsageError, match="another one"):
        of(root, release="2.19.1", image="registry.example/serving:7")
    with pytest.raises(UsageError, match="not pinned"):
        of(root, image="tensorflow/serving")


@pytest.mark.parametrize("module", [compose, kubernetes])
def test_a_gpu_needs_an_image_that_has_cuda(served, tmp_path, module):
    root = served("churn")
    with pytest.raises(UsageError, match="no CUDA") as caught:
        module.files(of(root), tmp_path, gpus=1)
    assert caught.value.hint == "name an image that has: --image tensorflow/serving:2.21.0-gpu"
    text = "".join(module.files(of(root, image="tensorflow/serving:2.21.0-gpu"), tmp_path, gpus=1).values())
    assert "Asked for." in text or "A GPU was asked for." in text


def test_no_models_config(tmp_path, served):
    root = served("churn")
    (root / "models.config").unlink()
    with pytest.raises(RepositoryInvalid, match=r"no models\.config") as caught:
        of(root)
    assert caught.value.hint
    (root / "models.config").write_text("model_config_list { }")
    with pytest.raises(RepositoryInvalid, match="names no model"):
        of(root)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('"/models/price"', '"/other/price"'), "base paths lie in 2 folders"),
        (('"/models/price"', '"s3://bucket/price"'), "without a way out"),
        (('"/models/price"', '"models/price"'), "without a way out"),
        (("/models/", "/"), "cannot be mounted"),
        (("/models/", "/a b/"), "cannot be mounted"),
    ],
)
def test_models_that_the_container_would_not_see(served, change, said):
    root = served("churn", "price")
    path = root / "models.config"
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(RepositoryInvalid, match=said) as caught:
        of(root)
    assert caught.value.hint


def test_a_server_s_file_that_cannot_be_read(served):
    root = served("churn", monitoring="enable: perhaps")
    with pytest.raises(RepositoryInvalid, match=r"monitoring\.config"):
        of(root)
    (root / "monitoring.config").write_bytes(b"\xff")
    with pytest.raises(RepositoryInvalid, match="not UTF-8"):
        of(root)


@pytest.mark.parametrize(
    ("module", "options"),
    [
        (compose, {"memory_gib": 0.25}),
        (compose, {"cpus": 0.0}),
        (compose, {"poll_seconds": -1}),
        (compose, {"gpus": -1}),
        (compose, {"prometheus": True}),
        (kubernetes, {"replicas": 9}),
        (kubernetes, {"replicas": 0}),
        (kubernetes, {"memory_gib": 0.1}),
        (kubernetes, {"cpu_percent": 0}),
        (kubernetes, {"exit_timeout": 9}),
        (kubernetes, {"request_ms": 40}),
        (kubernetes, {"prometheus_release": "kps"}),
    ],
)
def test_what_cannot_be(served, tmp_path, module, options):
    with pytest.raises(UsageError):
        module.files(of(served("churn")), tmp_path, **options)


# --- the command ---


@pytest.mark.parametrize("target", ["compose", "kubernetes"])
def test_the_command_writes_files(served, monkeypatch, capsys, target):
    root = served("churn", monitoring="enable: true")
    monkeypatch.chdir(root.parent)
    assert run(["deploy", "models", "--to", target, "--name", "tfs"]) == 0
    told = capsys.readouterr()
    first, *lines = told.out.splitlines()
    assert first == "tfs: 1 model on tensorflow/serving:2.21.0"
    assert lines
    assert all(Path(line.strip()).is_file() and line.startswith(f"  tfs-{target}/") for line in lines)
    assert run(["deploy", "models", "--to", target, "--name", "tfs"]) == 0, "written again"
    assert run(["deploy", "models", "--to", target, "--set", "shared_memory_gib=1"]) == 2, "an option of Triton's"
    assert run(["deploy", "models", "--to", "swarm"]) == 2


def test_a_repository_with_errors_is_not_deployed(served, monkeypatch, capsys):
    root = served("churn", labels='    version_labels { key: "stable" value: 7 }\n')
    monkeypatch.chdir(root.parent)
    assert run(["deploy", "models", "--to", "compose"]) == 8
    told = capsys.readouterr().err
    assert "TensorFlow Serving would not serve all of it" in told
    assert "mlconvert lint models" in told
    assert not Path("models-compose").exists()


# --- filling the volume ---


@pytest.fixture
def volume(tmp_path) -> Path:
    path = tmp_path / "volume"
    path.mkdir()
    return path


def filled(volume: Path, repository: Path | None) -> subprocess.CompletedProcess[str]:
    if repository is not None:
        shutil.copytree(repository, volume / ARRIVING)
    return subprocess.run(
        ["bash", "-c", place_script("/nowhere"), "place.sh", volume], capture_output=True, text=True, timeout=20
    )


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_volume_becomes_what_the_repository_is(served, volume):
    root = served("churn", "price")
    assert filled(volume, root).stdout == "churn/1: new\nprice/1: new\n"
    assert files(volume) == files(root)
    shutil.copytree(root / "churn/1", root / "churn/2")
    shutil.copytree(root / "churn/1", root / "churn/10")
    (root / "models.config").write_text((root / "models.config").read_text() + "# more\n")
    inode = (volume / "churn/1/saved_model.pb").stat().st_ino
    assert filled(volume, root).stdout == "churn/10: new\nchurn/2: new\n"
    assert files(volume) == files(root)
    assert (volume / "churn/1/saved_model.pb").stat().st_ino == inode, "what is served is left alone"
    shutil.rmtree(root / "churn/2")
    shutil.rmtree(root / "churn/10")
    assert filled(volume, root).stdout == "churn/2: gone\nchurn/10: gone\n", "the newest last, as rollback does"
    assert files(volume) == files(root)
    assert filled(volume, root).stdout == ""


def test_a_version_with_other_contents_is_refused_and_nothing_changed(served, volume):
    root = served("churn", "price")
    assert filled(volume, root).returncode == 0
    before = files(volume)
    shutil.copytree(root / "churn/1", root / "churn/2")
    (root / "price/1/saved_model.pb").write_bytes(b"other")
    done = filled(volume, root)
    assert done.returncode == 1
    assert "price/1 is there with other contents" in done.stderr
    assert files(volume) == before


@pytest.mark.parametrize("calls", range(1, 16))
def test_a_script_that_was_killed_is_run_again(served, volume, tmp_path, calls):
    """Killed before any of its calls: every version there is whole, and the next run does what is left to do."""
    root = served("churn", "price")
    shutil.copytree(root / "churn/1", root / "churn/2")
    assert filled(volume, root).returncode == 0
    shutil.rmtree(root / "churn/1")
    shutil.copytree(root / "price/1", root / "price/2")
    (root / "models.config").write_text((root / "models.config").read_text() + "# more\n")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("mv", "rm", "mkdir", "diff"):
        own = tools / name
        own.write_text(
            f'#!/bin/bash\necho >> {tools}/calls\n[ "$(wc -l < {tools}/calls)" = {calls} ] && kill -9 0\n'
            f'exec {shutil.which(name)} "$@"\n'
        )
        own.chmod(0o755)
    shutil.copytree(root, volume / ARRIVING)
    done = subprocess.run(
        ["bash", "-c", place_script("/nowhere"), "place.sh", volume],
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
        start_new_session=True,  # which is what is killed
        capture_output=True,
        timeout=20,
    )
    assert (done.returncode != 0) == (calls <= len((tools / "calls").read_text()))
    for version in volume.glob("[!.]*/[0-9]*"):
        assert (version / "saved_model.pb").is_file()
    assert list(volume.glob("price/1")), "what the repository has never leaves"
    shutil.rmtree(volume / ARRIVING, ignore_errors=True)  # as the pod does when it starts
    assert filled(volume, root).returncode == 0
    assert files(volume) == files(root)


def test_nothing_was_copied(volume):
    done = filled(volume, None)
    assert done.returncode == 1
    assert "copy the repository to" in done.stderr
    assert list(volume.iterdir()) == []


@pytest.mark.parametrize("name", ["a b", "$(touch x)", "ä", "-n"])
def test_names_that_a_shell_could_mistake(served, volume, name):
    root = served(name)
    assert filled(volume, root).stdout == f"{name}/1: new\n"
    assert files(volume) == files(root)
    shutil.rmtree(root / name / "1")
    assert filled(volume, root).returncode == 0
    assert list(files(volume)) == ["models.config"]


def test_a_version_appears_whole(served, volume):
    """Whoever looks while the script runs sees a version with all its files or none."""
    root = served("churn")
    for number in range(2, 30):
        shutil.copytree(root / "churn/1", root / f"churn/{number}")
        (root / f"churn/{number}/variables").mkdir()
        (root / f"churn/{number}/variables/variables.index").write_text("x")
    shutil.copytree(root, volume / ARRIVING)
    process = subprocess.Popen(["bash", "-c", place_script("/nowhere"), "place.sh", volume], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        for version in volume.glob("churn/[0-9]*"):
            assert (version / "saved_model.pb").is_file()
            assert version.name == "1" or (version / "variables/variables.index").is_file()
    assert process.returncode == 0


# --- on a server ---


def page(address: str, path: str, body: bytes | None = None) -> tuple[int, str]:
    request = urllib.request.Request(f"http://{address}{path}", data=body, method="POST" if body else "GET")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status, answer.read().decode()


def test_the_command_line_starts_a_server_which_follows_its_volume(volume, tmp_path):
    """The command line for Kubernetes: ports, probe and metrics answer; a new version and a label need no restart."""
    program = Path(__file__).parents[1] / "repositories" / "saved_model_process.py"
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run(
        [sys.executable, program, "make", tmp_path / "saved", "1", "2"],
        check=True,
        env=environment,
        capture_output=True,
    )
    root = tmp_path / "models"
    options = {"base_path": str(volume), "monitoring": "yes", "batching": "yes", "version_policy": "all"}
    publish(tmp_path / "saved/1", root, to="tf-serving", name="m", options=options)
    label(root, "m", {"stable": 1})
    assert filled(volume, root).returncode == 0
    done = deploy(root, to="kubernetes", name="tfs", options={"poll_seconds": "1"}, folder=tmp_path)
    written = {path.name: yaml.safe_load(path.read_text()) for path in done.files}
    (container,) = written["deployment.yaml"]["spec"]["template"]["spec"]["containers"]
    flags = [text for text in container["args"] if not text.startswith(("--port=", "--rest_api_port="))]
    assert len(flags) == len(container["args"]) - 2
    asked = json.dumps({"instances": [[1.0, 2.0, 3.0, 4.0]]}).encode()
    with started(find_model_server(), flags) as server:
        assert container["readinessProbe"]["grpc"] == {"port": 8500}
        with grpc.insecure_channel(server.grpc) as channel:
            check = channel.unary_unary("/grpc.health.v1.Health/Check")
            assert check(b"", timeout=5) == b"\x08\x01", "status: SERVING"
        status, text = page(server.rest, "/v1/models/m/labels/stable:predict", asked)
        assert (status, json.loads(text)["predictions"][0]["total"]) == (200, 10.0)
        metrics = page(server.rest, written["service-monitor.yaml"]["spec"]["endpoints"][0]["path"])[1]
        assert ':tensorflow:serving:request_count{model_name="m"' in metrics
        publish(tmp_path / "saved/2", root, to="tf-serving", name="m")
        label(root, "m", {"stable": 1, "canary": 2})
        assert filled(volume, root).stdout == "m/2: new\n"
        wait_until(lambda: page(server.rest, "/v1/models/m/labels/canary:predict", asked)[1])
        for name, total in (("stable", 10.0), ("canary", 20.0)):
            text = page(server.rest, f"/v1/models/m/labels/{name}:predict", asked)[1]
            assert json.loads(text)["predictions"][0]["total"] == total


def wait_until(answers) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(urllib.error.HTTPError):
            answers()
            return
        time.sleep(0.1)
    pytest.fail("the server did not follow within 30 s")
