"""White space as Rust sees it.

Strategy: Python's own splitting, except where a text contains one of the four ASCII separators,
which are white space to Python and not to Unicode's property that Rust follows.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_SEPARATORS = "\x1c\x1d\x1e\x1f"
_SPACES = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_WORD = f"[^{_SPACES}]+"


def words(text: str) -> list[str]:
    """``split_whitespace``."""
    if any(separator in text for separator in _SEPARATORS):
        return list(each_word(text))
    return text.split()


def each_word(text: str) -> Iterator[str]:
    """The words of a text that may be very long, one at a time."""
    import re

    return map(re.Match.group, re.finditer(_WORD, text))


def trim(text: str) -> str:
    """``str::trim``."""
    if not any(separator in text for separator in _SEPARATORS):
        return text.strip()
    import re

    return re.sub(rf"^[{_SPACES}]+|[{_SPACES}]+\Z", "", text)
