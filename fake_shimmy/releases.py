"""What differs between imitated releases and builds, as tables.

Strategy: a release is a row, a build is a row inside it; code asks the row and never the version.
The module imports nothing, so that it can be read anywhere at no cost.
"""

from __future__ import annotations

NEWEST = "2.5.0"
"""The newest release that is imitated, and the default."""


class Build:
    """One way in which a release is compiled."""

    __slots__ = ("airframe", "engine_lines", "name")

    def __init__(self, name: str, airframe: bool, engine_lines: tuple[str, ...]) -> None:
        self.name = name
        self.airframe = airframe
        """Whether the Airframe GPU engine is compiled in."""
        self.engine_lines = engine_lines
        """The middle part of ``gpu-info``."""


class Release:
    """One release of shimmy."""

    __slots__ = ("builds", "default_build", "version")

    def __init__(self, version: str, builds: dict[str, Build], default_build: str) -> None:
        self.version = version
        self.builds = builds
        self.default_build = default_build


_DEFAULT_2_5 = Build(
    "default",
    airframe=True,
    engine_lines=(
        "⚡ Airframe Engine: ✅ Enabled (WebGPU via wgpu)",
        "   Adapter is selected automatically at runtime.",
        "   Run `shimmy serve` to see which GPU adapter is chosen.",
        "   Supported: NVIDIA, AMD, Intel, Apple Silicon (Metal), integrated GPUs.",
    ),
)
_CPU_ONLY_2_5 = Build(
    "cpu-only",
    airframe=False,
    engine_lines=(
        "⚡ Airframe Engine: Disabled (this build uses the huggingface engine)",
        "   For GPU acceleration, download a release binary from GitHub Releases.",
    ),
)

RELEASES = {
    "2.5.0": Release("2.5.0", {b.name: b for b in (_DEFAULT_2_5, _CPU_ONLY_2_5)}, "default"),
}
"""The imitated releases by version."""
