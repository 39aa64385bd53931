"""Host names and ports as URLs and command lines have them."""

from __future__ import annotations

from urllib.parse import urlsplit


def authority(host: str, port: int) -> str:
    """Host and port as URLs, ``Host`` headers and ``--bind`` have them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(url: str) -> bool:
    """Whether `url` is on this machine; a proxy that the environment names cannot reach it."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")
