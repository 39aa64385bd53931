"""Backtraces: the frames that the real one names, where the environment asks for them.

Strategy: frames by name only, as they were seen on 2.5.0, both builds, and 1.8.1; the C library's
source lines and ``RUST_BACKTRACE=full``'s addresses are left out, since they belong to a machine.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MESSAGE = "anyhow::error::<impl anyhow::Error>::msg"
"""Innermost frame of an error that was made from a text."""

CONVERTED = "anyhow::error::<impl core::convert::From<E> for anyhow::Error>::from"
"""Innermost frame of an error that was made from another error."""

SAFETENSORS = (
    "<shimmy::engine::safetensors_native::SafeTensorsEngine as shimmy::engine::InferenceEngine>"
    "::load::{{closure}}"
)
SAFETENSORS_READER = (
    "shimmy::engine::safetensors_native::SafeTensorsModel::load_and_cache::{{closure}}"
)
ADAPTER = (
    "<shimmy::engine::adapter::InferenceEngineAdapter as shimmy::engine::InferenceEngine>"
    "::load::{{closure}}"
)
HUGGING_FACE = (
    "<shimmy::engine::huggingface::HuggingFaceEngine as shimmy::engine::UniversalEngine>"
    "::load::{{closure}}"
)
AIRFRAME = (
    "<shimmy::engine::airframe::AirframeEngine as shimmy::engine::InferenceEngine>"
    "::load::{{closure}}"
)
LLAMA = "<shimmy::engine::llama::LlamaEngine as shimmy::engine::InferenceEngine>::load::{{closure}}"
LLAMA_ANSWER = (
    "<shimmy::engine::llama::LlamaLoaded as shimmy::engine::LoadedModel>::generate::{{closure}}"
)
AIRFRAME_RUNTIME = "airframe::runtime::gpu::GpuRuntime::load::{{closure}}"

LOOKUP = (
    "shimmy::model_registry::read_chat_template",
    "shimmy::model_registry::Registry::to_spec",
)
ADVICE = "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace"
NO_MODEL = (MESSAGE, "anyhow::__private::format_err")
REFUSED = ("anyhow::__private::format_err", "shimmy::server::run::{{closure}}")
SERVER = (CONVERTED, "shimmy::server::run::{{closure}}")

_MAIN = ("shimmy::main::{{closure}}", "shimmy::main")
_COMMAND = (
    *_MAIN,
    "std::sys::backtrace::__rust_begin_short_backtrace",
    "main",
    "__libc_start_call_main",
    "__libc_start_main_impl",
    "_start",
)
_MAPPED = (
    "<tower::util::map_response::MapResponseFuture<F,N> as core::future::future::Future>::poll"
)
_ROUTED = "<axum::routing::route::RouteFuture<E> as core::future::future::Future>::poll"
_REQUEST = (
    "<F as axum::handler::Handler<(M,T1,T2),S>>::call::{{closure}}",
    _MAPPED,
    _ROUTED,
    _MAPPED,
    "<axum::middleware::from_fn::FromFn<F,S,I,(T1,)> as tower_service::Service<"
    "http::request::Request<axum_core::body::Body>>>::call::{{closure}}",
    _MAPPED,
    _ROUTED,
    "hyper::proto::h1::dispatch::Dispatcher<D,Bs,I,T>::poll_write",
    "<axum::serve::Serve<M,S> as core::future::into_future::IntoFuture>::into_future"
    "::{{closure}}::{{closure}}",
    "tokio::runtime::task::raw::poll",
    "tokio::runtime::scheduler::multi_thread::worker::Context::run_task",
    "tokio::runtime::task::raw::poll",
    "tokio::runtime::task::UnownedTask<S>::run",
    "std::sys::backtrace::__rust_begin_short_backtrace",
    "core::ops::function::FnOnce::call_once{{vtable.shim}}",
    "<std::sys::thread::unix::Thread>::new::thread_start",
    "start_thread",
    "clone3",
)
_PANIC = ("__rustc::rust_begin_unwind", "core::panicking::panic_fmt")


OWN = "{shimmy}"
"""Stands for the folder of shimmy's own sources, which bears its version."""


class Panic(Exception):  # noqa: N818 - Rust's word
    """What ends the thread it happens on.

    ``place`` is a source position below the builder's own folders (shimmy's is :data:`OWN`),
    ``frames`` are the ones between the panic machinery and ``main``, the program's own main
    functions.
    """

    def __init__(
        self,
        reason: str,
        place: str,
        frames: tuple[str, ...],
        main: tuple[str, ...] = _MAIN,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.place = place
        self.frames = frames
        self.main = main

    def again(self) -> Panic:
        """The same, for another time."""
        return Panic(self.reason, self.place, self.frames, self.main)


def of_error(environ: Mapping[str, str], frames: Sequence[str], handler: str = "") -> str:
    """What follows the text of an error where backtraces are wanted.

    ``frames`` are its origin, ``handler`` is the request handler it came to; without one it ended
    the command.
    """
    callers = (f"{handler}::{{{{closure}}}}", *_REQUEST) if handler else _COMMAND
    switch = environ.get("RUST_LIB_BACKTRACE", environ.get("RUST_BACKTRACE", "0"))
    if switch == "0":
        return ""
    return "\n\nStack backtrace:\n" + "\n".join(_numbered([*frames, *callers]))


def report(environ: Mapping[str, str], panic: Panic, thread: str, number: int, version: str) -> str:
    """What stderr gets of a panic on ``thread`` of the release ``version``; the system knows the
    thread by ``number``."""
    place = panic.place.replace(OWN, f"shimmy-{version}")
    head = f"\nthread '{thread}' ({number}) panicked at {place}:\n{panic.reason}\n"
    return head + _of_panic(environ, (*panic.frames, *panic.main))


def _of_panic(environ: Mapping[str, str], frames: Sequence[str]) -> str:
    switch = environ.get("RUST_BACKTRACE", "0")
    if switch == "0":
        return ADVICE
    lines = ["stack backtrace:", *_numbered([*_PANIC, *frames])]
    if switch != "full":
        lines.append(
            "note: Some details are omitted, "
            "run with `RUST_BACKTRACE=full` for a verbose backtrace."
        )
    return "\n".join(lines)


def _numbered(frames: Sequence[str]) -> list[str]:
    return [f"{number:4}: {frame}" for number, frame in enumerate(frames)]
