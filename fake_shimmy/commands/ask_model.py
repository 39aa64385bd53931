"""``probe``, ``bench`` and ``generate``: one model is loaded, and asked once or not at all.

Strategy: the order of the real one, and its words where something fails (seen on 2.5.0, both
builds, and 1.8.1).
"""

from __future__ import annotations

import sys
import time

from fake_shimmy import rust
from fake_shimmy.models.engine import GenerationError, LoadError
from fake_shimmy.rust import backtrace, console
from fake_shimmy.rust.backtrace import Panic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fake_shimmy.commands.session import Session
    from fake_shimmy.models.engine import LoadedModel
    from fake_shimmy.models.registry import ModelSpec, Registry

_BENCH_BYTES = 120
"""How much of a benchmark's answer is shown."""


def probe(session: Session, registry: Registry) -> None:
    """Say whether the model can be loaded."""
    spec = _spec(session, registry)
    try:
        session.engine().load(spec)
    except LoadError as error:
        console.err(f"probe failed: {error}")
        sys.exit(2)
    console.out(f"ok: loaded {spec.name}")


def bench(session: Session, registry: Registry) -> None:
    """Ask the model something, and say how long it took."""
    model = _loaded(session, registry)
    begin = time.perf_counter_ns()
    answer = _answer(session, model, "Say hi.")
    elapsed = time.perf_counter_ns() - begin
    shown = _truncated(answer, session.release.bench_cut_at)
    console.out(f"bench output (truncated): {shown}")
    console.out(f"elapsed: {rust.duration(elapsed)}")


def generate(session: Session, registry: Registry) -> None:
    """Print what the model says."""
    model = _loaded(session, registry)
    console.out(_answer(session, model, session.invocation.text("prompt") or ""))


def _spec(session: Session, registry: Registry) -> ModelSpec:
    name = session.invocation.name or ""
    spec = registry.lookup(name)
    if spec is None:
        session.fail(f"no model {name}", backtrace.NO_MODEL)
    return spec


def _loaded(session: Session, registry: Registry) -> LoadedModel:
    spec = _spec(session, registry)
    try:
        return session.engine().load(spec)
    except LoadError as error:
        session.fail(str(error), error.frames)


def _answer(session: Session, model: LoadedModel, prompt: str) -> str:
    try:
        return model.generate(prompt, session.invocation.number("max-tokens") or 0, prompt)
    except GenerationError as error:
        session.fail(error.debug(), error.frames)


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
