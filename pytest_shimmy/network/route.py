"""The way to a server, from its URL."""

from __future__ import annotations

from urllib.parse import urlsplit

from .addresses import is_loopback
from .http import Route


def route_to(url: str) -> Route:
    """The route to the server at `url`. Raises `OSError` where the environment names a proxy that
    we cannot use."""
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.username is None and is_loopback(url):
        return Route(parts.hostname or "", parts.port or 80, parts.path)
    from .remote import remote_route

    return remote_route(url)
