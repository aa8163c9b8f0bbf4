"""ONNX files: what is refused, what a written file holds, and where its weights are."""

import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlconvert.errors import ConversionFailed
from mlconvert.onnx_model import external as external_module
from mlconvert.onnx_model import files as onnx_files
from mlconvert.onnx_model import graphs, splicing
from mlconvert.onnx_model.digests import known_sha256
from mlconvert.onnx_model.files import (
    external_data_files,
    finish_onnx,
    onnx_artifact,
    onnx_signature,
    read_onnx,
    read_outline,
    write_onnx,
)

RNG = np.random.default_rng(5)
WEIGHTS = RNG.normal(size=(32, 16)).astype(np.float32)


def mlp(opset: int = 18) -> onnx.ModelProto:
    model = onnx.parser.parse_model(f"""
        <ir_version: 10, opset_import: ["" : {opset}]>
        g (float[batch, 32] x) => (float[batch, 16] y) {{ h = MatMul(x, w)  y = Relu(h) }}""")
    model.graph.initializer.append(onnx.numpy_helper.from_array(WEIGHTS, "w"))
    return model


def external(folder, name="weights.bin", location=None, **entries):
    """A model whose weights are in a file beside it, written with bare onnx."""
    model = mlp()
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(WEIGHTS.tobytes())
    tensor = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, name if location is None else location, 0, WEIGHTS.nbytes)
    tensor.ClearField("raw_data")
    for entry in tensor.external_data:
        entry.value = str(entries.get(entry.key, entry.value))
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def large(monkeypatch):
    """From here on, 1 kB of weights is much."""
    monkeypatch.setattr(onnx_files, "EXTERNAL_ABOVE", 1000)


# --- reading ---


def test_what_was_written_is_read(tmp_path):
    files = write_onnx(mlp(), tmp_path / "m.onnx")
    assert files == (tmp_path / "m.onnx",)
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(read_onnx(files[0]).graph.initializer[0]), WEIGHTS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (b"<html>404</html>", "holds text"),
        ("Mod\u00e8le".encode(), "holds text"),
        (b"\x80\x04\x95" + b"\x00" * 64, "damaged"),
        (b"PK\x03\x04" + b"\x00" * 64, "damaged"),
        (b"\x08\x0a", "no graph"),
        (b"\x08\x0a\x3a\x00", "no operators"),
    ],
)
def test_what_is_no_model_is_refused_by_name(tmp_path, content, message):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ConversionFailed, match=message) as caught:
        read_onnx(tmp_path / "m.onnx")
    assert caught.value.where == str(tmp_path / "m.onnx")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(ConversionFailed, match="cannot read"):
            read_onnx(path)


@pytest.mark.parametrize("missing", ["ir_version", "graph", "opset_import"])
def test_a_model_without_an_essential_part_is_refused(tmp_path, missing):
    model = mlp()
    model.ClearField(missing)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ConversionFailed, match="not a complete ONNX model"):
        read_onnx(tmp_path / "m.onnx")


def test_a_domain_that_is_used_and_not_imported_is_refused(tmp_path):
    model = mlp()
    model.graph.node[1].domain = "ai.onnx.ml"
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ConversionFailed, match=r"Relu.*'ai.onnx.ml', which is not imported"):
        read_onnx(tmp_path / "m.onnx")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_prefix_of_a_model_is_refused_or_the_same_model(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("prefix", numbered=True)
    model = mlp()
    model.metadata_props.add(key="classes", value="cat,dog")
    model.opset_import.add(domain="ai.onnx.ml", version=3)
    model.graph.node.append(onnx.helper.make_node("Binarizer", ["y"], ["z"], domain="ai.onnx.ml"))
    whole = model.SerializeToString()
    # Most prefixes end inside the graph; the interesting ones are near the file's end.
    end = data.draw(st.one_of(st.integers(0, len(whole)), st.integers(len(whole) - 60, len(whole))))
    (folder / "m.onnx").write_bytes(whole[:end])
    try:
        found = read_onnx(folder / "m.onnx")
    except ConversionFailed:
        return
    assert (found.graph, list(found.opset_import), found.ir_version) == (
        model.graph,
        list(model.opset_import),
        model.ir_version,
    )


@settings(max_examples=100, deadline=None)
@given(rubbish=st.binary(min_size=1, max_size=40))
def test_trailing_rubbish_is_refused(tmp_path_factory, rubbish):
    folder = tmp_path_factory.mktemp("rubbish", numbered=True)
    whole = mlp().SerializeToString()
    (folder / "m.onnx").write_bytes(whole + rubbish)
    try:
        found = read_onnx(folder / "m.onnx")
    except ConversionFailed:
        return
    assert found.graph == mlp().graph  # rubbish that is, by chance, a field of a model that was not set


def test_two_models_in_one_file_are_refused(tmp_path):
    (tmp_path / "m.onnx").write_bytes(mlp().SerializeToString() * 2)
    with pytest.raises(ConversionFailed, match="a second 'ir_version'"):
        read_onnx(tmp_path / "m.onnx")


# --- external data ---


def test_external_data_is_read_and_listed(tmp_path):
    path = external(tmp_path, "sub/weights.bin")
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(read_onnx(path).graph.initializer[0]), WEIGHTS)
    assert external_data_files(path) == ((tmp_path / "sub/weights.bin").resolve(),)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"location": "../weights.bin"}, "out of the model's folder"),
        ({"location": "sub/../../weights.bin"}, "out of the model's folder"),
        ({"location": "/etc/passwd"}, "not relative"),
        ({"location": "C:\\weights.bin"}, "not relative"),
        ({"location": ""}, "no usable location"),
        ({"location": "gone.bin"}, "is missing"),
        ({"location": "."}, "cannot be read|regular file|hard link"),
        ({"offset": 4}, "has 2048 bytes"),
        ({"offset": -1}, "has 2048 bytes"),
        ({"length": 4096}, "has 2048 bytes"),
        ({"length": 2044}, "its shape and type need 2048"),
        ({"offset": "many"}, "not a number"),
    ],
)
def test_external_data_that_must_not_be_followed(tmp_path, entries, message):
    (tmp_path / "weights.bin").write_bytes(WEIGHTS.tobytes())
    (tmp_path / "inner").mkdir()
    path = external(tmp_path / "inner", **entries)
    for read in (read_onnx, lambda p: read_onnx(p, external_data=False), external_data_files):
        with pytest.raises(ConversionFailed, match=message) as caught:
            read(path)
        assert "tensor 'w'" in caught.value.message
        assert caught.value.where == str(path)


def test_external_data_cut_off_is_refused(tmp_path):
    path = external(tmp_path)
    os.truncate(tmp_path / "weights.bin", 2047)
    with pytest.raises(ConversionFailed, match="has 2047 bytes"):
        external_data_files(path)


@pytest.mark.parametrize("kind", ["file", "folder", "hard link", "pipe"])
def test_links_and_pipes_are_refused(tmp_path, kind):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/weights.bin").write_bytes(WEIGHTS.tobytes())
    folder = tmp_path / "model"
    folder.mkdir()
    if kind == "folder":
        path = external(folder, "weights.bin", location="sub/weights.bin")
        (folder / "sub").symlink_to(tmp_path / "other")
    else:
        path = external(folder)
        (folder / "weights.bin").unlink()
        if kind == "file":
            (folder / "weights.bin").symlink_to(tmp_path / "other/weights.bin")
        elif kind == "hard link":
            os.link(tmp_path / "other/weights.bin", folder / "weights.bin")
        else:
            os.mkfifo(folder / "weights.bin")
    with pytest.raises(ConversionFailed, match=r"symbolic link|hard link|bytes"):
        read_onnx(path)


def test_listing_external_data_reads_none_of_it(tmp_path):
    """A sparse file of 3 GB: reading it would need the memory."""
    path = external(tmp_path)
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].dims[:] = [3 << 20, 256]
    model.graph.initializer[0].external_data[2].value = str(3 << 30)
    path.write_bytes(model.SerializeToString())
    os.truncate(tmp_path / "weights.bin", 3 << 30)
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert external_data_files(path) == ((tmp_path / "weights.bin").resolve(),)
    assert onnx_files.weight_bytes(read_onnx(path, external_data=False)) == 3 << 30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


# --- writing ---


def test_large_weights_get_a_file_that_others_may_read(tmp_path, large):
    old = os.umask(0o022)
    try:
        files = write_onnx(mlp(), tmp_path / "m.onnx")
    finally:
        os.umask(old)
    assert [file.name for file in files] == ["m.onnx", "m.onnx.data"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o644}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(read_onnx(files[0]).graph.initializer[0]), WEIGHTS)


def test_typed_data_and_four_bit_data_survive_the_move(tmp_path, large):
    model = mlp()
    model.graph.initializer[0].CopyFrom(onnx.helper.make_tensor("w", 1, [32, 16], WEIGHTS.ravel().tolist()))
    four = onnx.helper.make_tensor("q", onnx.TensorProto.INT4, [64, 64], (np.arange(4096) % 16 - 8).tolist())
    model.graph.initializer.append(four)
    expected = onnx.numpy_helper.to_array(four)
    files = write_onnx(model, tmp_path / "m.onnx")
    found = {t.name: onnx.numpy_helper.to_array(t) for t in read_onnx(files[0]).graph.initializer}
    np.testing.assert_array_equal(found["w"], WEIGHTS)
    np.testing.assert_array_equal(found["q"], expected)
    assert files[1].stat().st_size == 4096 + 2048


def test_nothing_of_the_machine_is_left(tmp_path):
    model = mlp()
    model.doc_string = f"made in {Path.cwd()}"
    model.graph.doc_string = model.graph.node[0].doc_string = "line 12 of /home/someone/train.py"
    model.graph.node[0].metadata_props.add(key="pkg.torch.onnx.stack_trace", value='File "/home/someone/m.py"')
    model.graph.input[0].doc_string = "/home/someone"
    model.metadata_props.add(key="classes", value="cat,dog")
    model.metadata_props.add(key="pkg.exporter", value="x")
    model.metadata_props.add(key="from", value='File "/home/someone/m.py"')
    path = write_onnx(model, tmp_path / "m.onnx")[0]
    content = path.read_bytes()
    assert b"/home" not in content
    assert str(Path.cwd()).encode() not in content
    assert [(p.key, p.value) for p in read_onnx(path).metadata_props] == [("classes", "cat,dog")]


@pytest.mark.parametrize(
    ("opset", "declared", "written"), [(18, 10, 8), (21, 13, 10), (20, 7, 7), (13, 7, 7), (13, 10, 7)]
)
def test_the_ir_version_is_the_lowest_that_will_do(tmp_path, opset, declared, written):
    model = mlp(opset)
    model.ir_version = declared
    assert read_onnx(write_onnx(model, tmp_path / "m.onnx")[0]).ir_version == written


def test_types_and_functions_raise_the_ir_version(tmp_path):
    model = mlp(13)
    model.ir_version = 13
    model.graph.initializer.append(onnx.helper.make_tensor("q", onnx.TensorProto.INT4, [2], [1, 2]))
    assert onnx_files.least_ir(model) == (10, "the type INT4")
    assert read_onnx(write_onnx(model, tmp_path / "m.onnx")[0]).ir_version == 10


def test_an_invalid_model_is_refused_and_leaves_no_file(tmp_path):
    model = mlp()
    model.graph.node[1].input[0] = "nowhere"
    with pytest.raises(ConversionFailed, match="nowhere"):
        write_onnx(model, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_were_not_loaded_are_not_lost_silently(tmp_path):
    model = read_onnx(external(tmp_path), external_data=False)
    with pytest.raises(ConversionFailed, match="'w' was not loaded"):
        write_onnx(model, tmp_path / "out.onnx")


# --- large weights do not pass through memory ---


@pytest.fixture
def outlined(monkeypatch):
    """From here on, 1 kB is a tensor that is not held in memory."""
    monkeypatch.setattr(onnx_files, "LARGE", 1000)
    monkeypatch.setattr(onnx_files, "HELD", 1000)
    monkeypatch.setattr(external_module, "LARGE", 1000)


def two_weights():
    model = mlp()
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.arange(3), "small"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(-WEIGHTS, "w2"))
    typed = onnx.helper.make_tensor("typed", 1, [32, 16], WEIGHTS.ravel().tolist())
    model.graph.initializer.append(typed)
    branch = onnx.helper.make_graph([], "branch", [], [onnx.helper.make_tensor_value_info("inner", 1, [32, 16])])
    branch.initializer.append(onnx.numpy_helper.from_array(WEIGHTS * 3, "inner"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "yes"))
    node = onnx.helper.make_node("If", ["yes"], ["chosen"], then_branch=branch, else_branch=branch)
    model.graph.node.append(node)
    return model


def values(model):
    return {tensor.name: onnx.numpy_helper.to_array(tensor).tolist() for tensor in graphs.tensors_of(model)}


def test_an_outline_holds_no_large_weights_and_knows_where_they_are(tmp_path, outlined):
    path = write_onnx(two_weights(), tmp_path / "m.onnx")[0]
    outline = read_outline(path)
    assert [t.name for t in outline.graph.initializer if not t.HasField("raw_data")] == ["w", "w2", "typed"]
    assert [t.name for t in outline.graph.initializer if external_module.is_elsewhere(t)] == ["w", "w2"]
    assert onnx_files.weight_bytes(outline) == onnx_files.weight_bytes(two_weights())
    assert onnx_files.external_bytes(outline) == 0
    assert external_data_files(path) == ()
    np.testing.assert_array_equal(external_module.array_of(outline.graph.initializer[0], path), WEIGHTS)
    external_module.load_weights(outline, path)
    assert outline.SerializeToString(deterministic=True) == path.read_bytes()
    assert values(read_onnx(path)) == values(read_onnx(path, external_data=False)) == values(two_weights())


@pytest.mark.parametrize("of", ["loaded", "outline", "external"])
def test_the_bytes_are_those_of_protobuf_however_they_are_written(tmp_path, outlined, of):
    model = two_weights()
    onnx_files.tidy(model)
    expected = model.SerializeToString(deterministic=True)
    source = tmp_path / "source.onnx"
    source.write_bytes(expected)
    if of == "loaded":
        files = write_onnx(two_weights(), tmp_path / "m.onnx")
    elif of == "outline":
        files = write_onnx(read_outline(source), tmp_path / "m.onnx", weights_of=source)
    else:
        onnx.save_model(two_weights(), source, save_as_external_data=True, location="w", size_threshold=100)
        files = write_onnx(read_onnx(source, external_data=False), tmp_path / "m.onnx", weights_of=source)
    assert [file.name for file in files] == ["m.onnx"]
    assert sorted(p.name for p in tmp_path.glob("*m.onnx*")) == ["m.onnx"]
    assert files[0].read_bytes() == expected
    assert known_sha256(files[0]) == hashlib.sha256(expected).hexdigest()


def test_a_model_is_written_over_the_file_that_its_weights_come_from(tmp_path, outlined):
    path = write_onnx(two_weights(), tmp_path / "m.onnx")[0]
    outline = read_outline(path)
    outline.graph.node[0].name = "a name that moves all that comes after it"
    write_onnx(outline, path, weights_of=path)
    assert values(read_onnx(path)) == values(two_weights())
    assert read_onnx(path).graph.node[0].name.startswith("a name")
    assert [f.name for f in finish_onnx(path)] == ["m.onnx"]
    assert values(read_onnx(path)) == values(two_weights())


def test_writing_leaves_the_model_as_it_is(tmp_path, outlined):
    model = two_weights()
    onnx_files.tidy(model)
    before = model.SerializeToString(deterministic=True)
    write_onnx(model, tmp_path / "m.onnx")
    assert model.SerializeToString(deterministic=True) == before


def test_an_outline_becomes_external_data(tmp_path, outlined, large):
    path = tmp_path / "source.onnx"
    path.write_bytes(two_weights().SerializeToString())
    files = write_onnx(read_outline(path), tmp_path / "m.onnx", weights_of=path)
    assert [file.name for file in files] == ["m.onnx", "m.onnx.data"]
    assert values(read_onnx(files[0])) == values(two_weights())
    assert known_sha256(files[1]) == hashlib.sha256(files[1].read_bytes()).hexdigest()
    outline = read_outline(files[0])
    assert onnx_files.external_bytes(outline) == 5 * WEIGHTS.nbytes


def test_an_exporters_large_graph_with_external_data_keeps_both(tmp_path, outlined, monkeypatch):
    monkeypatch.setattr(onnx_files, "EXTERNAL_ABOVE", 3000)
    path = external(tmp_path)
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer.append(onnx.numpy_helper.from_array(-WEIGHTS, "w2"))
    path.write_bytes(model.SerializeToString())
    assert [f.name for f in finish_onnx(path)] == ["model.onnx", "model.onnx.data"]
    assert values(read_onnx(path)) == {"w": WEIGHTS.tolist(), "w2": (-WEIGHTS).tolist()}


def test_what_an_exporter_holds_is_asked_for_once(tmp_path, outlined):
    asked = []

    def held():
        asked.append("w")
        return memoryview(WEIGHTS.tobytes())

    model = mlp()
    external_module.refer(model.graph.initializer[0], external_module.ELSEWHERE, 0, WEIGHTS.nbytes)
    files = write_onnx(model, tmp_path / "m.onnx", weights_of={"w": held})
    assert asked == ["w"]
    assert values(read_onnx(files[0])) == {"w": WEIGHTS.tolist()}


@pytest.mark.parametrize("wrong", [-4, 4])
def test_held_weights_of_another_size_are_refused_and_leave_no_file(tmp_path, outlined, wrong):
    model = mlp()
    external_module.refer(model.graph.initializer[0], external_module.ELSEWHERE, 0, WEIGHTS.nbytes)
    with pytest.raises(ConversionFailed, match=f"'w' holds {2048 + wrong} bytes, and its shape and type need 2048"):
        write_onnx(model, tmp_path / "m.onnx", weights_of={"w": lambda: memoryview(bytes(2048 + wrong))})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [-4, 4])
def test_a_weight_of_the_wrong_size_is_refused_when_it_is_read(tmp_path, outlined, wrong):
    model = mlp()
    model.graph.initializer[0].raw_data = bytes(2048 + wrong)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ConversionFailed, match=f"'w' gives it {2048 + wrong} bytes, .* need 2048"):
        read_onnx(tmp_path / "m.onnx")


def test_an_outline_that_gets_out_is_no_model(tmp_path, outlined):
    path = write_onnx(mlp(), tmp_path / "m.onnx")[0]
    outline = read_outline(path)
    with pytest.raises(ConversionFailed, match="'w' was not loaded"):
        write_onnx(outline, tmp_path / "other.onnx")
    (tmp_path / "other.onnx").write_bytes(outline.SerializeToString())
    with pytest.raises(ConversionFailed, match="'w' has no usable location"):
        read_onnx(tmp_path / "other.onnx")
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(str(tmp_path / "other.onnx"))


def test_a_file_that_becomes_shorter_while_it_is_read_is_refused(tmp_path, outlined, monkeypatch):
    path = write_onnx(mlp(), tmp_path / "m.onnx")[0]
    parts = iter([path.read_bytes()[:100], b""])
    monkeypatch.setattr(splicing.os, "pread", lambda *where: next(parts))
    with pytest.raises(ConversionFailed, match="damaged"):
        read_onnx(path)


def test_an_invalid_model_of_large_weights_is_refused_and_leaves_no_file(tmp_path, outlined):
    model = mlp()
    model.graph.node[1].input[0] = "nowhere"
    with pytest.raises(ConversionFailed, match="nowhere"):
        write_onnx(model, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_linked_models_with_inline_weights_are_read(tmp_path, outlined):
    path = write_onnx(mlp(), tmp_path / "m.onnx")[0]
    os.link(path, tmp_path / "hard.onnx")
    (tmp_path / "soft.onnx").symlink_to(path)
    for link in ("hard.onnx", "soft.onnx"):
        assert values(read_onnx(tmp_path / link)) == {"w": WEIGHTS.tolist()}


PEAKS = """
import resource, sys
import numpy as np, onnx, onnx.parser
from pathlib import Path
from mlconvert.onnx_model.files import finish_onnx, read_onnx, read_outline, write_onnx

def peak():
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024

size, what, path = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
if what == "make":
    model = onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 18]> g (float[n] x) => (float[n] x) {}')
    for n in range(8):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.full(size // 32, n, np.float32), f"w{n}"))
    model.graph.node.append(onnx.helper.make_node("Add", ["x", "w0"], ["y"]))
    model.graph.output[0].name = "y"
    path.write_bytes(model.SerializeToString())
else:
    onnx.checker  # imported before the memory is counted
    model = read_onnx(path) if what == "write" else None
    before = peak()
    if what == "write":
        write_onnx(model, path.with_name("out.onnx"))
    else:
        {"read": read_onnx, "outline": read_outline, "finish": finish_onnx}[what](path)
    print((peak() - before) / size)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_near_the_weights(tmp_path):
    size = 64 << 20

    def growth(what):
        command = [sys.executable, "-c", PEAKS, str(size), what, str(tmp_path / "m.onnx")]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    growth("make")
    assert float(growth("outline")) < 0.1
    assert float(growth("read")) < 1.4  # the model and one tensor of eight
    assert float(growth("write")) < 0.4  # beyond the model itself
    assert float(growth("finish")) < 0.4


# --- finishing what an exporter wrote ---


@pytest.mark.parametrize("limit", [1000, 1 << 30])
@pytest.mark.parametrize("name", ["model.onnx.data", "weights.bin"])
def test_an_exporters_files_are_finished(tmp_path, monkeypatch, limit, name):
    monkeypatch.setattr(onnx_files, "EXTERNAL_ABOVE", limit)
    path = external(tmp_path, name)
    (tmp_path / name).chmod(0o600)
    inode = (tmp_path / name).stat().st_ino
    files = finish_onnx(path)
    expected = ["model.onnx", "model.onnx.data"] if limit == 1000 else ["model.onnx"]
    assert [f.name for f in files] == sorted(p.name for p in tmp_path.iterdir()) == expected
    assert len({stat.S_IMODE(f.stat().st_mode) for f in files}) == 1
    if limit == 1000:
        assert files[1].stat().st_ino == inode  # moved, not copied
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(read_onnx(path).graph.initializer[0]), WEIGHTS)


def test_several_data_files_become_one(tmp_path, large):
    path = external(tmp_path)
    model = onnx.load(path, load_external_data=False)
    second = model.graph.initializer.add()
    second.CopyFrom(onnx.numpy_helper.from_array(WEIGHTS * 2, "w2"))
    onnx.external_data_helper.set_external_data(second, "model.onnx.data", 0, WEIGHTS.nbytes)
    second.ClearField("raw_data")
    (tmp_path / "model.onnx.data").write_bytes((WEIGHTS * 2).tobytes())
    path.write_bytes(model.SerializeToString())
    assert [f.name for f in finish_onnx(path)] == ["model.onnx", "model.onnx.data"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    found = [onnx.numpy_helper.to_array(t) for t in read_onnx(path).graph.initializer]
    np.testing.assert_array_equal(found[0] * 2, found[1])


# --- artifacts ---


def test_an_artifact_knows_signature_files_and_versions(tmp_path, large):
    files = write_onnx(mlp(), tmp_path / "m.onnx")
    artifact = onnx_artifact(files[0], files, renamed={"a": "x"}, facts={"note": 1})
    assert (artifact.format, artifact.files, artifact.renamed) == ("onnx", files, {"a": "x"})
    assert str(artifact.signature.inputs[0]) == "x: float32[batch, 32]"
    assert artifact.facts == {"opsets": {"ai.onnx": 18}, "ir_version": 8, "note": 1}
    assert onnx_signature(read_onnx(files[0], external_data=False)) == artifact.signature


@pytest.mark.skipif(sys.platform != "linux", reason="byte order of the machine")
def test_the_same_model_is_the_same_bytes(tmp_path, large):
    one, other = (write_onnx(mlp(), tmp_path / name / "m.onnx") for name in _folders(tmp_path))
    assert [f.read_bytes() for f in one] == [f.read_bytes() for f in other]


def _folders(path):
    for name in ("a", "b"):
        (path / name).mkdir()
        yield name
