"""`python -m mlconvert`: the command line, where no script is installed."""

from __future__ import annotations

from mlconvert.cli import entry_point

if __name__ == "__main__":
    entry_point()
