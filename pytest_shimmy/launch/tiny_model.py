"""The smallest model that an executable can serve on this machine, generated when needed.

Strategy: what a build can load follows from its engine. Only whether a GPU engine finds a GPU, or a
software renderer that it takes for one, has to be tried out: the executable is asked to load the
model (``shimmy probe``).
"""

# No annotations as text: every run with a server loads this, see CONTRIBUTING.

import os
import tempfile
from pathlib import Path
from typing import NamedTuple

from ..errors import ShimmyError, ShimmyErrorCode
from ..executable.executable import ANSWER_LIMIT, Executable
from ..executable.fake_profile import BUILD

LOAD_TIMEOUT = 60.0
"""Seconds for loading it; it takes one where a renderer compiles its programs (seen on 2.6.5)."""

_PROBED = "pytest-shimmy-tiny"
"""A name that no other model has."""
_LEGACY_SERVES_SAFETENSORS_BEFORE = (2, 6)
"""From 2.6 on, a default build reads each model file as GGUF, and panics (seen on 2.6.5)."""


class TinyModel(NamedTuple):
    """A model file, and what ``serve`` must be told to serve it."""

    suffix: str
    content: bytes
    arguments: tuple[str, ...] = ()


def tiny_model(executable: Executable) -> TinyModel:
    """What `executable` can serve here.

    Raises `ShimmyError` (``UNSUPPORTED_ACCEL``) when that is nothing: a default build from 2.6 on
    where there is neither a GPU nor a software renderer.
    """
    if executable.is_fake:
        told = {**os.environ, **executable.env}.get(BUILD)
        return _safetensors() if told == "cpu-only" else _gguf()
    build = executable.build()
    if build.engine == "adapter":
        return _safetensors()
    model = _gguf()
    if build.engine != "airframe":
        return model
    complaint = _probe(executable, model)
    if complaint is None:
        return model
    if executable.numbers < _LEGACY_SERVES_SAFETENSORS_BEFORE:
        return _safetensors()._replace(arguments=("--legacy",))
    raise ShimmyError(
        ShimmyErrorCode.UNSUPPORTED_ACCEL,
        f"{executable.name} (shimmy {executable.version}) cannot load the smallest model on this "
        f"machine. It says:\n  {complaint}\n"
        "This build generates through a graphics library only. A software renderer does; on Debian "
        "and Ubuntu install one of\n"
        "  libegl1 libgl1-mesa-dri\n"
        "  mesa-vulkan-drivers libvulkan1\n"
        "or use a build that needs none: cargo install shimmy --locked --bin shimmy "
        "--no-default-features",
        {"path": executable.command[0], "version": executable.version, "said": complaint},
    )


def _safetensors() -> TinyModel:
    from fake_shimmy.models.files import SAFETENSORS

    return TinyModel(".safetensors", SAFETENSORS)


def _gguf() -> TinyModel:
    from fake_shimmy.models.tiny_gguf import contents

    return TinyModel(".gguf", contents())


def _probe(executable: Executable, model: TinyModel) -> str | None:
    """Why `executable` cannot load it, in its own words; None: it can."""
    from ..process import command

    with tempfile.TemporaryDirectory(prefix="pytest-shimmy-") as directory:
        Path(directory, _PROBED + model.suffix).write_bytes(model.content)
        answer = command.run(
            [*executable.command, "probe", "--model-dirs", directory, "--", _PROBED],
            env={**os.environ, **executable.env},
            cwd=Path(directory),
            timeout=LOAD_TIMEOUT,
            limit=ANSWER_LIMIT,
        )
    if answer.exit.code == 0 and answer.cut is None:
        return None
    said = answer.stderr.decode("utf-8", "replace").strip().splitlines()
    return said[-1].strip() if said else answer.told()
