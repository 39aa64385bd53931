"""``pytest-shimmy models list`` and ``models ensure``, as processes."""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.programs.fileserver import FileServer, Handler, Request, stall, status
from tests.support.command_line import said
from tests.support.downloads import own_network

pytestmark = pytest.mark.slow

CLI = [sys.executable, "-m", "pytest_shimmy.cli", "models"]

# A model that a CPU-only shimmy loads, too large for one piece on its way.
HEADER = b"{}".ljust(1_000_000)
CONTENT = struct.pack("<Q", len(HEADER)) + HEADER
HALF = len(CONTENT) // 2

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "command-line.md"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def _own_network(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxies, certificates or locks but the test's own."""
    own_network(monkeypatch)


@pytest.fixture
def files() -> Iterator[FileServer]:
    with FileServer(CONTENT) as files:
        yield files


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def models(tmp_path: Path) -> Run:
    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return said("models", *arguments, cwd=tmp_path)

    return run


def seen_in(target: Path) -> list[str]:
    """What shimmy may take for a model: files outside hidden directories."""
    return sorted(
        str(path.relative_to(target))
        for path in target.rglob("*")
        if path.is_file() and not path.relative_to(target).parts[0].startswith(".")
    )


def test_the_fake_lists_what_its_session_would_have(
    models: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.gguf").write_bytes(b"GGUF")
    done = models("list")
    assert (done.returncode, done.stderr) == (0, "")
    assert "mine" not in done.stdout
    assert done.stdout.splitlines()[-1] == (
        "default: placeholder, because the fake has it where no models are set"
    )


def test_the_table_is_aligned_and_says_the_default(models: Run, target: Path) -> None:
    target.mkdir()
    (target / "a-7b-q4_k_m.gguf").write_bytes(bytes(3 << 20))
    (target / "b.gguf").write_bytes(b"GGUF")
    done = models("list", f"--shimmy-models-dir={target}", "--shimmy-model=b")
    assert done.stdout.splitlines() == [
        "   ID           SIZE     PARAMETERS  QUANTISATION  SOURCE      PATH",
        f"   a-7b-q4-k-m  3.0 MiB  7B          Q4_K_M        discovered  {target}/a-7b-q4_k_m.gguf",
        f"*  b            4 B      -           -             discovered  {target}/b.gguf",
        "default: b, because --shimmy-model says so",
    ]


def test_names_that_a_terminal_would_obey_are_escaped(models: Run, target: Path) -> None:
    target.mkdir()
    (target / "red\x1b[31m\nnew é.gguf").write_bytes(b"GGUF")
    done = models("list", f"--shimmy-models-dir={target}")
    assert len(done.stdout.splitlines()) == 3
    assert "\x1b" not in done.stdout
    assert r"*  red\x1b[31m\nnew-é  " in done.stdout
    assert done.stdout.splitlines()[1].endswith(r"red\x1b[31m\nnew é.gguf")
    assert r"default: red\x1b[31m\nnew-é, because it is the only one" in done.stdout


def test_json_has_the_documented_members(models: Run, target: Path) -> None:
    target.mkdir()
    (target / "one\n.gguf").write_bytes(b"GGUF")
    (model,) = json.loads(models("list", "--json", f"--shimmy-models-dir={target}").stdout)
    assert model == {
        "id": "one\n",
        "is_default": True,
        "path": f"{target}/one\n.gguf",
        "size_bytes": 4,
        "parameters": None,
        "quantization": None,
        "source": "discovered",
        "lora": False,
    }
    section = PAGE.read_text("utf-8").partition("\n## models list\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(model)


def test_a_model_that_was_named_is_the_default(models: Run, target: Path) -> None:
    target.mkdir()
    file = target / "Some Model.gguf"
    file.write_bytes(b"GGUF")
    done = models("list", f"--shimmy-model={file}")
    assert f"*  Some Model  4 B   -           -             registered  {file}" in done.stdout
    done = models("list", f"--shimmy-models-dir={target}", "--shimmy-model=other")
    assert "default: other (which is not there), because --shimmy-model says so" in done.stdout
    assert done.returncode == 0


@pytest.mark.shimmy_real
def test_a_real_executable_s_models_are_listed(
    models: Run, real_shimmy: Path, models_dir: Path
) -> None:
    path = f"--shimmy-path={real_shimmy}"
    (model,) = json.loads(
        models("list", "--json", path, f"--shimmy-models-dir={models_dir}").stdout
    )
    assert (model["id"], model["is_default"], model["size_bytes"]) == ("tiny", True, 10)
    first, *where, hint = models("list", path).stdout.splitlines()
    assert first == "no models; shimmy looked in:"
    assert any(each.endswith("/models") for each in where)
    assert hint.startswith("Give it models: --shimmy-models-dir=DIRECTORY")


def test_an_unreadable_list_is_an_error(models: Run, tmp_path: Path) -> None:
    shimmy = tmp_path / "shimmy"
    shimmy.write_text("#!/bin/sh\necho shimmy 2.5.0\n")
    shimmy.chmod(0o755)
    done = models("list", f"--shimmy-path={shimmy}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("pytest-shimmy: [LIST_FAILED] ")


def test_a_missing_model_is_fetched_and_then_there_is_nothing_to_do(
    models: Run, files: FileServer, target: Path
) -> None:
    ensure = ("ensure", "model", "--url", files.url, "--sha256", files.sha256, "--dir", target)
    done = models(*ensure)
    assert (done.returncode, done.stdout.splitlines()[:2]) == (
        0,
        ["model: fetched", f"{target}/model.gguf, 976.6 KiB"],
    )
    # No terminal: whole lines, on stderr.
    assert done.stderr.splitlines()[-1].startswith("model.gguf: 100 %")
    assert "\r" not in done.stderr
    assert (target / "model.gguf").read_bytes() == CONTENT
    asked = len(files.requests)
    again = models(*ensure)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.startswith("model: there already, nothing to do\n")
    assert len(files.requests) == asked


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_on_a_terminal_there_is_a_bar(
    files: FileServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = os.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        command = [*CLI, "ensure", "model", "--url", files.url, "--dir", str(target)]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=theirs, timeout=60)
        assert done.returncode == 0
        shown = screen.read(1 << 16)
        os.close(theirs)
    assert b"\r\x1b[Kmodel.gguf [" in shown
    assert b"100 %" in shown


@pytest.mark.shimmy_real
def test_a_real_executable_finds_what_was_fetched_into_its_own_place(
    models: Run, files: FileServer, real_shimmy: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    path = f"--shimmy-path={real_shimmy}"
    done = models("ensure", "fresh", "--url", files.url, "--file", "fresh.safetensors", path)
    assert done.returncode == 0, done.stderr
    assert "me/.local/share/shimmy/models/fresh.safetensors" in done.stdout
    assert "*  fresh  " in models("list", path).stdout


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (["--sha256", "0" * 64], "DOWNLOAD_FAILED"),
        (["--file", "other.gguf"], "DOWNLOAD_FAILED"),
    ],
)
def test_what_is_not_the_model_is_not_kept(
    change: list[str], code: str, models: Run, files: FileServer, target: Path
) -> None:
    target.mkdir()
    done = models("ensure", "model", "--url", files.url, "--dir", target, *change)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"pytest-shimmy: [{code}] " in done.stderr
    assert list(target.iterdir()) == []


def test_without_a_source_it_only_checks(models: Run, target: Path, models_dir: Path) -> None:
    target.mkdir()
    (target / "model.gguf").write_bytes(b"GGUF")  # in ./models, which no session's fake sees
    elsewhere = target.parent / "elsewhere"
    done = models("ensure", "model", "--dir", elsewhere)
    assert done.returncode == 1
    assert "[MODEL_NOT_FOUND] there is no model 'model'" in done.stderr
    assert not elsewhere.exists()
    done = models("ensure", "tiny", f"--shimmy-models-dir={models_dir}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("tiny: there already")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sha256", "0" * 64, "--dir", "x"], "--sha256 goes with --url"),
        (["--url", "ftp://x/y.gguf", "--dir", "x"], "is no http or https address"),
        (["--url", "http://x/y.gguf", "--hub", "a/b"], "not allowed with argument"),
        (["--url", "http://x/y.gguf"], "give --dir or --shimmy-models-dir"),
        (["--url", "http://x/y.gguf", "--dir", "a;b"], "takes ';' as a separator"),
        (["--shimmy-fake-version=0.1", "--dir", "x"], "--shimmy-fake-version: '0.1' is not"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(
    arguments: list[str], said: str, models: Run
) -> None:
    done = models("ensure", "model", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_the_next_call_goes_on(
    number: signal.Signals, models: Run, files: FileServer, target: Path
) -> None:
    files.answers = [stall(HALF)]
    ensure = ["ensure", "model", "--url", files.url, "--dir", str(target)]
    with subprocess.Popen([*CLI, *ensure], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if int(line.partition("%")[0].split()[-1]) >= 30:
                    break
            process.send_signal(number)
            rest = process.stderr.read()
            assert process.wait(30) == 128 + number
        finally:
            process.kill()
    assert "Traceback" not in rest
    assert seen_in(target) == []
    done = models(*ensure)
    assert done.returncode == 0
    assert (target / "model.gguf").read_bytes() == CONTENT
    resumed = files.ranges[-1]
    assert resumed is not None
    assert resumed.startswith("bytes=")


def hub_lists(files: FileServer, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Have the file server stand in for Hugging Face, with these files in the repository."""
    pytest.importorskip("huggingface_hub")
    files.etag = f'"{files.sha256}"'
    listed = [{"type": "file", "path": name, "size": 1, "oid": "0" * 40} for name in names]
    tree = status(200, json.dumps(listed).encode(), Content_Type="application/json")

    def answer(handler: Handler, asked: Request) -> None:
        if "/tree/" in asked.path:
            tree(handler, asked)
        else:  # what else it wants to know, of the hub and not of the repository
            files.answers.insert(0, answer)
            status(404)(handler, asked)

    files.answers = [answer] if names else []
    monkeypatch.setenv("HF_ENDPOINT", files.base)


@pytest.fixture
def _own_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


@pytest.mark.usefixtures("_own_hub")
@pytest.mark.parametrize("named", [True, False])
def test_a_hugging_face_repository_is_a_source(
    named: bool, models: Run, files: FileServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [] if named else ["README.md", "small_q8.gguf", "Small_Q4.gguf"]
    hub_lists(files, monkeypatch, *names)
    ensure = ["ensure", "small-q4", "--hub", "someone/small-GGUF", "--dir", target]
    done = models(*ensure, *(["--file", "Small_Q4.gguf"] if named else []))
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0] == "fetching Small_Q4.gguf from someone/small-GGUF"
    assert done.stdout.startswith("small-q4: fetched\n")
    assert (target / "Small_Q4.gguf").read_bytes() == CONTENT


@pytest.mark.usefixtures("_own_hub")
def test_a_repository_with_several_models_is_no_guess(
    models: Run, files: FileServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_lists(files, monkeypatch, "one.gguf", "two.safetensors")
    done = models("ensure", "three", "--hub", "someone/small-GGUF", "--dir", target)
    assert done.returncode == 1
    assert "It has: one.gguf, two.safetensors.\nName one: --file NAME." in done.stderr
    assert not target.exists()
