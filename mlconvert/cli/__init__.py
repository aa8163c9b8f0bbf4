"""The command line: thin commands over the library, and the one place where errors are rendered."""

from __future__ import annotations

import sys


def entry_point() -> None:
    """What the `mlconvert` command runs."""
    sys.exit(main(sys.argv[1:]))


def main(argv: list[str]) -> int:
    """Run one command line and return its exit code; errors are printed to stderr, with what mends them."""
    from mlconvert.cli.app import run

    return run(argv)
