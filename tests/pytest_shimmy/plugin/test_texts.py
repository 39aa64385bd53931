"""The texts that a person reads."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from pytest_shimmy import masking
from pytest_shimmy.plugin import report_texts, texts
from pytest_shimmy.settings import Settings
from pytest_shimmy.sharing.protocol import Death, ServerSummary


def test_the_header_names_server_version_backend_and_scope() -> None:
    assert texts.header(Settings(), "2.5.0") == (
        "shimmy: bundled fake of shimmy 2.5.0, gpu auto, one server per run"
    )
    real = Settings(path="shimmy", gpu=("cuda", "cpu"), scope="worker")
    assert texts.header(real, "2.5.0", "/opt/shimmy") == (
        "shimmy: /opt/shimmy (2.5.0, real), gpu cuda/cpu, one server per worker"
    )
    assert texts.header(Settings(url="http://host:1"), None) == (
        "shimmy: attached to http://host:1 (not answering yet), never stopped by us"
    )


@given(st.text(), st.integers(min_value=0, max_value=50))
def test_a_log_section_says_what_was_left_out_and_keeps_the_end(text: str, left_out: int) -> None:
    shown = report_texts.log_section(text, left_out)
    if left_out:
        head, _, shown = shown.partition("\n")
        assert head.endswith("earlier bytes left out]")
    lines = shown.split("\n")
    assert all(line.startswith("| ") for line in lines), "each is marked as not ours"
    said = "\n".join(line.removeprefix("| ") for line in lines)
    assert masking.printable(text).endswith(said)
    if not left_out:
        assert said == masking.printable(text)


def test_a_log_section_is_not_filled_by_what_an_engine_says_of_each_request() -> None:
    engine = [f"[Metadata] line {number}" for number in range(40)]
    shown = report_texts.log_section("\n".join(["Ready", *engine, "panicked", *engine[:7], ""]), 0)
    assert shown.split("\n") == [
        "| Ready",
        *(f"| {line}" for line in engine[:2]),
        "[34 lines of the engine left out]",
        *(f"| {line}" for line in engine[-4:]),
        "| panicked",
        *(f"| {line}" for line in engine[:7]),
        "| ",
    ]


def test_deaths_name_process_and_exit() -> None:
    deaths = [Death(7, "killed by SIGSEGV", 0)]
    assert report_texts.deaths_section(deaths) == (
        "the server (pid 7) died during this test: killed by SIGSEGV"
    )


def test_the_summary_counts_tests_per_kind_of_server_and_says_when_there_was_none() -> None:
    assert texts.summary([], [], 0) == ["shimmy: no test used a server"]
    assert texts.summary(["fake"], [], 0) == ["shimmy: 1 test on the fake"]
    assert texts.summary(["fake", "real", "fake"], [], 0) == [
        "shimmy: 2 tests on the fake, 1 on a real executable"
    ]


def test_the_quieter_the_run_the_shorter_its_summary() -> None:
    assert texts.summary(["fake"], SERVERS, -1) == ["shimmy: 1 test on the fake"]
    assert texts.summary([], SERVERS, -1) == []
    assert texts.summary(["fake"], SERVERS, -2) == []


SERVERS = [
    ServerSummary("/bin/shimmy", "2.5.0", 1234, 2, 3.21, None, "/logs/a.log"),
    ServerSummary(None, "", 1235, 0, 0.5, 41, None),
]


def test_the_summary_names_restarts_and_kept_logs() -> None:
    assert texts.summary(["fake"], SERVERS, 0)[1:] == [
        "shimmy: the server on port 1234 was restarted 2 times",
        "shimmy: server log kept: /logs/a.log",
    ]


def test_a_verbose_summary_has_a_line_for_each_server() -> None:
    assert texts.summary(["fake"], SERVERS, 1)[1:] == [
        "shimmy: port 1234: /bin/shimmy (2.5.0), restarted 2 times, lived 3.2 s",
        "shimmy: server log kept: /logs/a.log",
        "shimmy: port 1235: the bundled fake (never healthy), 41 requests, never restarted, "
        "lived 0.5 s",
    ]


class Report(NamedTuple):
    nodeid: str
    shimmy_mode: str
    worker_id: str = ""


def test_a_test_that_ran_again_counts_once_and_one_that_ran_on_each_worker_for_each() -> None:
    stats = {
        "rerun": [Report("a", "fake")],
        "passed": [Report("a", "fake"), Report("b", "real", "gw0"), Report("b", "real", "gw1")],
        "skipped": [Report("c", "real")],
        "warnings": [object()],
    }
    assert sorted(texts.modes(stats)) == ["fake", "real", "real"]
