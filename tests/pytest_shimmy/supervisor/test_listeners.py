"""`Listeners`: told in order and one at a time, on a thread of their own; none hurts another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from pytest_shimmy.events import Output, Stopped
from pytest_shimmy.process.process import ExitStatus
from pytest_shimmy.supervisor import listeners as room
from pytest_shimmy.supervisor.listeners import Listeners

LONG = 60.0
STOPPED = Stopped(ExitStatus(0, None))


@pytest.fixture
def listeners(wait_for_threads: Callable[[], None]) -> Listeners:
    wait_for_threads()  # nobody else's are counted
    return Listeners()


def outputs(count: int) -> list[Output]:
    return [Output(str(number)) for number in range(count)]


def test_all_hear_all_in_order(listeners: Listeners) -> None:
    heard: list[tuple[str, object]] = []
    for event, name in (("stdout", "one"), ("stopped", "two"), ("stdout", "three")):
        listeners.add(event, lambda payload, name=name: heard.append((name, payload)))
    expected: list[tuple[str, object]] = []
    for output in outputs(100):
        listeners.tell("stdout", output)
        listeners.tell("stopped", STOPPED)
        expected += [("one", output), ("three", output), ("two", STOPPED)]
    listeners.wait(LONG)
    assert heard == expected


def test_one_at_a_time_and_not_on_the_thread_of_who_tells(listeners: Listeners) -> None:
    busy = threading.Lock()
    heard: list[bool] = []
    tellers: list[threading.Thread] = []

    def listen(_: object) -> None:
        alone = busy.acquire(blocking=False)
        heard.append(alone and threading.current_thread() not in tellers)
        if alone:
            busy.release()

    def tell() -> None:
        for output in outputs(50):
            listeners.tell("stdout", output)

    listeners.add("stdout", listen)
    listeners.add("stdout", listen)
    tellers += [threading.Thread(target=tell) for _ in range(8)]
    for thread in tellers:
        thread.start()
    for thread in tellers:
        thread.join()
    listeners.wait(LONG)
    assert heard == [True] * 800


@pytest.mark.parametrize(
    "kind", [ZeroDivisionError, KeyboardInterrupt, SystemExit, pytest.fail.Exception]
)
def test_one_that_raises_stops_no_other(
    listeners: Listeners, raised: list[BaseException | None], kind: type[BaseException]
) -> None:
    def fail(output: Output) -> None:
        raise kind(output.text)

    heard: list[Output] = []
    listeners.add("stdout", fail)
    listeners.add("stdout", heard.append)
    for output in outputs(5):
        listeners.tell("stdout", output)
    listeners.wait(LONG)
    assert heard == outputs(5)
    assert [(type(error), str(error)) for error in raised] == [(kind, str(n)) for n in range(5)]


def test_a_listener_may_add_remove_and_tell(listeners: Listeners) -> None:
    heard: list[str] = []

    def once(output: Output) -> None:
        heard.append(f"once {output.text}")
        listeners.remove("stdout", once)
        listeners.add("stdout", always)
        listeners.tell("stdout", Output("told by a listener"))

    def always(output: Output) -> None:
        heard.append(f"always {output.text}")

    listeners.add("stdout", once)
    listeners.tell("stdout", Output("first"))
    listeners.wait(LONG)
    assert heard == ["once first", "always told by a listener"]


def test_a_listener_that_waits_does_not_wait_for_itself(listeners: Listeners) -> None:
    waited: list[float] = []

    def wait(_: object) -> None:
        before = time.monotonic()
        listeners.wait(LONG)
        waited.append(time.monotonic() - before)

    listeners.add("stdout", wait)
    listeners.tell("stdout", Output("x"))
    listeners.wait(LONG)
    assert len(waited) == 1
    assert waited[0] < LONG / 2


def test_who_waits_has_all_heard_and_no_thread_stays(
    listeners: Listeners, wait_for_threads: Callable[[], None]
) -> None:
    heard: list[Output] = []
    listeners.add("stdout", heard.append)
    for turn in range(1, 20):
        for output in outputs(10):
            listeners.tell("stdout", output)
        listeners.wait(LONG)
        assert heard == outputs(10) * turn
    wait_for_threads()


def test_one_that_hangs_is_waited_for_no_longer_than_asked(listeners: Listeners) -> None:
    end = threading.Event()
    heard: list[Output] = []
    listeners.add("stdout", lambda _: end.wait(LONG))
    listeners.add("stdout", heard.append)
    listeners.tell("stdout", Output("x"))
    before = time.monotonic()
    try:
        listeners.wait(0.01)
        assert time.monotonic() - before < LONG / 2
        assert not heard
    finally:
        end.set()
    listeners.wait(LONG)
    assert heard == [Output("x")]


@pytest.mark.parametrize(("limit", "amount"), [("MAX_PENDING", 3), ("MAX_PENDING_TEXT", 3)])
def test_a_slow_listener_misses_output_but_nothing_else(
    listeners: Listeners, monkeypatch: pytest.MonkeyPatch, limit: str, amount: int
) -> None:
    monkeypatch.setattr(room, limit, amount)
    begun, go_on = threading.Event(), threading.Event()
    heard: list[object] = []

    def listen(payload: object) -> None:
        begun.set()
        assert go_on.wait(LONG)
        heard.append(payload)

    listeners.add("stdout", listen)
    listeners.add("stopped", listen)
    listeners.tell("stdout", Output("being heard"))
    assert begun.wait(LONG)
    for output in outputs(10):
        listeners.tell("stdout", output)
    listeners.tell("stopped", STOPPED)
    listeners.tell("stopped", STOPPED)
    go_on.set()
    listeners.wait(LONG)
    assert heard == [Output("being heard"), *outputs(3), STOPPED, STOPPED]
    listeners.tell("stdout", Output("in time again"))
    listeners.wait(LONG)
    assert heard[-1] == Output("in time again")


def test_what_nobody_wants_to_hear_costs_no_thread(listeners: Listeners) -> None:
    before = set(threading.enumerate())
    heard: list[object] = []
    listeners.add("stopped", heard.append)
    listeners.add("stdout", heard.append)
    listeners.remove("stdout", heard.append)
    assert listeners.want("stopped")
    assert not listeners.want("stdout")
    assert not listeners.want("ready")
    listeners.tell("stdout", Output("x"))
    assert set(threading.enumerate()) <= before
    listeners.wait(LONG)
    assert not heard


def test_what_was_never_added_may_be_removed(listeners: Listeners) -> None:
    heard: list[object] = []
    listeners.remove("stopped", heard.append)
    listeners.add("stopped", heard.append)
    listeners.add("stopped", heard.append)
    listeners.remove("stopped", heard.append)
    listeners.remove("stopped", print)
    listeners.tell("stopped", STOPPED)
    listeners.wait(LONG)
    assert heard == [STOPPED]
