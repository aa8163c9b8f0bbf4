"""A fitted estimator's methods as parts of a graph: who writes which class, on what, and where in the estimator.

Every class of scikit-learn that is written here has a function in a table, its *writer*. It is called with the fitted
part, the name of the method whose answer is wanted (`predict`, `predict_proba`, `decision_function` or `transform`)
and the columns that the part is given, and returns what the method would, in the same shape. A writer that needs the
answer of another part asks `Build.answer` for it, as the estimator itself would call the part's method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Integral
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.pipelines.graph import FLOATS, Graph, Tensor

if TYPE_CHECKING:
    from mlconvert.forests.model import Float

Answer = TypeVar("Answer")
Method = str
Columns = tuple[Tensor, ...]
"""What a part is given: tensors [N, width], each of a type of its own, side by side."""

Writer = Callable[["Build", Any, Method, Columns], "Tensor | Columns"]


@dataclass(eq=False)
class Build:
    """A graph, and the part of the estimator that is being written into it."""

    graph: Graph
    writers: Mapping[str, Writer]  # by the class's name
    otherwise: Writer
    where: str  # the file
    names: Mapping[str, str] = field(default_factory=dict)  # of inputs, tensor -> column, for messages
    place: tuple[str, ...] = ()
    rounding: list[str] = field(default_factory=list)  # why answers are float32 numbers
    _known: dict[tuple[object, ...], Any] = field(default_factory=dict)
    _kept: list[Any] = field(default_factory=list)  # parts whose id is a key: they must not make room for others

    @property
    def floats(self) -> Float:
        return self.graph.floats

    # --- parts ---

    def answer(self, part: Any, method: Method, given: Columns | Tensor, step: str = "") -> Tensor:
        """What a part's method answers, as one tensor. `step` is what the part is called in the one that holds it."""
        answers = self.columns(part, method, given, step)
        return answers[0] if len(answers) == 1 else self.matrix(answers)

    def columns(self, part: Any, method: Method, given: Columns | Tensor, step: str = "") -> Columns:
        """As `answer`, where columns of several types may come out of a transformation."""
        columns = (given,) if isinstance(given, Tensor) else given

        def write() -> Columns:
            self._check_features(part, columns)
            writer = self.writers.get(type(part).__name__) if is_stock(part) else None
            answers = (writer or self.otherwise)(self, part, method, columns)
            return (answers,) if isinstance(answers, Tensor) else answers

        with self.at(step, type(part).__name__):
            return self.once(part, method, columns, write)

    def once(self, part: Any, what: str, given: Columns, write: Callable[[], Answer]) -> Answer:
        """What `write` gives, or what it gave when the same was asked of the same part for the same columns."""
        key = (id(part), what, *(tensor.name for tensor in given))
        if key not in self._known:
            self._known[key] = write()
            self._kept.append(part)
        found: Answer = self._known[key]
        return found

    def rounds(self, reason: str) -> None:
        """Note that a part's answers are float32 numbers, in the library too."""
        self.rounding.append(f"{self.here}: {reason}")

    @contextmanager
    def at(self, *names: str) -> Iterator[None]:
        """Messages are about the part with these names, inside the present one."""
        before = self.place
        self.place = (*before, *(name for name in names if name))
        try:
            yield
        finally:
            self.place = before

    def refused(self, reason: str, hint: str | None = None) -> ConversionFailed:
        """The error for the present part: `reason` is what of it cannot be converted exactly."""
        return ConversionFailed(f"{self.here}: {reason}", where=self.where, hint=hint)

    def refused_method(self, method: Method) -> ConversionFailed:
        return self.refused(f"its {method} has no ONNX form here")

    @property
    def here(self) -> str:
        """The place of the present part: `ColumnTransformer > text > HashingVectorizer`."""
        return " > ".join(self.place)

    def _check_features(self, part: Any, given: Columns) -> None:
        wanted = getattr(part, "n_features_in_", None)
        width = sum(tensor.width or 0 for tensor in given)
        if isinstance(wanted, Integral) and width and wanted != width and is_stock(part):
            what = f"{self.here} takes {wanted} features, and is given {width}"
            raise ConversionFailed(what, where=self.where)

    # --- columns ---

    def matrix(self, given: Columns | Tensor, *, dtype: str | None = None) -> Tensor:
        """The columns as one matrix of floats (or of `dtype`). Raises UsageError for a column of text."""
        given = (given,) if isinstance(given, Tensor) else given
        for tensor in given:
            if tensor.dtype == "string" and dtype != "string":
                raise self.wrong_type(tensor, "holds text", "takes numbers")
            if tensor.dtype != "string" and dtype == "string":
                raise self.wrong_type(tensor, "holds numbers", "takes text")
        kept = {tensor.dtype for tensor in given}
        if dtype is None and len(kept) == 1 and kept <= set(FLOATS):
            return self.graph.concat(given)
        return self.graph.concat([tensor.cast(dtype or self.floats) for tensor in given])  # type: ignore[arg-type]

    def numbers(self, given: Columns | Tensor) -> Tensor:
        """The columns as one matrix of the graph's own floats."""
        return self.matrix(given, dtype=self.floats)

    def each(self, given: Columns) -> list[Tensor]:
        """The columns one by one, [N, 1] each."""
        return [tensor.columns([index]) for tensor in given for index in range(tensor.width or 0)]

    def take(self, given: Columns, which: Iterable[int]) -> Columns:
        """The columns with these numbers; neighbours that come from one tensor stay together."""
        owner = [(tensor, index) for tensor in given for index in range(tensor.width or 0)]
        groups: list[tuple[Tensor, list[int]]] = []
        for tensor, index in (owner[number] for number in which):
            if groups and groups[-1][0] is tensor:
                groups[-1][1].append(index)
            else:
                groups.append((tensor, [index]))
        return tuple(tensor.columns(indices) for tensor, indices in groups)

    def wrong_type(self, tensor: Tensor, holds: str, takes: str) -> UsageError:
        """The error for a column that holds something else than the present part was fitted on."""
        name = self.names.get(tensor.name)
        shown = f"the column '{name}'" if name else "a column"
        what = f"{shown} {holds}, and {self.here} {takes}"
        return UsageError(what, where=self.where, hint="give samples of the types that the model was fitted on")

    def need_bits(self, x: Tensor, why: str, hint: str | None = None) -> None:
        """Refuse the present part unless what it is given is what the library gives it, to the last bit."""
        if not x.exact:
            reason = f"{why}, and the steps before it do not give the library's numbers to the last digit"
            raise self.refused(reason, hint)

    # --- labels ---

    def labels(self, classes: np.ndarray, index: Tensor) -> Tensor:
        """`classes[index]`, as labels are given: int64 or strings."""
        from mlconvert.readers.estimators import label_values

        values = label_values(classes)
        if values.dtype.kind == "i" and np.array_equal(values, np.arange(len(values))):
            return index
        return self.graph.gather(values, index)


def is_stock(part: Any) -> bool:
    """Whether the class is scikit-learn's own: one that inherits from it may do anything."""
    return type(part).__module__.partition(".")[0] == "sklearn"
