"""The way to an attached server: TLS, a proxy, a name and password in its URL.

Loaded only for such a server. What the environment says is honoured as `requests` honours it
(``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY``, ``REQUESTS_CA_BUNDLE``,
``CURL_CA_BUNDLE``), except SOCKS proxies and ``.netrc``.
"""

from __future__ import annotations

import os
import ssl
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

from .addresses import authority, is_loopback
from .http import NotHttpError, Patience, Peer, Route
from .sockets import Socket

T = TypeVar("T")


def remote_route(url: str) -> Route:
    """See `route.route_to`."""
    parts = urlsplit(url)
    host, port = _address(parts)
    # What a URL's name and password say goes into a header, never into a request line.
    headers = {"host": parts.netloc.rpartition("@")[2], **_credentials(parts, "authorization")}
    proxy = None if is_loopback(url) else _proxy_for(parts)
    is_tls = parts.scheme == "https"
    if proxy is None:
        wrap = (lambda plain, timeout: Tls(plain, host, timeout)) if is_tls else None
        return Route(host, port, parts.path, headers, wrap)
    proxy_host, proxy_port = _address(proxy)
    for_proxy = _credentials(proxy, "proxy-authorization")
    if not is_tls:
        prefix = f"http://{headers['host']}{parts.path}"
        return Route(proxy_host, proxy_port, prefix, {**headers, **for_proxy})

    def tunnel(plain: Socket, timeout: float) -> Peer:
        _open_tunnel(plain, authority(host, port), for_proxy, timeout)
        return Tls(plain, host, timeout)

    return Route(proxy_host, proxy_port, parts.path, headers, tunnel)


def _address(parts: SplitResult) -> tuple[str, int]:
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _credentials(parts: SplitResult, header: str) -> dict[str, str]:
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {header: f"Basic {b64encode(pair.encode()).decode()}"}


def _proxy_for(parts: SplitResult) -> SplitResult | None:
    host, port = _address(parts)
    proxies = urllib.request.getproxies()
    chosen = proxies.get(parts.scheme) or proxies.get("all")
    if not chosen or urllib.request.proxy_bypass(authority(host, port)):
        return None
    proxy = urlsplit(chosen if "://" in chosen else f"http://{chosen}")
    if proxy.scheme != "http":
        raise OSError(
            f"the environment names a proxy of the kind {proxy.scheme}, and only http is known "
            f"here (NO_PROXY={host} leaves it out)"
        )
    return proxy


def _open_tunnel(plain: Socket, target: str, headers: Mapping[str, str], timeout: float) -> None:
    patience = Patience(timeout)
    lines = [f"CONNECT {target} HTTP/1.1", f"host: {target}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    plain.settimeout(patience.left())
    plain.sendall("\r\n".join([*lines, "", ""]).encode())
    head = b""
    while b"\r\n\r\n" not in head and len(head) < 65536:
        # One byte at a time would be exact; a proxy says nothing more until it is spoken to.
        data = patience.receive(plain)
        if not data:
            break
        head += data
    status_line = head.split(b"\r\n", 1)[0].decode("latin-1")
    if status_line.split(" ")[1:2] != ["200"]:
        raise NotHttpError(f"the proxy refuses to connect to {target}: {status_line!r}")


def _context() -> ssl.SSLContext:
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    if bundle:
        if os.path.isdir(bundle):  # noqa: PTH112
            return ssl.create_default_context(capath=bundle)
        return ssl.create_default_context(cafile=bundle)
    context = ssl.create_default_context()
    try:
        import certifi
    except ImportError:
        pass
    else:
        context.load_verify_locations(certifi.where())
    return context


class Tls:
    """TLS over a socket of ours: Python's own wrapping would make a `socket.socket` of it."""

    def __init__(self, plain: Socket, host: str, timeout: float) -> None:
        self._plain = plain
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = _context().wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        plain.settimeout(timeout)
        self._do(self._tls.do_handshake)

    def settimeout(self, seconds: float | None) -> None:
        self._plain.settimeout(seconds)

    def sendall(self, data: bytes) -> None:
        self._do(lambda: self._tls.write(data))

    def recv(self, size: int) -> bytes:
        try:
            return self._do(lambda: self._tls.read(size))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def close(self) -> None:
        self._plain.close()

    def _do(self, step: Callable[[], T]) -> T:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._flush()
                data = self._plain.recv(65536)
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            else:
                self._flush()
                return result

    def _flush(self) -> None:
        if data := self._outgoing.read():
            self._plain.sendall(data)
