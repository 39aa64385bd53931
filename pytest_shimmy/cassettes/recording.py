"""Recording in a test process: from the recorder to files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from filelock import FileLock

from fake_shimmy.script.timed_answer import Recording

from ..errors import ShimmyError
from ..runtime_dir import subdir
from .cassette import Cassette, Origin
from .folder import Folder
from .merge import merged
from .recorder_control import Recorded, RecorderControl, Waiting
from .run import CassetteRun

PATIENCE = 5.0
"""Seconds for answers that are on their way when a test is over."""


class RecordingRun(CassetteRun):
    """Records what this process asks; `mode` is the setting ``record_mode``."""

    def __init__(self, folder: Folder, key: str, environ: Mapping[str, str], mode: str) -> None:
        super().__init__(folder, key, environ)
        self._describe: Callable[[], Mapping[str, Any]] | None = None
        self._mode = mode
        self._controls: list[RecorderControl] = []
        self._notes: dict[RecorderControl, Callable[[float, Recording], None]] = {}
        self._taken: dict[str, list[Recorded]] = {}
        self._written: set[str] = set()
        self._origin: Origin | None = None
        self.unwritten: dict[str, str] = {}
        """Cassettes that could not be written, because of a secret in them or else; and why, in a
        line. The run has failed then, whatever became of its tests."""

    def add(
        self,
        url: str,
        token: str,
        number: int,
        note: Callable[[float, Recording], None] | None = None,
    ) -> RecorderControl:
        """Record a server; `number` is 0 for the shared one. `note` is told of each exchange and
        its time, for a report of the run. Raises `ShimmyError`."""
        control = RecorderControl(url, token)
        control.open(self.key, number)
        control.use_cassette(self.key, self.current)
        self._controls.append(control)
        if note is not None:
            self._notes[control] = note
        return control

    def know(self, describe: Callable[[], Mapping[str, Any]], number: int) -> None:
        """A server can be described; that of all tests counts more than one test's own."""
        if self._describe is None or not number:
            self._describe, self._origin = describe, None

    def remove(self, control: RecorderControl) -> None:
        """The server is about to end."""
        if self._origin is None and self._describe is not None:
            document = self._describe()  # while it still can
            self._describe = lambda: document
        with contextlib.suppress(ShimmyError):  # it has ended on its own
            self._take(control)
            control.end(self.key)
        control.close()
        self._controls.remove(control)

    def waiting(self) -> list[Waiting]:
        """The answers that are waited for at the moment. May be called by another thread. Raises
        `ShimmyError`."""
        return [each for control in list(self._controls) for each in control.waiting(self.key)]

    def finish(self, name: str, *, is_shared: bool, has_failed: bool = False) -> None:
        """A test or a fixture is over: write its cassette. Raises `ShimmyError`.

        `is_shared`: others have a part in it, so what is not asked now stays.
        """
        for control in self._controls:
            self._take(control)
        recorded = self._taken.get(name, []) if is_shared else self._taken.pop(name, [])
        if recorded and (self._mode != "failed" or has_failed or is_shared):
            try:
                self._write(name, recorded, keep=is_shared or has_failed)
            except ShimmyError as error:
                self.unwritten[name] = str(error).partition("\n")[0]
                raise

    def close(self) -> None:
        """Nothing more is asked: write what was asked after the last test; see `unwritten`."""
        for control in list(self._controls):
            self.remove(control)
        for name in list(self._taken):
            with contextlib.suppress(ShimmyError):  # no test is there to fail
                self.finish(name, is_shared=True)

    def _switched(self) -> None:
        for control in self._controls:
            control.use_cassette(self.key, self.current)

    def _take(self, control: RecorderControl) -> None:
        note = self._notes.get(control)
        for recorded in control.take(self.key, PATIENCE):
            self._taken.setdefault(recorded.cassette, []).append(recorded)
            self.counts = self.counts._replace(recorded=self.counts.recorded + 1)
            if note is not None:
                secrets = self.secrets(*recorded.credentials)
                note(recorded.time, secrets.recording(recorded.recording))

    def _write(self, name: str, recorded: Iterable[Recorded], *, keep: bool) -> None:
        secrets = self.secrets(*(each for one in recorded for each in one.credentials))
        new = [secrets.recording(each.recording) for each in recorded]
        # Workers run fixtures and share cassettes, each for itself.
        lock = subdir("locks") / "cassettes.lock"
        with FileLock(str(lock)).acquire(30):
            stored = self.folder.read(name)
            before = [] if stored is None else stored.exchanges
            exchanges = merged(
                before, new, secrets.sameness, keep=keep, only_missing=self._mode == "missing"
            )
            if stored is not None and _same(before, exchanges):
                return
            cassette = Cassette(self._described(new), exchanges)
            secrets.check(cassette.document(), str(self.folder.file(name)))
            self.folder.write(name, cassette)
        self._written.add(name)
        self.counts = self.counts._replace(written=len(self._written))

    def _described(self, new: list[Any]) -> Origin:
        if self._origin is None:
            assert self._describe is not None  # a server has been asked
            document = dict(self._describe())
            self._origin = Origin(
                at=document["at"],
                server=document["server"],
                build=document.get("build", ""),
                backend=document.get("backend", ""),
            )
            stored = self.folder.server()
            # Health has the time in it.
            passing = {name: document.get(name) for name in ("at", "health")}
            if stored is None or {**stored, **passing} != {**document, **passing}:
                self.secrets().check(document, str(self.folder.file("server")))
                self.folder.write_server(document)
        bodies = [each.request.json for each in new]
        models = [body.get("model") for body in bodies if isinstance(body, dict)]
        model = next((model for model in models if isinstance(model, str)), "")
        return self._origin._replace(model=model)


def _same(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(map(lambda a, b: a is b, one, other))
