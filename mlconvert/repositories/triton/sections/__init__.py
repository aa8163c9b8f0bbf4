"""The sections of config.pbtxt that several backends share, a module each. They are called in `COMMON`'s order.

Options that are dictionaries have `{}` as their default: no section changes what it is given.
"""

from __future__ import annotations

from mlconvert.repositories.triton.description import Section
from mlconvert.repositories.triton.sections.agents import agents
from mlconvert.repositories.triton.sections.batching import dynamic_batching
from mlconvert.repositories.triton.sections.class_labels import class_labels
from mlconvert.repositories.triton.sections.instances import instances
from mlconvert.repositories.triton.sections.policies import policies
from mlconvert.repositories.triton.sections.sequences import sequence_batching
from mlconvert.repositories.triton.sections.tensors import tensors
from mlconvert.repositories.triton.sections.warmup import warmup

COMMON: tuple[Section, ...] = (
    tensors,
    sequence_batching,
    dynamic_batching,
    instances,
    policies,
    warmup,
    class_labels,
    agents,
)
