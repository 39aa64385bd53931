"""Hypothesis strategies: requests, answers to the byte, faulty ones, and a machine of states.

`shimmy_fake.play()` serves what they give. Needs the extra ``pytest-shimmy[hypothesis]``; nothing
outside this folder imports it. What an answer looks like is in `events` and `answer`, which know
nothing of hypothesis.
"""

from __future__ import annotations

try:
    import hypothesis as _hypothesis  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "pytest_shimmy.strategies needs hypothesis: pip install 'pytest-shimmy[hypothesis]'",
        name=error.name,
    ) from None

from .answer import Answer, Ending, Plan
from .answers import FAULTS, answers, faults, servers, streams
from .chats import chats
from .sidecar import Sidecar, SidecarMachine

__all__ = [
    "FAULTS",
    "Answer",
    "Ending",
    "Plan",
    "Sidecar",
    "SidecarMachine",
    "answers",
    "chats",
    "faults",
    "servers",
    "streams",
]
