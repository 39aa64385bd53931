"""What processes wrote that were killed while they did is read as far as it goes."""

from __future__ import annotations

from pathlib import Path

from pytest_shimmy.run_report.collect import collect, finished
from pytest_shimmy.run_report.exchange_part import ExchangePart


def write(folder: Path, body: bytes) -> bytes:
    """A process writes an exchange; the whole part."""
    ExchangePart(str(folder), "server", "main", "", "").write(
        "",
        body,
        [(0.001, b"HTTP/1.1 200 OK\r\n\r\n{}\n[]\n")],
        time=1.0,
        duration=0.01,
        method="POST",
        path="/x",
        status=200,
        ended="complete",
    )
    (part,) = folder.iterdir()
    return part.read_bytes()


def bodies(folder: Path) -> list[str]:
    document = finished(collect(folder, {"started": 0.0, "ended": 2.0, "about": []}))
    return [document["texts"][each["request"][1]] for each in document["requests"]]


def test_the_exchanges_of_a_restarted_server_are_read_wherever_the_first_was_killed(
    tmp_path: Path,
) -> None:
    size = len(write(tmp_path, b'{"first": 1}'))
    (part,) = tmp_path.iterdir()
    whole = part.read_bytes()
    for cut in range(size):
        part.write_bytes(whole[:cut])
        assert bodies(tmp_path) == []
        write(tmp_path, b"second")
        write(tmp_path, b"third")
        assert bodies(tmp_path)[-1:] == ["third"], cut
    part.write_bytes(whole)
    write(tmp_path, b"second")
    assert bodies(tmp_path) == ['{"first": 1}', "second"]
