"""Port leases: distinct among ours, and never a port that somebody else has bound."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_shimmy import ShimmyError, ShimmyErrorCode, ShimmyProcessDefaults
from pytest_shimmy.runtime_dir import VARIABLE, subdir
from pytest_shimmy.supervisor import ports

LEASER = Path(__file__).parents[2] / "programs" / "leaser.py"


@pytest.fixture(autouse=True)
def _own_runtime_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "runtime"))


@pytest.fixture
def somewhere() -> int:
    """A first port that no other run counts from, and whose successors are free."""
    while True:
        first = random.randrange(27000, 32000)
        if all(ports.is_free("127.0.0.1", port) for port in range(first, first + 5)):
            return first


@pytest.fixture
def stranger(somewhere: int) -> Iterator[int]:
    """A port that somebody listens on who does not lease."""
    with socket.create_server(("127.0.0.1", somewhere)):
        yield somewhere


def leasers(count: int, each: int) -> list[subprocess.Popen[str]]:
    return [
        subprocess.Popen(
            [sys.executable, str(LEASER), str(each)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]


def leased_by(process: subprocess.Popen[str]) -> list[int]:
    assert process.stdout is not None
    answer: list[int] = json.loads(process.stdout.readline())
    return answer


@pytest.mark.slow
def test_many_processes_at_once_never_hold_the_same_port() -> None:
    processes = leasers(20, 10)
    try:
        held = [port for process in processes for port in leased_by(process)]
    finally:
        for process in processes:
            process.communicate()
    assert len(held) == 200
    assert len(set(held)) == 200
    assert set(held) <= set(ShimmyProcessDefaults.port_range)


def test_a_killed_process_gives_its_ports_back() -> None:
    (process,) = leasers(1, 3)
    try:
        held = leased_by(process)
        with ports.lease(held[0]) as other:
            assert other.port != held[0]
    finally:
        process.kill()
        process.communicate()
    for port in held:
        with ports.lease(port) as again:
            assert again.port == port


def test_one_process_never_holds_a_port_twice() -> None:
    leases = [ports.lease() for _ in range(50)]
    try:
        assert len({lease.port for lease in leases}) == 50
    finally:
        for lease in leases:
            lease.release()


def test_counting_goes_up_from_the_port_that_was_asked_for(somewhere: int) -> None:
    with ports.lease(somewhere) as first, ports.lease(somewhere) as second:
        assert (first.port, second.port) == (somewhere, somewhere + 1)


def test_a_port_that_a_stranger_holds_is_passed_over(stranger: int) -> None:
    with ports.lease(stranger) as lease:
        assert lease.port == stranger + 1


def test_a_port_that_a_stranger_holds_on_all_addresses_is_passed_over(somewhere: int) -> None:
    with socket.create_server(("", somewhere)), ports.lease(somewhere) as lease:
        assert lease.port == somewhere + 1


def test_ports_to_skip_are_passed_over(somewhere: int) -> None:
    with ports.lease(somewhere, skip=frozenset({somewhere, somewhere + 1})) as lease:
        assert lease.port == somewhere + 2


def test_passing_over_a_port_does_not_keep_it_from_others(somewhere: int) -> None:
    with socket.create_server(("127.0.0.1", somewhere)), ports.lease(somewhere):
        pass
    with ports.lease(somewhere) as lease:
        assert lease.port == somewhere


def test_a_released_port_can_be_leased_again(somewhere: int) -> None:
    for _ in range(3):
        with ports.lease(somewhere) as lease:
            assert lease.port == somewhere


def test_releasing_twice_does_no_harm(somewhere: int) -> None:
    lease = ports.lease(somewhere)
    lease.release()
    with ports.lease(somewhere) as other:
        lease.release()
        with ports.lease(somewhere) as third:
            assert other.port == somewhere
            assert third.port == somewhere + 1


def test_lock_files_are_never_deleted(somewhere: int) -> None:
    ports.lease(somewhere).release()
    assert [path.name for path in subdir("ports").iterdir()] == [f"{somewhere}.lock"]


def test_a_port_just_given_up_is_not_taken_again_at_once() -> None:
    seen = set()
    for _ in range(20):
        with ports.lease() as lease:
            seen.add(lease.port)
    assert len(seen) > 10


def test_counting_on_passes_over_the_ports_that_shimmy_picks_itself() -> None:
    with ports.lease(11434, skip=frozenset({11434})) as lease:
        assert lease.port > max(ports.SHIMMY_AUTO_PORTS)


def test_one_of_shimmy_s_own_ports_is_given_to_who_asks_for_it() -> None:
    if not ports.is_free("127.0.0.1", 11500):
        pytest.skip("somebody's shimmy is there")
    with ports.lease(11500) as lease, ports.lease(11500) as other:
        assert lease.port == 11500
        assert other.port > max(ports.SHIMMY_AUTO_PORTS)


def test_no_port_left_is_an_error_that_says_what_was_tried() -> None:
    with pytest.raises(ShimmyError) as caught:
        ports.lease(65535, skip=frozenset({65535}))
    assert caught.value.code is ShimmyErrorCode.PORT_IN_USE
    assert caught.value.details == {"host": "127.0.0.1", "first": 65535, "tried": 0}
    assert "from 65535 up" in caught.value.message
    assert "--shimmy-port" in caught.value.message


def test_an_address_of_another_machine_is_named_at_once(somewhere: int) -> None:
    with pytest.raises(ShimmyError) as caught:
        ports.lease(somewhere, host="192.0.2.1")
    assert caught.value.code is ShimmyErrorCode.START_FAILED
    assert "192.0.2.1 is no address of this machine" in caught.value.message
    assert caught.value.details == {"host": "192.0.2.1"}
    with ports.lease(somewhere) as lease:
        assert lease.port == somewhere


@pytest.mark.usefixtures("ipv6")
def test_ipv6_ports_are_leased_where_there_is_ipv6(somewhere: int) -> None:
    with (
        socket.create_server(("::1", somewhere), family=socket.AF_INET6),
        ports.lease(somewhere, host="::1") as lease,
    ):
        assert lease.port == somewhere + 1


def test_connections_in_time_wait_do_not_block_a_port(somewhere: int) -> None:
    with socket.create_server(("127.0.0.1", somewhere)) as server:
        client = socket.create_connection(("127.0.0.1", somewhere))
        accepted, _ = server.accept()
        accepted.close()  # the server's side ends first, so its port stays in TIME_WAIT
        client.recv(1)
        client.close()
    assert ports.is_free("127.0.0.1", somewhere)
