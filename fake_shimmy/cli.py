"""The commands, printed exactly as the real executable prints them.

Strategy: parse everything first, as nothing may touch the disk before that; then one small
function per command. What is not imitated says so and exits with 70, rather than pretend.
"""

from __future__ import annotations

import os
import sys

from fake_shimmy import clap, console, rust
from fake_shimmy.releases import NEWEST, RELEASES
from fake_shimmy.usage import Ended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fake_shimmy.clap import Invocation
    from fake_shimmy.engine import Engine
    from fake_shimmy.registry import Registry
    from fake_shimmy.releases import Build, Release
    from fake_shimmy.scan import DiscoveredModel

NOT_IMITATED = 70
"""Exit status of a command that this fake does not have."""

_NOT_LLM = (
    "clip",
    "text-to-image",
    "vision",
    "image",
    "video",
    "audio",
    "tts",
    "stt",
    "embedding",
    "encoder",
)


def run(argv: list[str]) -> None:
    """Run the command line ``argv``, program name included; returns where the status is 0."""
    environ = rust.environment()
    release, build = _imitated(environ)
    program = rust.lossy(argv[0].rpartition("/")[2]) if argv else ""
    if program in ("", "-c", "-m", "__main__.py"):
        # Started through the interpreter: there is no name of our own to show.
        program = "shimmy"
    try:
        invocation = clap.parse(program, release.version, argv[1:])
    except Ended as ended:
        # Clap prints without a final line break of its own making, so the text has it.
        write = console.err if ended.status else console.out
        write(ended.text.removesuffix("\n"))
        sys.exit(ended.status)
    _Session(release, build, invocation, environ).run()


def _imitated(environ: dict[str, str]) -> tuple[Release, Build]:
    version = environ.get("FAKE_SHIMMY_RELEASE", NEWEST)
    if version not in RELEASES:
        _refuse("FAKE_SHIMMY_RELEASE", version, list(RELEASES))
    release = RELEASES[version]
    name = environ.get("FAKE_SHIMMY_BUILD", release.default_build)
    if name not in release.builds:
        _refuse("FAKE_SHIMMY_BUILD", name, list(release.builds))
    gpu = environ.get("FAKE_SHIMMY_GPU")
    if gpu not in (None, "none"):
        _refuse("FAKE_SHIMMY_GPU", gpu or "", ["none"])
    return release, release.builds[name]


def _refuse(variable: str, value: str, allowed: list[str]) -> None:
    shown = ", ".join(allowed)
    console.err(f"fake-shimmy: {variable} is {rust.debug(value)}; allowed values: {shown}")
    sys.exit(2)


class _Session:
    """One run of one command."""

    def __init__(
        self, release: Release, build: Build, invocation: Invocation, environ: dict[str, str]
    ) -> None:
        self.release = release
        self.build = build
        self.invocation = invocation
        self.environ = environ
        self.has_airframe = build.airframe and not invocation.flag("legacy")
        model_dirs = invocation.text("model-dirs")
        if model_dirs is not None:
            environ["SHIMMY_MODEL_PATHS"] = model_dirs

    def run(self) -> None:
        """Do what the command says."""
        command = self.invocation.command
        if command in ("bench", "generate", "init"):
            console.err(f"fake-shimmy: '{command}' is not imitated yet")
            sys.exit(NOT_IMITATED)
        registry = self.registry()
        if command == "serve":
            self._serve(registry)
        elif command == "list":
            self._list(registry)
        elif command == "discover":
            self._discover()
        elif command == "probe":
            self._probe(registry)
        else:
            self._gpu_info()

    def registry(self) -> Registry:
        """A fresh search for models; its warnings go to stderr."""
        from fake_shimmy.registry import Registry

        warnings: list[str] = []
        registry = Registry(self.environ, warnings)
        for line in warnings:
            console.err(line)
        return registry

    def engine(self) -> Engine:
        """The engine that this build and these flags choose."""
        from fake_shimmy import engine

        if not self.has_airframe:
            return engine.AdapterEngine()
        return engine.AirframeEngine(has_adapter="FAKE_SHIMMY_GPU" not in self.environ)

    def _list(self, registry: Registry) -> None:
        from fake_shimmy.registry import shuffled

        names = registry.names()
        if self.invocation.flag("short"):
            for name in names:
                console.out(name)
            return
        if registry.registered:
            console.out("📋 Registered Models:")
            for spec in shuffled(registry.registered.values()):
                console.out(f"  {spec.name} => {rust.debug(spec.path)}")
        if registry.discovered:
            if registry.registered:
                console.out("")
            console.out("🔍 Auto-Discovered Models:")
            for model in shuffled(registry.discovered.values()):
                console.out(f"  {model.name} => {rust.debug(model.path)} {_bracket(model)}")
        if names:
            console.out(f"\n✅ Total available models: {len(names)}")
        else:
            console.out(
                "❌ No models found. Set SHIMMY_BASE_GGUF or place .gguf files in ./models/"
            )

    def _discover(self) -> None:
        from fake_shimmy import discovery
        from fake_shimmy.registry import shuffled

        console.out("🔍 Refreshing model discovery...")
        # The search at start-up is not reused: the real one searches twice, warnings included.
        models = list(discovery.by_name(self._search()).values())
        llm_only = self.invocation.flag("llm-only")
        if llm_only:
            models = [m for m in models if not any(word in m.name.lower() for word in _NOT_LLM)]
            console.out("🎯 Filtering to LLM models only...")
        if models:
            console.out(f"✅ Found {len(models)} models:")
            for model in shuffled(models):
                lora = " + LoRA" if model.lora_path is not None else ""
                console.out(f"  {model.name} [{model.size_bytes >> 20}MB{lora}]")
                console.out(f"    Base: {rust.debug(model.path)}")
                if model.lora_path is not None:
                    console.out(f"    LoRA: {rust.debug(model.lora_path)}")
        elif llm_only:
            console.out("❌ No LLM models found after filtering")
            console.out("💡 Try running without --llm-only to see all models")
        else:
            console.out("❌ No models found in search paths:")
            for path in discovery.search_paths(self.environ):
                console.out(f"   • {rust.debug(path)}")
            console.out("   • Ollama models (if installed)")
            console.out("\n💡 Try downloading a GGUF model or setting SHIMMY_BASE_GGUF")

    def _probe(self, registry: Registry) -> None:
        from fake_shimmy.engine import LoadError

        name = self.invocation.name or ""
        spec = registry.lookup(name)
        if spec is None:
            console.err(f"Error: no model {name}")
            sys.exit(1)
        try:
            self.engine().load(spec)
        except LoadError as error:
            console.err(f"probe failed: {error}")
            sys.exit(2)
        console.out(f"ok: loaded {name}")

    def _gpu_info(self) -> None:
        console.out("🖥️  GPU Backend Information")
        console.out("")
        for line in self.build.engine_lines:
            console.out(line)
        console.out("")
        console.out("💡 GPU acceleration: download a release binary from GitHub Releases.")
        console.out("   https://github.com/Michael-A-Kuykendall/shimmy/releases/latest")

    def _serve(self, registry: Registry) -> None:
        from fake_shimmy import bind

        self._register_model_path(registry)
        where = self.invocation.text("bind") or ""
        try:
            address = bind.resolve(where, self.environ)
        except bind.InvalidAddressError as error:
            for line in _bind_help(where, str(error)):
                console.err(line)
            sys.exit(1)
        self._banner(registry, str(address))
        try:
            listener = address.listen()
        except OSError as error:
            console.err(f"Error: {rust.os_error(error)}")
            sys.exit(1)
        import time

        from fake_shimmy.app import App
        from fake_shimmy.server import Server

        app = App(
            self.release.version,
            registry,
            self.engine(),
            time.time_ns,
            os.urandom,
            self._search,
            os.cpu_count() or 1,
            _memory_kib(),
        )
        Server(app, listener, console.log).run()

    def _search(self) -> list[DiscoveredModel]:
        from fake_shimmy import discovery

        warnings: list[str] = []
        found = discovery.discover(self.environ, warnings)
        for line in warnings:
            console.err(line)
        return found

    def _register_model_path(self, registry: Registry) -> None:
        from fake_shimmy.registry import register_file

        path = self.invocation.text("model-path")
        if path is None:
            return
        if not rust.exists(path):
            console.err(f"❌ Model file not found: {path}")
            sys.exit(1)
        console.out(f"🎯 Direct model loaded: {register_file(registry, path)} -> {path}")

    def _banner(self, registry: Registry, address: str) -> None:
        """Everything up to the claim to be ready, which the real one makes before it binds."""
        int4 = self.invocation.text("kv-quant") == "int4"
        registered = len(registry.registered)
        console.out(f"🎯 Shimmy v{self.release.version}")
        if self.has_airframe and int4:
            console.out("⚡ Backend: Airframe (GPU) + TurboShimmy INT4 KV — ~60% less VRAM")
        elif self.has_airframe:
            console.out("🔧 Backend: Airframe (GPU)")
        console.out(f"📦 Models: {registered} available")
        if self.has_airframe and int4:
            console.out("💡 TurboShimmy active: enable with --kv-quant int4 (already on)")
        elif self.has_airframe:
            console.out(
                "💡 Tip: add --kv-quant int4 to enable TurboShimmy (INT4 KV, ~60% less VRAM)"
            )
        console.out(f"🚀 Starting server on {address}")
        if registered <= 1 and not self.has_airframe:
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


def _memory_kib() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024


def _bracket(model: DiscoveredModel) -> str:
    traits = [trait for trait in (model.parameter_count, model.quantization) if trait]
    shown = f" ({'·'.join(traits)})" if traits else ""
    lora = " + LoRA" if model.lora_path is not None else ""
    return f"[{model.size_bytes >> 20}MB{shown}{lora}]"


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
