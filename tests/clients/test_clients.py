"""Clients that nobody here wrote see the same of the fake and of the real one, and what the page
about them says.
"""

from __future__ import annotations

import difflib
import json
from collections import Counter
from typing import Any

import pytest

from tests.clients import expectations, page, records

pytestmark = pytest.mark.slow

SERVERS = ["fake", pytest.param("real", marks=pytest.mark.shimmy_real)]


def lines(record: Any) -> list[str]:
    return json.dumps(record, indent=1, ensure_ascii=False, sort_keys=True).splitlines()


@pytest.mark.shimmy_real
@pytest.mark.parametrize("client", records.PROGRAMS)
def test_a_client_cannot_tell_the_fake_from_the_real_one(client, see_any):
    real, fake = see_any(client, "real"), see_any(client, "fake")
    assert fake.keys() == real.keys()
    differences = [
        line
        for name in real
        if fake[name] != real[name]
        for line in difflib.unified_diff(
            lines(real[name]), lines(fake[name]), f"real {name}", f"fake {name}", lineterm="", n=1
        )
    ]
    assert not differences, "\n".join(["", *differences])


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("client", records.PROGRAMS)
def test_a_client_sees_what_the_page_says(client, server, see):
    seen = see(client, server)
    wrong = [
        f"{name}: {difference}"
        for row in page.TABLES[client]
        for name in row.scenarios.split()
        for difference in expectations.differences(row.expected, seen[name])
    ]
    assert not wrong, "\n".join(["", *wrong])


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("client", ["openai", "anthropic", "litellm", "websockets"])
def test_both_kinds_of_a_client_see_the_same(client, server, see):
    seen = see(client, server)
    pairs = [(name, kind + name) for name in seen for kind in ("async_", "sync_")]
    compared = [(one, other) for one, other in pairs if other in seen]
    assert compared
    for one, other in compared:
        # The classes are called AsyncStream and so on; a warning comes the first time only.
        first, second = (
            {key: value for key, value in seen[name].items() if key not in ("type", "warnings")}
            for name in (one, other)
        )
        assert first == second, one


@pytest.mark.parametrize("client", records.PROGRAMS)
def test_every_scenario_is_on_the_page_once(client, see):
    told = Counter(name for row in page.TABLES[client] for name in row.scenarios.split())
    seen = set(see(client, "fake"))
    paired = {kind + name for name in seen for kind in ("async_", "sync_")}
    assert told == Counter(seen - paired)


def test_the_tables_on_the_page_are_those_of_the_tests():
    text = page.PAGE.read_text()
    assert text == page.generate(text), "run: python -m tests.clients.page"


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ({"a": 1}, {"a": 2, "b": 1}),
        ({"a": 1}, {}),
        ({"a": {"b": [1, "x…"]}}, {"a": {"b": [1, "y"]}}),
        ({"a": [1]}, {"a": [1, 2]}),
        ({"a": {}}, {"a": None}),
        ({"a": 0}, {"a": False}),
        ({"a": "x"}, {"a": "xy"}),
    ],
)
def test_a_record_that_is_not_as_the_page_says_is_noticed(expected, found):
    assert expectations.differences(expected, found)


def test_a_record_may_hold_more_than_the_page_says():
    assert not expectations.differences(
        {"a": ["x…", {"b": None}]}, {"a": ["xyz", {"b": None, "c": 1}], "d": 2}
    )
