"""The file in which a server keeps every exchange, for a report about the run."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fake_shimmy.stage import exchange_log
from fake_shimmy.stage.exchange_log import ExchangeLog
from fake_shimmy.stage.journal import Record
from fake_shimmy.stage.known_head import know
from fake_shimmy.wire.head import Head
from tests.fake_shimmy.conftest import Shimmy
from tests.support.staged_server import CHAT, Stage, staged_server


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "exchanges.jsonl"


@pytest.fixture
def shimmy(tmp_path: Path) -> Shimmy:
    return Shimmy([sys.executable, "-m", "fake_shimmy"], tmp_path, "default")


@pytest.fixture
def logged(shimmy: Shimmy, file: Path) -> Iterator[Stage]:
    with staged_server(shimmy, FAKE_SHIMMY_EXCHANGES=str(file)) as stage:
        yield stage


def exchanges(file: Path) -> Iterator[dict[str, Any]]:
    """Each line, with the texts that follow it."""
    with open(file, "rb") as log:
        for line in log:
            document = json.loads(line)
            if "raw" in document:
                document["raw"] = [log.read(size) for size in document["raw"]]
                assert log.read(1) == b"\n"
            yield document


def test_an_exchange_is_kept_with_every_byte_and_its_moment(logged: Stage, file: Path) -> None:
    session = logged.session()
    session.add(reply=["one ", "two"])
    raw = session.ask(CHAT)
    (line,) = exchanges(file)
    assert line["raw"][2] == raw
    assert sum(line["pieces"][1::2]) == len(raw)
    moments = line["pieces"][::2]
    assert moments == sorted(moments)
    assert (line["status"], line["rule_name"], line["ended"]) == (200, "rule 1", "complete")
    assert line["raw"][1] == CHAT.body()


def test_no_key_is_written(logged: Stage, file: Path) -> None:
    session = logged.session()
    session.ask(CHAT)
    assert session.key not in file.read_text()
    assert b"authorization: ***" in next(exchanges(file))["raw"][0].splitlines()


def test_exchanges_outlive_their_sessions(logged: Stage, file: Path) -> None:
    first, second = logged.session(), logged.session()
    first.ask(CHAT)
    first.open()
    first.ask(CHAT)
    second.ask(CHAT)
    one, same, other = (line["session"] for line in exchanges(file))
    assert one == same != other


def test_the_file_is_bounded(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_log, "MAX_FILE", 8000)
    log = ExchangeLog(str(file))
    record = Record(know(Head(b"POST", b"/x", False)), b"b" * 1000, 1)
    record.sent = []
    record.sends(b"s" * 300)
    record.end("complete")
    for _ in range(40):
        log.write("key", record)
    assert file.stat().st_size < 8000 + 100
    written = list(exchanges(file))
    assert written[-1] == {"kind": "full"}
    assert (written[0]["raw"][1], written[-2]["raw"]) == (b"b" * 1000, [b"", b"", b""])
    assert written[-2]["body_size"] == 1000


def test_a_file_that_cannot_be_written_harms_no_answer(shimmy: Shimmy, tmp_path: Path) -> None:
    where = str(tmp_path / "no" / "such" / "folder")
    with staged_server(shimmy, FAKE_SHIMMY_EXCHANGES=where) as stage:
        session = stage.session()
        session.add(reply=["fine"])
        assert session.tokens() == ["fine"]
