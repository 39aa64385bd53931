"""Clap's styles, where they are wanted. Expected text: real 2.5.0."""

from __future__ import annotations

import pytest

ERROR = "\x1b[1m\x1b[31merror:\x1b[0m"
USAGE = "\x1b[1m\x1b[4mUsage:\x1b[0m"
TRY = "\nFor more information, try '\x1b[1m--help\x1b[0m'.\n"
PLAIN = (
    "error: unrecognized subcommand 'serv'\n\n  tip: a similar subcommand exists: 'serve'\n\n"
    "Usage: shimmy [OPTIONS] <COMMAND>\n\nFor more information, try '--help'.\n"
)
STYLED = (
    f"{ERROR} unrecognized subcommand '\x1b[33mserv\x1b[0m'\n\n"
    "  \x1b[32mtip:\x1b[0m a similar subcommand exists: '\x1b[32mserve\x1b[0m'\n\n"
    f"{USAGE} \x1b[1mshimmy\x1b[0m [OPTIONS] <COMMAND>\n" + TRY
)
USAGE_ERRORS = {
    "serve --kv-quant f3": (
        f"{ERROR} invalid value '\x1b[33mf3\x1b[0m' for '\x1b[1m--kv-quant <MODE>\x1b[0m'\n"
        "  [possible values: \x1b[32mf32\x1b[0m, \x1b[32mint4\x1b[0m]\n\n"
        "  \x1b[32mtip:\x1b[0m a similar value exists: '\x1b[32mf32\x1b[0m'\n" + TRY
    ),
    "generate --max-tokens 3": (
        f"{ERROR} the following required arguments were not provided:\n"
        "  \x1b[32m--prompt <PROMPT>\x1b[0m\n  \x1b[32m<NAME>\x1b[0m\n\n"
        f"{USAGE} \x1b[1mshimmy generate\x1b[0m \x1b[1m--prompt\x1b[0m <PROMPT> "
        "\x1b[1m--max-tokens\x1b[0m <MAX_TOKENS> <NAME>\n" + TRY
    ),
    "-- list": (
        f"{ERROR} unexpected argument '\x1b[33mlist\x1b[0m' found\n\n"
        "  \x1b[32mtip:\x1b[0m subcommand '\x1b[32mlist\x1b[0m' exists; to use it, remove the "
        f"'\x1b[33m--\x1b[0m' before it\n\n{USAGE} \x1b[1mshimmy\x1b[0m [OPTIONS] <COMMAND>\n" + TRY
    ),
}


@pytest.mark.parametrize("line", USAGE_ERRORS)
def test_a_usage_error_is_styled_on_a_terminal(shimmy, line):
    assert shimmy.run_on_terminal(*line.split(), TERM="xterm") == (2, USAGE_ERRORS[line])


def test_help_is_styled_on_a_terminal(shimmy):
    status, shown = shimmy.run_on_terminal("list", "-h", TERM="xterm")
    assert status == 0
    assert shown.startswith(
        "List registered and auto-discovered models\n\n"
        f"{USAGE} \x1b[1mshimmy list\x1b[0m [OPTIONS]\n\n\x1b[1m\x1b[4mOptions:\x1b[0m\n"
        "  \x1b[1m-s\x1b[0m, \x1b[1m--short\x1b[0m                      "
        "Output short list format (model names only)\n"
    )


@pytest.mark.parametrize(
    ("environ", "styled"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": ""}, True),
        ({"TERM": "dumb"}, False),
        ({}, False),
        ({"CI": ""}, True),
        ({"CLICOLOR": ""}, True),
        ({"TERM": "xterm", "CLICOLOR": "0"}, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"CLICOLOR_FORCE": "0", "CLICOLOR": "0"}, True),
        ({"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_the_environment_decides_about_styles_on_a_terminal(shimmy, environ, styled):
    assert shimmy.run_on_terminal("serv", **environ) == (2, STYLED if styled else PLAIN)


def test_elsewhere_styles_must_be_forced(shimmy):
    assert shimmy.run("serv", TERM="xterm", CI="1") == (2, "", PLAIN)
    assert shimmy.run("serv", CLICOLOR_FORCE="1") == (2, "", STYLED)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "shown"),
    [
        ("a\x1b[31mb\x1b[0m", "ab"),
        ("a\x07b\x7fc\td", "abc\td"),
        ("a\x1b]0;title\x07b", "ab"),
        ("a\x1b[3\n1mb", "a\n1mb"),
        ("a\x1bPx\x1b\\b", "ab"),
        ("é\x9b1m", "é\x9b1m"),
    ],
)
def test_sequences_in_an_argument_go_with_the_styles(shimmy, argument, shown):
    err = shimmy.run(argument)[2]
    assert err.startswith(f"error: unrecognized subcommand '{shown}'\n")
    err = shimmy.run(argument, CLICOLOR_FORCE="1")[2]
    assert err.startswith(f"{ERROR} unrecognized subcommand '\x1b[33m{argument}\x1b[0m'\n")
