"""Where a tritonserver is, what it brings, and how to get one.

Two kinds of folder are understood. NVIDIA's own container has `/opt/tritonserver` with `bin`, `lib` and `backends`.
The PyPI wheel nvidia-pytriton carries a whole server for Linux on x86-64: installed with `--no-deps --target FOLDER`
it is a folder of binaries of which nothing is ever imported here. Its Python stubs return empty outputs under numpy 2,
so that numpy 1.26 lies beside it, in `FOLDER/numpy1`, for what the server itself runs; and a pandas that takes that
numpy (3 does not).
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlconvert.errors import MissingPackage

ENVIRONMENT = "MLCONVERT_TRITONSERVER"
WHEEL = "nvidia-pytriton==0.7.0"
PACKAGES = ("numpy==1.26.4", "pandas==2.3.3", "pytz==2025.2")
NUMPY_FOLDER = "numpy1"
CONTAINER = Path("/opt/tritonserver")
STUB = "triton_python_backend_stub"

RELEASES = {
    "2.51": "24.10",
    "2.52": "24.11",
    "2.53": "24.12",
    "2.54": "25.01",
    "2.55": "25.02",
    "2.56": "25.03",
    "2.57": "25.04",
    "2.58": "25.05",
    "2.59": "25.06",
}
"""The server's own version -> the release that people know it by, where we know it too."""

WHEELS = {"0.7.0": "2.51"}
"""Version of nvidia-pytriton -> version of the server in it."""


@dataclass(frozen=True)
class ServerHome:
    """A tritonserver and what lies around it.

    `backends` are folders of backends, the first that has one wins. `libraries` is where the loader finds what the
    binary is linked to. `stubs` holds a stub of the Python backend for each version of Python (None: the one that lies
    in the backend's folder is used), `numpy` a folder with the numpy that the stub works with (None: any does).
    """

    folder: Path
    binary: Path
    backends: tuple[Path, ...]
    libraries: tuple[Path, ...] = ()
    stubs: Path | None = None
    numpy: Path | None = None
    version: str | None = None

    @property
    def release(self) -> str | None:
        """`24.10`; None where it does not say, or where nobody told us."""
        return RELEASES.get(".".join(self.version.split(".")[:2])) if self.version else None

    def backend_folder(self, name: str) -> Path | None:
        """The folder of a backend that this server brings itself, in C++ or in Python; None for one that it lacks."""
        for folder in self.backends:
            place = folder / name
            if (place / f"libtriton_{name}.so").is_file() or (place / "model.py").is_file():
                return place
        return None

    def has_backend(self, name: str) -> bool:
        return self.backend_folder(name) is not None


def default_folder() -> Path:
    """Where the commands of the hint install a server: in the user's own cache."""
    return Path.home() / ".cache" / "mlconvert" / "tritonserver"


def install_commands(folder: Path | None = None) -> tuple[str, ...]:
    """The two commands that install a server into a folder of its own."""
    place = str(folder or "~/.cache/mlconvert/tritonserver")
    pip = "pip install --no-deps --target"
    return (f"{pip} {place} {WHEEL}", f"{pip} {place}/{NUMPY_FOLDER} {' '.join(PACKAGES)}")


def has_wheel() -> bool:
    """Whether this machine can run what the wheel brings."""
    return sys.platform == "linux" and platform.machine() in ("x86_64", "AMD64")


def find_server(folder: Path | None = None) -> ServerHome:
    """The tritonserver in that folder, else the one of the environment, on PATH, in the container's or our own place.

    Raises MissingPackage, with the commands that install one, where there is none: a folder that was named and holds
    no server is an error, whatever else there is.
    """
    if folder is not None:
        return _required(folder, "--server")
    if named := os.environ.get(ENVIRONMENT):
        return _required(Path(named), ENVIRONMENT)
    for place in _places():
        home = _home_in(place)
        if home is not None:
            return home
    raise MissingPackage("there is no tritonserver here", hint=how_to_get_one())


def how_to_get_one(folder: Path | None = None) -> str:
    """One sentence for a hint."""
    if has_wheel():
        return " && ".join(install_commands(folder))
    return (
        f"the wheel {WHEEL} exists for Linux on x86-64 alone (this is {platform.system()} on {platform.machine()}); "
        "run this in NVIDIA's container, or check against a running server: mlconvert verify MODEL triton://HOST:PORT/NAME"
    )


def _places() -> Iterator[Path]:
    on_path = shutil.which("tritonserver")
    if on_path:
        yield Path(on_path).resolve().parent.parent
    yield CONTAINER
    yield default_folder()


def _required(folder: Path, said_by: str) -> ServerHome:
    home = _home_in(folder.absolute())
    if home is None:
        what = f"{folder}, named by {said_by}, holds no tritonserver"
        raise MissingPackage(what, where=str(folder), hint=how_to_get_one(folder))
    return home


def _home_in(folder: Path) -> ServerHome | None:
    """The server in a folder: of the wheel's layout, of the container's, or None."""
    for inner in (folder / "pytriton" / "tritonserver", folder):
        binary = inner / "bin" / "tritonserver"
        if not binary.is_file():
            continue
        root = inner.parent.parent if inner.parent.name == "pytriton" else inner
        # A backend that was put beside the wheel (out of a container, say) comes before the wheel's own.
        backends = [place for place in dict.fromkeys((root / "backends", inner / "backends")) if place.is_dir()]
        shared = (root / "nvidia_pytriton.libs", inner / "lib", inner / "lib64")
        stubs = inner / "python_backend_stubs"
        numpy = root / NUMPY_FOLDER
        return ServerHome(
            folder=root,
            binary=binary,
            backends=tuple(backends),
            libraries=tuple(place for place in shared if place.is_dir()),
            stubs=stubs if stubs.is_dir() else None,
            numpy=numpy if (numpy / "numpy").is_dir() else None,
            version=_version_of(root, inner),
        )
    return None


def _version_of(root: Path, inner: Path) -> str | None:
    told = inner / "TRITON_VERSION"
    if told.is_file():
        return told.read_text("utf-8").strip()
    for metadata in root.glob("nvidia_pytriton-*.dist-info"):
        return WHEELS.get(metadata.name.removeprefix("nvidia_pytriton-").removesuffix(".dist-info"))
    return None


# --- the Python backend ---


def python_stub(home: ServerHome) -> Path:
    """The stub of the Python backend for this interpreter.

    Raises MissingPackage when there is none: a stub is built for one version of Python, and runs what is installed
    for that version.
    """
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    backend = home.backend_folder("python")
    if home.stubs is not None:
        stub = home.stubs / here / STUB
        if stub.is_file():
            return stub
        known = ", ".join(sorted((place.name for place in home.stubs.iterdir()), key=_as_numbers)) or "none"
        what = f"the tritonserver in {home.folder} runs Python models with Python {known}, and this is Python {here}"
        raise MissingPackage(what, where=str(home.stubs), hint="run mlconvert with one of those versions of Python")
    stub = backend / STUB if backend else home.folder / "backends" / "python" / STUB
    if not stub.is_file():
        what = f"the tritonserver in {home.folder} has no Python backend, which runs the models here"
        raise MissingPackage(what, where=str(stub), hint=how_to_get_one())
    linked = _linked_python(stub)
    if linked not in (None, here):
        what = f"the tritonserver in {home.folder} runs Python models with Python {linked}, and this is Python {here}"
        raise MissingPackage(what, where=str(stub), hint=f"run mlconvert with Python {linked}")
    return stub


def _as_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _linked_python(stub: Path) -> str | None:
    """The version of the libpython that a stub asks the loader for."""
    found = re.search(rb"libpython(3\.\d+)\.so", stub.read_bytes())
    return found[1].decode() if found else None


def check_numpy(home: ServerHome) -> None:
    """Raise MissingPackage when the server's stub would return empty outputs with the numpy that it would get."""
    if home.stubs is None or home.numpy is not None:
        return  # a container's stub is of its own release, and knows numpy 2
    what = f"the Python stub of the tritonserver in {home.folder} needs {PACKAGES[0]} beside it, in {NUMPY_FOLDER}"
    raise MissingPackage(what, where=str(home.folder), hint=install_commands(home.folder)[1])
