"""Pickles are read, never loaded: the class of the outermost object, all names, and nothing runs."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import fractions
import io
import os
import pickle
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlconvert.formats.pickle_dangers import is_dangerous
from mlconvert.formats.pickles import compression_of, outermost_class, read_pickle, starts_like_pickle, summarise

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def summary_of(data: bytes):
    return summarise(io.BytesIO(data))


class Marker:
    """An instance with a state, of a class that the pickle names."""

    def __init__(self) -> None:
        self.inner = {"values": [1, 2, 3], "other": decimal.Decimal("1.5")}


class Command:
    """A pickle of this runs a shell command when it is loaded."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


class Evaluation:
    def __init__(self, text: str) -> None:
        self.text = text

    def __reduce__(self):
        return eval, (self.text,)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_outermost_class_is_found_in_every_protocol(protocol):
    summary = summary_of(pickle.dumps(Marker(), protocol))
    assert summary.outermost == f"{__name__}.Marker"
    assert "decimal.Decimal" in summary.globals
    assert summary.complete
    assert summary.dangerous == ()
    assert summary.protocol == (protocol if protocol >= 2 else 0)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pickle_that_would_run_code_is_seen_and_not_run(protocol, tmp_path):
    proof = tmp_path / "it_ran"
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps([Command(f"touch {proof}"), Evaluation("1 + 1")], protocol))
    summary = read_pickle(path)
    assert not proof.exists()
    assert summary.dangerous == (f"{os.system.__module__}.system", "builtins.eval")
    assert starts_like_pickle(path.read_bytes())
    pickle.loads(path.read_bytes())
    assert proof.exists(), "the pickle does nothing, so that the test proves nothing"


def test_a_name_that_is_computed_while_loading_is_dangerous():
    # STACK_GLOBAL with a module name that only a call gives: c builtins.str ( 'os' ) . system
    data = b"\x80\x04cbuiltins\nstr\n\x8c\x02os\x85R\x8c\x06system\x93."
    summary = summary_of(data)
    assert summary.dangerous == ("?.?",)


@pytest.mark.parametrize("opcode", [b"\x82\x05", b"\x83\x05\x00", b"\x84\x05\x00\x00\x00"])
def test_a_number_of_the_extension_registry_is_dangerous(opcode):
    assert summary_of(b"\x80\x02" + opcode + b".").dangerous == ("?.extension_5",)


@pytest.mark.parametrize(
    "name",
    ["os.system", "posix.system", "subprocess.Popen", "builtins.eval", "sklearn.utils.os.system", "builtins.getattr"],
)
def test_dangerous_names(name):
    assert is_dangerous(name)


@pytest.mark.parametrize(
    "name", ["sklearn.pipeline.Pipeline", "numpy.ndarray", "builtins.set", "scipy.signal.lti", "mine.test.Model"]
)
def test_names_that_models_use_are_not_dangerous(name):
    assert not is_dangerous(name)


def test_the_python_2_name_of_a_builtin_is_the_builtin():
    assert summary_of(b"c__builtin__\neval\n.").dangerous == ("builtins.eval",)


def test_opcodes_of_old_pickles():
    assert summary_of(b"(imodule\nName\np0\n.").outermost == "module.Name"  # INST
    assert summary_of(b"(cmodule\nName\nS'argument'\no.").outermost == "module.Name"  # OBJ
    assert (
        summary_of(b"ccopy_reg\n_reconstructor\n(cmodule\nName\nc__builtin__\nobject\nNtR.").outermost == "module.Name"
    )


def test_memoised_names_of_a_stack_global():
    first, second = Marker(), Marker()
    summary = summary_of(pickle.dumps((first, second, [first]), 4))
    assert summary.outermost == "builtins.tuple"
    assert summary.globals.count(f"{__name__}.Marker") == 1
    assert summary.complete


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.binary().map(bytearray)
    | st.dates()
    | st.timedeltas()
    | st.complex_numbers()
    | st.decimals()
    | st.fractions()
    | st.just(os.system)
    | st.just(collections.OrderedDict),
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.dictionaries(st.text() | st.integers(), inner),
        st.dictionaries(st.text(), inner).map(collections.OrderedDict),
        st.frozensets(st.text() | st.integers()),
        st.sets(st.text() | st.binary()),
        inner.map(lambda value: [value, value]),  # the same object twice: the memo
        inner.map(lambda value: Command("false") if value is None else value),
    ),
    max_leaves=20,
)


def _qualified(value) -> str:
    if isinstance(value, Command) or value is os.system:
        return f"{os.system.__module__}.system"
    kind = value if isinstance(value, type) else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


@settings(deadline=None, max_examples=300)
@given(value=values, protocol=st.sampled_from(list(PROTOCOLS)))
@example(value=Command("false"), protocol=0)
@example(value=dt.date(2026, 11, 23), protocol=0)
@example(value=fractions.Fraction(1, 3), protocol=5)
def test_any_pickle_is_read_to_its_end_and_names_its_class(value, protocol):
    data = pickle.dumps(value, protocol)
    summary = summary_of(data)
    assert summary.complete
    # Old protocols have no opcode for some values, and make them by a call of something that gives them.
    if protocol >= 4:
        expected = _qualified(value)
        assert summary.outermost == expected


@settings(deadline=None, max_examples=300)
@given(value=values, protocol=st.sampled_from(list(PROTOCOLS)), cut=st.floats(0, 1, exclude_max=True))
def test_a_truncated_pickle_is_incomplete_and_raises_nothing(value, protocol, cut):
    data = pickle.dumps(value, protocol)
    assert not summary_of(data[: int(len(data) * cut)]).complete


@settings(deadline=None, max_examples=300)
@given(data=st.binary(max_size=200), protocol=st.sampled_from([b"", b"\x80\x02", b"\x80\x04", b"\x80\x05"]))
@example(data=b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f", protocol=b"\x80\x04")  # BINBYTES8 of nearly 2^63 bytes
@example(data=b"\x8b\xff\xff\xff\x7f", protocol=b"\x80\x02")  # LONG4 of 2 GB
@example(data=b"u.", protocol=b"\x80\x02")  # SETITEMS without a mark
@example(data=b"b.", protocol=b"\x80\x02")  # BUILD on nothing
@example(data=b"I1\n\x94h\x07.", protocol=b"\x80\x04")  # a memo that was never written
def test_no_bytes_raise(data, protocol):
    summary_of(protocol + data)


def test_reading_runs_nothing_and_imports_nothing(tmp_path):
    """No event of the interpreter's audit hooks that an import or a call of the system raises is seen while reading."""
    path = tmp_path / "evil.pkl"
    path.write_bytes(b"cantigravity\nfly\n(S'x'\ntR." + pickle.dumps(Command("false")))
    program = (
        "import sys, pathlib\n"
        "from mlconvert.formats.pickles import read_pickle\n"
        "seen = []\n"
        "sys.addaudithook(lambda event, _: seen.append(event))\n"
        f"summary = read_pickle(pathlib.Path({str(path)!r}))\n"
        "bad = {event for event in seen if event.split('.')[0] in ('import', 'os', 'exec', 'pickle', 'subprocess')}\n"
        "assert summary.outermost == 'antigravity.fly', summary\n"
        "assert 'open' in seen and not bad, bad\n"
        "assert 'antigravity' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# --- joblib ---


@pytest.fixture(scope="module")
def pipeline():
    import numpy as np
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    words = np.array([["a", "x"], ["b", "y"], ["c", "x"], ["a", "z"]] * 10, dtype=object)
    # Arrays of numbers, of records (the trees) and of objects (the categories).
    return make_pipeline(OneHotEncoder(), RandomForestClassifier(n_estimators=3, random_state=0)).fit(
        words, np.arange(40) % 2
    )


@pytest.mark.parametrize("compress", [0, ("zlib", 3), ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)])
def test_joblib_with_its_raw_arrays_is_read_to_the_end(pipeline, compress, tmp_path):
    import joblib

    path = tmp_path / "pipeline.joblib"
    joblib.dump(pipeline, path, compress=compress)
    summary = read_pickle(path)
    assert summary.outermost == "sklearn.pipeline.Pipeline"
    assert summary.complete
    assert "sklearn.tree._tree.Tree" in summary.globals  # comes after raw arrays
    assert summary.compression == (compress[0] if compress else None)
    assert summary.dangerous == ()
    assert outermost_class(path) == summary.outermost


def test_joblib_what_follows_a_raw_array_is_seen(tmp_path):
    import joblib
    import numpy as np

    path = tmp_path / "mixed.joblib"
    joblib.dump([np.arange(100.0), Command("false")], path)
    assert read_pickle(path).dangerous == (f"{os.system.__module__}.system",)


def test_joblib_what_hides_in_an_array_of_objects_is_seen(tmp_path):
    import joblib
    import numpy as np

    path = tmp_path / "objects.joblib"
    joblib.dump(np.array([Command("false")], dtype=object), path)
    summary = read_pickle(path)
    assert summary.outermost == "numpy.ndarray"
    assert summary.dangerous == (f"{os.system.__module__}.system",)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("compress", [0, ("zlib", 3), ("xz", 3)])
def test_a_truncated_joblib_file_still_names_its_class(pipeline, compress, kept, tmp_path):
    import joblib

    path = tmp_path / "pipeline.joblib"
    joblib.dump(pipeline, path, compress=compress)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    summary = read_pickle(path)
    assert not summary.complete
    if not compress:  # a compressor may need more of the file than is left before it gives its first bytes
        assert summary.outermost == "sklearn.pipeline.Pipeline"


def test_a_small_file_cannot_make_a_large_allocation(tmp_path):
    path = tmp_path / "bomb.pkl"
    path.write_bytes(zlib.compress(b"\x80\x04\x8e" + (1 << 62).to_bytes(8, "little")))
    assert not read_pickle(path).complete


def test_compression_by_magic():
    assert compression_of(b"BZh9") == "bz2"
    assert compression_of(zlib.compress(b"x")) == "zlib"
    assert compression_of(pickle.dumps([])) is None


@pytest.mark.parametrize("text", [b"", b"(continued)\n", b"column_a,column_b\n1,2\n", b"]]\n", b"tree\nversion=v4\n"])
def test_text_does_not_start_like_a_pickle(text):
    assert not starts_like_pickle(text)


def test_a_file_that_is_not_there_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_pickle(Path(tmp_path / "none.pkl"))


def test_an_escape_that_is_none_is_read_without_a_warning():
    """Python warns of it when it decodes the text; a file is not a program, whose author could mend it."""
    assert summarise(io.BytesIO(b"S'a\\d'\n.")).complete
