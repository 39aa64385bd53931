"""The server's first answer comes before the first test."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pytest_shimmy import ShimmyError, ShimmyErrorCode
from pytest_shimmy.launch.warm_up import recorded, warmed_up
from pytest_shimmy.settings import Settings
from tests.support.consumer_suite import Run


def test_one_process_asks_and_the_others_wait_for_its_answer(tmp_path: Path) -> None:
    asked = []
    go = threading.Event()

    def generate(timeout: float, waiting: object) -> bool:
        asked.append(timeout)
        return go.wait(20)

    results = []

    def warm_up() -> None:
        results.append(warmed_up(tmp_path, "m", 7, generate, lambda _: None))

    threads = [threading.Thread(target=warm_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join()
    assert len(asked) == 1
    assert len(set(results)) == 1
    assert results[0] == recorded(tmp_path)
    assert (results[0].model, results[0].pid) == ("m", 7)


@pytest.mark.parametrize("refuses", [True, False], ids=["refused", "no answer"])
def test_one_that_fails_names_the_model_and_is_not_tried_again(
    tmp_path: Path, refuses: bool
) -> None:
    asked = []

    def generate(timeout: float, waiting: object) -> bool:
        asked.append(timeout)
        if not refuses:
            raise ShimmyError(ShimmyErrorCode.HEALTHCHECK_FAILED, "no answer from there")
        return False

    for _ in range(2):
        with pytest.raises(ShimmyError, match="'big-one'") as caught:
            warmed_up(tmp_path, "big-one", 7, generate, lambda _: None)
        assert caught.value.code is ShimmyErrorCode.ANSWER_FAILED
    assert len(asked) == 1
    assert recorded(tmp_path) is None


def test_whoever_waits_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_shimmy.launch.warm_up.WAITING_SHOWN", 0.0)
    shown: list[str] = []

    def generate(timeout: float, waiting: object) -> bool:
        assert callable(waiting)
        waiting()
        return True

    warmed_up(tmp_path, "m", 7, generate, shown.append)
    assert shown == ["loading the model 'm' (0 s so far)"]


@pytest.mark.parametrize(
    ("settings", "warms_up"),
    [
        (Settings(), False),
        (Settings(tiny_model=True), False),
        (Settings(path="shimmy"), False),
        (Settings(path="shimmy", tiny_model=True), True),
        (Settings(path="shimmy", tiny_model=True, warm_up=False), False),
        (Settings(path="shimmy", warm_up=True), True),
        (Settings(url="http://x", warm_up=True), False),
    ],
)
def test_only_a_tiny_model_of_a_real_executable_is_loaded_unasked(
    settings: Settings, warms_up: bool
) -> None:
    assert settings.warms_up is warms_up


@pytest.mark.slow
def test_it_is_in_the_summary_and_in_no_journal(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(
        """
        def test_sees_nothing_of_it(shimmy_fake, shimmy_server):
            assert shimmy_fake.requests == []
            assert shimmy_server.gpu.requested == "auto"
        """
    )
    result = run("--shimmy-warm-up", "-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["shimmy: model 'placeholder' loaded in 0.* s"])
    result.stdout.fnmatch_lines(["shimmy: port *, 0 requests, *"])


@pytest.mark.slow
def test_a_model_that_does_not_load_is_one_clear_error(
    pytester: pytest.Pytester, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_SHIMMY_BUILD", "cpu-only")
    (pytester.path / "big.gguf").write_bytes(b"GGUF")
    pytester.makepyfile("def test_up(shimmy_server): pass")
    result = run("--shimmy-warm-up", "--shimmy-model=big.gguf")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the warm-up failed: *the model 'big': *"])
