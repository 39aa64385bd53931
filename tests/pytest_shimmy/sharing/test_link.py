"""Joining, holding and leaving a server, without pytest around it: real keepers and servers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fake_shimmy.models.tiny_gguf import contents
from pytest_shimmy.defaults import ShimmyProcessDefaults
from pytest_shimmy.errors import ShimmyError, ShimmyErrorCode
from pytest_shimmy.launch.plan import Plan
from pytest_shimmy.network.questions import Questions
from pytest_shimmy.options import SCRIPT, ShimmyProcessOptions
from pytest_shimmy.sharing import launcher, sockets
from pytest_shimmy.sharing import link as room
from pytest_shimmy.sharing.files import KEPT_LOGS, read_rendezvous
from pytest_shimmy.sharing.link import Link
from pytest_shimmy.sharing.protocol import Channel, Snapshot
from pytest_shimmy.sharing.release import release_all
from pytest_shimmy.sharing.run import Anchor, Run

SOON = 5.0
"""Seconds within which an end must be complete; it takes a few hundredths."""


def plan(directory: Path) -> Plan:
    model = directory / "shared.gguf"
    options = ShimmyProcessOptions(
        model_path=model, cwd=directory, log_path=directory / "server.log", max_restarts=1
    )
    return Plan(options, files={str(model): contents()})


Join = Callable[..., Link]


@pytest.fixture
def join(runtime_dir: Path) -> Iterator[Join]:
    links: list[Link] = []

    def join(run: Run, key: str = "key", plan: Callable[[Path], Plan] = plan) -> Link:
        links.append(room.join(run, key, plan))
        return links[-1]

    yield join
    for link in links:
        link.leave(0.0)
    servers = runtime_dir / "servers"
    deadline = time.monotonic() + SOON
    while servers.exists() and any(servers.iterdir()):
        assert time.monotonic() < deadline, f"left: {list(servers.iterdir())}"


@pytest.fixture
def run() -> Run:
    return Run(os.urandom(16).hex(), None)


def directory_of(link: Link, runtime_dir: Path) -> Path:
    return runtime_dir / "servers" / link.name


def is_gone(pid: int | None) -> bool:
    assert pid is not None
    deadline = time.monotonic() + SOON
    with contextlib.suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                return False
    return True


def suspend(keeper: psutil.Process) -> None:
    """Stop it, and wait until all of its threads have stopped."""
    keeper.suspend()
    os.waitid(os.P_PID, keeper.pid, os.WSTOPPED | os.WNOWAIT)


def keeper_of(server: int | None) -> psutil.Process:
    keeper = psutil.Process(server).parent()
    assert keeper is not None
    return keeper


def test_all_who_join_a_run_hold_one_server(join: Join, run: Run) -> None:
    snapshots = [join(run).ready() for _ in range(3)]
    assert {snapshot.pid for snapshot in snapshots} == {snapshots[0].pid}
    assert {snapshot.port for snapshot in snapshots} == {snapshots[0].port}


@pytest.mark.slow
def test_different_settings_and_different_runs_have_servers_of_their_own(
    join: Join, run: Run
) -> None:
    links = [join(run, "a"), join(run, "b"), join(Run(os.urandom(16).hex(), None), "a")]
    assert len({link.ready().pid for link in links}) == 3
    assert len({link.ready().port for link in links}) == 3


JOIN = """
import sys
from pathlib import Path
from test_link import plan
from pytest_shimmy.sharing import link as room
from pytest_shimmy.sharing.run import Anchor, Run
sys.stdin.readline()
link = room.join(Run(sys.argv[1], None), "key", plan)
print(link.ready().pid, flush=True)
sys.stdin.readline()
"""


@pytest.mark.slow
def test_processes_that_ask_at_the_same_moment_get_one_server(runtime_dir: Path, run: Run) -> None:
    askers = [
        subprocess.Popen(
            [sys.executable, "-c", JOIN, run.id],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
            text=True,
            bufsize=1,
        )
        for _ in range(6)
    ]
    try:
        for asker in askers:
            assert asker.stdin is not None
            asker.stdin.write("go\n")
        servers = {asker.stdout.readline() for asker in askers if asker.stdout is not None}
        assert len(servers) == 1
        (server,) = servers
        *early, last = askers
        for asker in early:
            asker.kill()
            asker.wait()
        assert psutil.pid_exists(int(server)), "the last asker holds it"
        last.kill()
        last.wait()
        assert is_gone(int(server))
    finally:
        for asker in askers:
            asker.kill()
            asker.communicate()


def test_leaving_ends_the_server_and_removes_every_file(
    join: Join, run: Run, runtime_dir: Path
) -> None:
    link = join(run)
    server = link.ready().pid
    (server_summary,) = link.leave(SOON)
    assert (server_summary.restarts, server_summary.kept_log) == (0, None)
    assert is_gone(server)
    assert list((runtime_dir / "servers").iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="counts descriptors")
def test_servers_that_have_ended_leave_no_descriptor_open(run: Run, runtime_dir: Path) -> None:
    def start_and_leave() -> int:
        directory = room.server_directory(run.id)
        link = room.launch(run, directory, plan(directory))
        link.ready()
        assert len(link.leave(SOON)) == 1
        return psutil.Process().num_fds()

    assert start_and_leave() == start_and_leave() == start_and_leave()


def test_one_leaves_and_the_other_keeps_the_server(join: Join, run: Run) -> None:
    first, second = join(run), join(run)
    server = first.ready().pid
    assert first.leave(0.0) == []
    assert second.ready().pid == server


def test_an_anchor_holds_the_server_while_nobody_else_does(join: Join, runtime_dir: Path) -> None:
    anchor = Anchor()
    run = Run.invited(anchor.invitation())
    link = join(run)
    server = link.ready().pid
    assert link.leave(0.0) == []
    later = join(run)
    assert later.ready().pid == server
    # It lets go of a server that somebody else would still hold: the run is over.
    assert len(release_all(anchor.let_go(), SOON)) == 1
    assert is_gone(server)
    assert list((runtime_dir / "servers").iterdir()) == []


@pytest.mark.parametrize("was_seen_alive", [False, True])
def test_no_server_is_started_for_a_controller_that_is_gone(
    join: Join, runtime_dir: Path, monkeypatch: pytest.MonkeyPatch, was_seen_alive: bool
) -> None:
    anchor = Anchor()
    run = Run.invited(anchor.invitation())
    assert anchor.let_go() == []
    with monkeypatch.context() as patch:
        if was_seen_alive:
            patch.setattr(Run, "is_over", lambda _: False)
        with pytest.raises(ShimmyError, match="the run is over") as caught:
            join(run)
    assert caught.value.code is ShimmyErrorCode.CONTROL_FAILED
    launcher.reap()
    assert list((runtime_dir / "servers").iterdir()) == []


def test_a_start_that_fails_is_reported_to_everybody_who_waits(join: Join, run: Run) -> None:
    def broken(directory: Path) -> Plan:
        return plan(directory)._replace(
            options=ShimmyProcessOptions(
                args=["--no-such-flag"], log_path=directory / "server.log", cwd=directory
            )
        )

    for _ in range(2):
        with pytest.raises(ShimmyError, match=r"(?s)exit code 2.*--no-such-flag") as caught:
            join(run, plan=broken).ready()
        assert caught.value.code is ShimmyErrorCode.START_FAILED
        assert caught.value.details["exit_code"] == 2


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_death_of_the_server_is_known_as_soon_as_anybody_asks(join: Join, run: Run) -> None:
    link = join(run)
    first = link.ready()
    assert first.pid is not None
    with socket.create_connection((first.host, first.port)) as witness:
        os.kill(first.pid, signal.SIGKILL)
        # The kernel closes its sockets when it dies: this is what a client of it notices.
        with contextlib.suppress(ConnectionResetError):
            assert witness.recv(1) == b""
    (death,) = link.status().deaths
    assert (death.pid, death.exit) == (first.pid, "killed by SIGKILL")
    second = link.ready()
    assert second.pid != first.pid
    assert (second.port, second.restarts) == (first.port, 1)


ONLY_LINUX = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere the system tells too little, and each test asks"
)


def seen(link: Link) -> Snapshot:
    """What a second question is answered, so that the next look needs none."""
    link.ready()
    return link.ready()


def chat(server: Snapshot) -> None:
    """Have the server answer, which it logs first."""
    body = {"model": "shared", "messages": [{"role": "user", "content": "Hi"}], "stream": False}
    Questions(f"http://{server.host}:{server.port}").answers_chat(body, SOON)


@ONLY_LINUX
def test_that_nothing_has_changed_is_seen_without_a_question(join: Join, run: Run) -> None:
    link = join(run)
    assert link.glance() is None, "nothing is known yet"
    before = seen(link)
    keeper = keeper_of(before.pid)
    suspend(keeper)
    try:
        assert link.glance() == before
    finally:
        keeper.resume()


@ONLY_LINUX
@pytest.mark.parametrize("is_reported", [False, True])
def test_a_look_knows_a_log_that_has_grown_or_nothing(
    join: Join, run: Run, tmp_path: Path, is_reported: bool
) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()

    def reported(directory: Path) -> Plan:
        return plan(directory).reported(str(parts), "one")

    link = join(run, plan=reported if is_reported else plan)
    before = seen(link)
    keeper = keeper_of(before.pid)
    suspend(keeper)
    try:
        chat(before)
        assert link.glance() is None, "what the server wrote is still in the keeper's pipe"
    finally:
        keeper.resume()
    deadline = time.monotonic() + SOON
    while (found := link.glance()) is None:
        assert time.monotonic() < deadline
    assert found.log_size > before.log_size
    assert found == link.status()
    assert any(parts.iterdir()) == is_reported


@ONLY_LINUX
def test_a_look_sees_a_death_as_soon_as_a_client_can(join: Join, run: Run) -> None:
    link = join(run)
    server = seen(link)
    assert server.pid is not None
    with socket.create_connection((server.host, server.port)) as witness:
        os.kill(server.pid, signal.SIGKILL)
        with contextlib.suppress(ConnectionResetError):
            assert witness.recv(1) == b""
    assert link.glance() is None
    assert seen(link).restarts == 1
    again = link.glance()
    assert again is not None
    assert again.pid != server.pid


@ONLY_LINUX
def test_a_look_sees_that_the_keeper_is_gone(join: Join, run: Run) -> None:
    link = join(run)
    server = seen(link).pid
    keeper_of(server).terminate()
    assert is_gone(server)
    assert link.glance() is None


def test_a_killed_keeper_takes_the_server_along_and_the_next_asker_starts_anew(
    join: Join, run: Run, runtime_dir: Path
) -> None:
    link = join(run)
    server = link.ready().pid
    keeper_of(server).kill()
    assert is_gone(server)
    with pytest.raises(ShimmyError, match=r"the keeper of server .* is gone") as caught:
        link.status()
    assert caught.value.code is ShimmyErrorCode.CONTROL_FAILED
    assert link.leave(SOON) == []
    again = join(run)
    assert again.ready().pid != server
    again.leave(SOON)


def test_a_killed_keepers_files_vanish_at_once_and_no_others(
    join: Join, run: Run, runtime_dir: Path
) -> None:
    dead, living = join(run, "dead"), join(run, "living")
    server = dead.ready().pid
    keeper_of(server).kill()
    servers, left = runtime_dir / "servers", {living.name, f"{living.name}.lock"}
    deadline = time.monotonic() + SOON
    while {path.name for path in servers.iterdir()} != left:
        assert time.monotonic() < deadline
    assert is_gone(server)
    assert living.ready().log_size > 0


def test_an_answer_to_an_interrupted_question_is_nobody_elses(
    join: Join, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = join(run)
    link.ready()
    receive = Channel.receive

    def interrupted(channel: Channel) -> dict[str, object] | None:
        monkeypatch.setattr(Channel, "receive", receive)
        raise KeyboardInterrupt

    monkeypatch.setattr(Channel, "receive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        link.status()
    before = link.ready()
    os.kill(before.pid or 0, signal.SIGKILL)
    assert is_gone(before.pid)
    assert len(link.status().deaths) == 1, "and not the answer to the question before"


def test_the_next_keeper_removes_what_is_left_of_a_run_that_was_killed_whole(
    join: Join, run: Run, runtime_dir: Path
) -> None:
    remains = runtime_dir / "servers" / "killed"
    remains.mkdir(parents=True)
    (remains / "server.log").touch()
    remains.with_suffix(".lock").touch()
    join(run).ready()
    deadline = time.monotonic() + SOON
    while remains.exists() or remains.with_suffix(".lock").exists():
        assert time.monotonic() < deadline


def test_a_keeper_that_is_asked_to_end_ends_its_server_too(
    join: Join, run: Run, runtime_dir: Path
) -> None:
    server = join(run).ready().pid
    keeper_of(server).terminate()
    assert is_gone(server)


def test_strangers_on_the_control_port_learn_nothing_and_harm_nothing(
    join: Join, run: Run, runtime_dir: Path
) -> None:
    link = join(run)
    link.ready()
    rendezvous = read_rendezvous(directory_of(link, runtime_dir))
    assert rendezvous is not None
    address = rendezvous.address

    @settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
    @given(st.binary() | st.just(b'{"token": "guess"}\n{"op": "status"}\n'))
    def knock(said: bytes) -> None:
        with sockets.connect(address, SOON) as stranger:
            stranger.sendall(said)
            stranger.shutdown(socket.SHUT_WR)
            stranger.settimeout(0.005)
            with contextlib.suppress(TimeoutError, ConnectionResetError):
                assert stranger.recv(1) == b""

    knock()
    assert link.ready().state == "ready"


def test_a_log_is_kept_when_asked_for_and_old_ones_are_removed(
    join: Join, run: Run, runtime_dir: Path
) -> None:
    logs = runtime_dir / "logs"
    logs.mkdir(parents=True)
    now = time.time()
    for number in range(KEPT_LOGS + 5):
        old = logs / f"old-{number}.log"
        old.touch()
        os.utime(old, (now, now - 60 - number))
    link = join(run)
    link.ready()
    link.keep_log()
    (server_summary,) = link.leave(SOON)
    assert server_summary.kept_log is not None
    assert "Ready to serve requests" in Path(server_summary.kept_log).read_text()
    assert len(list(logs.iterdir())) == KEPT_LOGS
    assert Path(server_summary.kept_log).parent == logs


def test_a_start_that_somebody_else_never_finishes_ends_in_a_lock_timeout(
    join: Join, run: Run, runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ShimmyProcessDefaults, "lock_timeout", 0.05)
    monkeypatch.setattr(room, "START_LOCKS", 1)
    (runtime_dir / "locks").mkdir(parents=True)
    with (
        FileLock(str(runtime_dir / "locks" / "start-0.lock"), is_singleton=False),
        pytest.raises(ShimmyError, match=r"start-0\.lock was not free within") as caught,
    ):
        join(run)
    assert caught.value.code is ShimmyErrorCode.LOCK_TIMEOUT


def test_a_keeper_that_cannot_start_is_reported_with_what_it_said(
    join: Join, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = (sys.executable, "-c", "raise SystemExit('no room on this machine')")
    monkeypatch.setattr(launcher, "python_command", lambda *_: command)
    with pytest.raises(ShimmyError, match=r"(?s)keeper.*exit code 1.*no room on this") as caught:
        join(run)
    assert caught.value.code is ShimmyErrorCode.CONTROL_FAILED


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_that_lives_on_does_not_hold_the_server(join: Join, run: Run) -> None:
    link = join(run)
    server = link.ready().pid
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    try:
        link.leave(SOON)
        assert is_gone(server)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.slow
def test_questions_of_many_threads_get_their_own_answers(join: Join, run: Run) -> None:
    links = [join(run, "a"), join(run, "b")]
    ports = [link.ready().port for link in links]

    def ask(number: int) -> bool:
        ready = (links[number % 2].ready, links[number % 2].status)[number // 2 % 2]
        return all(ready().port == ports[number % 2] for _ in range(200))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_that_is_forked_while_another_thread_asks_can_ask(join: Join, run: Run) -> None:
    link = join(run)
    link.ready()
    with link._lock:  # a thread that is just asking
        child = os.fork()
        if child == 0:
            signal.alarm(int(SOON))
            os._exit(0 if link.status().state == "ready" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and sessions")
def test_a_keeper_has_a_session_of_its_own_and_lives_on_after_ctrl_c(join: Join, run: Run) -> None:
    link = join(run)
    keeper = keeper_of(link.ready().pid)
    assert os.getsid(keeper.pid) == keeper.pid != os.getsid(0)
    for number in (signal.SIGINT, signal.SIGHUP):
        keeper.send_signal(number)
    assert link.status().state == "ready"
    assert keeper.is_running()


ALONE = """
import sys
from pathlib import Path
from test_link import plan
from pytest_shimmy.sharing import link as room
from pytest_shimmy.sharing.run import Run
run = Run(sys.argv[1], None)
directory = room.server_directory(run.id)
link = room.launch(run, directory, plan(directory), alone=True)
print(link.ready().pid, directory, flush=True)
sys.stdin.readline()
"""


@pytest.mark.slow
def test_a_private_server_ends_with_its_launcher_whoever_has_joined(
    runtime_dir: Path, run: Run
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ALONE, run.id],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        text=True,
    ) as launching:
        assert launching.stdout is not None
        server, directory = launching.stdout.readline().split()
        rendezvous = read_rendezvous(Path(directory))
        assert rendezvous is not None
        other = Link(room._connect(rendezvous, "other"), rendezvous, "other")
        assert other.status().pid == int(server)
        launching.kill()
    assert is_gone(int(server))
    other.leave(SOON)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Linux says which process is stopped")
def test_a_keeper_that_is_stopped_is_given_up_and_killed_at_the_end(
    join: Join, run: Run, runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ShimmyProcessDefaults, "answer_timeout", 0.5)
    monkeypatch.setattr(room, "SIGN_OF_LIFE", 0.1)
    link = join(run)
    keeper = keeper_of(server := link.ready().pid)
    suspend(keeper)
    for ask in (link.status, link.ready, lambda: join(run)):
        with pytest.raises(ShimmyError, match=rf"process {keeper.pid} is stopped") as caught:
            ask()
        assert caught.value.code is ShimmyErrorCode.CONTROL_FAILED
    assert link.leave(0.1) == []
    assert is_gone(keeper.pid)
    assert is_gone(server)


@pytest.mark.slow
def test_a_slow_start_is_waited_for_however_long_an_answer_may_take(
    join: Join, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ShimmyProcessDefaults, "answer_timeout", 0.5)
    monkeypatch.setattr(room, "SIGN_OF_LIFE", 0.1)

    def slow(directory: Path) -> Plan:
        script = directory / "script.json"
        usual = plan(directory)
        options = ShimmyProcessOptions(
            model_path=usual.options.model_path,
            cwd=directory,
            log_path=directory / "server.log",
            env={SCRIPT: str(script)},
        )
        text = json.dumps({"life": {"start_delay": 1.5}})
        return Plan(options, files={**usual.files, str(script): text.encode()})

    waited: list[float] = []
    assert join(run, plan=slow).ready(waited.append).state == "ready"
    assert waited == sorted(waited)
    assert waited[-1] > 0.5


def test_an_orderly_end_leaves_no_process_to_be_waited_for(join: Join, run: Run) -> None:
    link = join(run)
    keeper = keeper_of(link.ready().pid)
    family = [keeper, *keeper.children()]
    assert len(family) == 3, "with server and janitor"
    assert len(link.leave(SOON)) == 1
    assert [process for process in family if psutil.pid_exists(process.pid)] == []
