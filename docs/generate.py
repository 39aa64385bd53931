"""Write what is generated: tables of reference.md and scripts.md, and the JSON Schema of scripts.

python docs/generate.py
"""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import json
import re
from pathlib import Path

from fake_shimmy.script import rules
from pytest_shimmy import defaults, errors, fixtures, table

PAGES = [Path(__file__).with_name(name) for name in ("reference.md", "scripts.md")]
SCHEMA = Path(rules.__file__).with_name("script.schema.json")


def settings_table() -> str:
    rows = ["| flag | ini option | environment | meaning |", "|---|---|---|---|"]
    for row in table.TABLE:
        meaning = row.help.replace("|", "\\|")
        rows.append(f"| `{row.flag}` | `{row.ini}` | `{row.variable}` | {meaning} |")
    return "\n".join(rows)


def fixtures_table() -> str:
    rows = ["| fixture | scope | yields |", "|---|---|---|"]
    for node in ast.parse(inspect.getsource(fixtures)).body:
        if not isinstance(node, ast.FunctionDef) or not node.name.startswith(("shimmy", "make_")):
            continue
        scope = "session" if "session" in ast.unparse(node.decorator_list[0]) else "function"
        text = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")
        rows.append(f"| `{node.name}` | {scope} | {text} |")
    return "\n".join(rows)


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
    rows = ["| code | meaning |", "|---|---|"]
    rows += [
        f"| `{name}` | {text} |"
        for name, _, text in documented_constants(errors, "ShimmyErrorCode")
    ]
    return "\n".join(rows)


def defaults_table() -> str:
    rows = ["| constant | value | meaning |", "|---|---|---|"]
    rows += [
        f"| `{name}` | `{value}` | {text} |"
        for name, value, text in documented_constants(defaults, "ShimmyProcessDefaults")
    ]
    return "\n".join(rows)


def members_table(node: type[rules.Node]) -> str:
    rows = ["| member | meaning |", "|---|---|"]
    rows += [f"| `{name}` | {field.help} |" for name, field in node.FIELDS.items()]
    return "\n".join(rows)


def schema() -> str:
    return json.dumps(rules.schema(), indent=2) + "\n"


NODES = (rules.Script, rules.Rule, rules.Answer, rules.When, rules.Matcher, rules.Latency)
NODES += (rules.Failure, rules.Fault, rules.Position, rules.Life, rules.Exit, rules.Refusal)

PARTS = {
    "settings": settings_table,
    "fixtures": fixtures_table,
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
    SCHEMA.write_text(schema())
