"""`FakeShimmy`: rules, as the requests of an application meet them."""

from __future__ import annotations

import http.client
import re
import threading
import time
from typing import Any

import pytest

from pytest_shimmy import FakeShimmy, ShimmyError, ShimmyErrorCode
from pytest_shimmy.outcomes import Drop, Fail, Fault, Garble, Reply, Stall
from tests.support.asker import Asker

CUT = (http.client.HTTPException, ConnectionError)

# Replies


def test_a_text_is_the_answer_and_without_rules_the_model_answers(
    fake: FakeShimmy, app: Asker
) -> None:
    before = app.say("Hi")
    with fake.reply("Paris"):
        assert app.say("Hi") == "Paris"
    assert app.say("Hi") == before


def test_tokens_arrive_as_they_were_given(fake: FakeShimmy, app: Asker) -> None:
    tokens = ["Pa", "ris", " 🗼", "\n", "", "é"]
    fake.reply(tokens)
    assert app.stream("Hi") == tokens
    assert app.say("Hi") == "".join(tokens)


SPAIN = {"text": "Capital of Spain?"}
TALK = {"system": "talk"}
ELSEWHERE = {"path": "/v1/messages", "max_tokens": 5}


@pytest.mark.parametrize(
    ("condition", "other"),
    [
        ({"when": "France"}, SPAIN),
        ({"when": re.compile("fr.nce", re.IGNORECASE)}, SPAIN),
        ({"when": {"user": {"equals": "Capital of France?"}}}, SPAIN),
        ({"user": re.compile(r"^Capital of Fr\w+\?$")}, SPAIN),
        ({"system": "brief"}, TALK),
        ({"model": "tiny", "user": {"contains": "France"}}, SPAIN),
        ({"endpoint": "chat"}, ELSEWHERE),
        ({"path": "/v1/chat/completions"}, ELSEWHERE),
        ({"json": {"temperature": 0.5, "messages[0].role": "system"}}, {"temperature": 1}),
        ({"json": {"messages[-1].content": re.compile("^Cap.*France")}}, SPAIN),
        ({"when": "France", "system": re.compile("be brief")}, TALK),
        ({"when": {"headers": {"authorization": "Bearer test-"}}, "user": "France"}, SPAIN),
    ],
)
def test_a_rule_is_for_the_requests_that_it_describes(
    fake: FakeShimmy, app: Asker, condition: dict[str, Any], other: dict[str, Any]
) -> None:
    rule = fake.reply("Paris", **condition)
    asked = {"text": "Capital of France?", "system": "be brief", "temperature": 0.5}
    assert app.say(**asked) == "Paris"
    assert "Paris" not in app.post(**{**asked, **other})[1]
    assert rule.used == 1


def test_rules_answer_in_the_order_of_being_added_as_often_as_they_say(
    fake: FakeShimmy, app: Asker
) -> None:
    first = fake.reply("one", times=2)
    second = fake.reply("two")
    assert (first.left, second.left) == (2, None)
    assert [app.say("Hi") for _ in range(4)] == ["one", "one", "two", "two"]
    assert (first.used, first.left) == (2, 0)
    assert (second.used, second.left) == (2, None)
    assert [request.id for request in second.requests] == [3, 4]


def test_a_removed_rule_answers_no_more_and_says_so(fake: FakeShimmy, app: Asker) -> None:
    rule = fake.reply("one")
    rule.remove()
    rule.remove()
    assert app.say("Hi") != "one"
    with pytest.raises(ShimmyError, match="is there no more"):
        _ = rule.used


# Sequences and faults


def test_answers_are_given_in_order(fake: FakeShimmy, app: Asker) -> None:
    fake.answers([502, Fail(503, {"busy": True}, {"retry-after": "1"}), "Paris", ["Ro", "me"]])
    assert app.post("Hi") == (502, "")
    assert app.post("Hi") == (503, '{"busy": true}')
    assert app.say("Hi") == "Paris"
    assert app.stream("Hi") == ["Ro", "me"]
    assert app.say("Hi") not in ("Paris", "Rome")


def test_fail_twice_then_drop_after_three_tokens_then_succeed(fake: FakeShimmy, app: Asker) -> None:
    fake.answers([502, 502, Drop(after_tokens=3), "Paris"])
    assert [app.post("Hi")[0] for _ in range(2)] == [502, 502]
    with pytest.raises(CUT):
        app.post("Hi", stream=True)
    assert app.say("Hi") == "Paris"
    assert [request.status for request in fake.requests] == [502, 502, 200, 200]
    assert fake.requests[2].tokens_sent == 3
    assert fake.requests[2].ended == "cut"


def test_several_times_a_sequence_begins_again(fake: FakeShimmy, app: Asker) -> None:
    fake.answers([500, "one"], times=4)
    assert [app.post("Hi")[0] for _ in range(5)] == [500, 200, 500, 200, 200]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("model_not_found", 404),
        ("unprocessable", 422),
        ("bad_json", 400),
        ("unsupported_media_type", 415),
        ("too_large", 413),
        ("load_failed", 502),
        ("generation_failed", 502),
    ],
)
def test_failures_of_the_real_one_have_names(
    fake: FakeShimmy, app: Asker, name: str, status: int
) -> None:
    fake.fail(name)
    assert app.post("Hi")[0] == status


def test_each_way_to_cut_an_answer(fake: FakeShimmy, app: Asker) -> None:
    with fake.drop(), pytest.raises(CUT):
        app.post("Hi")
    for how in ("reset", "close", "half_close"):
        with fake.drop(2, how=how), pytest.raises(CUT):
            app.post("Hi", stream=True)
    with fake.drop(2, how="end", reply=["a", "b", "c"]):
        assert app.stream("Hi") == ["a", "b"]
    with fake.drop(inside="character", after_tokens=0, reply="é"), pytest.raises(CUT):
        app.post("Hi", stream=True)
    with fake.drop(at="headers"), pytest.raises(CUT):
        app.post("Hi")
    with fake.drop(after_bytes=10), pytest.raises(CUT):
        app.post("Hi")
    assert [request.ended for request in fake.requests] == ["cut"] * 8


def test_garbled_bytes(fake: FakeShimmy, app: Asker) -> None:
    with fake.garble("missing_done", reply="x"):
        assert "[DONE]" not in app.post("Hi", stream=True)[1]
    with fake.garble("duplicate_done", reply="x"):
        assert app.post("Hi", stream=True)[1].count("[DONE]") == 2
    with fake.garble("invalid_utf8", reply="x"), pytest.raises(UnicodeDecodeError):
        app.post("Hi", stream=True)
    with fake.garble("malformed_event", after_tokens=1, reply=["a", "b", "c"]):
        assert app.stream("Hi") == ["a", "c"]


def test_a_stall_goes_on_and_a_hang_does_not(fake: FakeShimmy, app: Asker) -> None:
    fake.answers([Reply(["a", "b"], [Stall(0.05, after_tokens=1)])])
    assert app.stream("Hi") == ["a", "b"]
    stalled = fake.last_request
    assert stalled.duration is not None
    assert stalled.duration >= 0.05
    assert stalled.faults == ("stall 0.05 s after 1 token",)
    with fake.hang(after_tokens=1):
        with app.opened("Hi"):
            assert fake.wait_for_request(count=2, finished=False).in_flight
        assert fake.wait_for_request(count=2).hung_up


# Time


def test_the_schedule_of_an_answer_is_kept_beside_the_times_measured(
    fake: FakeShimmy, app: Asker
) -> None:
    fake.reply(["a", "b", "c"], first_token=0.05, per_token=0.01)
    app.stream("Hi")
    request = fake.last_request
    assert request.schedule == pytest.approx((0.05, 0.06, 0.07))
    assert all(
        sent >= due - 0.001 for sent, due in zip(request.measured, request.schedule, strict=True)
    )


def test_zero_delay_is_zero(fake: FakeShimmy, app: Asker) -> None:
    fake.reply(["a"] * 5)
    app.stream("Hi")
    assert set(fake.last_request.schedule) <= {0.0}


def test_latency_is_for_all_answers_without_their_own(fake: FakeShimmy, app: Asker) -> None:
    fake.latency(tokens_per_second=100)
    app.stream("Hi", max_tokens=3)
    assert fake.last_request.schedule == pytest.approx((0.0, 0.01, 0.02))
    fake.reply(["a", "b"], per_token=0.02)
    app.stream("Hi")
    assert fake.last_request.schedule == pytest.approx((0.0, 0.02))


def test_jitter_is_the_same_for_the_same_seed(controlled: tuple[str, str]) -> None:
    url, token = controlled
    seen = []
    for seed in (7, 7, 8):
        with FakeShimmy(url, token, key="jittered", seed=seed) as fake:
            assert fake.seed == seed
            fake.reply(["a", "b", "c"], per_token=0.01, jitter=0.005)
            Asker(url, "jittered", "tiny").stream("Hi")
            seen.append(fake.last_request.schedule)
            assert fake.journal().is_random
    assert seen[0] == seen[1] != seen[2]


def test_a_model_loads_once(fake: FakeShimmy, app: Asker) -> None:
    fake.load_time(0.1)
    durations = []
    for _ in range(2):
        app.say("Hi")
        durations.append(fake.last_request.duration or 0.0)
    assert durations[0] >= 0.1 > durations[1]


def test_serialised_requests_wait_for_each_other(fake: FakeShimmy, app: Asker) -> None:
    fake.serialise()
    fake.reply(["a", "b"], per_token=0.05)
    threads = [threading.Thread(target=app.stream, args=("Hi",)) for _ in range(2)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began >= 0.1


# Scripts


def test_a_whole_script(fake: FakeShimmy, app: Asker) -> None:
    fake.reply("old")
    fake.script({"seed": 5, "rules": [{"reply": "new", "times": 1}]})
    assert fake.seed == 5
    assert app.say("Hi") == "new"
    assert app.say("Hi") not in ("old", "new")


# Mistakes are told where they are made


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda fake: fake.reply(5), r"reply\(\): reply: 5 is not a string or a list"),
        (lambda fake: fake.reply("x", times=0), r"reply\(\): times: 0 is not a whole number from"),
        (lambda fake: fake.reply("x", per_token=-1), r"reply\(\): per_token: -1 is not a number"),
        (lambda fake: fake.reply("x", when=5), r"when: 5 is no condition"),
        (lambda fake: fake.reply("x", when=lambda _: True), "A function cannot be sent"),
        (lambda fake: fake.reply("x", when={"usr": "y"}), r"usr: there is no such member"),
        (lambda fake: fake.reply("x", endpoint="nope"), r"endpoint: 'nope' is not one of: chat"),
        (lambda fake: fake.reply("x", when="a", user="b"), "user is given twice"),
        (lambda fake: fake.fail("nope"), r"fail\(\): fail: 'nope' is not one of: model_not_found"),
        (lambda fake: fake.fail(42), r"fail\(\): fail: 42 is not .* a whole number from 200"),
        (lambda fake: fake.garble("nope"), r"garble\(\): how: 'nope' is not one of"),
        (lambda fake: fake.drop(-1), r"drop\(\): after_tokens: -1 is not a whole number"),
        (lambda fake: fake.drop(at="middle"), r"drop\(\): at: 'middle' is not one of: start"),
        (lambda fake: fake.drop(3, at="end"), r"drop\(\): at: a position says one of"),
        (lambda fake: fake.stall(-1), r"stall\(\): seconds: -1 is not a number"),
        (lambda fake: fake.answers("Paris"), r"answers\(\): 'Paris' is not a list"),
        (lambda fake: fake.answers([]), r"answers\(\): answers: at least 1"),
        (
            lambda fake: fake.answers(["a", Garble("nope")]),
            r"answers\(\): answers\[1\].faults\[0\].how: 'nope'",
        ),
        (lambda fake: fake.latency(per_token=-1), r"latency\(\): per_token: -1"),
        (lambda fake: fake.load_time(-1), r"load_time\(\): -1 is not a number"),
        (lambda fake: fake.script({"rule": []}), r"script: rule: there is no such member"),
        (lambda fake: fake.script({"life": {}}), r"make_shimmy_server\(faults=…\)"),
        (lambda fake: fake.crash(), r"crash\(\): it would end .* make_shimmy_server\(\).fake"),
        (lambda fake: fake.refuse(1), r"refuse\(\): it would .* make_shimmy_server\(\).fake"),
        (
            lambda fake: fake.script({"rules": [{"faults": [{"do": "exit"}]}]}),
            r"make_shimmy_server\(\).fake",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_by_the_arguments_name_and_changes_nothing(
    fake: FakeShimmy, app: Asker, call: Any, named: str
) -> None:
    fake.reply("kept")
    with pytest.raises(ShimmyError, match=named) as caught:
        call(fake)
    assert caught.value.code == ShimmyErrorCode.USAGE_ERROR
    assert isinstance(caught.value, ValueError)
    assert app.say("Hi") == "kept"
    assert len(fake.journal().rules) == 1


def test_a_misspelt_argument_is_a_type_error(fake: FakeShimmy) -> None:
    with pytest.raises(TypeError, match=r"reply\(\) has no argument 'tmies'"):
        fake.reply("x", tmies=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"answers\(\) has no argument 'per_token'"):
        fake.answers(["x"], per_token=1)  # type: ignore[call-arg]


def test_faults_are_written_once_for_all_places() -> None:
    with pytest.raises(NotImplementedError):
        Fault().document()
