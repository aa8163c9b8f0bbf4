"""Ensembles: what they may not have, and whether their steps fit each other and the models that they name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlconvert.errors import RepositoryInvalid
from mlconvert.repositories.findings import Finding
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton.ensembles import ensemble_flaws
from mlconvert.repositories.triton.lint import configuration, files, folders, graphs, scheduling, tensors, warmup
from mlconvert.repositories.triton.lint.model import ModelFolder, model_folder


def heading(model: ModelFolder) -> Iterator[Finding]:
    config = model.config
    if not model.is_ensemble:
        return
    if config.backend and config.platform == "ensemble":
        what = f"an ensemble has no backend, and this one has '{config.backend}'"
        yield model.error("ensemble-backend", "backend", what, f'remove backend: "{config.backend}"')
    if config.platform != "ensemble":
        what = "there are steps of an ensemble, and the platform is not 'ensemble'"
        yield model.error("ensemble-platform", "platform", what, 'write platform: "ensemble"')
    if not config.HasField("ensemble_scheduling") or not config.ensemble_scheduling.step:
        what = "an ensemble without steps"
        yield model.error("ensemble-steps", "ensemble_scheduling", what, "write a step for each model")
    for field in ("instance_group", "optimization", "model_warmup"):
        if any(listed.name == field for listed, _ in config.ListFields()):
            what = f"an ensemble has no {field}: its models have"
            yield model.error("ensemble-field", field, what, f"remove {field}")


def steps(model: ModelFolder) -> Iterator[Finding]:
    if not model.is_ensemble or not model.config.ensemble_scheduling.step:
        return
    found = [*_step_problems(model), *_tensor_problems(model)]
    yield from found
    if found:
        return
    circle = _circle(model)
    if circle:
        what = f"the ensemble contains itself: {' -> '.join(circle)}"
        yield model.error("ensemble-circle", "ensemble_scheduling", what, "take one of the steps out")
        return
    members = list(_members(model))
    yield from members
    if not members:
        for text in ensemble_flaws(model.repository, model.config):
            fix = "correct dims, data_type or max_batch_size here or in the member"
            yield model.error("ensemble-edge", "ensemble_scheduling", text, fix)


def _step_problems(model: ModelFolder) -> Iterator[Finding]:
    for number, step in enumerate(model.config.ensemble_scheduling.step):
        field = f"ensemble_scheduling step {number}"
        for needed in ("model_name", "input_map", "output_map"):
            if not getattr(step, needed):
                yield model.error("ensemble-map", field, f"there is no {needed}", f"write {needed} in step {number}")


def _tensor_problems(model: ModelFolder) -> Iterator[Finding]:
    config = model.config
    inputs, outputs = ({tensor.name for tensor in side} for side in (config.input, config.output))
    made: set[str] = set(inputs)
    taken: set[str] = set()
    for number, step in enumerate(config.ensemble_scheduling.step):
        taken |= set(step.input_map.values())
        for tensor in step.output_map.values():
            if tensor in made:
                field = f"ensemble_scheduling step {number} output_map"
                what = f"the tensor '{tensor}' is given twice"
                yield model.error("ensemble-map", field, what, f"give '{tensor}' of step {number} another name")
            made.add(tensor)
    field = "ensemble_scheduling"
    for tensor in sorted(taken - made):
        yield model.error("ensemble-map", field, f"nothing gives the tensor '{tensor}'", f"correct the name '{tensor}'")
    for tensor in sorted(inputs - taken):
        what = f"no step takes the input '{tensor}'"
        yield model.error("ensemble-map", f"input '{tensor}'", what, f'remove it, or map it: value: "{tensor}"')
    for tensor in sorted(outputs - (made - inputs)):
        what = f"no step gives the output '{tensor}'"
        yield model.error("ensemble-map", f"output '{tensor}'", what, f'remove it, or map it: value: "{tensor}"')
    if not _in_order(config, inputs):
        what = "the steps wait for each other in a circle"
        yield model.error("ensemble-circle", field, what, "let one of them take an input of the ensemble")


def _in_order(config: Any, inputs: set[str]) -> bool:
    """Whether there is an order in which each step has what it takes; tensors that nothing gives are told elsewhere."""
    steps = list(config.ensemble_scheduling.step)
    given = {tensor for step in steps for tensor in step.output_map.values()}
    there = set(inputs) | {t for step in steps for t in step.input_map.values() if t not in given}
    while steps:
        ready = [step for step in steps if set(step.input_map.values()) <= there]
        if not ready:
            return False
        there |= {tensor for step in ready for tensor in step.output_map.values()}
        steps = [step for step in steps if step not in ready]
    return True


def _circle(model: ModelFolder) -> list[str]:
    """The way from the ensemble back to itself through the ensembles among its steps; empty where there is none."""

    def walk(config: Any, way: list[str]) -> list[str]:
        for step in config.ensemble_scheduling.step:
            if step.model_name in way:
                return [*way[way.index(step.model_name) :], step.model_name]
            inner = _config(model, step.model_name)
            if inner is not None and inner.HasField("ensemble_scheduling"):
                found = walk(inner, [*way, step.model_name])
                if found:
                    return found
        return []

    return walk(model.config, [model.name])


def _config(model: ModelFolder, name: str) -> Any:
    try:
        return cfg.read(model.repository / name / cfg.CONFIG)
    except (OSError, RepositoryInvalid):
        return None


def _members(model: ModelFolder) -> Iterator[Finding]:
    for number, step in enumerate(model.config.ensemble_scheduling.step):
        field, name = f"ensemble_scheduling step {number}", step.model_name
        config = _config(model, name)
        if config is None:
            what = f"the model '{name}' is not in the repository, or its configuration cannot be read"
            fix = f"mlconvert publish ARTIFACT {model.repository} --to triton --name {name}"
            yield model.error("ensemble-member", f"{field} model_name", what, fix)
            continue
        member = model_folder(model.repository, name, config, model.release)
        if step.model_version > 0 and step.model_version not in member.live:
            what = f"version {step.model_version} of '{name}' is not served"
            yield model.error(
                "ensemble-version", f"{field} model_version", what, "write model_version: -1 for the newest"
            )
        if broken := _broken(member):
            what = f"the model '{name}' does not load: {broken}"
            yield model.error("ensemble-member", f"{field} model_name", what, f"correct {name} first")


def _broken(member: ModelFolder) -> str | None:
    """The first error of a member, an ensemble or not: circles were looked for before."""
    parts = (configuration, tensors, scheduling, warmup, folders, files, graphs)
    for rule in (*(rule for part in parts for rule in part.RULES), *RULES):
        for finding in rule(member):
            if finding.level == "error":
                return str(finding.message)
    return None


RULES = (heading, steps)
