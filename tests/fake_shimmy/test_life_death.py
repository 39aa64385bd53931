"""How a process dies that is scripted to: when, by what, and with which last words."""

from __future__ import annotations

import contextlib
import json
import re
import resource
import signal
import subprocess
import time

import psutil
import pytest

from tests.support.fake_process import Running, free_port, read_all, wait_for_port
from tests.support.scripted_life import ends, give_model, health, listening, script, serving
from tests.support.unnoticed_signal import UnnoticedSignal

NO_MEMORY = (
    "memory allocation of N bytes failed\n"
    "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n"
)


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


@pytest.mark.slow
def test_the_last_request_is_answered_whole(shimmy):
    body = b'{"model":"tiny","stream":true,"messages":[{"role":"user","content":"u"}]}'
    with listening(shimmy, exit={"after_requests": 1}) as running:
        assert running.chat(body).body.endswith(b"data: [DONE]\n\n")
        assert ends(running) == (1, "")


def test_a_request_that_is_too_large_counts(shimmy):
    with listening(shimmy, exit={"after_requests": 1}) as running:
        assert running.chat(b" " * (2**21 + 1)).status == 413
        assert ends(running) == (1, "")


def test_those_in_flight_are_cut_off_by_its_death(shimmy):
    with listening(shimmy, exit={"after_requests": 1}) as running, running.connect() as sock:
        sock.sendall(b"GET /v1/mod")
        assert running.request("GET", "/v1/models").status == 200
        assert read_all(sock) == b""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "status"),
    [({"status": 42}, 42), ({"signal": "SIGKILL"}, -signal.SIGKILL)],
)
def test_it_dies_after_a_while(shimmy, how, status):
    begun = time.monotonic()
    with serving(shimmy, exit={"after_seconds": 0.5, **how}) as running:
        assert ends(running) == (status, "")
        assert time.monotonic() - begun >= 0.5


@pytest.mark.slow
def test_it_answers_until_it_dies_after_a_while(shimmy):
    with listening(shimmy, exit={"after_seconds": 2}) as running:
        assert health(running) == 200
        assert ends(running) == (1, "")


@pytest.mark.parametrize("when", ["after_seconds", "after_requests"])
def test_after_nothing_is_at_once(shimmy, when):
    with serving(shimmy, exit={when: 0, "status": 9}) as running:
        assert ends(running) == (9, "")


@pytest.mark.slow
def test_it_can_die_while_its_log_blocks_it(shimmy):
    # Errors are logged; a pipe that nobody reads stops the server in the middle of a line.
    body = b'{"model":"x","messages":[{"role":"user","content":"u"}]}'
    give_model(shimmy)
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
    give_model(real)
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


@pytest.mark.slow
def test_a_server_may_be_slow_to_stop_and_answers_meanwhile(shimmy):
    with listening(shimmy, stop_delay=0.5) as running:
        began = time.monotonic()
        for _ in range(2):
            running.process.send_signal(signal.SIGTERM)
        assert health(running) == 200
        assert running.process.wait(10) == -signal.SIGTERM
        assert 0.4 < time.monotonic() - began < 5


def test_a_signal_that_comes_just_before_it_sleeps_wakes_it(shimmy, tmp_path):
    life = script(shimmy, stop_delay=0.01)
    sigterm = UnnoticedSignal(tmp_path)
    with shimmy.serve(FAKE_SHIMMY_SCRIPT=life, **sigterm.environ) as running:
        process = psutil.Process(running.process.pid)
        assert health(running) == 200
        # The end of these connections wakes it as well.
        while [each.status for each in process.net_connections()] != ["LISTEN"]:
            pass
        sigterm.send()
        assert ends(running) == (-signal.SIGTERM, "")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/api/generate"])
def test_a_server_may_be_well_and_fail_every_generation(shimmy, path):
    with listening(shimmy, failing=True) as running:
        asked = {"model": "tiny", "stream": False, "prompt": "hi"}
        asked["messages"] = [{"role": "user", "content": "hi"}]
        body = json.dumps(asked).encode()
        for _ in range(2):
            answer = running.request("POST", path, body, content_type="application/json")
            assert answer.status == 502
        assert health(running) == 200
