"""What the page says of its hand-written stand-in and of the fake, compared with a real shimmy."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from fake_shimmy.models import tiny_gguf
from pytest_shimmy.executable.identify import identify
from tests.languages.conftest import needs
from tests.support.fake_process import Running, free_port, neutral, neutral_health, wait_for_port
from tests.support.pages import DOCS, blocks

pytestmark = pytest.mark.slow

PAGE = DOCS / "how-to" / "replace-a-fake.md"
SAID = [" Raw", " says", " hello,", " world!", "\n", " ¿qué?"]
"""What the tiny model says."""


def chat(**members: object) -> bytes:
    asked = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}
    return json.dumps(asked | members).encode()


IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]
CHAT = "/v1/chat/completions"
REQUESTS: list[tuple[str, str, bytes, str]] = [
    *(("GET", path, b"", "") for path in ("/health", "/v1/models", "/metrics", CHAT)),
    ("HEAD", "/health", b"", ""),
    ("GET", "/health", b"", "origin: http://a.b"),
    *(
        ("POST", CHAT, body, "")
        for body in (
            chat(),
            chat(stream=False),
            chat(stream=True),
            chat(stream=True, stream_options={"include_usage": True}),
            chat(max_tokens=1),
            chat(model="none"),
            chat(messages=[]),
            chat(messages=IMAGE),
            b'{"model":',
        )
    ),
    ("POST", "/v1/completions", b'{"model": "tiny", "prompt": "Hi"}', ""),
    ("POST", "/v1/embeddings", b'{"model": "tiny", "input": "Hi"}', ""),
]


def sent(method: str, path: str, body: bytes, header: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: x", "connection: close"]
    lines += [header] if header else []
    if body:
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


@contextlib.contextmanager
def serving(command: list[str], folder: Path, environ: Mapping[str, str]) -> Iterator[Running]:
    port = free_port()
    arguments = ["serve", "--bind", f"127.0.0.1:{port}", "--model-path", "tiny.gguf"]
    process = subprocess.Popen(
        [*command, *arguments],
        cwd=folder,
        env={"HOME": str(folder), **environ},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_port(process, port)
        yield Running(process, port)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def fake_answers(tmp_path: Path) -> list[bytes]:
    (tmp_path / "tiny.gguf").write_bytes(tiny_gguf.contents())
    (tmp_path / "script.json").write_text(json.dumps({"rules": [{"reply": SAID}]}))
    script = {"FAKE_SHIMMY_SCRIPT": "script.json"}
    with serving([sys.executable, "-m", "fake_shimmy"], tmp_path, script) as fake:
        return [neutral(fake.send(sent(*each))) for each in REQUESTS]


def told() -> tuple[int, ...]:
    """Requests, those that differ with the stand-in, and those with the fake."""
    words = r"Of (\d+) requests, .*?, (\d+) of the\s+stand-in's answers differ, and (\w+) of"
    found = re.search(words, PAGE.read_text(), re.DOTALL)
    assert found is not None
    return int(found[1]), int(found[2]), {"none": 0}[found[3]]


def test_the_stand_in_differs_as_the_page_says(fake_answers: list[bytes], tmp_path: Path) -> None:
    node = needs("node")
    (code,) = [each.text for each in blocks(PAGE) if each.name == "stand-in.mjs"]
    (tmp_path / "stand-in.mjs").write_text(code)
    differing = 0
    for request, expected in zip(REQUESTS, fake_answers, strict=True):
        # A body that is no JSON ends it.
        said = {"STAND_IN_REPLY": "".join(SAID)}
        with serving([node, "stand-in.mjs"], tmp_path, said) as stand_in:
            differing += neutral(stand_in.send(sent(*request))) != expected
    assert told()[:2] == (len(REQUESTS), differing)


@pytest.mark.shimmy_real
def test_the_fake_differs_from_a_real_one_as_the_page_says(
    fake_answers: list[bytes], real_shimmy: Path, tmp_path: Path
) -> None:
    executable = identify(str(real_shimmy))
    if (executable.version, executable.build().engine) != ("2.6.5", "airframe"):
        pytest.skip("the page is about the default build of 2.6.5")
    with serving([str(real_shimmy)], tmp_path, {}) as real:
        found = [neutral(real.send(sent(*each))) for each in REQUESTS]
    differing = []
    for (_, path, *_), real_answer, fake_answer in zip(REQUESTS, found, fake_answers, strict=True):
        answers = [real_answer, fake_answer]
        if path == "/health":
            answers = [neutral_health(each) for each in answers]
        if answers[0] != answers[1]:
            differing.append(answers)
    assert len(differing) == told()[2], differing
