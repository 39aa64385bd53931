"""A model's own chat template: the part of Jinja that the real renderer knows.

Strategy: a template becomes a tree of nodes, an expression a function of the names in scope. What
the real renderer lets pass is let pass (unknown filters, functions and tests), and what it cannot
read is refused, so that the family's template takes over. Seen on 2.6.5 default through the count
of a prompt's tokens.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    Scope: TypeAlias = dict[str, Any]
    Expression: TypeAlias = Callable[[Scope], Any]
    Node: TypeAlias = Callable[[Scope], str]

_TAG = re.compile(r"(\{#.*?(?:#\}|\Z)|\{%.*?%\}|\{\{.*?\}\})", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*(?:(\d+)|('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|([A-Za-z_]\w*)|(==|!=|<=|>=|.))""",
    re.DOTALL,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
    "<": lambda a, b: bool(a < b),
    ">": lambda a, b: bool(a > b),
    "<=": lambda a, b: bool(a <= b),
    ">=": lambda a, b: bool(a >= b),
}
_TESTS: dict[str, Callable[[Any], bool]] = {
    "defined": lambda value: value is not None,
    "undefined": lambda value: value is None,
    "none": lambda value: value is None,
    "None": lambda value: value is None,
    "string": lambda value: isinstance(value, str),
    "true": bool,
    "false": lambda value: not value,
    "mapping": lambda value: isinstance(value, dict),
    "iterable": lambda value: isinstance(value, list | str),
    "sequence": lambda value: isinstance(value, list | str),
}
_NO_THINKING = ("qwen", "qwq", "deepseek-r1", "deepseek_r1")
"""Names of models that are told not to think aloud."""


class TemplateError(Exception):
    """A template that cannot be rendered."""


def render(template: str, name: str, system: str | None, messages: list[tuple[str, str]]) -> str:
    """The prompt that ``template`` makes of ``messages`` for the model of this ``name``."""
    talk = [{"role": role, "content": text} for role, text in messages]
    if system:
        talk.insert(0, {"role": "system", "content": system})
    scope: Scope = {"bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True}
    if any(word in name.lower() for word in _NO_THINKING):
        scope["enable_thinking"] = False
        for message in talk:
            if message["role"] != "assistant" and not message["content"].endswith("/nothink"):
                message["content"] += "\n/nothink"
    scope["messages"] = talk
    try:
        return _Template(template).render(scope)
    except (TypeError, LookupError, ValueError, RecursionError) as error:
        raise TemplateError(str(error)) from None


class _Template:
    def __init__(self, source: str) -> None:
        self._pieces = _pieces(source)
        self._nodes, end = self._block(())
        if end:
            raise TemplateError(f"unexpected {end}")

    def render(self, scope: Scope) -> str:
        return "".join(node(scope) for node in self._nodes)

    def _block(self, ends: tuple[str, ...]) -> tuple[list[Node], str]:
        """The nodes up to a tag that begins with one of ``ends``, and that tag."""
        nodes: list[Node] = []
        while self._pieces:
            kind, text = self._pieces.pop(0)
            word = text.split(None, 1)[0] if text.split() else ""
            if kind == "text":
                nodes.append(lambda _, text=text: text)  # type: ignore[misc]
            elif kind == "show":
                nodes.append(_shown(_expression(text)))
            elif word in ends:
                return nodes, text
            elif word == "for":
                nodes.append(self._loop(text))
            elif word == "if":
                nodes.append(self._choice(text))
            elif word == "set":
                nodes.append(_assignment(text))
            else:
                raise TemplateError(f"unexpected {word}")
        return nodes, ""

    def _loop(self, tag: str) -> Node:
        found = re.fullmatch(r"for\s+(\w+)\s+in\s+(.*)", tag, re.DOTALL)
        if found is None:
            raise TemplateError(f"odd loop {tag}")
        name, items = found[1], _expression(found[2])
        body, _ = self._block(("endfor",))

        def node(scope: Scope) -> str:
            listed = items(scope) or []
            said = []
            for at, item in enumerate(listed):
                loop = {"index0": at, "index": at + 1, "first": not at}
                inner = {**scope, name: item, "loop": {**loop, "last": at == len(listed) - 1}}
                said.append("".join(part(inner) for part in body))
            return "".join(said)

        return node

    def _choice(self, tag: str) -> Node:
        cases: list[tuple[Expression, list[Node]]] = []
        while tag != "endif":
            word, _, rest = tag.partition(" ")
            body, end = self._block(("elif", "else", "endif"))
            if not end:
                raise TemplateError("a choice has no end")
            cases.append((_always if word == "else" else _expression(rest), body))
            tag = end.strip()

        def node(scope: Scope) -> str:
            body = next((body for condition, body in cases if condition(scope)), [])
            return "".join(part(scope) for part in body)

        return node


def _pieces(source: str) -> list[tuple[str, str]]:
    """The template taken apart: texts, tags, and what is to be shown."""
    pieces: list[tuple[str, str]] = []
    strips = False
    after_tag = False
    for part in _TAG.split(source):
        if part[:2] not in ("{%", "{{", "{#"):
            text = part.lstrip() if strips else part
            if after_tag:
                # The line end after a tag is no text.
                text = text.removeprefix("\r\n") if text.startswith("\r\n") else text
                text = text.removeprefix("\n")
            pieces.append(("text", text))
            strips = after_tag = False
            continue
        if part.startswith(("{%-", "{{-", "{#-")) and pieces and pieces[-1][0] == "text":
            pieces[-1] = ("text", pieces[-1][1].rstrip())
        strips = part.endswith(("-%}", "-}}"))
        after_tag = not part.startswith("{{")
        inner = part[2:-2].removeprefix("-").removesuffix("-").strip()
        if not part.startswith("{#"):
            pieces.append(("tag" if part.startswith("{%") else "show", inner))
    return pieces


def _shown(expression: Expression) -> Node:
    def node(scope: Scope) -> str:
        value = expression(scope)
        if isinstance(value, list | dict):
            raise TemplateError("Cannot render complex type")
        return "" if value is None else str(value)

    return node


def _assignment(tag: str) -> Node:
    found = re.fullmatch(r"set\s+([\w.]+)\s*=\s*(.*)", tag, re.DOTALL)
    if found is None:
        raise TemplateError(f"odd assignment {tag}")
    name, value = found[1], _expression(found[2])

    def node(scope: Scope) -> str:
        scope[name] = value(scope)
        return ""

    return node


def _always(_: Scope) -> bool:
    return True


def _expression(source: str) -> Expression:
    parser = _Parser(source)
    expression = parser.ternary()
    if parser.tokens:
        raise TemplateError(f"unexpected {parser.tokens[0][1]}")
    return expression


class _Parser:
    def __init__(self, source: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        for number, text, name, sign in _TOKEN.findall(source.strip()):
            kind = "number" if number else "text" if text else "name" if name else "sign"
            self.tokens.append((kind, number or text or name or sign))

    def _next(self) -> str:
        return self.tokens[0][1] if self.tokens and self.tokens[0][0] != "text" else ""

    def _take(self, *words: str) -> str:
        """The next token, if it is one of ``words``."""
        return self.tokens.pop(0)[1] if self._next() in words else ""

    def _expect(self, word: str) -> None:
        if not self._take(word):
            raise TemplateError(f"Expected {word}")

    def ternary(self) -> Expression:
        value = self._either()
        if not self._take("if"):
            return value
        condition = self._either()
        other = self._either() if self._take("else") else lambda _: ""
        return lambda scope: value(scope) if condition(scope) else other(scope)

    def _either(self) -> Expression:
        left = self._both()
        while self._take("or"):
            left = self._joined(left, self._both(), any)
        return left

    def _both(self) -> Expression:
        left = self._negated()
        while self._take("and"):
            left = self._joined(left, self._negated(), all)
        return left

    @staticmethod
    def _joined(left: Expression, right: Expression, how: Callable[[Any], bool]) -> Expression:
        return lambda scope: how((left(scope), right(scope)))

    def _negated(self) -> Expression:
        if self._take("not"):
            inner = self._negated()
            return lambda scope: not inner(scope)
        return self._compared()

    def _compared(self) -> Expression:
        left = self._sum()
        while sign := self._take(*_COMPARED, "in", "not", "is"):
            left = self._comparison(left, sign)
        return left

    def _comparison(self, left: Expression, sign: str) -> Expression:
        if sign == "is":
            negated, name = bool(self._take("not")), self.tokens.pop(0)[1]
            test = _TESTS.get(name, lambda _: False)
            return lambda scope: test(left(scope)) != negated
        if sign == "not":
            self._expect("in")
        right = self._sum()
        if sign in ("in", "not"):
            return lambda scope: (left(scope) in (right(scope) or ())) == (sign == "in")
        compare = _COMPARED[sign]
        return lambda scope: compare(left(scope), right(scope))

    def _sum(self) -> Expression:
        left = self._rest()
        while sign := self._take("+", "-", "~", "%"):
            left = self._added(left, sign, self._rest())
        return left

    @staticmethod
    def _added(left: Expression, sign: str, right: Expression) -> Expression:
        if sign == "-":
            return lambda scope: left(scope) - right(scope)
        if sign == "%":
            return lambda scope: left(scope) % right(scope)
        return lambda scope: left(scope) + right(scope)

    def _rest(self) -> Expression:
        value = self._value()
        while sign := self._take(".", "[", "|"):
            if sign == "[":
                value = self._indexed(value)
                continue
            name = self.tokens.pop(0)[1]
            arguments = self._arguments() if self._take("(") else None
            if sign == "." and arguments is None:
                value = self._attribute(value, name)
            else:
                value = self._filtered(value, name, arguments or [])
        return value

    def _indexed(self, value: Expression) -> Expression:
        begin = None if self._next() == ":" else self.ternary()
        if self._take(":"):
            end = None if self._next() == "]" else self.ternary()
            self._expect("]")
            return lambda scope: value(scope)[slice(begin and begin(scope), end and end(scope))]
        self._expect("]")
        assert begin is not None

        def node(scope: Scope) -> Any:
            holder, key = value(scope), begin(scope)
            return holder.get(key) if isinstance(holder, dict) else holder[key]

        return node

    @staticmethod
    def _attribute(value: Expression, name: str) -> Expression:
        def node(scope: Scope) -> Any:
            holder = value(scope)
            return holder.get(name) if isinstance(holder, dict) else None

        return node

    @staticmethod
    def _filtered(value: Expression, name: str, arguments: list[Expression]) -> Expression:
        def node(scope: Scope) -> Any:
            found = value(scope)
            if name in ("default", "d"):
                usual = arguments[0](scope) if arguments else ""
                return usual if found in (None, "") else found
            if name in ("length", "count"):
                return len(found.encode() if isinstance(found, str) else found or ())
            if isinstance(found, str) and name in ("trim", "upper", "lower"):
                return {"trim": found.strip, "upper": found.upper, "lower": found.lower}[name]()
            return found

        return node

    def _arguments(self) -> list[Expression]:
        arguments: list[Expression] = []
        while not self._take(")"):
            if len(self.tokens) > 1 and self.tokens[1] == ("sign", "="):
                del self.tokens[:2]
            arguments.append(self.ternary())
            self._take(",")
        return arguments

    def _value(self) -> Expression:
        if not self.tokens:
            raise TemplateError("Expected expression")
        kind, text = self.tokens.pop(0)
        if kind == "number":
            return lambda _: int(text)
        if kind == "text":
            said = re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), text[1:-1])
            return lambda _: said
        if kind == "sign" and text == "(":
            inner = self.ternary()
            self._expect(")")
            return inner
        if kind == "sign" and text == "-":
            number = int(self.tokens.pop(0)[1])
            return lambda _: -number
        if kind != "name":
            raise TemplateError(f"Expected expression, got {text}")
        if text.lower() in ("true", "false"):
            return lambda _: text.lower() == "true"
        if self._take("("):
            self._arguments()
            return lambda _: {} if text == "namespace" else "" if text else None
        return lambda scope: scope.get(text)
