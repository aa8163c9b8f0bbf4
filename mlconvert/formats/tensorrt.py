"""TensorRT's plans, told by their first bytes; what they take and give is nowhere in them for others to read."""

from __future__ import annotations

from mlconvert.errors import ConversionFailed
from mlconvert.formats.content import Content, damaged

MAGIC, OLD_MAGIC = b"ftrt", b"ptrt"  # since TensorRT 8.6, and before
LEAST = 32  # bytes of a header


def is_tensorrt(content: Content) -> bool:
    """True for a plan; raises ConversionFailed for one that is cut off or has something before it."""
    head = content.head
    if head.startswith((MAGIC, OLD_MAGIC)):
        # The old header's length is not known here; a plan of a few bytes is none all the same.
        promised = int.from_bytes(head[16:24], "little") if head.startswith(MAGIC) else LEAST
        if content.size < max(promised, LEAST):
            raise damaged(content.path, f"the TensorRT plan is truncated: {content.size} bytes of {promised}")
        return True
    # Ultralytics writes the length of a JSON text and the text before the plan: no server takes that.
    before = 4 + int.from_bytes(head[:4], "little")
    if head[4:5] == b"{" and before < content.size and head[before : before + 4] in (MAGIC, OLD_MAGIC):
        raise ConversionFailed(
            f"{content.path.name}: a TensorRT plan with {before} bytes of metadata before it, as Ultralytics writes it",
            where=str(content.path),
            hint=f"take them off: tail -c +{before + 1} {content.path.name} > model.plan",
        )
    return False
