"""Accelerator types, as a recipe and a Ray cluster name them, and the products that are of a type.

Ray labels a node by the model in its GPU's product name: "NVIDIA A100-SXM4-40GB" is an A100
(https://docs.ray.io/en/latest/ray-core/scheduling/accelerators.html, accelerator types).
"""

from __future__ import annotations

import re


def is_of_type(product: str, kind: str) -> bool:
    """Whether a GPU with that product name is of that type: the type's words stand in the name, one after another."""
    words, wanted = _words(product), _words(kind)
    starts = range(len(words) - len(wanted) + 1)
    return bool(wanted) and any(words[start : start + len(wanted)] == wanted for start in starts)


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[\s-]+", text.upper()) if word]
