"""The code of statements, and of a whole method."""

from __future__ import annotations

from collections.abc import Mapping

from mlconvert.jars.compiler import syntax as s
from mlconvert.jars.compiler.code import Code, Label
from mlconvert.jars.compiler.expressions import GOTO, Expressions, _kind
from mlconvert.jars.compiler.library import Library


class Statements(Expressions):
    """One method."""

    def __init__(
        self,
        code: Code,
        declared: s.ClassDeclaration,
        library: Library,
        method: s.Method,
        constants: Mapping[str, s.Expression | None],
    ) -> None:
        super().__init__(code, declared, library, constants)
        self.method = method
        self.loops: list[tuple[Label, Label]] = []  # where break goes, and where continue goes

    def write(self) -> None:
        code, method = self.code, self.method
        if "static" not in method.modifiers:
            code.declare("this", f"L{self.declared.name};")
        for kind, name in method.parameters:
            code.declare(name, kind)
        code.begin(constructor=method.name == "<init>")
        if method.name == "<init>" and not _calls_constructor(method.body):
            self.drop(s.Call(None, "super", (), method.line))
        self.statement(method.body)
        if code.reachable:
            code.op(0xB1)

    def statement(self, one: s.Statement) -> None:
        code = self.code
        if not code.reachable:
            return
        if not isinstance(one, s.Block):
            code.line(one.line)
        match one:
            case s.Block(statements=statements):
                scope = len(code.locals)
                for inner in statements:
                    self.statement(inner)
                del code.locals[scope:]
            case s.Local():
                self._local_variable(one)
            case s.Evaluate(value=value):
                self.drop(value)
            case s.If():
                self._if(one)
            case s.Loop():
                self._loop(one)
            case s.Try():
                self._try(one)
            case _:
                self._leave(one)

    def _leave(self, one: s.Jump | s.Return | s.Throw) -> None:
        code = self.code
        match one:
            case s.Jump(kind=kind):
                code.jump(GOTO, self.loops[-1][0 if kind == "break" else 1])
            case s.Return(value=None):
                code.op(0xB1)
            case s.Return(value=value):
                assert value is not None
                kind = self.value_as(value, self.method.result)
                code.op(0xAC + _kind(kind), pops=1)
            case s.Throw(value=value):
                self.value(value)
                code.op(0xBF, pops=1)
        code.ends()

    def _local_variable(self, one: s.Local) -> None:
        value = one.value
        if value is None:  # frames know only locals that have a value
            value = s.Literal(None, s.NULL) if one.type[0] in "L[" else s.Literal(0, one.type)
        self.value_as(value, one.type)
        variable = self.code.declare(one.name, one.type)
        self._local(0x36, 0x3B, one.type, variable.place, pops=1)

    def _if(self, one: s.If) -> None:
        otherwise, end = Label(), Label()
        self.branch(one.test, otherwise, when=False)
        self._scoped(one.then)
        if one.otherwise is not None and self.code.reachable:
            self.code.jump(GOTO, end)
        self.code.bind(otherwise)
        if one.otherwise is not None:
            self._scoped(one.otherwise)
            self.code.bind(end)

    def _loop(self, one: s.Loop) -> None:
        """The test stands behind the body: one jump a round."""
        code, scope = self.code, len(self.code.locals)
        if one.start is not None:
            self.statement(one.start)
        top, test, step, end = Label(), Label(), Label(), Label()
        if one.test is not None and not one.first:
            code.jump(GOTO, test)
            code.reachable = True  # from the test, which comes later
        code.bind(top, loop=True)
        self.loops.append((end, step))
        self._scoped(one.body)
        self.loops.pop()
        code.bind(step)
        if code.reachable:
            for value in one.steps:
                self.drop(value)
        code.bind(test)
        if code.reachable:
            code.line(one.line)
            if one.test is None:
                code.jump(GOTO, top)
            else:
                self.branch(one.test, top, when=True)
                if isinstance(one.test, s.Literal):
                    code.ends()
        code.bind(end)
        del code.locals[scope:]

    def _scoped(self, one: s.Statement) -> None:
        scope = len(self.code.locals)
        self.statement(one)
        del self.code.locals[scope:]

    def _try(self, one: s.Try) -> None:
        code, end = self.code, Label()
        start = len(code.bytes)
        self._scoped(one.body)
        stop = len(code.bytes)
        if code.reachable:
            code.jump(GOTO, end)
        for kind, name, body in one.handlers:
            code.handler(start, stop, kind[1:-1])
            scope = len(code.locals)
            variable = code.declare(name, kind)
            self._local(0x36, 0x3B, kind, variable.place, pops=1)
            self._scoped(body)
            del code.locals[scope:]
            if code.reachable:
                code.jump(GOTO, end)
        code.bind(end)


def _calls_constructor(body: s.Block) -> bool:
    match body.statements[:1]:
        case (s.Evaluate(value=s.Call(target=None, name="super" | "this")),):
            return True
    return False
