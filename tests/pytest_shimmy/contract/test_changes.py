"""What many differences have in common, told once."""

from __future__ import annotations

import random
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from pytest_shimmy.contract import changes, differences
from pytest_shimmy.contract.case import Case, Command
from pytest_shimmy.contract.changes import Change
from pytest_shimmy.contract.differences import Edit
from pytest_shimmy.contract.recordings import Entry, Recording
from pytest_shimmy.contract.report import WIDTH, Comparison, lines
from pytest_shimmy.contract.verify import Result

CORS = "{the four CORS headers}\r\n"


def http(body: str, headers: str = "") -> str:
    return f"HTTP/1.1 200 OK\r\n{headers}content-length: {len(body)}\r\n\r\n{body}"


def recording(release: str, answers: Mapping[str, str]) -> Recording:
    entries = {
        f"routes: {name}": Entry("0", {"seen": {"a": [text, "closed"]}})
        for name, text in answers.items()
    }
    return Recording(release, "adapter", "here", (), entries)


def results(before: Recording, after: Recording) -> list[Result]:
    found = []
    for name, entry in before.entries.items():
        edits = differences.gist(entry.observation, after.entries[name].observation)
        case = Case("routes", name.removeprefix("routes: "), Command(()))
        found.append(Result(case, "differs" if edits else "same", "", edits))
    return found


def compared(
    before: Mapping[str, str], after: Mapping[str, str], *others: Mapping[str, str]
) -> list[Change]:
    old, new = recording("1.0.0", before), recording("2.0.0", after)
    known = [recording(f"1.{n}.0", answers) for n, answers in enumerate(others, 1)]
    return changes.changes(results(old, new), old, known)


BEFORE = {f"GET /{n}": http(f'{{"n":{n}}}', CORS) for n in range(30)}
AFTER = {name: text.replace(CORS, "") for name, text in BEFORE.items()}


def test_a_header_that_is_gone_everywhere_is_one_change() -> None:
    (change,) = compared(BEFORE, AFTER)
    assert change.edits == (Edit("seen", CORS, ""),)
    assert (len(change.checks), change.explained) == (30, 30)


def test_what_remains_comes_after_what_is_everywhere() -> None:
    more = {**AFTER, "GET /7": http('{"n":7,"x":true}'), "GET /9": http('{"n":9,"x":true}')}
    everywhere, remains = compared(BEFORE, more)
    assert (everywhere.edits, everywhere.explained) == ((Edit("seen", CORS, ""),), 28)
    assert remains.edits == (Edit("seen", '"n":7}', '"n":7,"x":true}'),)
    assert (remains.checks, remains.explained) == (("routes: GET /7", "routes: GET /9"), 2)


def test_a_length_that_follows_from_the_body_is_no_change() -> None:
    before = {"GET /": http("yes")}
    (change,) = compared(before, {"GET /": http("no")})
    assert change.edits == (Edit("seen", "yes", "no"),)
    (change,) = compared(before, {"GET /": http("yes").replace("3", "4")})
    assert change.edits == (Edit("seen", "content-length: 3\r\n", "content-length: 4\r\n"),)


def test_numbers_alone_make_no_change_of_their_own() -> None:
    before = {f"GET /{n}": f"column {n}" for n in range(9)}
    after = {f"GET /{n}": f"column {n + 20}" for n in range(9)}
    (change,) = compared(before, after)
    assert change.edits == (Edit("seen", "column 0", "column 20"),)


def test_a_change_that_another_recording_shows_is_known() -> None:
    other = {**AFTER, "GET /7": "something else"}
    more = {**AFTER, "GET /8": http("{}")}
    known = [change.known for change in compared(BEFORE, more, BEFORE, AFTER)]
    assert known == [("1.2.0-cpu-only",), ()]
    assert [change.known for change in compared(BEFORE, more, other)] == [(), ()]


@given(st.lists(st.sampled_from(sorted(BEFORE)), unique=True), st.randoms())
def test_the_order_of_the_results_does_not_matter(odd: list[str], chance: random.Random) -> None:
    after = {**AFTER, **{name: http("{}") for name in odd}}
    old, new = recording("1.0.0", BEFORE), recording("2.0.0", after)
    found = results(old, new)
    mixed = found[:]
    chance.shuffle(mixed)
    assert changes.changes(mixed, old, [old]) == changes.changes(found, old, [old])


def report(before: Mapping[str, str], after: Mapping[str, str], *, everything: bool) -> list[str]:
    old, new = recording("1.0.0", before), recording("2.0.0", after)
    seen = recording("1.1.0", AFTER)
    comparison = Comparison(new.of, "it", old, results(old, new), [old, seen])
    return list(lines(comparison, everything))


def test_the_report_tells_a_change_once() -> None:
    told = report(BEFORE, {**AFTER, "GET /7": http("{}")}, everything=False)
    assert "change 1: 30 checks, 29 of which differ in nothing but this" in told
    assert "    - {the four CORS headers}" in told
    assert "  as in 1.1.0-cpu-only" in told
    assert "checks that differ: 30; changes: 2, of which new: 1" in told
    assert len(told) < 25


@given(st.text(min_size=60), st.text(min_size=1), st.text(min_size=1))
def test_the_report_fits_a_terminal(shared: str, was: str, now: str) -> None:
    before = {"GET /": f"{shared}{was}{shared}"}
    told = report(before, {"GET /": f"{shared}{now}{shared}"}, everything=False)
    assert max(map(len, told)) <= WIDTH
    "\n".join(told).encode()


def test_what_is_shown_of_a_long_line_is_where_it_differs() -> None:
    edit = Edit("stdout", "a" * 90 + "one" + "b" * 90 + "\n", "a" * 90 + "two" + "b" * 90 + "\n")
    was, now = changes.lines(edit)
    assert was == f"- …{'a' * 24}one{'b' * 24}…"
    assert now == f"+ …{'a' * 24}two{'b' * 24}…"


def test_line_ends_show_where_they_are_the_difference() -> None:
    assert changes.lines(Edit("seen", "a: b\r\n", "a: b\n")) == ["- a: b\\r", "+ a: b"]
    assert changes.lines(Edit("seen", "a: b\r\n", "a: c\r\n")) == ["- a: b", "+ a: c"]


def test_texts_of_any_number_can_be_left() -> None:
    after = {name: f"{text} {name.translate(SPELLED)}" for name, text in BEFORE.items()}
    told = report(BEFORE, after, everything=False)
    assert "more changes: 10, in checks: 10 (--all prints them; -k chooses)" in told
    assert "checks that differ: 30; changes: 30, of which new: 30" in told
    assert len(report(BEFORE, after, everything=True)) > len(told)


SPELLED: Mapping[int, str] = dict(zip(b"0123456789", "abcdefghij", strict=True))
