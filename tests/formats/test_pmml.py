"""PMML documents are recognised by their content, and carry mlconvert's note through any text."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.errors import ConversionFailed
from mlconvert.formats import recognise
from mlconvert.formats.pmml import read_note, write_note
from mlconvert.readers.pmml_notes import note_of

HEADER = b'<Header>\n\t\t<Application name="A"/>\n\t\t<Timestamp>2026-01-02T03:04:05Z</Timestamp>\n\t</Header>'
DOCUMENT = b'<?xml version="1.0"?>\n<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4">\n\t%b\n</PMML>\n' % HEADER


def document(folder: Path, data: bytes = DOCUMENT) -> Path:
    path = folder / "m.pmml"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "data",
    [DOCUMENT, b"\xef\xbb\xbf" + DOCUMENT, b'<!-- by hand -->\n<p:PMML xmlns:p="u"><p:Header/></p:PMML>\n<!--x-->'],
)
def test_content_tells(data, tmp_path):
    assert recognise(str(document(tmp_path, data))) == "pmml"


def test_a_truncated_document_is_damaged(tmp_path):
    with pytest.raises(ConversionFailed, match="truncated"):
        recognise(str(document(tmp_path, DOCUMENT[:-10])))


def test_another_makers_document_has_no_note(tmp_path):
    assert note_of(document(tmp_path)) is None
    assert note_of(document(tmp_path, b"<PMML><Header/></PMML>")) is None


@given(st.dictionaries(st.text(), st.lists(st.text() | st.integers() | st.none())))
def test_a_note_comes_back_as_it_was(tmp_path_factory, note):
    path = document(tmp_path_factory.mktemp("note"))
    write_note(path, note)
    assert read_note(path) == note
    root = ET.parse(path).getroot()  # it is still well-formed
    assert [part.tag.partition("}")[2] for part in root[0]] == ["Extension", "Application"]


def test_the_time_of_making_is_left_out(tmp_path):
    path = document(tmp_path)
    write_note(path, {"a": 1})
    assert b"Timestamp" not in path.read_bytes()


def test_a_damaged_note_is_named(tmp_path):
    path = document(tmp_path)
    write_note(path, {"signature": 7})
    with pytest.raises(ConversionFailed, match="note"):
        note_of(path)
    path.write_bytes(path.read_bytes().replace(b'{"signature"', b'{"signature'))
    with pytest.raises(ConversionFailed, match="note"):
        note_of(path)
    with pytest.raises(ConversionFailed, match="no header"):
        write_note(document(tmp_path, b"<PMML></PMML>"), {})
