"""The formats, how a source is recognised, and the artifact that it becomes.

Content decides: a suffix only chooses words. `--from` may choose between readings of one content (a pickle of the
user's own estimator class), never against it. Nothing here imports a framework, numpy or onnx, and nothing is loaded.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mlconvert.artifact import Artifact, combine_sha256, file_sha256
from mlconvert.errors import ConversionFailed, UsageError, suggest
from mlconvert.formats.content import Content, damaged, looks_like
from mlconvert.formats.factories import Factory, check_factory, module_file, parse_factory
from mlconvert.formats.jar import jar_files
from mlconvert.formats.locations import resolve
from mlconvert.formats.openvino import weights_of
from mlconvert.formats.protobuf_wire import WireError, external_locations
from mlconvert.formats.saved_model import saved_model_files
from mlconvert.formats.served_python import served_files
from mlconvert.packages import load_attribute
from mlconvert.serving.locations import SERVED, TF_SERVING, is_served, parse_served

__all__ = [
    "FORMATS",
    "Format",
    "format_named",
    "looks_like",
    "recognise",
    "resolve",
    "source_artifact",
    "source_sha256",
]


@dataclass(frozen=True)
class Format:
    """A kind of model file.

    `suffixes` are those that its files have, the usual one first; `filename` is what the file is called in a folder
    that mlconvert writes. `recogniser` names a function, `module:function`, that tells the format by a file's content
    (see mlconvert.formats.content). `hint` is what to do with a file from which mlconvert knows no way.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    filename: str
    recogniser: str
    hint: str = ""

    def recognises(self, content: Content) -> bool:
        module, _, function = self.recogniser.partition(":")
        result: bool = load_attribute(module, function)(content)
        return result


_WEIGHTS_HINT = "weights alone are no network; hand over what builds it: package.module:factory --weights {location}"

FORMATS: tuple[Format, ...] = (
    Format(
        "aotinductor",
        "an AOTInductor package",
        (".pt2",),
        "model.pt2",
        "mlconvert.formats.content:is_aotinductor",
        hint="native code cannot be converted back; start from the ExportedProgram that it was compiled from",
    ),
    Format("catboost", "a CatBoost model", (".cbm",), "model.cbm", "mlconvert.formats.content:is_catboost"),
    Format(
        "ensemble",
        "an ensemble",
        (),
        "ensemble.json",
        "mlconvert.formats.content:is_ensemble",
        hint="an ensemble is made by a recipe; verify or publish it as it is",
    ),
    Format(
        "exported-program",
        "a PyTorch ExportedProgram",
        (".pt2",),
        "model.pt2",
        "mlconvert.formats.content:is_exported_program",
    ),
    Format(
        "jar",
        "a jar of mlconvert's",
        (".jar",),
        "model.jar",
        "mlconvert.formats.jar:is_jar",
        hint="compiled code cannot be converted back; start from the model that the jar was made from",
    ),
    Format("keras", "a Keras model", (".keras",), "model.keras", "mlconvert.formats.content:is_keras"),
    Format("lightgbm", "a LightGBM model", (".txt",), "model.txt", "mlconvert.formats.content:is_lightgbm"),
    Format("onnx", "an ONNX model", (".onnx",), "model.onnx", "mlconvert.formats.content:is_onnx"),
    Format("openvino", "an OpenVINO model", (".xml",), "model.xml", "mlconvert.formats.openvino:is_openvino"),
    Format(
        "pickle",
        "a pickle",
        (".pkl", ".pickle", ".joblib"),
        "model.pkl",
        "mlconvert.formats.content:is_other_pickle",
        hint="it holds {outermost}; if that has scikit-learn's estimator API: --from sklearn --trust; "
        "if it is a PyTorch module: package.module:factory --weights FILE; if it is a Booster: save it with save_model",
    ),
    Format(
        "pmml",
        "a PMML document",
        (".pmml",),
        "model.pmml",
        "mlconvert.formats.pmml:is_pmml",
        hint="PMML is not converted further; start from the model that it was made from",
    ),
    Format(
        "safetensors",
        "weights in safetensors",
        (".safetensors",),
        "model.safetensors",
        "mlconvert.formats.content:is_safetensors",
        hint=_WEIGHTS_HINT,
    ),
    Format(
        "saved-model",
        "a TensorFlow SavedModel",
        (),
        "saved_model.pb",
        "mlconvert.formats.saved_model:is_saved_model",
    ),
    Format(
        "sklearn",
        "a scikit-learn estimator",
        (".skops", ".pkl", ".joblib", ".pickle"),
        "model.skops",
        "mlconvert.formats.content:is_sklearn",
    ),
    Format(
        "state-dict",
        "a PyTorch state_dict",
        (".pt", ".pth", ".bin"),
        "model.pt",
        "mlconvert.formats.content:is_state_dict",
        hint=_WEIGHTS_HINT,
    ),
    Format(
        "statsmodels",
        "fitted statsmodels results",
        (".pkl", ".pickle"),
        "model.pkl",
        "mlconvert.formats.content:is_statsmodels",
    ),
    Format(
        "tensorrt",
        "a TensorRT plan",
        (".plan", ".engine", ".trt"),
        "model.plan",
        "mlconvert.formats.tensorrt:is_tensorrt",
        hint="compiled code cannot be converted back; start from the ONNX model that the plan was built from",
    ),
    Format("tf-serving", "a model that TensorFlow Serving serves", (), "", "mlconvert.formats.content:never"),
    Format("tflite", "a TensorFlow Lite model", (".tflite",), "model.tflite", "mlconvert.formats.tflite:is_tflite"),
    Format("torch", "a PyTorch factory", (), "model.py", "mlconvert.formats.content:never"),
    Format(
        "torchscript", "a TorchScript module", (".pt", ".pth"), "model.pt", "mlconvert.formats.content:is_torchscript"
    ),
    Format(
        "treelite", "a treelite checkpoint", (".tl", ".bin"), "checkpoint.tl", "mlconvert.formats.content:is_treelite"
    ),
    Format("triton", "a model that a Triton server serves", (), "", "mlconvert.formats.content:never"),
    Format(
        "triton-python",
        "a model.py for Triton's python backend",
        (),
        "model.py",
        "mlconvert.formats.served_python:is_triton_python",
        hint="it is made to be served: mlconvert publish {location} REPOSITORY --to triton --name NAME",
    ),
    Format("xgboost", "an XGBoost model", (".json", ".ubj"), "model.ubj", "mlconvert.formats.content:is_xgboost"),
)


def format_named(name: str, formats: Iterable[Format] = FORMATS) -> Format:
    """The row of that name. Raises UsageError, with the nearest name and the list, when there is none."""
    rows = {row.name: row for row in formats}
    if name not in rows:
        raise UsageError(f"unknown format '{name}'.{suggest(name, rows)}", hint=f"formats: {', '.join(sorted(rows))}")
    return rows[name]


def hint_for(format_name: str, location: str, formats: Iterable[Format] = FORMATS) -> str | None:
    """What to do with a source of a format from which no route leads; None where there is nothing to say."""
    hint = format_named(format_name, formats).hint
    if "{outermost}" in hint:
        content = Content.of(Path(location))
        hint = hint.replace("{outermost}", content.torch_class or content.pickle_class or "an unknown object")
    return hint.replace("{location}", location) or None


# --- recognising ---


def recognise(location: str, *, format: str | None = None, formats: Iterable[Format] = FORMATS) -> str:  # noqa: A002
    """The name of the format of a file, a folder with one model, or `package.module:factory` (`path/file.py:factory`).

    A file that exists wins over a factory of the same spelling. `format` is what the user says it is (`--from`).
    Raises UsageError when there is no such file, when it is empty, of no known format, or of another than `format`, and
    ConversionFailed when it is of a known format but damaged.
    """
    formats = tuple(formats)
    wanted = format_named(format, formats) if format is not None else None
    if is_served(location):
        found = parse_served(location).kind.format
        if wanted and wanted.name != found:
            raise UsageError(f"'{location}' is a server's model ({found}), not {wanted.name}", where=location)
        return found
    if parse_factory(location):
        if wanted and wanted.name != "torch":
            raise UsageError(f"'{location}' names a Python factory, which is torch, not {wanted.name}", where=location)
        return "torch"
    if wanted and wanted.name == "torch":
        raise UsageError(
            f"'{location}' is not a factory",
            where=location,
            hint="a PyTorch source is package.module:factory or path/file.py:factory",
        )
    path = resolve(location)
    content = _content(path, wanted)
    # The format that the user names is asked first, so that a damaged file is judged as what it should be.
    for row in sorted(formats, key=lambda row: row is not wanted):
        if row.recognises(content):
            return _agreed(row, wanted, path)
    raise _unknown(path, wanted, formats)


def _content(path: Path, wanted: Format | None) -> Content:
    if path.is_dir():
        what = f", not {wanted.title}" if wanted else "; mlconvert cannot read it yet"
        raise UsageError(f"{path} is {looks_like(path)}{what}", where=str(path))
    try:
        content = Content.of(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", where=str(path)) from error
    if not content.head:
        raise UsageError(f"{path} is empty", where=str(path), hint="copy or export the file again")
    return content


def _agreed(found: Format, wanted: Format | None, path: Path) -> str:
    if wanted is None or wanted is found:
        return found.name
    # An estimator class of the user's own, or one that derives from scikit-learn's, shows nothing of that in its name.
    if (found.name, wanted.name) in (("pickle", "sklearn"), ("sklearn", "pickle")):
        return wanted.name
    raise UsageError(
        f"{path} is {found.title} ({found.name}), not {wanted.title} ({wanted.name})",
        where=str(path),
        hint=f"leave out --from, or give it as --from {found.name}",
    )


def _unknown(path: Path, wanted: Format | None, formats: Iterable[Format]) -> UsageError:
    words = looks_like(path)
    named = wanted or next((row for row in formats if path.suffix.lower() in row.suffixes), None)
    if named and wanted:
        message = f"{path} is not {named.title}: it looks like {words}"
    elif named:
        message = f"{path} is not {named.title}, as its name says: it looks like {words}"
    else:
        message = f"{path} is {words}; mlconvert cannot read that" + ("" if words.startswith("text") else " yet")
    known = ", ".join(sorted(row.name for row in formats if not row.hint))
    return UsageError(message, where=str(path), hint=f"formats that mlconvert reads: {known}")


# --- the artifact of a source ---


def source_artifact(
    location: str,
    *,
    format: str | None = None,  # noqa: A002
    weights: str | None = None,
    trusted: bool = False,
    formats: Iterable[Format] = FORMATS,
) -> Artifact:
    """The artifact that a user's source is: its format, its absolute place, and all files that belong to it.

    Files: the main file first, then external data; of a factory its weights alone. Raises what `recognise` raises,
    UsageError for a factory that is not there or weights that are none, and ConversionFailed for external data that
    are missing or lie outside the model's folder.
    """
    name = recognise(location, format=format, formats=formats)
    if name in SERVED:
        if weights is not None:
            raise UsageError(f"--weights is for a factory, and {location} is a server's model", where=location)
        return Artifact(name, str(parse_served(location)), ())
    factory = parse_factory(location)
    if factory:
        check_factory(factory)
        given = (_weights_file(weights),) if weights is not None else ()
        return Artifact("torch", factory.absolute, given, trusted=trusted)
    if weights is not None:
        raise UsageError(f"--weights is for a factory, and {location} is {name}", where=location)
    path = resolve(location).absolute()
    return Artifact(name, str(path), _files_of(name, path), trusted=trusted)


def _files_of(name: str, path: Path) -> tuple[Path, ...]:
    if name == "openvino":
        return (path, weights_of(path))
    if name == "jar":
        return jar_files(path)
    if name == "onnx":
        return (path, *external_files(path))
    if name == "saved-model":
        return saved_model_files(path)
    return served_files(path) if name == "triton-python" else (path,)


def _weights_file(weights: str) -> Path:
    found = recognise(weights)
    if found not in ("safetensors", "state-dict"):
        raise UsageError(
            f"--weights {weights} is {format_named(found).title}",
            where=weights,
            hint="weights are a .safetensors file, or a state_dict written by torch.save",
        )
    return resolve(weights).absolute()


def external_files(path: Path) -> list[Path]:
    """The external data of an ONNX file, read from its bytes without importing onnx.

    Raises ConversionFailed for a damaged file, and for data that are missing or lie outside the model's folder.
    """
    try:
        locations = external_locations(path)
    except WireError as error:
        raise damaged(path, f"the ONNX model is damaged: {error}") from error
    except OSError as error:
        raise ConversionFailed(f"{path} cannot be read: {error.strerror}", where=str(path)) from error
    folder = path.parent.resolve()
    files = []
    for location in locations:
        file = path.parent / location
        # The real place counts, or a link in the folder would hand over any file of the machine.
        if "\0" in location or not file.resolve().is_relative_to(folder) or file.resolve() == folder:
            raise ConversionFailed(
                f"{path.name} refers to external data outside its folder: '{location}'",
                where=str(path),
                hint="an ONNX model may only use files in its own folder; do not use this file unless you made it",
            )
        if not file.is_file():
            raise ConversionFailed(
                f"{path.name} needs the external data file '{location}', which is not there",
                where=str(path),
                hint=f"copy {location} beside {path.name}",
            )
        files.append(file)
    return files


def source_sha256(artifact: Artifact) -> str:
    """The SHA-256 of all that a source consists of.

    Of a factory: its spelling, its weights and the file of its module. Modules that this one imports are not part of
    it. Of a server's model, whose files are the server's own: what the server says of it, its configuration and its
    metadata. Raises UsageError when the factory's module cannot be found, RepositoryInvalid when the server does not
    serve the model.
    """
    if artifact.format in SERVED:
        return _told_sha256(artifact.location)
    pairs = [(_relative(file, artifact), file_sha256(file)) for file in artifact.files]
    factory = parse_factory(artifact.location) if artifact.format == "torch" else None
    if factory:
        spelling = hashlib.sha256(_spelling(factory).encode()).hexdigest()
        pairs += [("factory", spelling), ("module", file_sha256(module_file(factory)))]
    return combine_sha256(pairs)


def _told_sha256(location: str) -> str:
    place = parse_served(location)
    if place.kind is TF_SERVING:
        from mlconvert.serving.tf_serving.described import described_sha256

        return described_sha256(place)
    from mlconvert.serving.client import connect
    from mlconvert.serving.described import describe

    with contextlib.closing(connect(place.url)) as client:
        return describe(client, place).sha256


def _relative(file: Path, artifact: Artifact) -> str:
    if artifact.format == "torch":
        return f"weights {file.name}"
    return file.relative_to(artifact.folder).as_posix() if file.is_relative_to(artifact.folder) else file.name


def _spelling(factory: Factory) -> str:
    # Without the machine's folders, so that a checkout elsewhere has the same digest.
    return f"{factory.file.name if factory.file else factory.module}:{factory.function}"
