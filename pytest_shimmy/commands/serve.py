"""``pytest-shimmy serve``: one supervised server in the foreground, until a signal ends it."""

from __future__ import annotations

import argparse
import shlex
import sys
import threading
from typing import TYPE_CHECKING

from ..errors import ShimmyError
from ..executable.dialect import API_KEY
from ..settings import Settings
from .arguments import (
    SERVER,
    Commands,
    add_command,
    add_settings,
    check_one_server,
    settings_to_start,
)
from .terminal import note

if TYPE_CHECKING:
    from ..events import Failed, Output, Restarting
    from ..supervisor.manager import ShimmyProcessManager

DESCRIPTION = """\
Run one server until Ctrl-C, and restart it when it dies. Once it is ready, the lines that point
OpenAI clients to it are printed on stdout; everything else goes to stderr.
"""
EXAMPLES = """\
  pytest-shimmy serve                                     the bundled fake
  pytest-shimmy serve -v --shimmy-path=shimmy             a real one, with its output
  pytest-shimmy serve --shimmy-model=models/phi.gguf      one model file
  pytest-shimmy serve --shimmy-fake-script=busy.toml      a fake that answers as told
"""

_WAIT = 1.0
"""Seconds that a signal may go unnoticed."""


def add_to(commands: Commands) -> None:
    """Add the command's parser to `commands`."""
    serve = add_command(
        commands, "serve", "run a supervised server until Ctrl-C", DESCRIPTION, EXAMPLES
    )
    serve.add_argument("-v", "--verbose", action="store_true", help="show the server's output")
    add_settings(serve, only=SERVER)
    serve.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Serve until a signal ends the program. Raises `ShimmyError`."""
    settings = settings_to_start(chosen)
    check_one_server(chosen, settings)
    return _serve(settings, verbose=chosen.verbose)


def _serve(settings: Settings, *, verbose: bool) -> int:
    from .temporary_server import running

    failed = threading.Event()

    def on_error(_: Failed) -> None:
        failed.set()

    def listen(manager: ShimmyProcessManager) -> None:
        manager.on("restarting", _tell_restart)
        manager.on("error", on_error)
        if verbose:
            manager.on("stdout", _show)
            manager.on("stderr", _show)

    with running(settings, listen) as manager:
        model = _model(settings, manager)
        what = {"fake": "the bundled fake of shimmy", "real": "shimmy"}[settings.mode]
        note("ready:", "green", f"{what} {manager.version}, model {model}; Ctrl-C stops it")
        # Last: programs wait for these lines.
        print(f"export OPENAI_BASE_URL={manager.url}/v1")
        key = settings.server_key() or API_KEY
        print(f"export OPENAI_API_KEY={shlex.quote(key)}", flush=True)
        # A signal that comes just before such a wait does not end it.
        while not failed.wait(_WAIT):
            pass
        assert manager.error is not None
        raise manager.error


def _model(settings: Settings, manager: ShimmyProcessManager) -> str:
    """The model that is used where a client names none. Raises `ShimmyError`."""
    from ..server import ShimmyServer

    while True:
        deaths = len(manager.crashes)
        manager.ensure_ready()
        assert manager.url is not None
        try:
            return ShimmyServer(settings, manager.url, str(manager.version), None).model
        except ShimmyError:
            # Asked while it died, a server says nothing about its models; the next one does.
            if len(manager.crashes) == deaths:
                raise


def _tell_restart(event: Restarting) -> None:
    # Only a crash restarts this server.
    assert event.crash is not None
    note(
        "restarting:",
        "yellow",
        f"the server (pid {event.crash.pid}) died: {event.crash.exit} "
        f"(restart {event.attempt} of {event.limit})",
    )


def _show(event: Output) -> None:
    print(event.text, end="", file=sys.stderr, flush=True)
