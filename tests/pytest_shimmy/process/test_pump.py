"""Output from pipes to a sink: both ways of doing it keep the same promises."""

from __future__ import annotations

import errno
import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import IO

import psutil
import pytest

from pytest_shimmy.process import pump as room
from pytest_shimmy.process.pump import BlockingPump, Pump, SelectingPump

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="select() takes sockets only")

LONG = 60.0


class Pipes:
    """Two pipes that a pump of `kind` empties, and what came of each."""

    def __init__(self, kind: Callable[..., Pump]) -> None:
        self.writers: dict[str, IO[bytes]] = {}
        self.readers: dict[str, IO[bytes]] = {}
        self.came = {"stdout": bytearray(), "stderr": bytearray()}
        self._changed = threading.Condition()
        for stream in self.came:
            reader, writer = os.pipe()
            self.readers[stream] = open(reader, "rb", buffering=0)  # noqa: SIM115
            self.writers[stream] = open(writer, "wb", buffering=0)  # noqa: SIM115
        self.pump = kind(self.readers, self._take)

    def _take(self, stream: str, data: bytes) -> None:
        with self._changed:
            self.came[stream] += data
            self._changed.notify_all()

    def wait_for(self, stream: str, size: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.came[stream]) >= size, LONG)

    def end(self) -> None:
        for writer in self.writers.values():
            writer.close()


@pytest.fixture(params=[SelectingPump, BlockingPump])
def pipes(request: pytest.FixtureRequest) -> Iterator[Pipes]:
    pipes = Pipes(request.param)
    yield pipes
    pipes.end()


def test_all_that_was_written_arrives(pipes: Pipes) -> None:
    for number in range(2000):
        pipes.writers["stdout"].write(b"%099d\n" % number)
        pipes.writers["stderr"].write(b"%d\n" % number)
    pipes.end()
    pipes.pump.close()
    assert pipes.came["stdout"] == b"".join(b"%099d\n" % number for number in range(2000))
    assert pipes.came["stderr"] == b"".join(b"%d\n" % number for number in range(2000))
    assert all(reader.closed for reader in pipes.readers.values())


def test_output_arrives_while_it_is_written(pipes: Pipes) -> None:
    for size in (1, 2, 3):
        pipes.writers["stderr"].write(b"x")
        pipes.wait_for("stderr", size)
    pipes.end()
    pipes.pump.close()


def test_a_pipe_that_somebody_keeps_open_is_not_waited_for(
    pipes: Pipes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "CLOSE_TIMEOUT", 0.2)
    pipes.writers["stdout"].write(b"last words")
    pipes.wait_for("stdout", 10)
    before = time.monotonic()
    pipes.pump.close()
    assert time.monotonic() - before < LONG / 2
    came = bytes(pipes.came["stdout"])
    if not pipes.readers["stdout"].closed:
        pipes.writers["stdout"].write(b"too late")
    pipes.end()
    deadline = time.monotonic() + LONG
    while not pipes.readers["stdout"].closed:
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
    assert pipes.came["stdout"] == came == b"last words"


def test_no_thread_stays(pipes: Pipes, wait_for_threads: Callable[[], None]) -> None:
    pipes.end()
    pipes.pump.close()
    wait_for_threads()


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors as Linux does")
def test_a_thread_that_is_refused_costs_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise OSError(errno.EAGAIN, "no further thread is allowed")

    monkeypatch.setattr(room, "start_thread", refuse)
    gc.collect()
    before = psutil.Process().num_fds()
    with pytest.raises(OSError, match="no further thread"):
        SelectingPump({}, lambda *_: None)
    assert psutil.Process().num_fds() == before


def test_what_is_there_can_be_taken_at_once() -> None:
    pipes = Pipes(SelectingPump)
    for size in range(1, 200):
        pipes.writers["stdout"].write(b"x")
        pipes.pump.drain()
        assert len(pipes.came["stdout"]) == size
    pipes.end()
    pipes.pump.close()
    pipes.pump.drain()
