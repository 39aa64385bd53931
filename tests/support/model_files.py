"""What the tests of `ModelRegistry.list_local` share."""

from __future__ import annotations

from pathlib import Path

from pytest_shimmy.models.registry import ModelRegistry
from pytest_shimmy.models.summary import ShimmyModelSummary

TINY = bytes([2, 0, 0, 0, 0, 0, 0, 0]) + b"{}"
MEBIBYTE = 1 << 20

# File names that shimmy makes names of which are hard to read back.
AWKWARD = (
    "My Model.gguf",
    "  lead.gguf",
    "trail .gguf",
    'quo"te.gguf',
    "apos'trophe.gguf",
    "back\\slash.gguf",
    "tab\there.gguf",
    "new\nline.gguf",
    "car\rriage.gguf",
    "control\x01\x7f.gguf",
    "Émile-ÀÉ.gguf",
    "combining-e\u0301.gguf",
    "zero\u200bwidth.gguf",
    "emoji😀.gguf",
    'a => "b" [1MB].gguf',
    "x\n🔍 Auto-Discovered Models:\n.gguf",
    "y\n\n✅ Total available models: 99\n.gguf",
    "z\n📋 Registered Models:\n  q => .gguf",
)

HEADING = "🔍 Auto-Discovered Models:"
ONE = f'{HEADING}\n  a => "/m/a.gguf" [0MB]\n'
TOTAL = "\n✅ Total available models: 1\n"


def add(path: Path, size: int | None = None) -> Path:
    """A model file; a hole makes it as large as wanted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(TINY)
        if size is not None:
            file.truncate(size)
    return path


def by_id(registry: ModelRegistry) -> dict[str, ShimmyModelSummary]:
    listed = registry.list_local()
    assert len({model.id for model in listed}) == len(listed)
    return {model.id: model for model in listed}


def is_1x(registry: ModelRegistry) -> bool:
    return registry.executable.version.startswith("1.")
