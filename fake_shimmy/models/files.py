"""The model files: those of this machine, and made-up ones that lie nowhere.

Strategy: whoever reads a model's file reads it through here. ``FAKE_SHIMMY_MODELS`` names models
that need no file; what is read of them is the smallest model that the engine loads, so they print,
count and answer as a served file does.
"""

from __future__ import annotations

import os

from fake_shimmy import rust

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import IO

VARIABLE = "FAKE_SHIMMY_MODELS"
"""Names of models, joined by commas, that are there instead of those of this machine."""

SAFETENSORS = b"\x02\x00\x00\x00\x00\x00\x00\x00{}"
"""The smallest file that the engine for SafeTensors serves (seen on 1.8.1, 2.5.0 and 2.6.5)."""

_made_up: dict[str, bytes | None] = {}
"""By path; None until somebody reads it."""
discovered: dict[str, str] | None = None
"""What a search finds: paths by name. None where it looks at this machine."""


def make_up(names: Iterable[str], suffix: str) -> None:
    """Have a search find models of these names, and nothing else."""
    global discovered
    discovered = {name: f"./models/{name}{suffix}" for name in names}
    _made_up.update(dict.fromkeys(discovered.values()))


def make_up_file(path: str) -> None:
    """Have a model file at ``path``."""
    _made_up[path] = None


def exists(path: str) -> bool:
    """``Path::exists``."""
    return path in _made_up or rust.exists(path)


def opened(path: str) -> IO[bytes]:
    """The file, to be read; raises ``OSError``."""
    if path not in _made_up:
        return open(rust.os_path(path), "rb")
    import io

    return io.BytesIO(_content(path))


def size(path: str) -> int:
    """Its bytes; raises ``OSError``."""
    return _stamp(path)[1]


def stamp(path: str) -> tuple[int, int] | None:
    """What is the same while it does not change: when it was written, and its bytes. None where
    there is no such file."""
    try:
        return _stamp(path)
    except OSError:
        return None


def _stamp(path: str) -> tuple[int, int]:
    if path in _made_up:
        return 0, len(_content(path))
    found = os.stat(rust.os_path(path))  # noqa: PTH116 - bytes, and no pathlib
    return found.st_mtime_ns, found.st_size


def _content(path: str) -> bytes:
    content = _made_up[path]
    if content is None:
        content = SAFETENSORS
        if not path.endswith(".safetensors"):
            from fake_shimmy.models import tiny_gguf

            content = tiny_gguf.contents()
        _made_up[path] = content
    return content
