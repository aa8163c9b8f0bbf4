"""The packages that a served model needs, pinned to the versions that it was proven with."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable

from mlconvert.errors import ConversionFailed


def pinned(modules: Iterable[str], where: str) -> tuple[str, ...]:
    """`name==version` of the distributions that the modules come from, sorted; Python's own modules need none.

    A version's local part (torch 2.13.0+cpu) is left out: package indexes do not have it. Raises ConversionFailed for
    a module that no installed package brings: the server would not have it either.
    """
    from importlib import metadata

    tops = {module.partition(".")[0] for module in modules} - set(sys.stdlib_module_names) - {"builtins"}
    brought_by = metadata.packages_distributions()
    found = set()
    for top in sorted(tops):
        if top not in brought_by:
            what = f"the model needs the module '{top}', which is of no installed package: no server could install it"
            if top == "__main__":
                what = "the model needs what a script defined (__main__), which no other process has"
            raise ConversionFailed(what, where=where, hint="make it a package, install it, and save the model again")
        name = min(brought_by[top], key=lambda name: (name.lower().replace("-", "_") != top.lower(), name))
        found.add(f"{name}=={metadata.version(name).partition('+')[0]}")
    return tuple(sorted(found, key=str.lower))


def as_text(requirements: Iterable[str], model_file: str) -> str:
    """requirements.txt, the same for the same list."""
    head = f"# What model.py and {model_file} need, as they were proven with. Python {platform.python_version()}.\n"
    return head + "".join(f"{line}\n" for line in requirements)
