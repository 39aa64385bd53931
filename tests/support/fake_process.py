"""Executables that claim to be shimmy, as processes: what they print, and their wire."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fake_shimmy.releases import RELEASES

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 20.0
USUAL = "2.5.0"
"""The release that a test is about, unless it says another."""
TOY_MODEL = b"\x02\x00\x00\x00\x00\x00\x00\x00{}"
"""The ten bytes that the toy engine of a CPU-only build takes for a model."""


class Answer:
    """One HTTP answer as it came over the wire; status 0 if the connection ended without one."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = self.head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split(" ")[1]) if raw else 0
        self.headers = [tuple(line.split(": ", 1)) for line in lines[1:]]
        if b"transfer-encoding: chunked" in self.head:
            self.body = dechunk(self.body)


def dechunk(raw: bytes) -> bytes:
    body = b""
    while raw:
        size, _, raw = raw.partition(b"\r\n")
        length = int(size, 16)
        body += raw[:length]
        assert raw[length : length + 2] == b"\r\n"
        raw = raw[length + 2 :]
    return body


def neutral(raw: bytes) -> bytes:
    """``raw`` without what legitimately varies: ids, times and dates."""
    raw = re.sub(rb"\r\ndate: [^\r]*", b"\r\ndate: D", raw)
    raw = re.sub(rb"cmpl-[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}", b"cmpl-I", raw)
    raw = re.sub(rb"msg_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", b"msg_I", raw)
    raw = re.sub(rb'"memory_(free|available)_mb":\d+', rb'"memory_\1_mb":0', raw)
    raw = re.sub(rb'"created":\d+', b'"created":0', raw)
    raw = re.sub(rb'"timestamp":"[^"]*"', b'"timestamp":"T"', raw)
    return re.sub(rb'"uptime_seconds":\d+', b'"uptime_seconds":0', raw)


def neutral_health(raw: bytes) -> bytes:
    """The same of ``/health``, whose time has up to nine places: as many as it needs."""
    return re.sub(rb"\r\ncontent-length: \d+", b"\r\ncontent-length: N", neutral(raw))


class Running:
    """A serving process and its wire."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port

    def connect(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def send(self, *parts: bytes) -> bytes:
        """Everything that comes back until the server closes; ask it to with the last request."""
        with self.connect() as sock:
            for part in parts:
                sock.sendall(part)
            return read_all(sock)

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        lines = [f"{method} {path} HTTP/1.1", "host: x", "connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if body:
            lines.append(f"content-length: {len(body)}")
        raw = self.send(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
        return Answer(raw)

    def chat(self, body: bytes) -> Answer:
        path = "/v1/chat/completions"
        return self.request("POST", path, body, content_type="application/json")


def read_all(sock: socket.socket) -> bytes:
    received = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while data := sock.recv(65536):
            received += data
    return bytes(received)


def as_from_a_terminal() -> None:
    """What nohup or a shell's background job ignores, its children would ignore too."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def measurement() -> dict[str, str]:
    """The variables with which coverage measures a process; none unless it does. To start it takes
    long, for a fake, so only servers of many tests get them.
    """
    return {name: text for name, text in os.environ.items() if name.startswith("COVERAGE_")}


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill it; where it is measured, after it had time to write its coverage."""
    if measurement():
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
    process.kill()


class Shimmy:
    """An executable to run in ``cwd`` with an environment of its own."""

    def __init__(self, command: list[str], cwd: Path, build: str, release: str = USUAL) -> None:
        self.command = command
        self.cwd = cwd
        self.build = build
        self.release = release

    @property
    def toy_flags(self) -> tuple[str, ...]:
        """What asks for the toy engine, where a release has another one for its models."""
        missing = RELEASES[self.release].missing_options
        return () if "legacy" in missing else ("--legacy",)

    def environ(self, extra: dict[str, str]) -> dict[str, str]:
        home = self.cwd / "empty-home"
        home.mkdir(exist_ok=True)
        environ = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT)}
        imitated = {"FAKE_SHIMMY_RELEASE": self.release, "FAKE_SHIMMY_BUILD": self.build}
        return environ | imitated | extra

    def run(self, *arguments: str | bytes, **extra: str) -> tuple[int, str, str]:
        """Exit status, stdout and stderr."""
        done = subprocess.run(
            [*self.command, *arguments],
            cwd=self.cwd,
            env=self.environ(extra),
            capture_output=True,
            timeout=DEADLINE,
            check=False,
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def run_on_terminal(self, *arguments: str | bytes, **extra: str) -> tuple[int, str]:
        """Exit status, and what a terminal gets."""
        terminal, end = os.openpty()
        process = subprocess.Popen(
            [*self.command, *arguments],
            cwd=self.cwd,
            env=self.environ(extra),
            stdin=subprocess.DEVNULL,
            stdout=end,
            stderr=end,
        )
        os.close(end)
        shown = bytearray()
        # Linux reports the last writer's departure as an error.
        with contextlib.suppress(OSError):
            while data := os.read(terminal, 65536):
                shown += data
        os.close(terminal)
        return process.wait(DEADLINE), shown.decode().replace("\r\n", "\n")

    def start(self, *arguments: str, **extra: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*self.command, *arguments],
            cwd=self.cwd,
            env=self.environ(extra),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=as_from_a_terminal,
        )

    @contextlib.contextmanager
    def serve(self, *arguments: str, **extra: str) -> Iterator[Running]:
        port = free_port()
        process = self.start("serve", "--bind", f"127.0.0.1:{port}", *arguments, **extra)
        try:
            wait_for_port(process, port)
            yield Running(process, port)
        finally:
            end(process)
            process.communicate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        assert process.poll() is None, process.communicate()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.002)
        else:
            return
    raise AssertionError("nobody listens")


@contextlib.contextmanager
def drained(running: Running) -> Iterator[list[bytes]]:
    """Read the server's stdout on the side: an unread pipe stops a server."""
    lines: list[bytes] = []
    stdout = running.process.stdout
    assert stdout is not None
    reader = threading.Thread(target=lambda: lines.extend(iter(stdout.readline, b"")))
    reader.start()
    try:
        yield lines
    finally:
        end(running.process)
        reader.join()
