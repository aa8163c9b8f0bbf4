"""The files against their schemas, against what must never be in them, and against golden ones.

Golden files lie in `golden/`; MLCONVERT_WRITE_GOLDEN=1 writes them anew (look at the difference).
The compose file's schema is the Compose Specification's own, as the package check-jsonschema carries it; Kubernetes'
schemas come with kubernetes-validate. `service_monitor.schema.json` is our own reading of the Prometheus operator's
documentation: its fields that we use, and no others.
"""

from __future__ import annotations

import json
import os
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from mlconvert.deployment import target_named, tf_serving
from mlconvert.deployment.triton import compose, kubernetes
from mlconvert.deployment.triton.description import described
from mlconvert.errors import UsageError

GOLDEN = Path(__file__).parent / "golden"
RELEASES = ("1.30", "1.34", "1.37")  # of Kubernetes
NEEDS = {"forecast": "# made by mlconvert\nnumpy==2.4.6\nstatsmodels==0.15.0\n"}
IMAGE = "registry.example/triton:1"

CUDA = "tensorflow/serving:2.21.0-gpu"

# name -> (models, target, options, image)
CASES: dict[str, tuple[tuple[str, ...], str, dict[str, Any], str | None]] = {
    "compose": (("churn", "price"), "compose", {}, None),
    "compose-gpu": (("vision", "words", "compiled"), "compose", {"gpus": 2, "memory_gib": 12.5}, None),
    "compose-python": (("churn", "forecast"), "compose", {"prometheus": True, "cpus": 1.5}, None),
    "kubernetes": (("churn", "price"), "kubernetes", {}, None),
    "kubernetes-gpu": (
        ("vision", "words"),
        "kubernetes",
        {"namespace": "serving", "storage_class": "shared", "prometheus_release": "kps"},
        None,
    ),
    "kubernetes-python": (("forecast",), "kubernetes", {"queue_ms": 5, "cpus": 0.5, "temporary_gib": 0.5}, IMAGE),
}
METRICS = "enable: true"
# name -> (the repository's, target, options, image)
TF_SERVING: dict[str, tuple[dict[str, Any], str, dict[str, Any], str | None]] = {
    "tf-serving-compose": ({}, "compose", {}, None),
    "tf-serving-compose-all": (
        {"monitoring": f'{METRICS} path: "/metrics"', "batching": True, "mount": "/srv/models"},
        "compose",
        {"prometheus": True, "cpus": 1.5, "gpus": 1, "poll_seconds": 0},
        CUDA,
    ),
    "tf-serving-kubernetes": ({}, "kubernetes", {}, None),
    "tf-serving-kubernetes-all": (
        {"monitoring": METRICS, "batching": True, "mount": "/srv/models"},
        "kubernetes",
        {"namespace": "serving", "request_ms": 40, "prometheus_release": "kps", "exit_timeout": 60, "gpus": 2},
        CUDA,
    ),
}


@pytest.fixture(params=[*CASES, *TF_SERVING])
def case(request) -> str:
    return request.param


@pytest.fixture
def written(case, repository, served, tmp_path) -> dict[str, str]:
    """The files of a deployment that is named `server`."""
    folder = tmp_path / "deploy"
    if case in CASES:
        models, name, options, image = CASES[case]
        deployment: Any = described(
            repository(*models, requirements=NEEDS), name="triton", release="26.06", image=image
        )
        module = target_named(name, "triton").load()
    else:
        made, name, options, image = TF_SERVING[case]
        root = served("churn", "price", **made)
        deployment = tf_serving.looked_at(root, name="tf-serving", release=None, image=image)
        module = target_named(name, "tf-serving").load()
    found = module.files(deployment, folder, **options)
    assert set(found) <= set(module.FILES)
    return found


def documents(files: dict[str, str]) -> dict[str, Any]:
    return {name: yaml.safe_load(text) for name, text in files.items() if name.endswith((".yaml", ".yml"))}


def test_golden(case, written):
    text = "".join(f"--- {name}\n{content}" for name, content in written.items())
    path = GOLDEN / f"{case}.txt"
    if os.environ.get("MLCONVERT_WRITE_GOLDEN"):
        path.write_text(text)
    assert path.is_file(), f"no golden file {path.name}: run the test with MLCONVERT_WRITE_GOLDEN=1 and look at it"
    assert text == path.read_text()


def test_no_golden_file_is_left_over():
    assert sorted(path.stem for path in GOLDEN.iterdir()) == sorted({*CASES, *TF_SERVING})


# --- the schemas ---


def compose_schema() -> dict[str, Any]:
    path = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    return json.loads(path.read_text("utf-8"))


def service_monitor_schema() -> dict[str, Any]:
    return json.loads((Path(__file__).parent / "service_monitor.schema.json").read_text("utf-8"))


def test_schemas(case, written):
    found = documents(written)
    if "compose.yaml" in found:
        jsonschema.validate(found["compose.yaml"], compose_schema())
        return
    for name, data in found.items():
        if name == "monitoring/service-monitor.yaml":
            jsonschema.validate(data, service_monitor_schema())
        elif "kind" in data:
            for release in RELEASES:
                kubernetes_validate.validate(data, release, strict=True)
        else:
            assert name == "monitoring/prometheus-adapter-values.yaml", "everything else is of a kind"


@pytest.mark.parametrize("where", ["typo", "type"])
def test_the_schemas_see_mistakes(repository, tmp_path, where):
    deployment = described(repository("churn"), name=None, release=None, image=None)
    wrong = yaml.safe_load(compose.files(deployment, tmp_path)["compose.yaml"])
    service = wrong["services"]["models"]
    service.update({"readonly": True} if where == "typo" else {"read_only": "perhaps"})
    if where == "type":
        service["healthcheck"]["retries"] = ["x"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, compose_schema())
    found = documents(kubernetes.files(deployment, tmp_path))
    pod = found["deployment.yaml"]["spec"]["template"]["spec"]
    pod.update({"automountToken": False} if where == "typo" else {"terminationGracePeriodSeconds": "x"})
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(found["deployment.yaml"], RELEASES[0], strict=True)
    monitor = found["monitoring/service-monitor.yaml"]
    monitor["spec"].update({"endpoint": []} if where == "typo" else {"endpoints": {}})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(monitor, service_monitor_schema())


# --- what must never be in them ---


OPENINGS = {"ports", "network_mode", "privileged", "cap_add", "devices", "pid", "ipc", "userns_mode"}


def test_compose_is_closed(written):
    data = documents(written).get("compose.yaml")
    if data is None:
        return
    assert data["networks"] == {"inference": {"name": f"{data['name']}-inference", "internal": True}}
    for service in data["services"].values():
        assert service.keys().isdisjoint(OPENINGS)
        assert service["networks"] == ["inference"]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        user, _, group = service["user"].partition(":")
        assert int(user) > 0
        assert int(group) > 0
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}
        for volume in service["volumes"]:
            if volume["type"] == "bind":
                assert volume["read_only"] is True
                assert "docker.sock" not in volume["source"]
        assert ":" in service["image"]
        assert not service["image"].endswith(":latest")


def test_kubernetes_is_restricted(written):
    """The Pod Security Standards' `restricted` profile, rule by rule."""
    found = documents(written)
    pods = {name: data for name, data in found.items() if data.get("kind") in ("Pod", "Deployment")}
    for name, data in pods.items():
        spec = data["spec"] if data["kind"] == "Pod" else data["spec"]["template"]["spec"]
        assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC", "serviceAccountName"}
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        kinds = {"name", "persistentVolumeClaim", "emptyDir"} | ({"configMap"} if name == "fill/pod.yaml" else set())
        assert {key for volume in spec["volumes"] for key in volume} <= kinds
        (container,) = spec["containers"]
        context = container["securityContext"]
        assert context == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert all("hostPort" not in port for port in container.get("ports", []))
        assert container["resources"]["limits"]["memory"]
        if name == "deployment.yaml":
            mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
            assert mounts["repository"]["readOnly"] is True
            (claim,) = (v["persistentVolumeClaim"] for v in spec["volumes"] if "persistentVolumeClaim" in v)
            assert claim["readOnly"] is True
    if not pods:
        return
    assert found["service.yaml"]["spec"]["type"] == "ClusterIP"
    policy = found["network-policy.yaml"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["egress"] == []
    assert all(rule["from"] and rule["ports"] for rule in policy["ingress"])


def test_the_selectors_meet(written):
    found = documents(written)
    if "deployment.yaml" not in found:
        return
    labels = found["deployment.yaml"]["spec"]["template"]["metadata"]["labels"]
    assert found["deployment.yaml"]["spec"]["selector"]["matchLabels"] == labels
    assert found["service.yaml"]["spec"]["selector"] == labels
    for name in ("network-policy", "disruption-budget"):
        key = "podSelector" if name == "network-policy" else "selector"
        assert found[f"{name}.yaml"]["spec"][key]["matchLabels"] == labels
    assert found["service.yaml"]["metadata"]["labels"] == labels
    container = found["deployment.yaml"]["spec"]["template"]["spec"]["containers"][0]
    ports = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in found["service.yaml"]["spec"]["ports"]} == ports
    rules = found["network-policy.yaml"]["spec"]["ingress"]
    assert {port["port"] for rule in rules for port in rule["ports"]} == ports
    if (monitor := found.get("monitoring/service-monitor.yaml")) is not None:
        assert monitor["spec"]["selector"]["matchLabels"] == labels
        assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports
    scaler = found["autoscaler.yaml"]["spec"]
    assert scaler["scaleTargetRef"]["name"] == found["deployment.yaml"]["metadata"]["name"]
    metrics = [row["pods"]["metric"]["name"] for row in scaler["metrics"] if row["type"] == "Pods"]
    adapter = found.get("monitoring/prometheus-adapter-values.yaml", {"rules": {"custom": []}})
    assert [rule["name"]["as"] for rule in adapter["rules"]["custom"]] == metrics
    placed = [data["metadata"] for data in found.values() if data.get("kind", "Namespace") != "Namespace"]
    assert len({metadata.get("namespace") for metadata in placed}) == 1
    filler = found["fill/pod.yaml"]["metadata"]["labels"]
    assert not labels.items() <= filler.items(), "requests would be sent to the pod that fills the volume"


def test_a_stop_is_given_the_time_it_takes(case, written):
    found = documents(written)
    if case in TF_SERVING:
        return  # its server has no limit of its own
    if "compose.yaml" in found:
        service = found["compose.yaml"]["services"]["triton"]
        arguments, grace = service["command"], int(service["stop_grace_period"].removesuffix("s"))
    else:
        pod = found["deployment.yaml"]["spec"]["template"]["spec"]
        arguments = pod["containers"][0]["args"]
        drain = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
        grace = pod["terminationGracePeriodSeconds"] - drain
    (limit,) = (int(text.partition("=")[2]) for text in arguments if text.startswith("--exit-timeout-secs="))
    assert grace > limit


@pytest.mark.parametrize("models", [("churn",), ("churn", "vision"), ("words",)])
def test_a_gpu_is_reserved_only_where_one_is_needed(repository, tmp_path, models):
    deployment = described(repository(*models), name="triton", release="26.06", image=None)
    needed = models != ("churn",)
    server = yaml.safe_load(compose.files(deployment, tmp_path)["compose.yaml"])["services"]["triton"]
    assert ("reservations" in server["deploy"]["resources"]) == needed
    pod = yaml.safe_load(kubernetes.files(deployment, tmp_path)["deployment.yaml"])["spec"]["template"]["spec"]
    assert ("nvidia.com/gpu" in pod["containers"][0]["resources"]["limits"]) == needed
    assert ("tolerations" in pod) == needed


def test_code_may_only_be_loaded_from_tmp_where_it_has_to_be(repository, tmp_path):
    for models, word in ((("churn",), "noexec"), (("churn", "compiled"), "exec"), (("forecast",), "exec")):
        deployment = described(repository(*models, folder=models[-1]), name="triton", release="26.06", image=None)
        server = yaml.safe_load(compose.files(deployment, tmp_path)["compose.yaml"])["services"]["triton"]
        assert word in server["tmpfs"][0].split(":")[1].split(",")


@pytest.mark.parametrize(
    ("module", "options"),
    [
        (compose, {"memory_gib": 2.0, "shared_memory_gib": 1.5}),
        (compose, {"cpus": 0.0}),
        (compose, {"exit_timeout": -1}),
        (kubernetes, {"replicas": 9}),
        (kubernetes, {"replicas": 0}),
        (kubernetes, {"memory_gib": 1.0}),
        (kubernetes, {"queue_ms": 0}),
    ],
)
def test_limits_that_cannot_be(repository, tmp_path, module, options):
    deployment = described(repository("churn"), name="triton", release=None, image=None)
    with pytest.raises(UsageError):
        module.files(deployment, tmp_path, **options)


def test_kubernetes_cannot_build_an_image(repository, tmp_path):
    root = repository("forecast", requirements=NEEDS)
    deployment = described(root, name=None, release=None, image=None)
    with pytest.raises(UsageError, match="needs an image that your cluster can pull") as caught:
        kubernetes.files(deployment, tmp_path)
    assert "--image" in (caught.value.hint or "")
