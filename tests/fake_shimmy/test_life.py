"""Faults for the whole life of a process: how it starts, how healthy it says it is, how it dies."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import select
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.fake_shimmy.conftest import (
    TOY_MODEL,
    Running,
    free_port,
    read_all,
    wait_for_port,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fake_shimmy.conftest import Shimmy

LAST_OF_BANNER = b"OpenAI-compatible"
NO_MEMORY = (
    "memory allocation of N bytes failed\n"
    "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n"
)


@pytest.fixture(autouse=True)
def model(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "tiny.safetensors").write_bytes(TOY_MODEL)


def script(shimmy: Shimmy, **life: object) -> str:
    """The path of a script with this ``life``."""
    path = shimmy.cwd / "script.json"
    path.write_text(json.dumps({"life": life}))
    return str(path)


@contextlib.contextmanager
def serving(shimmy: Shimmy, **life: object) -> Iterator[Running]:
    """A server with this ``life`` that has shown its banner, and perhaps not more."""
    port = free_port()
    process = shimmy.start(
        "serve", "--bind", f"127.0.0.1:{port}", FAKE_SHIMMY_SCRIPT=script(shimmy, **life)
    )
    try:
        assert process.stdout is not None
        while LAST_OF_BANNER not in (line := process.stdout.readline()):
            assert line, process.communicate()
        yield Running(process, port)
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def listening(shimmy: Shimmy, **life: object) -> Iterator[Running]:
    """A server with this ``life`` that can be connected to."""
    with shimmy.serve(FAKE_SHIMMY_SCRIPT=script(shimmy, **life)) as running:
        yield running


def ends(running: Running) -> tuple[int, str]:
    """How the server ended: its status and its last words."""
    status = running.process.wait(10)
    assert running.process.stderr is not None
    return status, running.process.stderr.read().decode()


def health(running: Running) -> int:
    return running.request("GET", "/health").status


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


def test_a_start_can_be_slow_and_fail(shimmy):
    begun = time.monotonic()
    path = script(shimmy, start_delay=0.5, refuse={"status": 3})
    assert shimmy.run("serve", FAKE_SHIMMY_SCRIPT=path)[0] == 3
    assert time.monotonic() - begun >= 0.5


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


def test_health_can_be_silence_while_others_are_answered(shimmy):
    with listening(shimmy, health="silent") as running, running.connect() as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        assert running.request("GET", "/v1/models").status == 200
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.recv(1)


@pytest.mark.parametrize(
    ("how", "status"),
    [({}, 1), ({"status": 0}, 0), ({"status": 42}, 42), ({"signal": "SIGSEGV"}, -signal.SIGSEGV)],
)
def test_it_dies_after_so_many_requests(shimmy, how, status):
    with listening(shimmy, exit={"after_requests": 2, **how}) as running:
        assert running.request("GET", "/v1/models").status == 200
        # A health check is not counted.
        assert health(running) == 200
        answer = running.request("GET", "/api/tags")
        assert len(json.loads(answer.body)["models"]) == 1
        assert ends(running) == (status, "")


def test_the_last_request_is_answered_whole(shimmy):
    body = b'{"model":"tiny","stream":true,"messages":[{"role":"user","content":"u"}]}'
    with listening(shimmy, exit={"after_requests": 1}) as running:
        assert running.chat(body).body.endswith(b"data: [DONE]\n\n")
        assert ends(running) == (1, "")


def test_those_in_flight_are_cut_off_by_its_death(shimmy):
    with listening(shimmy, exit={"after_requests": 1}) as running, running.connect() as sock:
        sock.sendall(b"GET /v1/mod")
        assert running.request("GET", "/v1/models").status == 200
        assert read_all(sock) == b""


@pytest.mark.parametrize(
    ("how", "status"),
    [({"status": 42}, 42), ({"signal": "SIGKILL"}, -signal.SIGKILL)],
)
def test_it_dies_after_a_while(shimmy, how, status):
    begun = time.monotonic()
    with serving(shimmy, exit={"after_seconds": 0.5, **how}) as running:
        assert ends(running) == (status, "")
        assert time.monotonic() - begun >= 0.5


def test_it_answers_until_it_dies_after_a_while(shimmy):
    with listening(shimmy, exit={"after_seconds": 2}) as running:
        assert health(running) == 200
        assert ends(running) == (1, "")


@pytest.mark.parametrize("when", ["after_seconds", "after_requests"])
def test_after_nothing_is_at_once(shimmy, when):
    with serving(shimmy, exit={when: 0, "status": 9}) as running:
        assert ends(running) == (9, "")


def test_it_can_die_while_its_log_blocks_it(shimmy):
    # Errors are logged; a pipe that nobody reads stops the server in the middle of a line.
    body = b'{"model":"x","messages":[{"role":"user","content":"u"}]}'
    (shimmy.cwd / "models" / "x.gguf").write_bytes(b"")
    life = {"log_flood": 10_000_000, "exit": {"after_seconds": 2, "status": 5}}
    with listening(shimmy, **life) as running, running.connect() as sock:
        sock.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(body), body)
        )
        assert ends(running) == (5, "")


@pytest.mark.parametrize("when", ["after_seconds", "after_requests"])
def test_it_can_die_as_if_there_were_no_memory(shimmy, when):
    with serving(shimmy, exit={when: 0, "out_of_memory": True}) as running:
        status, err = ends(running)
        assert (status, re.sub(r"\d{2,}", "N", err)) == (-signal.SIGABRT, NO_MEMORY)


@pytest.mark.shimmy_real
def test_the_real_one_dies_so_without_memory(pair):
    real, _ = pair
    port = free_port()
    limit = 64 << 20
    process = subprocess.Popen(
        [*real.command, "serve", "--bind", f"127.0.0.1:{port}"],
        cwd=real.cwd,
        env=real.environ({"TOKIO_WORKER_THREADS": "1"}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    running = Running(process, port)
    try:
        wait_for_port(process, port)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            # Bodies that are not complete must be kept; a hundred do not fit.
            for _ in range(100):
                sock = stack.enter_context(running.connect())
                sock.sendall(
                    b"POST /v1/chat/completions HTTP/1.1\r\ncontent-type: application/json\r\n"
                    b"content-length: 2000000\r\n\r\n" + b" " * 1_900_000
                )
        status, err = ends(running)
    finally:
        process.kill()
        process.communicate()
    assert (status, re.sub(r"\d{2,}", "N", err)) == (-signal.SIGABRT, NO_MEMORY)


def test_a_deaf_process_ignores_sigterm_and_dies_by_sigkill(shimmy):
    with listening(shimmy, deaf=True) as running:
        running.process.terminate()
        assert health(running) == 200
        running.process.kill()
        assert ends(running) == (-signal.SIGKILL, "")


def test_a_deaf_process_can_die_by_the_signal_that_it_ignores(shimmy):
    with listening(shimmy, deaf=True, exit={"after_requests": 1, "signal": "SIGTERM"}) as running:
        running.process.terminate()
        assert running.request("GET", "/v1/models").status == 200
        assert ends(running) == (-signal.SIGTERM, "")


def test_a_signal_that_does_not_kill_ends_it_with_a_shells_status(shimmy):
    with serving(shimmy, exit={"after_seconds": 0, "signal": "SIGCHLD"}) as running:
        assert ends(running) == (128 + signal.SIGCHLD, "")


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


LIVES = {
    "slow start": {"start_delay": 60},
    "unhealthy": {"healthy_after": 60},
    "flapping": {"health": [False, True]},
    "garbage": {"health": "garbage"},
    "silent": {"health": "silent"},
    "dies of requests": {"exit": {"after_requests": 5}},
    "dies of time": {"exit": {"after_seconds": 60}},
    "floods": {"log_flood": 10_000_000},
}


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGKILL"])
@pytest.mark.parametrize("life", LIVES.values(), ids=LIVES)
def test_signals_end_it_whatever_is_scripted(shimmy, life, name):
    with serving(shimmy, **life) as running:
        running.process.send_signal(signal.Signals[name])
        assert ends(running) == (-signal.Signals[name], "")


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


@pytest.mark.parametrize("command", ["serve", "list"])
def test_nothing_of_scripts_is_loaded_without_one(shimmy, command):
    def loaded(**extra: str) -> str:
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
