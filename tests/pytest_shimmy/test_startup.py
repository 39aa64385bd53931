"""From options to a server that is proved healthy and ours; and what is said when there is none.

All through `ShimmyProcessManager`. The programs that stand in for a shimmy do what
``tests/programs/pretender.py`` knows.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pytest_shimmy import (
    ShimmyError,
    ShimmyErrorCode,
    ShimmyProcessDefaults,
    ShimmyProcessManager,
    ShimmyProcessOptions,
    ports,
)
from pytest_shimmy.binary import bundled_fake
from pytest_shimmy.events import Output, Ready, Starting
from pytest_shimmy.process import Process

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the programs are POSIX scripts")

PRETENDER = Path(__file__).parents[1] / "programs" / "pretender.py"
LONG = 60.0
HEALTHY = b'HTTP/1.1 200 OK\r\n\r\n{"service":"shimmy","version":"6.6.6"}'

Step = list[object]
Pretend = Callable[..., ShimmyProcessOptions]


class Gate:
    """Where a stand-in waits for the test, between its spawn and its doings."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(LONG)
        self._visitor: socket.socket | None = None
        self.step: Step = ["gate", self._server.getsockname()[1]]

    def arrived(self) -> int:
        """Wait for the stand-in; returns the port that it was told to listen on."""
        self._visitor, _ = self._server.accept()
        with self._visitor.makefile() as words:
            return int(words.readline())

    def open(self) -> None:
        assert self._visitor is not None
        self._visitor.close()

    def close(self) -> None:
        self._server.close()
        if self._visitor is not None:
            self._visitor.close()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.close()


@contextlib.contextmanager
def stranger(port: int, answer: bytes = HEALTHY) -> Iterator[threading.Event]:
    """Somebody else's server on `port`, in this process; yields what is set once it was asked."""
    asked = threading.Event()
    done = threading.Event()

    def run() -> None:
        while True:
            peer, _ = server.accept()
            with peer, contextlib.suppress(OSError):
                if done.is_set():
                    return
                peer.recv(4096)
                peer.sendall(answer)
                asked.set()

    with socket.create_server(("127.0.0.1", port), backlog=1000) as server:
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield asked
        finally:
            done.set()
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), LONG).close()
            thread.join()


def failure(manager: ShimmyProcessManager, options: ShimmyProcessOptions) -> ShimmyError:
    """What the start ends with."""
    manager.start(options)
    with pytest.raises(ShimmyError) as caught:
        manager.ensure_ready(LONG)
    assert manager.state == "failed"
    assert manager.error is caught.value
    assert manager.pid is None
    return caught.value


FAKE = bundled_fake().command


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.shimmy_real)])
def shimmy(request: pytest.FixtureRequest) -> Path | None:
    """A `shimmy_path`: the bundled fake's, or the real executable's where this run has one."""
    return None if request.param == "fake" else request.getfixturevalue("real_shimmy")


def test_brings_up_a_server_that_answers(
    manager: ShimmyProcessManager, shimmy: Path | None, models_dir: Path
) -> None:
    manager.start(ShimmyProcessOptions(shimmy_path=shimmy, models_dir=models_dir))
    manager.ensure_ready()
    assert manager.state == "ready"
    assert manager.pid is not None
    assert manager.port in ShimmyProcessDefaults.port_range
    connection = http.client.HTTPConnection("127.0.0.1", manager.port or 0, timeout=LONG)
    connection.request("GET", "/v1/models")
    assert [model["id"] for model in json.load(connection.getresponse())["data"]] == ["tiny"]
    connection.request("GET", "/health")
    assert json.load(connection.getresponse())["version"] == manager.version
    connection.close()


def test_serves_a_model_file_under_its_own_name(
    manager: ShimmyProcessManager, shimmy: Path | None, models_dir: Path, tmp_path: Path
) -> None:
    file = tmp_path / "Mine.safetensors"
    file.write_bytes((models_dir / "tiny.safetensors").read_bytes())
    manager.start(ShimmyProcessOptions(shimmy_path=shimmy, model_path=file, cwd=tmp_path))
    manager.ensure_ready()
    connection = http.client.HTTPConnection("127.0.0.1", manager.port or 0, timeout=LONG)
    connection.request("GET", "/v1/models")
    assert "Mine" in {model["id"] for model in json.load(connection.getresponse())["data"]}
    connection.close()


def test_the_working_directory_is_searched_for_models(
    manager: ShimmyProcessManager, shimmy: Path | None, models_dir: Path
) -> None:
    manager.start(ShimmyProcessOptions(shimmy_path=shimmy, cwd=models_dir.parent))
    manager.ensure_ready()


def test_is_told_an_ip_address_and_a_port_of_its_own(
    manager: ShimmyProcessManager, pretend: Pretend
) -> None:
    seen: list[Starting] = []
    manager.on("starting", seen.append)
    manager.start(pretend(["serve"], args=["--ctx", "512"], models_dir=["/a", "/b"]))
    manager.ensure_ready()
    ((pid, port, command),) = [(event.pid, event.port, event.command) for event in seen]
    assert port == manager.port != 0
    assert pid == manager.pid
    assert command[1:] == (
        *("serve", "--bind", f"127.0.0.1:{port}", "--model-dirs", "/a;/b", "--ctx", "512"),
    )


def test_the_environment_reaches_the_server(
    manager: ShimmyProcessManager, monkeypatch: pytest.MonkeyPatch, models_dir: Path
) -> None:
    monkeypatch.setenv("SHIMMY_MODEL_PATHS", "/nowhere")
    manager.start(ShimmyProcessOptions(env={"SHIMMY_MODEL_PATHS": str(models_dir)}))
    manager.ensure_ready()


def test_the_version_is_the_executable_s_where_the_server_does_not_say(
    manager: ShimmyProcessManager, pretend: Pretend
) -> None:
    ready: list[Ready] = []
    manager.on("ready", ready.append)
    manager.start(pretend(["serve", {"service": "shimmy"}]))
    manager.ensure_ready()
    assert manager.version == "2.5.0"
    manager.stop()
    assert [event.version for event in ready] == ["2.5.0"]


def test_the_fake_imitates_the_release_that_was_asked_for(
    manager: ShimmyProcessManager, models_dir: Path
) -> None:
    from fake_shimmy.releases import RELEASES

    for release in RELEASES:
        manager.start(ShimmyProcessOptions(fake_version=release, models_dir=models_dir))
        manager.ensure_ready()
        assert manager.version == release
        manager.stop()


def test_a_preferred_port_is_tried_first(manager: ShimmyProcessManager, pretend: Pretend) -> None:
    with ports.lease() as lease:
        port = lease.port
    manager.start(pretend(["serve"], preferred_port=port))
    manager.ensure_ready()
    assert manager.port == port


@pytest.mark.usefixtures("ipv6")
def test_ipv6_works_where_there_is_ipv6(manager: ShimmyProcessManager, models_dir: Path) -> None:
    manager.start(ShimmyProcessOptions(host="::1", models_dir=models_dir))
    manager.ensure_ready()
    socket.create_connection(("::1", manager.port or 0), LONG).close()


# Failures: at once, with the right code, and with everything that helps.


@pytest.mark.parametrize("code", [0, 1, 2, 101])
def test_an_exit_before_it_is_healthy_is_told_at_once(
    manager: ShimmyProcessManager, pretend: Pretend, code: int
) -> None:
    before = time.monotonic()
    error = failure(manager, pretend(["say", "hi\n"], ["complain", "oh no\n"], ["exit", code]))
    assert time.monotonic() - before < LONG / 2
    assert error.code is ShimmyErrorCode.START_FAILED
    assert f"exit code {code}" in error.message
    assert "  hi\n" in error.message
    assert "  oh no" in error.message
    assert f"serve --bind 127.0.0.1:{manager.port}" in error.message
    details = error.details
    assert (details["exit_code"], details["signal"]) == (code, None)
    assert 0 < details["elapsed"] < LONG / 2
    assert details["command"][1:3] == ["serve", "--bind"]
    assert sorted(details["log_tail"].splitlines()) == ["hi", "oh no"]
    json.dumps(error.to_json())


def test_a_signal_before_it_is_healthy_is_told_by_name(
    manager: ShimmyProcessManager, pretend: Pretend
) -> None:
    error = failure(manager, pretend(["die", 11]))
    assert error.code is ShimmyErrorCode.START_FAILED
    assert "killed by SIGSEGV" in error.message
    assert (error.details["exit_code"], error.details["signal"]) == (None, 11)
    assert "It wrote nothing." in error.message


def test_a_long_output_is_shown_by_its_end(manager: ShimmyProcessManager, pretend: Pretend) -> None:
    error = failure(manager, pretend(["flood", 1, 5000], ["exit", 1]))
    shown = [line for line in error.message.splitlines() if line.strip().isdigit()]
    assert [int(line) for line in shown] == list(
        range(5000 - ShimmyProcessDefaults.log_tail_lines, 5000)
    )
    assert f"The last {ShimmyProcessDefaults.log_tail_lines} lines it wrote" in error.message


def test_usage_errors_of_the_server_are_shown(
    manager: ShimmyProcessManager, shimmy: Path | None
) -> None:
    error = failure(manager, ShimmyProcessOptions(shimmy_path=shimmy, args=["--port", "1"]))
    assert error.code is ShimmyErrorCode.START_FAILED
    assert error.details["exit_code"] == 2
    assert "unexpected argument '--port' found" in error.message


def test_no_models(manager: ShimmyProcessManager, shimmy: Path | None, tmp_path: Path) -> None:
    before = time.monotonic()
    error = failure(manager, ShimmyProcessOptions(shimmy_path=shimmy, cwd=tmp_path))
    assert time.monotonic() - before < 15
    assert error.code is ShimmyErrorCode.NO_MODELS
    assert error.details["exit_code"] == 1
    assert "No models available" in error.message
    assert "--shimmy-models-dir" in error.message


def test_a_server_that_never_listens_is_stopped_at_the_time_out(
    manager: ShimmyProcessManager, pretend: Pretend
) -> None:
    error = failure(manager, pretend(["say", "thinking\n"], ["silent"], health_timeout=0.5))
    assert error.code is ShimmyErrorCode.START_TIMEOUT
    assert "not healthy 0.5 s after its start" in error.message
    assert f"nothing listens on 127.0.0.1:{manager.port}" in error.message
    assert "  thinking" in error.message
    assert "--shimmy-start-timeout" in error.message


def test_a_server_that_listens_but_never_answers_is_stopped_at_the_time_out(
    manager: ShimmyProcessManager, pretend: Pretend
) -> None:
    error = failure(manager, pretend(["mute"], health_timeout=1))
    assert error.code is ShimmyErrorCode.START_TIMEOUT
    assert "no answer" in error.message


@pytest.mark.parametrize("document", [{"service": "ollama"}, {"status": "ok"}, [], "shimmy"])
def test_a_server_that_answers_as_something_else_is_told_so(
    manager: ShimmyProcessManager, pretend: Pretend, document: object
) -> None:
    error = failure(manager, pretend(["serve", document], health_timeout=0.7))
    assert error.code is ShimmyErrorCode.HEALTHCHECK_FAILED
    assert "200, but not as shimmy" in error.message


def test_a_missing_executable_is_told_at_once(
    manager: ShimmyProcessManager, tmp_path: Path
) -> None:
    error = failure(manager, ShimmyProcessOptions(shimmy_path=tmp_path / "gone"))
    assert error.code is ShimmyErrorCode.BINARY_NOT_FOUND
    assert manager.port is None


def test_another_program_is_not_started(manager: ShimmyProcessManager) -> None:
    error = failure(manager, ShimmyProcessOptions(shimmy_path="/bin/true"))
    assert error.code is ShimmyErrorCode.BINARY_NOT_SHIMMY


def test_a_backend_that_cannot_be_had_starts_nothing(
    manager: ShimmyProcessManager, models_dir: Path
) -> None:
    started: list[Starting] = []
    manager.on("starting", started.append)
    error = failure(manager, ShimmyProcessOptions(gpu_mode="cuda", models_dir=models_dir))
    assert error.code is ShimmyErrorCode.UNSUPPORTED_ACCEL
    assert not started


def test_a_build_without_gpu_serves_who_asks_for_the_processor(
    manager: ShimmyProcessManager, models_dir: Path
) -> None:
    env = {"FAKE_SHIMMY_BUILD": "cpu-only"}
    manager.start(ShimmyProcessOptions(gpu_mode="cpu", models_dir=models_dir, env=env))
    manager.ensure_ready()


def test_a_missing_working_directory_is_named(
    manager: ShimmyProcessManager, tmp_path: Path
) -> None:
    error = failure(manager, ShimmyProcessOptions(cwd=tmp_path / "gone"))
    assert error.code is ShimmyErrorCode.START_FAILED
    assert str(tmp_path / "gone") in error.message


@pytest.mark.parametrize("how", [{"args": ["a\0b"]}, {"env": {"A=B": "1"}}])
def test_what_the_system_cannot_pass_on_is_told(
    manager: ShimmyProcessManager, how: dict[str, object]
) -> None:
    error = failure(manager, ShimmyProcessOptions(**how))  # type: ignore[arg-type]
    assert error.code is ShimmyErrorCode.START_FAILED
    assert "could not be started" in error.message


# Ports: a stranger who is faster costs the user nothing, and is never taken for ours.


def test_a_stranger_that_takes_the_port_before_the_server_binds_it_is_evaded(
    manager: ShimmyProcessManager, pretend: Pretend, gate: Gate, models_dir: Path
) -> None:
    started: list[Starting] = []
    manager.on("starting", started.append)
    manager.start(
        pretend(gate.step, ["become", *FAKE], again=[["become", *FAKE]], models_dir=models_dir)
    )
    taken = gate.arrived()
    with stranger(taken) as asked:
        assert asked.wait(LONG)  # it was asked whether it is ours, and said yes
        assert manager.state == "starting"
        gate.open()
        manager.ensure_ready(LONG)
        assert manager.port != taken
        assert [event.port for event in started] == [taken, manager.port]
        assert manager.error is None
        assert manager.restarts == 0


@pytest.mark.shimmy_real
def test_the_real_executable_evades_a_stranger_too(
    manager: ShimmyProcessManager,
    pretend: Pretend,
    gate: Gate,
    models_dir: Path,
    real_shimmy: Path,
) -> None:
    real = str(real_shimmy)
    manager.start(
        pretend(gate.step, ["become", real], again=[["become", real]], models_dir=models_dir)
    )
    taken = gate.arrived()
    with stranger(taken):
        gate.open()
        manager.ensure_ready(LONG)
        assert manager.port != taken


def test_a_stranger_that_answers_as_shimmy_is_never_taken_for_ours(
    manager: ShimmyProcessManager, pretend: Pretend, gate: Gate
) -> None:
    ready: list[Ready] = []
    manager.on("ready", ready.append)
    manager.start(pretend(gate.step, ["silent"], health_timeout=1.5))
    with stranger(gate.arrived()) as asked:
        assert asked.wait(LONG)
        with pytest.raises(ShimmyError) as caught:
            manager.ensure_ready(LONG)
    assert caught.value.code is ShimmyErrorCode.HEALTHCHECK_FAILED
    assert f"it was process {os.getpid()} that answered as shimmy" in caught.value.message
    assert not ready


def test_a_stranger_that_answers_once_and_is_gone_is_not_ours(
    manager: ShimmyProcessManager, pretend: Pretend, gate: Gate
) -> None:
    ready: list[Ready] = []
    manager.on("ready", ready.append)
    manager.start(pretend(gate.step, ["silent"], health_timeout=1.5))
    with socket.create_server(("127.0.0.1", gate.arrived())) as server:
        server.settimeout(LONG)
        peer, _ = server.accept()
    with peer:  # nobody listens any more when the answer comes
        peer.recv(4096)
        peer.sendall(HEALTHY)
    with pytest.raises(ShimmyError) as caught:
        manager.ensure_ready(LONG)
    assert caught.value.code is ShimmyErrorCode.START_TIMEOUT
    assert not ready


def test_a_server_that_left_our_process_group_is_not_ours(
    manager: ShimmyProcessManager, pretend: Pretend, gate: Gate
) -> None:
    manager.start(pretend(gate.step, ["silent"], health_timeout=1.5))
    port = gate.arrived()
    elsewhere = Process(
        [sys.executable, "-IS", str(PRETENDER), "serve", "--bind", f"127.0.0.1:{port}"],
        env={"PRETEND": json.dumps([["serve"]])},
        cwd=None,
        on_output=lambda *_: None,
    )
    try:
        with pytest.raises(ShimmyError) as caught:
            manager.ensure_ready(LONG)
    finally:
        elsewhere.stop(0)
    assert caught.value.code is ShimmyErrorCode.HEALTHCHECK_FAILED
    assert f"it was process {elsewhere.pid} that answered as shimmy" in caught.value.message


def test_a_server_behind_a_wrapper_script_is_ours(
    manager: ShimmyProcessManager,
    pretend: Pretend,
    models_dir: Path,
    wait_until_gone: Callable[[int], None],
) -> None:
    manager.start(pretend(["wrap", *FAKE], models_dir=models_dir))
    manager.ensure_ready()
    (server,) = psutil.Process(manager.pid).children()
    manager.stop()
    # It was killed with its group, but it is not our child: its end takes a moment to show.
    wait_until_gone(server.pid)


def test_a_port_that_another_run_has_leased_is_not_tried(
    manager: ShimmyProcessManager, pretend: Pretend
) -> None:
    with ports.lease() as lease:
        manager.start(pretend(["serve"], preferred_port=lease.port))
        manager.ensure_ready()
        assert manager.port is not None
        assert manager.port > lease.port


TAKEN: Step = ["complain", "Error: Address already in use (os error 98)\n"]


@pytest.mark.parametrize(
    "steps",
    [
        [TAKEN],
        # More than is kept of the log.
        [["flood", 2, 2000], TAKEN],
        [TAKEN, ["flood", 1, 2000]],
    ],
    ids=["at once", "after much else", "before much else"],
)
def test_a_server_that_finds_every_port_taken_is_given_up(
    manager: ShimmyProcessManager,
    pretend: Pretend,
    monkeypatch: pytest.MonkeyPatch,
    steps: list[Step],
) -> None:
    monkeypatch.setattr(ShimmyProcessDefaults, "port_attempts", 3)
    tried: list[int] = []
    manager.on("starting", lambda event: tried.append(event.port))
    error = failure(manager, pretend(*steps, ["exit", 1]))
    assert error.code is ShimmyErrorCode.PORT_IN_USE
    assert f"port {tried[-1]} was taken by another program" in error.message
    assert len(set(tried)) == len(tried) == 3


def test_an_address_of_another_machine_is_named(manager: ShimmyProcessManager) -> None:
    error = failure(manager, ShimmyProcessOptions(host="192.0.2.1"))
    assert error.code is ShimmyErrorCode.START_FAILED
    assert "192.0.2.1 is no address of this machine" in error.message


def test_a_server_s_port_is_leased_until_it_stops(
    manager: ShimmyProcessManager, pretend: Pretend
) -> None:
    manager.start(pretend(["serve"]))
    manager.ensure_ready()
    port = manager.port
    with ports.lease(port) as other:
        assert other.port != port
    manager.stop()
    with ports.lease(port) as again:
        assert again.port == port


def test_a_failed_start_keeps_no_port(manager: ShimmyProcessManager, pretend: Pretend) -> None:
    failure(manager, pretend(["exit", 1]))
    with ports.lease(manager.port) as again:
        assert again.port == manager.port


def test_the_banner_proves_nothing(
    manager: ShimmyProcessManager, pretend: Pretend, gate: Gate
) -> None:
    heard = threading.Event()

    def listen(output: Output) -> None:
        if "Ready to serve" in output.text:
            heard.set()

    manager.on("stdout", listen)
    manager.start(pretend(["say", "✅ Ready to serve requests\n"], gate.step, ["serve"]))
    gate.arrived()
    assert heard.wait(LONG)
    assert manager.state == "starting"
    gate.open()
    manager.ensure_ready(LONG)


@pytest.mark.shimmy_real
def test_the_real_executable_says_it_is_ready_before_it_binds(
    real_shimmy: Path, models_dir: Path, tmp_path: Path
) -> None:
    output: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as holder:
        bind = f"127.0.0.1:{holder.getsockname()[1]}"
        process = Process(
            [str(real_shimmy), "serve", "--bind", bind, "--model-dirs", str(models_dir)],
            env=dict(os.environ),
            cwd=tmp_path,
            on_output=lambda _, data: output.append(data),
        )
        assert process.exited.wait(LONG)
    text = b"".join(output).decode()
    assert "Ready to serve requests" in text
    assert "(os error 98)" in text
    assert process.exit == (1, None)
