"""What the client did: retries, pauses, hang-ups, truncated answers, as a verdict."""

from __future__ import annotations

import contextlib
import http.client
import time

import pytest

from pytest_shimmy import FakeShimmy
from pytest_shimmy.outcomes import Drop
from tests.support.asker import Asker

CUT = (http.client.HTTPException, ConnectionError)


def retrying(app: Asker, attempts: int, pause: float) -> int:
    """An application that asks again after a failure; returns the last status."""
    status = 0
    for attempt in range(attempts):
        if attempt:
            time.sleep(pause)
        with contextlib.suppress(*CUT):
            status = app.post("Hi", stream=True)[0]
            if status == 200:
                break
    return status


def hanging_up(app: Asker, after: bytes) -> None:
    """An application that leaves when it has read `after`."""
    with app.opened("Hi") as peer:
        read = b""
        while after not in read:
            read += peer.recv(65536)


def test_retries_and_their_pauses_are_counted_per_call(fake: FakeShimmy, app: Asker) -> None:
    fake.answers([502, Drop(), "Paris"])
    assert retrying(app, 5, 0.02) == 200
    app.say("something else")
    report = fake.client_report()
    assert [call.retries for call in report.calls] == [2, 0]
    assert report.calls[0].succeeded
    assert report.retries == 2
    assert len(report.pauses) == 2
    assert all(0.02 <= pause < 5 for pause in report.pauses)
    assert fake.assert_client(retries=2, min_pause=0.02, max_pause=5).retries == 2
    assert "502; after 0." in str(report)
    assert "again: cut before the answer" in str(report)
    assert "verdict: 2 calls, 2 retries, 0 hang-ups, 0 truncated answers" in str(report)


def test_the_same_question_after_a_success_is_no_retry(fake: FakeShimmy, app: Asker) -> None:
    for _ in range(3):
        app.say("Hi")
    assert fake.client_report().retries == 0
    assert len(fake.client_report().calls) == 3


def test_what_the_client_should_have_done_is_told_with_what_it_did(
    fake: FakeShimmy, app: Asker
) -> None:
    fake.fail(502)
    retrying(app, 3, 0.01)
    with pytest.raises(AssertionError) as caught:
        fake.assert_client(retries=range(2), min_pause=1, max_pause=0.001, hung_up_after=1)
    text = str(caught.value)
    assert "it made 2 retries, not 0 to 1" in text
    assert "it paused only 0.0" in text
    assert "before a retry, not 1 s" in text
    assert "more than 0.001 s" in text
    assert "it never hung up; it should have after 1 token\n" in text
    assert "what the client did:\nPOST /v1/chat/completions: 502; after " in text


def test_a_hang_up_is_seen_with_the_tokens_sent_by_then(fake: FakeShimmy, app: Asker) -> None:
    fake.reply(["one", "two", "three"], per_token=0.2)
    hanging_up(app, b'"two"')
    request = fake.wait_for_request()
    assert request.hung_up
    assert request.tokens_sent == 2
    assert fake.assert_client(hung_up_after=2).hang_ups == (request,)
    fake.assert_client(hung_up_after=range(1, 4))
    assert "hung up after 2 tokens" in str(fake.client_report())
    with pytest.raises(AssertionError, match="hung up after 2 tokens, not after 3"):
        fake.assert_client(hung_up_after=3)


# Truncated answers


def test_a_truncated_answer_that_nobody_mentions_was_taken_for_a_whole_one(
    fake: FakeShimmy, app: Asker
) -> None:
    fake.drop(1, how="end", reply=["Pa", "ris"])
    with fake.watch_client() as client:
        assert app.stream("Hi") == ["Pa"]
    assert client.report is not None
    assert client.report.truncated == client.report.taken_as_whole == (fake.last_request,)
    assert "it took a truncated answer for a whole one" in str(client.report)
    with pytest.raises(AssertionError, match="took a truncated answer for a whole one"):
        fake.assert_client(noticed_truncation=True)


def test_an_exception_is_a_way_to_notice(fake: FakeShimmy, app: Asker) -> None:
    fake.drop(1)
    with pytest.raises(CUT), fake.watch_client() as client:
        app.stream("Hi")
    assert isinstance(client.raised, CUT)
    assert fake.assert_client(noticed_truncation=True).taken_as_whole == ()


def test_asking_again_is_a_way_to_notice(fake: FakeShimmy, app: Asker) -> None:
    fake.answers([Drop(after_tokens=1), "Paris"])
    with fake.watch_client():
        assert retrying(app, 2, 0) == 200
    report = fake.assert_client(noticed_truncation=True, retries=1)
    assert len(report.truncated) == 1


def test_the_code_under_test_may_have_a_way_of_its_own(fake: FakeShimmy, app: Asker) -> None:
    fake.drop(1, how="end")
    with fake.watch_client() as client:
        app.stream("Hi")
        client.noticed()
    fake.assert_client(noticed_truncation=True)


def test_what_nobody_watched_is_not_judged(fake: FakeShimmy, app: Asker) -> None:
    with pytest.raises(AssertionError, match="no answer was truncated"):
        fake.assert_client(noticed_truncation=True)
    fake.drop(1, how="end")
    app.stream("Hi")
    assert fake.client_report().taken_as_whole == ()
    assert "a truncated answer was not retried" in str(fake.client_report())
    with pytest.raises(AssertionError, match=r"with shimmy_fake\.watch_client\(\)"):
        fake.assert_client(noticed_truncation=True)


def test_nothing_asked_is_nothing_done(fake: FakeShimmy) -> None:
    assert str(fake.client_report()) == "the client sent no request"
    fake.assert_client(retries=0)
