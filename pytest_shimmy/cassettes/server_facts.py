"""What is recorded of a server beside its answers, and what a replay says of itself by it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ..accel.readback import ServerGpu
from ..errors import ShimmyError
from .cassette import FORMAT


def describe(server: Any, build: str) -> dict[str, Any]:
    """What a `ShimmyServer` shows of itself, for the file ``server.json``; `build` is what its
    executable says of how it was built."""
    document: dict[str, Any] = {
        "format": FORMAT,
        "at": time.strftime("%Y-%m-%d", time.gmtime()),
        "server": name_of(server.mode, server.version, server.settings.url),
        "mode": server.mode,
        "version": server.version,
    }
    if build:
        document["build"] = build
    for name in ("models", "model", "health", "gpu"):
        try:
            found = getattr(server, name)
            found = found() if callable(found) else found
        except ShimmyError:
            continue
        if name == "gpu":
            document["backend"] = found.in_use or ""
            found = {"in_use": found.in_use, "evidence": found.evidence, "device": found.device}
        document[name] = found
    return document


def name_of(mode: str, version: str, url: str | None) -> str:
    """How headers call a recorded server."""
    if version == UNKNOWN and url is not None:
        return urlsplit(url).netloc.rpartition("@")[2]
    return f"shimmy {version}" if mode != "fake" else f"the bundled fake of shimmy {version}"


UNKNOWN = "unknown"
"""The version of a server that does not say it."""


def recorded_gpu(facts: Mapping[str, Any] | None, requested: str) -> ServerGpu:
    """A replay's: never verified, because no GPU takes part in it."""
    gpu = (facts or {}).get("gpu") or {}
    was = gpu.get("in_use") or "nothing known"
    evidence = f"replayed; when it was recorded, {was} was in use: {gpu.get('evidence', '')}"
    return ServerGpu(requested, None, False, evidence.rstrip(": "), gpu.get("device"))
