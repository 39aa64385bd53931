"""`ShimmyProcessDefaults`: what the numbers must have in common, whatever they are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_shimmy import ShimmyProcessDefaults
from pytest_shimmy.supervisor.ports import SHIMMY_AUTO_PORTS

PORTS = set(ShimmyProcessDefaults.port_range)


def test_ports_are_clear_of_those_that_shimmy_picks_itself() -> None:
    assert not PORTS & set(SHIMMY_AUTO_PORTS)
    assert set(range(11435, 11536)) == set(SHIMMY_AUTO_PORTS)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ports_are_clear_of_this_system_s_ephemeral_range() -> None:
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    if low < 32768:
        pytest.skip(f"this machine's ephemeral range was moved: {low}-{high}")
    assert not PORTS & set(range(low, high + 1))


def test_ports_are_clear_of_every_system_s_ephemeral_range() -> None:
    assert min(PORTS) > 1023
    assert max(PORTS) < 32768


def test_there_are_ports_for_many_runs_at_once() -> None:
    assert len(PORTS) >= 1000


def test_a_slow_machine_gets_time_and_a_young_start_is_watched_closely() -> None:
    defaults = ShimmyProcessDefaults
    assert defaults.probe_interval <= 0.003
    assert defaults.start_timeout_fake < defaults.start_timeout_real
    assert 0 < defaults.restart_backoff <= defaults.restart_backoff_max


def test_the_server_listens_for_this_machine_only() -> None:
    assert ShimmyProcessDefaults.bind_host == "127.0.0.1"
