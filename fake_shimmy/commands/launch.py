"""``serve``, up to the moment when requests are answered.

Strategy: the real one's order of events, which is not the obvious one: it claims to be ready
before it binds (seen on 2.5.0, both builds).
"""

from __future__ import annotations

import os
import sys
import time

from fake_shimmy import rust
from fake_shimmy.commands import bind, listing
from fake_shimmy.rust import backtrace, console, tracing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fake_shimmy.commands.cli import Session
    from fake_shimmy.models.registry import Registry


def serve(session: Session, registry: Registry) -> None:
    """Print the banner, bind, and answer requests for ever."""
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
    try:
        listener = address.listen()
    except OSError as error:
        session.fail(rust.os_error(error), backtrace.SERVER)
        raise
    from fake_shimmy.api.app import App
    from fake_shimmy.serving.server import Server

    app = App(
        session.release.version,
        registry,
        session.engine(),
        time.time_ns,
        os.urandom,
        lambda: listing.search(session.environ),
        os.cpu_count() or 1,
        os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024,
        session.tracer,
        session.environ,
    )
    Server(app, listener).run()


def _register_model_path(session: Session, registry: Registry) -> None:
    from fake_shimmy.models.registry import register_file

    path = session.invocation.text("model-path")
    if path is None:
        return
    if not rust.exists(path):
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
    console.out(f"📦 Models: {registered} available")
    if session.has_airframe and int4:
        console.out("💡 TurboShimmy active: enable with --kv-quant int4 (already on)")
    elif session.has_airframe:
        console.out("💡 Tip: add --kv-quant int4 to enable TurboShimmy (INT4 KV, ~60% less VRAM)")
    console.out(f"🚀 Starting server on {address}")
    if registered <= 1 and not session.has_airframe:
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
