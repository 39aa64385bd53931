"""A graphics adapter for the models of a default build: a software renderer, the same everywhere.

Strategy: the drivers of this machine's cards are hidden, so a recording holds what Mesa's software
renderers compute and not what a card does. Whether one is there is found out by a first generation,
which also compiles Mesa's shaders (40 s and more, once per machine), so that no check has to wait.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from .environments import WORLDS, build
from .subject import Subject

NO_DRIVERS: Mapping[str, str] = {
    "VK_DRIVER_FILES": "/nonexistent",
    "VK_ICD_FILENAMES": "/nonexistent",
    "__EGL_VENDOR_LIBRARY_FILENAMES": "/nonexistent",
    "LIBGL_DRIVERS_PATH": "/nonexistent",
    "CUDA_VISIBLE_DEVICES": "",
}
"""On a machine with a GPU the default build would load what it is not meant to."""
FIRST_GENERATION = 300.0
"""Seconds."""
_PLACES = ("/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d")


def software_drivers() -> dict[str, str]:
    """Variables with which only a software renderer is found: lavapipe, or else llvmpipe."""
    found = sorted(path for place in _PLACES for path in Path(place).glob("lvp_icd*.json"))
    cache = os.environ.get("MESA_SHADER_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    env = {
        **NO_DRIVERS,
        "MESA_SHADER_CACHE_DIR": cache or str(Path.home() / ".cache"),
        "LIBGL_ALWAYS_SOFTWARE": "1",
    }
    if found:
        env["VK_DRIVER_FILES"] = env["VK_ICD_FILENAMES"] = str(found[0])
    else:
        del env["__EGL_VENDOR_LIBRARY_FILENAMES"], env["LIBGL_DRIVERS_PATH"]
    return env


def why_none(subject: Subject) -> str:
    """Why `subject` cannot generate on this machine; empty where it can. Takes up to minutes."""
    if subject.is_fake:
        return ""
    with tempfile.TemporaryDirectory(prefix="shimmy-verify-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        build(WORLDS["airframe"], folder)
        command = [*subject.command, "generate", "chatter", "--prompt", "x"]
        env = {"HOME": "home", "PATH": "bin", **software_drivers(), **subject.env}
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=FIRST_GENERATION,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"needs a graphics adapter, and a first generation failed: {error}"
    if done.returncode == 0:
        return ""
    said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
    return (
        "needs a graphics adapter; a software renderer will do (Debian, Ubuntu: apt install "
        f"mesa-vulkan-drivers libvulkan1). It said: {said}"
    )
