"""The text of reference/library.md: what `pytest_shimmy` exports, from its docstrings.

Plain Markdown, because the page is also read where no site generator is. griffe reads the sources
without importing them. A comment in a class that says whom the methods below it are for
(``# For the plugin``) ends what is told of that class.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

import griffe

PACKAGE = "pytest_shimmy"
FOR_OTHER_ROOMS = re.compile(r" {4}# For (the plugin|`)")

ELSEWHERE = {
    "ShimmyErrorCode": "Its members are on the page about [errors](errors.md).",
    "ShimmyProcessDefaults": "They are on [a page of their own](defaults.md).",
}
GIVEN = {"ClientReport", "RecordedRequest", "Rule", "ShimmyServer", "Watch"}
"""Classes whose objects a user gets and never makes: what they are made of is not told."""
LONGEST_LINE = 88


@functools.cache
def package() -> griffe.Module:
    loaded = griffe.load(PACKAGE)
    assert isinstance(loaded, griffe.Module)
    return loaded


def text() -> str:
    """A section for each public name."""
    sections = []
    for name in public_names():
        exported = package()[name].final_target
        if isinstance(exported, griffe.Class):
            sections.append(of_class(exported))
        else:
            sections.append("\n\n".join([f"## {name}", signature(exported), prose(exported)]))
    return "\n\n".join(sections)


def public_names() -> list[str]:
    return sorted(map(str, package().exports or ()), key=str.lower)


def record(name: str, module: str) -> str:
    """A record's fields, under a heading."""
    kind = package()[f"{module}.{name}"]
    # The text of an event's payload begins with the event's name.
    meaning = re.sub(r"^(`\w+`(?: and )?)+: (\w)", lambda it: it[2].upper(), prose(kind))
    return "\n\n".join([f"## {name}", meaning, attributes(kind)])


def of_class(kind: griffe.Class) -> str:
    parts = [f"## {kind.name}", prose(kind)]
    if kind.name in ELSEWHERE:
        return "\n\n".join([*parts, ELSEWHERE[kind.name]])
    if "__init__" in kind.members and kind.name not in GIVEN:
        parts.insert(1, signature(kind["__init__"], kind.name))
    if "__call__" in kind.members:  # a protocol, whose name is that of the fixture
        fixture = re.sub("(?<=[a-z])(?=[A-Z])", "_", kind.name).lower()
        parts.insert(1, signature(kind["__call__"], fixture))
    parts.append(attributes(kind))
    for method in told(kind):
        if isinstance(method, griffe.Function):
            parts += [f"### {kind.name}.{method.name}", signature(method), prose(method)]
    return "\n\n".join(filter(None, parts))


def told(kind: griffe.Class) -> Iterator[griffe.Object]:
    """The public members, inherited ones last."""
    for owner in (kind, *kind.mro()):
        end = end_of_public_part(owner)
        for name, member in owner.members.items():
            if not name.startswith("_") and (member.lineno or 0) < end:
                yield member.final_target if isinstance(member, griffe.Alias) else member


def end_of_public_part(kind: griffe.Class) -> int:
    first = kind.lineno or 1
    numbered = enumerate(kind.source.splitlines(), first)
    return next((at for at, line in numbered if FOR_OTHER_ROOMS.match(line)), 10**9)


def attributes(kind: griffe.Class) -> str:
    """A table of what it has that is not called."""
    rows = [
        f"| `{each.name}` | {code(type_of(each))} | {' '.join(prose(each).split())} |"
        for each in told(kind)
        if isinstance(each, griffe.Attribute)
    ]
    return "\n".join(["| attribute | type | meaning |", "|---|---|---|", *rows]) if rows else ""


def type_of(attribute: griffe.Attribute) -> object:
    """As it is annotated, or the parameter of the constructor that it keeps."""
    made = attribute.parent and attribute.parent.members.get("__init__")
    kept = str(attribute.value)
    if attribute.annotation or not isinstance(made, griffe.Function):
        return attribute.annotation
    return made.parameters[kept].annotation if kept in made.parameters else None


def signature(function: griffe.Object, name: str | None = None) -> str:
    """How it is called; each of its ways, if it has several."""
    assert isinstance(function, griffe.Function)
    ways = [one_signature(each, name or function.name) for each in function.overloads or [function]]
    return "\n".join(["```py", *ways, "```"])


def one_signature(function: griffe.Function, name: str) -> str:
    parameters = [each for each in function.parameters if each.name not in ("self", "cls")]
    words: list[str] = []
    kind = None
    for each in parameters:
        if kind is griffe.ParameterKind.positional_only and each.kind is not kind:
            words.append("/")
        if each.kind is griffe.ParameterKind.keyword_only and kind not in (
            griffe.ParameterKind.keyword_only,
            griffe.ParameterKind.var_positional,
        ):
            words.append("*")
        kind = each.kind
        words.append(one_parameter(each))
    result = f" -> {function.returns}" if function.returns and name != "__init__" else ""
    if function.name == "__init__":
        result = ""
    line = f"{name}({', '.join(words)}){result}"
    if len(line) <= LONGEST_LINE:
        return line
    return "\n".join([f"{name}(", *(f"    {word}," for word in words), f"){result}"])


def one_parameter(parameter: griffe.Parameter) -> str:
    stars = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}
    word = f"{stars.get(parameter.kind, '')}{parameter.name}"
    if parameter.annotation is not None:
        word += f": {parameter.annotation}"
    if parameter.default is not None and parameter.kind not in stars:
        word += f" = {parameter.default}" if parameter.annotation else f"={parameter.default}"
    return word


def prose(each: griffe.Object) -> str:
    """Its docstring."""
    return marked(each.docstring.value) if each.docstring else ""


def marked(text: str) -> str:
    """A docstring with code as Markdown marks it."""
    return re.sub("``(.+?)``", r"`\1`", text)


def code(annotation: object) -> str:
    # A bar ends a table's cell, even in code.
    return f"<code>{str(annotation).replace('|', '&#124;')}</code>" if annotation else ""
