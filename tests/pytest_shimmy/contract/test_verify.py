"""The checks of ``verify``, on recordings, on the fake, and on the real executable."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from pytest_shimmy import ShimmyError, ShimmyErrorCode
from pytest_shimmy.contract import recording_files, recordings, subject, verify
from pytest_shimmy.contract.case import Case, Command, Exchange, Life
from pytest_shimmy.contract.cases.all import all_cases
from pytest_shimmy.contract.recordings import Recording
from pytest_shimmy.executable.identify import bundled_fake
from tests.support.fake_process import as_from_a_terminal
from tests.support.verified import SHIPPED, fail_where_different

pytestmark = pytest.mark.slow

IMITATED = [name for name, one in SHIPPED.items() if subject.is_imitated(one.release)]
KINDS = (Command, Life, Exchange)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", IMITATED)
def test_the_fake_does_what_was_recorded(name: str, kind: type) -> None:
    recording = SHIPPED[name]
    fake = subject.bundled_fake(recording.release, recording.of.build, recording.engine)
    fail_where_different(fake, name, lambda case: isinstance(case.act, kind))


@pytest.mark.shimmy_real
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_real_one_does_what_was_recorded(real_shimmy: Path, kind: type) -> None:
    real = subject.executable(real_shimmy)
    fail_where_different(real, real.name, lambda case: isinstance(case.act, kind))


@pytest.mark.parametrize("recording", SHIPPED.values(), ids=list(SHIPPED))
def test_a_recording_has_every_case_as_it_is_now(recording: Recording) -> None:
    wanted = {case.id: recordings.digest(case) for case in all_cases() if recording.of.takes(case)}
    assert {name: entry.digest for name, entry in recording.entries.items()} == wanted


def test_a_recording_says_what_was_recorded() -> None:
    features = {name: recording.features for name, recording in SHIPPED.items()}
    assert features["2.5.0-cpu-only"] == features["2.5.0-default"] == ("huggingface",)
    assert (features["2.6.5-cpu-only"], features["2.6.5-default"]) == ((), ("airframe",))
    assert features["1.8.1-default"] == ("huggingface", "llama")
    assert {recording.platform for recording in SHIPPED.values()} == {"linux-x86_64"}


def test_enough_is_recorded_of_what_users_run() -> None:
    recorded = {"2.6.5-cpu-only", "2.6.5-default", "2.5.0-cpu-only", "2.5.0-default"}
    assert {*recorded, "1.8.1-default"} <= SHIPPED.keys()
    for name in recorded:
        seen = [entry for entry in SHIPPED[name].entries.values() if "seen" in entry.observation]
        assert len(seen) >= 250


def test_no_case_is_told_apart_from_another_only_by_its_place() -> None:
    ids = [case.id for case in all_cases()]
    assert len(ids) == len(set(ids))


class Shims(NamedTuple):
    """Makes executables that are the fake but for some shell lines before it."""

    folder: Path

    def make(self, before: str = "") -> Path:
        path = self.folder / "any-name"
        command = shlex.join(bundled_fake("2.5.0").command)
        path.write_text(f'#!/bin/sh\n{before}\nFAKE_SHIMMY_BUILD=cpu-only exec {command} "$@"\n')
        path.chmod(0o755)
        return path


@pytest.fixture
def shims(tmp_path: Path) -> Shims:
    return Shims(tmp_path)


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest_shimmy.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_verify_finds_nothing_where_nothing_differs(shims: Shims) -> None:
    done = run("verify", "--shimmy-path", shims.make(), "-k", "listing toys")
    assert (done.returncode, done.stderr) == (0, "")
    assert "against the recording of shimmy 2.6.5-cpu-only" in done.stdout
    assert done.stdout.splitlines()[-1].endswith(": 4 same, 0 differ, 0 not applicable")


def test_verify_shows_what_differs(shims: Shims) -> None:
    changed = shims.make('[ "$1 $2" = "list --short" ] && echo tiny and others && exit')
    done = run("verify", "--shimmy-path", changed, "-k", "listing toys")
    assert done.returncode == 1
    assert "\nchange 1: listing: list --short, toys\n  new: in no other rec" in done.stdout
    assert "\n    + tiny and others\n" in done.stdout, done.stdout
    assert "\nchecks that differ: 1; changes: 1, of which new: 1\n" in done.stdout
    assert ": 3 same, 1 differ, 0 not applicable" in done.stdout


def test_verify_shows_whole_differences_on_request(shims: Shims) -> None:
    changed = shims.make('[ "$1 $2" = "list --short" ] && echo tiny and others && exit')
    done = run("verify", "--shimmy-path", changed, "-k", "listing toys", "--all")
    assert "differs  listing: list --short, toys" in done.stdout
    assert "\n  -tiny\n" in done.stdout, done.stdout
    assert "\n  +tiny and others\n" in done.stdout


def test_verify_has_the_same_for_programs(shims: Shims) -> None:
    changed = shims.make('[ "$1" = discover ] && exit 3')
    done = run("verify", "--shimmy-path", changed, "--json", "-k", "listing toys")
    found = json.loads(done.stdout)
    assert (done.returncode, found["differs"]) == (1, True)
    (comparison,) = found["comparisons"]
    assert comparison["counts"] == {"same": 2, "differs": 2}
    verdicts = {check["name"]: check["verdict"] for check in comparison["checks"]}
    assert verdicts["list, toys"] == "same"
    assert verdicts["discover, toys"] == "differs"
    exits, *silences = comparison["changes"]
    assert exits["edits"][0] == {"part": "exit", "was": 0, "now": 3}
    assert exits["checks"] == ["listing: discover --llm-only, toys", "listing: discover, toys"]
    assert (exits["known"], sum(change["explained"] for change in silences)) == ([], 2)


def test_what_differs_only_once_is_chance(shims: Shims, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    seldom = f'[ "$*" = "list --short" ] && ! [ -e {mark} ] && echo > {mark} && echo no && exit'
    done = run("verify", "--shimmy-path", shims.make(seldom), "-k", "listing toys")
    assert (done.returncode, mark.exists()) == (0, True), done.stdout


def test_bytes_that_are_no_text_can_be_shown(shims: Shims) -> None:
    changed = shims.make('[ "$*" = "list --short" ] && printf "\\201" && exit')
    done = run("verify", "--shimmy-path", changed, "-k", "listing toys")
    assert done.returncode == 1
    assert "\n    + \\udc81\n" in done.stdout, done.stdout + done.stderr


def test_verify_goes_on_where_the_server_dies_or_does_not_come_up(shims: Shims) -> None:
    dead = shims.make('[ "$1" = serve ] && echo no >&2 && exit 9')
    done = run("verify", "--shimmy-path", dead, "--all", "-k", "routes /health")
    assert done.returncode == 1
    assert done.stdout.count("\n  +9\n") == done.stdout.count("\ndiffers  ") > 10
    assert "  +no\n" in done.stdout


def test_a_recording_can_stand_in_for_the_executable() -> None:
    one = recording_files.SHIPPED / "2.5.0-cpu-only.json"
    done = run("verify", "--shimmy-path", one, "--recording", one)
    assert done.returncode == 0
    other = recording_files.SHIPPED / "2.5.0-default.json"
    done = run("verify", "--shimmy-path", one, "--recording", other, "--all")
    assert done.returncode == 1
    assert "There is no recording of 2.5.0-cpu-only; this is the nearest." in done.stdout
    assert "differs  machine: gpu-info" in done.stdout


def test_a_newer_release_is_compared_with_the_newest_before_it(shims: Shims) -> None:
    newer = shims.make('[ "$*" = --version ] && echo shimmy 2.77.0 && exit')
    done = run("verify", "--shimmy-path", newer, "-k", "help: list")
    assert done.returncode == 0, done.stdout
    assert "There is no recording of 2.77.0-cpu-only; this is the nearest." in done.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--release", "9.9.9"), "there is no recording of 9.9.9, any build; there is: 2."),
        (("--shimmy-path", "/nowhere/shimmy"), "[BINARY_NOT_FOUND]"),
        (("--recording", "/nowhere.json"), "is not a recording that can be read here"),
        (("--shimmy-path", __file__), "[BINARY_NOT_EXECUTABLE]"),
        (("-k", "no such check"), "no check has all of these words in its name: no such check"),
    ],
)
def test_verify_says_what_it_lacks(arguments: tuple[str, ...], complaint: str) -> None:
    done = run("verify", *arguments)
    assert done.returncode == 1
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("output", ["/nowhere/x.json", "."])
def test_record_says_at_once_that_it_cannot_write(shims: Shims, output: str) -> None:
    done = run("record", "--shimmy-path", shims.make(), "--output", output)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("pytest-shimmy: [VERIFY_FAILED] ")
    assert "cannot be written" in done.stderr


@pytest.fixture
def without_adapter(shims: Shims) -> subject.Subject:
    """A default build, on a machine where no model runs."""
    said = "Airframe GPU load failed: No GPU adapter found"
    path = shims.make(f'[ "$1" = generate ] && echo "Error: {said}" >&2 && exit 1')
    return subject.executable(path)._replace(engine="airframe", release="2.6.5")


def test_nothing_is_recorded_in_part(without_adapter: subject.Subject) -> None:
    with pytest.raises(ShimmyError, match=r"2\.6\.5-default cannot be recorded whole: needs a gr"):
        verify.record(without_adapter)


def test_checks_that_need_an_adapter_say_so_where_there_is_none(
    without_adapter: subject.Subject,
) -> None:
    is_inference: Callable[[Case], bool] = lambda case: case.group == "inference"  # noqa: E731
    entries = {
        case.id: recordings.Entry(recordings.digest(case), {"exit": 0})
        for case in filter(is_inference, all_cases())
    }
    recording = Recording("2.6.5", "airframe", "here", (), entries)
    results = list(verify.check(without_adapter, recording, is_inference))
    assert len(results) == len(entries) > 300
    assert {result.verdict for result in results} == {"not applicable"}
    (reason,) = {result.note for result in results}
    assert "needs a graphics adapter; a software renderer will do" in reason
    assert reason.endswith("It said: Error: Airframe GPU load failed: No GPU adapter found")


def test_an_executable_without_a_known_engine_is_refused(shims: Shims) -> None:
    with pytest.raises(ShimmyError, match="names no engine") as caught:
        subject.executable(shims.make('[ "$1" = gpu-info ] && echo strange && exit'))
    assert caught.value.code == ShimmyErrorCode.BINARY_NOT_SHIMMY


def test_what_is_recorded_is_found_again(shims: Shims, tmp_path: Path) -> None:
    who = subject.executable(shims.make())
    made = verify.record(who, lambda case: case.group in ("listing", "target", "signals"))
    recording_files.save(made, tmp_path / "made.json")
    assert recording_files.load(tmp_path / "made.json") == made
    assert len(made.entries) > 40
    done = run("verify", "--recording", tmp_path / "made.json", "-k", "target")
    assert done.returncode == 0, done.stdout


def test_what_varies_is_not_recorded(shims: Shims, tmp_path: Path) -> None:
    count = tmp_path / "count"
    counting = f"echo x >> {count}; while read -r line; do echo $line; done < {count}"
    who = subject.executable(shims.make(f'if [ "$*" = list ]; then {counting}; fi'))
    with pytest.raises(ShimmyError, match="came out differently the second time") as caught:
        verify.record(who, lambda case: case.group == "listing")
    assert "listing: list, toys" in caught.value.details["unsteady"]
    assert "listing: list --short, toys" not in caught.value.details["unsteady"]


def test_ignored_signals_are_not_passed_on(shims: Shims) -> None:
    command = [sys.executable, "-m", "pytest_shimmy.cli", "verify", "-k", "signals"]
    done = subprocess.run(
        [*command, "--shimmy-path", shims.make()],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_an_interrupted_check(
    shims: Shims,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wait_until_gone: Callable[[int], None],
    number: int,
) -> None:
    ours = tmp_path / "temporary"
    ours.mkdir()
    monkeypatch.setenv("TMPDIR", str(ours))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    telling = shims.make(f'[ "$1" = serve ] && echo $$ > {pipe}')
    command = [sys.executable, "-m", "pytest_shimmy.cli", "verify", "--shimmy-path", telling]
    with subprocess.Popen(
        [*command, "-k", "routes"], stdout=subprocess.DEVNULL, preexec_fn=as_from_a_terminal
    ) as checking:
        with open(pipe, encoding="utf-8") as told:
            server = int(told.readline())
        checking.send_signal(number)
        checking.wait(60)
    wait_until_gone(server)
    if number != signal.SIGKILL:
        assert checking.returncode == 128 + number
        assert list(ours.iterdir()) == []
