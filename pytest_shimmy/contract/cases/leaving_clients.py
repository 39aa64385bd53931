"""Cases: several clients at once, and clients that leave."""

from __future__ import annotations

from collections.abc import Iterator

from ...executable.dialect import Engine
from ..case import Case, Exchange, Step, answer, close, finish, request, reset, rest, send, some

_CHAT = "/v1/chat/completions"
_STREAM = b'{"model":"tiny","messages":[{"role":"user","content":"Hi"}],"max_tokens":%d}'
_WHOLE = b'{"model":"tiny","messages":[{"role":"user","content":"Hi"}],"stream":false}'
_MARK = b'"role":"assistant"'
_SURE: tuple[Engine, ...] = ("adapter", "llama")
_ALIVE: tuple[Step, ...] = (send(request("GET", "/nope"), "z"), rest("z"))


def cases() -> Iterator[Case]:
    """Every case of this table."""
    stream = request("POST", _CHAT, _STREAM % 20)
    for name, leave in {"hangs up": close(), "resets": reset()}.items():
        for moment, steps in {
            "at once": (send(stream),),
            "in the stream": (send(stream), some(_MARK)),
            "in the head": (send(stream[:30]),),
            "in the body": (send(stream[:-5]),),
            "before asking": (send(b""),),
        }.items():
            act = Exchange((*steps, leave, *_ALIVE))
            # A default build since 2.6 panics over these models, if it gets as far as them.
            engines = _SURE if moment == "at once" else ()
            yield Case("leaving", f"{name} {moment}", act, engines)
    half_closed = (send(stream), some(_MARK), finish(), rest())
    yield Case("leaving", "closes its half in the stream", Exchange(half_closed))
    yield from _at_once()


def _at_once() -> Iterator[Case]:
    whole, short = request("POST", _CHAT, _WHOLE), request("POST", _CHAT, _STREAM % 3)
    both = (send(whole, "a"), send(whole, "b"), rest("b"), rest("a"))
    yield Case("at once", "two answers", Exchange(both))
    both = (send(short, "a"), send(short, "b"), rest("b"), rest("a"))
    yield Case("at once", "two streams", Exchange(both))
    mixed = (send(short, "a"), send(whole, "b"), rest("b"), rest("a"))
    yield Case("at once", "a stream and an answer", Exchange(mixed))
    health = (send(short, "a"), send(request("GET", "/nope"), "b"), rest("b"), rest("a"))
    yield Case("at once", "a stream and a question", Exchange(health))
    failing = request("POST", _CHAT, _WHOLE.replace(b"tiny", b"broken"))
    failed = (send(failing, "a"), rest("a"), send(whole, "b"), rest("b"))
    yield Case("at once", "an answer after a failure", Exchange(failed))
    names = "abcdefgh"
    crowd = (*(send(short, name) for name in names), *(rest(name) for name in names))
    yield Case("at once", "eight streams", Exchange(crowd))
    kept = request("GET", "/nope", last=False)
    idle = (send(kept), answer(), send(whole, "b"), rest("b"), send(request("GET", "/x")), rest())
    yield Case("at once", "an idle connection beside it", Exchange(idle))
