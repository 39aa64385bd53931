"""What happens to tokens on their way out, whatever an engine says.

Expected: real 2.5.0 with a stand-in for its engine. The engine here says what the prompt spells.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys

import pytest

from tests.support.fake_process import ROOT, Answer, Running, drained, free_port, wait_for_port
from tests.support.websocket_client import frame, said

PROGRAM = """
import os, socket, sys, time
sys.path.insert(0, sys.argv[1])
from fake_shimmy.api.access import Access
from fake_shimmy.api.application import Application
from fake_shimmy.api.context import Context
from fake_shimmy.api.server import Server
from fake_shimmy.commands.bind import Address
from fake_shimmy.models.engine import Engine, GenerationError, LoadedModel
from fake_shimmy.models.registry import ModelSpec
from fake_shimmy.releases import RELEASES
from fake_shimmy.serving import accept
from fake_shimmy.rust.tracing import Filter, Tracer

class Registry:
    registered = discovered = {}
    def lookup(self, name):
        return ModelSpec(name, "", None, None, 2048)

class Model(LoadedModel):
    def generate(self, prompt, max_tokens, user_text):
        return "".join(self.stream(prompt, max_tokens, user_text))
    def tokens(self, text):
        return [text]
    def stream(self, prompt, max_tokens, user_text):
        for token in eval(user_text):
            if token is None:
                raise GenerationError('out "of" luck')
            yield token

class Spelling(Engine):
    def load(self, spec):
        return Model()

address = Address(socket.AF_INET, "127.0.0.1", int(sys.argv[2]))
tracer = Tracer(Filter(), False, time.time_ns, lambda text: print(text, flush=True))
release = RELEASES[sys.argv[3]]
build = release.builds["default"]
clock = time.time_ns
server = Server(release, build, ["m"], clock, os.urandom, list, 1, 1, tracer, {}, Access())
context = Context(server, Registry(), Spelling())
accept.serve(Application(context), address.listen())
"""
FAILING = ["a", None, "never"]


@pytest.fixture
def speller(tmp_path):
    """A server of 2.5.0 whose model says what the prompt spells."""
    with spelling(tmp_path, "2.5.0") as running:
        yield running


@pytest.fixture
def older_speller(tmp_path):
    """The same for 1.8.1."""
    with spelling(tmp_path, "1.8.1") as running:
        yield running


@contextlib.contextmanager
def spelling(folder, release):
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(ROOT), str(port), release],
        cwd=folder,
        stdout=subprocess.PIPE,
    )
    try:
        wait_for_port(process, port)
        yield Running(process, port)
    finally:
        process.kill()
        process.communicate()


def post(server, path: str, tokens, **more) -> Answer:
    request = {"model": "m", "max_tokens": 9} | more
    if path in ("/v1/chat/completions", "/v1/messages"):
        request["messages"] = [{"role": "user", "content": repr(tokens)}]
    else:
        request["prompt"] = repr(tokens)
    body = json.dumps(request).encode()
    return server.request("POST", path, body, content_type="application/json")


def message(tokens) -> bytes:
    return frame(json.dumps({"model": "m", "prompt": repr(tokens)}).encode())


@pytest.mark.parametrize(
    ("token", "event"),
    [
        ("a\nb", b"data: a\ndata: b\n\n"),
        ("\n", b"data: \ndata: \n\n"),
        (" a ", b"data:  a \n\n"),
        ("", b"data: \n\n"),
        ("é\0", "data: é\0\n\n".encode()),
        ("[DONE]", b"data: [DONE]\n\n"),
    ],
)
def test_tokens_of_a_bare_stream(speller, token, event):
    answer = post(speller, "/api/generate", [token, "z"])
    assert answer.body == event + b"data: z\n\ndata: [DONE]\n\n"


def test_a_carriage_return_kills_a_bare_stream_and_nothing_else(speller):
    body = json.dumps({"model": "m", "prompt": repr(["a", "b\rc", "d"])}).encode()
    head = b"POST /api/generate HTTP/1.1\r\ncontent-type: application/json\r\n"
    raw = speller.send(head + b"content-length: %d\r\n\r\n%b" % (len(body), body))
    # The connection ends in the middle of the chunked body.
    assert raw.endswith(b"\r\n\r\n9\r\ndata: a\n\n\r\n")
    assert post(speller, "/api/generate", ["x"]).status == 200


def test_the_other_routes_do_not_mind_a_carriage_return(speller):
    assert rb'"content":"b\rc"' in post(speller, "/v1/chat/completions", ["b\rc"]).body
    assert post(speller, "/api/generate", ["b\rc"], stream=False).body == rb'{"response":"b\rc"}'
    assert said(speller, message(["b\rc"])) == [b"b\rc", b'{"done":true}']


def test_the_end_marker_as_a_token_ends_a_websocket(speller):
    assert said(speller, message(["a", "", "[DONE]", "z"])) == [b"a", b"", b'{"done":true}']


def test_a_failure_is_told_to_a_bare_stream(speller):
    with drained(speller) as log:
        answer = post(speller, "/api/generate", FAILING)
    assert answer.status == 200
    assert answer.body == b'data: a\n\ndata: [ERROR] out "of" luck\n\ndata: [DONE]\n\n'
    assert log[0].endswith(
        b" ERROR shimmy::api: Streaming generation failed for model 'm': out \"of\" luck\n"
    )


def test_a_failure_is_told_to_a_websocket_in_no_json(speller):
    with drained(speller) as log:
        frames = said(speller, message(FAILING))
    assert frames == [b"a", b'{"error":"out "of" luck"}', b'{"done":true}']
    assert b"shimmy::api: WebSocket generation failed for model 'm': " in log[0]


def test_1_8_tells_of_no_failure_that_comes_while_streaming(older_speller):
    with drained(older_speller) as log:
        answer = post(older_speller, "/api/generate", FAILING)
        frames = said(older_speller, message(FAILING))
    assert answer.body == b"data: a\n\ndata: [DONE]\n\n"
    assert frames == [b"a", b'{"done":true}']
    assert log == []


def test_a_failure_of_a_chat_stream_is_not_told(speller):
    body = post(speller, "/v1/chat/completions", FAILING).body
    events = body.decode().split("\n\n")
    assert [json.loads(event[6:])["choices"][0]["delta"]["content"] for event in events[:3]] == [
        None,
        "a",
        None,
    ]
    assert events[3:] == ["data: [DONE]", ""]


@pytest.mark.parametrize(
    ("path", "status", "body", "logged"),
    [
        (
            "/v1/chat/completions",
            502,
            b"",
            b"shimmy::openai_compat: Failed to generate response for model 'm': out \"of\" luck\n",
        ),
        (
            "/v1/completions",
            500,
            b'{"error":{"code":"generation_failed","message":"Generation failed",'
            b'"type":"server_error"}}',
            b'shimmy::openai_compat: Generation error: out "of" luck\n',
        ),
        (
            "/v1/messages",
            500,
            b"",
            b'shimmy::anthropic_compat: Generation failed: out "of" luck\n',
        ),
        (
            "/api/generate",
            502,
            b"",
            b"shimmy::api: Generation failed for model 'm': out \"of\" luck "
            b"(Issue #106 Windows debugging)\n",
        ),
    ],
)
def test_a_failure_without_streaming(speller, path, status, body, logged):
    with drained(speller) as log:
        answer = post(speller, path, FAILING, stream=False)
    assert (answer.status, answer.body) == (status, body)
    assert log[0].endswith(b" ERROR " + logged)
