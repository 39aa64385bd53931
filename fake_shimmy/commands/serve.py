"""``serve``, up to the moment when requests are answered.

Strategy: the real one's order of events, which is not the obvious one: it claims to be ready
before it binds (seen on 2.5.0, both builds, and 1.8.1).
"""

from __future__ import annotations

import gc
import os
import sys
import time

from fake_shimmy import rust
from fake_shimmy.api.access import Access
from fake_shimmy.commands import bind, listing, supervised
from fake_shimmy.models import files
from fake_shimmy.releases import LLAMA
from fake_shimmy.rust import backtrace, console, tracing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fake_shimmy.api.interfaces import Layer
    from fake_shimmy.commands.bind import Address
    from fake_shimmy.commands.clap import Invocation
    from fake_shimmy.commands.session import Session
    from fake_shimmy.models.registry import Registry
    from fake_shimmy.releases import Build


def run(session: Session, registry: Registry) -> None:
    """Print the banner, bind, and answer requests for ever."""
    _end_with_others(session)
    _register_model_path(session, registry)
    where = session.invocation.text("bind") or ""
    try:
        address = bind.resolve(where, session.environ)
    except bind.InvalidAddressError as error:
        for line in _bind_help(where, str(error)):
            console.err(line)
        sys.exit(1)
    available = _banner(session, registry, str(address))
    session.tracer.event(
        tracing.INFO,
        "shimmy",
        f"shimmy serving with {available} available models",
        (("addr", str(address)), ("models", str(available))),
    )
    lifetime = session.lifetime
    if lifetime is not None:
        lifetime.before_listening()
    access = _access(session, address)
    try:
        listener = address.listen()
    except OSError as error:
        session.fail(rust.os_error(error), backtrace.SERVER)
    if lifetime is not None:
        lifetime.listening()
    from fake_shimmy.api.application import Application
    from fake_shimmy.api.context import Context
    from fake_shimmy.api.server import Server
    from fake_shimmy.serving import accept

    server = Server(
        session.release,
        session.build,
        registry.names(),
        time.time_ns,
        os.urandom,
        lambda: listing.search(session.environ, session.release),
        os.cpu_count() or 1,
        _memory(),
        session.tracer,
        session.environ,
        access,
    )
    context = Context(server, registry, session.engine())
    application = Application(context, _layers(session))
    supervised.tell_ready(session.environ, listener)
    gc.freeze()  # nothing of what was loaded is ever garbage
    gc.enable()
    accept.serve(application, listener)


def _end_with_others(session: Session) -> None:
    try:
        supervised.watch(session.environ)
    except supervised.InvalidError as allowed:
        value = rust.debug(session.environ[supervised.ENDS_WITH])
        console.err(f"fake-shimmy: {supervised.ENDS_WITH} is {value}; allowed values: {allowed}")
        sys.exit(2)


def _access(session: Session, address: Address) -> Access:
    """Who may ask; ends the process where the release says that it may not start."""
    if not session.release.key_variables:
        return Access()
    from fake_shimmy.commands import access

    try:
        found = access.read(session.environ)
        access.check_address(found, address)
    except access.RefusedError as error:
        session.fail(str(error), backtrace.REFUSED)
    return found


def _layers(session: Session) -> list[Layer]:
    """Who follows the script and takes control requests, where there can be any."""
    token = session.environ.get("FAKE_SHIMMY_CONTROL")
    exchanges = session.environ.get("FAKE_SHIMMY_EXCHANGES")
    if session.script is None and not token and not exchanges:
        return []
    from fake_shimmy.stage.interceptor import Interceptor
    from fake_shimmy.stage.sessions import Sessions

    log = None
    if exchanges:
        from fake_shimmy.stage.exchange_log import ExchangeLog

        log = ExchangeLog(exchanges)
    key = session.environ.get("SHIMMY_API_KEY") if session.release.key_variables else None
    return [Interceptor(Sessions(session.script, log, key), token, session.lifetime).around]


def _memory() -> int:
    """Of this machine, in KiB; 0 where it cannot be asked for."""
    if sys.platform == "win32":
        return 0
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024


def _register_model_path(session: Session, registry: Registry) -> None:
    from fake_shimmy.models.registry import register_file

    path = session.invocation.text("model-path")
    if path is None:
        return
    if files.discovered is not None:
        files.make_up_file(path)
    if not files.exists(path):
        console.err(f"❌ Model file not found: {path}")
        sys.exit(1)
    console.out(f"🎯 Direct model loaded: {register_file(registry, path)} -> {path}")


def _banner(session: Session, registry: Registry, address: str) -> int:
    """Everything up to the claim to be ready; returns how many models are available."""
    int4 = session.invocation.text("kv-quant") == "int4"
    registered = len(registry.registered)
    console.out(f"🎯 Shimmy v{session.release.version}")
    if session.has_airframe and int4:
        console.out("⚡ Backend: Airframe (GPU) + TurboShimmy INT4 KV — ~60% less VRAM")
    elif session.has_airframe:
        console.out("🔧 Backend: Airframe (GPU)")
    elif session.engine_name == LLAMA:
        for line in _llama_lines(session.invocation, session.build):
            console.out(line)
    console.out(f"📦 Models: {registered if session.release.counts_registered else 0} available")
    if session.has_airframe and int4:
        console.out("💡 TurboShimmy active: enable with --kv-quant int4 (already on)")
    elif session.has_airframe:
        console.out("💡 Tip: add --kv-quant int4 to enable TurboShimmy (INT4 KV, ~60% less VRAM)")
    console.out(f"🚀 Starting server on {address}")
    if registered <= 1 and not session.has_airframe:
        session.choose_backend()
        registry.register_discovered()
    available = len(registry.names())
    if not available:
        console.err("❌ No models available. Please:")
        console.err("   • Set SHIMMY_BASE_GGUF environment variable, or")
        console.err("   • Place .gguf files in ./models/ directory, or")
        console.err("   • Place .gguf files in ~/.cache/huggingface/hub/")
        sys.exit(1)
    console.out(f"📦 Models: {available} available")
    console.out("✅ Ready to serve requests")
    console.out("   • POST /api/generate (streaming + non-streaming)")
    console.out("   • GET  /health (health check + metrics)")
    console.out("   • GET  /v1/models (OpenAI-compatible)")
    return available


def _llama_lines(invocation: Invocation, build: Build) -> list[str]:
    """What the banner tells of llama.cpp."""
    from fake_shimmy.models import backends

    lines = [f"🔧 Backend: {backends.in_banner(invocation.text('gpu-backend'), build)}"]
    count = invocation.number("n-cpu-moe")
    if count is not None:
        which = f"first {count} layers (saves VRAM for large MoE models)"
        lines.append(f"🧠 MoE: CPU offload {which}")
    elif invocation.flag("cpu-moe"):
        lines.append("🧠 MoE: CPU offload ALL expert tensors (saves ~80-85% VRAM)")
    return lines


def _bind_help(bind: str, error: str) -> tuple[str, ...]:
    return (
        f"❌ Failed to resolve bind address '{bind}': {error}",
        "",
        "💡 Valid bind address examples:",
        "  auto                    # Auto-allocate (default)",
        "  127.0.0.1:11435        # Specific address",
        "  0.0.0.0:8080           # All interfaces",
        "",
        "🔧 Environment variable: SHIMMY_BIND_ADDRESS=127.0.0.1:11435",
    )
