"""A model that shimmy lists, and what fetches one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .listing import Source
from .progress import human

DownloadHandler = Callable[[str, Path], None]
"""Called with a model id and a directory; puts the model's files there, or raises."""


@dataclass(frozen=True)
class ShimmyModelSummary:
    """A model that shimmy lists."""

    id: str
    """What requests name it by."""
    is_default: bool
    """It is the one to use when none was asked for; `ModelRegistry.default` says why."""
    path: Path | None
    """Its file, or one of several; None where its user named an empty one."""
    size_bytes: int | None
    """All its files together. To the byte where they are there, else as shimmy says, in whole MiB;
    None for a registered model whose file is missing."""
    parameters: str | None
    """Such as ``"7B"``, guessed by shimmy from the file's name."""
    quantization: str | None
    """Such as ``"Q4_K_M"``, guessed likewise."""
    source: Source
    """``"registered"``: named to shimmy by its user (``SHIMMY_BASE_GGUF``); ``"discovered"``: found
    in a directory."""
    lora: bool = False
    """A LoRA adapter goes with it."""

    @property
    def description(self) -> str:
        """What is known of it, in words: ``7B, Q4_K_M, 4.1 GiB, discovered``."""
        known = [self.parameters, self.quantization]
        if self.size_bytes is not None:
            known.append(human(self.size_bytes))
        adapter = "with a LoRA adapter" if self.lora else None
        return ", ".join(filter(None, [*known, self.source, adapter]))
