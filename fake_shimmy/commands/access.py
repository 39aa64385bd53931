"""What the environment says of who may ask: the key, and the origins of web pages.

Strategy: the real one's checks in its order, each with its text. An origin must be written as a
browser writes it, so what is compared is a URL's origin as the WHATWG standard has it, made from
the text; only what it takes to tell a right one from a wrong one is read of a URL. Seen on 2.6.5.
"""

from __future__ import annotations

from fake_shimmy import rust
from fake_shimmy.api.access import Access
from fake_shimmy.commands import bind
from fake_shimmy.rust.whitespace import trim

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from fake_shimmy.commands.bind import Address

KEY, ORIGINS = "SHIMMY_API_KEY", "SHIMMY_ALLOWED_ORIGINS"
_SHORTEST_KEY = 16
_SCHEMES = {"http": 80, "https": 443, "ws": 80, "wss": 443, "ftp": 21}
_SCHEME = r"([A-Za-z][A-Za-z0-9+.-]*):"
_NO_HOST = set('\0\t\n\r #/:<>?@[\\]^|%"`{}') - set('"`{}')


class RefusedError(Exception):
    """Why no server starts; the text is shimmy's."""


def read(environ: Mapping[str, str]) -> Access:
    """Who may ask; raises :class:`RefusedError`."""
    key, listed = environ.get(KEY), environ.get(ORIGINS, "")
    for name, value in ((KEY, key), (ORIGINS, listed)):
        if value is not None and not rust.is_utf8(value):
            raise RefusedError(f"{name} must be valid Unicode")
    if key is not None and not _is_key(key):
        text = f"at least {_SHORTEST_KEY} printable ASCII characters without spaces"
        raise RefusedError(f"{KEY} must contain {text}")
    origins = [_exact(origin) for piece in listed.split(",") if (origin := trim(piece))]
    return Access(key, origins)


def check_address(access: Access, address: Address) -> None:
    """Refuse an ``address`` that other machines reach, where there is no key."""
    if access.key is None and not address.is_loopback:
        raise RefusedError(
            f"Non-loopback binds require {KEY}; use 127.0.0.1 for local unauthenticated access"
        )


def _is_key(key: str) -> bool:
    return len(key.encode()) >= _SHORTEST_KEY and all("!" <= char <= "~" for char in key)


def _exact(text: str) -> str:
    origin = _origin(text)
    if origin is None:
        raise RefusedError(f"{ORIGINS} must contain HTTP(S) origins")
    if text.rstrip("/") != origin:
        text = "exact HTTP(S) origins, without paths or wildcards"
        raise RefusedError(f"{ORIGINS} must contain {text}")
    return origin


def _origin(text: str) -> str | None:
    """The origin of the URL ``text``: None if it is no URL, empty if that is not HTTP(S)."""
    import re

    url = re.sub(r"[\t\n\r]", "", text.strip("".join(map(chr, range(33)))))
    found = re.match(_SCHEME, url)
    if found is None:
        return None
    scheme, rest = found[1].lower(), url[found.end() :]
    if scheme not in _SCHEMES:
        return ""
    authority = re.split(r"[/\\?#]", rest.lstrip("/\\"), maxsplit=1)[0].rpartition("@")[2]
    host, port = authority, ""
    colon = re.fullmatch(r"(\[[^]]*\]|[^\[:]*)(?::([^:]*))?", authority)
    if colon is not None:
        host, port = colon[1], colon[2] or ""
    if port and (not (port.isascii() and port.isdigit()) or int(port[-9:]) > 65535):
        return None
    shown = _host(host)
    if not shown:
        return None
    if scheme not in ("http", "https"):
        return ""
    is_usual = not port or int(port) == _SCHEMES[scheme]
    return f"{scheme}://{shown}" if is_usual else f"{scheme}://{shown}:{int(port)}"


def _host(text: str) -> str | None:
    """A host as a URL shows it; None if it is none."""
    if text.startswith("["):
        groups = bind.ipv6_groups(text[1:-1]) if text.endswith("]") else None
        return None if groups is None else f"[{bind.show_groups(groups)}]"
    name = _percent_decoded(text)
    if not name.isascii():
        try:
            name = name.encode("idna").decode()
        except UnicodeError:
            return None
    name = name.lower()
    if any(char in _NO_HOST or char <= " " or char == "\x7f" for char in name):
        return None
    return _ipv4(name) if _ends_in_number(name) else name


def _percent_decoded(text: str) -> str:
    import re

    raw = re.sub(
        rb"%([0-9A-Fa-f]{2})", lambda found: bytes.fromhex(found[1].decode()), text.encode()
    )
    return raw.decode("utf-8", "replace")


def _ends_in_number(name: str) -> bool:
    last = name.removesuffix(".").rpartition(".")[2]
    return bool(last) and (last.isdigit() or _number(last) is not None)


def _number(part: str) -> int | None:
    base = 16 if part.startswith("0x") else 8 if part.startswith("0") and len(part) > 1 else 10
    digits = part[2:] if base == 16 else part
    if not all(char in "0123456789abcdef"[:base] for char in digits):
        return None
    return int(digits or "0", base)


def _ipv4(name: str) -> str | None:
    numbers = [_number(part) if part else None for part in name.removesuffix(".").split(".")]
    if len(numbers) > 4:
        return None
    address = 0
    for at, number in enumerate(numbers):
        is_last = at == len(numbers) - 1
        if number is None or number >= (256 ** (5 - len(numbers)) if is_last else 256):
            return None
        address += number if is_last else number << 8 * (3 - at)
    return ".".join(str(byte) for byte in address.to_bytes(4, "big"))
