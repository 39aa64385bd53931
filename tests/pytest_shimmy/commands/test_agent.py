"""``pytest-shimmy agent run``, as a process: an answer, or one paragraph that says why not."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import LONG, ended, fake_script, run, started

pytestmark = pytest.mark.slow

HELLO = {"reply": ["Hello, ", "world", "!"]}


def faulty(fault: dict[str, Any]) -> dict[str, Any]:
    return {**HELLO, "faults": [fault]}


def ask(directory: Path, *arguments: str, **how: Any) -> subprocess.CompletedProcess[str]:
    return run(directory, "agent", "run", *arguments, **how)


def test_prints_the_answer_and_nothing_else(tmp_path: Path) -> None:
    done = ask(tmp_path, fake_script(tmp_path, rules=[HELLO]), "Hi.")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Hello, world!\n", "")


@pytest.mark.shimmy_real
def test_a_real_one_answers_too(tmp_path: Path, real_arguments: list[str]) -> None:
    done = ask(tmp_path, *real_arguments, "--max-tokens=3", "Hi.")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()


@pytest.mark.parametrize("arguments", [[], ["-"]], ids=["nothing", "dash"])
def test_reads_the_prompt_from_a_pipe(arguments: list[str], tmp_path: Path) -> None:
    rule = {"when": {"user": {"equals": "two\nlines é\n"}}, **HELLO}
    script = fake_script(tmp_path, strict=True, rules=[rule])
    done = ask(tmp_path, script, *arguments, input="two\nlines é\n", encoding="utf-8")
    assert (done.returncode, done.stdout) == (0, "Hello, world!\n")


def test_sends_what_it_was_told_to(tmp_path: Path) -> None:
    when = {"user": "Hi.", "system": "Be brief.", "model": "mine"}
    script = fake_script(tmp_path, strict=True, rules=[{"when": when, **HELLO}])
    options = ("--system=Be brief.", "--max-tokens=2", "--shimmy-model=mine")
    done = ask(tmp_path, script, *options, "Hi.")
    assert (done.returncode, done.stdout) == (0, "Hello, world\n")


def test_the_answer_comes_while_it_is_made_and_ctrl_c_ends_all(tmp_path: Path) -> None:
    script = fake_script(tmp_path, rules=[faulty({"do": "hang", "at": {"tokens": 1}})])
    with started(tmp_path, "agent", "run", script, "Hi.") as process:
        assert process.stdout is not None
        assert process.stdout.read(7) == "Hello, "
        process.send_signal(signal.SIGINT)
        done = ended(process)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize(
    ("rule", "code", "words"),
    [
        (faulty({"do": "exit", "at": {"tokens": 1}, "signal": "SIGKILL"}), "ANSWER_FAILED", "died"),
        (faulty({"do": "reset", "at": {"tokens": 1}}), "ANSWER_FAILED", "broke"),
        (faulty({"do": "end", "at": {"tokens": 1}}), "ANSWER_FAILED", "without its end mark"),
        (faulty({"do": "garble", "how": "missing_done"}), "ANSWER_FAILED", "without its end mark"),
        (faulty({"do": "garble", "how": "truncated_json"}), "ANSWER_FAILED", "understood"),
        (faulty({"do": "garble", "how": "content_type"}), "ANSWER_FAILED", "text/html"),
        (faulty({"do": "hang", "at": {"tokens": 1}}), "STREAM_STALLED", "--timeout=SECONDS"),
        ({"fail": "generation_failed"}, "ANSWER_FAILED", "answered: Generation failed"),
        ({"fail": {"status": 503, "body": "busy"}}, "ANSWER_FAILED", "503 Service Unavailable"),
    ],
    ids=["died", "reset", "cut", "no mark", "json", "html", "stalled", "empty", "refused"],
)
def test_an_answer_that_is_not_whole_is_an_error(
    rule: dict[str, Any], code: str, words: str, tmp_path: Path
) -> None:
    done = ask(tmp_path, fake_script(tmp_path, rules=[rule]), "--timeout=0.5", "Hi.")
    assert done.returncode == 1
    assert done.stderr.startswith(f"pytest-shimmy: [{code}] ")
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout != "Hello, world!\n"


def test_a_slow_answer_is_waited_for_and_told_of(tmp_path: Path) -> None:
    slow = {**HELLO, "latency": {"first_token": 1.3}}
    slow_script = fake_script(tmp_path, rules=[slow])
    with started(tmp_path, "agent", "run", slow_script, "--timeout=0.5", "Hi.") as process:
        stdout, stderr = process.communicate(timeout=LONG)
    assert (process.returncode, stdout) == (0, "Hello, world!\n")
    assert re.search(r"^waiting for the answer \.\.\. \d s\n\Z", stderr, re.MULTILINE)


def test_letters_that_the_output_lacks_are_replaced(tmp_path: Path) -> None:
    script = fake_script(tmp_path, rules=[{"reply": ["caf", "é"]}])
    done = ask(tmp_path, script, "Hi.", env={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "caf?\n", "")


def test_debug_shows_where_an_error_came_from_and_its_details(tmp_path: Path) -> None:
    script = fake_script(tmp_path, rules=[{"fail": 503}])
    done = ask(tmp_path, script, "--debug", "Hi.")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert '"status": 503' in done.stderr


def test_ends_quietly_when_nobody_reads_the_answer(tmp_path: Path) -> None:
    script = fake_script(tmp_path, rules=[faulty({"do": "stall", "seconds": 0.3, "at": "end"})])
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = ask(tmp_path, script, "Hi.", stdout=writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_attaches_to_a_server_and_leaves_it_alone(
    tmp_path: Path, fake_server: tuple[str, subprocess.Popen[bytes]]
) -> None:
    url, server = fake_server
    done = ask(tmp_path, f"--shimmy-url={url}", "Hi.")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("Hi.\n")
    assert server.poll() is None
    assert urllib.request.urlopen(f"{url}/health", timeout=LONG).status == 200


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--shimmy-url=http://127.0.0.1:9"], "[HEALTHCHECK_FAILED] no answer"),
        (["--shimmy-path=/no/such/shimmy"], "[BINARY_NOT_FOUND]"),
        (["--shimmy-models-dir=.", "--shimmy-model=other"], "[MODEL_NOT_FOUND]"),
    ],
    ids=["nobody there", "no executable", "no such model"],
)
def test_what_cannot_be_asked_is_one_paragraph(
    arguments: list[str], words: str, tmp_path: Path, models_dir: Path
) -> None:
    done = ask(tmp_path, *arguments, "Hi.", cwd=models_dir)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"pytest-shimmy: {words}")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["  "], "the prompt is empty"),
        ([], "the prompt is empty"),
        (["--max-tokens=0", "Hi."], "--max-tokens"),
        (["--timeout=-1", "Hi."], "--timeout"),
        (["--timeout=inf", "Hi."], "--timeout"),
        (["--shimmy-gpu=cpu", "--shimmy-gpu=cuda", "Hi."], "--shimmy-gpu: one server"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(
    arguments: list[str], words: str, tmp_path: Path
) -> None:
    done = ask(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_a_person_at_a_terminal_must_say_something(tmp_path: Path) -> None:
    keyboard, terminal = pty.openpty()
    try:
        done = ask(tmp_path, stdin=terminal)
    finally:
        os.close(terminal)
        os.close(keyboard)
    assert done.returncode == 2
    assert "no prompt: give it as an argument" in done.stderr
