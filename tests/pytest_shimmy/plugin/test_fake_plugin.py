"""`shimmy_fake` as a consumer's tests use it: isolation, strictness, reports, settings."""

from __future__ import annotations

import random
import sys

import pytest

from tests.support.consumer_suite import Run

pytestmark = pytest.mark.slow

SAY = """
def say(client, model, text, **more):
    return client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": text}], **more
    ).choices[0].message.content
"""


def test_replies_are_for_one_test_and_every_client_of_the_plugin(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        SAY
        + """
import openai, pytest

def test_1(shimmy_fake, shimmy_openai_client, shimmy_model, shimmy_env, shimmy_server):
    shimmy_fake.reply("Paris", when="France")
    assert say(shimmy_openai_client, shimmy_model, "Capital of France?") == "Paris"
    with openai.OpenAI() as own:
        assert say(own, shimmy_model, "France again", stream=False) == "Paris"
    with openai.OpenAI(base_url=shimmy_fake.base_url, api_key="sk-own") as routed:
        assert say(routed, shimmy_model, "France once more", stream=False) == "Paris"
    assert [request.user for request in shimmy_fake.requests] == [
        "Capital of France?", "France again", "France once more"]
    assert shimmy_fake.api_key == shimmy_server.api_key == shimmy_env["OPENAI_API_KEY"]

@pytest.mark.asyncio
async def test_2(shimmy_fake, shimmy_async_openai_client, shimmy_model):
    shimmy_fake.assert_no_requests()
    shimmy_fake.reply("Rome")
    answer = await shimmy_async_openai_client.chat.completions.create(
        model=shimmy_model, messages=[{"role": "user", "content": "Hi"}])
    assert answer.choices[0].message.content == "Rome"

def test_3(shimmy_openai_client, shimmy_model):
    assert say(shimmy_openai_client, shimmy_model, "France") not in ("Paris", "Rome")
"""
    )
    run("-p", "asyncio").assert_outcomes(passed=3)


def test_eight_workers_on_one_server_in_any_order_see_only_their_own(
    pytester: pytest.Pytester, run: Run
) -> None:
    lines = [
        "import requests",
        "def say(server, model, text):",
        "    answer = requests.post(",
        "        f'{server.base_url}/chat/completions',",
        "        headers={'authorization': f'Bearer {server.api_key}'},",
        "        json={'model': model, 'messages': [{'role': 'user', 'content': text}],",
        "              'stream': False})",
        "    return answer.json()['choices'][0]['message']['content']",
        "def check(number, fake, server, model):",
        "    fake.assert_no_requests()",
        "    assert fake.journal().rules == []",
        "    fake.strict = number % 2 == 0",
        "    fake.answers([f'{number}a', f'{number}b'])",
        "    said = [say(server, model, f'question {number}') for _ in range(2)]",
        "    assert said == [f'{number}a', f'{number}b']",
        "    if number % 5 == 0:  # what must not be left to the next test",
        "        fake.strict = False",
        "        fake.latency(first_token=100)",
        "        fake.fail(503)",
        "    assert [request.user for request in fake.requests] == [f'question {number}'] * 2",
        "    with open('servers', 'a') as file:",
        "        file.write(f'{server.pid}\\n')",
    ]
    numbers = list(range(120))
    random.shuffle(numbers)
    for number in numbers:
        lines += [
            f"def test_{number}(shimmy_fake, shimmy_server, shimmy_model):",
            f"    check({number}, shimmy_fake, shimmy_server, shimmy_model)",
        ]
    pytester.makepyfile("\n".join(lines))
    result = run("-n", "8", "--dist", "worksteal")
    result.assert_outcomes(passed=120)
    servers = (pytester.path / "servers").read_text().split()
    assert len(servers) == 120
    assert len(set(servers)) == 1


def test_a_strict_test_fails_in_its_call_for_what_it_left(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        SAY
        + """
import contextlib, openai

def test_unmatched(shimmy_fake, shimmy_openai_client, shimmy_model):
    shimmy_fake.strict = True
    shimmy_fake.reply("Paris", when="France", name="capital")
    with contextlib.suppress(openai.BadRequestError):
        say(shimmy_openai_client, shimmy_model, "Capital of Spain?")
    say(shimmy_openai_client, shimmy_model, "Capital of France?")

def test_unused(shimmy_fake):
    shimmy_fake.strict = True
    shimmy_fake.reply("Paris", times=2, name="capital")

def test_fails_anyway(shimmy_fake):
    shimmy_fake.strict = True
    shimmy_fake.reply("Paris", name="not asked")
    assert 1 == 2

def test_clean(shimmy_fake, shimmy_openai_client, shimmy_model):
    shimmy_fake.strict = True
    shimmy_fake.reply("Paris")
    assert say(shimmy_openai_client, shimmy_model, "Hi") == "Paris"
"""
    )
    result = run()
    result.assert_outcomes(passed=1, failed=3)
    result.stdout.fnmatch_lines(
        [
            "*_ test_unmatched _*",
            "the test was strict, and:",
            "no rule matched number 1: POST /v1/chat/completions*'Capital of Spain?' -> 400*",
            "  nearest: capital: user should contain 'France', and it is 'Capital of Spain?'",
            "*_ test_unused _*",
            "not used up: capital (never used, 2 left)",
            "*_ test_fails_anyway _*",
            "E  *assert 1 == 2",
            "*- shimmy fake -*",
            "not used up: not asked (never used)",
        ]
    )
    result.stdout.no_fnmatch_line("*ERROR*")


def test_a_failing_test_shows_what_the_fake_was_asked_and_the_seed_that_repeats_it(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        SAY
        + """
def test_chance(shimmy_fake, shimmy_openai_client, shimmy_model, request):
    shimmy_fake.reply("heads", chance=0.5)
    said = [say(shimmy_openai_client, shimmy_model, "toss") for _ in range(20)]
    with open("tosses", "a") as file:
        file.write("".join("h" if each == "heads" else "t" for each in said) + "\\n")
    assert False

def test_plain(shimmy_fake, shimmy_openai_client, shimmy_model):
    shimmy_fake.reply("Paris", name="capital")
    say(shimmy_openai_client, shimmy_model, "Capital of France?")
    assert False
"""
    )
    result = run()
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "*- shimmy fake -*",
            "(10 earlier ones left out)",
            " 20  POST /v1/chat/completions*'toss' -> 200*",
            "seed *; give it back with --shimmy-seed=*",
            "*- shimmy fake -*",
            "  1  POST /v1/chat/completions*'Capital of France?' -> 200, 1 token, by capital",
        ]
    )
    (line,) = [line for line in result.outlines if "give it back with" in line]
    seed = line.rpartition("=")[2]
    run("-k", "chance", f"--shimmy-seed={seed}").assert_outcomes(failed=1)
    first, second = (pytester.path / "tosses").read_text().splitlines()
    assert first == second
    assert set(first) == {"h", "t"}


def test_a_failed_assertion_ends_in_the_test_and_not_in_our_code(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        """
        def test_asserts(shimmy_fake):
            shimmy_fake.assert_requested("France")

        def test_waits(shimmy_fake):
            shimmy_fake.wait_for_request("France", timeout=0)

        def test_client(shimmy_fake):
            shimmy_fake.assert_client(retries=1)
        """
    )
    result = run()
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        [
            "E  *no request came as wanted",
            "E  *no request came as wanted within 0 s",
            "E  *it made 0 retries, not 1",
        ]
    )
    result.stdout.no_fnmatch_line("*pytest_shimmy*AssertionError")


@pytest.mark.parametrize("fails_in", ["shimmy_fake.assert_requested(user='Spain')", "assert 0"])
def test_a_report_shows_each_request_once(
    pytester: pytest.Pytester, run: Run, fails_in: str
) -> None:
    pytester.makepyfile(
        f"""
        def test_asks(shimmy_fake, shimmy_openai_client, shimmy_model):
            message = {{"role": "user", "content": "France"}}
            shimmy_openai_client.chat.completions.create(model=shimmy_model, messages=[message])
            {fails_in}
        """
    )
    result = run()
    result.assert_outcomes(failed=1)
    assert result.stdout.str().count("1  POST /v1/chat/completions") == 1


def test_the_token_is_shown_nowhere(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(
        """
        def test_token(shimmy_fake, shimmy_server, make_shimmy_server):
            with open("token", "w") as file:
                file.write(shimmy_server._link.status().control)
            print(shimmy_fake, shimmy_server, shimmy_server._link.status())
            shimmy_server.openai_client(api_key="x").models.list()
            assert False
        """
    )
    result = run("-vv", "--showlocals", "--shimmy-log-dir=logs")
    token = (pytester.path / "token").read_text()
    assert len(token) == 32
    assert token not in result.stdout.str() + result.stderr.str()
    for log in (pytester.path / "logs").iterdir():
        assert token not in log.read_text()


@pytest.mark.shimmy_real
def test_where_the_server_is_no_fake_the_test_is_skipped(
    pytester: pytest.Pytester, run: Run, real_arguments: list[str]
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from pytest_shimmy import ShimmyError

        def test_fake(shimmy_fake):
            assert False

        def test_private(make_shimmy_server, shimmy_server):
            assert shimmy_server.api_key == "shimmy"
            with pytest.raises(ShimmyError, match="is not the bundled fake"):
                make_shimmy_server().fake
            with pytest.raises(ShimmyError, match="are for the bundled fake"):
                make_shimmy_server(faults={"start_delay": 1})
        """
    )
    result = run(*real_arguments, "-rs")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(
        "SKIPPED*needs the bundled fake, and this run uses a real executable; run it with*"
    )


def test_an_attached_server_cannot_be_told(
    pytester: pytest.Pytester, run: Run, fake_server: tuple[str, object]
) -> None:
    pytester.makepyfile("def test_fake(shimmy_fake): assert False")
    result = run(f"--shimmy-url={fake_server[0]}", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines("SKIPPED*and this run uses an attached server*")


# A base script for all tests


def test_a_script_file_says_what_happens_where_a_test_says_nothing(
    pytester: pytest.Pytester, run: Run
) -> None:
    (pytester.path / "base.json").write_text('{"rules": [{"reply": "base"}]}')
    pytester.makeini("[pytest]\nshimmy_fake_script = base.json")
    pytester.makepyfile(
        SAY
        + """
def test_base(shimmy_openai_client, shimmy_model):
    assert say(shimmy_openai_client, shimmy_model, "Hi") == "base"

def test_own_first(shimmy_fake, shimmy_openai_client, shimmy_model):
    shimmy_fake.strict = True
    shimmy_fake.reply("own", times=1)
    said = [say(shimmy_openai_client, shimmy_model, "Hi") for _ in range(2)]
    assert said == ["own", "base"]

def test_private(make_shimmy_server, shimmy_model):
    with make_shimmy_server(faults={"start_delay": 0.1}).openai_client() as client:
        assert say(client, shimmy_model, "Hi") == "base"
"""
    )
    run().assert_outcomes(passed=3)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        (
            "bad.json",
            '{\n "rules": [\n {"repyl": 1}]}',
            "*bad.json, line 3: rules[[]0[]].repyl: there is no such member*",
        ),
        ("bad.json", "{", "*bad.json, line 1: *"),
        ("bad.toml", "strict = 5", "*bad.toml, line 1: strict: 5 is not true or false*"),
        ("none.json", None, "*none.json: it cannot be read: No such file*"),
    ],
)
def test_a_script_that_cannot_be_meant_is_a_usage_error(
    pytester: pytest.Pytester, run: Run, name: str, text: str | None, reason: str
) -> None:
    if text is not None:
        (pytester.path / name).write_text(text)
    pytester.makepyfile("def test_nothing(): pass")
    result = run(f"--shimmy-fake-script={name}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(f"ERROR: --shimmy-fake-script: '{name}' is not a script {reason}")


def test_a_bad_seed_is_a_usage_error(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile("def test_nothing(): pass")
    result = run("--shimmy-seed=x")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines("ERROR: --shimmy-seed: 'x' is not a whole number*")


# Servers of a test's own


def test_a_server_of_ones_own_can_be_scripted_whole_and_broken(
    pytester: pytest.Pytester, run: Run
) -> None:
    (pytester.path / "own.json").write_text('{"rules": [{"reply": "file", "times": 1}]}')
    pytester.makepyfile(
        SAY
        + """
import http.client, openai, pytest, requests
from pytest_shimmy import ShimmyError

def test_script(make_shimmy_server, shimmy_model):
    server = make_shimmy_server(script={"rules": [{"reply": "mapping"}]})
    with server.openai_client(api_key="anything") as client:
        assert say(client, shimmy_model, "Hi") == "mapping"
    assert [request.user for request in server.fake.requests] == ["Hi"]
    server = make_shimmy_server(script="own.json")
    with server.openai_client() as client:
        server.fake.reply("told")
        assert say(client, shimmy_model, "Hi") == "told"

def test_crash(make_shimmy_server, shimmy_model):
    server = make_shimmy_server(max_restarts=0)
    server.fake.crash(after_tokens=1, signal="SIGSEGV", reply=["a", "b"])
    with server.openai_client() as client, pytest.raises(Exception):
        say(client, shimmy_model, "Hi")
    with pytest.raises(ShimmyError, match="RESTARTS_EXHAUSTED.*SIGSEGV"):
        server._link.ready()

def test_refuse(make_shimmy_server):
    server = make_shimmy_server()
    server.fake.refuse(60)
    with pytest.raises(requests.ConnectionError):
        requests.get(server.url + "/health", timeout=5)
    server.fake.accept()
    assert server.health()

def test_start_fails(make_shimmy_server):
    with pytest.raises(ShimmyError, match="START_FAILED.*exit code 3(?s:.*)sorry"):
        make_shimmy_server(faults={"refuse": {"status": 3, "stderr": "sorry"}})
    with pytest.raises(ShimmyError, match="HEALTHCHECK_FAILED"):
        make_shimmy_server(faults={"health": "never"}, start_timeout=5)
    with pytest.raises(ShimmyError, match="START_TIMEOUT"):
        make_shimmy_server(faults={"start_delay": 60}, start_timeout=0.5)
    with pytest.raises(ShimmyError, match=r"USAGE_ERROR.*faults: deaf: 1 is not true or false"):
        make_shimmy_server(faults={"deaf": 1})

def test_shared(shimmy_server):
    with pytest.raises(ShimmyError, match="serves other tests too"):
        shimmy_server.fake
"""
    )
    run().assert_outcomes(passed=5)


def test_a_strict_server_of_ones_own_fails_its_test_too(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        """
        def test_strict(make_shimmy_server):
            server = make_shimmy_server()
            server.fake.strict = True
            server.fake.reply("x", name="forgotten")
        """
    )
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["not used up: forgotten (never used)", "*- shimmy fake (http*"])


def test_nothing_of_it_is_loaded_when_no_test_asks_for_it(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        """
        import sys
        def test_server(shimmy_server):
            loaded = {name for name in sys.modules if name.startswith("fake_shimmy.")}
            the_model_to_serve = {"fake_shimmy.models", "fake_shimmy.models.tiny_gguf"}
            assert loaded <= {"fake_shimmy.releases"} | the_model_to_serve
            assert "pytest_shimmy.fake_control.fake" not in sys.modules
        """
    )
    run().assert_outcomes(passed=1)


def test_a_crash_of_the_shared_server_ends_what_was_scripted(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        SAY
        + """
import os, signal, pytest
from pytest_shimmy import ShimmyError

def is_healthy(server):
    try:
        return bool(server.health())
    except ShimmyError:
        return False

def test_1(shimmy_fake, shimmy_server):
    shimmy_fake.reply("Paris")
    os.kill(shimmy_server.pid, signal.SIGKILL)
    while shimmy_server.restarts == 0 or not is_healthy(shimmy_server):
        pass
    with pytest.raises(ShimmyError, match="it was restarted since"):
        shimmy_fake.requests
    with pytest.raises(ShimmyError, match="it was restarted since"):
        shimmy_fake.reply("Lyon")
    shimmy_fake.reset()
    shimmy_fake.reply("Bonn")

def test_2_without(shimmy_openai_client, shimmy_model):
    assert say(shimmy_openai_client, shimmy_model, "Hi") != "Bonn"

def test_2(shimmy_fake, shimmy_openai_client, shimmy_model):
    shimmy_fake.reply("Rome")
    assert say(shimmy_openai_client, shimmy_model, "Hi") == "Rome"
"""
    )
    run("-p", "no:randomly").assert_outcomes(passed=3)


def test_settings_of_the_fake_are_in_the_help(pytester: pytest.Pytester, run: Run) -> None:
    result = run("--help")
    result.stdout.fnmatch_lines(["*--shimmy-fake-script=FILE*", "*--shimmy-seed=N*"])


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process cannot be watched")
def test_to_tell_the_fake_something_does_not_wake_it_and_holds_at_once(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        SAY
        + """
import os, pathlib, resource, signal

def sleeps(server):
    "How often it has gone to sleep, once it does."
    path = pathlib.Path(f"/proc/{server.pid}/status")
    while "State:\\tS" not in (status := path.read_text()) or status != path.read_text():
        pass
    return int(status.partition("\\nvoluntary_ctxt_switches:")[2].split()[0])

def test_asleep(shimmy_fake, shimmy_server, shimmy_openai_client, shimmy_model):
    before = sleeps(shimmy_server)
    shimmy_fake.reset()
    rule = shimmy_fake.reply("Paris")
    assert sleeps(shimmy_server) == before
    assert say(shimmy_openai_client, shimmy_model, "Hi") == "Paris"
    assert (rule.id, rule.used, shimmy_fake.last_request.rule) == (1, 1, 1)

def test_next(shimmy_openai_client, shimmy_model):
    assert say(shimmy_openai_client, shimmy_model, "Hi") != "Paris"

def test_much(shimmy_fake, shimmy_openai_client, shimmy_model):
    for number in range(4):
        shimmy_fake.reset()
        shimmy_fake.reply([str(number)] * 10_000)
        assert say(shimmy_openai_client, shimmy_model, "Hi", max_tokens=2) == 2 * str(number)

def test_forked(shimmy_fake, shimmy_openai_client, shimmy_model):
    child = os.fork()
    if not child:
        try:
            shimmy_fake.reply("Rome")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    shimmy_fake.reply("Bern")
    assert say(shimmy_openai_client, shimmy_model, "Hi") == "Rome"

def test_no_room(shimmy_fake, shimmy_openai_client, shimmy_model):
    shimmy_fake.reply("Oslo", times=1)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limit[1]))
    try:
        shimmy_fake.reply("Riga", times=1)
        shimmy_fake.reply("Kyiv")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    said = [say(shimmy_openai_client, shimmy_model, "Hi") for _ in range(3)]
    assert said == ["Oslo", "Riga", "Kyiv"]
    assert [each.rule for each in shimmy_fake.requests] == [1, 2, 3]

def test_after(shimmy_fake, shimmy_openai_client, shimmy_model):
    shimmy_fake.reply("Rome")
    assert say(shimmy_openai_client, shimmy_model, "Hi") == "Rome"
"""
    )
    run("-p", "no:randomly").assert_outcomes(passed=6)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process cannot be watched")
def test_what_was_requested_is_seen_without_waking_the_fake_where_that_is_certain(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        SAY
        + """
import contextlib, os, signal, threading, pytest
from pytest_shimmy import ShimmyError

@contextlib.contextmanager
def stopped(fake, server, count=1):
    fake.wait_for_request(count=count)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)

def test_asleep(shimmy_fake, shimmy_server, shimmy_openai_client, shimmy_model):
    shimmy_fake.answers(["Paris", "Rome"])
    for text in ("France?", "Italy?"):
        say(shimmy_openai_client, shimmy_model, text)
    with stopped(shimmy_fake, shimmy_server, 2):
        seen = shimmy_fake.assert_requested(user="France?")
        newest = shimmy_fake.assert_requested()
    assert [seen, newest] == shimmy_fake.requests
    with pytest.raises(AssertionError, match="no request came as wanted"):
        shimmy_fake.assert_requested(user="Spain?")

def test_script(shimmy_fake, shimmy_server, shimmy_openai_client, shimmy_model):
    shimmy_fake.script({"rules": [{"reply": "Oslo"}]})
    assert say(shimmy_openai_client, shimmy_model, "Norway?") == "Oslo"
    with stopped(shimmy_fake, shimmy_server):
        assert shimmy_fake.assert_requested().rule == 1

def test_reset(shimmy_fake, shimmy_openai_client, shimmy_model):
    say(shimmy_openai_client, shimmy_model, "before")
    shimmy_fake.wait_for_request()
    shimmy_fake.reset()
    with pytest.raises(AssertionError, match="no request came"):
        shimmy_fake.assert_requested()

def test_under_way(shimmy_fake, shimmy_openai_client, shimmy_model):
    say(shimmy_openai_client, shimmy_model, "first")
    shimmy_fake.hang(after_tokens=1)
    stream = shimmy_openai_client.chat.completions.create(
        model=shimmy_model, messages=[{"role": "user", "content": "second"}], stream=True)
    with stream:
        next(iter(stream))
        assert shimmy_fake.assert_requested().in_flight
    assert shimmy_fake.wait_for_request(user="second").hung_up

def test_large(shimmy_fake, shimmy_openai_client, shimmy_model):
    padding = {"padding": "x" * 300_000}
    say(shimmy_openai_client, shimmy_model, "large", extra_body=padding)
    say(shimmy_openai_client, shimmy_model, "small")
    assert shimmy_fake.assert_requested(user="small").id == 2
    assert shimmy_fake.assert_requested(json=padding).id == 1

def test_threads(shimmy_fake, shimmy_openai_client, shimmy_model):
    def ask(number):
        for turn in range(20):
            text = f"{number}, {turn}"
            say(shimmy_openai_client, shimmy_model, text)
            if shimmy_fake.assert_requested(user=text).user != text:
                failed.append(text)
    failed = []
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (failed, len(shimmy_fake.requests)) == ([], 160)

def test_forked(shimmy_fake, shimmy_openai_client, shimmy_model):
    say(shimmy_openai_client, shimmy_model, "parent")
    child = os.fork()
    if not child:
        try:
            shimmy_fake.assert_requested(user="parent")
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0

def test_killed(shimmy_fake, shimmy_server, shimmy_openai_client, shimmy_model):
    say(shimmy_openai_client, shimmy_model, "Hi")
    shimmy_fake.wait_for_request()
    restarts = shimmy_server.restarts
    os.kill(shimmy_server.pid, signal.SIGKILL)
    while shimmy_server.restarts == restarts:
        pass
    with pytest.raises(ShimmyError):
        shimmy_fake.assert_requested()

def test_over(shimmy_fake):
    shimmy_fake.close()
    with pytest.raises(ShimmyError, match="or the test is over"):
        shimmy_fake.assert_requested()
"""
    )
    run().assert_outcomes(passed=9)
