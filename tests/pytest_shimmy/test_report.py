"""The texts that a person reads."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_shimmy import report
from pytest_shimmy.protocol import Death, Farewell
from pytest_shimmy.settings import Settings


def test_the_header_names_server_version_backend_and_scope() -> None:
    assert report.header(Settings(), "2.5.0") == (
        "shimmy: bundled fake of shimmy 2.5.0, gpu auto, one server per run"
    )
    real = Settings(path="shimmy", gpu=("cuda", "cpu"), scope="worker")
    assert report.header(real, "2.5.0", "/opt/shimmy") == (
        "shimmy: /opt/shimmy (2.5.0, real), gpu cuda/cpu, one server per worker"
    )
    assert report.header(Settings(url="http://host:1"), None) == (
        "shimmy: attached to http://host:1 (not answering yet), never stopped by us"
    )


@given(st.text(), st.integers(min_value=1, max_value=50))
def test_a_log_section_is_bounded_and_keeps_the_end(text: str, limit: int) -> None:
    shown = report.log_section(text, limit)
    if len(text.encode()) <= limit:
        assert shown == text
    else:
        head, _, kept = shown.partition("\n")
        assert head.endswith("earlier bytes left out]")
        assert len(kept.encode()) <= limit
        assert text.endswith(kept)


def test_deaths_name_process_and_exit() -> None:
    deaths = [Death(7, "killed by SIGSEGV", 0)]
    assert report.deaths_section(deaths) == (
        "the server (pid 7) died during this test: killed by SIGSEGV"
    )


def test_the_summary_counts_tests_per_kind_of_server_and_is_silent_without_any() -> None:
    assert report.summary([], []) == []
    assert report.summary(["fake", "real", "fake"], []) == [
        "shimmy: 3 tests used a server: 2 on the fake, 1 on a real executable, "
        "0 on an attached server"
    ]


def test_the_summary_names_restarts_and_kept_logs() -> None:
    assert report.summary([], [Farewell("2.5.0", 1234, 2, "/logs/a.log")]) == [
        "shimmy: the server on port 1234 was restarted 2 times",
        "shimmy: server log kept: /logs/a.log",
    ]
