"""Which versions are loaded: the configuration and the folders say what is wanted, a thread makes it so.

The order is that of the real server's AvailabilityPreservingPolicy: what is wanted no more goes when a wanted version
is available, or none is wanted at all; wanted ones are loaded one after the other, the newest first. Without
`--num_load_threads` that thread also sits through the retries of a version that does not load, and nothing else moves.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from mlconvert.serving.tf_serving.double import configuration, log
from mlconvert.serving.tf_serving.double.bundle import Bundle
from mlconvert.serving.tf_serving.double.configuration import Model
from mlconvert.serving.tf_serving.double.states import States, Version
from mlconvert.serving.tf_serving.double.status import Refused, invalid

MANAGE_SECONDS = 0.05
SETTLED = ("AVAILABLE", "END")

Loader = Callable[[str], Bundle]


class Manager:
    """`load` makes a bundle of a version's folder, warmed up, or raises Refused."""

    def __init__(self, flags: Mapping[str, Any], load: Loader) -> None:
        self._flags = flags
        self._load = load
        self._models: dict[str, Model] | None = None  # None: no configuration was taken yet
        self._config_lock = threading.Lock()  # a reload waits here for the one before it, however long that takes
        self._source_lock = threading.Lock()
        self._stop = threading.Event()
        self.states = States()
        self.load_counts: dict[tuple[str, str], int] = {}

    # --- configuration ---

    def configure(self, config: Any) -> None:
        """ServerCore::ReloadConfig; returns when the models that are new in it are available. Raises Refused."""
        with self._config_lock:
            self._configure(config)

    def _configure(self, config: Any) -> None:
        chosen = config.WhichOneof("config")
        if chosen == "custom_model_config":
            raise invalid("ModelServer does not yet support custom model config.")
        if chosen is None:
            if self._models is not None:
                raise Refused(
                    "FAILED_PRECONDITION",
                    "Cannot transition to requested config. It is only legal to transition from one ModelConfigList "
                    "to another.",
                )
            log.info("Taking no action for empty config.")
            return
        wanted = configuration.models(config)
        first = self._models is None
        known = set(self._models or ())
        self._assign_labels(wanted)
        log.info("Adding/updating models.")
        for name in wanted:
            log.info(f" (Re-)adding model: {name}")
        with self._source_lock:
            self._models = wanted
            for name in known - set(wanted):
                self._aspire(name, {})
        if first:
            for target in (self._manage, self._poll):
                threading.Thread(target=target, daemon=True).start()
        self._await(set(wanted) - known, first=first)
        log.info("Finished adding/updating models")

    def _assign_labels(self, wanted: Mapping[str, Model]) -> None:
        """A label may name a version that is available; with a flag, any that it does not move away from another."""
        with self.states.changed:
            for model in wanted.values():
                for label, number in sorted(model.labels.items()):
                    if not self._may_label(model.name, label, number):
                        raise Refused(
                            "FAILED_PRECONDITION",
                            f"Request to assign label to version {number} of model {model.name}, which is not "
                            "currently available for inference",
                        )
            self.states.labels = {model.name: model.labels for model in wanted.values() if model.labels}

    def _may_label(self, model: str, label: str, number: int) -> bool:
        version = self.states.versions.get((model, number))
        if version is not None and version.state == "AVAILABLE":
            return True
        if self._flags["force_allow_any_version_labels_for_unavailable_models"]:
            return True
        existing = (self.states.labels or {}).get(model, {}).get(label, number)
        return self._flags["allow_version_labels_for_unavailable_models"] and existing == number

    def _await(self, names: Collection[str], *, first: bool) -> None:
        """Wait until all wanted versions of new models are available; for ever, where a model's folder is missing."""
        with self.states.changed:
            while not self._stop.is_set():
                rows = {name: [one for one in self.states.of(name) if one.aspired] for name in names}
                if all(any(one.state == "AVAILABLE" for one in versions) for versions in rows.values()):
                    return
                if all(versions and all(one.state in SETTLED for one in versions) for versions in rows.values()):
                    break
                self.states.changed.wait(0.5)
        failed = [one for versions in rows.values() for one in versions[:1] if one.state != "AVAILABLE"]
        told = "".join(f"{{{one} due to error: {one.failure}}}, " for one in failed)
        what = "servable(s)" if first else "model(s)"
        raise Refused("UNKNOWN", f"{len(failed)} {what} did not become available: {{{told}}}")

    # --- what is wanted ---

    def _poll(self) -> None:
        seconds = self._flags["file_system_poll_wait_seconds"]
        while seconds >= 0 and not self._stop.is_set():
            self.poll_once()
            if seconds == 0:
                return
            self._stop.wait(seconds)

    def poll_once(self) -> None:
        with self._source_lock:
            try:
                wanted = {name: configuration.aspired(model) for name, model in (self._models or {}).items()}
            except (Refused, OSError) as error:
                # As in the real server: where one model's folder is missing, nothing is done for the others either.
                message = error.message if isinstance(error, Refused) else str(error)
                log.error(f"FileSystemStoragePathSource encountered a filesystem access error: {message}")
                return
            for name, versions in wanted.items():
                if not versions:
                    log.warning(
                        f"No versions of servable {name} found under base path {(self._models or {})[name].base_path}. "
                        "Did you forget to name your leaf directory as a number (eg. '/1/')?"
                    )
                self._aspire(name, versions)

    def _aspire(self, name: str, wanted: Mapping[int, str]) -> None:
        with self.states.changed:
            for version in self.states.of(name):
                version.aspired = version.number in wanted
            for number, path in wanted.items():
                known = self.states.versions.get((name, number))
                # What ended is loaded anew; what failed, once it was not wanted for a while.
                if known is None or (known.state == "END" and (known.failure is None or known.flushed)):
                    self.states.versions[name, number] = Version(name, number, path)
            for version in self.states.of(name):
                version.flushed = version.flushed or (version.state == "END" and not version.aspired)
            self.states.changed.notify_all()

    # --- what is done about it ---

    def _manage(self) -> None:
        while not self._stop.is_set():
            with self.states.changed:
                names = sorted({name for name, _ in self.states.versions})
                actions = [action for name in names if (action := self._next(self.states.of(name)))]
            for act, version in actions:
                if act == self._load_version and self._flags["num_load_threads"] > 0:
                    self.states.put(version, "LOADING")
                    threading.Thread(target=act, args=(version,), daemon=True).start()
                else:
                    act(version)
            if not actions:
                self._stop.wait(MANAGE_SECONDS)

    def _next(self, versions: list[Version]) -> tuple[Callable[[Version], None], Version] | None:
        """What is to be done for a model now; its versions come the newest first."""
        wanted = [one for one in versions if one.aspired and one.state != "END"]
        ready = any(one.state == "AVAILABLE" for one in wanted)
        replaceable = ready or not any(one.aspired for one in versions)
        for version in reversed(versions):
            if not version.aspired and version.state == "START":
                return self._forget, version
            if not version.aspired and version.state == "AVAILABLE" and replaceable:
                return self._unload, version
        for version in wanted:
            if version.state == "START":
                return self._load_version, version
        return None

    def _forget(self, version: Version) -> None:
        self.states.put(version, "END")

    def _load_version(self, version: Version) -> None:
        log.info(f"Approving load for servable version {version}")
        self.states.put(version, "LOADING")
        failure = None
        for attempt in range(self._flags["max_num_load_retries"] + 1):
            if attempt:
                log.error(f"Loading servable: {version} failed: {failure}")
                if not self._waited(version, self._flags["load_retry_interval_micros"] / 1e6):
                    break
            try:
                bundle = self._load(version.path)
            except Refused as error:
                failure = error
                self._count(version.path, "fail")
                continue
            except Exception as error:  # noqa: BLE001 - the thread has to go on, and the version has to say why not
                failure = Refused("INTERNAL", f"{type(error).__name__}: {error}")
                continue
            self._count(version.path, "success")
            with self.states.changed:
                version.bundle = bundle
                self.states.put(version, "AVAILABLE")
            log.info(f"Successfully loaded servable version {version}")
            return
        log.error(f"Servable load failure: {version} failed: {failure}")
        self.states.put(version, "END", failure)

    def _waited(self, version: Version, seconds: float) -> bool:
        """Wait before the next attempt; False when the version is not wanted any more."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and version.aspired:
            if self._stop.wait(min(0.05, seconds)):
                return False
        return version.aspired

    def _count(self, path: str, status: str) -> None:
        self.load_counts[path, status] = self.load_counts.get((path, status), 0) + 1

    def _unload(self, version: Version) -> None:
        log.info(f"Quiescing servable version {version}")
        self.states.put(version, "UNLOADING")
        threading.Thread(target=self._finish, args=(version,), daemon=True).start()

    def _finish(self, version: Version) -> None:
        with self.states.changed:
            while version.users:
                self.states.changed.wait(0.5)
            bundle, version.bundle = version.bundle, None
        bundle.close()
        log.info(f"Done unloading servable version {version}")
        self.states.put(version, "END")

    def stop(self) -> None:
        self._stop.set()
