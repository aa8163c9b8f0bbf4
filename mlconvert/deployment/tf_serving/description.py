"""What a repository of TensorFlow Serving needs of its server: read from its own files, never guessed from names."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mlconvert.deployment.names import checked_image, checked_name
from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.repositories.tf_serving import server_files
from mlconvert.repositories.tf_serving.layout import MOUNT, entries_in
from mlconvert.repositories.tf_serving.models_config import CONFIG, Entry
from mlconvert.serving.tf_serving.messages import parse_text

RELEASE = "2.21.0"  # that of the TensorFlow by which SavedModels are made and checked here
OLDEST = (2, 11)  # the first whose server is known to have all flags that are given
IMAGE = "tensorflow/serving:{release}"
USER = 1000  # the image has no user of its own, and would run as root; the server needs none
GRPC, REST = 8500, 8501
RETRY_SECONDS = 5  # of a load that failed; the server makes five more
BINARY = "tensorflow_model_server"  # started itself: the image's script would be in its place, and passes on no signal


@dataclass(frozen=True)
class Deployment:
    """`metrics` is the path of the metrics on the REST port, None where monitoring.config asks for none."""

    name: str
    repository: Path
    image: str
    own_image: bool  # the user named it
    models: tuple[str, ...]
    mount: str  # where the entries of models.config say that the repository is
    monitoring: bool
    metrics: str | None
    batching: bool

    @property
    def lint_release(self) -> None:
        """No rule depends on the server's release."""
        return None


def described(repository: Path, *, name: str | None, release: str | None, image: str | None) -> Deployment:
    """Read models.config and the files of the server beside it.

    Raises RepositoryInvalid (no models.config, no models, models outside the repository, a file that the server would
    not read), UsageError (a name that cannot be a host's, an unknown release, an image that is not pinned).
    """
    if release is not None and image is not None:
        raise UsageError(
            "--release names one of TensorFlow's own images, and --image another one", hint="leave one out"
        )
    tag = _checked_release(release) if release is not None else RELEASE
    if not (repository / CONFIG).is_file():
        raise RepositoryInvalid(
            f"there is no {CONFIG}, from which a server learns which models there are",
            where=str(repository),
            hint=f"mlconvert publish MODEL {repository} --to tf-serving --name NAME writes an entry for a model",
        )
    entries = entries_in(repository)
    if not entries:
        raise RepositoryInvalid(f"{CONFIG} names no model", where=str(repository), hint="mlconvert publish --help")
    metrics = _metrics(repository)
    return Deployment(
        name=checked_name(name, repository, example="tf-serving"),
        repository=repository,
        image=checked_image(image) if image else IMAGE.format(release=tag),
        own_image=image is not None,
        models=tuple(sorted(entries)),
        mount=_mount(repository, entries),
        monitoring=(repository / server_files.MONITORING).is_file(),
        metrics=metrics,
        batching=(repository / server_files.BATCHING).is_file(),
    )


def server_arguments(deployment: Deployment, *, cpus: float, poll_seconds: int, connection_s: int = 0) -> list[str]:
    """The server's command line, without its own name.

    `connection_s`: how long a gRPC connection may last before its client has to make another one; 0: for ever.
    """
    mount = deployment.mount
    found = [
        f"--port={GRPC}",
        f"--rest_api_port={REST}",
        f"--model_config_file={mount}/{CONFIG}",
        f"--model_config_file_poll_wait_seconds={poll_seconds}",
        "--allow_version_labels_for_unavailable_models=true",
        f"--tensorflow_session_parallelism={math.ceil(cpus)}",
        "--enable_grpc_healthcheck_service=true",
        "--num_load_threads=2",
        "--num_unload_threads=1",
        f"--load_retry_interval_micros={RETRY_SECONDS * 1_000_000}",
    ]
    if connection_s:
        found.append(f"--grpc_channel_arguments=grpc.max_connection_age_ms={connection_s * 1000}")
    if deployment.monitoring:
        found.append(f"--monitoring_config_file={mount}/{server_files.MONITORING}")
    if deployment.batching:
        found += ["--enable_batching=true", f"--batching_parameters_file={mount}/{server_files.BATCHING}"]
    return found


def arguments_note(deployment: Deployment, poll_seconds: int) -> str:
    """What the command line means, for the comment above it."""
    read = f"and again every {poll_seconds} s" if poll_seconds else "once"
    beside = [name for name, there in ((server_files.MONITORING, deployment.monitoring),) if there]
    beside += [server_files.BATCHING] if deployment.batching else []
    return (
        f"{CONFIG} is read when the server starts, {read}; new versions are looked for every second. "
        + (f"{' and '.join(beside)}: only when it starts. " if beside else "")
        + "The ports open when every model has a version that is loaded, and the server ends when one cannot be. "
        "Labels need their flag: at the start no version is loaded yet. The server would count the CPUs of the host, "
        "so it is told how many are its own. Its main thread would load models and try again for five minutes, in "
        "which no other model could come or go: threads of their own do that, and try again sooner."
    )


def _mount(repository: Path, entries: dict[str, Entry]) -> str:
    """The one folder in which all base paths are: that is where the container has to see the repository."""
    found: dict[str, str] = {}
    for name, entry in entries.items():
        if not entry.base_path.startswith("/"):
            raise RepositoryInvalid(
                f"'{name}' lies at {entry.base_path}, which a server without a way out of its network cannot reach",
                where=str(repository / CONFIG),
                hint=f"publish '{name}' with --set base_path={MOUNT}, or write {MOUNT}/{name}",
            )
        found.setdefault(str(PurePosixPath(entry.base_path).parent), name)
    if len(found) > 1:
        listed = " and ".join(f"'{name}' in {folder}" for folder, name in list(found.items())[:3])
        raise RepositoryInvalid(
            f"the base paths lie in {len(found)} folders ({listed}), and the container sees the repository in one",
            where=str(repository / CONFIG),
            hint=f"write base paths such as {MOUNT}/{next(iter(entries))}",
        )
    (mount,) = found
    if mount == "/" or re.search(r"[^A-Za-z0-9_./-]", mount):
        raise RepositoryInvalid(
            f"a repository cannot be mounted at {mount!r}",
            where=str(repository / CONFIG),
            hint=f"write base paths such as {MOUNT}/{next(iter(entries))}",
        )
    return mount


def _metrics(repository: Path) -> str | None:
    path = repository / server_files.MONITORING
    if not path.is_file():
        return None
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise RepositoryInvalid(f"{path.name} is not UTF-8 text", where=str(path), hint="write it again") from error
    config = parse_text(server_files.MESSAGES[path.name], text, where=str(path), what=f"a {path.name}")
    asked = config.prometheus_config
    return (asked.path or server_files.METRICS) if asked.enable else None


def _checked_release(release: str) -> str:
    found = re.fullmatch(r"([0-9]{1,3})\.([0-9]{1,3})\.[0-9]{1,3}", release)
    if found is None:
        raise UsageError(f"'{release}' is no release of TensorFlow Serving", hint=f"--release {RELEASE}")
    if (int(found[1]), int(found[2])) < OLDEST:
        raise UsageError(
            f"TensorFlow Serving {release} is older than {OLDEST[0]}.{OLDEST[1]}: it may lack flags that it is given",
            hint=f"--release {RELEASE}, or --image for an image of your own",
        )
    return release


def check_gpus(deployment: Deployment, gpus: int) -> None:
    """TensorFlow's image without a GPU would leave one idle. Raises UsageError."""
    if gpus < 0:
        raise UsageError("gpus: not a limit")
    if gpus and not deployment.own_image:
        raise UsageError(
            f"gpus={gpus}: {deployment.image} has no CUDA",
            hint=f"name an image that has: --image {deployment.image}-gpu",
        )
