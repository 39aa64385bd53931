"""From a command line to what one command does, in the order of the real executable.

Strategy: the settings of the fake first, then what the real one does before it looks at its
arguments, then the whole command line, as nothing may touch the disk before that; then the
command, each in a module of its own.
"""

from __future__ import annotations

import os
import sys

from fake_shimmy import machines, rust
from fake_shimmy.commands import ansi, clap, grammar
from fake_shimmy.commands.session import Session
from fake_shimmy.commands.usage import Ended, read_number
from fake_shimmy.releases import NEWEST, RELEASES
from fake_shimmy.rust import backtrace, console, tracing
from fake_shimmy.rust.backtrace import Panic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fake_shimmy.releases import Build, Release
    from fake_shimmy.script.rules import Script


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
    _obey(Session(release, build, invocation, environ, tracer, script))


def _obey(session: Session) -> None:
    """Do what the command says. What one command needs is loaded for no other."""
    invocation, lifetime = session.invocation, session.lifetime
    if lifetime is not None:
        lifetime.begin()
    registry = session.registry()
    session.choose_backend()
    command = invocation.command
    if command == "serve":
        from fake_shimmy.commands import serve

        serve.run(session, registry)
    elif command == "list":
        from fake_shimmy.commands import listing

        if lifetime is None or not lifetime.spoil_list():
            listing.print_models(registry, invocation.flag("short"))
    elif command == "discover":
        from fake_shimmy.commands import listing

        listing.print_search(session.environ, session.release, invocation.flag("llm-only"))
    elif command == "init":
        from fake_shimmy.commands import scaffold

        scaffold.init(invocation)
    elif command == "gpu-info":
        from fake_shimmy.commands import gpu_info

        gpu_info.show(session)
    else:
        from fake_shimmy.commands import ask_model

        ask = {"probe": ask_model.probe, "bench": ask_model.bench}
        ask.get(command, ask_model.generate)(session, registry)


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
