"""Who may ask a server: the key and the origins that it was started with."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Access:
    """Without a ``key`` everybody may ask. Of web pages only those of ``origins`` may."""

    __slots__ = ("key", "origins")

    def __init__(self, key: str | None = None, origins: Iterable[str] = ()) -> None:
        self.key = None if key is None else key.encode()
        self.origins = frozenset(origin.encode() for origin in origins)
