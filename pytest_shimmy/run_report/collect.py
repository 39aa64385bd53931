"""From the parts of a run to one document.

Times are seconds since the run began. Texts that may be long or repeated stand once, in ``texts``,
and are meant by number.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..masking import masked
from . import answers, parts
from .client_exchanges import NOT_SEEN
from .figures import figures

FORMAT = 1
"""Of the document; a change that readers must know of has another number."""

Document = dict[str, Any]

LATE = 0.05
"""Seconds after the end of a test in which a request still counts as its own."""


class _Texts:
    """Texts by number, each kept once, masked."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, text: str, *, is_masked: bool = False) -> int:
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = len(self.texts)
            self.texts.append(text if is_masked else masked(text))
        return number


def collect(directory: Path, run: Mapping[str, Any]) -> Document:
    """The document of the run whose parts are in `directory`, as a page takes it; see `finished`.

    `run` says what is known of the run as a whole, ``started`` and ``ended`` among it, in seconds
    since the epoch. Every text of tests and exchanges is masked.
    """
    began = float(run["started"])
    texts = _Texts()
    tests: list[Document] = []
    unfinished: dict[tuple[str, str], Document] = {}
    servers: dict[str, Document] = {}
    workers: dict[str, str] = {}
    exchanges: list[tuple[str, Document]] = []
    is_full = False
    shown_backends: dict[str, Document] = {}
    asked_backends: dict[str, str] = {}
    lines = list(parts.read(directory))
    for _, line in lines:
        if line.get("kind") == parts.PROCESS:
            workers[line["session"]] = line["worker"]
    for name, line in lines:
        match line.get("kind"):
            case parts.PROCESS:
                pass
            case parts.TEST_BEGAN:
                unfinished[line["worker"], line["id"]] = line
            case parts.TEST:
                unfinished.pop((line["worker"], line["id"]), None)
                tests.append(_test(line, began, texts))
                asked_backends |= line["backends"]
            case parts.SERVER:
                _add_event(servers, name.removeprefix("server-"), line, began)
            case parts.BACKEND:
                shown_backends[name.removeprefix("server-")] = line
            case parts.FULL:
                is_full = True
            case parts.EXCHANGE if line["path"] != "/health" or line["session"] in workers:
                # The keeper's own question, whether the server is well, has no key.
                exchanges.append((line.get("server") or name.removeprefix("exchanges-"), line))
    for log in directory.glob("*.log"):  # of servers whose owner was killed
        shown_backends[log.stem.removeprefix("server-")] = _left(lines, log)
    tests += [_unfinished(line, began, float(run["ended"])) for line in unfinished.values()]
    tests.sort(key=lambda test: (test["start"], test["id"]))
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
    requests = [
        _request(by_url.get(server, server), line, began, texts, workers)
        for server, line in sorted(exchanges, key=lambda each: float(each[1]["time"]))
    ]
    for url, backend in asked_backends.items():
        servers[by_url[url]]["backend"] = backend
    for name, backends in shown_backends.items():
        if name in servers and servers[name]["backend"] is None:
            servers[name]["backend"] = _backend(servers[name], backends, requests)
    _give_to_tests(requests, tests)
    _find_retries(requests)
    shown = sorted({*(test["worker"] for test in tests)}, key=_by_number)
    return {
        "format": FORMAT,
        "run": {**run, "ended": _moment(run["ended"], began), "exchanges_lost": is_full},
        "figures": figures(tests, requests, list(servers.values())),
        "workers": shown,
        "servers": [_shown(server) for server in servers.values()],
        "tests": tests,
        "requests": requests,
        "texts": texts.texts,
        "is_raw": True,
    }


def finished(document: Document) -> Document:
    """What `collect` made, in the form that is documented.

    To read thousands of bodies takes long, and a page needs only those that are looked at. Until
    then an answer that is plain text is kept as it was sent, instead of its headers and its body,
    with its pieces instead of its events; requests have no model, and moments are microseconds.
    """
    sent = document["texts"]
    texts = list(sent)
    requests = []
    for request in document["requests"]:
        headers, number = request["answer"]
        events = request["events"]
        if headers is None:
            answer = answers.read(sent[number].encode(), events, request["status"])
            headers, texts[number], events = len(texts), answer.text, answer.moments
            texts.append(answer.headers)
        times = {
            name: list(map(_seconds, each))
            for name, each in (("moments", request["moments"]), ("events", events))
        }
        model = _model(sent[request["request"][1]])
        requests.append({**request, **times, "model": model, "answer": [headers, number]})
    document = {**document, "requests": requests, "texts": texts}
    del document["is_raw"]
    return document


def _seconds(micro: int) -> float:
    return round(micro / 1e6, 4)


def _test(line: Document, began: float, texts: _Texts) -> Document:
    return {
        "id": line["id"],
        "worker": line["worker"],
        "start": _moment(line["start"], began),
        "stop": _moment(line["stop"], began),
        "outcome": line["outcome"],
        "waited": round(line["waited"], 4),
        "mode": line["mode"],
        "servers": line["servers"],
        "error": texts.number(line["error"]) if line["error"] else None,
        "sections": [[title, texts.number(text)] for title, text in line["sections"]],
    }


def _unfinished(line: Document, began: float, ended: float) -> Document:
    """A test whose worker was killed, or that still ran when all was over."""
    return {
        "id": line["id"],
        "worker": line["worker"],
        "start": _moment(line["start"], began),
        "stop": _moment(ended, began),
        "outcome": "unfinished",
        "waited": 0.0,
        "mode": None,
        "servers": [],
        "error": None,
        "sections": [],
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


def _backend(server: Document, shown: Document, requests: list[Document]) -> str | None:
    """What its log shows; some of it counts only if it has answered since its last start."""
    since = max((each["time"] for each in server["events"] if each["what"] == "ready"), default=0)
    has_answered = any(
        request["server"] == server["name"]
        and (request["method"], request["status"]) == ("POST", 200)
        and request["time"] >= since
        for request in requests
    )
    backend: str | None = shown.get("answered" if has_answered else "proved")
    return backend


def _left(lines: list[tuple[str, Document]], log: Path) -> Document:
    from ..executable.dialect import UNKNOWN_BUILD, Build
    from .server_events import shown_backends

    begin, version, build = 0, "", UNKNOWN_BUILD
    for name, line in lines:
        if name == log.stem:
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
    server: str, line: Document, began: float, texts: _Texts, workers: Mapping[str, str]
) -> Document:
    number = texts.number
    headers, body, sent = line["raw"]
    status = line["status"]
    tokens, moments = line["tokens"], line.get("measured", [])
    if tokens is not None and status != 101 and sent.isascii() and _is_without_secrets(sent):
        # Nearly always: who looks at it reads it.
        shown, events = [None, number(sent, is_masked=True)], line["pieces"]
    else:
        answer = answers.read(sent.encode("latin-1"), line["pieces"], status)
        if tokens is None:
            moments = answers.token_moments(answer)
            tokens = len(moments) or _stated_tokens(answer.text)
        shown, events = [number(answer.headers), number(answer.text)], answer.moments
    return {
        "server": masked(server),
        "worker": workers.get(line["session"]),
        "test": None,
        "time": _moment(line["time"], began),
        "duration": round(line["duration"] / 1e6, 5),
        "method": line["method"],
        "path": line["path"],
        "model": None,
        "status": status,
        "ended": line["ended"],
        "rule": line.get("rule_name"),
        "nearest": line.get("nearest"),
        "faults": line.get("faults", []),
        "tokens": tokens,
        "moments": moments,
        "bytes": line["bytes"],
        "retry_of": None,
        "request": [number(_text(headers)), number(_text(body)), line["body_size"]],
        "answer": shown,
        "events": events,
    }


def _is_without_secrets(sent: str) -> bool:
    """Whether nothing in an answer would be masked. Only blank lines may be at the ends of its
    chunks: what else is there could be half a secret."""
    if masked(sent) != sent:
        return False
    head, _, body = sent.partition("\r\n\r\n")
    if "transfer-encoding: chunked" not in head.lower():
        return True
    chunks = body.count("\n\n\r\n")
    return 2 * chunks + 2 == body.count("\r\n")  # the last one is empty


def _stated_tokens(text: str) -> int:
    from fake_shimmy.script.timed_answer import stated_tokens  # few runs need it

    return stated_tokens(text)


def _text(raw: str) -> str:
    return raw if raw.isascii() else raw.encode("latin-1").decode("utf-8", "replace")


def _model(body: str) -> str | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    model = document.get("model") if isinstance(document, dict) else None
    return model if isinstance(model, str) else None


def _give_to_tests(requests: list[Document], tests: list[Document]) -> None:
    """Say for each request which test made it: the one that its worker ran at that moment."""
    by_worker: dict[str, tuple[list[float], list[int]]] = {}
    for number, test in enumerate(tests):
        starts, numbers = by_worker.setdefault(test["worker"], ([], []))
        starts.append(test["start"])
        numbers.append(number)
    for request in requests:
        time, worker = request["time"], request["worker"]
        found = []
        for each in by_worker if worker is None else (worker,):
            starts, numbers = by_worker.get(each, ([], []))
            # A worker runs one test after the other: the newest that had begun.
            begun = bisect_right(starts, time)
            if begun and time <= tests[numbers[begun - 1]]["stop"] + LATE:
                found.append(numbers[begun - 1])
        # Without a key of its own, a request is anybody's while several tests run.
        if len(found) == 1:
            request["test"] = found[0]


def _find_retries(requests: list[Document]) -> None:
    """Join a request with the failed one that it repeats."""
    failed: dict[tuple[Any, ...], int] = {}
    for number, request in enumerate(requests):
        status = request["status"]
        is_failed = (
            request["ended"] not in ("complete", NOT_SEEN) or status is None or status >= 400
        )
        if not failed and not is_failed:
            continue
        what = (request["test"], request["server"], request["path"], request["request"][1])
        if what in failed:
            request["retry_of"] = failed.pop(what)
        if is_failed:
            failed[what] = number


def _moment(time: Any, began: float) -> float:
    return round(float(time) - began, 4)


def _by_number(worker: str) -> tuple[int, str]:
    digits = worker.removeprefix("gw")
    return (int(digits), worker) if digits.isdecimal() else (-1, worker)
