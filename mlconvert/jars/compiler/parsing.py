"""From a source to what it says, by recursive descent (The Java Language Specification, Java SE 8, chapter 19)."""

from __future__ import annotations

from dataclasses import dataclass

from mlconvert.jars.compiler import syntax as s
from mlconvert.jars.compiler.library import KNOWN
from mlconvert.jars.compiler.tokens import Token, tokens, unquoted

PRIMITIVES = {
    "boolean": "Z", "byte": "B", "char": "C", "double": "D", "float": "F", "int": "I", "long": "J", "short": "S",
    "void": "V",
}  # fmt: skip
MODIFIERS = frozenset({"public", "private", "protected", "static", "final"})
PRECEDENCE = (
    ("||",), ("&&",), ("|",), ("^",), ("&",), ("==", "!="), ("<", ">", "<=", ">=", "instanceof"), ("<<", ">>", ">>>"),
    ("+", "-"), ("*", "/", "%"),
)  # fmt: skip
LEVEL = {operator: level for level, operators in enumerate(PRECEDENCE) for operator in operators}
ASSIGNMENTS = frozenset({"=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>=", ">>>="})


def parse(source: str) -> s.ClassDeclaration:
    """The one class of a source; raises ValueError, with the line, for what is not understood."""
    return _Parser(tokens(source)).source()


@dataclass
class _Parser:
    tokens: list[Token]
    at: int = 0

    def __post_init__(self) -> None:
        self.names = {name.rpartition("/")[2]: name for name in KNOWN if name.startswith("java/lang/")}
        self.name = ""

    # --- tokens ---

    @property
    def here(self) -> Token:
        return self.tokens[self.at]

    def next(self) -> Token:
        self.at += 1
        return self.tokens[self.at - 1]

    def takes(self, *texts: str) -> bool:
        if self.here.text in texts and self.here.kind in ("symbol", "name"):
            self.at += 1
            return True
        return False

    def need(self, text: str) -> Token:
        if self.here.text != text:
            raise self.wrong(f"'{text}' is expected, not '{self.here.text}'")
        return self.next()

    def word(self) -> str:
        if self.here.kind != "name":
            raise self.wrong(f"a name is expected, not '{self.here.text}'")
        return self.next().text

    def wrong(self, what: str) -> ValueError:
        return ValueError(f"line {self.here.line}: {what}")

    # --- declarations ---

    def source(self) -> s.ClassDeclaration:
        package = ""
        if self.takes("package"):
            package = "/".join(self.dotted()) + "/"
            self.need(";")
        while self.takes("import"):
            parts = self.dotted()
            self.names[parts[-1]] = "/".join(parts)
            self.need(";")
        modifiers = self.modifiers()
        self.need("class")
        self.name = self.word()
        whole = package + self.name
        self.names[self.name] = whole
        self.package = package
        interfaces: list[str] = []
        if self.takes("implements"):
            interfaces.append(self.class_name())
            while self.takes(","):
                interfaces.append(self.class_name())
        self.need("{")
        fields: list[s.Field] = []
        methods: list[s.Method] = []
        while not self.takes("}"):
            member = self.member()
            fields += member if isinstance(member, list) else []
            methods += [member] if isinstance(member, s.Method) else []
        return s.ClassDeclaration(whole, modifiers, tuple(interfaces), tuple(fields), tuple(methods), self.names)

    def dotted(self) -> list[str]:
        parts = [self.word()]
        while self.takes("."):
            parts.append(self.word())
        return parts

    def modifiers(self) -> frozenset[str]:
        found = set()
        while True:
            if self.takes("@"):
                self.word()
            elif self.here.text in MODIFIERS:
                found.add(self.next().text)
            else:
                return frozenset(found)

    def member(self) -> list[s.Field] | s.Method:
        line = self.here.line
        modifiers = self.modifiers()
        if self.here.text == "{":
            return s.Method(modifiers, "<clinit>", (), "V", self.block(), line)
        if self.here.text == self.name and self.tokens[self.at + 1].text == "(":
            self.next()
            return self.method(modifiers, "<init>", "V", line)
        kind, name = self.type(), self.word()
        if self.here.text == "(":
            return self.method(modifiers, name, kind, line)
        fields = [s.Field(modifiers, kind, name, self.initial(kind), line)]
        while self.takes(","):
            fields.append(s.Field(modifiers, kind, self.word(), self.initial(kind), line))
        self.need(";")
        return fields

    def method(self, modifiers: frozenset[str], name: str, result: str, line: int) -> s.Method:
        self.need("(")
        parameters: list[tuple[str, str]] = []
        while not self.takes(")"):
            self.takes("final")
            parameters.append((self.type(), self.word()))
            self.takes(",")
        if self.takes("throws"):
            self.class_name()
            while self.takes(","):
                self.class_name()
        return s.Method(modifiers, name, tuple(parameters), result, self.block(), line)

    def initial(self, kind: str) -> s.Expression | None:
        if not self.takes("="):
            return None
        return self.elements(kind) if self.here.text == "{" else self.expression()

    def elements(self, kind: str) -> s.NewArray:
        self.need("{")
        found = []
        while not self.takes("}"):
            found.append(self.elements(kind[1:]) if self.here.text == "{" else self.expression())
            self.takes(",")
        return s.NewArray(kind, None, tuple(found))

    # --- types ---

    def class_name(self) -> str:
        """A class of one name, with its type arguments, which are dropped."""
        name = self.word()
        if self.takes("<"):
            depth = 1
            while depth:
                text = self.next().text
                depth += {"<": 1, ">": -1, ">>": -2}.get(text, 0)
        return self.names.get(name, self.package + name)

    def plain_type(self) -> str:
        if self.here.text in PRIMITIVES:
            return PRIMITIVES[self.next().text]
        return f"L{self.class_name()};"

    def type(self) -> str:
        found = self.plain_type()
        while self.here.text == "[" and self.tokens[self.at + 1].text == "]":
            self.at += 2
            found = f"[{found}"
        return found

    def begins_local(self) -> bool:
        """Whether a declaration comes: a type, and then a name."""
        if self.here.text in PRIMITIVES or self.here.text == "final":
            return True
        if self.here.kind != "name" or self.here.text == "new":
            return False
        at = self.at + 1
        while self.tokens[at].text == "[" and self.tokens[at + 1].text == "]":
            at += 2
        return self.tokens[at].kind == "name" and self.tokens[at].text != "instanceof"

    # --- statements ---

    def block(self) -> s.Block:
        self.need("{")
        found: list[s.Statement] = []
        while not self.takes("}"):
            found += self.statement()
        return s.Block(tuple(found))

    def one(self) -> s.Statement:
        found = self.statement()
        return found[0] if len(found) == 1 else s.Block(tuple(found))

    def statement(self) -> list[s.Statement]:
        line, text = self.here.line, self.here.text
        if text == "{":
            return [self.block()]
        known = {
            "if": self._if, "for": self._for, "while": self._while, "do": self._do, "try": self._try,
        }.get(text)  # fmt: skip
        if known is not None:
            self.next()
            return [known(line)]
        if self.takes(";"):
            return []
        found = self._simple(line)
        self.need(";")
        return found

    def _simple(self, line: int) -> list[s.Statement]:
        if self.takes("break", "continue"):
            return [s.Jump(self.tokens[self.at - 1].text, line)]
        if self.takes("return"):
            return [s.Return(None if self.here.text == ";" else self.expression(), line)]
        if self.takes("throw"):
            return [s.Throw(self.expression(), line)]
        if self.begins_local():
            self.takes("final")
            kind = self.type()
            name = self.word()
            found: list[s.Statement] = [s.Local(kind, name, self.initial(kind), line)]
            while self.takes(","):
                name = self.word()
                found.append(s.Local(kind, name, self.initial(kind), line))
            return found
        return [s.Evaluate(self.expression(), line)]

    def _test(self) -> s.Expression:
        self.need("(")
        test = self.expression()
        self.need(")")
        return test

    def _if(self, line: int) -> s.Statement:
        test = self._test()
        then = self.one()
        return s.If(test, then, self.one() if self.takes("else") else None, line)

    def _while(self, line: int) -> s.Statement:
        return s.Loop(None, self._test(), (), self.one(), line)

    def _do(self, line: int) -> s.Statement:
        body = self.one()
        self.need("while")
        test = self._test()
        self.need(";")
        return s.Loop(None, test, (), body, line, first=True)

    def _for(self, line: int) -> s.Statement:
        self.need("(")
        start = [] if self.here.text == ";" else self._simple(line)
        self.need(";")
        test = None if self.here.text == ";" else self.expression()
        self.need(";")
        steps = []
        while not self.takes(")"):
            steps.append(self.expression())
            self.takes(",")
        loop = s.Loop(start[0] if len(start) == 1 else None, test, tuple(steps), self.one(), line)
        return loop if len(start) <= 1 else s.Block((*start, loop))

    def _try(self, line: int) -> s.Statement:
        body = self.block()
        handlers = []
        while self.takes("catch"):
            self.need("(")
            kind, name = self.type(), self.word()
            self.need(")")
            handlers.append((kind, name, self.block()))
        return s.Try(body, tuple(handlers), line)

    # --- expressions ---

    def expression(self) -> s.Expression:
        target = self._conditional()
        if self.here.kind == "symbol" and self.here.text in ASSIGNMENTS:
            operator = self.next().text[:-1]
            return s.Assign(target, operator, self.expression())
        return target

    def _conditional(self) -> s.Expression:
        test = self._binary(0)
        if not self.takes("?"):
            return test
        then = self.expression()
        self.need(":")
        return s.Conditional(test, then, self._conditional())

    def _binary(self, least: int) -> s.Expression:
        left = self._unary()
        while LEVEL.get(self.here.text, -1) >= least and self.here.kind in ("symbol", "name"):
            operator = self.next().text
            if operator == "instanceof":
                left = s.InstanceOf(left, self.type())
            else:
                left = s.Binary(operator, left, self._binary(LEVEL[operator] + 1))
        return left

    def _unary(self) -> s.Expression:
        if self.takes("++", "--"):
            operator = self.tokens[self.at - 1].text[0]
            return s.Assign(self._unary(), operator, s.Literal(1, "I"))
        if self.takes("+"):
            return self._unary()
        if self.here.text == "-" and self.tokens[self.at + 1].kind == "number":
            self.next()
            value = self._number(self.next().text, sign=-1)
            return self._after(value)
        if self.takes("-", "!", "~"):
            operator = self.tokens[self.at - 1].text
            return s.Unary(operator, self._unary())
        if self.here.text == "(" and self._is_cast():
            self.next()
            kind = self.type()
            self.need(")")
            return s.Cast(kind, self._unary())
        return self._after(self._primary())

    def _is_cast(self) -> bool:
        """`(type)` before something that a cast can apply to; sources put no variable alone in parentheses so."""
        after = self.at + 1
        if self.tokens[after].text in PRIMITIVES:
            return True
        if self.tokens[after].kind != "name":
            return False
        after += 1
        while self.tokens[after].text == "[" and self.tokens[after + 1].text == "]":
            after += 2
        behind = self.tokens[after + 1]
        begins = behind.kind in ("name", "text", "character", "number") or behind.text in ("(", "!", "~")
        return self.tokens[after].text == ")" and begins and behind.text != "instanceof"

    def _primary(self) -> s.Expression:
        token = self.next()
        if token.kind == "number":
            return self._number(token.text)
        if token.kind == "text":
            return s.Literal(unquoted(token.text), "Ljava/lang/String;")
        if token.kind == "character":
            return s.Literal(ord(unquoted(token.text)), "C")
        if token.text == "(":
            inner = self.expression()
            self.need(")")
            return inner
        if token.text in ("true", "false"):
            return s.Literal(token.text == "true", "Z")
        if token.text == "null":
            return s.Literal(None, s.NULL)
        if token.text == "new":
            return self._new(token.line)
        if token.kind != "name":
            self.at -= 1
            raise self.wrong(f"'{token.text}' begins no expression")
        if self.here.text == "(":
            return s.Call(None, token.text, self._arguments(), token.line)
        return s.Name(token.text, token.line)

    def _new(self, line: int) -> s.Expression:
        kind = self.plain_type()
        if self.here.text == "(":
            return s.New(kind, self._arguments(), line)
        self.need("[")
        if self.takes("]"):
            kind = f"[{kind}"
            while self.takes("["):
                self.need("]")
                kind = f"[{kind}"
            return self.elements(kind)
        length = self.expression()
        self.need("]")
        kind = f"[{kind}"
        while self.here.text == "[" and self.tokens[self.at + 1].text == "]":
            self.at += 2
            kind = f"[{kind}"
        return s.NewArray(kind, length)

    def _arguments(self) -> tuple[s.Expression, ...]:
        self.need("(")
        found = []
        while not self.takes(")"):
            found.append(self.expression())
            self.takes(",")
        return tuple(found)

    def _after(self, value: s.Expression) -> s.Expression:
        while True:
            line = self.here.line
            if self.takes("."):
                if self.here.text == "class":
                    self.next()
                    value = s.Select(value, "class", line)
                    continue
                name = self.word()
                called = self.here.text == "("
                value = s.Call(value, name, self._arguments(), line) if called else s.Select(value, name, line)
            elif self.takes("["):
                value = s.Index(value, self.expression())
                self.need("]")
            elif self.takes("++", "--"):
                value = s.Assign(value, self.tokens[self.at - 1].text[0], s.Literal(1, "I"), after=True)
            else:
                return value

    def _number(self, text: str, sign: int = 1) -> s.Literal:
        text = text.replace("_", "")
        if text[:2] in ("0x", "0X"):
            long = text[-1] in "lL"
            bits = 64 if long else 32
            value = int(text.rstrip("lL"), 16)
            value -= (value >> (bits - 1)) << bits
            return s.Literal(sign * value, "J" if long else "I")
        if text[-1] in "lL":
            return s.Literal(sign * int(text[:-1]), "J")
        if text[-1] in "fF":
            return s.Literal(sign * float(text[:-1]), "F")
        if text[-1] in "dD" or not text.isdigit():
            return s.Literal(sign * float(text.rstrip("dD")), "D")
        return s.Literal(sign * int(text), "I")
