"""Recording and replaying in runs of pytest."""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from tests.support.consumer_suite import Run

pytestmark = pytest.mark.slow

ASKING = '''
import json, os, socket
from pathlib import Path

def ask(server, body=None, path="/v1/chat/completions", method="POST", key=True):
    """Every byte of the answer."""
    body = b"" if body is None else json.dumps(body).encode()
    host = f"authorization: Bearer {server.api_key}\\r\\n" if key else ""
    head = f"{method} {path} HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n{host}"
    head += f"content-type: application/json\\r\\ncontent-length: {len(body)}\\r\\n\\r\\n"
    received = b""
    with socket.create_connection((server.host, server.port), 30) as peer:
        peer.sendall(head.encode() + body)
        try:
            while data := peer.recv(65536):
                received += data
        except ConnectionResetError:
            received += b"RESET"
    return received

def chat(server, text, **more):
    message = {"role": "user", "content": text}
    return ask(server, {"model": server.model, "messages": [message], "stream": True, **more})

def keep(name, seen):
    folder = Path(os.environ["SEEN"])
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(seen)
'''

SUITE = """
import pytest
from asking import ask, chat, keep

@pytest.fixture(scope="session")
def warm(shimmy_server):
    keep("warm", chat(shimmy_server, "warm up"))

@pytest.mark.parametrize("text", ["hi", "Zürich / Genève"])
def test_stream(shimmy_server, warm, text):
    keep(f"stream-{len(text)}", chat(shimmy_server, text))

def test_whole(shimmy_server):
    keep("whole", chat(shimmy_server, "hi", stream=False))
    keep("refused", ask(shimmy_server, {"model": 1}))
    keep("absent", ask(shimmy_server, path="/nowhere?x=1", method="GET"))
    keep("models", ask(shimmy_server, path="/v1/models", method="GET"))

def test_twice(shimmy_server):
    first, second = (chat(shimmy_server, "again", stream=False) for _ in range(2))
    keep("first", first), keep("second", second)
    assert first != second  # the ids differ

@pytest.mark.shimmy_cassette("shared/one")
def test_shared(shimmy_server):
    keep("shared", chat(shimmy_server, "shared"))

@pytest.mark.shimmy_cassette("shared/one")
def test_shared_too(shimmy_server):
    keep("shared-too", chat(shimmy_server, "shared as well"))
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> Path:
    pytester.makepyfile(asking=ASKING, test_a=SUITE)
    return pytester.path


def seen(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_replay_gives_every_byte_that_was_received(
    suite: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEEN", "recorded")
    recorded = run("--shimmy-fake", "--shimmy-record=cassettes")
    recorded.assert_outcomes(passed=6)
    recorded.stdout.fnmatch_lines("shimmy: bundled fake of *, recording in *cassettes")
    recorded.stdout.fnmatch_lines("shimmy: 11 exchanges recorded, 6 cassettes written in *")
    files = {path.relative_to(suite / "cassettes").as_posix(): path
             for path in (suite / "cassettes").rglob("*.json")}  # fmt: skip
    special = next(name for name in files if "Z" in name)
    assert set(files) - {special} == {
        "server.json",
        "shared/one.json",
        "test_a/fixture-warm.json",
        "test_a/test_stream[hi].json",
        "test_a/test_twice.json",
        "test_a/test_whole.json",
    }
    shared = json.loads(files["shared/one.json"].read_text())
    assert len(shared["exchanges"]) == 2
    assert "Airframe Engine" in shared["recorded"]["build"]

    monkeypatch.setenv("SEEN", "replayed")
    replayed = run("--shimmy-replay=cassettes")
    replayed.assert_outcomes(passed=6)
    replayed.stdout.fnmatch_lines(
        "shimmy: replaying 6 cassettes of the bundled fake of shimmy *, recorded 20*"
    )
    replayed.stdout.fnmatch_lines("shimmy: 11 exchanges replayed, none missed")
    replayed.stdout.fnmatch_lines("shimmy: 6 tests on recordings")
    assert seen(suite / "replayed") == seen(suite / "recorded")
    quiet = [line for line in run("-q", "--shimmy-replay=cassettes").outlines if "shimmy: " in line]
    assert quiet == ["shimmy: 11 exchanges replayed, none missed; 6 tests on recordings"]

    # Recorded again: whatever is new in it is chance, so no file is touched.
    before = {name: path.stat().st_mtime_ns for name, path in files.items()}
    monkeypatch.setenv("SEEN", "again")
    again = run("--shimmy-fake", "--shimmy-record=cassettes")
    again.stdout.fnmatch_lines("shimmy: 11 exchanges recorded, 0 cassettes written in *")
    assert {name: path.stat().st_mtime_ns for name, path in files.items()} == before
    assert seen(suite / "again") != seen(suite / "recorded"), "ids and dates are others"


def test_workers_record_and_replay_together(
    suite: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEEN", "recorded")
    result = run("-n2", "-v", "--shimmy-fake", "--shimmy-record=cassettes")
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines("shimmy: port *")
    assert result.stdout.str().count("shimmy: port ") == 1
    monkeypatch.setenv("SEEN", "replayed")
    result = run("-n2", "--shimmy-replay=cassettes")
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines("shimmy: 1? exchanges replayed, none missed")


def test_a_request_that_was_not_recorded_fails_its_test_and_shows_the_nearest(
    suite: Path, pytester: pytest.Pytester, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = "from asking import chat\ndef test_b(shimmy_server):\n    chat(shimmy_server, {text!r})"
    monkeypatch.setenv("SEEN", "seen")
    pytester.makepyfile(test_b=test.format(text="Capital of France?"))
    run("test_b.py", "--shimmy-fake", "--shimmy-record=cassettes").assert_outcomes(passed=1)
    pytester.makepyfile(test_b=test.format(text="Capital of Spain?"))
    result = run("test_b.py", "--shimmy-replay=cassettes")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*no recording answers POST /v1/chat/completions",
            "*looked in *cassettes/test_b/test_b.json",
            "*-*Capital of France?*",
            "*+*Capital of Spain?*",
            "*pytest 'test_b.py::test_b' --shimmy-path=EXECUTABLE --shimmy-record=*cassettes "
            "--shimmy-record-mode=missing",
        ]
    )
    result.stdout.fnmatch_lines("shimmy: 0 exchanges replayed, 1 not recorded")
    assert "shimmy server log" not in result.stdout.str()  # that of the replay tells nothing

    # What the report says is what helps.
    run("test_b.py", "--shimmy-fake", "--shimmy-record=cassettes", "--shimmy-record-mode=missing")
    assert len(json.loads(Path("cassettes/test_b/test_b.json").read_text())["exchanges"]) == 2
    result = run("test_b.py", "--shimmy-replay=cassettes")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines("shimmy: not asked for: 1 recorded exchange")


def test_faults_and_scripts_combine_with_recorded_answers(
    suite: Path, pytester: pytest.Pytester, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEEN", "seen")
    pytester.makepyfile(
        test_b="""
        from asking import chat
        from pytest_shimmy.outcomes import replayed

        def test_cut(shimmy_server, shimmy_fake):
            if shimmy_server.mode == "replayed":
                shimmy_fake.drop(after_tokens=2)
            seen = chat(shimmy_server, "hi")
            if shimmy_server.mode == "replayed":
                assert seen.endswith(b"RESET"), seen
                assert seen.count(b"data: ") == 3, seen  # the opening and two tokens
                (request,) = shimmy_fake.requests
                assert request.tokens_sent == 2

        def test_mixed(shimmy_server, shimmy_fake):
            if shimmy_server.mode == "replayed":
                shimmy_fake.answers([503, replayed, "scripted"])
            seen = [chat(shimmy_server, "hi", stream=False) for _ in range(3)]
            if shimmy_server.mode == "replayed":
                assert seen[0].startswith(b"HTTP/1.1 503")
                assert seen[1].startswith(b"HTTP/1.1 200") and b"scripted" not in seen[1]
                assert b"scripted" in seen[2]

        def test_late(shimmy_server, shimmy_fake):
            if shimmy_server.mode == "replayed":
                shimmy_fake.latency(first_token=0.05, per_token=0.02)
            chat(shimmy_server, "hi")
            if shimmy_server.mode == "replayed":
                (request,) = shimmy_fake.requests
                assert request.schedule[0] == 0.05
                assert len(request.schedule) == request.tokens_sent > 1
        """
    )
    run("test_b.py", "--shimmy-fake", "--shimmy-record=cassettes").assert_outcomes(passed=3)
    run("test_b.py", "--shimmy-replay=cassettes").assert_outcomes(passed=3)


def test_an_answer_that_was_torn_off_is_torn_off_again(
    suite: Path, pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        test_b="""
        from asking import chat
        def test_cut(shimmy_server, shimmy_fake):
            if shimmy_server.mode == "fake":
                shimmy_fake.drop(after_tokens=2)
            seen = chat(shimmy_server, "hi")
            assert seen.endswith(b"RESET"), seen
            assert seen.count(b"data: ") == 3, seen
        """
    )
    run("test_b.py", "--shimmy-fake", "--shimmy-record=cassettes").assert_outcomes(passed=1)
    run("test_b.py", "--shimmy-replay=cassettes").assert_outcomes(passed=1)


def test_the_harness_says_what_was_recorded(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(
        asking=ASKING,
        test_b="""
        import pytest
        from asking import chat

        def test_facts(shimmy_server, shimmy_model):
            chat(shimmy_server, "hi")
            assert shimmy_model == "recorded-model"
            if shimmy_server.mode == "replayed":
                assert "recorded-model" in shimmy_server.models()
                assert shimmy_server.version == "1.8.1"
                assert shimmy_server.health()["service"] == "shimmy"
                assert not shimmy_server.gpu.verified
                assert "when it was recorded" in shimmy_server.gpu.evidence

        @pytest.mark.shimmy_real
        def test_real(shimmy_server):
            chat(shimmy_server, "hi")

        @pytest.mark.shimmy_gpu
        def test_gpu(shimmy_server):
            raise AssertionError("on recordings, no GPU is verified")

        def test_own(make_shimmy_server):
            own = make_shimmy_server()
            assert b"200 OK" in chat(own, "to my own server", stream=False)
        """,
    )
    model = "--shimmy-model=recorded-model"
    result = run("--shimmy-fake", "--shimmy-fake-version=1.8.1", model, "--shimmy-record=cassettes")
    result.assert_outcomes(passed=2, skipped=2)
    result = run("--shimmy-replay=cassettes", "-rs")
    result.assert_outcomes(passed=2, skipped=2)
    result.stdout.fnmatch_lines("*this run replays recordings; run it with --shimmy-path=*")
    required = run("--shimmy-replay=cassettes", "--shimmy-require=real", "-k", "test_facts")
    required.stdout.fnmatch_lines("*FAILED, because no test ran on a real executable")
    assert required.ret == 1
    enough = run("--shimmy-replay=cassettes", "--shimmy-replay-as-real", "-k", "test_facts",
                 "--shimmy-require=real")  # fmt: skip
    assert enough.ret == 0


def test_only_failed_tests_are_written_if_that_is_wanted(
    suite: Path, pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        test_b="""
        from asking import chat
        def test_passes(shimmy_server):
            chat(shimmy_server, "one")
        def test_fails(shimmy_server):
            chat(shimmy_server, "two")
            raise AssertionError
        """
    )
    arguments = ("--shimmy-fake", "--shimmy-record=cassettes", "--shimmy-record-mode=failed")
    run("test_b.py", *arguments).assert_outcomes(passed=1, failed=1)
    names = [path.name for path in Path("cassettes/test_b").iterdir()]
    assert names == ["test_fails.json"]


def test_a_server_that_somebody_else_runs_is_recorded_through_one_recorder(
    suite: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    fake_server: tuple[str, subprocess.Popen[bytes]],
) -> None:
    url, server = fake_server
    monkeypatch.setenv("SEEN", "recorded")
    result = run("-n2", f"--shimmy-url={url}", "--shimmy-record=cassettes")
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(f"shimmy: attached to {url} *, recording in *")
    monkeypatch.setenv("SEEN", "replayed")
    run("--shimmy-replay=cassettes").assert_outcomes(passed=6)
    assert seen(suite / "replayed").keys() == seen(suite / "recorded").keys()
    assert server.poll() is None


def test_a_secret_of_the_environment_is_in_no_file(
    pytester: pytest.Pytester, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_SERVICE_TOKEN", "tok-0123456789")
    pytester.makepyfile(
        asking=ASKING,
        test_b="""
        import os
        from asking import chat
        def test_b(shimmy_server):
            seen = chat(shimmy_server, "my token is " + os.environ["MY_SERVICE_TOKEN"])
            assert b"200 OK" in seen
        """,
    )
    run("--shimmy-fake", "--shimmy-record=cassettes").assert_outcomes(passed=1)
    text = Path("cassettes/test_b/test_b.json").read_text()
    assert "my token is ***" in text
    assert "0123456789" not in text
    monkeypatch.setenv("MY_SERVICE_TOKEN", "another-token")
    run("--shimmy-replay=cassettes").assert_outcomes(passed=1)


class OtherServer(BaseHTTPRequestHandler):
    """Refuses requests, and says which key they had, as some servers do; can talk on ``/ws``."""

    keys: ClassVar[list[str | None]] = []
    asked_who = itertools.count(1)

    def do_GET(self) -> None:
        if self.path in ("/ws", "/greet", "/push"):
            self.converse()
            return
        self._answer(200, {"status": "ok", "service": "shimmy", "data": [{"id": "m"}]})

    def do_POST(self) -> None:
        key = self.headers["authorization"]
        self.keys.append(key)
        self.rfile.read(int(self.headers["content-length"]))
        self._answer(401, {"error": {"message": f"Incorrect API key provided: {key}"}})

    def converse(self) -> None:
        """Answer each message over a WebSocket with two frames, up to "bye"; "who" is answered
        with how many had asked it. Greet first where the path says so, and say no more to a push.
        """
        self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n")
        if self.path != "/ws":
            for text in (b"welcome", b"you are %d" % next(self.asked_who)):
                self.wfile.write(b"\x81" + bytes([len(text)]) + text)
        if self.path == "/push":
            self.close_connection = True
            return
        while head := self.rfile.read(6):
            text = self.rfile.read(head[1] & 0x7F)  # masked with zeros
            if text == b"who":
                text = b"number %d" % next(self.asked_who)
            for reply in (b"to " + text, b"more to " + text):
                self.wfile.write(b"\x81" + bytes([len(reply)]) + reply)
            if text == b"bye":
                break
        self.close_connection = True

    def _answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), OtherServer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


TALK = """
import socket

class Talk:
    def __init__(self, server, path="/ws"):
        self.peer = socket.create_connection((server.host, server.port), 30)
        key = f"authorization: Bearer {server.api_key}\\r\\n"
        head = f"GET {path} HTTP/1.1\\r\\nhost: x\\r\\nupgrade: websocket\\r\\n{key}\\r\\n"
        self.peer.sendall(head.encode())
        self.file = self.peer.makefile("rb")
        while self.file.readline() != b"\\r\\n":
            pass

    def say(self, text):
        self.peer.sendall(b"\\x81" + bytes([0x80 | len(text), 0, 0, 0, 0]) + text.encode())

    def hear(self):
        _, size = self.file.read(2)
        return self.file.read(size).decode()
"""

CONVERSATION = """
import socket
from talking import Talk

def test_talk(shimmy_server):
    talk = Talk(shimmy_server)
    for text in {texts!r}:
        talk.say(text)
        assert talk.hear() == "to " + text
        assert talk.hear() == "more to " + text
        # Nothing more comes until the next message.
        if text != "bye":
            talk.peer.settimeout(0.1)
            try:
                assert not talk.peer.recv(1, socket.MSG_PEEK)
            except TimeoutError:
                pass
            talk.peer.settimeout(30)
    assert talk.file.read() == b"" if text == "bye" else True
"""

CROSSING = """
import threading
from talking import Talk

def test_crossing(shimmy_server):
    first, second = Talk(shimmy_server), Talk(shimmy_server)
    heard = [talk_of(talk) for talk in (second, first)]
    assert heard == ["to number 1", "to number 2"]

def test_at_once(shimmy_server):
    talks = [Talk(shimmy_server) for _ in range(8)]
    gate, heard = threading.Barrier(len(talks)), []
    def run(talk):
        gate.wait()
        heard.append(talk_of(talk))
    threads = [threading.Thread(target=run, args=(talk,)) for talk in talks]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(heard) == sorted(f"to number {n}" for n in range(3, 11))

def talk_of(talk):
    talk.say("who")
    name = talk.hear()
    assert talk.hear() == "more " + name
    talk.say("I heard: " + name)
    assert talk.hear() == "to I heard: " + name
    assert talk.hear() == "more to I heard: " + name
    return name
"""


GREETED = """
from talking import Talk

def test_greeted(shimmy_server):
    for number in (1, 2):
        talk = Talk(shimmy_server, "/greet")
        assert [talk.hear(), talk.hear()] == ["welcome", f"you are {number}"]
        talk.say("one")
        assert [talk.hear(), talk.hear()] == ["to one", "more to one"]
        talk.say("bye")
        assert [talk.hear(), talk.hear()] == ["to bye", "more to bye"]
        assert talk.file.read() == b""

def test_pushed(shimmy_server):
    for number in (3, 4):
        talk = Talk(shimmy_server, "/push")
        assert [talk.hear(), talk.hear()] == ["welcome", f"you are {number}"]
        assert talk.file.read() == b""
"""


def test_what_a_server_says_first_over_a_websocket_is_replayed(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makeini("[pytest]\nshimmy_model = m")
    pytester.makepyfile(talking=TALK, test_b=GREETED)
    with serving() as url:
        result = run("-p", "no:randomly", f"--shimmy-url={url}", "--shimmy-record=cassettes")
        result.assert_outcomes(passed=2)
    exchanges = json.loads(Path("cassettes/test_b/test_greeted.json").read_text())["exchanges"]
    asked = [each["request"] for each in exchanges if each["request"]["path"] == "/greet"]
    assert [(each["before"], each["after"]) for each in asked] == [(2, [4]), (2, [4])]
    for speed in ("0", "1"):
        result = run("--shimmy-replay=cassettes", f"--shimmy-replay-speed={speed}")
        result.assert_outcomes(passed=2)
        assert "not asked for" not in result.stdout.str()
    # Once more than it was recorded.
    again = GREETED.replace("(3, 4)", "(3, 4, 5)")
    pytester.makepyfile(test_b=again)
    result = run("--shimmy-replay=cassettes")
    result.assert_outcomes(passed=1, failed=1)


@pytest.mark.parametrize("end", ["bye", "so long"], ids=["server ends", "client leaves"])
def test_a_conversation_over_a_websocket_waits_for_each_message(
    pytester: pytest.Pytester, run: Run, end: str
) -> None:
    pytester.makeini("[pytest]\nshimmy_model = m")

    pytester.makepyfile(talking=TALK)

    def says(*texts: str) -> None:
        pytester.makepyfile(test_b=CONVERSATION.format(texts=texts))

    says("one", "two", end)
    with serving() as url:
        run(f"--shimmy-url={url}", "--shimmy-record=cassettes").assert_outcomes(passed=1)
    (exchange,) = (
        each
        for each in json.loads(Path("cassettes/test_b/test_talk.json").read_text())["exchanges"]
        if each["request"]["path"] == "/ws"
    )
    assert exchange["request"]["messages"] == ["one", "two", end]
    assert exchange["request"]["after"] == [2, 4]
    run("--shimmy-replay=cassettes").assert_outcomes(passed=1)
    run("--shimmy-replay=cassettes", "--shimmy-replay-speed=1").assert_outcomes(passed=1)

    # Another message than the recorded one has no recording.
    says("one", "three")
    result = run("--shimmy-replay=cassettes")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*no recording answers GET /ws", '*-*"two"*', '*+*"three"*'])
    if end == "so long":
        says("one", "two", end, "and another")
        result = run("--shimmy-replay=cassettes")
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["*no recording answers GET /ws", '*+*"and another"*'])


def test_conversations_that_begin_alike_come_in_recorded_order_and_do_not_mix(
    pytester: pytest.Pytester, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OtherServer, "asked_who", itertools.count(1))
    pytester.makeini("[pytest]\nshimmy_model = m")
    pytester.makepyfile(talking=TALK, test_b=CROSSING)
    with serving() as url:
        recorded = run("-p", "no:randomly", f"--shimmy-url={url}", "--shimmy-record=cassettes")
    recorded.assert_outcomes(passed=2)
    for speed in (0, 1):
        result = run("--shimmy-replay=cassettes", f"--shimmy-replay-speed={speed}")
        result.assert_outcomes(passed=2)
        result.stdout.fnmatch_lines(["shimmy: * exchanges replayed, none missed"])


def test_the_server_gets_its_own_key_and_no_key_is_in_any_file(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        asking=ASKING,
        test_b="""
        from asking import chat
        def test_b(shimmy_server):
            assert shimmy_server.api_key != "sk-of-the-server"
            seen = chat(shimmy_server, "hi")
            assert b"401" in seen and b"Incorrect API key provided: Bearer " in seen
            with open("session-key", "w") as file:
                file.write(shimmy_server.api_key)
        """,
    )
    pytester.makeini("[pytest]\nshimmy_api_key = sk-of-the-server\nshimmy_model = m")
    OtherServer.keys.clear()
    with serving() as url:
        result = run(f"--shimmy-url={url}", "--shimmy-record=cassettes")
    result.assert_outcomes(passed=1)
    assert set(OtherServer.keys) == {"Bearer sk-of-the-server"}
    session_key = Path("session-key").read_text()
    written = {path.name: path.read_text() for path in Path("cassettes").rglob("*.json")}
    assert "provided: Bearer ****************" in written["test_b.json"]
    for text in written.values():
        assert "sk-of-the-server" not in text
        assert session_key not in text
    run("--shimmy-replay=cassettes").assert_outcomes(passed=1)


ASKS_AFTER_ALL_TESTS = """
import pytest
from asking import chat

SERVERS = []

@pytest.fixture
def kept(shimmy_server):
    SERVERS.append(shimmy_server)

@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish():
    for server in SERVERS:
        chat(server, "my token is tok-123")
"""


@pytest.mark.parametrize("arguments", [(), ("-n1",)], ids=["alone", "worker"])
def test_a_secret_that_is_found_when_all_tests_have_passed_fails_the_run(
    pytester: pytest.Pytester, run: Run, arguments: tuple[str, ...]
) -> None:
    pytester.makepyfile(asking=ASKING, test_b="def test_b(kept):\n    pass")
    pytester.makeconftest(ASKS_AFTER_ALL_TESTS)
    rules = pytester.mkdir("cassettes") / "cassettes.toml"
    # A pattern that matches what stands for a secret, too.
    rules.write_text(r"secret = ['tok-\d+|\*+']")
    result = run(*arguments, "--shimmy-fake", "--shimmy-record=cassettes")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        "shimmy: FAILED: [[]CASSETTE_SECRET] *between-tests.json was not written: a secret is "
        "still in it, at exchanges[[]0].request.*"
    )
    assert "INTERNALERROR" not in result.stdout.str()
    assert not list(rules.parent.rglob("between-tests.json"))

    # Without the secret the same run succeeds.
    rules.write_text(r"secret = ['tok-\d+']")
    result = run(*arguments, "--shimmy-fake", "--shimmy-record=cassettes")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.OK
    assert "my token is ***" in (rules.parent / "between-tests.json").read_text()


def test_a_secret_that_is_found_in_a_tests_cassette_fails_the_test_and_the_run(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        asking=ASKING,
        test_b="""
        from asking import chat
        def test_b(shimmy_server):
            chat(shimmy_server, "my token is tok-123")
        def test_c(shimmy_server):
            chat(shimmy_server, "hi")
        """,
    )
    rules = pytester.mkdir("cassettes") / "cassettes.toml"
    rules.write_text(r"secret = ['tok-\d+|\*+']")
    result = run("--shimmy-fake", "--shimmy-record=cassettes")
    result.assert_outcomes(passed=2, errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.stdout.str().count("shimmy: FAILED: [CASSETTE_SECRET] ") == 1
    names = {path.name for path in (rules.parent / "test_b").iterdir()}
    assert names == {"test_c.json"}


def test_a_cassette_that_cannot_be_read_fails_the_test_that_needs_it(
    suite: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = suite / "cassettes" / "test_a" / "test_twice.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("{")
    result = run("-k", "test_twice", "--shimmy-replay=cassettes")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines("*CASSETTE_INVALID*test_twice.json*")
