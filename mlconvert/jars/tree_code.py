"""A forest as Java code: `if` and `else`, in methods that the JVM compiles and classes that it loads.

HotSpot leaves methods of more than 8,000 bytes to its interpreter, a class has at most 65,535 constants, and a reader's
stack has an end too: so a method has a few hundred nodes, of limited depth, and what hangs below is another method.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from mlconvert.errors import ConversionFailed
from mlconvert.forests.model import TreeModel
from mlconvert.jars.numbers import number

METHOD_NODES, METHOD_DEPTH = 250, 24
CLASS_NODES = 9_000  # a node and its leaf are two doubles, of two constants each
MOST_NODES = 250_000
CALLED = 500  # trees that one method adds up


@dataclass(frozen=True)
class TreeCode:
    """The sources by the names of their classes, and the statements that add up what they give."""

    sources: Mapping[str, str]
    calls: str


def tree_code(model: TreeModel, columns: np.ndarray, package: str, simple: str, where: str) -> TreeCode:
    """The classes `<simple>Trees0` and so on, for a class `simple` that holds what the methods need.

    `columns`: for each feature, its place in the row that the methods are given. Raises ConversionFailed for a forest
    that would be too much code.
    """
    nodes = len(model.forest.feature)
    if nodes > MOST_NODES:
        what = f"{nodes:,} nodes are too many for a jar of code, which has room for {MOST_NODES:,}"
        raise ConversionFailed(what, where=where, hint="leave out --set jar.style=code: arrays hold any number")
    writer = _Writer(model, columns, simple)
    sizes = 1 + np.bincount(_tree_of_nodes(model), minlength=model.forest.trees)  # a method has a name to keep, too
    whole: dict[str, str] = {}
    calls: list[str] = []
    tree = 0
    while tree < model.forest.trees:
        own, first = f"{simple}Trees{len(whole)}", tree
        writer.begin()
        held = 0
        while tree < model.forest.trees and (tree == first or held + sizes[tree] <= CLASS_NODES):
            held += int(sizes[tree])
            writer.tree(tree)
            tree += 1
        whole[own] = _class(package, own, simple, first, tree, writer)
        calls.append(f"        {own}.add(x, sums);")
    return TreeCode(whole, "\n".join(calls))


def _tree_of_nodes(model: TreeModel) -> np.ndarray:
    forest = model.forest
    first = forest.roots[forest.roots >= 0]
    counts = np.diff(first, append=len(forest.feature))
    return np.repeat(np.flatnonzero(forest.roots >= 0), counts)


def _class(package: str, own: str, simple: str, first: int, end: int, writer: _Writer) -> str:
    real = "float" if writer.model.arithmetic == "float32" else "double"
    parts, adds = [], []
    for start in range(first, end, CALLED):
        part = range(start, min(end, start + CALLED))
        name = f"add{start}"
        adds.append(f"        {name}(x, sums);")
        lines = "\n".join(f"        {writer.sum_of(tree)}" for tree in part)
        parts.append(f"    private static void {name}(double[] x, {real}[] sums) {{\n{lines}\n    }}\n")
    head = f"/** The trees {first} to {end - 1} of {{@link {simple}}}: each method is a tree, or a part of one. */"
    body = "\n".join([*parts, *writer.methods])
    every = "\n".join(adds)
    return (
        f"package {package};\n\n{head}\nfinal class {own} {{\n"
        f"    static void add(double[] x, {real}[] sums) {{\n{every}\n    }}\n\n{body}}}\n"
    )


@dataclass(eq=False)
class _Writer:
    model: TreeModel
    columns: np.ndarray
    simple: str
    methods: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        forest = self.model.forest
        self.vector = forest.leaf_values.shape[1] > 1
        self.indirect = self.vector or forest.linear is not None  # methods give leaves, not values
        self.float = self.model.arithmetic == "float32"
        self.result = "int" if self.indirect else "float" if self.float else "double"
        # Plain lists: single elements of arrays are slow to come by.
        self.feature, self.threshold = forest.feature.tolist(), forest.threshold.tolist()
        self.left, self.right = forest.left.tolist(), forest.right.tolist()
        self.missing_left, self.category_set = forest.missing_left.tolist(), forest.category_set.tolist()
        self.values = [] if self.indirect else forest.leaf_values[:, 0].tolist()

    def begin(self) -> None:
        self.methods = []

    def sum_of(self, tree: int) -> str:
        """The statement that adds what a tree gives."""
        if self.vector:
            return f"{self.simple}.add(t{tree}(x), sums);"
        output = int(self.model.forest.tree_output[tree])
        value = f"{self.simple}.value(t{tree}(x), x)" if self.indirect else f"t{tree}(x)"
        return f"sums[{output}] += {value};"

    def tree(self, tree: int) -> None:
        waiting = [(int(self.model.forest.roots[tree]), f"t{tree}")]
        made = 0
        while waiting:
            root, name = waiting.pop()
            lines: list[str] = []
            left = METHOD_NODES
            # What is to be written: a line, or a node with its depth.
            stack: list[tuple[str, int, int]] = [("", root, 0)]
            while stack:
                line, node, depth = stack.pop()
                if line:
                    lines.append("    " * (depth + 2) + line)
                elif node < 0:
                    lines.append("    " * (depth + 2) + f"return {self._leaf(~node)};")
                elif depth >= METHOD_DEPTH or not left:
                    made += 1
                    part = f"t{tree}_{made}"
                    waiting.append((node, part))
                    lines.append("    " * (depth + 2) + f"return {part}(x);")
                else:
                    left -= 1
                    stack += [
                        ("", self.right[node], depth),
                        ("}", 0, depth),
                        ("", self.left[node], depth + 1),
                        (f"if ({self._test(node)}) {{", 0, depth),
                    ]
            body = "\n".join(lines)
            self.methods.append(f"    private static {self.result} {name}(double[] x) {{\n{body}\n    }}\n")

    def _leaf(self, leaf: int) -> str:
        if self.indirect:
            return str(leaf)
        return f"{number(self.values[leaf])}f" if self.float else number(self.values[leaf])

    def _test(self, node: int) -> str:
        x = f"x[{self.columns[self.feature[node]]}]"
        if self.category_set[node] >= 0:
            inside = f"{self.simple}.in({self.category_set[node]}, {x})"
            return f"{x} != {x} || {inside}" if self.missing_left[node] else inside
        limit = number(self.threshold[node])
        if self.missing_left[node]:
            return f"!({x} {'>=' if self.model.forest.strict else '>'} {limit})"
        return f"{x} {'<' if self.model.forest.strict else '<='} {limit}"
