"""The markers: whether a test may run on what this run has. Loaded with the first marked test."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn

import pytest

from ..accel.requirement import misnamed, unmet_before, unmet_by, worth_detecting
from ..errors import ShimmyError, ShimmyErrorCode
from ..executable.fake_profile import GPU
from .report_texts import unmet
from .state import accel_of, failures_reported, settings_of, skip_test

if TYPE_CHECKING:
    from ..server import ShimmyServer
    from ..settings import Settings


def apply(item: pytest.Item) -> None:
    """Skip the test, or fail it where that is required, for what settings and machine say."""
    chosen = settings_of(item.config)
    for name in ("shimmy_real", "shimmy_fake"):
        if item.get_closest_marker(name) is not None:
            is_enough = chosen.mode == "replayed" and chosen.replay_as_real
            reason = unmet(name, "real" if is_enough and name == "shimmy_real" else chosen.mode)
            if reason is not None:
                _skip(reason, must_run=name == "shimmy_real" and "real" in chosen.require)
    wanted = _wanted(item)
    if wanted is None:
        return
    if wrong := misnamed(wanted):
        pytest.fail(wrong, pytrace=False)
    requested = _requested(item, chosen)
    # What was recorded elsewhere says nothing of this machine.
    mode = "attached" if chosen.mode == "replayed" else chosen.mode
    detected = None
    if worth_detecting(wanted, mode, requested):
        detected = accel_of(item.config)
    reason = unmet_before(
        wanted, mode, requested, detected=detected, pretended=_pretended(chosen, requested)
    )
    if reason is not None:
        _refuse_gpu(reason, chosen)


def judge_server(item: pytest.Item, server: ShimmyServer) -> None:
    """The same for what a server that the test uses shows of itself."""
    wanted = _wanted(item)
    # A test may have another server beside it, for comparison.
    on_purpose = server.settings.gpu[0] == "cpu" and "cpu" not in (wanted or ())
    if wanted is None or on_purpose:
        return
    with failures_reported():
        reason = unmet_by(wanted, server.gpu)
    if reason is not None:
        _refuse_gpu(reason, settings_of(item.config))


def _wanted(item: pytest.Item) -> tuple[str, ...] | None:
    marker = item.get_closest_marker("shimmy_gpu")
    return None if marker is None else marker.args


def _requested(item: pytest.Item, chosen: Settings) -> str:
    """The backend that this test's server is asked for; several are parameters."""
    callspec = getattr(item, "callspec", None)
    return str(callspec.params.get("_shimmy_gpu", chosen.gpu[0]) if callspec else chosen.gpu[0])


def _pretended(chosen: Settings, requested: str) -> tuple[str, ...] | None:
    """What the fake's machine has: nothing until it is asked for, or the fake is told."""
    told = GPU in os.environ or any(name == GPU for name, _ in chosen.env)
    return () if requested == "auto" and not told else None


def _refuse_gpu(reason: str, chosen: Settings) -> NoReturn:
    error = ShimmyError(ShimmyErrorCode.UNSUPPORTED_ACCEL, reason)
    must_run = "gpu" in chosen.require
    _skip(str(error) if must_run else reason, must_run)


def _skip(reason: str, must_run: bool) -> NoReturn:
    if must_run:
        pytest.fail(f"{reason} (required by --shimmy-require)", pytrace=False)
    skip_test(reason)
