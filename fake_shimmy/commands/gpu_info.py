"""``gpu-info``: what the build says of GPUs, and of a llama.cpp build's backend what it finds."""

from __future__ import annotations

from fake_shimmy.releases import LLAMA
from fake_shimmy.rust import console

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from fake_shimmy.commands.session import Session


def show(session: Session) -> None:
    """Print it."""
    console.out("🖥️  GPU Backend Information")
    console.out("")
    session.choose_backend()
    lines: Iterable[str] = session.build.gpu_info
    if session.engine_name == LLAMA:
        from fake_shimmy.models import backends

        lines = backends.information(session.backend, session.build, session.environ)
    for line in lines:
        console.out(line)
