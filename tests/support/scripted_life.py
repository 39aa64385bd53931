"""Processes of the fake whose life is scripted."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from tests.support.fake_process import TOY_MODEL, Running, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.fake_process import Shimmy

LAST_OF_BANNER = b"OpenAI-compatible"


def give_model(shimmy: Shimmy) -> None:
    """Put the model ``tiny`` where it is found."""
    folder = shimmy.cwd / "models"
    folder.mkdir(exist_ok=True)
    (folder / "tiny.safetensors").write_bytes(TOY_MODEL)


def script(shimmy: Shimmy, **life: object) -> str:
    """The path of a script with this ``life``; there is a model as well then."""
    give_model(shimmy)
    path = shimmy.cwd / "script.json"
    path.write_text(json.dumps({"life": life}))
    return str(path)


@contextlib.contextmanager
def serving(shimmy: Shimmy, **life: object) -> Iterator[Running]:
    """A server with this ``life`` that has shown its banner, and perhaps not more."""
    port = free_port()
    process = shimmy.start(
        "serve", "--bind", f"127.0.0.1:{port}", FAKE_SHIMMY_SCRIPT=script(shimmy, **life)
    )
    try:
        assert process.stdout is not None
        while LAST_OF_BANNER not in (line := process.stdout.readline()):
            assert line, process.communicate()
        yield Running(process, port)
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def listening(shimmy: Shimmy, **life: object) -> Iterator[Running]:
    """A server with this ``life`` that can be connected to."""
    with shimmy.serve(FAKE_SHIMMY_SCRIPT=script(shimmy, **life)) as running:
        yield running


def ends(running: Running) -> tuple[int, str]:
    """How the server ended: its status and its last words."""
    status = running.process.wait(10)
    assert running.process.stderr is not None
    return status, running.process.stderr.read().decode()


def health(running: Running) -> int:
    return running.request("GET", "/health").status
