"""What is done before the first test, for the tests that will use a server.

Plugins change the world under a test: they replace the file system, sockets, or fork. What our
fixtures need is loaded, and the run's hold on its servers made, while none of that has begun.
It is loaded when a test asks for a server.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from importlib import import_module

import pytest

from .rewriting import not_rewritten
from .state import anchor_of, settings_of

SERVER = ("harness", "plugin.used_servers")
"""What a test with a server loads, of what is loaded only when it is needed."""
FURTHER = {
    "shimmy_fake": ("fake_control.fake",),
    "make_shimmy_server": ("fake_control.fake", "fake_control.scripts"),
    "shimmy_openai_client": ("openai_clients",),
    "shimmy_async_openai_client": ("openai_clients",),
    "shimmy_registry": ("models.registry",),
    "shimmy_accel": ("accel.detector",),
}
"""What a fixture needs on top."""


STARTING = {"shimmy_server", "make_shimmy_server"}
"""The fixtures behind which servers are started."""
SKIPPING = ("skip", "skipif", "shimmy_real", "shimmy_fake", "shimmy_gpu")
"""Marks of a test that may start none after all."""


def prepare(session: pytest.Session, asked: Set[str]) -> None:
    """Get ready for the fixtures of ours that the collected tests ask for."""
    if _starts_with_server(session):
        with not_rewritten():
            from ..sharing.launcher import drop_ahead, spawn_ahead

        spawn_ahead()
        session.config.add_cleanup(drop_ahead)
    modules = {*SERVER, *(module for name in asked for module in FURTHER.get(name, ()))}
    if settings_of(session.config).mode == "attached":
        modules.add("network.remote")
    with not_rewritten():
        for module in sorted(modules):
            import_module(f"pytest_shimmy.{module}")
    if not hasattr(session.config, "workerinput"):
        # Plugins that run each test in a forked child (pytest-forked) would else have each start
        # a server.
        anchor_of(session.config)


def _starts_with_server(session: pytest.Session) -> bool:
    """Whether the first thing that this process does is to start a server. Of workers only one
    does, and which one is not known."""
    chosen = settings_of(session.config)
    if hasattr(session.config, "workerinput") or (chosen.mode == "attached" and not chosen.record):
        return False
    first = session.items[0]
    names: Sequence[str] = getattr(first, "fixturenames", ())
    return not STARTING.isdisjoint(names) and not any(map(first.get_closest_marker, SKIPPING))
