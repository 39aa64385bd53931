"""All cases, from the rooms that hold them."""

from __future__ import annotations

from . import bodies, commands, framing, generations, lives, manners, routes, websockets
from .cases import Case


def all_cases() -> list[Case]:
    """Every case, in the order in which a person reads a report."""
    rooms = (commands, lives, routes, bodies, framing, manners, websockets, generations)
    return [case for room in rooms for case in room.cases()]
