"""JPMML-Evaluator in a JVM of its own: a PMML document, or a jar that JPMML made of one, asked for rows.

jpmml-evaluator 0.16.0 is under the AGPL-3.0. It is a separate program here, spoken to through py4j over a socket of
this machine with a password; it ends with this process.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import subprocess
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mlconvert.errors import ConversionFailed, MlconvertError, ParityFailed
from mlconvert.java import Java, find_java
from mlconvert.packages import JPMML_EVALUATOR, PANDAS, PY4J, require
from mlconvert.readers.jvm import death, java_words, out_of_memory

if TYPE_CHECKING:
    import numpy as np

MINIMUM_JAVA = 11
LICENSE = "AGPL-3.0 (jpmml-evaluator)"
ENDING_SECONDS = 5.0  # a JVM that fails is given this long to say why


@dataclass(frozen=True)
class Field:
    """`dtype` is PMML's: double, float, integer, string, boolean. `categories` are the values of a categorical one."""

    name: str
    dtype: str
    categories: tuple[Any, ...] = ()


class Jvm:
    """A JVM with JPMML-Evaluator on its class path. It ends when this object is gone, or this process is."""

    def __init__(self, java: Java, what: str, *, memory_mib: int = 0) -> None:
        """`what` names the work in messages. Raises ConversionFailed or OutOfResources when it does not start."""
        require([JPMML_EVALUATOR, PY4J, PANDAS], "running PMML")
        from py4j.java_gateway import GatewayParameters, JavaGateway, find_jar_path

        logging.getLogger("py4j").setLevel(logging.CRITICAL)  # what it logs is raised, too
        jars = importlib.import_module("jpmml_evaluator")._package_classpath()
        words = java_words(java, [Path(find_jar_path()), *map(Path, jars)], memory_mib=memory_mib)
        # It says its port and a password, and ends when its standard input does.
        words += ["py4j.GatewayServer", "--die-on-broken-pipe", "--enable-auth", "0"]
        self.what = what
        log = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the JVM has ended
        self._log: IO[bytes] = log
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        weakref.finalize(self, _end, self.process, log)
        port, password = (self._line().decode().strip() for _ in range(2))
        if not (port.isdigit() and password):
            raise self.death(str(java.path), f"{port}\n{password}\n")
        parameters = GatewayParameters(port=int(port), auth_token=password, auto_convert=False)
        gateway = JavaGateway(gateway_parameters=parameters)
        weakref.finalize(self, gateway.close)  # before the process is ended: what is registered last comes first
        self.backend = importlib.import_module("jpmml_evaluator.py4j").Py4JBackend(gateway)

    @contextlib.contextmanager
    def asked(self, where: str) -> Iterator[None]:
        """Turn what goes wrong inside the JVM, or with it, into errors of ours."""
        from py4j.protocol import Py4JError, Py4JNetworkError

        failed: type[Exception] = importlib.import_module("jpmml_evaluator").JavaError
        try:
            yield
        except (Py4JNetworkError, ConnectionError) as error:
            raise self.death(where) from error
        except (failed, Py4JError) as error:
            if self.process.poll() is not None:
                raise self.death(where) from error
            thrown = getattr(error, "java_exception", None)
            reason = (str(thrown) if thrown is not None else str(error)).partition("\n")[0]
            exhausted = out_of_memory(0, reason, self.what)
            raise exhausted or ConversionFailed(f"{self.what}: {reason}", where=where) from error

    def death(self, where: str, before: str = "") -> MlconvertError:
        """Why it no longer answers; `before` is what it said already."""
        try:
            status = self.process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            return ConversionFailed(f"{self.what}: the JVM no longer answers", where=where)
        self._log.seek(0)
        assert self.process.stdout is not None
        said = self.process.stdout.read() + self._log.read()  # that its memory ended it says on stdout
        return death(status, before + said.decode("utf-8", "replace"), self.what, where=where)

    def _line(self) -> bytes:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


def _end(process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, log):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


class Evaluator:
    """A loaded model: `inputs`, `targets` and `probabilities` (names of output fields, in the order of the classes)."""

    def __init__(self, jvm: Jvm, wrapped: Any, where: str) -> None:
        self.jvm, self.where, self._wrapped = jvm, where, wrapped
        self.answered = 0  # rows, so far
        with jvm.asked(where):
            self.inputs = tuple(Field(field.getName(), field.getDataType()) for field in wrapped.getInputFields())
            self.targets = tuple(
                Field(field.getName(), field.getDataType(), _categories(field)) for field in wrapped.getTargetFields()
            )
            outputs = [field.getName() for field in wrapped.getOutputFields()]
        self.probabilities = tuple(name for name in outputs if name.startswith("probability"))

    def evaluate(self, columns: Mapping[str, np.ndarray]) -> Mapping[str, Sequence[Any]]:
        """The answers to rows, given as columns by the names of the input fields; NaN is a missing value.

        Raises ParityFailed, naming the row, for one that the model refuses: the model that it was made from answers.
        """
        import pandas as pd

        rows = len(next(iter(columns.values())))

        with self.jvm.asked(self.where):
            answers, errors = self._wrapped.evaluateAll(pd.DataFrame(dict(columns)), error_col=None)
        if errors is not None and (refused := errors.dropna()).size:
            row = self.answered + refused.index[0]
            raise ParityFailed(f"the evaluator refuses row {row} of the samples: {refused.iloc[0]}")
        self.answered += rows
        found: Mapping[str, Sequence[Any]] = answers
        return found


def _categories(field: Any) -> tuple[Any, ...]:
    listed = field.javaModelField.getCategories()
    return tuple(listed) if listed is not None else ()


def load_document(path: Path, *, memory_mib: int = 0) -> Evaluator:
    """A PMML document in a JVM. Raises MissingPackage without Java 11, ConversionFailed for what JPMML cannot read."""
    package = _package()
    jvm = Jvm(find_java(MINIMUM_JAVA), "JPMML-Evaluator", memory_mib=memory_mib)
    with jvm.asked(str(path)):
        return Evaluator(jvm, package.make_evaluator(path, backend=jvm.backend), str(path))


def load_transpiled(path: Path, *, memory_mib: int = 0) -> Evaluator:
    """A jar that JPMML's transpiler made, in a JVM; raises as `load_document`."""
    package = _package()
    jvm = Jvm(find_java(MINIMUM_JAVA), "JPMML-Evaluator", memory_mib=memory_mib)
    with jvm.asked(str(path)):
        new = jvm.backend.newObject
        builder = new("org.jpmml.evaluator.ServiceLoadingModelEvaluatorBuilder")
        builder.loadService(new("java.io.File", str(path)).toURI().toURL())
        return Evaluator(jvm, package.Evaluator(jvm.backend, builder.build()), str(path))


def _package() -> Any:
    require([JPMML_EVALUATOR, PY4J, PANDAS], "running PMML")
    return importlib.import_module("jpmml_evaluator")
