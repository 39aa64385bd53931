"""The vocabulary between the application and the socket.

Strategy: an answer is a sequence of steps. Plain ``bytes`` are sent as they are, headers and
framing included; everything else is one of the small classes below. The application only names
steps; the server only plays them. Time is in seconds.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias


SMALL = 64 * 1024
"""Bytes that are always read quickly, whatever they are."""


class Pause:
    """Send nothing for ``seconds``; other connections go on."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class Hang:
    """Send nothing more, and keep the connection open until the client leaves."""

    __slots__ = ()


class Cut:
    """Close the connection here, in order (FIN)."""

    __slots__ = ()


class HalfClose:
    """End the server's half (FIN) and keep the client's open until the client leaves."""

    __slots__ = ()


class Reset:
    """Tear the connection down (RST); what the client has not read yet may be lost."""

    __slots__ = ()


class Exit:
    """End the process at once with ``status``; a negative one is death by that signal."""

    __slots__ = ("status",)

    def __init__(self, status: int) -> None:
        self.status = status


class Refuse:
    """Refuse connections for ``seconds``; for 0, take them again. Open ones go on."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class Sent:
    """Call ``tell`` when all that comes before was given to the system."""

    __slots__ = ("tell",)

    def __init__(self, tell: Callable[[], None]) -> None:
        self.tell = tell


class Wait:
    """Go on when the callback given to ``subscribe`` is called, or after ``seconds``, whichever is
    first. Either may come late and for nothing: look again what was waited for."""

    __slots__ = ("seconds", "subscribe")

    def __init__(
        self, subscribe: Callable[[Callable[[], None]], None], seconds: float | None = None
    ) -> None:
        self.subscribe = subscribe
        self.seconds = seconds


class Mark:
    """A place in an answer, for those who watch it on its way; it never reaches a connection."""

    __slots__ = ()


TOKEN = Mark()
"""What follows is a token's event."""

END = Mark()
"""All tokens have been told; what follows closes the answer."""


class Work:
    """Do ``work`` aside, because it may take long; what it gives are the next steps."""

    __slots__ = ("work",)

    def __init__(self, work: Callable[[], Steps]) -> None:
        self.work = work


class NoMessageError(Exception):
    """What came in is no message, or can no longer become one."""


class Upgrade:
    """From here on the connection speaks another protocol.

    ``read`` takes a message out of what has come in: None until it is complete. It may raise
    :class:`NoMessageError`. ``answer`` gives the last steps of the connection.
    """

    __slots__ = ("answer", "read")

    def __init__(
        self, read: Callable[[bytearray], bytes | None], answer: Callable[[bytes], Steps]
    ) -> None:
        self.read = read
        self.answer = answer


if TYPE_CHECKING:
    Step: TypeAlias = (
        bytes
        | Pause
        | Hang
        | Cut
        | HalfClose
        | Reset
        | Exit
        | Refuse
        | Sent
        | Wait
        | Mark
        | Work
        | Upgrade
    )
    Steps: TypeAlias = Iterable[Step]


def unless_long(data: bytes, read: Callable[[bytes], Steps]) -> Steps:
    """The steps that ``read`` makes of ``data``: at once, or aside if it may take long."""
    return read(data) if len(data) <= SMALL else (Work(lambda: read(data)),)
