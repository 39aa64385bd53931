"""``pytest-shimmy agent run PROMPT``: one question, answered as it comes.

A server is started for it, or attached to, and is gone afterwards. A stream of shimmy hides what
went wrong (seen on 2.5.0: a failed generation is an answer without text, and an HTTP 200), so an
answer counts only when it has text and its end mark.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..defaults import ShimmyProcessDefaults
from ..errors import ShimmyError, ShimmyErrorCode
from ..settings import Settings
from .arguments import (
    SERVER,
    Commands,
    add_command,
    add_settings,
    check_one_server,
    settings_of,
    usage_error,
)
from .terminal import is_terminal

if TYPE_CHECKING:
    from ..server import ShimmyServer
    from ..supervisor.manager import ShimmyProcessManager

STALL_TIMEOUT = 60.0
"""Default of ``--timeout``."""

RUN = """\
Start a server (or use one: --shimmy-url), send it the prompt, and print the answer as it comes.
Only the answer goes to stdout. Exit code 1 also means an answer that is empty or was cut off.
"""
EXAMPLES = """\
  pytest-shimmy agent run "Say hello."                          the bundled fake answers
  pytest-shimmy agent run --shimmy-path=shimmy "Say hello."     a real one does
  git diff | pytest-shimmy agent run --system "Review this."    the prompt from a pipe
  pytest-shimmy agent run --shimmy-url=http://127.0.0.1:11435 --max-tokens=50 - < question.txt
"""


def add_to(commands: Commands) -> None:
    """Add the command's parser to `commands`."""
    agent = add_command(commands, "agent", "send one prompt", "Send a prompt to a model.", EXAMPLES)
    actions = agent.add_subparsers(metavar="ACTION", required=True)
    run_ = add_command(actions, "run", "print the answer to one prompt as it comes", RUN, EXAMPLES)
    run_.add_argument(
        "prompt",
        metavar="PROMPT",
        nargs="?",
        help="the prompt; '-', or none with a pipe: read from stdin",
    )
    run_.add_argument("--system", metavar="TEXT", help="the system message")
    run_.add_argument(
        "--max-tokens",
        metavar="N",
        type=_count,
        help="length of the answer at most (default: the server's)",
    )
    run_.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        default=STALL_TIMEOUT,
        help="the longest pause in the answer, once it has begun (default: %(default)g)",
    )
    # A second try would begin the answer again.
    add_settings(run_, only=({*SERVER} - {"max_restarts"}) | {"url"})
    run_.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Print the answer; returns the exit code. Raises `ShimmyError`."""
    settings = settings_of(chosen)
    check_one_server(chosen, settings)
    messages = [{"role": "user", "content": _prompt(chosen)}]
    if chosen.system is not None:
        messages.insert(0, {"role": "system", "content": _unicode(chosen.system)})
    body: dict[str, Any] = {"messages": messages}
    if chosen.max_tokens is not None:
        body["max_tokens"] = chosen.max_tokens
    with _server(settings) as (server, manager):
        try:
            _print_answer(server, {"model": server.model, **body}, chosen.timeout)
        except ShimmyError as error:
            raise _explained(error, manager) from error
    return 0


@contextlib.contextmanager
def _server(settings: Settings) -> Iterator[tuple[ShimmyServer, ShimmyProcessManager | None]]:
    """The server to ask, and its manager when it is ours."""
    from ..server import ShimmyServer, attach
    from .temporary_server import running

    if settings.mode == "attached":
        yield attach(settings), None
        return
    with running(settings.but(max_restarts=0)) as manager:
        assert manager.url is not None
        yield ShimmyServer(settings, manager.url, str(manager.version), None), manager


def _print_answer(server: ShimmyServer, body: dict[str, Any], timeout: float) -> None:
    from ..server import LOAD_TIMEOUT
    from ..streams import limited
    from .chat import answer
    from .temporary_server import waiting

    pieces = limited(
        lambda: answer(server.base_url, body, max(LOAD_TIMEOUT, timeout), server.api_key),
        first_token=LOAD_TIMEOUT,
        between_tokens=timeout,
        is_token=bool,
    )
    last = ""
    with pieces:
        try:
            with waiting("waiting for the answer"):
                first = next(filter(None, pieces), None)
            if first is None:
                raise ShimmyError(
                    ShimmyErrorCode.ANSWER_FAILED,
                    "the answer is empty: shimmy 2.5.0 answers so when the generation fails.",
                )
            for last in itertools.chain([first], filter(None, pieces)):
                sys.stdout.write(last)
                sys.stdout.flush()
        except BaseException:
            if last and is_terminal(sys.stdout):
                print(flush=True)  # what is said about it begins on a line of its own
            raise
    if not last.endswith("\n"):
        print(flush=True)


def _explained(error: ShimmyError, manager: ShimmyProcessManager | None) -> ShimmyError:
    """`error`, with what our server can tell about it."""
    message, details = error.message, dict(error.details)
    died = manager is not None and bool(manager.crashes)
    if error.code is ShimmyErrorCode.STREAM_STALLED:
        message += "\n--timeout=SECONDS allows longer pauses."
    elif error.code is not ShimmyErrorCode.ANSWER_FAILED and not died:
        return error
    if manager is None:
        return ShimmyError(error.code, f"{message}\nThe server's log may say why.", details)
    if died:
        exit_status = str(manager.crashes[-1].exit)
        message += f"\nThe server died: {exit_status}."
        details["exit"] = exit_status
    if manager.log_path is not None and (log := _newest(manager.log_path)):
        message += "\nThe end of its log:\n" + "\n".join(f"  {line}" for line in log)
    return ShimmyError(error.code, message, details)


def _newest(log: Path) -> list[str]:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return lines[-ShimmyProcessDefaults.log_tail_lines :]


def _prompt(chosen: argparse.Namespace) -> str:
    """What is asked. A missing or empty prompt is a usage error."""
    given: str | None = chosen.prompt
    if given is None and (sys.stdin is None or sys.stdin.isatty()):
        usage_error(chosen, "no prompt: give it as an argument, or through a pipe")
    if given is not None and given != "-":
        prompt = _unicode(given)
    else:
        prompt = "" if sys.stdin is None else sys.stdin.buffer.read().decode("utf-8", "replace")
    if not prompt.strip():
        usage_error(chosen, "the prompt is empty")
    return prompt


def _unicode(text: str) -> str:
    """An argument of the command line as JSON can hold it: bytes that are no UTF-8 replaced."""
    return os.fsencode(text).decode("utf-8", "replace")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return number


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds
