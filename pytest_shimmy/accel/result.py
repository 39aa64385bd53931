"""What was found: plain values that travel as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, TypeAlias

Backend: TypeAlias = Literal["cuda", "vulkan", "opencl", "metal", "mlx", "rocm"]
State: TypeAlias = Literal["found", "not found", "could not tell"]

FOUND: Final = "found"
NOT_FOUND: Final = "not found"
COULD_NOT_TELL: Final = "could not tell"


@dataclass(frozen=True)
class Evidence:
    """One thing that was asked."""

    source: str
    """The command, file or variable."""
    status: int | None
    """Exit code; None for what is no command, did not run, or did not exit by itself."""
    line: str
    """The line that decided, as printed; or what went wrong."""
    seconds: float
    """How long it took."""

    def __str__(self) -> str:
        status = f" (exit code {self.status})" if self.status else ""
        return f"{self.source}{status}: {self.line}"


@dataclass(frozen=True)
class Finding:
    """What is known of one backend."""

    backend: Backend
    """Its name."""
    state: State
    """``found``, ``not found`` or ``could not tell``."""
    devices: tuple[str, ...]
    """Names of the GPUs; one that is there twice is named twice."""
    driver: str | None
    """Version, as its tool says it."""
    evidence: tuple[Evidence, ...]
    """Everything that was asked; the first one decided."""

    def __str__(self) -> str:
        counts = Counter(self.devices).items()
        names = ", ".join(f"{count} x {name}" if count > 1 else name for name, count in counts)
        decided = f" ({self.evidence[0]})" if self.evidence else ""
        return f"{self.backend} {self.state}{names and f', {names}'}{decided}"


@dataclass(frozen=True)
class AccelDetectorResult:
    """What this machine can run shimmy on."""

    recommended: str
    """``cuda``, ``metal``, ``vulkan``, ``opencl`` or ``cpu``."""
    reason: str
    """Why, in a sentence that names the evidence."""
    backends: Mapping[str, Finding]
    """Every backend that was looked for, by name."""

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> AccelDetectorResult:
        """Raises `ValueError` for anything that `to_json` did not write."""
        try:
            data = json.loads(text)
            backends = {name: _finding(each) for name, each in data["backends"].items()}
            return cls(str(data["recommended"]), str(data["reason"]), backends)
        except (TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a result of AccelDetector: {error}") from error


def _finding(data: dict[str, Any]) -> Finding:
    evidence = tuple(Evidence(**each) for each in data.pop("evidence"))
    return Finding(**data | {"devices": tuple(data["devices"])}, evidence=evidence)
