"""Logs that are kept have bounds; a keeper that nobody can join is not taken for one."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from pytest_shimmy.sharing import files
from pytest_shimmy.sharing.files import RendezvousFile, announce, keep_log, read_rendezvous


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "server.log"
    path.write_bytes(b"oldest\nnewest\n")
    return path


def test_a_kept_log_moves(log: Path, tmp_path: Path) -> None:
    kept = keep_log(log, tmp_path / "logs", "mine")
    assert (kept.read_bytes(), log.exists()) == (b"oldest\nnewest\n", False)


def test_of_a_long_log_the_newest_part_is_kept(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "KEPT_SIZE", len("newest\n"))
    kept = keep_log(log, tmp_path / "logs", "mine")
    assert kept.read_text() == "[7 bytes were left out here]\nnewest\n"


def test_logs_are_removed_by_number_and_by_age_but_never_the_one_that_is_kept(
    log: Path, tmp_path: Path
) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    day, now = 24 * 3600, time.time()
    for number in range(files.KEPT_LOGS + 3):
        (logs / f"{number}.log").touch()
        os.utime(logs / f"{number}.log", (now, now - number * day))
    os.utime(log, (0, 0))
    kept = keep_log(log, logs, "mine")
    names = {path.stem for path in logs.iterdir()}
    assert names == {kept.stem, *(str(number) for number in range(files.KEPT_DAYS))}


def test_what_is_announced_is_read_back(tmp_path: Path) -> None:
    for address in ("a-name", ("127.0.0.1", 22435)):
        announce(tmp_path, RendezvousFile(address, "token"))
        assert read_rendezvous(tmp_path) == RendezvousFile(address, "token")
        assert RendezvousFile.path(tmp_path).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "data", [None, 1, [], {}, {"address": 1, "token": ""}, {"address": ["host", "port"]}]
)
def test_a_file_that_is_none_of_ours_is_no_rendezvous(tmp_path: Path, data: object) -> None:
    RendezvousFile.path(tmp_path).write_text(json.dumps(data))
    assert read_rendezvous(tmp_path) is None
