"""What the report of a test says that failed or was skipped: pure text, made from values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from ..masking import MARK, masked, printable
from ..runtime_dir import VARIABLE

if TYPE_CHECKING:
    from ..settings import Mode
    from ..sharing.protocol import Death


def unmet(marker: str, mode: Mode) -> str | None:
    """Why a test with that marker cannot run on that kind of server; None when it can."""
    if marker == "shimmy_real" and mode == "replayed":
        return (
            "needs a real shimmy, and this run replays recordings; run it with "
            "--shimmy-path=EXECUTABLE, or let recordings do (--shimmy-replay-as-real)"
        )
    if marker == "shimmy_real" and mode == "fake":
        return (
            "needs a real shimmy, and this run uses the bundled fake; "
            "run it with --shimmy-path=EXECUTABLE or --shimmy-url=URL"
        )
    if marker == "shimmy_fake" and mode not in ("fake", "replayed"):
        server = "an attached server" if mode == "attached" else "a real executable"
        return f"needs the bundled fake, and this run uses {server}; run it with --shimmy-fake"
    return None


def log_section(text: str, left_out: int) -> str:
    """The part of a server's log that a failing test's report shows, its newest, and how many
    bytes of it came before."""
    if not left_out:
        return _quoted(masked(text))
    # What is left of a line that is cut could be a part of a secret.
    cut, _, kept = text.partition("\n")
    if kept:
        left_out += len(cut.encode("utf-8", "replace")) + 1
    return f"[{left_out} earlier bytes left out]\n{_quoted(masked(kept or text))}"


_OTHER_LINE = r"\n(?!\[\w+\] |  \w)"
"""Before a line that no engine says."""


# The newest lines are often those of the test before: an engine says the same for each request.
@lru_cache(maxsize=4)
def _quoted(log: str) -> str:
    """`log`, which is masked, as a program's, without the middle of what an engine says: dozens of
    lines about a model's inside, for each request (seen on default builds of 2.5.0 and 2.6.5)."""
    shown: list[str] = []
    for part in re.split(_OTHER_LINE, log):
        lines = part.split("\n")
        if (left_out := len(lines) - 7) > 1:
            lines[2:-4] = [f"{lines[2]}\n[{left_out} lines of the engine left out]"]
        shown += lines
    return printable(MARK + f"\n{MARK}".join(shown))


def deaths_section(deaths: Sequence[Death]) -> str:
    """What happened to the server during a failing test."""
    return "\n".join(
        f"the server (pid {death.pid}) died during this test: {death.exit}" for death in deaths
    )


_NO_SUCH_MODEL = r"Model '([^'\n]+)' not found"
"""What a chat completion is answered where the model is unknown (seen on 2.5.0 and 2.6.5)."""


def unknown_model_section(said: str, has_rules: bool) -> str | None:
    """What to do where a test's failure is that the fake has no such model; None: it is not.

    `has_rules`: the test can add rules to its fake.
    """
    found = re.search(_NO_SUCH_MODEL, said)
    if found is None:
        return None
    name = printable(masked(found[1]))
    hint = (
        f"the fake has the models that the settings name, and none of them is {name!r}.\n"
        f"In pytest.ini: shimmy_model = {name}, or on the command line: --shimmy-model={name}"
    )
    return f"{hint}\nOr let a rule answer any name: validate=False" if has_rules else hint


_PANICKED_OVER_MODEL = r"panicked at \S*airframe-[\d.]+/src/(backend/bindless|core)/"
"""What the engine of a default build does over a file that is no whole GGUF (2.5.0, 2.6.5)."""


def model_section(log: str) -> str | None:
    """What a server's log says of a model file that its engine cannot read; None: nothing."""
    if not re.search(_PANICKED_OVER_MODEL, log):
        return None
    return (
        "The server panicked while it read the model file, and closed the connection without an "
        "answer:\nthe file is no GGUF, or is cut short. The log says which file.\n"
        "Use a whole one, or --shimmy-tiny-model, which makes the smallest that this executable "
        "can serve."
    )


def missing_model_section(path: str) -> str:
    """What to do where the model file at `path`, with which a server was started, is gone."""
    return (
        f"The model file {printable(masked(path))} is gone since the server was started with it; "
        "something has removed it (a cleaner of temporary files?).\n"
        "Keep that away from this directory. Files that the plugin makes for a server are in the "
        f"runtime directory: {VARIABLE} names another."
    )
