"""Who may ask a server: the key and the origins that it was started with.

Strategy: credentials are compared as the real one does, the first header of a kind only (seen on
2.6.5).
"""

from __future__ import annotations

from _operator import _compare_digest as compare_digest  # as hmac has it, which loads OpenSSL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from fake_shimmy.wire.head import Head


class Access:
    """Without a ``key`` everybody may ask. Of web pages only those of ``origins`` may."""

    __slots__ = ("key", "origins")

    def __init__(self, key: str | None = None, origins: Iterable[str] = ()) -> None:
        self.key = None if key is None else key.encode()
        self.origins = frozenset(origin.encode() for origin in origins)

    def lets_in(self, head: Head) -> bool:
        """Whether ``head`` brings the key, if there is one."""
        if self.key is None:
            return True
        scheme, _, bearer = (head.header(b"authorization") or b"").partition(b" ")
        if scheme.lower() == b"bearer" and compare_digest(bearer, self.key):
            return True
        return compare_digest(head.header(b"x-api-key") or b"", self.key)
