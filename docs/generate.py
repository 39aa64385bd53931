"""Write what is generated: tables of the reference, JSON Schemas, drawings.

Everything comes from the code: the table of settings, and the texts that stand below fixtures,
constants and fields. Needs the extra ``docs``.

python -m docs.generate
"""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import json
import re
from pathlib import Path
from typing import Any, get_args

import fake_shimmy
from docs import drawings, library, picture, typescript
from fake_shimmy.script import rules
from fake_shimmy.stage import answer_shapes, control, messages
from pytest_shimmy import defaults, errors, events
from pytest_shimmy.plugin import fixtures
from pytest_shimmy.settings_table import TABLE as SETTINGS

PAGES = sorted(Path(__file__).with_name("reference").glob("*.md"))
ROOT = Path(__file__).parents[1]
FAKE = Path(fake_shimmy.__file__).parent


FIRST_RELEASE = "0.1.0"
SINCE: dict[str, str] = {}
"""The release that brought a setting, fixture, event or error code, by name. What is not here was
there in the first one."""

UNITS = {"max_restarts": "restarts", "port_attempts": "ports", "log_tail_lines": "lines"}
"""Of defaults; other whole numbers are bytes, and fractions are seconds."""


def since(name: str) -> str:
    return SINCE.get(name, FIRST_RELEASE)


def markdown_table(*rows: tuple[str, ...]) -> str:
    """The first row is the head."""
    head, *rest = rows
    ruled = [head, ("---",) * len(head), *rest]
    return "\n".join("| " + " | ".join(row) + " |" for row in ruled)


IDENTIFIER = re.compile(r"--[a-z][a-z-]+(?:=\w+)?|\b[A-Za-z]+_\w+(?:\([^)]*\))?|\bopenai\.\w+")
"""Flags, names, variables and calls in a text that has no marks."""


def settings_table() -> str:
    return markdown_table(
        ("setting", "meaning", "value", "default", "since"), *map(setting_row, SETTINGS)
    )


def setting_row(row: settings_table.Setting) -> tuple[str, ...]:
    meaning, _, default = row.help.partition(" (default: ")
    # "; a note" may follow what the default is.
    default = default.removesuffix(")") or ("off" if row.kind == "switch" else "none")
    names = "<br>".join(f"`{name}`" for name in (row.flag, row.ini, row.variable))
    value = "on or off" if row.kind == "switch" else f"`{row.metavar}`".replace("|", "` or `")
    meaning = IDENTIFIER.sub(r"`\g<0>`", meaning).replace("|", "\\|")
    return names, meaning, value, default, since(row.name)


def fixtures_table() -> str:
    rows = [("fixture", "scope", "yields", "since")]
    sources = (inspect.getsource(fixtures.server_fixtures), inspect.getsource(fixtures))
    inner, outer = (ast.parse(source).body for source in sources)
    for node in (*inner[0].body, *outer):  # type: ignore[attr-defined]
        if not isinstance(node, ast.FunctionDef) or not node.name.startswith(("shimmy", "make_")):
            continue
        scope = "session" if "session" in ast.unparse(node.decorator_list[0]) else "function"
        text = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")
        rows.append((f"`{node.name}`", scope, IDENTIFIER.sub(r"`\g<0>`", text), since(node.name)))
    return markdown_table(*rows)


def events_table() -> str:
    payloads = {}
    for payload in get_args(events.Event):
        names, _, meaning = (inspect.getdoc(payload) or "").partition(": ")
        for name in re.findall("``(.+?)``", names):
            payloads[name] = (payload.__name__, library.marked(meaning).rstrip("."))
    return markdown_table(
        ("event", "payload", "when", "since"),
        *(
            (f"`{name}`", f"[`{kind}`](#{kind.lower()})", meaning, since(name))
            for name, (kind, meaning) in (
                (name, payloads[name]) for name in get_args(events.EventName)
            )
        ),
    )


def payloads_text() -> str:
    """A section for each payload, and for the records within them."""
    return "\n\n".join(
        library.record(kind, owner)
        for kind, owner in (
            *((payload.__name__, "events") for payload in get_args(events.Event)),
            ("Crash", "events"),
            ("ExitStatus", "process.process"),
        )
    )


def documented_constants(module: object, class_name: str) -> list[tuple[str, str, str]]:
    """Name, value as written and the string below it, for each constant of a class."""
    tree = ast.parse(inspect.getsource(module))  # type: ignore[arg-type]
    (body,) = [
        node.body
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == class_name
    ]
    found = []
    for statement, below in itertools.pairwise(body):
        if not isinstance(statement, ast.Assign | ast.AnnAssign) or not isinstance(below, ast.Expr):
            continue
        target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
        assert statement.value is not None
        assert isinstance(below.value, ast.Constant)
        text = " ".join(str(below.value.value).split())
        found.append((ast.unparse(target), ast.unparse(statement.value), text))
    return found


def errors_table() -> str:
    return markdown_table(
        ("code", "meaning", "since"),
        *(
            (f"`{name}`", text, since(name))
            for name, _, text in documented_constants(errors, "ShimmyErrorCode")
        ),
    )


def defaults_table() -> str:
    constants = documented_constants(defaults, "ShimmyProcessDefaults")
    return markdown_table(
        ("constant", "value", "unit", "meaning", "since"),
        *((f"`{name}`", f"`{value}`", unit(name), text, since(name))
          for name, value, text in constants),
    )  # fmt: skip


def unit(name: str) -> str:
    value = getattr(defaults.ShimmyProcessDefaults, name)
    kinds = {float: "s", int: "bytes", range: "ports", str: ""}
    return UNITS.get(name, kinds[type(value)])


def members_table(node: type[rules.Node]) -> str:
    return markdown_table(
        ("member", "meaning"),
        *((f"`{name}`", field.help) for name, field in node.FIELDS.items()),
    )


def messages_text() -> str:
    """A section for each message to the control route, and its answer."""
    return "\n\n".join(
        f"### {op}\n\n{kind.__doc__}\n\n{message_table(kind)}\n\n"
        f"Answer: [{answer_shapes.ANSWERS[op].__name__}]"
        f"(#{answer_shapes.ANSWERS[op].__name__.lower()})"
        for op, (kind, _) in control.OPERATIONS.items()
    )


def message_table(kind: type[messages.Message]) -> str:
    if not kind.FIELDS:
        return "It has no members."
    return markdown_table(
        ("member", "must be given", "meaning"),
        *(
            (f"`{name}`", "yes" if name in kind.REQUIRED else "", field.help)
            for name, field in kind.FIELDS.items()
        ),
    )


def answers_text() -> str:
    """A section for each answer of the control route, and for the objects in it."""
    found = (
        *dict.fromkeys(answer_shapes.ANSWERS.values()),
        *(answer_shapes.RecordedRequest, answer_shapes.RuleState, answer_shapes.Stray),
        *(answer_shapes.Missed, answer_shapes.Refused),
    )
    return "\n\n".join(
        f"### {node.__name__}\n\n{node.__doc__}\n\n{members_table(node)}" for node in found
    )


def as_file(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2) + "\n"


GENERATED = {
    FAKE / "script" / "script.schema.json": lambda: as_file(rules.schema()),
    FAKE / "stage" / "control.schema.json": lambda: as_file(answer_shapes.schema()),
    ROOT / "packaging" / "npm" / "script.d.ts": typescript.types,
}
"""Files that are generated as a whole, and their content."""


NODES = (rules.Script, rules.Rule, rules.Answer, rules.When, rules.Matcher, rules.Latency)
NODES += (rules.Failure, rules.Fault, rules.Position, rules.Life, rules.Exit, rules.Refusal)
NODES += (rules.ToolCall, rules.Event)

PARTS = {
    "settings": settings_table,
    "messages": messages_text,
    "answers": answers_text,
    "fixtures": fixtures_table,
    "events": events_table,
    "payloads": payloads_text,
    "library": library.text,
    "errors": errors_table,
    "defaults": defaults_table,
    **{node.__name__: functools.partial(members_table, node) for node in NODES},
}


def generate(page: str) -> str:
    """The page with its generated parts as they should be today."""
    for name, make in PARTS.items():
        begin, end = f"<!-- generated: {name} -->", "<!-- end -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        page = pattern.sub(lambda _: f"{begin}\n{make()}\n{end}", page, count=1)  # noqa: B023
    return page


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(generate(page.read_text()))
    for path, content in GENERATED.items():
        path.write_text(content())
    drawings.write()
    picture.REPORT.write_text(picture.report())
