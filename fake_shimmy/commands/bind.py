"""The address to listen on: what ``--bind`` and ``SHIMMY_BIND_ADDRESS`` mean.

Strategy: an explicit address must be what Rust's ``SocketAddr`` parses (no host names); ``auto``
probes ports by binding and closing, so two servers that start at once can pick the same one, as
with the real one (seen on 2.5.0 CPU-only).
"""

from __future__ import annotations

import _socket
from contextlib import closing

from fake_shimmy import rust
from fake_shimmy.serving.listen import listen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from fake_shimmy.serving.listen import Listener

DEFAULT_PORT = 11435
LAST_PORT = 11535


class InvalidAddressError(Exception):
    """An address that cannot be used; the text is shimmy's."""


class Address:
    """An IP address and port; ``scope`` is an IPv6 scope id, 0 for none."""

    __slots__ = ("family", "host", "port", "scope")

    def __init__(self, family: int, host: str, port: int, scope: int = 0) -> None:
        self.family = family
        self.host = host
        self.port = port
        self.scope = scope

    def __str__(self) -> str:
        if self.family == _socket.AF_INET:
            return f"{self.host}:{self.port}"
        scope = f"%{self.scope}" if self.scope else ""
        return f"[{self.host}{scope}]:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it: ``IpAddr::is_loopback``."""
        return self.host == "::1" or (
            self.family == _socket.AF_INET and self.host.startswith("127.")
        )

    def listen(self) -> Listener:
        """A listening socket; raises ``OSError`` as the system says."""
        if self.family == _socket.AF_INET:
            return listen(self.family, (self.host, self.port))
        return listen(self.family, (self.host, self.port, 0, self.scope))


def resolve(bind: str, environ: Mapping[str, str]) -> Address:
    """The address that ``--bind`` means; raises :class:`InvalidAddressError`."""
    if bind != "auto":
        return _parse(bind, "bind address")
    configured = rust.variable(environ, "SHIMMY_BIND_ADDRESS")
    if configured is not None:
        return _parse(configured, "SHIMMY_BIND_ADDRESS")
    for port in (DEFAULT_PORT, *range(DEFAULT_PORT, LAST_PORT + 1)):
        if _is_free(port):
            return Address(_socket.AF_INET, "127.0.0.1", port)
    with closing(_socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return Address(_socket.AF_INET, "127.0.0.1", port)


def _is_free(port: int) -> bool:
    with closing(_socket.socket()) as probe:
        probe.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True


def _parse(text: str, what: str) -> Address:
    address = _socket_address(text)
    if address is None:
        raise InvalidAddressError(f"Invalid {what} '{text}': invalid socket address syntax")
    return address


def _socket_address(text: str) -> Address | None:
    host, colon, digits = text.rpartition(":")
    port = _number(digits, 65535)
    if not colon or port is None or not text.isascii() or "\0" in text:
        return None
    if not (host.startswith("[") and host.endswith("]")):
        octets = [_number(part, 255) for part in host.split(".")]
        padded = any(len(part) > 1 and part[0] == "0" for part in host.split("."))
        if len(octets) != 4 or None in octets or padded:
            return None
        return Address(_socket.AF_INET, host, port)
    inner, percent, zone = host[1:-1].partition("%")
    scope = _number(zone, 2**32 - 1) if percent else 0
    if scope is None:
        return None
    try:
        packed = _socket.inet_pton(_socket.AF_INET6, inner)
    except OSError:
        return None
    return Address(_socket.AF_INET6, _show_ipv6(packed), port, scope)


def _show_ipv6(packed: bytes) -> str:
    """As Rust shows it: only mapped addresses end in a dotted one."""
    if packed[:12] == b"\0" * 10 + b"\xff\xff":
        return "::ffff:" + _socket.inet_ntop(_socket.AF_INET, packed[12:])
    return show_groups(_groups(packed))


def _groups(packed: bytes) -> list[int]:
    return [packed[at] << 8 | packed[at + 1] for at in range(0, 16, 2)]


def ipv6_groups(text: str) -> list[int] | None:
    """The eight numbers of an IPv6 address; None if it is none."""
    try:
        return _groups(_socket.inet_pton(_socket.AF_INET6, text))
    except (OSError, ValueError):
        return None


def show_groups(groups: list[int]) -> str:
    """An IPv6 address, with the first of its longest runs of zeros left out."""
    best, length = 0, 1
    for start in range(8):
        end = start
        while end < 8 and not groups[end]:
            end += 1
        if end - start > length:
            best, length = start, end - start
    shown = [f"{group:x}" for group in groups]
    if length == 1:
        return ":".join(shown)
    return ":".join(shown[:best]) + "::" + ":".join(shown[best + length :])


def _number(digits: str, largest: int) -> int | None:
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 64:
        return None
    number = int(digits)
    return number if number <= largest else None
