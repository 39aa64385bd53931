"""The file in which a server keeps every exchange, for a report about the run."""

from __future__ import annotations

import base64
import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fake_shimmy.stage import exchange_log, journal
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


NUMBERS = (
    *("time", "duration", "status", "tokens", "kept", "body_size", "bytes", "kept_of_answer"),
    *("writes", "tokens_with_moments"),
)
"""Of an exchange's line, in the order in which it packs them."""


def lines(file: Path) -> Iterator[dict[str, Any]]:
    """Each line; of an exchange with its head, and the texts that follow it."""
    heads = {}
    with open(file, "rb") as log:
        for line in log:
            if line.startswith(b"{"):
                document = json.loads(line)
                if document["kind"] == "head":
                    heads[document["name"]] = document
                    continue
                yield document
                continue
            name, ended, packed, *more = line.decode().rstrip("\n").split(" ", 3)
            numbers = base64.b64decode(packed)
            fixed = struct.unpack_from(exchange_log.NUMBERS, numbers)
            document = {**heads[name], "ended": ended, **dict(zip(NUMBERS, fixed, strict=True))}
            document["more"] = json.loads(more[0]) if more else {}
            writes, tokens = document["writes"], document["tokens_with_moments"]
            rest = numbers[struct.calcsize(exchange_log.NUMBERS) :]
            values = struct.unpack(f">{writes}f{writes}I{tokens}f", rest)
            document["left"], document["sizes"] = values[:writes], values[writes : 2 * writes]
            document["moments"] = values[2 * writes :]
            document["body"] = log.read(document["kept"])
            document["sent"] = log.read(sum(document["sizes"]))
            assert len(document["sent"]) == document["kept_of_answer"]
            assert log.read(1) == b"\n"
            yield document


def test_an_exchange_is_kept_with_every_byte_and_its_moment(logged: Stage, file: Path) -> None:
    session = logged.session()
    session.add(reply=["one ", "two"])
    raw = session.ask(CHAT)
    (line,) = lines(file)
    assert line["sent"] == raw
    assert line["bytes"] == len(raw)
    assert list(line["left"]) == sorted(line["left"])
    assert len(line["moments"]) == 2
    assert line["left"][0] <= line["moments"][0] <= line["moments"][1] <= line["duration"]
    assert (line["status"], line["ended"]) == (200, "complete")
    assert line["more"]["rule_name"] == "rule 1"
    assert line["body"] == CHAT.body()
    assert (line["method"], line["path"]) == ("POST", "/v1/chat/completions")


def test_no_key_is_written(logged: Stage, file: Path) -> None:
    session = logged.session()
    session.ask(CHAT)
    assert session.key not in file.read_text()
    assert "authorization: ***" in next(lines(file))["headers"].splitlines()


def test_exchanges_outlive_their_sessions(logged: Stage, file: Path) -> None:
    first, second = logged.session(), logged.session()
    first.ask(CHAT)
    first.open()
    first.ask(CHAT)
    second.ask(CHAT)
    one, same, other = (line["session"] for line in lines(file))
    assert one == same != other


def test_what_requests_have_alike_stands_once(logged: Stage, file: Path) -> None:
    session = logged.session()
    for _ in range(3):
        session.ask(CHAT)
    assert len(list(lines(file))) == 3
    assert file.read_bytes().count(b"authorization: ***") == 1


def test_it_loads_no_openssl(file: Path) -> None:
    program = f"""
import sys
from fake_shimmy.stage.exchange_log import ExchangeLog
from fake_shimmy.stage.journal import Record
from fake_shimmy.stage.known_head import know
from fake_shimmy.wire.head import Head
ExchangeLog({str(file)!r}).write("key", Record(know(Head(b"GET", b"/x", False)), b"", 1))
print("_hashlib" in sys.modules)
"""
    command = [sys.executable, "-c", program]
    assert subprocess.check_output(command, text=True) == "False\n"
    assert len(list(lines(file))) == 1


def test_the_file_is_bounded(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_log, "MAX_FILE", 8000)
    log = ExchangeLog(str(file))
    record = Record(know(Head(b"POST", b"/x", False)), b"b" * 1000, 1)
    record.sent = ([], [])
    record.sends(b"s" * 300)
    record.end("complete")
    for _ in range(100):
        log.write("key", record)
    assert file.stat().st_size < 8000 + 100
    written = list(lines(file))
    assert written[-1] == {"kind": "full"}
    assert written[0]["body"] == b"b" * 1000
    assert (written[-2]["body"], written[-2]["sent"]) == (b"", b"")
    assert written[-2]["body_size"] == 1000


def test_an_answer_is_bounded(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MAX_SENT", 1000)
    monkeypatch.setattr(exchange_log, "MAX_SENT", 1000)
    record = Record(know(Head(b"POST", b"/x", False)), b"", 1)
    record.sent = ([], [])
    for _ in range(5):
        record.sends(b"s" * 300)
    record.end("complete")
    ExchangeLog(str(file)).write("key", record)
    (line,) = lines(file)
    assert (line["bytes"], line["sizes"], line["sent"]) == (1500, (300, 300, 300, 100), b"s" * 1000)


def test_a_file_that_cannot_be_written_harms_no_answer(shimmy: Shimmy, tmp_path: Path) -> None:
    where = str(tmp_path / "no" / "such" / "folder")
    with staged_server(shimmy, FAKE_SHIMMY_EXCHANGES=where) as stage:
        session = stage.session()
        session.add(reply=["fine"])
        assert session.tokens() == ["fine"]
