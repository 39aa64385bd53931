"""What the bundled fake is given so that it never sees the models of the person who runs it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..settings import Settings

PLACEHOLDER_ID = "placeholder"
"""Id of the model that the fake gets when no models were set."""
TINY_ID = "tiny"
"""Id of the model that is made on request."""

HERMETIC: Mapping[str, None] = dict.fromkeys(
    (
        "USERPROFILE",
        "OLLAMA_MODELS",
        "SHIMMY_BASE_GGUF",
        "SHIMMY_LORA_GGUF",
        "SHIMMY_MODEL_PATHS",
        "SHIMMY_BIND_ADDRESS",
        "FAKE_SHIMMY_MODELS",
        "FAKE_SHIMMY_ENDS_WITH",
    )
)
"""Variables that would show the fake the models of the person who runs it, or end it with a process
of theirs."""


ACCESS: Mapping[str, None] = dict.fromkeys(("SHIMMY_API_KEY", "SHIMMY_ALLOWED_ORIGINS"))
"""Variables that change whom a server answers (seen on 2.6.5): those of the user's shell are meant
for a server of the user's."""


def hermetic(home: Path) -> dict[str, str | None]:
    """The environment, on top of the user's, in which the fake finds nothing but what is in
    `home`."""
    return {**HERMETIC, "HOME": str(home)}


def has_made_up_model(settings: Settings) -> bool:
    """Whether the server gets a model that is made for it (`tiny_model`): on request, and the fake
    when no models were set."""
    if settings.mode == "attached" or settings.model_file is not None:
        return False
    return settings.tiny_model or (settings.uses_fake and not settings.models_dir)


def made_up_id(settings: Settings) -> str:
    """The id of that model. Served by path, it keeps the exact name under which a test may ask for
    it."""
    if settings.model is not None and "/" not in settings.model:
        return settings.model
    return TINY_ID if settings.tiny_model else PLACEHOLDER_ID
