"""Faults for the whole life of a process, from its start to its end."""

from __future__ import annotations

from fake_shimmy.script import shapes
from fake_shimmy.script.faults import SIGNAL
from fake_shimmy.script.shapes import (
    EXIT_STATUS,
    INDEX,
    SECONDS,
    Either,
    Field,
    Flag,
    Items,
    Node,
    Number,
    OneOf,
    Text,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar


class Exit(Node):
    """When and how the process dies by itself."""

    after_requests: int | None
    after_seconds: float | None
    status: int
    signal: str | None
    out_of_memory: bool
    SCHEMA: ClassVar[dict[str, Any]] = {
        "oneOf": [{"required": [name]} for name in ("after_requests", "after_seconds")]
    }
    FIELDS: ClassVar[dict[str, Field]] = {
        "after_requests": Field(
            INDEX, None, "when so many requests, health checks not counted, were answered"
        ),
        "after_seconds": Field(SECONDS, None, "so many seconds after it began to listen"),
        "status": Field(EXIT_STATUS, 1, "the exit status"),
        "signal": Field(SIGNAL, None, "die by this signal instead"),
        "out_of_memory": Field(
            Flag(), False, "die as a Rust program without memory does: its message, then SIGABRT"
        ),
    }

    def check(self) -> None:
        if (self.after_requests is None) == (self.after_seconds is None):
            raise ValueError("exit says one of: after_requests, after_seconds")


class Refusal(Node):
    """A start that fails."""

    status: int
    stderr: str
    FIELDS: ClassVar[dict[str, Field]] = {
        "status": Field(EXIT_STATUS, 1, "the exit status"),
        "stderr": Field(Text(), "Error: refused to start, as scripted", "what it writes to stderr"),
    }


_HEALTH = Either((str,), OneOf(("never", "garbage", "silent")), Items(Flag(), 1))


class Life(Node):
    """Faults for the whole life of a process."""

    refuse: Refusal | None
    start_delay: float
    healthy_after: float
    health: str | list[bool] | None
    exit: Exit | None
    deaf: bool
    stop_delay: float
    failing: bool
    log_flood: int
    list: str | None
    FIELDS: ClassVar[dict[str, Field]] = {
        "refuse": Field(shapes.of(Refusal), None, "serve exits instead of listening"),
        "start_delay": Field(SECONDS, 0.0, "seconds before serve listens"),
        "healthy_after": Field(
            SECONDS, 0.0, "for so many seconds after it listens, /health answers 503"
        ),
        "health": Field(
            _HEALTH,
            None,
            "never: /health always answers 503; garbage: with nonsense; silent: with nothing; "
            "a list of true and false: in this order, again and again",
        ),
        "exit": Field(shapes.of(Exit), None, "the process dies by itself"),
        "deaf": Field(Flag(), False, "SIGTERM is ignored"),
        "stop_delay": Field(SECONDS, 0.0, "seconds from SIGTERM to the end of the process"),
        "failing": Field(
            Flag(), False, "no model loads, so every generation fails, while /health answers 200"
        ),
        "log_flood": Field(
            Number(0, 10**9, is_float=False), 0, "bytes per second written to standard output"
        ),
        "list": Field(
            OneOf(("garbage", "hang")),
            None,
            "what the list command does: garbage: it prints no list; hang: nothing, for ever",
        ),
    }
