"""A system that refuses one thing: the nth thread, process, descriptor, new file or bit of memory.

Used inside a test (`Refusal`), and as a program that is a keeper to which that happens:
``python refusing.py KIND NTH ALWAYS FILE``, which makes that file if it did happen.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import os
import selectors
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from pytest_shimmy.network.sockets import Socket

Hook = tuple[Any, str]

THREADS: list[Hook] = [(threading.Thread, "start")]
PROCESSES: list[Hook] = [(subprocess.Popen, "__init__")]
OPENERS: list[Hook] = [(os, "open"), (builtins, "open"), (io, "open")]
DESCRIPTORS: list[Hook] = [
    *OPENERS,
    (os, "pipe"),
    (os, "scandir"),
    (os, "listdir"),
    (socket, "socketpair"),
    (socket.socket, "__init__"),
    (Socket, "__init__"),
    (selectors, "DefaultSelector"),
]
FILES: list[Hook] = [*OPENERS, (os, "mkdir"), (os, "replace"), (os, "rename")]


def _writes(name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Whether it is a new file or directory that is asked for."""
    if name != "open":
        return True
    how = options.get("mode", options.get("flags", arguments[1] if len(arguments) > 1 else "r"))
    return bool(how & os.O_CREAT) if isinstance(how, int) else bool({*how} & set("wax"))


def _needs_a_descriptor(name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Whether it is not for one that is open already."""
    if name == "__init__":  # of a socket: its fileno
        return "fileno" not in options and len(arguments) < 5
    return not (arguments and isinstance(arguments[0], int))


class Kind(NamedTuple):
    hooks: list[Hook]
    error: Callable[[], BaseException]
    applies: Callable[[str, tuple[Any, ...], dict[str, Any]], bool] = lambda *_: True


def _os_error(number: int) -> Callable[[], BaseException]:
    return lambda: OSError(number, os.strerror(number))


KINDS = {
    "thread": Kind(THREADS, lambda: RuntimeError("can't start new thread")),
    "process": Kind(PROCESSES, _os_error(errno.EAGAIN)),
    "descriptor": Kind(DESCRIPTORS, _os_error(errno.EMFILE), _needs_a_descriptor),
    "file": Kind(FILES, _os_error(errno.ENOSPC), _writes),
    "memory": Kind([*THREADS, *PROCESSES, *DESCRIPTORS], MemoryError, _needs_a_descriptor),
}


class Refusal:
    """Refuses the `nth` request (from 0) for a `kind`; `always`: and all that come after it."""

    def __init__(self, kind: str, nth: int, always: bool) -> None:
        self._kind = KINDS[kind]
        self.nth = nth
        self._always = always
        self._asked = 0
        self.happened = False
        self.in_popen = False
        """It hit `subprocess.Popen` halfway, which then leaks the pipes that it had (3.11)."""

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        with contextlib.ExitStack() as undo:
            for owner, name in self._kind.hooks:
                original = getattr(owner, name)
                setattr(owner, name, self._refusing(name, original))
                undo.callback(setattr, owner, name, original)
            yield

    def _refusing(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def refusing(*arguments: Any, **options: Any) -> Any:
            if self._kind.applies(name, arguments, options):
                asked = self._asked
                self._asked += 1
                if asked == self.nth or (self._always and asked > self.nth):
                    self.happened = True
                    self.in_popen = sys._getframe(1).f_code.co_filename == subprocess.__file__
                    raise self._kind.error()
            return original(*arguments, **options)

        return refusing


if __name__ == "__main__":
    from pytest_shimmy.sharing import keeper

    refusal = Refusal(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "True")
    leave, note = os._exit, os.mkdir

    def leave_a_note(status: int) -> None:
        if refusal.happened:
            note(sys.argv[4])
        leave(status)

    with refusal():
        os._exit = leave_a_note  # type: ignore[assignment]
        keeper.main()
