"""From the parts of a run to one document.

Times are seconds since the run began. Texts that may be long or repeated stand once, in ``texts``,
and are meant by number.

Strategy: to read thousands of exchanges takes long, and most pages are never looked at. So
`collect` finds out the rest, and leaves the exchanges in the parts, where the page finds them;
`finished` reads them. `page.html` does it in the same way, when it is opened.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from ..masking import masked, may_mask
from . import answers, parts, reader
from .figures import figures, figures_of_exchanges
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
    """Without its exchanges, and what they say of the run. Instead it says in ``whose``: the
    ``servers`` that the parts are called after, their ``names`` by their addresses, and the
    ``workers`` of the sessions."""
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
    since the epoch. Only exchanges, and the addresses by which they name their servers, are not
    masked.
    """
    began = float(run["started"])
    texts = _Texts()
    ran: list[Document] = []
    servers: dict[str, Document] = {}
    workers: dict[str, str] = {}
    tellers: list[str] = []
    sources: list[bytes] = []
    shown_backends: dict[str, Document] = {}
    asked_backends: dict[str, str] = {}
    lives: dict[str, list[Document]] = {}
    for name, part in reader.read(directory):
        if name.startswith(parts.EXCHANGES):
            tellers.append(name.removeprefix(parts.EXCHANGES))
            sources.append(part)
            continue
        for line in reader.lines(part):
            if isinstance(line, Exchange):
                continue
            match line["kind"]:
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
    for url, backend in asked_backends.items():
        servers[by_url[url]]["backend"] = backend
    whose = {"servers": tellers, "names": by_url, "workers": workers}
    unknown = {
        name: backends
        for name, backends in shown_backends.items()
        if name in servers and servers[name]["backend"] is None
    }
    since = {name: began + _ready(servers[name]) for name in unknown}
    answered = _answered(_lines(sources, whose), since) if since else set()
    for name, backends in unknown.items():
        # Some of what the log shows counts only if it has answered since its last start.
        servers[name]["backend"] = backends.get("answered" if name in answered else "proved")
    document = {
        "format": FORMAT,
        "run": {**run, "ended": _moment(run["ended"], began), "exchanges_lost": False},
        "figures": figures(tests, list(servers.values())),
        "workers": sorted({*(test["worker"] for test in tests)}, key=_by_number),
        "servers": [_shown(server) for server in servers.values()],
        "tests": tests,
        "whose": whose,
        "texts": texts.texts,
    }
    return Collected(document, sources)


def finished(collected: Collected) -> Document:
    """The document in the form that is documented. Every text in it is masked."""
    document, sources = collected
    run, tests = document["run"], document["tests"]
    texts, began = _Texts(document["texts"]), float(run["started"])
    asked: list[Exchange] = []
    is_full = False
    for line in _lines(sources, document["whose"]):
        if isinstance(line, dict):
            is_full |= line["kind"] == parts.FULL
        # The keeper's own question, whether the server is well, has no key.
        elif line.head["path"] != "/health" or line.head["worker"] is not None:
            asked.append(line)
    asked.sort(key=attrgetter("time"))
    owners = _tests_of(asked, tests, began)
    repeated = _retries(asked, owners)
    rows = zip(asked, owners, repeated, strict=True)
    document = {
        **document,
        "run": {**run, "exchanges_lost": is_full},
        "figures": document["figures"] | figures_of_exchanges(asked, repeated),
        "requests": [_request(*row, texts, began) for row in rows],
        "texts": texts.texts,
    }
    del document["whose"]
    return document


def is_without_secrets(collected: Collected) -> bool:
    """Whether nothing in its exchanges, or in the addresses of their servers, would be masked."""
    for part in collected.parts:
        if may_mask(part):
            # Between the chunks of an answer may be half a secret.
            text = re.sub(_END_OF_CHUNK, b"", part).decode("utf-8", "replace")
            if masked(text) != text:
                return False
    return all(masked(url) == url for url in collected.document["whose"]["names"])


def _lines(sources: Sequence[bytes], whose: Document) -> Iterator[Document | Exchange]:
    """The lines of all parts with exchanges; each head says which server and worker it is about."""
    for server, part in zip(whose["servers"], sources, strict=True):
        for line in reader.lines(part):
            if isinstance(line, dict) and line["kind"] == parts.HEAD:
                name = line.get("server", server)
                line["server"] = whose["names"].get(name, name)
                line["worker"] = whose["workers"].get(line["session"])
            yield line


def _answered(lines: Iterable[Document | Exchange], since: Mapping[str, float]) -> set[str]:
    """Which servers have answered a question after that time."""
    found: set[str] = set()
    for line in lines:
        if isinstance(line, Exchange) and line.status == 200 and line.head["method"] == "POST":
            name = line.head["server"]
            if line.time >= since.get(name, math.inf):
                found.add(name)
                if len(found) == len(since):
                    break
    return found


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


def _ready(server: Document) -> float:
    """When it was last ready."""
    times = (event["time"] for event in server["events"] if event["what"] == "ready")
    return max(times, default=0.0)


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
    test: int | None,
    retry_of: int | None,
    texts: _Texts,
    began: float,
) -> Document:
    head, more, number = exchange.head, exchange.more, texts.number
    body = exchange.body.decode("utf-8", "replace")
    answer = answers.read(exchange.answer, exchange.writes(), exchange.status)
    return {
        "server": masked(head["server"]),
        "worker": head["worker"],
        "test": test,
        "time": _moment(exchange.time, began),
        "duration": round(exchange.duration, 5),
        "method": head["method"],
        "path": masked(head["path"]),
        "model": _model(body),
        "status": exchange.status,
        "ended": exchange.ended,
        "rule": more.get("rule_name"),
        "nearest": masked(more.get("nearest") or "") or None,
        "faults": [masked(each) for each in more.get("faults", ())],
        "tokens": exchange.tokens,
        "moments": list(map(_seconds, exchange.moments())),
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


def _tests_of(
    asked: Sequence[Exchange], tests: Sequence[Document], began: float
) -> list[int | None]:
    """For each request which test made it: the one that its worker ran at that moment."""
    by_worker: dict[str, tuple[list[float], list[int]]] = {}
    for number, test in enumerate(tests):
        starts, numbers = by_worker.setdefault(test["worker"], ([], []))
        starts.append(test["start"])
        numbers.append(number)
    owners: list[int | None] = []
    for exchange in asked:
        time, worker = _moment(exchange.time, began), exchange.head["worker"]
        found = []
        for name in by_worker if worker is None else (worker,):
            starts, numbers = by_worker.get(name, ([], []))
            # A worker runs one test after the other: the newest that had begun.
            begun = bisect_right(starts, time)
            if begun and time <= tests[numbers[begun - 1]]["stop"] + LATE:
                found.append(numbers[begun - 1])
        # Without a key of its own, a request is anybody's while several tests run.
        owners.append(found[0] if len(found) == 1 else None)
    return owners


def _retries(asked: Sequence[Exchange], owners: Sequence[int | None]) -> list[int | None]:
    """For each request the failed one that it repeats."""
    failed: dict[tuple[Any, ...], int] = {}
    repeated: list[int | None] = []
    for number, (exchange, owner) in enumerate(zip(asked, owners, strict=True)):
        what = owner, exchange.head["server"], exchange.head["path"], exchange.body
        repeated.append(failed.pop(what, None))
        if exchange.is_failed:
            failed[what] = number
    return repeated


def _moment(time: Any, began: float) -> float:
    return round(float(time) - began, 4)


def _by_number(worker: str) -> tuple[int, str]:
    digits = worker.removeprefix("gw")
    return (int(digits), worker) if digits.isdecimal() else (-1, worker)
