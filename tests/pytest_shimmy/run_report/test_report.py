"""The report of a run: its data, its page in a browser, and two of them side by side."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright import sync_api as playwright

from pytest_shimmy.run_report.collect import Collected, collect, finished
from pytest_shimmy.run_report.comparison import load
from pytest_shimmy.run_report.exchange_part import ExchangePart
from pytest_shimmy.run_report.page import write_page
from pytest_shimmy.run_report.parts import Part, session_name
from tests.support.browser import chromium

pytestmark = pytest.mark.slow

SUITE = """
import openai
import pytest

def ask(client, model, text, **more):
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model=model, messages=messages, **more)

@pytest.mark.parametrize("number", range(4))
def test_plain(shimmy_server, shimmy_openai_client, shimmy_model, number):
    assert ask(shimmy_openai_client, shimmy_model, f"question {number} </script><b>")
    assert shimmy_server.logs  # what is on its way is waited for

def test_retried(shimmy_fake, shimmy_env, shimmy_model):
    shimmy_fake.fail(503, times=1)
    client = openai.OpenAI(max_retries=1)
    assert ask(client, shimmy_model, "again", stream=False)

def test_cut(shimmy_fake, shimmy_openai_client, shimmy_model):
    shimmy_fake.drop(after_tokens=1)
    list(ask(shimmy_openai_client, shimmy_model, "cut me", stream=True))

def test_without_a_server():
    pytest.skip("nothing to do")
"""
PASSWORD = "hunter2-hunter2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the suite was run with two workers: ``run.html``, and its data as ``run.json``."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "test_suite.py").write_text(SUITE)
    run(folder, "run.html", "-n", "2")
    (folder / "run.json").write_text(json.dumps(load(folder / "run.html")))
    return folder


def run(folder: Path, report: str, *arguments: str) -> str:
    command = [sys.executable, "-m", "pytest", "-p", "no:randomly", f"--shimmy-report={report}"]
    secret = f"--shimmy-env=SOME_PASSWORD={PASSWORD}"
    done = subprocess.run(
        [*command, secret, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def data(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return document


def of_test(data: dict[str, Any], name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    (number,) = [at for at, test in enumerate(data["tests"]) if test["id"].endswith(name)]
    return data["tests"][number], [each for each in data["requests"] if each["test"] == number]


def test_every_test_and_request_of_every_worker_is_there(data: dict[str, Any]) -> None:
    assert data["workers"] == ["gw0", "gw1"]
    assert data["figures"]["tests"] == {"passed": 5, "failed": 1, "skipped": 1}
    assert data["figures"]["requests"] == 7
    assert data["figures"]["modes"] == {"fake": 6}
    for number in range(4):
        test, (request,) = of_test(data, f"test_plain[{number}]")
        assert test["outcome"] == "passed"
        assert test["start"] <= request["time"] <= test["stop"]
        assert f"question {number}" in data["texts"][request["request"][1]]
        assert request["status"] == 200


def test_a_retry_is_joined_with_what_it_repeats(data: dict[str, Any]) -> None:
    _, (first, second) = of_test(data, "test_retried")
    assert (first["status"], first["rule"], second["status"]) == (503, "rule 1", 200)
    assert data["requests"][second["retry_of"]] == first
    assert data["figures"]["retries"] == 1


def test_a_cut_stream_shows_its_events_and_its_fault(data: dict[str, Any]) -> None:
    test, (request,) = of_test(data, "test_cut")
    assert test["outcome"] == "failed"
    assert "APIConnectionError" in data["texts"][test["error"]]
    assert (request["ended"], request["faults"]) == ("cut", ["reset after 1 token"])
    events = [each for each in data["texts"][request["answer"][1]].split("\n\n") if each]
    assert request["events"] == sorted(request["events"])
    assert len(events) == len(request["events"])
    assert all(event.startswith("data: {") for event in events)
    assert request["tokens"] == 1


def test_the_life_of_the_server_is_told(data: dict[str, Any]) -> None:
    (server,) = data["servers"]
    assert server["mode"] == "fake"
    assert [event["what"] for event in server["events"]] == ["starting", "ready", "stopped"]
    assert (server["backend"], server["source"]) == ("cpu", "server")


def test_a_test_that_passed_has_what_its_server_wrote_meanwhile(data: dict[str, Any]) -> None:
    (server,) = data["servers"]
    test, _ = of_test(data, "test_plain[3]")
    ((title, number),) = test["sections"]
    assert title == f"shimmy server log ({server['url']})"
    assert "| [Metadata] Scanning" in data["texts"][number]
    assert PASSWORD not in data["texts"][number]


def test_what_a_server_wrote_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(
        """
        def test_it(make_shimmy_server):
            server = make_shimmy_server(faults={"log_flood": 10**7})
            while server.log_path.stat().st_size < 100_000:
                server.health()
        """.replace("\n        ", "\n")
    )
    command = [sys.executable, "-m", "pytest", "--shimmy-report=run.json"]
    subprocess.run(command, cwd=tmp_path, check=True)
    document = json.loads((tmp_path / "run.json").read_text())
    test, _ = of_test(document, "test_it")
    ((_, number),) = test["sections"]
    assert "earlier bytes left out]" in document["texts"][number]
    assert len(document["texts"][number]) < 20_000


def test_no_secret_is_in_it(folder: Path) -> None:
    for name in ("run.html", "run.json"):
        assert PASSWORD not in (folder / name).read_text()


def test_a_secret_in_an_answer_is_masked_and_the_rest_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(
        SUITE
        + f"""
@pytest.mark.parametrize("stream", [False, True])
def test_secret(shimmy_openai_client, shimmy_model, stream):
    asked = ask(shimmy_openai_client, shimmy_model, "say {PASSWORD} é", stream=stream)
    assert list(asked) if stream else "{PASSWORD}" in asked.choices[0].message.content
"""
    )
    run(tmp_path, "run.html", "-k", "secret or cut")
    assert PASSWORD not in (tmp_path / "run.html").read_text()
    document = load(tmp_path / "run.html")
    for name in ("[False]", "[True]"):
        _, (request,) = of_test(document, f"test_secret{name}")
        body = document["texts"][request["answer"][1]]
        assert "***" in body
        if request["events"]:
            assert len([each for each in body.split("\n\n") if each]) == len(request["events"])
            assert body.startswith("data: {")
        else:
            assert json.loads(body)["choices"]


def test_a_secret_that_json_escapes_is_masked(tmp_path: Path) -> None:
    secrets = 'quo"ted-secret', "sécrèt-secret"
    (tmp_path / "test_suite.py").write_text(
        SUITE
        + f"""
def test_secret(shimmy_openai_client, shimmy_model):
    for secret in {secrets!r}:
        ask(shimmy_openai_client, shimmy_model, "say " + secret)

def test_header(shimmy_openai_client, shimmy_model):
    ask(shimmy_openai_client, shimmy_model, "hi", extra_headers={{"x-seen": {secrets[0]!r}}})

def test_nearest(shimmy_fake, shimmy_openai_client, shimmy_model):
    shimmy_fake.reply("x", user={secrets[0]!r})
    ask(shimmy_openai_client, shimmy_model, "hi")
"""
    )
    hidden = [f"--shimmy-env=SECRET_{at}_KEY={each}" for at, each in enumerate(secrets)]
    run(tmp_path, "run.html", "-k", "secret or header or nearest or cut", *hidden)
    text = (tmp_path / "run.html").read_text()
    assert "ted-secret" not in text
    assert "t-secret" not in text
    document = load(tmp_path / "run.html")
    _, asked = of_test(document, "test_secret")
    bodies = [document["texts"][each["request"][1]] for each in asked]
    assert [json.loads(each)["messages"][0]["content"][:7] for each in bodies] == 2 * ["say ***"]
    _, (request,) = of_test(document, "test_header")
    assert "x-seen: ***" in document["texts"][request["request"][0]]
    _, (request,) = of_test(document, "test_nearest")
    assert "***" in request["nearest"]


def collected(
    folder: Path, pieces: Sequence[bytes], status: int = 200, body: bytes = b""
) -> Collected:
    """A run whose only request was answered with `pieces`, a millisecond apart."""
    sent = [(at / 1000, piece) for at, piece in enumerate(pieces, 1)]
    ExchangePart(str(folder), "server", "main", "", "").write(
        "accept: */*",
        body,
        sent,
        time=1.0,
        duration=0.01,
        method="GET",
        path="/x",
        status=status,
        ended="complete",
    )
    return collect(folder, {"started": 0.0, "ended": 2.0, "about": []})


def test_a_secret_that_the_end_of_a_chunk_cuts_is_masked(
    opened: Callable[[Path], playwright.Page], tmp_path: Path
) -> None:
    pieces = ['{"at": "http://user:hunter2-', 'hunter2@host"}', ""]
    head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    sent = head + "".join(f"{len(each):x}\r\n{each}\r\n" for each in pieces)
    write_page(tmp_path / "run.html", collected(tmp_path, [sent.encode()]))
    assert "hunter2" not in (tmp_path / "run.html").read_text()
    assert opened(tmp_path / "run.html").evaluate("answerOf(requests[0]).body") == (
        '{"at": "http://***@host"}'
    )


def test_a_killed_worker_has_told_what_it_did(tmp_path: Path) -> None:
    (tmp_path / "test_killed.py").write_text(
        SUITE + "\ndef test_killed(shimmy_server):\n    import os\n    os.kill(os.getpid(), 9)\n"
    )
    run(tmp_path, "run.json", "-n", "1", "-k", "plain or killed")
    document = json.loads((tmp_path / "run.json").read_text())
    outcomes = {test["id"].partition("::")[2]: test["outcome"] for test in document["tests"]}
    assert outcomes["test_killed"] == "unfinished"
    assert outcomes["test_plain[0]"] == "passed"


@pytest.fixture(params=["of the run", "on another disk"])
def log_arguments(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[str]]:
    other = Path("/dev/shm")
    if request.param == "of the run":
        yield []
    elif not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other disk")
    else:
        with tempfile.TemporaryDirectory(dir=other) as directory:
            yield [f"--shimmy-log-dir={directory}"]


def test_a_server_whose_keeper_was_killed_has_its_backend(
    tmp_path: Path, log_arguments: list[str]
) -> None:
    (tmp_path / "test_suite.py").write_text(
        """
        import os, subprocess

        def test_it(shimmy_server, shimmy_openai_client, shimmy_model):
            messages = [{"role": "user", "content": "hello"}]
            shimmy_openai_client.chat.completions.create(model=shimmy_model, messages=messages)
            about = ["ps", "-o", "ppid=", "-p", str(shimmy_server.pid)]
            keeper = int(subprocess.check_output(about))
            assert keeper != os.getpid()
            os.kill(keeper, 9)
        """.replace("\n        ", "\n")
    )
    command = [sys.executable, "-m", "pytest", "--shimmy-report=run.json"]
    subprocess.run([*command, *log_arguments], cwd=tmp_path, check=False)
    (server,) = json.loads((tmp_path / "run.json").read_text())["servers"]
    assert [event["what"] for event in server["events"]] == ["starting", "ready"]
    assert server["backend"] == "cpu"


RESTARTED = """
import os

def test_it(shimmy_server, shimmy_openai_client, shimmy_model):
    messages = [{"role": "user", "content": "hello"}]
    while shimmy_server.log_path.stat().st_size < 300_000:
        shimmy_openai_client.chat.completions.create(model=shimmy_model, messages=messages)
    killed = shimmy_server.pid
    os.kill(killed, 9)
    while shimmy_server.pid in (killed, None):
        pass

def test_answered_again(shimmy_openai_client, shimmy_model):
    messages = [{"role": "user", "content": "hello"}]
    if os.environ["ASKS"] == "yes":
        shimmy_openai_client.chat.completions.create(model=shimmy_model, messages=messages)
"""


@pytest.mark.parametrize(("asks", "backend"), [("yes", "cpu"), ("no", None)])
def test_the_backend_is_that_of_a_server_s_last_life(
    tmp_path: Path, asks: str, backend: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASKS", asks)
    (tmp_path / "test_suite.py").write_text(RESTARTED)
    command = [sys.executable, "-m", "pytest", "-p", "no:randomly", "--shimmy-report=run.json"]
    subprocess.run(command, cwd=tmp_path, check=False)
    (server,) = json.loads((tmp_path / "run.json").read_text())["servers"]
    assert "restarting" in [event["what"] for event in server["events"]]
    assert server["backend"] == backend


def test_the_last_line_says_where_the_report_is(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    told = run(tmp_path, "out/run.html", "-k", "cut")
    assert f"shimmy: report of the run: {tmp_path / 'out' / 'run.html'}" in told
    assert (tmp_path / "out" / "run.html").read_text().startswith("<!doctype html>")


def test_a_report_that_cannot_be_written_is_said_and_fails_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "file").write_text("")
    told = run(tmp_path, "file/run.html", "-k", "cut")
    assert "the report of the run could not be written" in told


@pytest.mark.parametrize("client", ["sync", "async"])
def test_on_a_server_that_tells_nothing_our_clients_tell(
    tmp_path: Path, fake_server: tuple[str, Any], client: str
) -> None:
    (tmp_path / "test_suite.py").write_text(
        """
        import asyncio

        def test_sync(shimmy_openai_client):
            assert shimmy_openai_client.models.list().data

        def test_async(shimmy_server):
            client = shimmy_server.async_openai_client()
            assert asyncio.run(ask(client))

        async def ask(client):
            async with client:
                return (await client.models.list()).data
        """.replace("\n        ", "\n")
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        f"--shimmy-url={fake_server[0]}",
        "-k",
        f"test_{client}",
    ]
    subprocess.run([*command, "--shimmy-report=run.json"], cwd=tmp_path, check=True)
    document = json.loads((tmp_path / "run.json").read_text())
    (request,) = document["requests"]
    assert (request["method"], request["path"], request["status"]) == ("GET", "/v1/models", 200)
    assert '"object":"list"' in document["texts"][request["answer"][1]]
    assert (request["test"], request["server"]) == (0, fake_server[0])
    assert document["figures"]["modes"] == {"attached": 1}


ANSWERED = """
import http.client, json

def test_it(shimmy_server, shimmy_model):
    body = {"model": shimmy_model, "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    asking = http.client.HTTPConnection(shimmy_server.host, shimmy_server.port)
    key = {"authorization": f"Bearer {shimmy_server.api_key}", "content-type": "application/json"}
    asking.request("POST", "/v1/chat/completions", json.dumps(body), key)
    assert asking.getresponse().read()
    asking.request("GET", "/v1/models", headers={**key, "connection": "close"})
    assert asking.getresponse().read()
"""


def test_a_recorder_tells_what_any_client_was_answered_and_a_replay_its_cassette(
    tmp_path: Path, fake_server: tuple[str, Any]
) -> None:
    (tmp_path / "test_suite.py").write_text(ANSWERED)
    documents = []
    for setting in (
        [f"--shimmy-url={fake_server[0]}", "--shimmy-record=recorded"],
        ["--shimmy-replay=recorded"],
    ):
        command = [sys.executable, "-m", "pytest", "--shimmy-report=run.json", *setting]
        subprocess.run(command, cwd=tmp_path, check=True)
        documents.append(json.loads((tmp_path / "run.json").read_text()))
    for document, source, mode in zip(
        documents, ("recorder", "server"), ("attached", "replayed"), strict=True
    ):
        (server,) = document["servers"]
        assert (server["source"], server["mode"]) == (source, mode)
        test, (request, listing) = of_test(document, "test_it")
        assert test["start"] <= request["time"] <= test["stop"]
        assert (request["status"], request["ended"]) == (200, "complete")
        assert request["server"] == server["name"]
        assert request["tokens"] == len(request["moments"]) > 1
        assert len(request["events"]) > request["tokens"]
        assert (listing["path"], listing["ended"]) == ("/v1/models", "complete")
    assert documents[1]["requests"][0]["rule"] == "cassette test_suite/test_it"


def report_command(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest_shimmy.cli", "report", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_two_runs_of_one_suite_do_not_differ_but_in_what_changed(
    folder: Path, data: dict[str, Any], tmp_path: Path
) -> None:
    same = report_command("diff", folder / "run.json", folder / "run.json")
    assert (same.returncode, same.stdout) == (0, "no test differs\n")
    changed = json.loads(json.dumps(data))
    test, (request,) = of_test(changed, "test_plain[1]")
    test["outcome"], request["status"] = "failed", 500
    other = tmp_path / "other.html"
    write_page(other, changed)
    told = report_command("diff", folder / "run.json", other, "--json")
    assert told.returncode == 1
    assert [(each["test"], each["what"]) for each in json.loads(told.stdout)] == [
        (test["id"], "outcome"),
        (test["id"], "answers"),
    ]


@pytest.mark.parametrize("columns", [80, 60, 200])
def test_what_differs_is_a_table_that_fits(
    folder: Path,
    data: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    columns: int,
) -> None:
    if columns == 80:
        monkeypatch.delenv("COLUMNS", raising=False)  # as through a pipe
    else:
        monkeypatch.setenv("COLUMNS", str(columns))
    changed = json.loads(json.dumps(data))
    test, (request,) = of_test(changed, "test_plain[1]")
    test["outcome"] = "failed"
    _, (longer,) = of_test(changed, "test_plain[2]")
    for one, old, new in ((request, "question 1", "question\n7"), (longer, "question 2", "no")):
        changed["texts"].append(changed["texts"][one["request"][1]].replace(old, new))
        one["request"][1] = len(changed["texts"]) - 1
    other = tmp_path / "other.json"
    other.write_text(json.dumps(changed))
    told = report_command("diff", folder / "run.json", other)
    assert told.returncode == 1
    heading, outcome, *requests, end = told.stdout.splitlines()
    assert all(len(line) <= columns for line in told.stdout.splitlines())
    first = heading.index("WHAT DIFFERS") + len("WHAT DIFFERS  ")
    second = outcome.index("failed")
    assert outcome[:first].split() == [outcome[: first - 15].strip(), "outcome"]
    assert outcome[first:second].strip() == "passed"
    assert "test_plain[1]" in outcome
    for line, old, new in zip(requests, ("on 1", '"qu'), ("on\\n7", '"no'), strict=True):
        assert line[second - 2 : second] == "  ", "a column that is aligned"
        assert old in line[first:second]
        assert new in line[second:]
    assert end == "2 tests differ"


def test_what_is_no_report_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[]")
    told = report_command("diff", tmp_path / "x.json", tmp_path / "x.json")
    assert told.returncode == 1
    assert "[REPORT_UNREADABLE] cannot read the run report" in told.stderr


# The page


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def opened(browser: playwright.Browser) -> Iterator[Callable[[Path], playwright.Page]]:
    """Opens a page from disk; it must have no errors, and fetch nothing."""
    wrong: list[object] = []
    tabs = []

    def opened(path: Path) -> playwright.Page:
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tabs.append(tab)
        tab.on("pageerror", lambda error: wrong.append(error))
        tab.on(
            "request", lambda request: request.url.startswith("file:") or wrong.append(request.url)
        )
        tab.goto(path.as_uri())
        return tab

    yield opened
    for tab in tabs:
        tab.close()
    assert not wrong


@pytest.fixture
def shown(opened: Callable[[Path], playwright.Page], folder: Path) -> playwright.Page:
    """The page of the run."""
    return opened(folder / "run.html")


READ = """requests.map(request => [
    answerOf(request).headers, answerOf(request).body, request.headers, request.body, request.size,
    answerOf(request).moments, request.moments, request.time, request.duration,
    request.test, request.retry_of, request.server, request.worker, request.method, request.path,
    request.model, request.status, request.ended, request.rule, request.nearest, request.faults,
    request.tokens, request.bytes])"""
ALIKE = ["test", "retry_of", "server", "worker", "method", "path", "model", "status", "ended"]
ALIKE += ["rule", "nearest", "faults", "tokens", "bytes"]


def told_by(document: dict[str, Any]) -> list[list[Any]]:
    texts = document["texts"]
    return [
        [
            *(texts[number] for number in each["answer"]),
            *(texts[number] for number in each["request"][:2]),
            each["request"][2],
            *(each[name] for name in ("events", "moments", "time", "duration", *ALIKE)),
        ]
        for each in document["requests"]
    ]


def assert_same(found: object, told: object) -> None:
    """Times are the same but for their last places, which the data have not."""
    if isinstance(found, list) and isinstance(told, list):
        for each in zip(found, told, strict=True):
            assert_same(*each)
    else:
        assert found == (pytest.approx(told, abs=1e-4) if isinstance(told, float) else told)


def test_a_page_of_the_data_shows_what_that_of_the_run_does(
    opened: Callable[[Path], playwright.Page],
    shown: playwright.Page,
    folder: Path,
    data: dict[str, Any],
    tmp_path: Path,
) -> None:
    assert report_command("html", folder / "run.json", "-o", tmp_path / "run.html").stdout
    other = opened(tmp_path / "run.html")
    assert [tab.evaluate("parts.length") for tab in (shown, other)] == [1, 0]
    assert_same(shown.evaluate(READ), told_by(data))
    assert_same(other.evaluate(READ), told_by(data))
    for tab in (shown, other):
        assert_figures_are_told(tab, data)
    for tab in (shown, other):
        tab.get_by_label("Search in names and bodies").fill("cut me")
        tab.locator("button.request").click()
    assert chosen(shown) == chosen(other)


def assert_figures_are_told(page: playwright.Page, document: dict[str, Any]) -> None:
    assert page.evaluate("figures") == document["figures"]
    assert page.evaluate("run") == document["run"]


STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
CHUNKED = STREAM + b"transfer-encoding: chunked\r\n\r\n"
JSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        [CHUNKED, b"b\r\ndata: one\n\n\r\n", b"b\r\ndata: two\n\n\r\n0\r\n\r\n"],
        [CHUNKED, b"b\r\ndata: one\n\n\r\n", b"b\r\ndata: tw"],
        [CHUNKED, b"5\r\ndata:\r\n", b"5;x=y\r\n one\n\r\n", b"1\r\n\n\r\n", b"0\r\n\r\n"],
        [
            CHUNKED,
            b"11\r\ndata: a\n\ndata: b\n",
            b"\r\n2\r\n\n\n\r\n",
            b"2\r\n\r\n\r\n",
            b"0\r\n\r\n",
        ],
        [CHUNKED, b"what is this?"],
        [CHUNKED, b"-c\r\ndata: one\n\n"],
        [CHUNKED, b"9\r\ndata: \xc3\r\n", b"4\r\n\xa9\xff\n\n\r\n", b"0\r\n\r\n"],
        [STREAM + b"\r\n", b"data: one\n\n", b"\n\ndata: two"],
        [STREAM],
        [JSON, b"{}"],
        [JSON, '{"^l": "</script><!--é\r\n\0"}'.encode()],
        [],
    ],
)
def test_a_page_reads_an_answer_as_the_command_line_does(
    opened: Callable[[Path], playwright.Page], tmp_path: Path, pieces: list[bytes]
) -> None:
    run = collected(tmp_path, pieces, body='{"model": "^é"}'.encode())
    shown_and_told(opened, tmp_path, run)


@pytest.mark.parametrize(
    "pieces",
    [
        [b"\x81\x03one", b"\x81\x02\xc3\xa9\x89\x00", b"\x81\x7e\x01\x00" + 256 * b"x"],
        [b'\x81\x7f\0\0\0\0\0\0\0\x02"\n', b"\x88\x02\x03\xe8"],
        [b"\x81\x7e\x00"],
        [b"\x81\x05cut"],
    ],
)
def test_a_page_reads_messages_as_the_command_line_does(
    opened: Callable[[Path], playwright.Page], tmp_path: Path, pieces: list[bytes]
) -> None:
    shown_and_told(opened, tmp_path, collected(tmp_path, pieces, status=101))


def write_tests(folder: Path, worker: str, spans: Sequence[tuple[float, float]]) -> None:
    part = Part(str(folder), f"tests-{worker}")
    part.write("process", worker=worker, session=session_name(worker))
    for number, (start, stop) in enumerate(spans):
        part.write("began", id=f"test_{worker}_{number}", start=int(start * 1e9))
        part.write("test", stop=int(stop * 1e9), outcome="passed", mode="fake")


def test_a_page_finds_whose_requests_are_as_the_command_line_does(
    opened: Callable[[Path], playwright.Page], tmp_path: Path
) -> None:
    write_tests(tmp_path, "gw0", [(100.0, 101.0), (101.2, 102.0), (102.0, 103.0)])
    write_tests(tmp_path, "gw1", [(100.5, 101.1)])
    for key in ("gw0", "gw1", "unknown"):
        part = ExchangePart(str(tmp_path), "server", "main", "", key)
        for number, time in enumerate([99.5, 100.0, 100.3, 100.7, 101.04, 101.14, 102, 103.5]):
            is_failed = number % 3 == 1
            part.write(
                "",
                b"{}",
                [(0.001, b"HTTP/1.1 200 OK\r\n\r\n")],
                time=time,
                duration=0.01,
                method="GET",
                path="/health" if number == 2 else "/x",
                status=500 if is_failed else 200,
                ended="cut" if number == 3 else "complete",
            )
    (whole,) = tmp_path.glob("exchanges-*")
    # The first process was killed while it wrote, and the second had no more room.
    whole.write_bytes(whole.read_bytes()[:-30] + whole.read_bytes() + b'{"kind": "full"}\n')
    run = collect(tmp_path, {"started": 99.0, "ended": 104.0, "about": []})
    shown_and_told(opened, tmp_path, run)
    document = finished(run)
    assert document["run"]["exchanges_lost"]
    assert document["figures"]["retries"] > 1
    tests = [each["test"] for each in document["requests"] if each["worker"] is None]
    assert {None, 0} < {*tests} < {None, 0, 1, 2, 3}


def shown_and_told(opened: Callable[[Path], playwright.Page], folder: Path, run: Collected) -> None:
    """The page shows what the data say, and the data can be read from the page."""
    told = finished(run)
    write_page(folder / "run.html", run)
    page = opened(folder / "run.html")
    assert_same(page.evaluate(READ), told_by(told))
    assert_figures_are_told(page, told)
    assert load(folder / "run.html") == told


def chosen(shown: playwright.Page) -> str:
    return shown.locator("#detail").inner_text()


def test_the_first_failed_test_is_shown_at_once(shown: playwright.Page) -> None:
    assert "test_cut" in chosen(shown)
    assert "APIConnectionError" in chosen(shown)


def test_a_click_shows_a_request_with_its_answer(shown: playwright.Page) -> None:
    shown.locator("button.request", has_text="503").click()
    assert "rule 1" in chosen(shown)
    assert "curl -N -X POST" in chosen(shown)
    assert "shimmy server log" in chosen(shown)
    assert "urllib.request" in chosen(shown)


def test_a_click_on_the_timeline_shows_what_is_there(shown: playwright.Page) -> None:
    spot = shown.evaluate("spots.find(spot => spot[4].startsWith('test-'))")
    shown.locator("#timeline").click(position={"x": spot[0] + 3, "y": spot[1] + 3})
    assert "Waited for a server" in chosen(shown) or "Outcome" in chosen(shown)


def test_a_server_is_shown_with_its_life(shown: playwright.Page) -> None:
    shown.get_by_text("1 server", exact=True).click()
    shown.get_by_role("button", name="fake 2.6.5 cpu").click()
    assert "cpu (pretended)" in chosen(shown)
    assert "starting: pid" in chosen(shown)
    assert "all, as the fake tells them" in chosen(shown)


def test_the_page_says_what_the_tests_ran_on(shown: playwright.Page) -> None:
    assert "6 on the fake" in shown.locator("#figures").inner_text()


def test_the_page_is_opened_at_its_beginning(shown: playwright.Page) -> None:
    assert shown.evaluate("scrollY") == 0


def test_filters_leave_what_fits(shown: playwright.Page) -> None:
    shown.get_by_label("Outcome").select_option("failed")
    assert shown.locator("button.test").count() == 1
    shown.get_by_role("button", name="Clear").click()
    playwright.expect(shown.locator("button.test")).to_have_count(7)
    shown.get_by_label("Search in names and bodies").fill("QUESTION 3")
    assert shown.locator("button.test").count() == 1
    assert "1 test, 1 request" in shown.locator("#count").inner_text()


def test_the_keyboard_walks_through_the_list(shown: playwright.Page) -> None:
    before = chosen(shown)
    shown.keyboard.press("k")
    assert chosen(shown) != before
    shown.keyboard.press("j")
    assert chosen(shown) == before


def test_a_link_leads_to_what_it_shows(shown: playwright.Page) -> None:
    shown.get_by_label("Search in names and bodies").fill("question 2")
    shown.locator("button.request").click()
    seen = chosen(shown)
    shown.reload()
    assert chosen(shown) == seen
    assert shown.locator("button.test").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_the_light_and_in_the_dark(shown: playwright.Page, scheme: Any) -> None:
    shown.emulate_media(color_scheme=scheme)
    shown.set_viewport_size({"width": 390, "height": 800})
    assert shown.evaluate("document.documentElement.scrollWidth") <= 390
    back = shown.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (back == "rgb(255, 255, 255)") == (scheme == "light")


def test_everything_that_can_be_used_has_a_name(shown: playwright.Page) -> None:
    unnamed = shown.evaluate(
        """[...document.querySelectorAll("button, input, select, canvas, [role=img]")].filter(
            it => !(it.textContent || "").trim() && !it.ariaLabel && !it.closest("label")
        ).map(it => it.outerHTML)"""
    )
    assert unnamed == []
    assert shown.locator("html").get_attribute("lang") == "en"
