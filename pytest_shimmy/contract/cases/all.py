"""All cases, from the rooms that hold them."""

from __future__ import annotations

from ..case import Case
from . import bodies, commands, framing, generations, leaving_clients, lives, routes, websockets


def all_cases() -> list[Case]:
    """Every case, in the order in which a person reads a report."""
    rooms = (commands, lives, routes, bodies, framing, leaving_clients, websockets, generations)
    return [case for room in rooms for case in room.cases()]
