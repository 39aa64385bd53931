"""All cases, from the rooms that hold them."""

from __future__ import annotations

from ..case import Case
from . import (
    access,
    bodies,
    commands,
    framing,
    generations,
    inference,
    leaving_clients,
    lives,
    routes,
    websockets,
)

_TABLES = (
    *(commands, lives, routes, bodies, framing, leaving_clients, websockets),
    *(access, generations, inference),
)


def all_cases() -> list[Case]:
    """Every case, in the order in which a person reads a report."""
    return [case for table in _TABLES for case in table.cases()]
