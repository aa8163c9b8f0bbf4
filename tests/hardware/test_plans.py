"""Reading the header of a TensorRT plan: real offsets, made-up contents."""

from __future__ import annotations

import contextlib
import importlib.util
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.hardware.plans import PlanEntry, read_plan

BYTE = st.integers(0, 255)


def _shared():
    """The functions of conftest.py, which parameters need before there are fixtures."""
    spec = importlib.util.spec_from_file_location("hardware_conftest", Path(__file__).with_name("conftest.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


plan, wrapped = _shared().plan, _shared().wrapped


@pytest.fixture
def file(tmp_path: Path):
    def write(content: bytes) -> Path:
        path = tmp_path / "model.plan"
        path.write_bytes(content)
        return path

    return write


def test_a_plan_says_its_version_platform_and_parts(file):
    found = read_plan(file(plan((10, 15, 1, 29), body=b"12345")))
    assert (found.version, found.platform, found.serialization) == ("10.15.1.29", 2, 0)
    assert (found.begins, found.wrapped, found.is_old) == (0, None, False)
    assert found.entries == (PlanEntry("NGNE", 56, 5),)
    assert found.plan_bytes == found.file_bytes == 61


def test_a_plan_behind_the_text_of_ultralytics_is_found_with_the_text(file):
    found = read_plan(file(wrapped()))
    assert (found.begins, found.wrapped, found.version) == (18, {"stride": 32}, "11.4.0.106")


def test_a_plan_of_before_8_6_is_known_by_its_magic_alone(file):
    found = read_plan(file(b"ptrt" + bytes(60)))
    assert (found.is_old, found.tensorrt, found.version, found.entries) == (True, None, None, ())


def test_every_truncation_is_told(file):
    whole = plan()
    for length in range(len(whole)):
        with pytest.raises(ConversionFailed, match="truncated" if length >= 4 else "does not begin"):
            read_plan(file(whole[:length]))
    for length in range(18, len(wrapped())):
        with pytest.raises(ConversionFailed):
            read_plan(file(wrapped()[:length]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "does not begin"),
        (b"PK\x03\x04" + bytes(60), "does not begin"),
        (b"\x08\x00\x00\x00{not json" + bytes(60), "does not begin"),
        (b"\x0e\x00\x00\x00" + b'{"stride": 32}' + bytes(60), "does not begin"),
        (plan() + b"more", "4 bytes behind the end"),
        (plan()[:8] + struct.pack("<I", 7) + plan()[12:], "7 entries do not fit"),
        (plan()[:8] + struct.pack("<I", 1 << 31) + plan()[12:], "entries do not fit"),
        (plan()[:40] + struct.pack("<Q", 1 << 40) + plan()[48:], "a part ends at"),
        (plan()[:48] + struct.pack("<Q", 1 << 63) + plan()[56:], "a part ends at"),
        (b"ptrt", "truncated"),
    ],
)
def test_what_is_no_plan_or_contradicts_itself_is_an_error_that_names_the_file(file, content, message):
    with pytest.raises(ConversionFailed, match=message) as caught:
        read_plan(file(content))
    assert caught.value.where.endswith("model.plan")
    assert caught.value.hint


def test_a_file_that_cannot_be_read_is_wrong_use(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_plan(tmp_path / "nowhere.plan")


@given(version=st.tuples(BYTE, BYTE, BYTE, BYTE), body=st.binary(max_size=64), platform=BYTE)
def test_what_is_written_is_read(tmp_path_factory, version, body, platform):
    path = tmp_path_factory.mktemp("plan") / "model.plan"
    path.write_bytes(plan(version, body=body, platform=platform))
    found = read_plan(path)
    assert (found.tensorrt, found.platform, found.entries[0].size) == (version, platform, len(body))


@given(st.binary(max_size=200), st.sampled_from([b"", b"ftrt", b"ptrt", b"\x02\x00\x00\x00{}ftrt"]))
def test_no_bytes_end_in_anything_but_a_header_or_an_error_of_ours(tmp_path_factory, content, before):
    path = tmp_path_factory.mktemp("plan") / "model.plan"
    path.write_bytes(before + content)
    with contextlib.suppress(ConversionFailed):
        assert read_plan(path).magic in ("ftrt", "ptrt")
