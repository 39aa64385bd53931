"""How far a download is: for programs, for terminals and for everything else."""

from __future__ import annotations

import contextlib
import io
import os
import sys

import pytest

from pytest_shimmy.models.progress import Progress
from tests.programs.fileserver import NAME, FileServer, cut
from tests.support.downloads import (
    CONTENT,
    HALF,
    Fetch,
)


def test_a_listener_hears_of_every_step(fetch: Fetch, files: FileServer) -> None:
    heard: list[Progress] = []
    files.answers = [cut(HALF)]
    fetch(progress=heard.append)
    assert heard[0] == Progress(NAME, 0, len(CONTENT))
    assert heard[-1] == Progress(NAME, len(CONTENT), len(CONTENT))
    assert [step.done for step in heard] == sorted(step.done for step in heard)


def test_where_there_is_no_terminal_progress_is_a_few_whole_lines(
    fetch: Fetch, files: FileServer
) -> None:
    out = io.StringIO()
    files.answers = [cut(HALF)]
    fetch(progress=out)
    lines = out.getvalue().splitlines()
    assert lines[0] == f"{NAME}:   0 %  0 B of 976.6 KiB"
    assert lines[-1] == f"{NAME}: 100 %  976.6 KiB of 976.6 KiB"
    assert len([line for line in lines if "; again in 0 s" in line]) == 1
    assert len(lines) <= 13
    assert not set(out.getvalue()) & set("\r\x1b")


def test_progress_goes_to_stderr(fetch: Fetch, capfd: pytest.CaptureFixture[str]) -> None:
    fetch(progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "100 %" in err


def read_all(controller: int) -> str:
    """What was written to a pseudo-terminal that is closed by now."""
    shown = b""
    with os.fdopen(controller, "rb", buffering=0) as screen, contextlib.suppress(OSError):
        while data := screen.read(4096):  # Linux says EIO at the end
            shown += data
    return shown.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_on_a_terminal_progress_is_one_line_that_is_rewritten(
    term: str, fetch: Fetch, files: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pty

    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("COLUMNS", "80")
    files.answers = [cut(HALF)]
    controller, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as stream:
        fetch(progress=stream)
    shown = read_all(controller)
    if term == "dumb":
        assert "\x1b" not in shown
        return
    *_, last = shown.rstrip("\r\n").split("\r\x1b[K")
    assert last.startswith(f"{NAME} [####")
    assert last.endswith("100 %  976.6 KiB of 976.6 KiB")
    assert len(last) <= 79
    assert shown.endswith("\r\n")
    assert "; again in 0 s\r\n" in shown
