"""What a repository needs of the server that serves it: read from the configurations, never guessed from names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlconvert import records
from mlconvert.deployment.names import checked_image, checked_name
from mlconvert.errors import RepositoryInvalid
from mlconvert.onnx_model.releases import TRITON, triton_runtime
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton.layout import model_names
from mlconvert.repositories.versions import plain_versions

IMAGE = "nvcr.io/nvidia/tritonserver:{release}-py3"
USER = 1000  # `triton-server` in NVIDIA's image: its build script makes the user, and checks that it has this number
HTTP, GRPC, METRICS = 8000, 8001, 8002
MOUNT = "/models"
REQUIREMENTS = "requirements.txt"  # in the version folder of a python model

_EXECUTABLE_TMP = ("torch_aoti", "python")  # these unpack compiled code into /tmp and load it from there


@dataclass(frozen=True)
class ServedModel:
    """A model as far as its server's surroundings go. `queue_delay_us` is how long its batcher makes requests wait."""

    name: str
    backend: str
    gpu: bool
    unpacks_code: bool
    queue_delay_us: int
    requirements: tuple[str, ...]
    version_compatible: bool = False  # an engine that brings its own runtime, which the server has to allow


@dataclass(frozen=True)
class Deployment:
    name: str
    repository: Path
    release: str
    image: str
    own_image: bool  # the user named it: nothing is built
    models: tuple[ServedModel, ...]

    @property
    def lint_release(self) -> str | None:
        return self.release

    @property
    def needs_gpu(self) -> bool:
        return any(model.gpu for model in self.models)

    @property
    def unpacks_code(self) -> bool:
        return any(model.unpacks_code for model in self.models)

    @property
    def version_compatible(self) -> bool:
        return any(model.version_compatible for model in self.models)

    @property
    def requirements(self) -> tuple[str, ...]:
        """Of all python models, each once."""
        return tuple(sorted({line for model in self.models for line in model.requirements}))

    @property
    def queue_delay_ms(self) -> int:
        return -(-max((model.queue_delay_us for model in self.models), default=0) // 1000)


def described(repository: Path, *, name: str | None, release: str | None, image: str | None) -> Deployment:
    """Read every configuration of a repository.

    Raises RepositoryInvalid (no models; a configuration that cannot be read; requirements that exclude each other),
    UsageError (a name that cannot be a host's, an unknown release, an image that is not pinned), MissingPackage.
    """
    if release is not None:
        triton_runtime(release)
    names = model_names(repository)
    if not names:
        raise RepositoryInvalid("the repository holds no model", where=str(repository), hint="mlconvert publish --help")
    models = tuple(_served(repository / model) for model in names)
    chosen = release or newest_release()
    _check_requirements(models, repository)
    return Deployment(
        name=checked_name(name, repository, example="triton"),
        repository=repository,
        release=chosen,
        image=checked_image(image) if image else IMAGE.format(release=chosen),
        own_image=image is not None,
        models=models,
    )


def newest_release() -> str:
    """The newest Triton release that is known: it reads all that the older ones read."""
    return max(TRITON)


def tied_to_a_release(models: Iterable[ServedModel]) -> list[str]:
    """The models whose files only load in the release that they were built for."""
    return [model.name for model in models if model.backend in ("tensorrt", "torch_aoti")]


def server_arguments(deployment: Deployment, *, exit_timeout: int) -> tuple[str, ...]:
    """The server's command line, the same for every target."""
    return (
        "tritonserver",
        f"--model-repository={MOUNT}",
        "--model-control-mode=explicit",
        *(f"--load-model={model.name}" for model in deployment.models),
        *(("--backend-config=tensorrt,version-compatible=true",) if deployment.version_compatible else ()),
        "--disable-auto-complete-config",
        "--strict-readiness=false",
        f"--exit-timeout-secs={exit_timeout}",
    )


def _served(folder: Path) -> ServedModel:
    path = folder / cfg.CONFIG
    if not path.is_file():
        raise RepositoryInvalid("the model has no config.pbtxt", where=str(folder))
    config = cfg.read(path)
    backend = config.backend or config.platform
    numbers = {version.number: version for version in plain_versions(folder)}
    live = sorted(cfg.live_versions(config, numbers))
    lines = (line for number in live for line in _requirements(numbers[number].path) if backend == "python")
    return ServedModel(
        name=folder.name,
        backend="torch_aoti" if config.platform == "torch_aoti" else backend,
        gpu=_needs_gpu(config),
        unpacks_code=config.platform in _EXECUTABLE_TMP or backend in _EXECUTABLE_TMP,
        queue_delay_us=int(config.dynamic_batching.max_queue_delay_microseconds),
        requirements=tuple(dict.fromkeys(lines)),
        version_compatible=any(_brings_a_runtime(numbers[number].path) for number in live),
    )


def _brings_a_runtime(version_folder: Path) -> bool:
    """Whether an engine there was built version-compatible, as its record says."""
    found = (records.find(plan) for plan in version_folder.glob("*.plan"))
    hardware = (record[0].get("facts", {}).get("hardware", {}) for record in found if record)
    return any("VERSION_COMPATIBLE" in told.get("flags", ()) for told in hardware)


def _needs_gpu(config: Any) -> bool:
    kinds = config.DESCRIPTOR.fields_by_name["instance_group"].message_type.enum_types_by_name["Kind"].values_by_number
    if "tensorrt" in (config.backend, config.platform.removesuffix("_plan")):
        return True
    if config.optimization.execution_accelerators.gpu_execution_accelerator:
        return True
    return any(kinds[group.kind].name == "KIND_GPU" or group.gpus for group in config.instance_group)


def _requirements(version_folder: Path) -> list[str]:
    """The pinned lines of a python model's requirements. Raises RepositoryInvalid for one that is not pinned."""
    from packaging.requirements import InvalidRequirement, Requirement

    path = version_folder / REQUIREMENTS
    found = []
    for text in path.read_text("utf-8").splitlines() if path.is_file() else ():
        line = text.partition("#")[0].strip()
        if not line:
            continue
        try:
            pinned = [specifier.operator in ("==", "===") for specifier in Requirement(line).specifier]
        except InvalidRequirement as error:
            raise RepositoryInvalid(f"'{line}' is not a requirement", where=str(path)) from error
        if pinned != [True] or "*" in line:
            what = f"'{line}' is not pinned to one version, so two builds of the image could differ"
            raise RepositoryInvalid(what, where=str(path), hint=f"write {line.split('>')[0].split('<')[0]}==VERSION")
        found.append(line)
    return found


def _check_requirements(models: Iterable[ServedModel], repository: Path) -> None:
    """All python models of a server share one Python: a package can be there in one version only."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    seen: dict[str, tuple[str, str]] = {}
    for model in models:
        for line in model.requirements:
            requirement = Requirement(line)
            name = canonicalize_name(requirement.name)
            other, asked = seen.setdefault(name, (model.name, str(requirement.specifier)))
            if asked != str(requirement.specifier):
                raise RepositoryInvalid(
                    f"'{other}' needs {name}{asked} and '{model.name}' needs {line}: one server has one of them",
                    where=str(repository),
                    hint="convert one of the two again in the other's environment, or serve them from two repositories",
                )
