"""Files that are hashed while they are written."""

import hashlib
import io
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlconvert.onnx_model import digests
from mlconvert.onnx_model.digests import HashedFile, known_sha256


@settings(deadline=None)
@given(chunks=st.lists(st.binary(max_size=60), max_size=6), aside=st.sampled_from([0, 20, 1 << 20]))
def test_the_digest_is_that_of_the_file(tmp_path_factory, chunks, aside):
    path = tmp_path_factory.mktemp("hashed") / "f"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digests, "ASIDE", aside)
        with HashedFile(path) as stream:
            for chunk in chunks:
                stream.write(memoryview(chunk))
            assert stream.written == sum(map(len, chunks))
    assert path.read_bytes() == b"".join(chunks)
    assert known_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_is_known_after_it_was_renamed_and_not_after_it_was_changed(tmp_path):
    with HashedFile(tmp_path / "a") as stream:
        stream.write(b"abc")
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "b").chmod(0o600)
    assert known_sha256(tmp_path / "b") == hashlib.sha256(b"abc").hexdigest()
    (tmp_path / "copy").write_bytes(b"abc")
    assert known_sha256(tmp_path / "copy") is None
    (tmp_path / "b").write_bytes(b"abd")
    os.utime(tmp_path / "b", ns=(1, 1))
    assert known_sha256(tmp_path / "b") is None


class TakesTwo(io.FileIO):
    """A file that takes two bytes at a time, as a system may."""

    def write(self, data):
        return super().write(data[:2])


def test_a_write_that_takes_less_than_all_goes_on(tmp_path):
    with HashedFile(tmp_path / "a") as stream:
        stream._stream.close()
        stream._stream = TakesTwo(tmp_path / "a", "wb")
        stream.write(b"abcdefg")
    assert (tmp_path / "a").read_bytes() == b"abcdefg"
    assert known_sha256(tmp_path / "a") == hashlib.sha256(b"abcdefg").hexdigest()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_as_such():
    stream = HashedFile(Path("/dev/full"))
    with pytest.raises(OSError, match="No space"), stream:
        stream.write(bytes(digests.ASIDE))
    assert stream._stream.closed
    assert known_sha256(Path("/dev/full")) is None
