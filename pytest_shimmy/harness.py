"""The servers of one pytest process: which it holds, what to start, when to let go.

Knows settings, sharing and servers, but not pytest; `plugin` and `fixtures` call it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .accel.lease import GpuLease
from .defaults import ShimmyProcessDefaults
from .errors import ShimmyError, is_ours
from .executable.dialect import API_KEY
from .launch.plan import Plan, plan
from .launch.target import Target, Targets
from .network.addresses import authority
from .real_files import real_files
from .server import ShimmyServer, attach, attached_version
from .settings import API_KEY_VARIABLE, Settings
from .sharing.link import Link, join, launch, server_directory
from .sharing.protocol import ServerSummary
from .sharing.run import Run

if TYPE_CHECKING:
    from fake_shimmy.script.timed_answer import Recording

    from .cassettes.recorder_control import RecorderControl
    from .cassettes.recording import RecordingRun
    from .cassettes.replaying import ReplayRun
    from .fake_control.fake import FakeShimmy

__tracebackhide__ = is_ours

END_TIMEOUT = ShimmyProcessDefaults.stop_grace + 2
"""Seconds to wait for servers at the end of a run: they get their grace, and a little more."""


class Harness:
    """Made once per pytest process, before it is known whether any test needs a server."""

    def __init__(
        self,
        run: Run,
        worker_id: str | None,
        targets: Targets,
        show: Callable[[str], None] | None = None,
        report: str | None = None,
    ) -> None:
        self.run = run
        self._targets = targets
        self._worker_id = worker_id
        self._gpu: GpuLease | None = None
        self._cwd = run.cwd or os.getcwd()  # noqa: PTH109
        self.show = show
        """Says on a terminal what is waited for; None where there is none."""
        self._report = report
        self._links: dict[Link, float] = {}
        """Those of shared servers, and how many seconds to wait for their ends when we leave."""
        self._servers: dict[str, ShimmyServer] = {}
        self.api_key = f"{API_KEY}-{worker_id or 'main'}-{secrets.token_hex(8)}"
        """By it fake and recorder know what this process asks."""
        self.recording: RecordingRun | None = None
        self.replay: ReplayRun | None = None
        self._recorders: dict[ShimmyServer, RecorderControl] = {}
        self._numbers: dict[ShimmyServer, int] = {}
        self._own_servers = 0
        """How many the running test has made so far."""
        self.current: ShimmyServer | None = None
        """The server that `shimmy_server` yields at the moment."""
        self.private: list[ShimmyServer] = []
        """Servers of the running test alone."""
        self.fakes: list[FakeShimmy] = []
        """The remote controls that the running test uses."""
        self.server_summaries: list[ServerSummary] = []
        """One for each server that ended because of this process."""

    def shared_server(self, settings: Settings) -> ShimmyServer:
        """The run's server for `settings`, started by who asks first. Raises `ShimmyError`."""
        with real_files():
            return self._shared_server(settings)

    def _shared_server(self, settings: Settings) -> ShimmyServer:
        key = self._key(settings)
        if key not in self._servers:
            if settings.mode == "attached" and settings.record is None:
                server = self._noted(attach(settings))
            else:
                target = self._targets.of(settings)
                self._hold_gpu(target)
                run = self.run
                if settings.scope == "worker":  # it ends with this process, not with the run
                    run = run._replace(anchor=None)
                link = join(run, key, lambda directory: self._plan(target, directory))
                # The process with the anchor waits for its end, or it is on another machine.
                self._links[link] = END_TIMEOUT if settings.scope == "worker" else 0.0
                server = self._server(target, link)
                if settings.warms_up:
                    server.warm_up(self.show or (lambda _: None))
            if settings.model is not None:
                _ = server.model  # a name that it does not have is better said now
            self._servers[key] = server
        self.current = self._servers[key]
        return self.current

    def private_server(
        self, settings: Settings, script: Mapping[str, Any] | None = None
    ) -> ShimmyServer:
        """A server of the running test's own, to be given to `stop`. Raises `ShimmyError`."""
        with real_files():
            return self._private_server(settings, script)

    def _private_server(
        self, settings: Settings, script: Mapping[str, Any] | None = None
    ) -> ShimmyServer:
        if settings.mode == "attached" and settings.record is None:
            return self._noted(attach(settings))
        self._own_servers += 1
        target = self._targets.of(settings)
        self._hold_gpu(target)
        directory = server_directory(self.run.id[:16])
        chosen = self._plan(target, directory, script)
        link = launch(self.run, directory, chosen, alone=True)
        try:
            server = self._server(target, link, is_private=True)
        except BaseException:
            link.leave(END_TIMEOUT)
            raise
        self.private.append(server)
        if settings.uses_fake:
            with contextlib.suppress(ShimmyError):  # it is meant to end at once
                self.control(server.fake)
        return server

    def use_cassettes(self, settings: Settings) -> None:
        """Record or replay as `settings` say. Raises `ShimmyError` (``CASSETTE_INVALID``)."""
        from .cassettes.folder import Folder

        environ = dict(settings.env)
        if (server_key := settings.server_key()) is not None:
            environ[API_KEY_VARIABLE] = server_key  # as secret when it comes from elsewhere
        if settings.replay is not None:
            from .cassettes.replaying import ReplayRun

            folder = Folder(Path(settings.replay))
            self.replay = ReplayRun(folder, self.api_key, environ, settings.replay_speed)
        elif settings.record is not None:
            from .cassettes.recording import RecordingRun

            folder = Folder(Path(settings.record))
            self.recording = RecordingRun(folder, self.api_key, environ, settings.record_mode)

    def begin_test(self) -> None:
        """A test begins, which has no server of its own yet."""
        self._own_servers = 0

    def settle(self) -> None:
        """Wait until the tests before have no session left on a shared fake."""
        for server in self._servers.values():
            server.settle()

    def control(self, fake: FakeShimmy) -> FakeShimmy:
        """Begin anew with what `fake` controls, for the running test. Raises `ShimmyError`."""
        fake.__enter__()
        self.fakes.append(fake)
        return fake

    def release(self, fake: FakeShimmy) -> None:
        """The test that used `fake` is over."""
        self.fakes.remove(fake)
        fake.close()

    def stop(self, server: ShimmyServer) -> None:
        """End a private server."""
        if server not in self.private:
            return
        with real_files():
            number = self._numbers.pop(server, 0)
            if (recorder := self._recorders.pop(server, None)) and self.recording is not None:
                self.recording.remove(recorder)
            if self.replay is not None:
                self.replay.remove(number)
            self.private.remove(server)
            for fake in [each for each in self.fakes if each.server_url == server.url]:
                self.release(fake)
            self.server_summaries += server.leave(END_TIMEOUT)

    def finish(self) -> None:
        """Let go of everything, and wait for what ends because of it. May be called twice."""
        for server in list(self.private):
            self.stop(server)
        for cassettes in (self.recording, self.replay):
            if cassettes is not None:
                cassettes.close()
        for server in self._servers.values():
            server.hang_up()
        for link, timeout in self._links.items():
            self.server_summaries += link.leave(timeout)
        if self._gpu is not None:
            self._gpu.release()
            self._gpu = None
        self._links.clear()
        self._servers.clear()
        self.current = None

    def _noted(self, server: ShimmyServer) -> ShimmyServer:
        """`server`, whose clients note what they ask where a report has no other source."""
        if self._report is not None:
            from .run_report.client_exchanges import ClientExchanges

            worker = self._worker_id or "main"
            server.exchanges = ClientExchanges(self._report, worker, server.url, self.api_key)
        return server

    def _note(self, url: str) -> Callable[[float, Recording], None] | None:
        """Writes what the recorder at `url` has seen, for a report of the run."""
        if self._report is None:
            return None
        from .run_report.recorded_exchanges import RecordedExchanges

        worker = self._worker_id or "main"
        return RecordedExchanges(self._report, worker, url, self.api_key).write

    def _plan(
        self, target: Target, directory: Path, script: Mapping[str, Any] | None = None
    ) -> Plan:
        chosen = plan(target, directory, script, cwd=self._cwd)
        if self._report is None:
            return chosen
        if target.settings.mode == "real":
            target.executable.build()  # from which a report knows the backend
        return chosen.reported(self._report, directory.name)

    def _hold_gpu(self, target: Target) -> None:
        """With a server per worker, wait until the GPU is free for those of this process."""
        if target.settings.scope == "worker" and self._gpu is None and target.may_use_gpu():
            lease = GpuLease({**os.environ, **target.executable.env})
            lease.acquire(f"worker {self._worker_id or 'main'}", self.show)
            self._gpu = lease

    def _key(self, settings: Settings) -> str:
        fields = settings._asdict()
        # What is said with every reset needs no server of its own.
        del fields["sources"], fields["seed"], fields["report"]
        fields["require"] = sorted(settings.require)
        # Relative names in a server's arguments and its ./models depend on where it is started.
        fields["cwd"] = self._cwd
        fields["worker"] = self._worker_id if settings.scope == "worker" else None
        return json.dumps(fields, sort_keys=True)

    def _server(self, target: Target, link: Link, *, is_private: bool = False) -> ShimmyServer:
        settings = target.settings
        offset = 0 if link.launched_here else link.status().log_size
        snapshot = link.ready(self._waiting(settings))
        url = f"http://{authority(snapshot.host, snapshot.port)}"
        number = self._own_servers if is_private else 0
        version, behind, facts = snapshot.version, None, None
        if snapshot.recorder is not None:
            behind, url = settings.url or url, snapshot.recorder
            version = version or attached_version(settings)
        elif settings.mode == "replayed" and self.replay is not None:
            facts = self.replay.folder.server()
            version = str((facts or {}).get("version", version))
            self.replay.add(url, snapshot.control or "", number)
        is_known = settings.uses_fake or snapshot.recorder is not None
        key = self.api_key if is_known else ""
        server = ShimmyServer(
            settings, url, version, link, offset, key,
            target=None if settings.mode == "attached" else target,
            is_private=is_private, behind=behind, recorded=facts,
        )  # fmt: skip
        self._numbers[server] = number
        if snapshot.recorder is not None and self.recording is not None:
            token = snapshot.recorder_token or ""
            note = None if settings.uses_fake else self._note(snapshot.recorder)
            self._recorders[server] = self.recording.add(snapshot.recorder, token, number, note)
            from .cassettes.server_facts import describe

            def described() -> Mapping[str, Any]:
                is_known = settings.mode != "attached"
                return describe(server, target.executable.build().line if is_known else "")

            self.recording.know(described, number)
        is_seen = settings.uses_fake or snapshot.recorder is not None
        return server if is_seen else self._noted(server)

    def _waiting(self, settings: Settings) -> Callable[[float], None] | None:
        if self.show is None:
            return None
        show = self.show
        what = str(settings.path or settings.url or "the bundled fake")
        return lambda seconds: show(f"waiting for {what} to be healthy ({seconds:.0f} s so far)")
