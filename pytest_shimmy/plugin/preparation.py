"""What is done before the first test, for the tests that will use a server.

Plugins change the world under a test: they replace the file system, sockets, or fork. What our
fixtures need is loaded, and the run's hold on its servers made, while none of that has begun.
It is loaded when a test asks for a server.
"""

from __future__ import annotations

from collections.abc import Set
from importlib import import_module

import pytest

from .state import anchor_of

SERVER = (
    *("harness", "launch.gpu", "network.remote"),
    *("plugin.used_servers", "plugin.markers"),
)
"""What a test with a server may load, of what is loaded only when it is needed."""
FURTHER = {
    "shimmy_fake": ("fake_control.fake",),
    "make_shimmy_server": ("fake_control.fake", "fake_control.scripts"),
    "shimmy_openai_client": ("openai_clients",),
    "shimmy_async_openai_client": ("openai_clients",),
    "shimmy_registry": ("models.registry",),
    "shimmy_accel": ("accel.detector",),
}
"""What a fixture needs on top."""


def prepare(session: pytest.Session, asked: Set[str]) -> None:
    """Get ready for the fixtures of ours that the collected tests ask for."""
    modules = {*SERVER, *(module for name in asked for module in FURTHER.get(name, ()))}
    for module in sorted(modules):
        import_module(f"pytest_shimmy.{module}")
    if not hasattr(session.config, "workerinput"):
        # Plugins that run each test in a forked child (pytest-forked) would else have each start
        # a server.
        anchor_of(session.config)
