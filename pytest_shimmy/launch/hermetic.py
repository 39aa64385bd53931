"""What the bundled fake is given so that it never sees the models of the person who runs it."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

from ..settings import Settings

PLACEHOLDER_ID = "placeholder"
"""Id of the model that the fake gets when nobody said which models it should have."""

PLACEHOLDER = (
    b"GGUF\x03\x00\x00\x00"
    + struct.pack("<QQ", 0, 1)
    + struct.pack("<Q20sIQ5s", 20, b"general.architecture", 8, 5, b"llama")
).decode("ascii")
"""A GGUF file, version 3, that only says what kind of model it would be."""

HERMETIC: Mapping[str, None] = dict.fromkeys(
    (
        "USERPROFILE",
        "OLLAMA_MODELS",
        "SHIMMY_BASE_GGUF",
        "SHIMMY_LORA_GGUF",
        "SHIMMY_MODEL_PATHS",
        "SHIMMY_BIND_ADDRESS",
    )
)
"""Variables that would show the fake the models of the person who runs it."""


def hermetic(home: Path) -> dict[str, str | None]:
    """The environment, on top of the user's, in which the fake finds nothing but what is in
    `home`."""
    return {**HERMETIC, "HOME": str(home)}


def has_placeholder(settings: Settings) -> bool:
    """Whether the fake gets a model that is made up."""
    return settings.mode == "fake" and settings.model_file is None and not settings.models_dir


def placeholder_name(settings: Settings) -> str:
    """Its file name: served by path, it keeps the exact name under which a test may ask for it."""
    named = settings.model is not None and "/" not in settings.model
    return f"{settings.model if named else PLACEHOLDER_ID}.gguf"
