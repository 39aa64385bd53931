"""Whole scripts: from a mapping or a file to a checked document, and with faults for a life."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from fake_shimmy.script import files
from fake_shimmy.script import rules as vocabulary
from fake_shimmy.script.shapes import ScriptError

from ..errors import is_ours, misused
from ..settings import Settings
from .conditions import argument_errors

__tracebackhide__ = is_ours


def load_script(script: Mapping[str, Any] | str | os.PathLike[str]) -> dict[str, Any]:
    """A script as a plain document, checked. Raises `ShimmyUsageError`."""
    if isinstance(script, Mapping):
        with argument_errors("script"):
            vocabulary.read(dict(script))
        return dict(script)
    if not isinstance(script, str | os.PathLike):
        raise misused(f"script: {script!r} is neither a mapping nor the path of a file")
    try:
        return files.document(os.fspath(script))
    except ScriptError as error:
        raise misused(str(error)) from None


def script_of(
    settings: Settings,
    script: Mapping[str, Any] | str | os.PathLike[str] | None,
    faults: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What a server with these settings follows: a script, with `faults` for its process's life.

    Raises `ShimmyUsageError`.
    """
    if not settings.uses_fake:
        raise misused(
            f"script and faults are for the bundled fake, and this is a server of mode "
            f"{settings.mode!r}: mark the test with shimmy_fake."
        )
    if script is None and settings.fake_script is not None:
        script = settings.fake_script
    document = {} if script is None else load_script(script)
    if settings.strict_fidelity:
        check_fidelity("script", vocabulary.read(document).rules)
    if faults is not None:
        if not isinstance(faults, Mapping):
            raise misused(f"faults: {faults!r} is not a mapping, such as {{'start_delay': 1}}")
        with argument_errors("faults", inside=("life",)):
            vocabulary.read({"life": dict(faults)})
        document["life"] = {**document.get("life", {}), **faults}
    return document


def check_fidelity(what: str, rules: Sequence[vocabulary.Rule]) -> None:
    """Refuse rules whose answers no shimmy gives. Raises `ShimmyUsageError`."""
    for rule in rules:
        says = next((each.beyond for each in rule.answers if each.is_beyond), None)
        if rule.validate is False:
            says = "validate=False"
        if says is not None:
            raise misused(
                f"{what}: {says}: no shimmy answers like this, and the run refuses such answers "
                "(--shimmy-strict-fidelity)."
            )


def exits(rules: Any) -> bool:
    """Whether any of these rules ends the process."""
    return any(
        fault.get("do") == "exit"
        for rule in rules
        for answer in (rule, *rule.get("answers", ()))
        for fault in answer.get("faults", ())
    )
