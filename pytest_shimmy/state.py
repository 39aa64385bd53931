"""What the plugin keeps in pytest's config between its hooks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

import pytest

from .settings import Settings

if TYPE_CHECKING:
    from .anchor import Anchor
    from .binary import Executable
    from .harness import Harness
    from .protocol import Farewell

SETTINGS: pytest.StashKey[Settings] = pytest.StashKey()
HARNESS: pytest.StashKey[Harness] = pytest.StashKey()
ANCHOR: pytest.StashKey[Anchor] = pytest.StashKey()
FAREWELLS: pytest.StashKey[list[Farewell]] = pytest.StashKey()
EXECUTABLE: pytest.StashKey[Executable] = pytest.StashKey()


def settings_of(config: pytest.Config) -> Settings:
    """The run's settings."""
    return config.stash[SETTINGS]


def harness_of(config: pytest.Config) -> Harness:
    """This process's harness, made (and its modules loaded) at the first call."""
    harness = config.stash.get(HARNESS, None)
    if harness is None:
        from .anchor import Run
        from .harness import Harness

        worker = getattr(config, "workerinput", {})
        invitation = worker.get("shimmy")
        run = Run.alone() if invitation is None else Run.invited(invitation)
        harness = config.stash[HARNESS] = Harness(run, worker.get("workerid"))
    return harness


def anchor_of(config: pytest.Config) -> Anchor:
    """The xdist controller's anchor, made at the first call."""
    from .anchor import Anchor

    if ANCHOR not in config.stash:
        config.stash[ANCHOR] = Anchor()
    return config.stash[ANCHOR]


@contextlib.contextmanager
def failures_reported() -> Iterator[None]:
    """Turn a `ShimmyError` into the failure of the test that is running.

    With the message alone: our own frames would tell its reader nothing.
    """
    from .errors import ShimmyError

    try:
        yield
    except ShimmyError as error:
        message = str(error)
    else:
        return
    pytest.fail(message, pytrace=False)


def skip_test(reason: str) -> NoReturn:
    """Skip the test that is running."""
    # So that the summary names the test's line and not ours.
    raise pytest.skip.Exception(reason, _use_item_location=True)


def finish(config: pytest.Config) -> None:
    """Let go of all servers; may be called twice. What they say last is in `FAREWELLS`."""
    farewells = config.stash.setdefault(FAREWELLS, [])
    harness = config.stash.get(HARNESS, None)
    if harness is not None:
        harness.finish()
        farewells += harness.farewells
        harness.farewells = []
    anchor = config.stash.get(ANCHOR, None)
    if anchor is not None and (keepers := anchor.let_go()):
        from .harness import END_TIMEOUT
        from .sharing import part

        farewells += part(keepers, END_TIMEOUT)
