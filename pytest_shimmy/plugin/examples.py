"""Tests of hypothesis: every example finds `shimmy_fake` as a test of its own would.

A fixture is made once for all examples, for which hypothesis has a health check. It is not needed
for ours: what an example has scripted, asked or started is gone before the next.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from ..harness import Harness
from .state import HARNESS, failures_reported

__tracebackhide__ = True

RENEWED = frozenset(
    ("shimmy_fake", "make_shimmy_server", "shimmy_env", "shimmy_async_openai_client")
)
"""Fixtures of a test that are as new for each example."""
_SETTINGS = "_hypothesis_internal_use_settings"
"""Where hypothesis keeps a test's settings; its own pytest plugin sets it in the same way."""


def prepare(item: Any) -> None:
    """Have each example of the test begin anew, if it is one that has examples."""
    test = item.obj
    names = item._fixtureinfo.name2fixturedefs
    if not RENEWED & names.keys():
        return
    inner = test.hypothesis.inner_test
    if not hasattr(inner, "begins_anew"):  # cases of a parametrised test share it
        test.hypothesis.inner_test = _renewing(inner, item.config)
    # As hypothesis finds them: the names of parametrize are none.
    info = item.session._fixturemanager.getfixtureinfo(node=item, func=item.function, cls=None)
    found = info.name2fixturedefs
    direct = [found[name][-1] for name in info.argnames if name in found]
    if all(each.scope != "function" or each.argname in RENEWED for each in direct):
        _suppress_check(getattr(test, "__func__", test))


def _suppress_check(test: Any) -> None:
    from hypothesis import HealthCheck, settings

    chosen = getattr(test, _SETTINGS, None) or settings()
    suppressed = {*chosen.suppress_health_check, HealthCheck.function_scoped_fixture}
    setattr(test, _SETTINGS, settings(chosen, suppress_health_check=suppressed))


def _renewing(inner: Any, config: pytest.Config) -> Any:
    if inspect.iscoroutinefunction(inner):

        @functools.wraps(inner)
        async def renewed(*arguments: Any, **named: Any) -> Any:
            with _example(config.stash[HARNESS]):
                return await inner(*arguments, **named)
    else:

        @functools.wraps(inner)
        def renewed(*arguments: Any, **named: Any) -> Any:
            with _example(config.stash[HARNESS]):
                return inner(*arguments, **named)

    renewed.begins_anew = True  # type: ignore[attr-defined]
    return renewed


@contextlib.contextmanager
def _example(harness: Harness) -> Iterator[None]:
    """One example: it finds nothing of the others, leaves nothing, and fails for what a test that
    is strict would fail for."""
    before = list(harness.private)
    shared = [fake for fake in harness.fakes if fake.api_key]
    with failures_reported():
        for fake in shared:
            fake.reset()
    try:
        yield
        for fake in harness.fakes:
            if leftovers := fake.leftovers():
                pytest.fail("\n".join(leftovers), pytrace=False)
        # Done by the time that the next one has been made. The report of one that failed needs
        # what came.
        with failures_reported():
            for fake in shared:
                fake._begin_reset()
    finally:
        for server in list(harness.private):
            if server not in before:
                harness.stop(server)
