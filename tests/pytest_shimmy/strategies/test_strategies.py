"""What the strategies give: answers to the byte as the fake has them, requests that it takes,
scripts that repeat an example."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from pytest_shimmy import FakeShimmy, ShimmyProcessManager, ShimmyProcessOptions
from pytest_shimmy.launch.hermetic import HERMETIC
from pytest_shimmy.strategies import Answer, Plan, answers, chats, faults, servers, streams
from pytest_shimmy.strategies.events import MODEL, STREAMED, WHOLE, Said, body, stream
from pytest_shimmy.strategies.framing import Style, framed
from tests.support.asker import Asker, asker
from tests.support.consumer_suite import PATIENT_HYPOTHESIS
from tests.support.controlled_fake import controlled_fake
from tests.support.manager_events import LONG
from tests.support.stream_reader import Reader

FEW = hypothesis.settings(max_examples=60, database=None)
PATHS = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "generate": "/api/generate",
    "messages": "/v1/messages",
}
TEXT_OF: dict[str, Callable[[Any], str]] = {
    "chat": lambda body: str(body["choices"][0]["message"]["content"]),
    "completions": lambda body: str(body["choices"][0]["text"]),
    "generate": lambda body: str(body["response"]),
    "messages": lambda body: str(body["content"][0]["text"]),
}
TOKENS = ["Wo", "rd", " \n", "é", "", "🏳️‍🌈"]
VARIES = re.compile(r'"(id|created|\w*_tokens)":("[^"]*"|\d+)')
"""What two answers that say the same may have of their own."""
RELEASES = ("2.6.5", "2.5.0")


@pytest.fixture(scope="module", params=RELEASES)
def imitation(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, FakeShimmy]]:
    """A release, and a fake of it."""
    home = tmp_path_factory.mktemp("imitation")
    with (
        controlled_fake(home, request.param) as (url, token),
        FakeShimmy(url, token, key="test") as fake,
    ):
        yield request.param, fake


def neutral(text: str) -> str:
    return VARIES.sub(r'"\1":0', text)


def plain(endpoint: str, release: str, said: Said) -> str:
    """The stream that says it, as the release frames it."""
    told, _ = stream(endpoint, release, said)
    return neutral(b"".join(part.data for part in framed(told, Style.PLAIN)).decode())


def request(endpoint: str, **members: Any) -> bytes:
    asked: dict[str, Any] = {"model": MODEL, "max_tokens": 400}
    if endpoint in ("chat", "messages"):
        asked["messages"] = [{"role": "user", "content": "x"}]
    else:
        asked["prompt"] = "x"
    return json.dumps(asked | members).encode()


@pytest.mark.parametrize("endpoint", ["chat", "generate"])
@pytest.mark.parametrize("with_usage", [False, True])
def test_streams_have_the_events_of_the_release(
    imitation: tuple[str, FakeShimmy], endpoint: str, with_usage: bool
) -> None:
    release, fake = imitation
    fake.reset()
    fake.reply(TOKENS)
    options = {"stream_options": {"include_usage": True}} if with_usage else {}
    asked = request(endpoint, stream=True, **options)
    status, text = asker(fake).send("POST", PATHS[endpoint], asked)
    has_usage = with_usage and endpoint == "chat" and release == "2.6.5"
    assert status == 200
    assert neutral(text) == plain(endpoint, release, Said(TOKENS, with_usage=has_usage))


def test_messages_are_streamed_as_the_fake_does_it(imitation: tuple[str, FakeShimmy]) -> None:
    release, fake = imitation
    fake.reset()
    fake.reply(TOKENS, usage={"input_tokens": 7})  # no shimmy streams them
    _, text = asker(fake).send("POST", PATHS["messages"], request("messages", stream=True))

    def told(text: str) -> list[Any]:
        return [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: ")]

    assert told(neutral(text)) == told(plain("messages", release, Said(TOKENS)))


@pytest.mark.parametrize("endpoint", WHOLE)
def test_bodies_are_those_of_the_release(imitation: tuple[str, FakeShimmy], endpoint: str) -> None:
    release, fake = imitation
    fake.reset()
    fake.reply(TOKENS)
    status, text = asker(fake).send("POST", PATHS[endpoint], request(endpoint, stream=False))
    assert status == 200
    assert neutral(text) == neutral(body(endpoint, release, Said(TOKENS))[0])


def test_a_failed_generation_is_told_as_the_release_tells_it(
    imitation: tuple[str, FakeShimmy],
) -> None:
    release, fake = imitation
    if release == "2.5.0":
        pytest.skip("2.5.0 does not tell of it")
    fake.reset()
    fake.fail("generation_failed")
    _, text = asker(fake).send("POST", PATHS["chat"], request("chat", stream=True))
    assert neutral(text) == plain("chat", release, Said([], fails=True))


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", WHOLE)
def test_chats_are_requests_that_the_release_takes(
    imitation: tuple[str, FakeShimmy], endpoint: str
) -> None:
    release, fake = imitation
    fake.reset()
    app = asker(fake)

    @FEW
    @hypothesis.given(chats(endpoint, release=release))
    def takes(asked: dict[str, Any]) -> None:
        text = json.dumps({**asked, "stream": False}).encode()
        assert app.send("POST", PATHS[endpoint], text)[0] == 200

    takes()


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", WHOLE)
def test_whole_answers_arrive_to_the_byte(fake: FakeShimmy, app: Asker, endpoint: str) -> None:
    @FEW
    @hypothesis.given(answers(endpoint))
    def arrives(answer: Answer) -> None:
        fake.play(answer)
        status, text = app.send("POST", PATHS[endpoint], request(endpoint, stream=False))
        assert (status, text.encode()) == (200, answer.body)
        assert TEXT_OF[endpoint](json.loads(text)) == answer.ending.text

    arrives()


@pytest.mark.parametrize("endpoint", STREAMED)
def test_streams_arrive_to_the_byte_and_in_their_pieces(fake: FakeShimmy, endpoint: str) -> None:
    reader = Reader(fake)

    @FEW
    @hypothesis.given(streams(endpoint))
    def arrives(answer: Answer) -> None:
        fake.play(answer)
        status, pieces = reader.pieces(PATHS[endpoint], request(endpoint, stream=True))
        assert (status, pieces) == (200, list(answer.pieces))

    arrives()


def test_shimmys_own_wire_has_an_event_in_each_piece() -> None:
    @FEW
    @hypothesis.given(streams(wire="shimmy"))
    def is_plain(answer: Answer) -> None:
        assert all(piece.startswith(b"data: ") for piece in answer.pieces)
        assert all(piece.endswith(b"\n\n") for piece in answer.pieces)
        assert answer.pieces[-1] == b"data: [DONE]\n\n"

    is_plain()


def test_a_broken_answer_is_never_whole() -> None:
    """Else a correct client could not know."""

    @FEW
    @hypothesis.given(faults(kinds=("end", "close", "reset")))
    def lacks_its_end(answer: Answer) -> None:
        assert not re.search(rb"^data: ?\[DONE\]", answer.body, re.MULTILINE)
        assert answer.ending.error == "cut"
        assert answer.ending.allows("")

    lacks_its_end()


@pytest.mark.parametrize("kind", ["invalid_utf8", "hang", "half_close", "truncated_json"])
def test_a_kind_of_fault_can_be_asked_for(kind: str) -> None:
    found = hypothesis.find(faults(kinds=[kind]), lambda _: True)
    assert found.ending.error in ("cut", "broken")
    assert (found.cut or kind) == kind


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: streams("embeddings"), "endpoint: 'embeddings': there are: chat, generate"),
        (lambda: streams("completions"), "endpoint: 'completions'"),
        (lambda: answers("x"), "chat, completions, generate, messages"),
        (lambda: chats("x"), "endpoint: 'x'"),
        (lambda: servers(release="9"), "release: '9': there are: "),
        (
            lambda: faults(kinds=["end", "nonsense"]),
            r"kinds: \['nonsense'\]: there are: end, close",
        ),
        (lambda: faults(kinds=[]), "kinds: none: there are"),
    ],
)
def test_what_there_is_not_is_refused_by_name(make: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make()


PLAYED = st.one_of(streams(), faults(), servers(), streams("generate"), faults("messages"))


def test_a_script_says_exactly_what_is_played() -> None:
    """Also after it was written to a file and read again."""
    from fake_shimmy.script import rules
    from fake_shimmy.stage.answers.beyond import _bytes

    @FEW
    @hypothesis.given(PLAYED)
    def says(played: Answer | Plan) -> None:
        script = rules.read(json.loads(json.dumps(played.script())))
        (rule,) = script.rules
        wanted = played.answers if isinstance(played, Plan) else (played,)
        assert rule.times == len(wanted)
        for said, answer in zip(rule.answers, wanted, strict=True):
            if answer.status == 200:
                assert [_bytes(event) for event in said.events or ()] == list(answer.pieces)

    says()


@pytest.mark.slow
def test_a_failure_prints_what_repeats_it(
    pytester: pytest.Pytester, fake: FakeShimmy, tmp_path: Path
) -> None:
    """The script that a failing run prints gives the same answer alone."""
    pytester.makepyfile(
        """
        from hypothesis import given
        from pytest_shimmy.strategies import streams

        @given(streams())
        def test_no_hearts(shimmy_fake, stream):
            shimmy_fake.play(stream)
            assert "[DONE]" not in stream.ending.text
        """
    )
    pytester.makeconftest(PATIENT_HYPOTHESIS)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    lines = [line.removeprefix("E").strip() for line in result.outlines]
    where = lines.index("Script of this example:")
    script = json.loads(lines[where + 1])
    path = tmp_path / "example.json"
    path.write_text(json.dumps(script))
    fake.script(path)
    _, text = asker(fake).send("POST", PATHS["chat"], request("chat", stream=True))
    assert '"content":"[DONE]"' in text
    assert any(line.startswith("FAKE_SHIMMY_SCRIPT=example.json ") for line in lines[where:])
    assert result.ret == 1


def test_a_repeated_example_needs_no_pytest(tmp_path: Path, manager: ShimmyProcessManager) -> None:
    played = hypothesis.find(servers(), lambda plan: plan.retries == 1)
    path = tmp_path / "example.json"
    path.write_text(json.dumps(played.script()))
    env = {**HERMETIC, "HOME": str(tmp_path)}
    env |= {"FAKE_SHIMMY_SCRIPT": str(path), "FAKE_SHIMMY_MODELS": "tiny"}
    manager.start(ShimmyProcessOptions(env=env, cwd=tmp_path, models_dir=tmp_path))
    manager.ensure_ready(LONG)
    app = Asker(f"http://127.0.0.1:{manager.port}", "", "tiny")
    statuses = []
    for _ in range(2):
        try:
            statuses.append(app.send("POST", PATHS["chat"], request("chat", stream=True))[0])
        except (http.client.HTTPException, ConnectionError):
            statuses.append(200)
    assert statuses == [answer.status for answer in played.answers]
