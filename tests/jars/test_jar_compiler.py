"""The compiler against javac: what a program prints, and what the models' own classes answer."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mlconvert.forests.model import Link
from mlconvert.jars.compiler import compile_java
from mlconvert.jars.compiler.constants import ConstantPool, modified_utf8
from mlconvert.jars.model import of_trees
from mlconvert.jars.stream import open_stream
from mlconvert.jars.writing import write_jar
from mlconvert.java import find_java

EVERYTHING = Path(__file__).with_name("Everything.java")


@pytest.fixture(scope="session")
def javac() -> Path:
    return find_java(compiler=True).path.resolve().with_name("javac")


def compiled(javac: Path, folder: Path, sources: list[Path], *options: str) -> Path:
    words = [javac, *options, "-encoding", "UTF-8", "--release", "8", "-d", folder, *sources]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_program_of_all_that_is_known_prints_what_javacs_prints(javac, tmp_path):
    for name, data in compile_java([EVERYTHING.read_text(encoding="utf-8")]).items():
        path = tmp_path / "ours" / f"{name}.class"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    compiled(javac, tmp_path / "theirs", [EVERYTHING])

    def printed(folder: str) -> str:
        words = [javac.with_name("java"), "-Dfile.encoding=UTF-8", "-cp", tmp_path / folder, "probe.Everything"]
        return subprocess.run(words, check=True, capture_output=True, text=True, encoding="utf-8").stdout

    assert printed("ours") == printed("theirs")


STRICT = ("-Xlint:all,-options", "-Werror")  # newer compilers say that Java 8 is old
KINDS = {
    "categories": {"sets": 9, "missing": True, "zero_is_missing": True, "truncates": True},
    "classes": {"task": "multiclass", "link": Link("softmax"), "outputs": 3, "texts": True},
    "linear": {"linear": True},
    "narrow": {"compares": "float32", "arithmetic": "float32", "task": "binary", "link": Link("sigmoid")},
}


def test_the_classes_of_jars_answer_as_javacs_do(random_forests, javac, java, tmp_path):
    """Of the sources in the sources jars, put in the place of the jars' own classes; javac finds no fault with them."""
    models = {name: random_forests.random_forest(random_forests.Kind(**kind), 2) for name, kind in KINDS.items()}
    jars = {}
    for name, model in models.items():
        for style in ("arrays", "code"):
            path = tmp_path / f"{name}-{style}.jar"
            jars[path] = model
            write_jar(of_trees(model), path, style=style, class_name=f"{name}.{style}.Model")
            with zipfile.ZipFile(f"{path}.sources.jar") as archive:
                archive.extractall(tmp_path / "sources")
    folder = compiled(javac, tmp_path / "classes", sorted((tmp_path / "sources").rglob("*.java")), *STRICT)
    for path, model in jars.items():
        other = path.with_suffix(".javac.jar")
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(other, "w") as changed:
            for entry in archive.namelist():
                data = (folder / entry).read_bytes() if entry.endswith(".class") else archive.read(entry)
                changed.writestr(entry, data)
        rows = random_forests.rows_for(model, 3)
        with open_stream(java, path) as ours, open_stream(java, other) as theirs:
            np.testing.assert_array_equal(ours.answers(rows), theirs.answers(rows))


def source(body: str) -> str:
    return f"package p;\npublic final class A {{\n    static int f(int n, double x) {{\n{body}\n    }}\n}}\n"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return n # 1;", "line 4: '# 1;"),
        ("return n", "line 5: ';' is expected"),
        ("return g(n);", r"p/A.f: line 4: there is no g\(I\) in p/A"),
        ("return m;", "line 4: there is no m in p/A"),
        ("return Math.cbrt(x);", "there is no cbrt"),
        ("switch (n) { }", "line 4"),
        ("return (int) \u20ac;", "is no token"),
        ("int y = n;\n" + "y += 1;" * 22_000 + "return y;", "65,535"),
        ("if (n > 0) {" + "n = n * 1000003 + 77777;" * 6_000 + "}\nreturn n;", "32,767"),
    ],
)
def test_what_is_not_understood_is_named_with_its_line(body, said):
    with pytest.raises(ValueError, match=said):
        compile_java([source(body)])


def test_a_class_has_an_end_of_constants():
    pool = ConstantPool()
    with pytest.raises(ValueError, match="65,535 constants"):
        list(map(pool.double, np.arange(40_000.0)))
    with pytest.raises(ValueError, match="longer than a class file"):
        pool.text("x" * 65_536)


def test_texts_are_written_as_the_jvm_reads_them():
    assert modified_utf8("a\0\u00e9\u20ac") == b"a\xc0\x80\xc3\xa9\xe2\x82\xac"
    assert modified_utf8("\U0001f600") == b"\xed\xa0\xbd\xed\xb8\x80"


def test_the_same_sources_give_the_same_bytes():
    text = EVERYTHING.read_text(encoding="utf-8")
    assert compile_java([text]) == compile_java([text])
