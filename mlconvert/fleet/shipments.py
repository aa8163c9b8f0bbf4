"""A job's request with its files, made to travel: paths become names of files, and those digests in the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mlconvert import records
from mlconvert.converter import Converter, Runner, options_of, with_option_files
from mlconvert.ensembles.chain import FORMAT
from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.registry import registry

# Of each job that travels, the keys of its request that hold an artifact, and those that hold a file or folder (or
# None). A job that is not here stays where the run is.
ARTIFACTS: Mapping[str, str] = {
    "convert": "source",
    "reference": "source",
    "samples": "source",
    "split": "source",
    "verify": "candidate",
}
PATHS: Mapping[str, tuple[str, ...]] = {
    "convert": ("samples",),
    "reference": ("samples",),
    "samples": ("file",),
    "split": (),
    "verify": ("samples", "reference"),
}
OWN_CODE = ("sys_path", "cwd")  # what the request of a job has that runs the user's own modules


@dataclass(frozen=True)
class Shipment:
    """`request` has names relative to a folder for paths; `files` says what lies there: name -> sha256."""

    request: Mapping[str, Any]
    files: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Shipment:
        return Shipment(data["request"], data["files"])


def travels(request: Mapping[str, Any]) -> bool:
    """Whether a job can be done on another machine: it needs nothing but its files, and those are known."""
    if request["job"] not in ARTIFACTS or any(request.get(key) for key in OWN_CODE):
        return False
    artifact = request[ARTIFACTS[request["job"]]]
    return artifact["format"] != FORMAT and FORMAT not in artifact["facts"]


def pack(request: Mapping[str, Any], put: Callable[[Path], str]) -> Shipment:
    """The request made to travel. `put` keeps a file in the store and gives its digest."""
    files: dict[str, str] = {}
    count = 0

    def folder() -> str:
        nonlocal count
        count += 1
        return f"in/{count}"

    def pack_path(text: str) -> str:
        path, place = Path(text), folder()
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                if file.is_file():
                    files[f"{place}/{file.relative_to(path).as_posix()}"] = put(file)
            return place
        files[f"{place}/{path.name}"] = put(path)
        return f"{place}/{path.name}"

    def pack_artifact(artifact: Mapping[str, Any]) -> dict[str, Any]:
        main, place = Path(artifact["location"]), folder()
        base = main if main.is_dir() else main.parent
        names = []
        for file in map(Path, artifact["files"]):
            if not file.is_relative_to(base):
                what = f"{file} lies outside of the model's folder, so the model cannot travel"
                raise UsageError(what, where=str(main), hint="put the model's files into one folder")
            names.append(f"{place}/{file.relative_to(base).as_posix()}")
            files[names[-1]] = put(file)
        location = place if main.is_dir() else f"{place}/{main.name}"
        return {**artifact, "location": location, "files": names}

    def pack_file(text: str) -> str:
        """A file that an option names, with the record beside it and the files of that."""
        path, place = Path(text), folder()
        found = records.find(path)
        base = found[1].parent if found else path.parent
        more = [found[1], *(base / row["path"] for row in found[0]["files"])] if found else []
        for file in dict.fromkeys([path, *more]):
            files[f"{place}/{file.relative_to(base).as_posix()}"] = put(file)
        return f"{place}/{path.relative_to(base).as_posix()}"

    return Shipment(_moved(request, pack_path, pack_artifact, pack_file), files)


def unpack(shipment: Shipment, fetch: Callable[[str, Path], None], folder: Path) -> dict[str, Any]:
    """The request as it was, with the paths that its files have below the folder, where `fetch` copies them.

    Raises RepositoryInvalid for a name that leads out of the folder.
    """
    for name, sha256 in shipment.files.items():
        fetch(sha256, folder / inside(name))

    def unpack_path(name: str) -> str:
        path = folder / inside(name)
        if name not in shipment.files:
            path.mkdir(parents=True, exist_ok=True)  # a folder, which may be empty
        return str(path)

    def unpack_artifact(artifact: Mapping[str, Any]) -> dict[str, Any]:
        names = [str(folder / inside(name)) for name in artifact["files"]]
        return {**artifact, "location": unpack_path(artifact["location"]), "files": names}

    return _moved(shipment.request, unpack_path, unpack_artifact, unpack_path)


def _moved(
    request: Mapping[str, Any],
    path: Callable[[str], str],
    artifact: Callable[[Mapping[str, Any]], dict[str, Any]],
    file: Callable[[str], str],
) -> dict[str, Any]:
    job = request["job"]
    moved = dict(request)
    if job == "convert":
        known = options_of(registry().converter(request["converter"]).load())
        moved["options"] = with_option_files(known, request["options"], file)
    moved[ARTIFACTS[job]] = artifact(request[ARTIFACTS[job]])
    for key in PATHS[job]:
        moved[key] = path(request[key]) if request[key] is not None else None
    if (base := request.get("base")) is not None:
        moved["base"] = {**base, "folders": [path(name) for name in base["folders"]]}
    return moved


def inside(name: str) -> PurePosixPath:
    """A name as a path that stays below a folder. Raises RepositoryInvalid."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name or "\0" in name:
        raise RepositoryInvalid(f"{name!r} leads out of the folder that it belongs into")
    return path


def rows_of(request: Mapping[str, Any]) -> list[Converter | Runner]:
    """The converter and the runners that a job needs: their packages have to be of one version everywhere."""
    if request["job"] != "convert":
        return [registry().runner(request[ARTIFACTS[request["job"]]]["format"])]
    converter = registry().converter(request["converter"])
    return [converter, *(row for row in registry().runners if row.format == converter.target)]
