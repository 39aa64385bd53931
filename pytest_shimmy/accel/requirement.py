"""Whether a test that needs a GPU can run, and if not, why. Pure text.

Two questions, the cheap one first: can a server here possibly do it (settings, machine), and does
the server that there is (`readback`). Doubt before a start is no reason; doubt after it is.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from ..executable.dialect import ELSEWHERE, GPU_MODES
from .result import NOT_FOUND, AccelDetectorResult

if TYPE_CHECKING:
    from .readback import ServerGpu

BACKENDS = (*GPU_MODES[1:], "gl", "dx12")
"""What a test can name. ``cpu`` is one of them: a test may need that no GPU is used."""


def misnamed(wanted: Sequence[object]) -> str | None:
    """What is wrong with the arguments of a ``shimmy_gpu`` marker; None: nothing.

    A test with a name that does not exist would be skipped for ever.
    """
    wrong = [name for name in wanted if name not in BACKENDS]
    if not wrong:
        return None
    return (
        f"shimmy_gpu({', '.join(map(repr, wanted))}): there is no GPU backend "
        f"{' or '.join(map(repr, wrong))}; there are {', '.join(BACKENDS)}"
    )


def unmet_before(
    wanted: Sequence[str],
    mode: str,
    requested: str,
    *,
    detected: AccelDetectorResult | None = None,
    pretended: Collection[str] | None = None,
) -> str | None:
    """Why no server of this run can be what the test needs; None: one may be.

    `wanted` is what the marker names, empty for any GPU. `mode` is the server's: ``real``,
    ``fake`` or ``attached``. `requested` is the `gpu` setting that
    the test would run with. `detected` is what this machine has: None, not looked yet, which costs
    nothing; looking is of use only where `worth_detecting`. `pretended` is what the fake's machine
    has (None: not known).
    """
    if mode == "attached":  # it may run on another machine, and its settings are not ours
        return None
    if requested != "auto" and not _fits(requested, wanted):
        return (
            f"needs a server that uses {_or(wanted)}, and this run asks for {requested} "
            f"(--shimmy-gpu); {_how(wanted)}"
        )
    if mode == "fake":
        if pretended is None or any(_fits(name, wanted) for name in (*pretended, "cpu")):
            return None
        has = ", ".join(pretended) or "no GPU"
        return (
            f"needs a server that uses {_or(wanted)}, and the fake's machine has {has}; with "
            "--shimmy-gpu=BACKEND it pretends one"
        )
    if detected is None:
        return None
    findings = [
        finding for name, finding in detected.backends.items() if not wanted or name in wanted
    ]
    # What is not detected (cpu, gl, dx12) may be there.
    if not findings or any(each.state != NOT_FOUND for each in findings):
        return None
    if not set(wanted) <= set(detected.backends):
        return None
    evidence = "; ".join(map(str, findings))
    return f"needs a server that uses {_or(wanted)}, which this machine does not have: {evidence}"


def worth_detecting(wanted: Sequence[str], mode: str, requested: str) -> bool:
    """Whether `unmet_before` could say more if the machine were looked at."""
    return mode == "real" and "cpu" not in wanted and unmet_before(wanted, mode, requested) is None


def unmet_by(wanted: Sequence[str], gpu: ServerGpu) -> str | None:
    """Why a server is not what the test needs; None: it verifiably is."""
    needs = f"needs a server that verifiably uses {_or(wanted)}"
    evidence = " | ".join(gpu.evidence.splitlines())
    if not gpu.verified or gpu.in_use is None:
        return f"{needs}, and what this one uses could not be verified: {evidence}"
    if _fits(gpu.in_use, wanted):
        return None
    device = f" ({gpu.device})" if gpu.device else ""
    asked = "" if gpu.requested in ("auto", gpu.in_use) else f", though asked for {gpu.requested}"
    return f"{needs}, and this one uses {gpu.in_use}{device}{asked}: {evidence}; {_how(wanted)}"


def _fits(backend: str, wanted: Sequence[str]) -> bool:
    return backend in wanted if wanted else backend != "cpu"


def _or(wanted: Sequence[str]) -> str:
    return " or ".join(wanted) or "a GPU"


def _how(wanted: Sequence[str]) -> str:
    if not wanted:
        return "run it on a machine with a GPU, with an executable that uses it (--shimmy-path)"
    places = [f"{name}: {ELSEWHERE[name]}" for name in wanted if name in ELSEWHERE]
    return "to be had: " + "; ".join(places) if places else "no release is known to have it"
