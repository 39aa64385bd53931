"""The types of scripts and control messages in TypeScript, from the tables that read them.

Strategy: a node is an interface, a shape is a type; a shape that is not known here is what its JSON
Schema says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fake_shimmy.script import rules, shapes
from fake_shimmy.script.timed_answer import Recording
from fake_shimmy.stage import answer_shapes, control, messages

_HEAD = """\
// Generated from the tables of fake_shimmy by `python -m docs.generate`.
"""
_SIMPLE: dict[type[shapes.Shape], str] = {
    shapes.Text: "string",
    shapes.Number: "number",
    shapes.Flag: "boolean",
    shapes.Anything: "unknown",
    answer_shapes.Pair: "[name: string, value: string]",
}


def types() -> str:
    """The content of ``script.d.ts``."""
    nodes: dict[str, type[shapes.Node]] = {}
    kinds = {op: kind for op, (kind, _) in control.OPERATIONS.items()}
    answers = answer_shapes.ANSWERS
    for node in (rules.Script, Recording, *kinds.values(), *answers.values()):
        _collect(node, nodes)
    told = {answer_shapes.RecordedRequest, answer_shapes.RuleState, answer_shapes.Stray}
    told |= {*answers.values(), answer_shapes.Missed}
    said = "\n".join(f'  | ({{ op: "{op}" }} & {kind.__name__})' for op, kind in kinds.items())
    heard = "\n".join(f"  {op}: {node.__name__};" for op, node in answers.items())
    parts = [
        _HEAD,
        *(_interface(node, whole=node in told) for node in nodes.values()),
        f"/** What can be said over the control route. */\nexport type Message =\n{said};\n",
        "/** What is answered, by the `op` of the message. */\n"
        f"export interface Answers {{\n{heard}\n}}\n",
    ]
    return "\n".join(parts)


def _collect(node: type[shapes.Node], nodes: dict[str, type[shapes.Node]]) -> None:
    """The node, and what it is made of, first."""
    if node.__name__ in nodes:
        assert nodes[node.__name__] is node, f"two nodes are called {node.__name__}"
        return
    nodes[node.__name__] = node
    for field in node.FIELDS.values():
        for inner in _nodes_of(field.shape):
            _collect(inner, nodes)


def _nodes_of(shape: shapes.Shape) -> list[type[shapes.Node]]:
    if isinstance(shape, shapes.Nodes):
        return [shape.node]
    inner = [each for each in vars(shape).values() if isinstance(each, shapes.Shape)]
    return [node for each in inner for node in _nodes_of(each)]


def _interface(node: type[shapes.Node], *, whole: bool) -> str:
    required = node.FIELDS if whole else _required(node)
    lines = [f"/** {(node.__doc__ or '').strip()} */", f"export interface {node.__name__} {{"]
    for name, field in node.FIELDS.items():
        mark = "" if name in required else "?"
        lines += [f"  /** {field.help} */", f"  {name}{mark}: {_type(field.shape)};"]
    return "\n".join([*lines, "}", ""])


def _required(node: type[shapes.Node]) -> tuple[str, ...]:
    if issubclass(node, messages.Message):
        return node.REQUIRED
    return tuple(node.SCHEMA.get("required", ()))


def _type(shape: shapes.Shape) -> str:
    if type(shape) in _SIMPLE:
        return _SIMPLE[type(shape)]
    match shape:
        case shapes.Nodes():
            return shape.node.__name__
        case shapes.OneOf():
            return " | ".join(map(json.dumps, shape.words))
        case shapes.Items():
            return f"Array<{_type(shape.item)}>"
        case shapes.Table():
            return f"{{ [name: string]: {_type(shape.item)} }}"
        case shapes.Either():
            return " | ".join(dict.fromkeys((_type(shape.first), _type(shape.second))))
        case shapes.Made() | messages.Given():
            return _type(shape.shape)
        case answer_shapes.Nullable():
            return f"{_type(shape.shape)} | null"
        case messages.Recordings():
            return f"Array<{Recording.__name__}>"
    return _type_of_schema(shape.schema())


def _type_of_schema(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(map(json.dumps, schema["enum"]))
    if "anyOf" in schema:
        return " | ".join(map(_type_of_schema, schema["anyOf"]))
    if "prefixItems" in schema:
        at_least = schema.get("minItems", 0)
        items = [
            _type_of_schema(each) + ("" if number < at_least else "?")
            for number, each in enumerate(schema["prefixItems"])
        ]
        return f"[{', '.join(items)}]"
    match schema.get("type"):
        case "array":
            return f"Array<{_type_of_schema(schema.get('items', {}))}>"
        case "object":
            required = schema.get("required", ())
            members = [
                f"{name}{'' if name in required else '?'}: {_type_of_schema(member)}"
                for name, member in schema.get("properties", {}).items()
            ]
            return f"{{ {'; '.join(members)} }}" if members else "{ [name: string]: unknown }"
        case "integer":
            return "number"
        case str() as kind:
            return kind
    return "unknown"
