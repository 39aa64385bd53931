"""Stands in for ``shimmy serve`` and misbehaves as told. Standard library only, starts fast.

``PRETEND`` is a JSON list of steps, each a list of a verb and its arguments, done in order (see
`STEPS`). ``PRETEND_AGAIN``, where given, is done instead from the second launch on, which the
file ``PRETEND_MARK`` remembers. A step that cannot go on (``exit``, ``silent``, ``serve``, …) is
the last one.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

HEALTHY = {"service": "shimmy", "status": "ok", "version": "2.5.0"}


def address() -> tuple[str, int]:
    """What ``--bind`` says."""
    host, _, port = sys.argv[sys.argv.index("--bind") + 1].rpartition(":")
    return host.strip("[]"), int(port)


def gate(where: int) -> None:
    """Tell the test on loopback port `where` which port was asked for, and wait for its word."""
    with socket.create_connection(("127.0.0.1", where)) as test:
        test.sendall(f"{address()[1]}\n".encode())
        with contextlib.suppress(ConnectionError):  # its going away is a word as well
            test.recv(1)


def say(text: str) -> None:
    os.write(1, text.encode())


def complain(text: str) -> None:
    os.write(2, text.encode())


def raw(digits: str) -> None:
    """Write bytes, given in hexadecimal, to stdout."""
    os.write(1, bytes.fromhex(digits))


def flood(stream: int, lines: int) -> None:
    """Write numbered lines of 100 bytes."""
    for first in range(0, lines, 100):
        text = "".join(f"{n:099d}\n" for n in range(first, min(lines, first + 100)))
        with open(stream, "wb", closefd=False) as out:
            out.write(text.encode())


def gush(stream: int) -> None:
    """Write lines as fast as they are taken, from now on and beside all else."""

    def run() -> None:
        lines = (b"%0999d\n" % 0) * 64
        while True:
            os.write(stream, lines)

    threading.Thread(target=run, daemon=True).start()


def deaf() -> None:
    """Ignore the signal that asks to end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def litter(path: str, own_session: bool) -> None:
    """Leave a child behind that holds our output open; its process id goes to `path`."""
    child = subprocess.Popen(
        [sys.executable, "-IS", "-c", "import signal; signal.pause()"],
        start_new_session=own_session,
    )
    Path(path).write_text(str(child.pid))


def leave(code: int) -> None:
    os._exit(code)


def die(number: int) -> None:
    os.kill(os.getpid(), number)


def silent() -> None:
    """Run on without listening."""
    signal.pause()


def mute() -> None:
    """Listen, but never answer."""
    host, port = address()
    with socket.create_server((host, port), backlog=1000):
        signal.pause()


def serve(document: object = HEALTHY, refusals: int = 0) -> None:
    """Answer every request with `document`, but the first `refusals` with 503.

    ``/exit/N`` and ``/say/TEXT`` do what they say; ``/break`` is death in the middle of a stream.
    """
    host, port = address()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=1000) as listening:
        while True:
            peer, _ = listening.accept()
            with peer:
                target = (peer.recv(4096).split(b" ", 2)[1:2] or [b""])[0].decode()
                if target.startswith("/exit/"):
                    os._exit(int(target.removeprefix("/exit/")))
                if target.startswith("/say/"):
                    say(target.removeprefix("/say/") + "\n")
                if target == "/break":
                    peer.sendall(
                        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"
                    )
                    die(signal.SIGKILL)
                body = json.dumps(document).encode()
                status = "503 Service Unavailable" if refusals > 0 else "200 OK"
                refusals -= 1
                head = f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n"
                peer.sendall(head.encode() + body)


def become(*command: str) -> None:
    """Go on as another program, with our own arguments."""
    os.execv(command[0], [*command, *sys.argv[1:]])


def wrap(*command: str) -> None:
    """Run another program with our own arguments, as a shell script without ``exec`` does."""
    sys.exit(subprocess.call([*command, *sys.argv[1:]]))


STEPS = {
    "gate": gate,
    "say": say,
    "complain": complain,
    "raw": raw,
    "flood": flood,
    "gush": gush,
    "deaf": deaf,
    "litter": litter,
    "exit": leave,
    "die": die,
    "silent": silent,
    "mute": mute,
    "serve": serve,
    "become": become,
    "wrap": wrap,
}


def main() -> None:
    script = os.environ["PRETEND"]
    if "PRETEND_AGAIN" in os.environ:
        mark = Path(os.environ["PRETEND_MARK"])
        if mark.exists():
            script = os.environ["PRETEND_AGAIN"]
        mark.touch()
    for verb, *arguments in json.loads(script):
        STEPS[verb](*arguments)


if __name__ == "__main__":
    main()
