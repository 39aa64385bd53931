"""No secret is in a text that leaves the process, and no program's text looks like ours."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_shimmy import Settings, ShimmyError, ShimmyErrorCode, ShimmyProcessOptions, masking
from pytest_shimmy.openai_clients import async_openai_client, openai_client
from pytest_shimmy.plugin import report_texts, texts
from pytest_shimmy.supervisor.health import Probe
from tests.support.consumer_suite import Run

pytestmark = pytest.mark.slow

SECRET = st.text(
    st.characters(codec="ascii", categories=["Lu", "Ll", "Nd"]), min_size=12, max_size=40
).map(lambda text: f"s{text}")


@given(SECRET, SECRET, SECRET)
def test_settings_errors_and_header_hold_no_secret(user: str, password: str, token: str) -> None:
    settings = Settings().but(
        url=f"http://{user}:{password}@127.0.0.1:9", env={"HF_TOKEN": token, "PLAIN": token}
    )
    error = ShimmyError(
        ShimmyErrorCode.START_FAILED, f"{settings.url} {token}", {"log": [token], "url": password}
    )
    shown = [
        repr(settings),
        repr(settings.shown()),
        texts.header(settings, "2.5.0"),
        str(error),
        repr(error),
        json.dumps(error.to_json()),
        str(pickle.loads(pickle.dumps(error))),
        report_texts.log_section(f"starting with HF_TOKEN={token}", 0),
    ]
    for text in shown:
        assert not [secret for secret in (user, password, token) if secret in text]
    assert settings.url is not None
    assert password in settings.url, "who asks for the address gets it"


@given(SECRET)
def test_what_a_server_is_started_with_is_hidden_where_it_is_started(key: str) -> None:
    ShimmyProcessOptions(env={"SHIMMY_API_KEY": key})
    assert key not in str(ShimmyError(ShimmyErrorCode.START_FAILED, f"it wrote: key {key}"))


def test_a_secret_is_masked_in_a_log_that_was_shown_before_it_was_known() -> None:
    log = "starting with known-too-late"
    assert report_texts.log_section(log, 0) == f"| {log}"
    masking.hide(["known-too-late"])
    assert "known-too-late" not in report_texts.log_section(log, 0)


@given(st.text(), st.booleans())
def test_a_secret_is_masked_as_json_has_it(text: str, is_ascii: bool) -> None:
    masking.hide([secret := f"secret{text}terces"])
    quoted = json.dumps(secret, ensure_ascii=is_ascii)
    assert quoted[1:-1] not in masking.masked(quoted)


@given(SECRET, SECRET)
def test_two_masked_secrets_can_be_told_apart(one: str, other: str) -> None:
    same = masking.masked(f"{one} {other}", (one, other)).split(" ")
    assert (same[0] == same[1]) == (masking.mask(one) == masking.mask(other))


HOSTILE = [
    "\x1b]0;title\x07",  # the window's title
    "\x1b[2J\x1b[H",  # clears the screen
    "\x1b[?1049h",  # the alternate screen
    "\x9b2J",
    "fine\rforged",
    "\u202egnirts",
]


@given(st.lists(st.sampled_from(HOSTILE) | st.text(), max_size=5).map("\n".join))
def test_what_a_program_wrote_moves_no_cursor_and_looks_like_no_line_of_ours(text: str) -> None:
    shown = masking.quoted(text)
    assert all(line.startswith("| ") for line in shown.split("\n"))
    assert all(each.isprintable() or each in "\n\t" or each >= "\xa0" for each in shown)
    assert not any(each in shown for each in ("\x1b", "\x07", "\r", "\x9b", "\u202e"))


def test_a_forged_ruler_and_a_workflow_command_in_a_log_are_marked() -> None:
    shown = report_texts.log_section("==== FAILURES ====\n::error::forged\n  ::add-mask::x", 0)
    assert shown == "| ==== FAILURES ====\n| ::error::forged\n|   ::add-mask::x"


LEAKING = """
import pytest
def test_settings(shimmy_settings, shimmy_server):
    assert shimmy_settings is None, shimmy_settings
def test_asked(shimmy_fake, shimmy_server):
    import requests
    requests.get(shimmy_server.url + "/~" + shimmy_fake.api_key + "/v1/models",
                 headers={"authorization": "Bearer CLIENT", "x-api-key": "OTHER"})
    shimmy_fake.assert_requested(headers={"authorization": "Bearer WANTED"})
def test_start(make_shimmy_server):
    make_shimmy_server(args=["--nope"])
"""
SEEDED = {
    name: f"{name.lower()}-secret-0123456789" for name in ("CLIENT", "OTHER", "WANTED", "VALUE")
}


def test_failing_reports_and_junit_hold_no_secret(pytester: pytest.Pytester, run: Run) -> None:
    suite = LEAKING
    for name, secret in SEEDED.items():
        # In pieces: the report shows the test's own lines.
        suite = suite.replace(name, f'" + "{secret[:9]}" "{secret[9:]}" + "')
    pytester.makepyfile(suite)
    result = run(
        "--junitxml=junit.xml", "-ojunit_logging=all", "--showlocals", "-vv",
        f"--shimmy-env=MY_TOKEN={SEEDED['VALUE']}", f"--shimmy-env=PLAIN={SEEDED['VALUE']}",
    )  # fmt: skip
    result.assert_outcomes(failed=3)
    everything = [
        result.stdout.str(),
        result.stderr.str(),
        (pytester.path / "junit.xml").read_text(),
    ]
    for text in everything:
        assert not [secret for secret in SEEDED.values() if secret in text]
    assert "Bearer ***" in everything[0]


def test_doctor_shows_no_secret(tmp_path: Path) -> None:
    secret = "pass-word-0123456789"
    arguments = [f"--shimmy-url=http://someone:{secret}@127.0.0.1:9", f"--shimmy-env=X={secret}"]
    for form in ((), ("--json",)):
        done = subprocess.run(
            [sys.executable, "-m", "pytest_shimmy.cli", "doctor", *arguments, *form],
            cwd=tmp_path, capture_output=True, text=True, env=dict(os.environ),
        )  # fmt: skip
        assert "127.0.0.1:9" in done.stdout
        assert secret not in done.stdout + done.stderr


def test_what_the_environment_says_for_openai_alone_goes_to_no_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-secret")
    for make in (openai_client, async_openai_client):
        client = make("http://127.0.0.1:9/v1")
        for each in (client, client.with_options(timeout=3)):
            request = each._build_request(_options())
            assert not [value for value in request.headers.values() if "secret" in value]
        chosen = make("http://127.0.0.1:9/v1", organization="mine")
        assert chosen._build_request(_options()).headers["openai-organization"] == "mine"


def _options() -> object:
    from openai._models import FinalRequestOptions

    return FinalRequestOptions.construct(method="get", url="/models")


def test_the_version_that_a_stranger_says_cannot_move_the_cursor_of_the_header() -> None:
    settings = Settings().but(url="http://127.0.0.1:9")
    assert "\x1b" not in texts.header(settings, Probe(True, True, "", "\x1b[2J").version)
