"""model_repository_agents: the checksum agent. Its sums are filled in when the version is published."""

from __future__ import annotations

from typing import Annotated

from mlconvert.repositories.triton.checksums import AGENT
from mlconvert.repositories.triton.description import Draft


def agents(
    draft: Draft,
    *,
    checksums: Annotated[
        bool, "have the server compare the MD5 sums of all versions' files before it loads (needs its checksum agent)"
    ] = False,
) -> None:
    if checksums:
        draft.config.model_repository_agents.agents.add().name = AGENT
