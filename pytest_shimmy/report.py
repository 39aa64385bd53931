"""What a person reads: pure text, made from values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .defaults import ShimmyProcessDefaults
from .protocol import Death, Farewell
from .settings import Mode, Settings


def header(settings: Settings, version: str | None) -> str:
    """The line at the top of a run."""
    if settings.mode == "attached":
        what = f"attached to {settings.url} ({version or 'not answering yet'}), never stopped by us"
        return f"shimmy: {what}"
    if settings.mode == "real":
        server = f"{settings.path} ({version or 'version not asked'}, real)"
    else:
        server = f"bundled fake of shimmy {version}"
    gpu = "/".join(settings.gpu)
    return f"shimmy: {server}, gpu {gpu}, one server per {settings.scope}"


def log_section(text: str, limit: int = ShimmyProcessDefaults.log_section) -> str:
    """The part of a server's log that a failing test's report shows; its end counts most."""
    data = text.encode()
    if len(data) <= limit:
        return text
    kept = data[-limit:].decode("utf-8", "ignore")
    return f"[{len(data) - limit} earlier bytes left out]\n{kept}"


def deaths_section(deaths: Sequence[Death]) -> str:
    """What happened to the server during a failing test."""
    return "\n".join(
        f"the server (pid {death.pid}) died during this test: {death.exit}" for death in deaths
    )


def unmet(marker: str, mode: Mode) -> str | None:
    """Why a test with that marker cannot run on that kind of server; None when it can."""
    servers = {
        "fake": "the bundled fake",
        "real": "a real executable",
        "attached": "an attached server",
    }
    if marker == "shimmy_real" and mode == "fake":
        return (
            "needs a real shimmy, and this run uses the bundled fake; "
            "run it with --shimmy-path=EXECUTABLE or --shimmy-url=URL"
        )
    if marker == "shimmy_fake" and mode != "fake":
        return (
            f"needs the bundled fake, and this run uses {servers[mode]}; run it with --shimmy-fake"
        )
    return None


def gpu_unmet(wanted: Sequence[str], evidence: str) -> str:
    """Why a test that is marked for a GPU backend cannot run."""
    return f"needs a server that verifiably uses {' or '.join(wanted) or 'a GPU'}: {evidence}"


def summary(counts: Mapping[str, int], farewells: Sequence[Farewell]) -> list[str]:
    """The lines at the end of a run."""
    lines = []
    if any(counts.values()):
        parts = [
            f"{counts.get('fake', 0)} on the fake",
            f"{counts.get('real', 0)} on a real executable",
            f"{counts.get('attached', 0)} on an attached server",
        ]
        total = sum(counts.values())
        lines.append(f"shimmy: {total} test{'s' * (total != 1)} used a server: {', '.join(parts)}")
    for farewell in farewells:
        if farewell.restarts:
            lines.append(f"shimmy: the server on port {farewell.port} was restarted "
                         f"{farewell.restarts} time{'s' * (farewell.restarts != 1)}")  # fmt: skip
        if farewell.kept_log is not None:
            lines.append(f"shimmy: server log kept: {farewell.kept_log}")
    return lines
