"""`ShimmyServer`: what a test holds, whichever server is behind it.

The process behind it belongs to a keeper, or is not ours (`attach`); this object only asks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .errors import ShimmyError, ShimmyErrorCode, misused
from .executable.dialect import API_KEY, HARNESS_KEY
from .launch.hermetic import has_made_up_model, made_up_id
from .masking import masked, printable
from .models.default_model import default_model
from .network.questions import Questions, denied, key_headers
from .real_files import real_files
from .settings import Mode, Settings
from .sharing.link import Link
from .sharing.protocol import Death, ServerSummary, Snapshot
from .sharing.server_log import part_of_log
from .supervisor.health import is_shimmy

if TYPE_CHECKING:
    import openai

    from .accel.readback import ServerGpu
    from .fake_control.connection import Control
    from .fake_control.fake import FakeShimmy
    from .fake_control.message_file import MessageFile
    from .launch.target import Target
    from .launch.warm_up import WarmUp
    from .run_report.client_exchanges import ClientExchanges

LOAD_TIMEOUT = 600.0
"""Seconds, for a first answer: a model is loaded for it, and models are large."""


class ShimmyServer:
    """A running server. The fixtures make, start and stop it.

    All methods that send it a request raise `ShimmyError` when it cannot be reached.
    """

    def __init__(
        self,
        settings: Settings,
        url: str,
        version: str,
        link: Link | None,
        log_offset: int = 0,
        session_key: str = "",
        *,
        target: Target | None = None,
        is_private: bool = False,
        behind: str | None = None,
        recorded: Mapping[str, Any] | None = None,
    ) -> None:
        self.settings = settings
        """What it was started or attached with."""
        self.url = url
        """Address without a path, such as ``http://127.0.0.1:22435``."""
        self.session_key = session_key
        """What tells this test process from others, on a fake that they share."""
        # A recorder knows the server's key itself, and tells test processes apart by theirs.
        key = None if behind is not None else settings.server_key()
        # Where the key must be the server's own, the path says who is asking.
        is_in_path = bool(session_key) and key is not None and settings.uses_fake
        self.base_url = f"{url}/~{session_key}/v1" if is_in_path else f"{url}/v1"
        """What OpenAI clients call their base URL."""
        self.version = version
        """shimmy's, as it says in ``/health``."""
        self.exchanges: ClientExchanges | None = None
        """Notes what our clients ask, for a report of the run; None without one."""
        self.api_key = key or session_key or API_KEY
        """What our clients and `shimmy_env` use: the server's key, if it has one, else any. The
        fake tells test processes apart by it."""
        parts = urlsplit(url)
        self.host = parts.hostname or ""
        """The host in `url`."""
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        """The port in `url`, or that of its scheme."""
        self._target = target
        self._link = link
        self._offset = log_offset
        self._deaths_seen = 0
        self._model: str | None = None
        self._is_private = is_private
        self._behind = behind or url
        """The server itself, where a recorder stands at `url`."""
        self._recorded = recorded
        """What a replay says of itself."""
        self._fake: FakeShimmy | None = None
        self._control: Control | None = None
        """The line to a fake, for all remote controls of it."""
        self._messages: MessageFile | None = None
        """What is told to that fake about the requests of this process."""
        self._gpu: tuple[int | None, ServerGpu] | None = None
        self._warm_up: WarmUp | None = None

    def __repr__(self) -> str:
        return f"<ShimmyServer {self.mode} {self.version} at {masked(self.url)}>"

    @property
    def mode(self) -> Mode:
        """``"fake"``, ``"real"``, ``"attached"`` or ``"replayed"``."""
        return self.settings.mode

    @property
    def pid(self) -> int | None:
        """Process id; None when the server is attached, or just restarting."""
        return None if self._link is None else self._link.status().pid

    @property
    def restarts(self) -> int:
        """How often it was restarted after an unexpected exit."""
        return 0 if self._link is None else self._link.status().restarts

    @property
    def log_path(self) -> Path | None:
        """File with everything the server wrote; None when it is attached."""
        return None if self._link is None else Path(self._link.status().log_path)

    @property
    def logs(self) -> str:
        """Everything the server wrote so far, ``""`` when it is attached."""
        if self._link is None:
            return ""
        snapshot = self._link.status()
        return part_of_log(snapshot.log_path, snapshot.log_size, 0)[0]

    @property
    def gpu(self) -> ServerGpu:
        """The GPU backend that was asked for, and the one in use, with the server's own evidence.

        Most builds tell only when they answer for the first time (seen on 2.5.0 and 1.8.1): then
        one token is generated, which loads the model. Asked again after a restart. Of an attached
        server the log cannot be seen, and so almost nothing is known. Never raises: for a
        server that cannot be reached nothing is verified.
        """
        if self.mode == "replayed":
            from .cassettes.server_facts import recorded_gpu

            return recorded_gpu(self._recorded, self.settings.gpu[0])
        with real_files():
            from .launch.gpu import gpu_of, unknown

        try:
            pid = self.pid
            if self._gpu is None or self._gpu[0] != pid:
                found = gpu_of(
                    self._target,
                    self.version,
                    log=lambda: None if self._link is None else self.logs,
                    metrics=self._questions.metrics,
                    generate=self._generate,
                    answered=self._warm_up is not None and self._warm_up.pid == pid,
                )
                self._gpu = pid, found
            return self._gpu[1]
        except (ShimmyError, OSError) as error:
            return unknown(self._target, f"it could not be asked: {error}")

    @property
    def model(self) -> str:
        """The model id to put in requests: the `model` setting, or the server's default.

        The default is the one model that was named to shimmy (``SHIMMY_BASE_GGUF``, registered
        as ``tinyllama-1.1b``, seen on 2.5.0), else the first in the order of ``/v1/models``.
        Raises `ShimmyError`: ``MODEL_NOT_FOUND``, ``NO_MODELS``.
        """
        if self._recorded is not None and self.settings.model is None:
            recorded = self._recorded.get("model")
            if isinstance(recorded, str):
                return recorded
        if self._model is None:
            self._model = choose_model(self.settings, self.models(), self.version)
        return self._model

    def models(self) -> list[str]:
        """The ids in ``GET /v1/models``."""
        if self._recorded is not None:
            return list(self._recorded.get("models", ()))
        return self._questions.models()

    def health(self) -> dict[str, Any]:
        """The body of ``GET /health``."""
        if self._recorded is not None and "health" in self._recorded:
            return dict(self._recorded["health"])
        return self._questions.health()

    @property
    def fake(self) -> FakeShimmy:
        """Controls every request to this server, whatever API key is sent. For a fake that one test
        has for itself. Raises `ShimmyUsageError` for a server that other tests use, `ShimmyError`
        (``CONTROL_FAILED``) for one that is not the fake.
        """
        if self._fake is None:
            if not self._is_private:
                raise misused(
                    f"{self!r} serves other tests too: script its answers to this test with the "
                    "fixture shimmy_fake, or start one with make_shimmy_server().",
                )
            self._fake = self.remote_control("")
        return self._fake

    def openai_client(self, *, say_stream: bool = True, **kwargs: Any) -> openai.OpenAI:
        """A new client, which the caller closes. `say_stream` off sends requests as they are
        written; further arguments are those of `openai.OpenAI`."""
        kwargs = {"api_key": self.api_key, "say_stream": say_stream, **kwargs}
        if self.exchanges is not None:
            kwargs["hooks"] = self.exchanges.hooks()
        client: openai.OpenAI = _clients().openai_client(self.base_url, **kwargs)
        return client

    def async_openai_client(self, *, say_stream: bool = True, **kwargs: Any) -> openai.AsyncOpenAI:
        """The same for asyncio and trio."""
        kwargs = {"api_key": self.api_key, "say_stream": say_stream, **kwargs}
        if self.exchanges is not None:
            kwargs["hooks"] = self.exchanges.async_hooks()
        client: openai.AsyncOpenAI = _clients().async_openai_client(self.base_url, **kwargs)
        return client

    # For the plugin

    def remote_control(self, key: str) -> FakeShimmy:
        """The control of the requests with `key`; nothing is opened yet. Raises `ShimmyError`."""
        if self._control is None:
            token = None if self._link is None else self._link.status().control
            if not self.settings.uses_fake or token is None:
                raise ShimmyError(
                    ShimmyErrorCode.CONTROL_FAILED,
                    f"{self!r} is not the bundled fake, and cannot be told what to answer.\n"
                    "Run the test with --shimmy-fake, or mark it with shimmy_fake.",
                )
            from .fake_control.connection import Control

            self._control = Control(self._behind, token)
        from .fake_control.fake import FakeShimmy

        return FakeShimmy(
            self._behind,
            self._control.token,
            control=self._control,
            key=key,
            seed=self.settings.seed,
            strict_fidelity=self.settings.strict_fidelity,
            messages=self._message_file(self._control) if key and key == self.session_key else None,
        )

    def _message_file(self, control: Control) -> MessageFile | None:
        """For what is said to the fake in every test; None where it can only be asked."""
        process = None if self._link is None else self._link.server
        if process is None or self._link is None:
            return None
        if self._messages is None or self._messages.process is not process:
            from .fake_control.message_file import MessageFile

            if self._messages is not None:
                self._messages.close()
            directory = self._link.directory
            self._messages = MessageFile(control, self.session_key, directory, process)
        return self._messages

    def settle(self) -> None:
        """Wait until the fake has ended the sessions of the tests before."""
        if self._control is not None:
            self._control.settle()

    def begin_test(self) -> None:
        """Wait for a restart that is under way, and note where this test's log begins."""
        if self._link is not None:
            try:
                self._note(self._link.glance() or self._link.ready())
            except ShimmyError:
                self.note_log()
                raise

    def warm_up(self, show: Callable[[str], None]) -> None:
        """Have it load its model, and wait for that. Raises `ShimmyError`."""
        assert self._link is not None
        from .launch.warm_up import warmed_up

        self._warm_up = warmed_up(
            self._link.directory,
            self.model,
            self.pid,
            self._generate,
            show,
            lambda: self.logs,
        )

    def note_log(self) -> None:
        """Note where this test's log begins, and no more: it may not need the server."""
        if self._link is not None:
            with contextlib.suppress(ShimmyError):
                self._note(self._link.glance() or self._link.status())

    def _note(self, snapshot: Snapshot) -> None:
        self._offset = snapshot.log_size
        self._deaths_seen = len(snapshot.deaths)

    def missing_model(self) -> str | None:
        """The model file that it was started with, if that is gone. Raises `ShimmyError`."""
        path = None if self._link is None else self._link.status().model_path
        with real_files():
            return None if path is None or Path(path).exists() else path

    def what_happened(self, limit: int) -> tuple[str, int, list[Death]]:
        """The log since `begin_test`, and the server's deaths since then.

        Of the log, the newest `limit` bytes, and how many came before. Raises `ShimmyError`.
        """
        if self._link is None:
            return "", 0, []
        snapshot = self._link.status()
        log, left_out = part_of_log(snapshot.log_path, snapshot.log_size, self._offset, limit)
        return log, left_out, list(snapshot.deaths[self._deaths_seen :])

    def log_so_far(self, limit: int) -> tuple[str, int]:
        """The log since `begin_test`, as `what_happened` gives it, but for what is on its way: the
        keeper is not asked. Raises `ShimmyError`."""
        logged = None if self._link is None else self._link.logged()
        return ("", 0) if logged is None else part_of_log(*logged, self._offset, limit)

    @property
    def backend(self) -> str | None:
        """The backend in use, where it was asked for before; see `gpu`. Asks nothing."""
        return self._gpu[1].in_use if self._gpu is not None else None

    def keep_log(self) -> None:
        """Have the log kept beyond the run."""
        if self._link is not None:
            with contextlib.suppress(ShimmyError):
                self._link.keep_log()

    def hang_up(self) -> None:
        """Close the connections to it that are kept open; they open again when needed."""
        if self._control is not None:
            self._control.close()
        if self._messages is not None:
            self._messages.close()
            self._messages = None

    def leave(self, timeout: float) -> list[ServerSummary]:
        """Give up this process's hold; see `Link.leave`."""
        self.hang_up()
        return [] if self._link is None else self._link.leave(timeout)

    def _generate(
        self, timeout: float = LOAD_TIMEOUT, waiting: Callable[[], None] = lambda: None
    ) -> bool:
        """Have one token generated; whether that worked. Calls `waiting` meanwhile. Raises
        `ShimmyError` when no answer comes."""
        try:
            body = {
                "model": self.model,
                "messages": [{"role": "user", "content": "Hi."}],
                "max_tokens": 1,
                "stream": False,
            }
        except ShimmyError:  # it has no model
            return False
        return self._questions.answers_chat(body, timeout, waiting)

    @property
    def _questions(self) -> Questions:
        return Questions(self._behind, _headers(self.settings))


def _headers(settings: Settings) -> dict[str, str]:
    """Of our own questions: with the server's key, and, to the fake, with who is asking."""
    key = settings.server_key()
    if not settings.uses_fake:
        return key_headers(key)
    headers = key_headers(HARNESS_KEY)
    return headers if key is None else {**headers, "x-api-key": key}


def attach(settings: Settings) -> ShimmyServer:
    """A server that we did not start. Raises `ShimmyError` (``HEALTHCHECK_FAILED``)."""
    assert settings.url is not None
    return ShimmyServer(settings, settings.url, attached_version(settings), None)


def attached_version(settings: Settings) -> str:
    """What a server that we did not start says of its release. It must be a shimmy, unless it is
    recorded: then any server will do. Raises `ShimmyError` (``HEALTHCHECK_FAILED``)."""
    assert settings.url is not None
    answer = Questions(settings.url, _headers(settings)).ask("/health")
    if answer.status in (401, 403) and settings.record is None:
        has_key = settings.server_key() is not None
        raise denied(f"{settings.url}/health", answer, has_key=has_key)
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not is_shimmy(body):
        if settings.record is not None:
            return "unknown"
        raise ShimmyError(
            ShimmyErrorCode.HEALTHCHECK_FAILED,
            f"{settings.url} is not a shimmy: GET /health answered {answer.status} and\n"
            f"  {answer.text[:200]!r}\nCheck the address (--shimmy-url).",
            {"url": settings.url, "status": answer.status},
        )
    return printable(str(body.get("version", "unknown")))


def choose_model(settings: Settings, ids: list[str], version: str) -> str:
    """The model that `settings` mean, of those that a server of that `version` offers."""
    if settings.model_file is not None and settings.mode != "attached":
        wanted: str | None = Path(settings.model_file).stem
    elif settings.model is None and has_made_up_model(settings):
        wanted = made_up_id(settings)
    else:
        wanted = settings.model
    if wanted is not None:
        if wanted in ids:
            return wanted
        raise ShimmyError(
            ShimmyErrorCode.MODEL_NOT_FOUND,
            f"the server has no model {wanted!r}. It has: {', '.join(map(repr, ids)) or 'none'}.\n"
            "Names are exact, upper and lower case matter. Choose one of them (--shimmy-model), "
            "or add a directory that has it (--shimmy-models-dir).",
            {"model": wanted, "available": ids},
        )
    phantom_is_real = any(name == "SHIMMY_BASE_GGUF" for name, _ in settings.env)
    default = default_model(ids, version, phantom_is_real=phantom_is_real)
    if default is None:
        raise ShimmyError(
            ShimmyErrorCode.NO_MODELS,
            "the server has no model.\nGive it one: --shimmy-models-dir, --shimmy-model=FILE, or "
            "--shimmy-tiny-model, which generates a tiny one.",
            {"available": ids},
        )
    return default.id


FOR_OPENAI_ALONE = ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID")
"""Variables that code under test would send to whatever server it asks."""


def shimmy_env(server: ShimmyServer, environ: Mapping[str, str]) -> dict[str, str]:
    """What code under test reads to find `server`, on top of `environ`."""
    no_proxy = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    if no_proxy.strip() != "*":  # which is for all hosts, but only as long as it stands alone
        no_proxy = ",".join(filter(None, (no_proxy, server.host)))
    # Both spellings: libraries differ in which they read, and in which wins.
    return {
        "OPENAI_BASE_URL": server.base_url,
        "OPENAI_API_KEY": server.api_key,
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
    }


def _clients() -> Any:
    try:
        from . import openai_clients
    except ImportError as error:
        raise ShimmyError(
            ShimmyErrorCode.CLIENT_MISSING,
            f"the OpenAI client library cannot be imported: {error}.\n"
            "Install it: pip install openai",
        ) from error
    return openai_clients
