"""What a file is, by its bytes: a recogniser for every format, and words for what is none of them.

A recogniser takes a `Content` and returns True or False. It raises ConversionFailed when the file is certainly of its
format but damaged. No framework is imported, and no more is read than the answer needs. No two recognisers know the
same file, so that their order does not matter.
"""

from __future__ import annotations

import json
import mmap
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mlconvert.errors import ConversionFailed
from mlconvert.formats import treelite_layout
from mlconvert.formats.pickles import compression_of, outermost_class, read_pickle, starts_like_pickle, summarise
from mlconvert.formats.protobuf_wire import Outline, onnx_outline

HEAD = 4096

# Classes that have scikit-learn's estimator API: everything in these packages, and these modules of others.
_ESTIMATOR_PACKAGES = frozenset(("category_encoders", "imblearn", "sklearn", "sklego"))
_ESTIMATOR_MODULES = frozenset(("catboost.core", "lightgbm.sklearn", "xgboost.sklearn"))
_STATE_DICTS = frozenset(("builtins.dict", "collections.OrderedDict"))
_OLD_TORCH_MAGIC = (
    b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e"  # the number that torch.save wrote before 1.6
)
# What zipfile raises for damaged archives: offsets outside the file, names that are no text, features it lacks.
_ZIP_ERRORS = (zipfile.BadZipFile, EOFError, OSError, RuntimeError, ValueError, struct.error, zlib.error)


@dataclass(frozen=True)
class Content:
    """A file that is being recognised. What costs something is found once, when it is first asked for."""

    path: Path
    size: int
    head: bytes

    @staticmethod
    def of(path: Path) -> Content:
        """Raises OSError when the file cannot be read."""
        with path.open("rb") as stream:
            return Content(path, path.stat().st_size, stream.read(HEAD))

    @cached_property
    def tail(self) -> bytes:
        with self.path.open("rb") as stream:
            stream.seek(max(0, self.size - 64))
            return stream.read()

    @cached_property
    def is_zip(self) -> bool:
        return self.head.startswith(b"PK\x03\x04")

    @cached_property
    def zip_names(self) -> tuple[str, ...]:
        """The names in a zip archive; () for other files. Raises ConversionFailed for one without its directory."""
        if not self.is_zip:
            return ()
        try:
            with zipfile.ZipFile(self.path) as archive:
                members = archive.infolist()
        except _ZIP_ERRORS as error:
            raise damaged(self.path, f"the zip archive is truncated or damaged ({error})") from error
        # Without its own directory, zipfile takes that of an archive inside it: torch keeps some in its files.
        if members and min(member.header_offset for member in members) > 0:
            raise damaged(self.path, "the zip archive is truncated: its directory is missing")
        return tuple(member.filename for member in members)

    @cached_property
    def inner_names(self) -> frozenset[str]:
        """The zip's names below the one folder that torch puts everything into."""
        return frozenset(name.partition("/")[2] for name in self.zip_names)

    @cached_property
    def is_pickle(self) -> bool:
        if starts_like_pickle(self.head):
            # Protocols 0 and 1 have no mark, and text may begin as they do: only the end tells.
            return self.head[0] == 0x80 or read_pickle(self.path).complete
        return compression_of(self.head) not in (None, "lz4") and self.pickle_class is not None

    @cached_property
    def pickle_class(self) -> str | None:
        return outermost_class(self.path)

    @cached_property
    def torch_class(self) -> str | None:
        """The class of what torch.save wrote, in its zip archive or in the older row of pickles; else None."""
        if self.head[2:].startswith(_OLD_TORCH_MAGIC):
            with self.path.open("rb") as stream:
                # The magic number, the version and the machine come before the object.
                return summarise(stream, pickles=4).outermost
        if "data.pkl" not in self.inner_names or any(name.startswith("code/") for name in self.inner_names):
            return None
        member = next(name for name in self.zip_names if name.partition("/")[2] == "data.pkl")
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(member) as stream:
                return summarise(stream).outermost
        except _ZIP_ERRORS as error:
            raise damaged(self.path, f"{member} in the zip archive cannot be read ({error})") from error

    @cached_property
    def onnx_outline(self) -> Outline:
        return onnx_outline(self.path, named_onnx=self.path.suffix.lower() == ".onnx")


def damaged(path: Path, reason: str) -> ConversionFailed:
    return ConversionFailed(f"{path.name}: {reason}", where=str(path), hint="copy or export the file again")


# --- recognisers: a row of mlconvert.formats names one of these ---


def is_aotinductor(content: Content) -> bool:
    return not is_exported_program(content) and any(
        name.startswith("data/aotinductor/") for name in content.inner_names
    )


def is_catboost(content: Content) -> bool:
    if not content.head.startswith(b"CBM1"):
        return False
    promised = 8 + int.from_bytes(content.head[4:8], "little")
    if content.size < promised:
        raise damaged(content.path, f"the CatBoost model is truncated: {content.size} bytes of {promised}")
    return True


def is_ensemble(content: Content) -> bool:
    return b'"mlconvert.ensemble/' in content.head and _json_keys(content) >= {"schema", "steps", "models"}


def is_exported_program(content: Content) -> bool:
    # torch 2.6 and before wrote serialized_exported_program.json in the archive's root.
    return "serialized_exported_program.json" in content.zip_names or any(
        name.startswith("models/") and name.endswith(".json") for name in content.inner_names
    )


def is_keras(content: Content) -> bool:
    """True for a Keras model with its weights; raises ConversionFailed for one without them."""
    names = set(content.zip_names)
    if not {"config.json", "metadata.json"} <= names:
        return False
    # Large ones have their weights in several parts, `model.weights_00000.h5`, and a list of them.
    if not any(name.startswith("model.weights") for name in names):
        raise damaged(content.path, "the Keras model has no weights (model.weights.h5)")
    return True


def is_lightgbm(content: Content) -> bool:
    if re.match(rb"tree\r?\n(?:[^\n]*\n){0,3}?version=", content.head) is None:
        return False
    with content.path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data.rfind(b"\nend of trees") < 0:
            raise damaged(content.path, "the LightGBM model is truncated: 'end of trees' is missing")
    return True


def is_onnx(content: Content) -> bool:
    if not content.onnx_outline.onnx:
        return False
    if content.onnx_outline.damage:
        raise damaged(content.path, f"the ONNX model is {content.onnx_outline.damage}")
    return True


def is_other_pickle(content: Content) -> bool:
    return (content.is_pickle or content.torch_class is not None) and not (
        is_estimator_pickle(content) or is_state_dict(content) or is_statsmodels(content)
    )


def is_safetensors(content: Content) -> bool:
    length = int.from_bytes(content.head[:8], "little")
    if not 2 <= length <= 100 << 20 or content.head[8:9] != b"{":
        return False
    with content.path.open("rb") as stream:
        stream.seek(8)
        text = stream.read(length)
    try:
        header = json.loads(text)
        end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        if len(text) == length or b'"data_offsets"' not in text:
            return False
        raise damaged(content.path, "the safetensors file is truncated inside its header") from error
    if content.size != 8 + length + end:
        raise damaged(
            content.path, f"the safetensors file has {content.size} bytes, its header says {8 + length + end}"
        )
    return True


def is_sklearn(content: Content) -> bool:
    return "schema.json" in content.zip_names or is_estimator_pickle(content)


def is_estimator_pickle(content: Content) -> bool:
    """True for a pickle whose outermost class has scikit-learn's API; raises ConversionFailed for a truncated one."""
    if not content.is_pickle or content.pickle_class is None:
        return False
    module = content.pickle_class.rpartition(".")[0]
    if module.partition(".")[0] not in _ESTIMATOR_PACKAGES and module not in _ESTIMATOR_MODULES:
        return False
    return _is_whole_pickle(content)


def _is_whole_pickle(content: Content) -> bool:
    # The end of a pickle is a full stop; only a file that ends otherwise is read as a whole.
    whole = content.tail.endswith(b".") or compression_of(content.head) is not None
    if not whole and not read_pickle(content.path).complete:
        raise damaged(content.path, f"the pickle of {content.pickle_class} is truncated or damaged")
    return True


def is_state_dict(content: Content) -> bool:
    return content.torch_class in _STATE_DICTS


def is_statsmodels(content: Content) -> bool:
    """True for a pickle whose outermost class is statsmodels' own; raises ConversionFailed for a truncated one."""
    if not content.is_pickle or content.pickle_class is None or not content.pickle_class.startswith("statsmodels."):
        return False
    return _is_whole_pickle(content)


def is_torchscript(content: Content) -> bool:
    return "data.pkl" in content.inner_names and any(name.startswith("code/") for name in content.inner_names)


def is_treelite(content: Content) -> bool:
    """True for a checkpoint of treelite; of one in treelite 4's layout only if it is whole, else ConversionFailed."""
    version = treelite_layout.version_of(content.head)
    if version is None:
        return False
    if version[0] == treelite_layout.MAJOR:
        with content.path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                treelite_layout.read_layout(data)
            except ValueError as error:
                raise damaged(content.path, f"the treelite checkpoint is truncated or damaged: {error}") from error
    return True


def is_xgboost(content: Content) -> bool:
    # XGBoost sorts keys, so that the learner comes first; UBJSON gives the length of a key in one of several widths.
    text = re.match(rb'\s*\{\s*"(?:learner|Config)"\s*:', content.head) is not None
    binary = re.match(rb"\{(?:L.{8}|l.{4}|I.{2}|[iU].)learner\{", content.head, re.DOTALL) is not None
    if not text and not binary:
        return not is_json_of_others(content) and _json_keys(content) >= {"learner", "version"}
    if not content.tail.rstrip().endswith(b"}"):
        raise damaged(content.path, "the XGBoost model is truncated: its last bracket is missing")
    return True


def is_json_of_others(content: Content) -> bool:
    return _match(content, _JSON) is not None


def _json_keys(content: Content) -> set[str]:
    """The keys of a JSON object; an empty set for everything else."""
    if not content.head.lstrip().startswith(b"{") or b"\x00" in content.head:
        return set()
    try:
        value = json.loads(content.path.read_bytes())
    except (ValueError, RecursionError):
        return set()
    return set(value) if isinstance(value, dict) else set()


def never(content: Content) -> bool:  # noqa: ARG001 - a recogniser like the others
    """For formats that are not files."""
    return False


# --- words for everything else ---

_Sign = tuple[str, str]  # what the first bytes match, what that is

_JSON: tuple[_Sign, ...] = (
    (r'\s*\{\s*"name"\s*:\s*"tree"', "LightGBM's JSON dump; mlconvert reads the text file of Booster.save_model"),
    (
        r'\s*\{[^\0]{0,200}"(?:oblivious_trees|features_info|ctr_data)"',
        'a CatBoost model in JSON; save it with save_model("model.cbm")',
    ),
    (r'\s*\{[^\0]*"weight_map"', "the index of safetensors files in several parts"),
)
_BYTES: tuple[_Sign, ...] = (
    (r"version .*\noid sha256:", "a Git LFS pointer, not the file that it points to; fetch it with: git lfs pull"),
    (r"\s*<(?:!DOCTYPE html|!doctype html|html)", "a web page (was it downloaded without being logged in?)"),
    (r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<net\b", "an OpenVINO model"),
    (r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<PMML\b", "a PMML model"),
    (r"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras 2 wrote its models (.h5)"),
    (r"....TFL3", "a TensorFlow Lite model"),
    (r"(?:....\{.{0,4000})?(?:ftrt|ptrt)", "a TensorRT plan"),
    (r"GGUF|ggml|ggjt|lmgg", "a GGUF (llama.cpp) model"),
    (r"binf|bs64", "a model in XGBoost's old binary format; save it as .ubj with the XGBoost that wrote it"),
    (
        r".{0,400}?(?:reg|binary|multi|rank|survival|count):[a-z_:]+.{0,100}?(?:gbtree|gblinear|dart)",
        "a model in XGBoost's old binary format; save it as .ubj with the XGBoost that wrote it",
    ),
    (r"booster\[0\]", "XGBoost's text dump, which cannot be loaded; save the model as .ubj"),
    (r"7767517\n", "an ncnn model"),
    (r"\x93NUMPY", "a NumPy array (samples, not a model)"),
    (r"PAR1", "a Parquet table (samples, not a model)"),
    (r"\x7fELF", "a Linux program or shared library"),
    (r"MZ", "a Windows program or library"),
    (r"\x89PNG|\xff\xd8\xff|GIF8", "an image"),
    (r"%PDF", "a PDF document"),
    (r".{257}ustar", "a tar archive; unpack it first"),
    (r"\x04\x22\x4d\x18", "a file compressed with lz4, as joblib can; save it again with compress=('zlib', 3)"),
    (r"\x28\xb5\x2f\xfd", "a file compressed with zstd; decompress it first"),
)


def _match(content: Content, signs: tuple[_Sign, ...]) -> str | None:
    for pattern, words in signs:
        if re.match(pattern.encode("latin-1"), content.head, re.DOTALL):
            return words
    return None


def _zip_words(content: Content) -> str:
    names = set(content.zip_names)
    if {"config.json", "metadata.json"} <= names:
        return "a Keras model"
    if names and all(name.endswith(".npy") for name in names):
        return "NumPy arrays in an .npz (samples, not a model)"
    if "model.ini" in names:
        return "an H2O MOJO"
    if "MAR-INF/MANIFEST.json" in names:
        return "a TorchServe archive; the model is inside it"
    if "data.pkl" in content.inner_names:
        return "a file of torch.save"
    if "META-INF/MANIFEST.MF" in names:
        return "a jar that mlconvert did not make"
    return f"a zip archive that holds {', '.join(sorted(names)[:3]) or 'nothing'}"


def looks_like(path: Path) -> str:
    """What the file or folder looks like, in words for an error message: "a Keras model", "text that begins with …"."""
    if path.is_dir():
        return _folder_words(path)
    content = Content.of(path)
    if not content.head:
        return "an empty file"
    if content.is_zip:
        return _zip_words(content)
    words = _match(content, _BYTES) or _match(content, _JSON)
    if words:
        return words
    if content.is_pickle:
        return f"a pickle of {content.pickle_class}"
    compression = compression_of(content.head)
    if compression and compression != "zlib":
        return f"a file compressed with {compression}; decompress it first"
    return _text_words(content) or f"binary data that begins with {content.head[:8].hex(' ')}"


def _text_words(content: Content) -> str | None:
    try:
        # The head may end inside a character.
        text = content.head.decode("utf-8-sig", errors="strict" if content.size <= HEAD else "ignore")
    except UnicodeDecodeError:
        return None
    if not text.strip() or any(ord(char) < 32 and char not in "\t\n\r\f" for char in text) or "\x7f" in text:
        return None
    first = text.strip().splitlines()[0]
    shown = first if len(first) <= 40 else first[:39] + "…"
    return f"text that begins with '{shown}'"


def _folder_words(path: Path) -> str:
    names = {entry.name for entry in path.iterdir()}
    if "saved_model.pb" in names:
        return "a TensorFlow SavedModel" + (" of Keras" if "keras_metadata.pb" in names else "")
    if "MLmodel" in names:
        return "an MLflow model; the model is inside it"
    if "Manifest.json" in names and path.suffix == ".mlpackage":
        return "a Core ML model"
    if "config.json" in names and any(name.startswith(("model", "pytorch_model")) for name in names):
        return "a folder of the transformers library; hand it over as package.module:factory"
    if not names:
        return "an empty folder"
    return f"a folder that holds {', '.join(sorted(names)[:3])}" + (", …" if len(names) > 3 else "")
