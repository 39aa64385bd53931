"""Answers that no shimmy gives, as clients of other servers read them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from pytest_shimmy import FakeShimmy, ShimmyError
from pytest_shimmy.outcomes import Event, Reply, ToolCall
from tests.support.asker import Asker

HI: Any = [{"role": "user", "content": "Hi"}]
CITY = {"city": "Zürich", "days": [1, 2]}


@pytest.fixture
def client(fake: FakeShimmy) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=fake.base_url, api_key=fake.api_key, max_retries=0) as client:
        yield client


def ask(client: openai.OpenAI, **more: Any) -> Any:
    return client.chat.completions.create(model="any", messages=HI, **{"stream": False, **more})


def test_a_tool_call_is_whole_or_in_pieces(fake: FakeShimmy, client: openai.OpenAI) -> None:
    fake.tool_call("weather", CITY)
    whole = ask(client).choices[0]
    assert (whole.finish_reason, whole.message.content) == ("tool_calls", None)
    (call,) = whole.message.tool_calls
    assert (call.id, call.function.name) == ("call_1", "weather")
    assert json.loads(call.function.arguments) == CITY
    chunks = [chunk.choices[0] for chunk in ask(client, stream=True)]
    deltas = [delta for chunk in chunks for delta in chunk.delta.tool_calls or ()]
    assert len(deltas) > 2
    assert (deltas[0].id, deltas[0].function.name) == ("call_2", "weather")
    assert all(delta.id is None and delta.function.name is None for delta in deltas[1:])
    assert json.loads("".join(delta.function.arguments for delta in deltas)) == CITY
    assert chunks[-1].finish_reason == "tool_calls"


def test_a_tool_call_may_come_in_one_event_and_be_broken(
    fake: FakeShimmy, client: openai.OpenAI
) -> None:
    fake.tool_call("weather", '{"city": "Zü', whole=True, id="mine")
    chunks = [chunk.choices[0].delta.tool_calls for chunk in ask(client, stream=True)]
    ((call,),) = [calls for calls in chunks if calls]
    assert (call.id, call.function.arguments) == ("mine", '{"city": "Zü')


def test_openais_own_reader_of_streams_takes_what_is_sent(
    fake: FakeShimmy, client: openai.OpenAI
) -> None:
    fake.reply(
        ["Pa", "ris"],
        tool_calls=[ToolCall("a", {"b": 1}), {"name": "c", "arguments": {}}],
        usage={"prompt_tokens": 2, "completion_tokens": 3},
    )
    options: Any = {"include_usage": True}
    with client.chat.completions.stream(model="any", messages=HI, stream_options=options) as stream:
        done = stream.get_final_completion()
    message = done.choices[0].message
    assert message.content == "Paris"
    assert [call.function.arguments for call in message.tool_calls or ()] == ['{"b": 1}', "{}"]
    assert done.usage is not None
    assert done.usage.total_tokens == 5


def test_usage_that_nobody_asked_for_is_told(fake: FakeShimmy, client: openai.OpenAI) -> None:
    fake.reply("Hi", usage={"prompt_tokens": 1})
    assert all(chunk.usage is None for chunk in ask(client, stream=True))
    assert fake.last_request.unfired[0].startswith("usage: the request has no")
    assert any("did not happen: usage" in line for line in fake.report())


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
def test_a_response_of_every_kind(fake: FakeShimmy, client: openai.OpenAI, stream: bool) -> None:
    says: Any = {"reasoning": "So", "tool_calls": [ToolCall("weather", CITY)]}
    fake.reply(["Pa", "ris"], endpoint="responses", **says)
    if stream:
        with client.responses.stream(model="any", input="Hi") as events:
            assert {event.type for event in events} > {"response.output_text.delta"}
            response: Any = events.get_final_response()
    else:
        response = client.responses.create(model="any", input="Hi")
    thought, message, call = response.output
    assert thought.summary[0].text == "So"
    assert message.content[0].text == "Paris"
    assert (call.name, json.loads(call.arguments), call.call_id) == ("weather", CITY, "call_1")
    assert fake.last_request.beyond


def test_a_response_that_refuses(fake: FakeShimmy, client: openai.OpenAI) -> None:
    fake.reply(refusal="No.", endpoint="responses")
    answer: Any = client.responses.create(model="any", input="Hi")
    assert answer.output[0].content[0].refusal == "No."


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings_are_the_same_for_the_same_text(
    fake: FakeShimmy, client: openai.OpenAI, encoding: Any
) -> None:
    fake.embeddings(5)
    texts = ["one", "two", "one"]
    first, second, third = [
        each.embedding
        for each in client.embeddings.create(model="e", input=texts, encoding_format=encoding).data
    ]
    assert len(first) == len(second)
    assert first == third != second
    if encoding == "float":
        assert sum(value * value for value in first) == pytest.approx(1)


def test_anthropics_route_streams_tools(fake: FakeShimmy, app: Asker) -> None:
    fake.reply("Hm.", tool_calls=[ToolCall("weather", CITY)])
    _, text = app.post("Hi", "/v1/messages", max_tokens=9, stream=True)
    events = [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: ")]
    named = [line[7:] for line in text.split("\n") if line.startswith("event: ")]
    assert [event["type"] for event in events] == named
    assert (named[0], named[-1]) == ("message_start", "message_stop")
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    assert deltas[0] == {"type": "text_delta", "text": "Hm."}
    pieces = [delta["partial_json"] for delta in deltas if "partial_json" in delta]
    assert json.loads("".join(pieces)) == CITY
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


def test_events_are_sent_as_they_are_and_faults_count_them(fake: FakeShimmy, app: Asker) -> None:
    events = [b": comment\n\n", "text", {"a": [1]}, Event("x", "named"), "[DONE]"]
    fake.events(events, path="/v1/any")
    assert app.send("POST", "/v1/any", b"{}") == (
        200,
        ': comment\n\ndata: text\n\ndata: {"a":[1]}\n\nevent: named\ndata: x\n\ndata: [DONE]\n\n',
    )
    assert fake.last_request.tokens_sent == 5


# What is expected


def test_a_conversation_that_leaves_its_path_is_told(fake: FakeShimmy, app: Asker) -> None:
    fake.answers(
        [ToolCall("weather"), Reply("21 °C", expect={"tool": {"equals": {"celsius": 21}}})],
        name="talk",
    )
    app.post("Hi")
    result = {"role": "tool", "tool_call_id": "call_1", "content": '{"celsius": 20}'}
    status, text = app.post("", messages=[*HI, {"role": "assistant", "content": None}, result])
    assert status == 400
    assert "talk, answer 2: tool should be {'celsius': 21}" in text
    assert fake.last_request.unexpected
    (line,) = fake.leftovers()
    assert line.startswith("number 2 is not what was expected: talk, answer 2: tool should be")
    result["content"] = '{"celsius": 21}'
    status, text = app.post("", messages=[*HI, {"role": "assistant", "content": None}, result])
    assert (status, "21 °C" in text) == (200, True)


# What the report says


def test_a_refused_request_is_explained(fake: FakeShimmy, app: Asker) -> None:
    fake.reply("Hello", name="greeting")
    app.post("Hi", model="assistant")
    (first,) = fake.report()
    assert "404, refused as shimmy does: Model 'assistant' not found." in first
    assert first.endswith("greeting would have matched")
    assert (fake.last_request.refused_rule, fake.last_request.beyond) == ("greeting", False)


def test_where_no_rule_matched_the_nearest_is_told(fake: FakeShimmy, app: Asker) -> None:
    fake.reply("Paris", user="France")
    app.say("Hi")
    assert fake.last_request.unmatched
    assert (
        "no rule matched number 1; nearest: rule 1: user should contain 'France', and it is 'Hi'"
        in fake.report()
    )


def test_answers_beyond_shimmy_are_counted(fake: FakeShimmy, app: Asker) -> None:
    fake.tool_call("weather", times=2)
    for _ in range(2):
        assert "weather" in app.post("Hi")[1]
    assert "2 answers that no shimmy gives" in fake.report()


def test_a_strict_test_does_not_pass_where_a_fault_did_not_happen(
    fake: FakeShimmy, app: Asker
) -> None:
    fake.strict = True
    fake.drop(50, reply=["a", "b"])
    assert app.stream("Hi") == ["a", "b"]
    assert fake.leftovers() == [
        "the test was strict, and:",
        "number 1: this was said and did not happen: reset after 50 tokens",
    ]


# Refused answers


@pytest.mark.parametrize(
    ("method", "arguments", "options", "word"),
    [
        ("tool_call", ("weather",), {}, "tool_calls"),
        ("embeddings", (), {}, "embeddings"),
        ("events", (["x"],), {}, "events"),
        ("reply", ("Hi",), {"usage": {"prompt_tokens": 1}}, "usage"),
        ("reply", ("Hi",), {"validate": False}, "validate=False"),
        ("answers", ([ToolCall("weather"), "Hi"],), {}, "tool_calls"),
        ("script", ({"rules": [{"finish_reason": "length"}]},), {}, "finish_reason"),
    ],
)
def test_with_strict_fidelity_such_answers_are_refused(
    controlled: tuple[str, str], method: str, arguments: Any, options: Any, word: str
) -> None:
    url, token = controlled
    with FakeShimmy(url, token, key="fidelity", strict_fidelity=True) as fake:
        fake.reply("this a shimmy can")
        with pytest.raises(ShimmyError, match=rf"{method}\(\): {word}: no shimmy answers like"):
            getattr(fake, method)(*arguments, **options)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"headers": {"content-length": "3"}}, "content-length says how the answer is framed"),
        ({"refusal": "No."}, "reply and refusal contradict each other"),
        ({"tool_calls": [{}]}, "a tool call has the name of a tool"),
    ],
)
def test_what_cannot_be_meant_is_refused(fake: FakeShimmy, options: Any, text: str) -> None:
    with pytest.raises(ShimmyError, match=text):
        fake.reply("Hi", **options)


def test_a_slow_regular_expression_fails_its_own_test(fake: FakeShimmy, app: Asker) -> None:
    fake.reply("never", when=re.compile("(a+)+$"), name="evil")
    app.say("a" * 41 + "!")
    (line,) = fake.leftovers()
    assert line.startswith("evil: to search for '(a+)+$' took more than 50 ms")
    assert line in fake.report()
