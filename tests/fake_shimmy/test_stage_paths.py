"""Rules for what asks no model: a path names it, and no other rule is used up by it."""

from __future__ import annotations

import pytest

from tests.support.staged_server import CHAT_WHOLE


@pytest.mark.parametrize("path", ["/v1/models", "/health", "/metrics", "/v1/embeddings"])
def test_a_rule_that_names_a_path_answers_it(session, path):
    session.add(when={"path": path}, fail={"status": 503, "body": {"error": "busy"}}, times=1)
    routed = f"/~{session.key}{path}"
    answer = session.stage.running.request("GET", routed)
    assert (answer.status, answer.body) == (503, b'{"error": "busy"}')
    assert session.stage.running.request("GET", routed).status != 503
    assert [record["rule"] for record in session.records] == [1, None]


def test_a_rule_without_a_path_is_not_used_up_by_what_asks_no_model(session):
    session.add(fail=503, times=1)
    assert session.stage.running.request("GET", f"/~{session.key}/v1/models").status == 200
    assert session.ask(CHAT_WHOLE).startswith(b"HTTP/1.1 503 ")


def test_a_fault_can_be_of_any_path(session):
    session.add(when={"path": "/v1/models"}, faults=[{"do": "close", "at": "body"}])
    raw = session.stage.running.send(b"GET /~%b/v1/models HTTP/1.1\r\n\r\n" % session.key.encode())
    assert raw.startswith(b"HTTP/1.1 200 OK\r\n")
    assert raw.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(("at", "status"), [("start", None), ({"bytes": 11}, None), ("body", 200)])
def test_a_status_that_was_not_sent_is_none_in_the_journal(session, at, status):
    session.add(faults=[{"do": "close", "at": at}])
    session.ask(CHAT_WHOLE)
    assert session.records[0]["status"] == status
