"""What a head says to a script: whose request it is, and what rules may ask for.

Strategy: clients repeat themselves, and heads that are alike are one object; so each is decoded
once.
"""

from __future__ import annotations

from fake_shimmy.script.rules import ENDPOINTS
from fake_shimmy.wire.head import USUAL_SIZE, Head

_GENERATIONS = frozenset(ENDPOINTS.values())
_MOST_KNOWN = 64


class KnownHead:
    """A ``head``, decoded."""

    __slots__ = (
        *("bare", "head", "headers", "is_generation", "key", "method", "path", "path_key", "size"),
        "speaks_http",
    )

    def __init__(self, head: Head) -> None:
        self.head = head
        self.method = head.method.decode("latin-1")
        self.path = head.path.decode("latin-1")
        self.is_generation = self.path in _GENERATIONS
        """Whether it asks a model."""
        self.speaks_http = self.path != ENDPOINTS["websocket"]
        """Whether the answer is one of HTTP, and not of a WebSocket."""
        self.headers = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers
        ]
        self.size = sum(len(name) + len(value) for name, value in self.headers)
        """Bytes of its headers."""
        self.key = _key_of(head)
        """The API key; empty where it has none."""
        self.path_key = ""
        """The key that its path begins with, if it does."""
        self.bare = self
        """The same without a key in the path."""
        name, slash, rest = self.path.removeprefix("/~").partition("/")
        if self.path.startswith("/~") and slash and name:
            self.path_key = name
            self.bare = KnownHead(_with_path(head, b"/" + rest.encode("latin-1")))


# Heads that are alike are one object.
_known: dict[Head, KnownHead] = {}


def know(head: Head) -> KnownHead:
    """What ``head`` says."""
    known = _known.get(head)
    if known is None:
        known = KnownHead(head)
        if known.size <= USUAL_SIZE:
            if len(_known) >= _MOST_KNOWN:
                _known.clear()
            _known[head] = known
    return known


def _key_of(head: Head) -> str:
    value = head.header(b"authorization")
    if value is not None:
        scheme, _, key = value.partition(b" ")
        if scheme.lower() == b"bearer":
            return key.strip().decode("latin-1")
    return (head.header(b"x-api-key") or b"").decode("latin-1")


def _with_path(head: Head, path: bytes) -> Head:
    # Heads are shared between requests that are alike.
    other = Head(head.method, path, head.is_1_0)
    for name in Head.__slots__:
        if name != "path":
            setattr(other, name, getattr(head, name))
    return other
