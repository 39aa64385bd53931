"""Strategies of answers: legal ones in any framing and any pieces, and faulty ones.

Strategy: few draws, each of which is simplest at zero, in an order in which the earlier ones do not
decide how many later ones there are: that is what lets hypothesis shrink a failure to the fewest
events and bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias, TypeVar

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from fake_shimmy.releases import NEWEST, RELEASES

from . import events
from .answer import Answer, Ending, Error, Plan, Printed
from .events import Said
from .framing import (
    Framed,
    Style,
    cut,
    framed,
    places,
    shortened,
    told_within,
    whole_from,
)

Wire: TypeAlias = Literal["any", "shimmy"]
"""How a stream is framed: in any legal way and any pieces, or as shimmy does it."""

FAULTS = (
    *("end", "close", "reset", "half_close"),
    *("truncated_json", "html", "status", "invalid_utf8", "hang"),
)
"""What can be wrong with an answer.

``end``: the answer is completed before all is said. ``close``, ``reset``, ``half_close``, ``hang``:
so does the connection end there, or nothing more comes. ``truncated_json``: the JSON of an event
ends too early. ``html``: a page with status 200, as a proxy or a login sends it. ``status``: an
error's status, with shimmy's body, another one or none. ``invalid_utf8``: a byte is 0xFF.
"""
USUAL = tuple(fault for fault in FAULTS if fault not in ("invalid_utf8", "hang"))
"""Those that every client must notice and that cost no time-out."""

HARD = (
    *("", " ", "\n", "\n\n", "\t", "\x00", "\u2028", "\ufeff", "\u202e", "\ufffd"),
    *("é", "日本", "e\u0301", "🏳️‍🌈", "👩‍👩‍👧‍👦", "\U0010fffd", "Ω" * 9),
    *("[DONE]", "data: [DONE]", "data:", ": comment", "event: error", "\\", '"', '"}', "</s>"),
)
"""Tokens at which readers are easily wrong."""
HUGE = 1_000
"""How often a token is repeated in an answer whose tokens are huge."""

REFUSALS = (
    (429, '{"error":{"message":"slow down","type":"rate_limit_error"}}'),
    (503, "busy"),
    (500, ""),
    (502, "<html><body>Bad Gateway</body></html>"),
)
"""Answers after which a client may ask again."""
FINAL = (
    (400, '{"error":{"message":"no","type":"invalid_request_error","param":null,"code":null}}'),
    (401, '{"error":{"message":"Unauthorized","type":"authentication_error"}}'),
    (404, ""),
)
"""Answers after which it must not: the same request would get the same."""
ERRORS = (*REFUSALS, *FINAL)
JSON = "application/json"
HTML = b"<!doctype html><html><body>Sign in</body></html>"


def streams(
    endpoint: str = "chat", *, release: str = NEWEST, wire: Wire = "any", max_tokens: int = 6
) -> SearchStrategy[Answer]:
    """Whole streams that a correct client understands, and how it ends with each.

    :param endpoint: ``chat``, ``generate``, or ``messages``, which no shimmy streams.
    :param release: Whose events they are.
    :param wire: ``any``: cut into pieces anywhere, with any line ends, comments, fields and a byte
        order mark, as servers and proxies may do; ``shimmy``: as that release sends it.
    :param max_tokens: The most tokens, some of which may be huge.

    Some streams say that their generation failed, where the release says so. Raises ``ValueError``.
    """
    check(endpoint, release, events.STREAMED)
    return _streams(endpoint, release, wire, max_tokens).map(_noted)


def answers(
    endpoint: str = "chat", *, release: str = NEWEST, wire: Wire = "any", max_tokens: int = 6
) -> SearchStrategy[Answer]:
    """The same in one JSON body; `endpoint` may be ``completions`` too."""
    check(endpoint, release, events.WHOLE)
    return _answers(endpoint, release, wire, max_tokens).map(_noted)


def faults(
    endpoint: str = "chat",
    kinds: Sequence[str] = USUAL,
    *,
    release: str = NEWEST,
    wire: Wire = "any",
    max_tokens: int = 6,
) -> SearchStrategy[Answer]:
    """Streams with something wrong at any place, after which a client must not say that all is
    well, and the most that it may have shown.

    :param kinds: Some of `FAULTS`. Not in them by default: ``hang``, which costs a client's
        time-out, and ``invalid_utf8``, for which clients may show U+FFFD.

    The rest is as for `streams`. Raises ``ValueError``.
    """
    check(endpoint, release, events.STREAMED)
    unknown = [kind for kind in kinds if kind not in FAULTS]
    if unknown or not kinds:
        raise ValueError(f"kinds: {unknown or 'none'}: there are: {', '.join(FAULTS)}")
    # Shrinking goes towards the first. Bare tokens have no JSON to break.
    fitting = [kind for kind in FAULTS if endpoint != "generate" or kind != "truncated_json"]
    chosen = tuple(kind for kind in fitting if kind in kinds)
    return _faults(endpoint, chosen, release, wire, max_tokens).map(_noted)


def servers(
    endpoint: str = "chat", *, retries: int = 2, release: str = NEWEST, wire: Wire = "any"
) -> SearchStrategy[Plan]:
    """What a server in trouble answers: up to `retries` times something after which a client may
    ask again (an error's status, a connection that is closed or reset before the answer), then
    what ends the matter: a stream, whole or cut short after a part of its text, or a status that
    the same request would get again.

    Once a part of a text has come, a client must not ask again by itself: it would say that part
    twice. Raises ``ValueError``.
    """
    check(endpoint, release, events.STREAMED)
    return _servers(endpoint, retries, release, wire).map(_noted)


def check(endpoint: str, release: str, known: Sequence[str]) -> None:
    """Refuse what there is not. Raises `ValueError`."""
    if endpoint not in known:
        raise ValueError(f"endpoint: {endpoint!r}: there are: {', '.join(known)}")
    if release not in RELEASES:
        raise ValueError(f"release: {release!r}: there are: {', '.join(RELEASES)}")


_Played = TypeVar("_Played", Answer, Plan)


def _noted(played: _Played) -> _Played:
    """The same, with a note that hypothesis shows when the example fails."""
    note(Printed(played))
    return played


_TEXT = st.text(max_size=6)
_LIKELY = 1 << 15
_PLACE = st.integers(0, 0xCFFF)
"""Where something happens: below `_LIKELY` it counts the likely places, from there on the bytes."""
_PLACES = st.text(st.characters(max_codepoint=0xCFFF), max_size=8)
"""Places, as a text with a character for each: one draw, which is what makes hundreds of examples
a second, and which shrinks character by character."""
_CUT_SHORT, _USAGE, _HUGE, _FAILS = 0b1, 0b10, 0b11100, 0b11100000
"""What is so where all these bits are set."""


@st.composite
def _streams(draw: DrawFn, endpoint: str, release: str, wire: Wire, max_tokens: int) -> Answer:
    said, style = _said(draw, endpoint, release, max_tokens, may_fail=True)
    parts, ending = _parts(endpoint, release, wire, said, style)
    return Answer(endpoint, _pieces(draw, parts, wire), ending)


def _parts(
    endpoint: str, release: str, wire: Wire, said: Said, style: Style
) -> tuple[list[Framed], Ending]:
    """The framed events of a stream, and how a client ends with all of them."""
    told, facts = events.stream(endpoint, release, said)
    error: Error | None = "told" if said.fails else None
    framing = style if wire == "any" else Style.PLAIN
    return framed(told, framing), Ending(said.text, error, *facts)


def _said(
    draw: DrawFn, endpoint: str, release: str, max_tokens: int, *, may_fail: bool = False
) -> tuple[Said, Style]:
    """What is said, and in which style: each bit and each token has a byte of one draw. A byte of 0
    is a token of any text."""
    text = draw(_TEXT)
    flags, style, *chosen = draw(st.binary(min_size=2, max_size=2 + max_tokens))
    tokens = [HARD[(each - 1) % len(HARD)] if each else text for each in chosen]
    if endpoint == "generate":
        # Bare tokens: one like the end marker is the end, and shimmy panics over a CR.
        tokens = [token.replace("\r", "\n") for token in tokens if token != events.DONE]
    if flags & _HUGE == _HUGE:
        tokens = [token * HUGE for token in tokens]
    said = Said(
        tokens,
        is_cut_short=bool(flags & _CUT_SHORT) and events.tells_reasons(endpoint, release),
        with_usage=bool(flags & _USAGE) and events.tells_usage(endpoint, release),
        fails=may_fail and flags & _FAILS == _FAILS and events.tells_failures(endpoint, release),
    )
    return said, Style(style % (Style.MARK << 1))


def _pieces(draw: DrawFn, parts: Sequence[Framed], wire: Wire) -> list[bytes]:
    """A body in its pieces: an event each, unless it is cut elsewhere."""
    whole = [part.data for part in parts]
    if wire == "shimmy":
        return whole
    chosen = draw(_PLACES)
    if not chosen:
        return whole
    body = b"".join(whole)
    likely = places(body)
    # Characters shrink towards "0".
    return cut(body, [_offset(ord(each) ^ ord("0"), body, likely) for each in chosen])


def _offset(place: int, body: bytes, likely: Sequence[int]) -> int:
    """A place as an offset, at most the body's size."""
    if place >= _LIKELY or not likely:
        return place % (len(body) + 1)
    return likely[place % len(likely)]


@st.composite
def _answers(draw: DrawFn, endpoint: str, release: str, wire: Wire, max_tokens: int) -> Answer:
    said, _ = _said(draw, endpoint, release, max_tokens)
    text, facts = events.body(endpoint, release, said)
    pieces = _pieces(draw, [Framed(text.encode(), said.text)], wire)
    return Answer(endpoint, pieces, Ending(said.text, None, *facts), content_type=JSON)


@st.composite
def _faults(
    draw: DrawFn, endpoint: str, kinds: Sequence[str], release: str, wire: Wire, max_tokens: int
) -> Answer:
    kind = kinds[draw(st.integers(0, len(kinds) - 1))]
    place = draw(_PLACE)
    if kind == "status":
        return _refusal(endpoint, ERRORS[place % len(ERRORS)])
    if kind == "html":
        return Answer(endpoint, [HTML], Ending("", "broken"), content_type="text/html")
    said, style = _said(draw, endpoint, release, max_tokens)
    parts, _ = _parts(endpoint, release, wire, said, style)
    if kind in _DAMAGES:
        parts, before = _damaged(parts, place, _DAMAGES[kind])
        return Answer(endpoint, _pieces(draw, parts, wire), Ending(before, "broken"))
    body = b"".join(part.data for part in parts)
    size = _offset(place, body, places(body)) % whole_from(parts)
    return _ending_at(draw, endpoint, parts, size, kind, wire)


def _ending_at(
    draw: DrawFn, endpoint: str, parts: Sequence[Framed], size: int, kind: str, wire: Wire
) -> Answer:
    """The answer, which is over after so many bytes."""
    pieces = _pieces(draw, shortened(parts, size), wire)
    ending = Ending(told_within(parts, size), "cut")
    return Answer(endpoint, pieces, ending, cut=None if kind == "end" else kind)


def _refusal(endpoint: str, error: tuple[int, str]) -> Answer:
    status, body = error
    kind = JSON if body.startswith("{") else "text/html" if body else "text/plain"
    return Answer(endpoint, [body.encode()], Ending("", "status"), status=status, content_type=kind)


def _damaged(
    parts: list[Framed], place: int, damage: Callable[[bytes], bytes]
) -> tuple[list[Framed], str]:
    """The events, one of which is damaged but not the end marker, and the text before it."""
    number = place % max(1, len(parts) - 1)
    broken = parts[number]._replace(data=damage(parts[number].data))
    before = "".join(part.text for part in parts[:number])
    return [*parts[:number], broken, *parts[number + 1 :]], before


def _truncate_json(event: bytes) -> bytes:
    """Without what follows its last name, whose value is missing then."""
    end = event[len(event.rstrip(b"\r\n")) :]
    return event[: event.rindex(b'"') + 1] + end


def _spoil_utf8(event: bytes) -> bytes:
    content = event.rstrip(b"\r\n")
    where = content.rfind(b'"')
    where = len(content) if where < 0 else where
    return event[:where] + b"\xff" + event[where:]


_DAMAGES = {"truncated_json": _truncate_json, "invalid_utf8": _spoil_utf8}


@st.composite
def _servers(draw: DrawFn, endpoint: str, retries: int, release: str, wire: Wire) -> Plan:
    failures = draw(st.lists(st.integers(0, len(REFUSALS) + 1), max_size=retries))
    before = [_failure(endpoint, failure) for failure in failures]
    said, style = _said(draw, endpoint, release, 4)
    said = said._replace(tokens=["Once", *said.tokens])
    parts, ending = _parts(endpoint, release, wire, said, style)
    kind = ("complete", "end", "close", "reset", "status")[draw(st.integers(0, 4))]
    if kind == "status":
        last = _refusal(endpoint, FINAL[len(said.tokens) % len(FINAL)])
    elif kind == "complete":
        last = Answer(endpoint, _pieces(draw, parts, wire), ending)
    else:
        # Until something has been said, a client may ask again.
        first = next(number for number, part in enumerate(parts) if part.text)
        least = sum(len(part.data) for part in parts[: first + 1])
        size = least + draw(_PLACE) % (whole_from(parts) - least)
        last = _ending_at(draw, endpoint, parts, size, kind, wire)
    return Plan([*before, last])


def _failure(endpoint: str, number: int) -> Answer:
    """Something after which a client may ask again."""
    if number < len(REFUSALS):
        return _refusal(endpoint, REFUSALS[number])
    how = ("close", "reset")[number - len(REFUSALS)]
    return Answer(endpoint, [], Ending("", "cut"), cut=how)
