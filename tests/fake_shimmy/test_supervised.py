"""What a program in any language may want of the fake beyond what shimmy does, by variables."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request

import psutil
import pytest

from fake_shimmy.releases import RELEASES
from tests.support.fake_process import DEADLINE, ROOT, Shimmy, as_from_a_terminal

READY = re.compile(r"fake-shimmy listens on (http://\S+)\n")
LONG_LIFE = [sys.executable, "-c", "import sys; sys.stdin.read()"]


class Started:
    """A server whose port nobody knows beforehand, and what is around it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []

    def url(self) -> str:
        """Where it says that it listens."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if found := READY.fullmatch(line):
                return found[1]
        raise AssertionError(f"it ended: {self.said} {self.process.communicate()}")

    def end(self) -> tuple[int, str]:
        """Its exit status and its last words, when it ends by itself."""
        _, err = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode, err


@pytest.fixture
def start(tmp_path):
    with contextlib.ExitStack() as running:

        def start(*arguments, release="2.6.5", build="default", before=(), **environ):
            fake = Shimmy([sys.executable, "-m", "fake_shimmy"], tmp_path, build, release)
            command = [*before, *fake.command, "serve", "--bind", "127.0.0.1:0", *arguments]
            variables = {"FAKE_SHIMMY_READY": "1", "FAKE_SHIMMY_MODELS": "some", **environ}
            process = subprocess.Popen(
                command,
                cwd=tmp_path,
                env=fake.environ(variables),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                preexec_fn=as_from_a_terminal,
            )
            running.callback(process.communicate)
            running.callback(process.kill)
            return Started(process)

        yield start


def ask(url, body=None):
    request = urllib.request.Request(url, body and json.dumps(body).encode())
    request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
        return json.load(answer)


def test_the_line_is_true_when_it_is_printed_and_has_the_real_port(start):
    server = start()
    url = server.url()
    assert ask(f"{url}/health")["status"] == "ok"
    assert not url.endswith(":0")
    # shimmy's own claim to be ready comes earlier, and has the port that was asked for.
    assert server.said.index("✅ Ready to serve requests\n") < len(server.said) - 1


@pytest.mark.slow
def test_the_line_waits_for_a_slow_start(start, tmp_path):
    (tmp_path / "script.json").write_text('{"life": {"start_delay": 0.3}}')
    server = start(FAKE_SHIMMY_SCRIPT="script.json")
    assert ask(f"{server.url()}/health")["status"] == "ok"


def test_without_the_variable_there_is_no_such_line(shimmy):
    (shimmy.cwd / "some.safetensors").write_bytes(b"")
    with shimmy.serve("--model-path", "some.safetensors", FAKE_SHIMMY_READY="") as running:
        running.process.terminate()
        out, _ = running.process.communicate(timeout=DEADLINE)
    assert b"listens on" not in out


BUILDS = [
    (version, build)
    for version, release in RELEASES.items()
    for build in release.builds
    if build in ("default", "cpu-only")
]


@pytest.mark.parametrize(("release", "build"), BUILDS)
def test_models_that_are_named_need_no_file_and_answer(start, release, build):
    server = start(
        *("--model-path", "/no/such/Phi-3.gguf"),
        release=release,
        build=build,
        FAKE_SHIMMY_MODELS="Tiny-LLM,other",
    )
    url = server.url()
    listed = [model["id"] for model in ask(f"{url}/v1/models")["data"]]
    assert {"Tiny-LLM", "other", "Phi-3"} <= set(listed)
    body = {"model": "Tiny-LLM", "stream": False, "messages": [{"role": "user", "content": "Hi"}]}
    answer = ask(f"{url}/v1/chat/completions", body)
    assert answer["choices"][0]["message"]["content"]
    if (release, build) == ("2.6.5", "default"):
        assert answer["usage"]["prompt_tokens"] > 0


@pytest.mark.slow
def test_named_models_are_all_there_is(shimmy, monkeypatch):
    (shimmy.cwd / "models").mkdir()
    (shimmy.cwd / "models" / "mine.gguf").write_bytes(b"GGUF")
    assert shimmy.run("list", "-s", FAKE_SHIMMY_MODELS="b,,a")[1] == "a\nb\n"
    assert shimmy.run("list", "-s", FAKE_SHIMMY_MODELS="")[1] == ""
    assert shimmy.run("list", "-s")[1] == "mine\n"
    assert "  a [0MB]" in shimmy.run("discover", FAKE_SHIMMY_MODELS="a")[1]
    assert shimmy.run("probe", "a", FAKE_SHIMMY_MODELS="a")[0] == 0
    assert sorted(path.name for path in (shimmy.cwd / "models").iterdir()) == ["mine.gguf"]


def test_without_names_a_missing_file_is_missing(shimmy):
    code, _, err = shimmy.run("serve", "--model-path", "gone.gguf")
    assert (code, err) == (1, "❌ Model file not found: gone.gguf\n")


def test_it_ends_when_stdin_ends(start):
    server = start(FAKE_SHIMMY_ENDS_WITH="stdin")
    server.url()
    code, err = server.end()
    assert code == 0
    assert err.endswith("stdin is at its end, and FAKE_SHIMMY_ENDS_WITH asks to end with it\n")


def test_it_ends_with_stdin_although_a_script_has_it_wait_and_ignore_signals(start, tmp_path):
    (tmp_path / "script.json").write_text('{"life": {"start_delay": 600, "deaf": true}}')
    assert start(FAKE_SHIMMY_ENDS_WITH="stdin", FAKE_SHIMMY_SCRIPT="script.json").end()[0] == 0


@pytest.mark.slow
def test_it_ends_with_its_parent_however_that_ends(start):
    code = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    server = start(before=(sys.executable, "-c", code), FAKE_SHIMMY_ENDS_WITH="parent")
    url = server.url()
    (fake,) = psutil.Process(server.process.pid).children()
    server.process.send_signal(signal.SIGKILL)
    fake.wait(DEADLINE)
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=DEADLINE)


@pytest.mark.parametrize("has_pidfd", [True, False])
def test_it_ends_with_any_process(start, has_pidfd, tmp_path):
    other = subprocess.Popen(LONG_LIFE, stdin=subprocess.PIPE)
    environ = {"FAKE_SHIMMY_ENDS_WITH": str(other.pid)}
    if not has_pidfd:
        (tmp_path / "sitecustomize.py").write_text("import os\ndel os.pidfd_open\n")
        environ["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{ROOT}"
    server = start(**environ)
    server.url()
    assert server.process.poll() is None
    other.communicate()
    assert server.end()[0] == 0


def test_it_ends_at_once_with_a_process_that_is_gone(start):
    other = subprocess.Popen(LONG_LIFE, stdin=subprocess.PIPE)
    other.communicate()
    assert start(FAKE_SHIMMY_ENDS_WITH=str(other.pid)).end()[0] == 0


@pytest.mark.parametrize("value", ["", "0", "-1", "x", "1.5", "99999999999", "½"])
def test_what_it_cannot_end_with_is_refused(shimmy, value):
    code, out, err = shimmy.run("serve", FAKE_SHIMMY_ENDS_WITH=value)
    allowed = "stdin, parent, the number of a process"
    assert (code, out) == (2, "")
    assert err == f'fake-shimmy: FAKE_SHIMMY_ENDS_WITH is "{value}"; allowed values: {allowed}\n'
