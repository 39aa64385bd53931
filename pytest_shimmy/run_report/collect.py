"""From the parts of a run to one document.

Times are seconds since the run began. Texts that may be long or repeated stand once, in ``texts``,
and are meant by number.

Strategy: to read thousands of exchanges takes long, and a page needs only those that are looked at.
So `collect` finds out what must be known of all of them, and leaves their texts in the parts, where
the page finds them; `finished` reads them.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from ..masking import masked, may_mask
from . import answers, parts, reader
from .figures import figures
from .reader import Exchange

FORMAT = 1
"""Of the document; a change that readers must know of has another number."""

Document = dict[str, Any]

_BEGUN: Document = {
    "outcome": "unfinished",
    "waited": 0.0,
    "mode": None,
    "servers": [],
    "error": "",
    "sections": [],
}
"""What is known of a test so far: all, where its worker was killed, or it still ran in the end."""

LATE = 0.05
"""Seconds after the end of a test in which a request still counts as its own."""

_END_OF_CHUNK = rb"\r\n[0-9a-fA-F]+(?:;[^\r\n]*)?\r\n"


class Collected(NamedTuple):
    """What is known of a run."""

    document: Document
    """Without the texts of its exchanges. Of the requests it has, instead of their members: the
    number of the part of each, where its line begins there, its test, and by the numbers of those
    that repeat another which. The members that many have alike are in ``heads``, for each part by
    their names."""
    parts: list[bytes]
    """Those that have exchanges."""


class _Texts:
    """Texts by number, each kept once, masked."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.texts = list(texts)
        self._numbers = {text: number for number, text in enumerate(self.texts)}

    def number(self, text: str) -> int:
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = len(self.texts)
            self.texts.append(masked(text))
        return number


def collect(directory: Path, run: Mapping[str, Any]) -> Collected:
    """What is known of the run whose parts are in `directory`.

    `run` says what is known of the run as a whole, ``started`` and ``ended`` among it, in seconds
    since the epoch. Only texts of exchanges, and their heads, are not masked.
    """
    began = float(run["started"])
    texts = _Texts()
    ran: list[Document] = []
    servers: dict[str, Document] = {}
    workers: dict[str, str] = {}
    heads: list[dict[str, Document]] = []
    sources: list[bytes] = []
    asked: list[Exchange] = []
    is_full = False
    shown_backends: dict[str, Document] = {}
    asked_backends: dict[str, str] = {}
    lives: dict[str, list[Document]] = {}
    for name, part in reader.read(directory):
        if name.startswith(parts.EXCHANGES):
            sources.append(part)
            heads.append({})
        for line in reader.lines(part):
            if isinstance(line, Exchange):
                line.part = len(sources) - 1
                asked.append(line)
                continue
            match line["kind"]:
                case parts.HEAD:
                    line.setdefault("server", name.removeprefix(parts.EXCHANGES))
                    heads[-1][line["name"]] = line
                case parts.PROCESS:
                    workers[line["session"]] = line["worker"]
                case parts.TEST_BEGAN:
                    about = {"worker": name.removeprefix(parts.TESTS), "stop": run["ended"]}
                    ran.append({**_BEGUN, **line, **about, "start": line["start"] / 1e9})
                case parts.TEST:
                    ran[-1] |= {**line, "stop": line["stop"] / 1e9}
                    asked_backends |= line.get("backends", {})
                case parts.SERVER:
                    _add_event(servers, name.removeprefix("server-"), line, began)
                    lives.setdefault(name, []).append(line)
                case parts.BACKEND:
                    shown_backends[name.removeprefix("server-")] = line
                case parts.FULL:
                    is_full = True
    for log in directory.glob("*.log"):  # of servers whose owner was killed
        shown_backends[log.stem.removeprefix("server-")] = _left(lives.get(log.stem, ()), log)
    ran.sort(key=lambda line: (line["start"], line["id"]))
    tests = [_test(line, began, texts) for line in ran]
    by_url = {
        url: name
        for name, server in servers.items()
        for url in (server["url"], server["recorder"])
        if url
    }
    for test in tests:
        for url in test["servers"]:
            if url not in by_url:
                servers[url] = _new_server(url, test["mode"] or "", url)
                by_url[url] = url
            if test["mode"] == "replayed":  # by a fake, as its owner says
                servers[by_url[url]]["mode"] = "replayed"
    for head in (head for each in heads for head in each.values()):
        head["server"] = by_url.get(head["server"], head["server"])
        head["worker"] = workers.get(head["session"])
    # The keeper's own question, whether the server is well, has no key.
    asked = [
        exchange
        for exchange in asked
        if exchange.head["path"] != "/health" or exchange.head["worker"] is not None
    ]
    asked.sort(key=attrgetter("time"))
    for url, backend in asked_backends.items():
        servers[by_url[url]]["backend"] = backend
    for name, backends in shown_backends.items():
        if name in servers and servers[name]["backend"] is None:
            servers[name]["backend"] = _backend(servers[name], backends, asked, began)
    owners = _tests_of(asked, ran)
    repeated = _retries(asked, owners, sources)
    document = {
        "format": FORMAT,
        "run": {**run, "ended": _moment(run["ended"], began), "exchanges_lost": is_full},
        "figures": figures(
            tests,
            asked,
            len(repeated),
            list(servers.values()),
        ),
        "workers": sorted({*(test["worker"] for test in tests)}, key=_by_number),
        "servers": [_shown(server) for server in servers.values()],
        "tests": tests,
        "requests": {
            "part": [exchange.part for exchange in asked],
            "at": [exchange.at for exchange in asked],
            "test": owners,
            "retry_of": repeated,
        },
        "heads": heads,
        "texts": texts.texts,
    }
    return Collected(document, sources)


def finished(collected: Collected) -> Document:
    """The document in the form that is documented. Every text in it is masked."""
    document, sources = collected
    texts = _Texts(document["texts"])
    heads, began = document["heads"], float(document["run"]["started"])
    asked, repeated = document["requests"], dict(document["requests"]["retry_of"])
    requests = []
    rows = zip(asked["part"], asked["at"], asked["test"], strict=True)
    for number, (part, at, test) in enumerate(rows):
        exchange = reader.exchange_at(sources[part], at, heads[part])
        retry_of = repeated.get(number)
        requests.append(_request(exchange, sources[part], texts, began, test, retry_of))
    document = {**document, "requests": requests, "texts": texts.texts}
    del document["heads"]
    return document


def is_without_secrets(collected: Collected) -> bool:
    """Whether nothing in the texts of its exchanges, and in their heads, would be masked."""
    for part in collected.parts:
        if may_mask(part):
            # Between the chunks of an answer may be half a secret.
            text = re.sub(_END_OF_CHUNK, b"", part).decode("utf-8", "replace")
            if masked(text) != text:
                return False
    # They are quoted there.
    heads = (head for part in collected.document["heads"] for head in part.values())
    return all(masked(str(value)) == str(value) for head in heads for value in head.values())


def _seconds(value: float) -> float:
    return round(value, 4)


def _test(line: Document, began: float, texts: _Texts) -> Document:
    return {
        "id": line["id"],
        "worker": line["worker"],
        "start": _moment(line["start"], began),
        "stop": _moment(line["stop"], began),
        "outcome": line["outcome"],
        "waited": line["waited"],
        "mode": line["mode"],
        "servers": line["servers"],
        "error": texts.number(line["error"]) if line["error"] else None,
        "sections": [[title, texts.number(text)] for title, text in line["sections"]],
    }


def _add_event(servers: dict[str, Document], name: str, line: Document, began: float) -> None:
    server = servers.setdefault(name, _new_server(name))
    for field in ("mode", "version", "url", "recorder"):
        if line.get(field):
            server[field] = line[field]
    server["events"].append(
        {"time": _moment(line["time"], began), "what": line["event"], "text": line["text"]}
    )


def _new_server(name: str, mode: str = "", url: str = "") -> Document:
    about = {"name": name, "mode": mode, "version": "", "url": url, "recorder": ""}
    return {**about, "backend": None, "events": []}


def _backend(
    server: Document, shown: Document, exchanges: Iterable[Exchange], began: float
) -> str | None:
    """What its log shows; some of it counts only if it has answered since its last start."""
    since = max((each["time"] for each in server["events"] if each["what"] == "ready"), default=0)
    has_answered = any(
        exchange.status == 200
        and exchange.head["method"] == "POST"
        and exchange.head["server"] == server["name"]
        and exchange.time >= began + since
        for exchange in exchanges
    )
    backend: str | None = shown.get("answered" if has_answered else "proved")
    return backend


def _left(life: Iterable[Document], log: Path) -> Document:
    from ..executable.dialect import UNKNOWN_BUILD, Build
    from .server_events import shown_backends

    begin, version, build = 0, "", UNKNOWN_BUILD
    for line in life:
        begin = line.get("begin", begin)
        if line.get("build") is not None:
            version, build = line["version"], Build(*line["build"])
    return shown_backends(log, begin, version, build)


def _shown(server: Document) -> Document:
    """The server as it is shown, and who told of the requests to it."""
    # A recorded fake tells more itself.
    tells = {"fake": "server", "replayed": "server"}.get(server["mode"])
    source = tells or ("recorder" if server["recorder"] else "clients")
    shown = {name: server[name] for name in server if name != "recorder"}
    texts = {name: masked(server[name]) for name in ("name", "url")}
    events = [{**event, "text": masked(event["text"])} for event in server["events"]]
    return {**shown, **texts, "source": source, "events": events}


def _request(
    exchange: Exchange,
    part: bytes,
    texts: _Texts,
    began: float,
    test: int | None,
    retry_of: int | None,
) -> Document:
    head, more, number = exchange.head, exchange.more, texts.number
    body = part[exchange.begin : exchange.sent].decode("utf-8", "replace")
    status = exchange.status
    answer = answers.read(part[exchange.sent : exchange.end], exchange.writes(), status)
    return {
        "server": masked(head["server"]),
        "worker": head["worker"],
        "test": test,
        "time": _moment(exchange.time, began),
        "duration": round(exchange.duration, 5),
        "method": head["method"],
        "path": masked(head["path"]),
        "model": _model(body),
        "status": status,
        "ended": exchange.ended,
        "rule": more.get("rule_name"),
        "nearest": masked(more.get("nearest") or "") or None,
        "faults": [masked(each) for each in more.get("faults", ())],
        "tokens": exchange.tokens,
        "moments": list(map(_seconds, reader.moments(exchange.packed_moments()))),
        "bytes": exchange.bytes,
        "retry_of": retry_of,
        "request": [number(head["headers"]), number(body), exchange.body_size],
        "answer": [number(answer.headers), number(answer.text)],
        "events": list(map(_seconds, answer.moments)),
    }


def _model(body: str) -> str | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    model = document.get("model") if isinstance(document, dict) else None
    return model if isinstance(model, str) else None


def _tests_of(asked: Sequence[Exchange], ran: Sequence[Document]) -> list[int | None]:
    """For each request which test made it: the one that its worker ran at that moment."""
    by_worker: dict[str | None, tuple[list[float], list[int]]] = {}
    for number, exchange in enumerate(asked):
        times, numbers = by_worker.setdefault(exchange.head["worker"], ([], []))
        times.append(exchange.time)
        numbers.append(number)
    owners: list[int | None] = [None] * len(asked)
    anybody_s = set()
    later: dict[str, float] = {}
    for number, test in reversed([*enumerate(ran)]):
        # A worker runs one test after the other.
        worker, start = test["worker"], test["start"]
        end = min(test["stop"] + LATE, later.get(worker, math.inf))
        later[worker] = start
        for whose in (worker, None):
            times, numbers = by_worker.get(whose, ([], []))
            for each in numbers[bisect_left(times, start) : bisect_left(times, end)]:
                if owners[each] is not None:
                    anybody_s.add(each)
                owners[each] = number
    # Without a key of its own, a request is anybody's while several tests run.
    for each in anybody_s:
        owners[each] = None
    return owners


def _retries(
    asked: Sequence[Exchange], owners: Sequence[int | None], sources: Sequence[bytes]
) -> list[tuple[int, int]]:
    """The numbers of each request that repeats a failed one, and of that one."""
    failed: dict[tuple[Any, ...], int] = {}
    repeated = []
    for number, exchange in enumerate(asked):
        if failed or exchange.is_failed:
            body = sources[exchange.part][exchange.begin : exchange.sent]
            what = owners[number], exchange.head["server"], exchange.head["path"], body
            found = failed.pop(what, None)
            if found is not None:
                repeated.append((number, found))
            if exchange.is_failed:
                failed[what] = number
    return repeated


def _moment(time: Any, began: float) -> float:
    return round(float(time) - began, 4)


def _by_number(worker: str) -> tuple[int, str]:
    digits = worker.removeprefix("gw")
    return (int(digits), worker) if digits.isdecimal() else (-1, worker)
