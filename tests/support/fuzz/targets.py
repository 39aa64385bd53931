"""What must hold for any bytes, without a process: one function per entry of the fake.

Strategy: each target gets bytes, hands them to one part of ``fake_shimmy`` and lets pass only the
exceptions which that part promises; whatever else comes out is a defect. Where two ways must lead
to the same end (bytes in one piece or in many, the short way or the exact one), a target goes
both. A target that takes longer than a few seconds has failed: no input may stop the one thread
with the sockets.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import shutil
import signal
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any
from zlib import crc32

from fake_shimmy import rust
from fake_shimmy.api import chat_request, completions, generate, messages, routes
from fake_shimmy.api.access import Access
from fake_shimmy.api.application import Application
from fake_shimmy.api.context import Context
from fake_shimmy.api.pending import PendingRequest
from fake_shimmy.api.server import Server
from fake_shimmy.commands import bind, clap
from fake_shimmy.commands.usage import Ended
from fake_shimmy.models import gguf, registry, safetensors
from fake_shimmy.models.engine import AdapterEngine
from fake_shimmy.models.registry import Registry
from fake_shimmy.releases import NEWEST, RELEASES
from fake_shimmy.rust import tracing
from fake_shimmy.rust.backtrace import Panic
from fake_shimmy.serde import jsonbody, structs
from fake_shimmy.serde.jsonlexer import JsonError
from fake_shimmy.wire import websocket
from fake_shimmy.wire.head import Head, RefusedError
from fake_shimmy.wire.http1 import RequestReader
from fake_shimmy.wire.steps import NoMessageError, Upgrade, Work
from tests.support.fuzz import inputs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RELEASE = RELEASES[NEWEST]
LIMIT = 5
"""Seconds for one input; the slowest honest one takes a tenth of one."""

BODY_LIMIT = 400


@contextmanager
def timely(seconds: float = LIMIT) -> Iterator[None]:
    """Fail when the block takes longer, even inside a regular expression."""

    def give_up(*_: object) -> None:
        raise AssertionError(f"not done after {seconds} s")

    previous = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def in_pieces(data: bytes) -> list[bytes]:
    """``data`` cut in places that depend on nothing else."""
    return inputs.pieces(Random(crc32(data)), data)


def requests_in_pieces(data: bytes) -> None:
    """However the bytes are cut, the same is heard, though more or less of it: hyper looks for
    mistakes and for unusual ends of a head in what comes first, and later only for usual ends."""
    whole = _heard([data])
    is_usual = data.count(b"\n") == data.count(b"\r\n") and not _is_refusal(whole[-1:])
    for cut in (in_pieces(data), [data[at : at + 1] for at in range(len(data))]):
        heard = _heard(cut)
        shared = min(len(heard), len(whole))
        assert heard[:shared] == whole[:shared]
        assert heard == whole or not is_usual


def _is_refusal(end: list[Any]) -> bool:
    return bool(end) and isinstance(end[0], tuple)


def _heard(pieces: list[bytes]) -> list[Any]:
    """Heads and bodies, up to what ends the connection."""
    reader = RequestReader()
    heard: list[Any] = []
    in_body = False
    for piece in pieces:
        reader.buffer += piece
        while True:
            if in_body:
                body = reader.read_body(BODY_LIMIT)
                if body is None:
                    break
                heard.append(body)
                if isinstance(body, int):
                    return heard
            else:
                try:
                    head = reader.read_head()
                except RefusedError as error:
                    return [*heard, (error.status,)]
                if head is None:
                    break
                heard.append([getattr(head, name) for name in Head.__slots__])
            in_body = not in_body
    return heard


def frames_in_pieces(data: bytes) -> None:
    """The same for frames."""
    whole = _message([data])
    for cut in (in_pieces(data), [data[at : at + 1] for at in range(len(data))]):
        assert _message(cut) == whole


def _message(pieces: list[bytes]) -> bytes | str | None:
    reader = websocket.MessageReader()
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        try:
            message = reader.read(buffer)
        except NoMessageError:
            return "none"
        if message is not None:
            message.decode()
            return message
    return None


def exchange(data: bytes) -> None:
    """Any conversation is answered by steps that can be played."""
    application = _application()
    reader = RequestReader()
    reader.buffer += data
    with suppress(RefusedError, Panic):
        while (head := reader.read_head()) is not None:
            response = application.respond(head, Client())
            if isinstance(response, PendingRequest):
                body = reader.read_body(BODY_LIMIT)
                if not isinstance(body, bytes):
                    return
                response = response.answer(body)
            elif not reader.skip_body():
                return
            _play(response, reader.buffer)


class Client:
    """A client of whom nothing is known."""

    number = 1
    closed = False
    left: Callable[[], None] | None = None

    def is_local(self) -> bool:
        return False


def _play(steps: Any, rest: bytearray) -> None:
    for step in steps:
        if isinstance(step, Work):
            _play(step.work(), rest)
        elif isinstance(step, Upgrade):
            with suppress(NoMessageError):
                message = step.read(rest)
                if message is not None:
                    _play(step.answer(message), bytearray())


@functools.cache
def _application() -> Application:
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    atexit.register(shutil.rmtree, folder, True)
    inputs.put_models(folder)
    names = Registry({"SHIMMY_MODEL_PATHS": str(folder / "models")}, [], RELEASE)
    names.register_discovered()
    return _application_of(names)


def _application_of(models: Registry) -> Application:
    tracer, build = _silence(), RELEASE.builds["cpu-only"]
    names, clock = models.names(), lambda: 10**18
    server = Server(RELEASE, build, names, clock, bytes, list, 2, 1024, tracer, {}, Access())
    return Application(Context(server, models, AdapterEngine(tracer)))


def _silence() -> tracing.Tracer:
    return tracing.Tracer(tracing.Filter("trace"), False, lambda: 0, lambda _: None)


def content_types(data: bytes) -> None:
    """Any value of that header is one of two kinds."""
    routes._is_json(data)


_SHAPES: tuple[Callable[[jsonbody.Reader], Any], ...] = (
    *(shape.struct.read for shape in chat_request.SHAPES.values()),
    completions._REQUEST.read,
    messages._REQUEST.read,
    generate._REQUEST.read,
    structs.anything,
)


def bodies(data: bytes) -> None:
    """A body is read or rejected, and the short way for chats agrees with the exact one."""
    for shape in _SHAPES:
        with suppress(structs.RejectedError):
            structs.read_body(data, shape)
        with suppress(JsonError):
            structs.read_document(data, shape)
    for kind in chat_request.SHAPES.values():
        quick = chat_request._read_chat_quickly(data, kind)
        if quick is not None:
            exact = structs.read_body(data, kind.struct.read)
            found = (quick.model, quick.messages, quick.max_tokens, quick.stream)
            names = ("model", "messages", "max_tokens", "stream")
            assert found == tuple(exact.get(name) for name in names)


def documents(data: bytes) -> None:
    """A document from a file is read or complained about, by both readers alike."""
    try:
        exact: Any = jsonbody._plain(_document(data))
    except JsonError:
        exact = JsonError
    try:
        found: Any = jsonbody.load_strict(data)
    except JsonError:
        found = JsonError
    assert _comparable(found) == _comparable(exact)


def _comparable(value: Any) -> Any:
    """The value with types, and without the digits of floats, which nobody looks at."""
    if isinstance(value, list):
        return [_comparable(item) for item in value]
    if isinstance(value, dict):
        return {name: _comparable(member) for name, member in value.items()}
    return float if isinstance(value, float) else (type(value), value)


def _document(data: bytes) -> Any:
    return structs.read_document(data, structs.anything)


def command_lines(data: bytes) -> None:
    """An argument list is an invocation, or an end with status 0 or 2."""
    status = 0
    try:
        clap.parse("shimmy", RELEASE, [rust.from_os(word) for word in data.split(b"\0")])
    except Ended as ended:
        status = ended.status
        ended.text.encode()
    assert status in (0, 2)


def variables(data: bytes) -> None:
    """Any value of a variable that is parsed."""
    text = rust.from_os(data.replace(b"\0", b""))
    environ = dict.fromkeys(("RUST_LOG", "SHIMMY_MAX_CTX", "SHIMMY_BIND_ADDRESS"), text)
    tracing.Filter(rust.variable(environ, "RUST_LOG") or "").enabled(tracing.INFO, "shimmy")
    registry._context_length(rust.variable(environ, "SHIMMY_MAX_CTX"), 2048)
    with suppress(bind.InvalidAddressError):
        bind._parse(text, "bind address")


def model_files(data: bytes) -> None:
    """A model file is loaded, or refused with a text, or a panic as in the real one."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        # What follows the second mark is the JSON file beside it.
        content, _, beside = data.partition(b"|")
        Path(folder, "config.json").write_bytes(beside) if beside else None
        path = Path(folder, "m.safetensors")
        path.write_bytes(content)
        with suppress(safetensors.LoadError, Panic):
            safetensors.load(str(path), _silence())


def ggufs(data: bytes) -> None:
    """A GGUF file is taken, or there are lines about it, whether as a model or as an adapter."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder, "m.gguf")
        path.write_bytes(data)
        for lines in (gguf.read(str(path)).complaints, gguf.adapter_complaints(str(path))):
            "\n".join(lines).encode()


def trees(data: bytes) -> None:
    """Any folder tree is searched, and all that is found can be shown."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        inputs.grow_tree(Random(data), folder.encode())
        shown = rust.join(folder, "models")
        environ = {"SHIMMY_MODEL_PATHS": f"{folder};{shown}", "OLLAMA_MODELS": folder}
        found = Registry(environ, [], RELEASE)
        found.register_discovered()
        for name in found.names():
            spec = found.lookup(name)
            assert spec is not None
            assert rust.debug(spec.path).encode()
            with suppress(safetensors.LoadError, Panic):
                AdapterEngine(_silence()).load(spec)
        application = _application_of(found)
        for path in (b"/v1/models", b"/api/tags", b"/api/models"):
            _play(application.respond(Head(b"GET", path, False), Client()), bytearray())


class Target:
    """A check, the good input that is spoiled for it, and whether bytes are only a seed."""

    def __init__(self, check: Callable[[bytes], None], seeds: tuple[bytes, ...]) -> None:
        self.check = check
        self.seeds = seeds

    def __call__(self, data: bytes) -> None:
        with timely():
            self.check(data)


_LINES = tuple(b"\0".join(words) for words in itertools.pairwise(inputs.WORDS))
_FILES = (*inputs.TOYS, *(toy + b'|{"num_hidden_layers":3}' for toy in inputs.TOYS))
TARGETS = {
    "requests_in_pieces": Target(requests_in_pieces, inputs.REQUESTS),
    "frames_in_pieces": Target(frames_in_pieces, inputs.FRAMES),
    "exchange": Target(exchange, inputs.REQUESTS),
    "content_types": Target(content_types, inputs.CONTENT_TYPES),
    "bodies": Target(bodies, inputs.DOCUMENTS),
    "documents": Target(documents, (*inputs.DOCUMENTS, inputs.HEADER)),
    "command_lines": Target(command_lines, _LINES),
    "variables": Target(variables, inputs.VALUES),
    "model_files": Target(model_files, _FILES),
    "ggufs": Target(ggufs, inputs.GGUFS),
    "trees": Target(trees, (b"a", b"b")),
}
