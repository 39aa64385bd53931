"""What a script may say, and how a mistake in it is told; the schema and the reader agree."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_shimmy.script import rules
from fake_shimmy.script.rules import GARBLES, REAL_FAILURES
from fake_shimmy.script.shapes import ScriptError

VALIDATOR = jsonschema.Draft202012Validator(rules.schema())


def rule(**members: Any) -> dict[str, Any]:
    return {"rules": [members]}


def test_an_empty_script_changes_nothing() -> None:
    script = rules.read({})
    assert (script.rules, script.strict, script.serialise, script.load_time) == (
        [],
        False,
        False,
        0,
    )
    assert (script.latency.first_token, script.latency.per_token) == (0, 0)
    assert script.life.health is None
    assert script.life.exit is None


def test_a_rule_with_one_answer_is_never_used_up() -> None:
    [one] = rules.read(rule(reply="x")).rules
    assert one.times is None
    assert [answer.reply for answer in one.answers] == ["x"]


def test_a_rule_with_answers_gives_each_once() -> None:
    [several] = rules.read(rule(answers=[{"reply": "a"}, {"fail": 502}])).rules
    assert several.times == 2


def test_answers_are_repeated_as_often_as_times_says() -> None:
    [several] = rules.read(rule(answers=[{"reply": "a"}, {"fail": 502}], times=6)).rules
    assert several.times == 6


def test_tokens_per_second_is_another_way_to_say_per_token() -> None:
    assert rules.read({"latency": {"tokens_per_second": 50}}).latency.per_token == 0.02


def test_a_fault_is_before_the_headers_where_nothing_else_is_said() -> None:
    [fault] = rules.read(rule(faults=[{"do": "reset"}])).rules[0].answers[0].faults
    assert fault.at.place == "start"


def test_damage_is_to_the_first_token_where_nothing_else_is_said() -> None:
    [fault] = (
        rules.read(rule(faults=[{"do": "garble", "how": GARBLES[0]}])).rules[0].answers[0].faults
    )
    assert fault.at.tokens == 0


NESTED: list[Any] = []
for _ in range(101):
    NESTED = [NESTED]

MISTAKES = [
    (3, "script: 3 is not an object"),
    ([], "script: [] is not an object"),
    ({"rules": {}}, "rules: {} is not a list"),
    ({"sead": 1}, "sead: there is no such member; there are: seed, strict,"),
    ({"seed": 1.5}, "seed: 1.5 is not a whole number from 0 to"),
    ({"seed": True}, "seed: True is not a whole number"),
    ({"strict": 1}, "strict: 1 is not true or false"),
    ({"latency": {"per_token": float("nan")}}, "latency.per_token: nan is not a number from 0 to"),
    ({"latency": {"per_token": -1}}, "latency.per_token: -1 is not a number from 0 to"),
    (
        {"latency": {"per_token": 1, "tokens_per_second": 1}},
        "latency: per_token and tokens_per_second say the same: give one of them",
    ),
    (rule(reply=3), "rules[0].reply: 3 is not a string or a list"),
    (rule(reply=["a", 3]), "rules[0].reply[1]: 3 is not a string"),
    (rule(reply="a", fail=500), "rules[0]: reply and fail contradict each other: give one of them"),
    (rule(reply="a", answers=[{}]), "rules[0]: a rule has either answers or the members of one"),
    (rule(answers=[]), "rules[0].answers: at least 1 expected, 0 given"),
    (rule(fail="no_model"), "rules[0].fail: 'no_model' is not one of: model_not_found,"),
    (rule(fail=99), "rules[0].fail: 99 is not an object or one of: model_not_found,"),
    (rule(fail={"status": 600}), "rules[0].fail.status: 600 is not a whole number from 200 to 599"),
    (rule(fail={"headers": {"a b": "c"}}), "rules[0].fail.headers: 'a b' is not a header's name"),
    (rule(fail={"headers": {"a": "\r\n"}}), "rules[0].fail.headers.a: '\\r\\n' is not a header's"),
    (rule(times=0), "rules[0].times: 0 is not a whole number from 1 to"),
    (rule(chance=1.1), "rules[0].chance: 1.1 is not a number from 0 to 1"),
    (rule(when={"endpoint": "images"}), "rules[0].when.endpoint: 'images' is not one of:"),
    (
        rule(when={"user": {}}),
        "rules[0].when.user: a matcher says one of: contains, matches, equal",
    ),
    (rule(when={"user": {"matches": "("}}), "rules[0].when.user.matches: '(' is not a regular"),
    (rule(when={"user": 3}), "rules[0].when.user: 3 is not a string or an object"),
    (rule(faults=[{}]), "rules[0].faults[0]: a fault says what to do: one of reset, close,"),
    (rule(faults=[{"do": "garble"}]), "rules[0].faults[0]: how goes with garble: one of"),
    (rule(faults=[{"do": "reset", "how": "content_type"}]), "rules[0].faults[0]: how goes with"),
    (
        rule(faults=[{"do": "exit", "signal": "KILL"}]),
        "rules[0].faults[0].signal: 'KILL' is not the",
    ),
    (rule(faults=[{"do": "exit", "signal": "SIG_DFL"}]), "rules[0].faults[0].signal: 'SIG_DFL' is"),
    (rule(faults=[{"do": "reset", "at": {}}]), "rules[0].faults[0].at: a position says one of:"),
    (
        rule(faults=[{"do": "reset", "at": {"bytes": 1, "tokens": 1}}]),
        "rules[0].faults[0].at: a position says one of:",
    ),
    (
        rule(faults=[{"do": "reset", "at": {"bytes": 1, "inside": "json"}}]),
        "rules[0].faults[0].at: inside goes with tokens",
    ),
    (rule(reply=["\ud800"]), "rules[0].reply[0]: '\\ud800' has half a character"),
    (rule(fail={"body": {"a": ["\ud800"]}}), "rules[0].fail.body.a[0]: '\\ud800' has half a"),
    (rule(when={"json": {"\ud800": 1}}), "rules[0].when.json: '\\ud800' has half a character"),
    (
        rule(when={"json": {"a": NESTED}}),
        "rules[0].when.json.a[0][0]",
    ),
    ({"life": {"exit": {}}}, "life.exit: exit says one of: after_requests, after_seconds"),
    ({"life": {"health": "bad"}}, "life.health: 'bad' is not one of: never, garbage, silent"),
    ({"life": {"health": []}}, "life.health: at least 1 expected, 0 given"),
    ({"life": {"list": "empty"}}, "life.list: 'empty' is not one of: garbage, hang"),
]


@pytest.mark.parametrize(("document", "text"), MISTAKES, ids=[text for _, text in MISTAKES])
def test_a_mistake_is_told_with_its_place_and_what_is_allowed(document: Any, text: str) -> None:
    with pytest.raises(ScriptError) as caught:
        rules.read(document)
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    "document",
    [
        rule(reply="a", fail=500),
        rule(when={"user": {}}),
        rule(faults=[{}]),
        rule(faults=[{"do": "reset", "at": {}}]),
        rule(faults=[{"do": "reset", "at": {"bytes": 1, "tokens": 1}}]),
        rule(faults=[{"do": "reset", "at": {"bytes": 1, "inside": "json"}}]),
        {"life": {"exit": {}}},
        {"life": {"exit": {"after_requests": 1, "after_seconds": 1}}},
    ],
    ids=str,
)
def test_the_schema_refuses_contradictions_too(document: Any) -> None:
    assert not VALIDATOR.is_valid(document)
    with pytest.raises(ScriptError):
        rules.read(document)


@pytest.mark.parametrize("name", REAL_FAILURES)
def test_the_real_failures_are_known_by_name(name: str) -> None:
    assert rules.read(rule(fail=name)).rules[0].answers[0].fail == name


SECONDS = st.floats(0, 86_400, allow_nan=False)
MATCHER = st.one_of(
    st.text(),
    st.fixed_dictionaries({"contains": st.text()}),
    st.fixed_dictionaries({"matches": st.just("a+")}),
)
POSITION = st.one_of(
    st.sampled_from(rules.PLACES),
    st.fixed_dictionaries({"bytes": st.integers(0, 10**9)}),
    st.fixed_dictionaries(
        {"tokens": st.integers(0, 10**9)}, optional={"inside": st.sampled_from(rules.INSIDES)}
    ),
)
FAULT = st.one_of(
    st.fixed_dictionaries(
        {"do": st.sampled_from([do for do in rules.ACTIONS if do != "garble"])},
        optional={"at": POSITION, "seconds": SECONDS, "status": st.integers(0, 255)},
    ),
    st.fixed_dictionaries(
        {"do": st.just("garble"), "how": st.sampled_from(GARBLES)}, optional={"at": POSITION}
    ),
)
LATENCY = st.fixed_dictionaries(
    {}, optional={"first_token": SECONDS, "per_token": SECONDS, "jitter": SECONDS}
)
ANSWER = st.fixed_dictionaries(
    {},
    optional={
        "reply": st.one_of(st.text(), st.lists(st.text())),
        "latency": LATENCY,
        "faults": st.lists(FAULT, max_size=2),
    },
)
RULE = st.one_of(
    ANSWER,
    st.fixed_dictionaries(
        {"answers": st.lists(ANSWER, min_size=1, max_size=3)},
        optional={
            "name": st.text(),
            "times": st.integers(1, 9),
            "seconds": SECONDS,
            "chance": st.floats(0, 1),
            "when": st.fixed_dictionaries(
                {},
                optional={
                    "user": MATCHER,
                    "model": MATCHER,
                    "endpoint": st.sampled_from(list(rules.ENDPOINTS)),
                    "json": st.dictionaries(st.text(), st.one_of(st.integers(), MATCHER)),
                },
            ),
        },
    ),
)
SCRIPT = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(0, 2**63 - 1),
        "strict": st.booleans(),
        "latency": LATENCY,
        "rules": st.lists(RULE, max_size=3),
    },
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda values: st.one_of(st.lists(values), st.dictionaries(st.text(), values)),
    max_leaves=8,
)


@given(SCRIPT)
def test_what_is_meant_is_taken_by_reader_and_schema(document: Any) -> None:
    rules.read(document)
    assert VALIDATOR.is_valid(document)


@st.composite
def spoiled(draw: st.DrawFn) -> Any:
    """A script with one value replaced by any other."""
    document = draw(SCRIPT)
    places: list[tuple[Any, Any]] = []

    def collect(value: Any) -> None:
        for key in value if isinstance(value, dict) else range(len(value)):
            places.append((value, key))
            if isinstance(value[key], dict | list):
                collect(value[key])

    collect(document)
    if not places:
        return draw(JSON)
    container, key = draw(st.sampled_from(places))
    container[key] = draw(JSON)
    return document


@pytest.mark.slow
@given(spoiled())
def test_what_the_schema_refuses_the_reader_refuses(document: Any) -> None:
    if not VALIDATOR.is_valid(document):
        with pytest.raises(ScriptError):
            rules.read(document)
