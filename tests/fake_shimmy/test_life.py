"""A scripted life of a process: how it starts, how healthy it says it is, what it writes."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time

import pytest

from tests.support.fake_process import Running, free_port
from tests.support.scripted_life import (
    LAST_OF_BANNER,
    ends,
    give_model,
    health,
    listening,
    script,
    serving,
)


def printed(running: Running, size: int) -> bytes:
    """The next ``size`` bytes, or more, of what the server prints."""
    assert running.process.stdout is not None
    descriptor = running.process.stdout.fileno()
    found = b""
    while len(found) < size:
        assert select.select([descriptor], [], [], 20)[0], "nothing more is printed"
        found += os.read(descriptor, 65536)
    return found


def checks(running: Running, healthy: int) -> list[int]:
    """What health checks say until so many of them were good."""
    end = time.monotonic() + 20
    seen: list[int] = []
    while seen.count(200) < healthy:
        assert time.monotonic() < end
        seen.append(health(running))
    return seen


def test_a_refused_start_shows_the_banner_first(shimmy):
    bind = f"127.0.0.1:{free_port()}"
    life = {"refuse": {"status": 7, "stderr": "Error: no such luck"}}
    status, out, err = shimmy.run(
        "serve", "--bind", bind, FAKE_SHIMMY_SCRIPT=script(shimmy, **life)
    )
    assert (status, err) == (7, "Error: no such luck\n")
    assert LAST_OF_BANNER.decode() in out


@pytest.mark.parametrize(
    ("refusal", "told"),
    [({}, "Error: refused to start, as scripted\n"), ({"stderr": ""}, "")],
)
def test_a_refused_start_has_default_words_and_may_have_none(shimmy, refusal, told):
    path = script(shimmy, refuse=refusal)
    status, _, err = shimmy.run("serve", FAKE_SHIMMY_SCRIPT=path)
    assert (status, err) == (1, told)


def test_other_commands_than_serve_start_in_spite_of_a_refusal(shimmy):
    path = script(shimmy, refuse={})
    assert shimmy.run("list", "--short", FAKE_SHIMMY_SCRIPT=path) == (0, "tiny\n", "")


@pytest.mark.slow
def test_a_slow_start_claims_to_be_ready_and_listens_later(shimmy):
    begun = time.monotonic()
    with listening(shimmy, start_delay=0.5) as running:
        assert time.monotonic() - begun >= 0.5
        assert health(running) == 200


def test_nobody_listens_during_a_slow_start(shimmy):
    with serving(shimmy, start_delay=60) as running:
        with pytest.raises(ConnectionRefusedError):
            running.connect()
        running.process.terminate()
        assert ends(running) == (-signal.SIGTERM, "")


@pytest.mark.slow
def test_a_start_can_be_slow_and_fail(shimmy):
    begun = time.monotonic()
    path = script(shimmy, start_delay=0.5, refuse={"status": 3})
    assert shimmy.run("serve", FAKE_SHIMMY_SCRIPT=path)[0] == 3
    assert time.monotonic() - begun >= 0.5


@pytest.mark.slow
def test_it_can_become_healthy_later(shimmy):
    with listening(shimmy, healthy_after=1) as running:
        seen = checks(running, 1)
        assert set(seen[:-1]) == {503}


def test_it_can_be_unhealthy_for_ever_and_answer_all_the_same(shimmy):
    with listening(shimmy, health="never") as running:
        assert [health(running) for _ in range(5)] == [503] * 5
        assert running.request("GET", "/v1/models").status == 200


def test_health_can_flap_check_by_check(shimmy):
    with listening(shimmy, health=[True, False, False]) as running:
        assert running.request("GET", "/v1/models").status == 200
        assert [health(running) for _ in range(7)] == [200, 503, 503, 200, 503, 503, 200]


@pytest.mark.slow
def test_flapping_begins_when_it_became_healthy(shimmy):
    with listening(shimmy, healthy_after=1, health=[True, True, False]) as running:
        seen = checks(running, 4)
        assert seen[0] == 503
        assert seen[seen.index(200) :] == [200, 200, 503, 200, 200]


def test_health_can_be_garbage(shimmy):
    with listening(shimmy, health="garbage") as running:
        answer = running.request("GET", "/health")
        assert answer.status == 200
        with pytest.raises(ValueError, match=r"decode|Expecting"):
            json.loads(answer.body)


@pytest.mark.slow
def test_health_can_be_silence_while_others_are_answered(shimmy):
    with listening(shimmy, health="silent") as running, running.connect() as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        assert running.request("GET", "/v1/models").status == 200
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.recv(1)


@pytest.mark.slow
def test_a_flood_comes_at_its_rate(shimmy):
    begun = time.monotonic()
    with serving(shimmy, log_flood=100_000) as running:
        flood = printed(running, 100_000)
        assert 1 <= time.monotonic() - begun < 10
        assert {len(line) for line in flood.splitlines()[1:-1]} == {63}


def test_a_flood_that_nobody_reads_stops_no_answer(shimmy):
    with listening(shimmy, log_flood=10_000_000) as running:
        assert [health(running) for _ in range(50)] == [200] * 50


def test_a_flood_goes_on_while_the_start_is_slow(shimmy):
    with serving(shimmy, log_flood=1_000_000, start_delay=60) as running:
        assert len(printed(running, 200_000)) >= 200_000


def test_the_server_outlives_the_reader_of_its_flood(shimmy):
    with listening(shimmy, log_flood=10**9) as running:
        assert running.process.stdout is not None
        running.process.stdout.close()
        running.process.stdout = None
        assert [health(running) for _ in range(50)] == [200] * 50
        running.process.terminate()
        assert ends(running) == (-signal.SIGTERM, "")


def test_a_list_can_be_garbage(shimmy):
    process = shimmy.start("list", FAKE_SHIMMY_SCRIPT=script(shimmy, list="garbage"))
    out, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (0, b"")
    assert b"tiny" not in out
    with pytest.raises(UnicodeDecodeError):
        out.decode()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_a_list_can_hang_until_it_is_killed(shimmy, name):
    process = shimmy.start("list", FAKE_SHIMMY_SCRIPT=script(shimmy, list="hang"))
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.Signals[name])
        assert process.communicate(timeout=10) == (b"", b"")
        assert process.returncode == -signal.Signals[name]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("arguments", [("serve",), ("list",), ("gpu-info",), ("--version",)])
def test_every_command_refuses_an_invalid_script(shimmy, arguments):
    status, out, err = shimmy.run(
        *arguments, FAKE_SHIMMY_SCRIPT=script(shimmy, exit={"after_seconds": -1})
    )
    assert (status, out) == (2, "")
    assert err.startswith("fake-shimmy: FAKE_SHIMMY_SCRIPT: ")
    assert "life.exit.after_seconds" in err
    assert err.count("\n") == 1


def test_a_script_that_is_not_there_is_refused(shimmy):
    status, out, err = shimmy.run("list", FAKE_SHIMMY_SCRIPT="nope.json")
    assert (status, out) == (2, "")
    assert "nope.json" in err


@pytest.mark.slow
@pytest.mark.parametrize("command", ["serve", "list"])
def test_nothing_of_scripts_is_loaded_without_one(shimmy, command):
    def loaded(**extra: str) -> str:
        give_model(shimmy)
        extra["PYTHONPROFILEIMPORTTIME"] = "1"
        if command != "serve":
            return shimmy.run(command, **extra)[2]
        with shimmy.serve(**extra) as running:
            assert health(running) == 200
            running.process.terminate()
            return ends(running)[1]

    words = ("fake_shimmy.script", "fake_shimmy.stage")
    unscripted, scripted = loaded(), loaded(FAKE_SHIMMY_SCRIPT=script(shimmy))
    assert not any(word in unscripted for word in words)
    assert all(word in scripted for word in words)
