"""The processor from /proc/cpuinfo of several machines, and the marks that containers leave."""

from __future__ import annotations

import platform

import pytest

from mlconvert.hardware import host
from mlconvert.hardware.container import DIGEST, read_container
from mlconvert.hardware.readings import Unreadable

INTEL = """processor\t: 0
model name\t: Intel(R) Xeon(R) Platinum 8480C
flags\t\t: fpu vme sse sse2 avx2 avx512f amx_tile vmx
bugs\t\t: spectre_v1

processor\t: 1
model name\t: Intel(R) Xeon(R) Platinum 8480C
flags\t\t: fpu vme sse sse2 avx2 avx512f vmx
vmx flags\t: vnmi avx
"""
ORIN = """processor\t: 0
BogoMIPS\t: 62.50
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp
CPU implementer\t: 0x41
CPU architecture: 8
CPU part\t: 0xd42

processor\t: 1
Features\t: fp asimd evtstrm aes
CPU implementer\t: 0x41
CPU part\t: 0xd42
"""


def test_instruction_sets_are_those_that_every_processor_has():
    assert host.instruction_sets(INTEL) == ("avx2", "avx512f", "sse", "sse2")
    assert host.instruction_sets(ORIN) == ("aes", "asimd", "fp")


def test_models():
    assert host.cpu_model(INTEL) == "Intel(R) Xeon(R) Platinum 8480C"
    assert host.cpu_model(ORIN) == "ARM implementer 0x41, parts 0xd42"


@pytest.mark.parametrize("read", [host.cpu_model, host.instruction_sets])
@pytest.mark.parametrize("text", ["", "processor\t: 0\n", "isa\t: rv64imafdc\n"])
def test_what_is_not_told_is_not_made_up(read, text):
    with pytest.raises(Unreadable):
        read(text)


@pytest.mark.parametrize(
    ("machine", "name"), [("x86_64", "x86_64"), ("AMD64", "x86_64"), ("arm64", "aarch64"), ("riscv64", "riscv64")]
)
def test_an_architecture_has_one_name(machine, name):
    assert host.architecture(machine) == name


def test_this_machine_has_a_host():
    read = host.read_host()
    assert read.values["os"] == platform.system().lower()
    assert set(read.values) | set(read.missing) == {
        "os", "architecture", "distribution", "kernel", "glibc", "cpu_model", "instruction_sets"
    }  # fmt: skip


def test_a_host_that_tells_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(host, "CPUINFO", tmp_path / "none")
    for name in ("system", "machine", "release"):
        monkeypatch.setattr(platform, name, lambda: "")
    monkeypatch.setattr(platform, "freedesktop_os_release", dict)
    monkeypatch.setattr("os.confstr", lambda name: None)
    read = host.read_host()
    assert read.values == {}
    assert len(read.missing) == 7
    assert read.missing["glibc"] == "the C library is not glibc"
    assert read.missing["cpu_model"].endswith("cannot be read: No such file or directory")


def test_packages_are_told_with_versions(monkeypatch):
    monkeypatch.setattr(host, "PACKAGES", ("onnxruntime", "no-such-package"))
    assert list(host.read_packages()) == ["onnxruntime"]


# --- containers ---


def marks(root, **files):
    for name, text in files.items():
        path = root / {"dockerenv": ".dockerenv", "podman": "run/.containerenv",
                       "cgroup": "proc/1/cgroup", "environ": "proc/1/environ"}[name]  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("files", "environment", "kind"),
    [
        ({}, {}, "none"),
        ({"cgroup": "0::/init.scope\n", "environ": "TERM=linux\0HOME=/\0"}, {}, "none"),
        ({"dockerenv": ""}, {}, "docker"),
        ({"cgroup": "12:cpu:/docker/5f\n"}, {}, "docker"),
        ({"cgroup": "0::/kubepods.slice/x\n"}, {}, "kubernetes"),
        ({"dockerenv": ""}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "kubernetes"),
        ({"podman": ""}, {}, "podman"),
        ({"cgroup": "0::/lxc/x\n"}, {}, "lxc"),
        ({"environ": "HOME=/\0container=systemd-nspawn\0"}, {}, "systemd-nspawn"),
        ({"environ": "MY_container=x\0"}, {}, "none"),
        ({}, {"APPTAINER_CONTAINER": "/x.sif"}, "apptainer"),
        ({}, {"SINGULARITY_CONTAINER": "/x.sif"}, "singularity"),
    ],
)
def test_kinds_of_containers(tmp_path, files, environment, kind):
    marks(tmp_path, **files)
    assert read_container(tmp_path, environment).values["kind"] == kind


def test_outside_a_container_nothing_is_missing(tmp_path):
    assert read_container(tmp_path, {DIGEST: "sha256:" + "0" * 64}).missing == {}


def test_podman_tells_the_image(tmp_path):
    digest = "5f" * 32
    marks(tmp_path, podman=f'engine="podman-4.9"\nimage="example/serve:1"\nimageid="{digest}"\n')
    read = read_container(tmp_path, {})
    assert read.values == {"kind": "podman", "image": "example/serve:1", "image_digest": f"sha256:{digest}"}


@pytest.mark.parametrize("told", ["sha256:" + "ab" * 32, "ab" * 32, "example/serve:1@sha256:" + "ab" * 32])
def test_who_starts_the_container_can_tell_the_digest(tmp_path, told):
    marks(tmp_path, dockerenv="")
    read = read_container(tmp_path, {DIGEST: told})
    assert read.values["image_digest"] == "sha256:" + "ab" * 32
    assert set(read.missing) == {"image"}


def test_what_is_no_digest_is_not_taken_for_one(tmp_path):
    marks(tmp_path, dockerenv="")
    read = read_container(tmp_path, {DIGEST: "latest"})
    assert "'latest'" in read.missing["image_digest"]
    assert DIGEST in read_container(tmp_path, {}).missing["image_digest"]
