"""sklearn2pmml's converter, a Java program, run by itself: without the network, within limits, and not past its date.

sklearn2pmml 0.133.1 is under the AGPL-3.0. Its Java program refuses to run 360 days after it was built, and posts the
error and the environment to its maker when a conversion fails. Here its jar that posts is left out, and the program
has no network besides (mlconvert.readers.offline).
"""

from __future__ import annotations

import re
import tempfile
import warnings
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from mlconvert.errors import ConversionFailed, MissingPackage
from mlconvert.java import find_java
from mlconvert.packages import SKLEARN2PMML, require, version
from mlconvert.readers.jvm import check_limits, death, java_words, run_to_end
from mlconvert.readers.offline import offline

LICENSE = "AGPL-3.0 (sklearn2pmml)"
MINIMUM_JAVA = 11
DAYS = 360
PROGRAM = "com.sklearn2pmml.Main"
POSTS = "telemetry-client"

Seconds = Annotated[float, "time limit of the Java program; 0: none"]
MemoryMib = Annotated[int, "memory of the JVM, in MiB; 0: as Java chooses, a quarter of the machine's"]


def write_pmml(model: Any, target: Path, *, where: str, seconds: float, memory_mib: int) -> None:
    """Write a fitted PMMLPipeline as a PMML document.

    Raises MissingPackage without Java 11, or when sklearn2pmml is past its date; ConversionFailed, with its reason, for
    what it does not take; OutOfResources when a limit is passed, UsageError for a limit below 0.
    """
    check_limits(seconds, memory_mib)
    java = find_java(MINIMUM_JAVA)
    classpath = _classpath()
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".pmml-") as folder:
        pickled, made = Path(folder, "model.pkl"), Path(folder, "model.pmml")
        _dump(model, pickled)
        words = [*java_words(java, classpath, memory_mib=memory_mib), PROGRAM]
        words += ["--pkl-input", str(pickled), "--pmml-output", str(made)]
        done = run_to_end(offline(words), "sklearn2pmml", seconds=seconds)
        if done.returncode or not made.is_file():
            raise _failure(done.returncode, done.stdout + done.stderr, where)
        made.replace(target)


def pmml_pipeline(estimator: Any, fields: list[str], target: str) -> Any:
    """The estimator as sklearn2pmml takes it, with the names of its columns and of what it predicts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the packages that it looks for
        import sklearn2pmml
    return sklearn2pmml.make_pmml_pipeline(estimator, active_fields=fields, target_fields=[target])


def target_name(fields: Sequence[str]) -> str:
    """A name for what is predicted that none of the fields has."""
    name = "y"
    while name in fields:
        name += "_"
    return name


def _dump(model: Any, path: Path) -> None:
    import inspect

    import joblib

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import sklearn2pmml

        # What the package itself does to an estimator before it hands it to Java.
        escape = inspect.signature(sklearn2pmml.sklearn2pmml).parameters["escape_func"].default
        joblib.dump(escape(model, escape_func=escape), path, compress=0)


def _classpath() -> list[Path]:
    """The jars of the package without the one that posts; raises MissingPackage where they are past their date."""
    require([SKLEARN2PMML], "PMML")
    from sklearn2pmml import resources

    jars = [Path(jar) for jar in resources._package_classpath()]
    check_date(next((jar for jar in jars if jar.name.startswith("sklearn2pmml-")), None), datetime.now(UTC))
    return [jar for jar in jars if not jar.name.startswith(POSTS)]


def check_date(jar: Path | None, now: datetime) -> None:
    """Raise MissingPackage when the program in the jar would refuse to run at that time; one without a date passes."""
    if jar is None:
        return
    with zipfile.ZipFile(jar) as archive:
        manifest = archive.read("META-INF/MANIFEST.MF").decode("utf-8", errors="replace")
    found = re.search(r"^Build-Timestamp: *(\S+)", manifest, re.MULTILINE)
    built = datetime.fromisoformat(found[1]) if found else now
    if now - built > timedelta(days=DAYS):
        what = (
            f"sklearn2pmml {version(SKLEARN2PMML) or ''} has expired: it was built on {built:%Y-%m-%d}, "
            f"and refuses to convert {DAYS} days after that"
        )
        raise MissingPackage(what, hint="pip install --upgrade sklearn2pmml; PMML files made before keep working")


def _failure(status: int, said: str, where: str) -> Exception:
    if "has expired" in said:
        return MissingPackage("sklearn2pmml has expired", hint="pip install --upgrade sklearn2pmml")
    itself, _, _ = said.partition("\nException in thread")  # after that comes the lack of the jar that posts
    reasons = re.findall(r"^(?:[\w$]+\.)+\w*(?:Exception|Error): (.+)$", itself, re.MULTILINE)
    if not reasons:
        return death(status, said, "sklearn2pmml", where=where)
    advice = re.search(r"^Solution:\n\t(.+)$", said, re.MULTILINE)
    hint = f"{advice[1].rstrip('.')}; " if advice else ""
    told = dict.fromkeys(reason.rstrip(".") for reason in (reasons[0], reasons[-1]))  # and the cause of all
    what = f"sklearn2pmml does not take the model: {': '.join(told)}"
    return ConversionFailed(what, where=where, hint=f"{hint}another way to Java: --to jar")
