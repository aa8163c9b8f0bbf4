"""What a server is given to run with: a folder of backends, and an environment for the Python models in it.

Both are made in a scratch folder, of links: neither the server's own folder nor the user's environment is written to.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlconvert.serving.home import STUB, ServerHome, check_numpy, python_stub

STANDINS = Path(__file__).with_name("standins")
NUMPY_NAMES = Path(__file__).with_name("numpy_names.py")
LIMITS = "limits.json"  # beside a stand-in: what the release that it stands in for would refuse


def standins() -> tuple[str, ...]:
    """The backends that mlconvert has a stand-in for: models in Python that are as strict as the real one."""
    return tuple(sorted(place.name for place in STANDINS.iterdir() if (place / "model.py").is_file()))


def assemble_backends(
    home: ServerHome, into: Path, *, more: Path | None = None, limits: Mapping[str, Mapping[str, Any]] | None = None
) -> tuple[str, ...]:
    """Fill a folder with every backend that the server has, and a stand-in where it lacks one that we have.

    `more` is a folder of backends that comes before the server's own. `limits` (backend -> what its stand-in reads) is
    what the release that is stood in for can load. Returns the backends that are stand-ins. Raises MissingPackage when
    the Python backend cannot run here.
    """
    into.mkdir(parents=True)
    stub = python_stub(home)
    check_numpy(home)
    for folder in (*([more] if more else []), *home.backends):
        for place in sorted(folder.iterdir()):
            if place.is_dir() and not (into / place.name).exists():
                (into / place.name).mkdir()
                for file in place.iterdir():
                    if file.name.startswith("libtriton_"):
                        shutil.copyfile(file, into / place.name / file.name)  # the server refuses a link out of there
                    elif file.name not in (STUB, "__pycache__"):
                        (into / place.name / file.name).symlink_to(file.resolve())
    (into / "python").mkdir(exist_ok=True)
    copied = into / "python" / STUB
    shutil.copyfile(stub, copied)  # pip drops the bit that makes it a program
    copied.chmod(0o755)
    made = []
    for name in standins():
        if not (into / name / f"libtriton_{name}.so").exists() and not (into / name / "model.py").exists():
            shutil.copytree(
                STANDINS / name, into / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
            )
            (into / name / LIMITS).write_text(json.dumps(dict((limits or {}).get(name, {}))), "utf-8")
            made.append(name)
    return tuple(made)


def make_environment(home: ServerHome, folder: Path) -> dict[str, str]:
    """The server's environment: its libraries, and first on PATH a Python with the packages that are installed here.

    The stub takes its packages from the first python3 on PATH. The one that is made there has no packages of its own:
    it sees the server's numpy first, where the server needs one, then those of this interpreter.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    packages = next((folder / "lib").glob("python3*")) / "site-packages"
    seen = [str(home.numpy)] if home.numpy else []
    seen += [place for place in sys.path if Path(place).name in ("site-packages", "dist-packages")]
    lines = list(dict.fromkeys(seen))
    if home.numpy:
        shutil.copyfile(NUMPY_NAMES, packages / NUMPY_NAMES.name)
        lines.append(f"import {NUMPY_NAMES.stem}")
    (packages / "overlay.pth").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONHOME", "PYTHONPATH", "PYTHONWARNINGS", "VIRTUAL_ENV")
    }
    libraries = [*map(str, home.libraries), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    return {
        **environment,
        "PATH": os.pathsep.join([str(folder / "bin"), environment.get("PATH", os.defpath)]),
        "LD_LIBRARY_PATH": os.pathsep.join(libraries),
        "PYTHONNOUSERSITE": "1",
        "ORT_DISABLE_TELEMETRY": "1",
    }
