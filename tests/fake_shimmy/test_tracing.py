"""Log lines and ``RUST_LOG``. Expected text: real 2.5.0."""

from __future__ import annotations

import re

import pytest

from tests.support.fake_process import TOY_MODEL

TARGET = "shimmy::engine::safetensors_native"
EVENTS = [
    ("INFO", "Loading SafeTensors model: ./models/tiny.safetensors"),
    ("INFO", "Loading model file directly (cache disabled)"),
    ("INFO", "Reading SafeTensors file: ./models/tiny.safetensors"),
    ("INFO", "Loading model into memory (0.0 MB)"),
    ("DEBUG", "SafeTensors loaded with 0 tensors"),
    ("INFO", "No config.json found, inferring from tensor shapes"),
    ("WARN", "No tokenizer.json found, using simple character tokenizer"),
]
ANSWERING = [
    ("INFO", "Generating with SafeTensors model: prompt length = 3"),
    ("DEBUG", "Input tokens: 3 tokens"),
    ("INFO", "Using in-memory loading for SafeTensors inference"),
]
LEVELS = ("ERROR", "WARN", "INFO", "DEBUG", "TRACE")
BAD_LEVEL = (
    'error parsing level filter: expected one of "off", "error", "warn", "info", "debug", '
    '"trace", or a number 0-5'
)


@pytest.fixture(autouse=True)
def model(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "tiny.safetensors").write_bytes(TOY_MODEL)


def shown(out: str) -> list[tuple[str, str]]:
    """Level and message of each log line."""
    pattern = rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{6}}Z ([ A-Z]{{5}}) {TARGET}: (.*)"
    return [(m[1].strip(), m[2]) for line in out.split("\n") if (m := re.fullmatch(pattern, line))]


def up_to(level: str, events: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [event for event in events if LEVELS.index(event[0]) <= LEVELS.index(level)]


@pytest.mark.parametrize(
    ("directives", "level"),
    [
        ("", "ERROR"),
        ("off", "ERROR"),
        ("info", "INFO"),
        ("3", "INFO"),
        ("TRACE", "TRACE"),
        ("shimmy", "TRACE"),
        ("shimmy=", "TRACE"),
        ("shimmy::e=debug", "DEBUG"),
        ("hyper=trace", "ERROR"),
        ("shimmy::engine=warn,shimmy=debug", "WARN"),
        ("info,warn", "WARN"),
        ("[{message}]=warn,info", "WARN"),
        ("[{addr}]=trace,warn", "WARN"),
        ("[span]=trace", "ERROR"),
        ("[span{field=1}]=trace", "ERROR"),
        (" info", "ERROR"),
        ("\udcff", "ERROR"),
    ],
)
def test_directives_choose_by_level_and_target(shimmy, directives, level):
    status, out, err = shimmy.run("probe", "tiny", RUST_LOG=directives)
    assert (status, err) == (0, "")
    assert shown(out) == up_to(level, EVENTS)
    assert out.endswith("ok: loaded tiny\n")


@pytest.mark.parametrize(
    ("directive", "reason"),
    [
        ("=bogus=", "invalid filter directive"),
        ("shimmy=loud", BAD_LEVEL),
        ("shimmy=info ", BAD_LEVEL),
        ("[span", "invalid filter directive"),
        ("[{}]", "invalid filter directive"),
        ("[{a=(}]", "invalid field filter: error building NFA"),
    ],
)
def test_a_directive_that_is_none_is_ignored_aloud(shimmy, directive, reason):
    status, out, err = shimmy.run("probe", "tiny", RUST_LOG=f"{directive},warn")
    assert (status, err) == (0, f"ignoring `{directive}`: {reason}\n")
    assert shown(out) == up_to("WARN", EVENTS)


def test_a_complaint_about_directives_comes_before_a_usage_error(shimmy):
    err = shimmy.run("lst", RUST_LOG="$")[2]
    assert err.startswith("ignoring `$`: invalid filter directive\nerror: unrecognized subcommand")


def test_an_answer_is_logged_too(shimmy):
    out = shimmy.run("generate", "tiny", "--prompt", "né", RUST_LOG="debug")[1]
    assert shown(out) == EVENTS + ANSWERING


def test_the_server_announces_itself_before_it_binds(shimmy):
    _, out, err = shimmy.run("serve", "--bind", "192.0.2.1:9", RUST_LOG="info")
    assert err == "Error: Cannot assign requested address (os error 99)\n"
    assert out.endswith(
        "Z  INFO shimmy: shimmy serving with 1 available models addr=192.0.2.1:9 models=1\n"
    )


@pytest.mark.parametrize(
    ("term", "extra", "coloured"),
    [
        ("xterm", {}, True),
        ("xterm", {"NO_COLOR": ""}, False),
        ("dumb", {}, False),
        ("", {}, False),
    ],
)
def test_a_terminal_gets_colours(shimmy, term, extra, coloured):
    _, out = shimmy.run_on_terminal("probe", "tiny", RUST_LOG="warn", TERM=term, **extra)
    line = re.sub(r"\d{4}-\S*?Z", "TIME", out.split("\n")[0])
    message = EVENTS[-1][1]
    assert line == (
        f"\x1b[2mTIME\x1b[0m \x1b[33m WARN\x1b[0m \x1b[2m{TARGET}\x1b[0m\x1b[2m:\x1b[0m {message}"
        if coloured
        else f"TIME  WARN {TARGET}: {message}"
    )


def test_what_a_terminal_obeys_is_shown_instead(shimmy):
    name = "a\x1b[31m\x07\x85é"
    (shimmy.cwd / "models" / f"{name}.safetensors").write_bytes(TOY_MODEL)
    out = shimmy.run("probe", name, RUST_LOG="info")[1]
    assert "Loading SafeTensors model: ./models/a\\x1b[31m\\x07\\u{85}é.safetensors\n" in out


def test_a_log_line_that_cannot_be_written_is_told_on_stderr(shimmy):
    full = make_script(shimmy)
    status, out, err = full.run("probe", "tiny", RUST_LOG="warn")
    assert (status, out) == (101, "")
    assert err.startswith(
        "[tracing-subscriber] Unable to write an event to the Writer for this Subscriber! "
        "Error: No space left on device (os error 28)\n\n"
    )


def make_script(shimmy):
    """The same program with a stdout that takes nothing."""
    command = ["sh", "-c", 'exec "$@" >/dev/full', "sh", *shimmy.command]
    return type(shimmy)(command, shimmy.cwd, shimmy.build)
