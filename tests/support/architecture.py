"""What imports what, from the parsed source: shared by the tests of both packages' layout."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple


class Import(NamedTuple):
    """One import in the source, wherever it stands: type-only imports count too."""

    importer: str
    """Dotted name of the importing module, without the package; empty for the package itself."""
    imported: str
    """Dotted name; of our own package, the module's name without the package."""
    is_own: bool


def imports(package: Path) -> Iterator[Import]:
    """Every import statement in the package's source."""
    for path in sorted(package.rglob("*.py")):
        module = _name(path, package)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = list(_from(node, path, package))
            else:
                continue
            for name in names:
                first, _, rest = name.partition(".")
                is_own = first == package.name
                yield Import(module, rest if is_own else name, is_own)


def _name(path: Path, package: Path) -> str:
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _from(node: ast.ImportFrom, path: Path, package: Path) -> Iterator[str]:
    """What a ``from … import …`` in `path` loads, relative ones resolved."""
    folder = path.parents[node.level - 1] if node.level else None
    inside = folder.relative_to(package.parent).parts if folder else ()
    base = ".".join([*inside, *filter(None, [node.module])])
    source = package.parent.joinpath(*base.split("."))
    for alias in node.names:
        is_module = (source / f"{alias.name}.py").exists() or (source / alias.name).is_dir()
        yield f"{base}.{alias.name}" if is_module else base


def folder(module: str) -> str:
    """The entry at the package's top in which `module` stands: a folder or a single module."""
    return module.partition(".")[0]


def arrows(pairs: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """A graph from pairs of names; an arrow of a name to itself is none."""
    graph: dict[str, set[str]] = {}
    for source, target in pairs:
        if source != target:
            graph.setdefault(source, set()).add(target)
            graph.setdefault(target, set())
    return graph


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The groups of names that reach each other."""
    order: list[str] = []
    seen: set[str] = set()

    def visit(name: str) -> None:
        if name not in seen:
            seen.add(name)
            for other in sorted(graph[name]):
                visit(other)
            order.append(name)

    for name in sorted(graph):
        visit(name)
    backwards = arrows((target, source) for source in graph for target in graph[source])
    found = []
    seen.clear()
    for name in reversed(order):
        group, waiting = [], [name]
        while waiting:
            each = waiting.pop()
            if each not in seen:
                seen.add(each)
                group.append(each)
                waiting += backwards.get(each, ())
        if len(group) > 1:
            found.append(sorted(group))
    return found
