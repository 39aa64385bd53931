"""The commands, printed exactly as the real executable prints them.

Strategy: the settings of the fake first, then what the real one does before it looks at its
arguments, then the whole command line, as nothing may touch the disk before that; then one small
function per command.
"""

from __future__ import annotations

import os
import sys

from fake_shimmy import machines, rust
from fake_shimmy.commands import ansi, clap, grammar
from fake_shimmy.commands.usage import Ended, read_number
from fake_shimmy.releases import ADAPTER, AIRFRAME, LLAMA, NEWEST, RELEASES
from fake_shimmy.rust import backtrace, console, tracing
from fake_shimmy.rust.backtrace import Panic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from fake_shimmy.commands.clap import Invocation
    from fake_shimmy.models.engine import Engine, LoadedModel
    from fake_shimmy.models.registry import ModelSpec, Registry
    from fake_shimmy.releases import Build, Release
    from fake_shimmy.script.rules import Script
    from fake_shimmy.stage.life import Lifetime

_BENCH_BYTES = 120
"""How much of a benchmark's answer is shown."""


def run(argv: list[str]) -> None:
    """Run the command line ``argv``, program name included; returns where the status is 0."""
    environ = rust.environment()
    release, build = _imitated(environ)
    script = _script(environ)
    missing = machines.missing_library(machines.pretended(environ), build.backends)
    if missing:
        program = argv[0] if argv else ""
        console.err(f"{program}: error while loading shared libraries: {missing}")
        sys.exit(127)
    try:
        _check_worker_threads(environ, release, build)
        _run(argv, environ, release, build, script)
    except Panic as panic:
        # The main thread's number is the process's.
        console.err(backtrace.report(environ, panic, "main", os.getpid(), release.version))
        sys.exit(101)


def _run(
    argv: list[str], environ: dict[str, str], release: Release, build: Build, script: Script | None
) -> None:
    tracer = _tracer(environ)
    program = rust.lossy(argv[0].rpartition("/")[2]) if argv else ""
    if program in ("", "-c", "-m", "__main__.py"):
        # Started through the interpreter: there is no name of our own to show.
        program = "shimmy"
    try:
        invocation = clap.parse(program, release, argv[1:])
    except Ended as ended:
        descriptor = 2 if ended.status else 1
        coloured = ansi.wanted(environ, descriptor)
        console.show(descriptor, ended.text if coloured else ansi.strip(ended.text))
        sys.exit(ended.status)
    Session(release, build, invocation, environ, tracer, script).run()


def _imitated(environ: dict[str, str]) -> tuple[Release, Build]:
    version = environ.get("FAKE_SHIMMY_RELEASE", NEWEST)
    if version not in RELEASES:
        _refuse("FAKE_SHIMMY_RELEASE", version, list(RELEASES))
    release = RELEASES[version]
    name = environ.get("FAKE_SHIMMY_BUILD", release.default_build)
    if name not in release.builds:
        _refuse("FAKE_SHIMMY_BUILD", name, list(release.builds))
    gpu = environ.get(machines.VARIABLE)
    if gpu is not None and gpu not in machines.MACHINES:
        _refuse(machines.VARIABLE, gpu, list(machines.MACHINES))
    return release, release.builds[name]


def _script(environ: dict[str, str]) -> Script | None:
    """The script that this process follows. Nothing of scripts is loaded without one."""
    path = environ.get("FAKE_SHIMMY_SCRIPT")
    if path is None:
        return None
    from fake_shimmy.script import files
    from fake_shimmy.script.shapes import ScriptError

    try:
        return files.load(path)
    except ScriptError as error:
        console.err(f"fake-shimmy: FAKE_SHIMMY_SCRIPT: {error}")
        sys.exit(2)


def _refuse(variable: str, value: str, allowed: list[str]) -> None:
    shown = ", ".join(allowed)
    console.err(f"fake-shimmy: {variable} is {rust.debug(value)}; allowed values: {shown}")
    sys.exit(2)


def _check_worker_threads(environ: dict[str, str], release: Release, build: Build) -> None:
    """The real one's runtime counts its threads before anything else happens."""
    value = environ.get("TOKIO_WORKER_THREADS")
    if value is None:
        return
    reason, number = read_number(value, grammar.USIZE)
    frames = build.runtime_frames
    version, not_unicode, no_number, zero = release.tokio
    if not rust.is_utf8(value):
        reason, position = f"must be valid unicode, error: {rust.debug(value)}", not_unicode
    elif reason:
        reason, position = f"must be usize, error: {reason}, value: {value}", no_number
        frames = ("tokio::loom::std::sys::num_cpus::{{closure}}", *frames)
    elif not number:
        reason, position = "cannot be set to 0", zero
    else:
        return
    place = f"tokio-{version}/src/loom/std/mod.rs:{position}"
    raise Panic(f'"TOKIO_WORKER_THREADS" {reason}', place, frames, ("shimmy::main",))


def _tracer(environ: dict[str, str]) -> tracing.Tracer:
    import time

    wanted = tracing.Filter(rust.variable(environ, "RUST_LOG") or "")
    for complaint in wanted.complaints:
        console.err(complaint)
    coloured = tracing.colours(environ, os.isatty(1))
    return tracing.Tracer(wanted, coloured, time.time_ns, console.log)


class Session:
    """One run of one command."""

    def __init__(
        self,
        release: Release,
        build: Build,
        invocation: Invocation,
        environ: dict[str, str],
        tracer: tracing.Tracer,
        script: Script | None,
    ) -> None:
        self.release = release
        self.build = build
        self.invocation = invocation
        self.environ = environ
        self.tracer = tracer
        self.script = script
        self.lifetime = None if script is None else _lifetime(script)
        self.engine_name = ADAPTER if invocation.flag("legacy") else build.engine
        self.has_airframe = self.engine_name == AIRFRAME
        self.backend = "cpu"
        """What llama.cpp is asked to use."""
        model_dirs, context = invocation.text("model-dirs"), invocation.number("ctx")
        if model_dirs is not None:
            environ["SHIMMY_MODEL_PATHS"] = model_dirs
        if context is not None:
            environ["SHIMMY_MAX_CTX"] = str(context)

    def run(self) -> None:
        """Do what the command says."""
        command = self.invocation.command
        if self.lifetime is not None:
            self.lifetime.begin()
        registry = self._registry()
        self.choose_backend()
        if command == "serve":
            from fake_shimmy.commands import launch

            launch.serve(self, registry)
        elif command == "list":
            from fake_shimmy.commands import listing

            if self.lifetime is None or not self.lifetime.spoil_list():
                listing.print_models(registry, self.invocation.flag("short"))
        elif command == "discover":
            from fake_shimmy.commands import listing

            listing.print_search(self.environ, self.release, self.invocation.flag("llm-only"))
        elif command == "probe":
            self._probe(registry)
        elif command == "bench":
            self._bench(registry)
        elif command == "generate":
            self._generate(registry)
        elif command == "init":
            self._init()
        else:
            self._gpu_info()

    def engine(self) -> Engine:
        """The engine that this build and these flags choose."""
        from fake_shimmy.models import engine

        if self.has_airframe:
            machine = machines.pretended(self.environ)
            return engine.AirframeEngine(machine, console.out, console.err)
        if self.engine_name == LLAMA:
            from fake_shimmy.models import llama

            found = machines.found_by_llama_cpp(
                machines.pretended(self.environ), self.build.backends
            )
            return llama.LlamaEngine(self.tracer, self._experts(), self.backend, found, console.err)
        return engine.AdapterEngine(self.tracer)

    def choose_backend(self) -> None:
        """Choose as is done when an engine is made, with what is logged then."""
        if self.engine_name == LLAMA:
            from fake_shimmy.models import backends

            asked = self.invocation.text("gpu-backend")
            self.backend = backends.choose(asked, self.build, self.environ, self.tracer)

    def _experts(self) -> str:
        """What a load logs about experts on the CPU."""
        count = self.invocation.number("n-cpu-moe")
        if count is not None:
            return f"MoE: Offloading first {count} expert layers to CPU"
        if self.invocation.flag("cpu-moe"):
            return "MoE: Offloading ALL expert tensors to CPU (saves ~80-85% VRAM)"
        return ""

    def fail(self, text: str, frames: tuple[str, ...]) -> None:
        """End with an error that the main function returned; ``frames`` are its origin."""
        console.err(f"Error: {text}{backtrace.of_error(self.environ, frames)}")
        sys.exit(1)

    def _registry(self) -> Registry:
        """A fresh search for models; its warnings go to stderr."""
        from fake_shimmy.models.registry import Registry

        warnings: list[str] = []
        registry = Registry(self.environ, warnings, self.release)
        for line in warnings:
            console.err(line)
        return registry

    def _spec(self, registry: Registry) -> ModelSpec:
        name = self.invocation.name or ""
        spec = registry.lookup(name)
        if spec is None:
            self.fail(f"no model {name}", backtrace.NO_MODEL)
            raise AssertionError
        return spec

    def _loaded(self, registry: Registry) -> LoadedModel:
        from fake_shimmy.models.engine import LoadError

        spec = self._spec(registry)
        try:
            return self.engine().load(spec)
        except LoadError as error:
            self.fail(str(error), error.frames)
            raise

    def _probe(self, registry: Registry) -> None:
        from fake_shimmy.models.engine import LoadError

        spec = self._spec(registry)
        try:
            self.engine().load(spec)
        except LoadError as error:
            console.err(f"probe failed: {error}")
            sys.exit(2)
        console.out(f"ok: loaded {spec.name}")

    def _bench(self, registry: Registry) -> None:
        import time

        model = self._loaded(registry)
        begin = time.perf_counter_ns()
        answer = self._answer(model, "Say hi.")
        elapsed = time.perf_counter_ns() - begin
        console.out(f"bench output (truncated): {_truncated(answer, self.release.bench_cut_at)}")
        console.out(f"elapsed: {rust.duration(elapsed)}")

    def _generate(self, registry: Registry) -> None:
        model = self._loaded(registry)
        console.out(self._answer(model, self.invocation.text("prompt") or ""))

    def _answer(self, model: LoadedModel, prompt: str) -> str:
        from fake_shimmy.models.engine import GenerationError

        try:
            return model.generate(prompt, self.invocation.number("max-tokens") or 0, prompt)
        except GenerationError as error:
            self.fail(error.debug(), error.frames)
            raise

    def _init(self) -> None:
        from fake_shimmy.commands import scaffold

        text = self.invocation.text
        try:
            report = scaffold.write(text("template") or "", text("output") or "", text("name"))
        except scaffold.ScaffoldError as error:
            console.err(f"❌ Template generation failed: {error}")
            sys.exit(1)
        console.out(report)

    def _gpu_info(self) -> None:
        console.out("🖥️  GPU Backend Information")
        console.out("")
        self.choose_backend()
        lines: Iterable[str] = self.build.gpu_info
        if self.engine_name == LLAMA:
            from fake_shimmy.models import backends

            lines = backends.information(self.backend, self.build, self.environ)
        for line in lines:
            console.out(line)


def _lifetime(script: Script) -> Lifetime:
    from fake_shimmy.stage.life import Lifetime

    return Lifetime(script.life)


def _truncated(answer: str, cut_at: str) -> str:
    """The beginning of ``answer``; a cut inside a character is a panic at ``cut_at``."""
    raw = answer.encode()
    try:
        return raw[:_BENCH_BYTES].decode()
    except UnicodeDecodeError as error:
        begin = error.start
    char = raw[begin : begin + 4].decode(errors="ignore")[0]
    end = begin + len(char.encode())
    shown = raw[:256].decode(errors="ignore")
    raise Panic(
        f"end byte index {_BENCH_BYTES} is not a char boundary; it is inside "
        f"{rust.debug_char(char)} (bytes {begin}..{end}) of `{shown}`"
        + ("[...]" if len(raw) > 256 else ""),
        f"{backtrace.OWN}/src/main.rs:{cut_at}",
        (
            "core::str::slice_error_fail_rt",
            "core::str::slice_error_fail",
            "<core::ops::range::RangeTo<usize> as core::slice::index::SliceIndex<str>>::index",
        ),
    )
