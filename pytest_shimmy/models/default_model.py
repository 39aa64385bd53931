"""Which model is meant when none is named: one rule, for servers and for the registry.

Strategy: shimmy itself has no default, every request names a model. It knows one model by a name
of its own, though, the one in ``SHIMMY_BASE_GGUF``; that is the nearest thing to a choice by the
user. Otherwise the first in the order of ``/v1/models``, which is by code points. Seen on 2.5.0
and 1.8.1.
"""

# No annotations as text: every run with a server loads this, see CONTRIBUTING.

from collections.abc import Iterable
from typing import NamedTuple

NAMED_MODEL = "tinyllama-1.1b"
"""What 2.x calls the file in ``SHIMMY_BASE_GGUF``, whichever model it has."""

PHANTOM_MODEL = "phi3-lora"
"""What 1.x calls it. It lists this even where the variable is unset and there is no such file, and
then cannot load it, not even where a file of that name was discovered."""


class DefaultModel(NamedTuple):
    """The model to use when none was asked for."""

    id: str
    reason: str
    """In words, to follow "because"."""


def default_model(
    ids: Iterable[str], version: str, *, phantom_is_real: bool = False
) -> DefaultModel | None:
    """The default among `ids`, on a shimmy of that `version`; None where there is none.

    `phantom_is_real` says that a file stands behind `PHANTOM_MODEL`.
    """
    available = set(ids)
    named = named_model(version)
    if named == PHANTOM_MODEL and not phantom_is_real:
        available.discard(named)
    if named in available:
        return DefaultModel(named, "it has the name of the model in SHIMMY_BASE_GGUF")
    if not available:
        return None
    only = len(available) == 1
    return DefaultModel(min(available), "it is the only one" if only else "its name sorts first")


def named_model(version: str) -> str:
    """The name under which a shimmy of that `version` registers ``SHIMMY_BASE_GGUF``."""
    return PHANTOM_MODEL if version.startswith("1.") else NAMED_MODEL
