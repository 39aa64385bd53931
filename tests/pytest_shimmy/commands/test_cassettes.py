"""``pytest-shimmy cassettes``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fake_shimmy.script.timed_answer import Recording
from pytest_shimmy.cassettes.cassette import Cassette, Origin
from pytest_shimmy.cassettes.folder import Folder
from tests.pytest_shimmy.cassettes.recordings import answered, asked, recording


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest_shimmy.cli", "cassettes", *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_check_tells_what_a_server_says_otherwise(
    tmp_path: Path, fake_server: tuple[str, subprocess.Popen[bytes]]
) -> None:
    kept = recording(None, b"{}")
    kept.request = asked(method="GET", path="/v1/models")
    body = json.dumps({"object": "list", "data": [{"id": 7, "gone": True}]}).encode()
    kept.answer = answered(
        framing="length",
        head=["content-type: application/json", f"content-length: {len(body)}"],
    )
    kept.answer.chunks[0].data = body
    kept.answer.chunks = kept.answer.chunks[:1]
    Folder(tmp_path).write("one", Cassette(Origin("2026-11-20", "s"), [kept]))
    Folder(tmp_path).write("two", Cassette(Origin("2026-11-20", "s"), [kept]))
    url, _ = fake_server
    result = command("check", str(tmp_path), f"--shimmy-url={url}")
    assert result.returncode == 1, result.stderr
    assert "CHANGED GET /v1/models: $.data[*].gone is gone  (one and 1 more)" in result.stdout
    assert "CHANGED GET /v1/models: $.data[*].id was number, and is string" in result.stdout
    assert "new     GET /v1/models: $.data[*].owned_by is new (string)" in result.stdout
    assert result.stdout.splitlines()[-1] == "answers compared: 2; what changed is above"
    result = command("check", str(tmp_path), f"--shimmy-url={url}", "--json")
    (first, *_) = json.loads(result.stdout)["changes"]
    assert first["cassettes"] == ["one", "two"]


def test_a_folder_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    result = command("check", str(tmp_path / "none"))
    assert result.returncode == 2
    assert "there is no folder" in result.stderr


@pytest.mark.slow
def test_check_counts_what_it_compares_and_what_it_cannot(
    tmp_path: Path, fake_server: tuple[str, subprocess.Popen[bytes]]
) -> None:
    url, _ = fake_server
    left = recording(None, b"{}", end="left")
    same = recording(None)
    same.request = asked(method="GET", path="/nowhere")
    same.answer = answered(framing="none", head=["content-length: 0"], chunks=[])
    same.answer.head[0] = "HTTP/1.1 404 Not Found"
    Folder(tmp_path).write("one", Cassette(Origin("2026-11-20", "s"), [left, same]))
    result = command("check", str(tmp_path), f"--shimmy-url={url}")
    assert result.stdout == (
        "answers compared: 1; not compared (WebSockets, cut off): 1; the recorded structure\n"
    )
    assert result.returncode == 0


def test_check_wants_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTEST_SHIMMY_PATH", "PYTEST_SHIMMY_URL"):
        monkeypatch.delenv(name, raising=False)
    result = command("check", str(tmp_path))
    assert result.returncode == 2
    assert "name the server: --shimmy-path=EXECUTABLE, or --shimmy-url=URL" in result.stderr


@pytest.mark.slow
def test_prune_removes_what_no_test_uses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test_a.py").write_text("def test_used(shimmy_server): pass\n")
    folder = Folder(tmp_path / "cassettes")
    for name in ("test_a/test_used", "test_a/test_gone"):
        folder.write(name, Cassette(Origin("2026-11-20", "s"), []))
    result = command("prune", "cassettes", "--dry-run", "--pytest=-p no:randomly")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "unused" in result.stdout
    assert len([*folder.names()]) == 2
    command("prune", "cassettes")
    assert [*folder.names()] == ["test_a/test_used"]
    (tmp_path / "test_a.py").write_text("def test_used(shimmy_server): assert 0\n")
    folder.write("test_a/test_gone", Cassette(Origin("2026-11-20", "s"), []))
    result = command("prune", "cassettes")
    assert result.returncode == 1
    assert "Nothing was removed" in result.stdout
    assert len([*folder.names()]) == 2


@pytest.mark.slow
def test_prune_removes_exchanges_that_no_test_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test_a.py").write_text(
        "import urllib.request as asking\n"
        "def test_a(shimmy_server, make_shimmy_server):\n"
        "    asking.urlopen(f'{shimmy_server.url}/1')\n"
        "    asking.urlopen(f'{make_shimmy_server().url}/2')\n"
        "def test_b(shimmy_server): pass\n"
    )
    folder = Folder(tmp_path / "cassettes")
    exchanges = [get(path, server) for server, path in ((0, "/0"), (0, "/1"), (1, "/2"), (1, "/3"))]
    for name in ("test_a/test_a", "test_a/test_b"):
        folder.write(name, Cassette(Origin("2026-11-20", "s"), exchanges))
    result = command("prune", "cassettes", "--dry-run")
    assert f"unused  2 of 4 exchanges in {Path('cassettes/test_a/test_a.json')}" in result.stdout
    assert f"unused  {Path('cassettes/test_a/test_b.json')}" in result.stdout
    assert command("prune", "cassettes").returncode == 0
    assert [*folder.names()] == ["test_a/test_a"]
    left = folder.read("test_a/test_a")
    assert left is not None
    assert [each.request.path for each in left.exchanges] == ["/1", "/2"]
    result = command("prune", "cassettes")
    assert result.stdout.endswith("Each recorded exchange is used.\n")


def get(path: str, server: int) -> Recording:
    """A recording of a request for `path` at the test's server of that number."""
    kept = recording(None)
    kept.server, kept.request = server, asked(method="GET", path=path)
    kept.answer = answered(framing="none", head=["content-length: 0"], chunks=[])
    return kept
