"""The vocabulary between the application and the socket.

Strategy: an answer is a sequence of steps. Plain ``bytes`` are sent as they are, headers and
framing included; everything else is one of the small classes below. The application only names
steps; the server only plays them. Time is in seconds.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias


class Pause:
    """Send nothing for ``seconds``; other connections go on."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class Log:
    """Write ``text`` as a line to the server's stdout."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class Hang:
    """Send nothing more, and keep the connection open until the client leaves."""

    __slots__ = ()


class Cut:
    """Close the connection here, in order (FIN)."""

    __slots__ = ()


class Reset:
    """Tear the connection down (RST); what the client has not read yet may be lost."""

    __slots__ = ()


class Exit:
    """End the process at once with ``status``; a negative one is death by that signal."""

    __slots__ = ("status",)

    def __init__(self, status: int) -> None:
        self.status = status


if TYPE_CHECKING:
    Step: TypeAlias = bytes | Pause | Log | Hang | Cut | Reset | Exit
    Steps: TypeAlias = Iterable[Step]
