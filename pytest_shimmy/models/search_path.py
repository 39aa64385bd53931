"""Where a shimmy looks for models, as it says itself.

Strategy: ``shimmy discover`` names its search path, but only where it found nothing. So it is
asked in an environment in which every directory has the name of one that is not there appended;
that name is then taken off what it prints. Seen on 1.8.1, 2.5.0 and 2.6.5, all alike.
"""

from __future__ import annotations

import re
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..defaults import ShimmyProcessDefaults
from ..executable.dialect import MODEL_PATHS_SEPARATOR, MODEL_PATHS_VARIABLE
from ..executable.executable import ANSWER_LIMIT, Executable
from ..process import command
from .listing import unescape

_DIRECTORIES = ("HOME", "USERPROFILE", "OLLAMA_MODELS")
_FILE = "SHIMMY_BASE_GGUF"
"""Its directory is searched, too."""
_LINE = re.compile(r'^   • "((?:[^"\\\n]|\\.)*)"$', re.MULTILINE)


def searched(
    executable: Executable, models_dir: Sequence[str], env: Mapping[str, str], cwd: Path
) -> list[Path] | None:
    """The search path in its order, there or not; None when the executable does not say.

    `env` is its whole environment, `cwd` where relative paths begin.
    """
    nowhere = f"no-such-{secrets.token_hex(8)}"
    paths = models_dir or env.get(MODEL_PATHS_VARIABLE, "").split(MODEL_PATHS_SEPARATOR)
    asked = {**env, **executable.env}
    asked[MODEL_PATHS_VARIABLE] = MODEL_PATHS_SEPARATOR.join(
        str(Path(path, nowhere)) for path in paths if path
    )
    for name in _DIRECTORIES:
        if asked.get(name):
            asked[name] = str(Path(asked[name], nowhere))
    if asked.get(_FILE):
        asked[_FILE] = str(Path(asked[_FILE]).parent / nowhere / "model.gguf")
    with tempfile.TemporaryDirectory(prefix="pytest-shimmy-") as empty:
        try:
            answer = command.run(
                [*executable.command, "discover"],
                env=asked,
                cwd=Path(empty),
                timeout=ShimmyProcessDefaults.version_timeout,
                limit=ANSWER_LIMIT,
            )
        except (OSError, ValueError):
            return None
    printed = [unescape(path) for path in _LINE.findall(answer.stdout.decode("utf-8", "replace"))]
    found = [cwd / path.replace(nowhere, "") for path in printed]
    return list(dict.fromkeys(found)) or None
