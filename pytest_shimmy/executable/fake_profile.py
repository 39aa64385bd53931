"""Which machine and build the bundled fake pretends when a GPU backend is asked for, as a table.

A real executable is what it is, and a backend that it cannot use is an error. The fake can be
any: for each backend, the release and build that can be asked for it, on a machine that has it.
"""

# No annotations as text: every run with a server loads this, see CONTRIBUTING.

from collections.abc import Mapping
from typing import NamedTuple

RELEASE = "FAKE_SHIMMY_RELEASE"
BUILD = "FAKE_SHIMMY_BUILD"
GPU = "FAKE_SHIMMY_GPU"


class Pretence(NamedTuple):
    """What the fake is told to be."""

    release: str | None
    """None: the newest that it imitates."""
    environment: Mapping[str, str]


class _Row(NamedTuple):
    release: str | None
    """None: the newest that it imitates."""
    build: str
    """Of 1.x. A default build of 2.x picks the adapter that is there."""
    machine: str


BACKENDS: Mapping[str, _Row] = {
    # 2.x cannot be told to do without a GPU (seen on 2.5.0), 1.x can (seen on 1.8.1).
    "cpu": _Row("1.8.1", "default", "none"),
    "cuda": _Row("1.8.1", "cuda", "nvidia"),
    "vulkan": _Row(None, "vulkan", "nvidia"),
    "opencl": _Row("1.8.1", "opencl", "nvidia"),
    "metal": _Row(None, "default", "apple"),
    "mlx": _Row(None, "default", "apple"),
}


def pretence(
    gpu: str, release: str | None, environ: Mapping[str, str], build: str | None = None
) -> Pretence:
    """What the fake is to be for the `gpu` setting.

    A `release` or `build` that was set is kept, and refuses what it cannot do as the real one
    would. What `environ` says of machine and build goes before defaults: so a backend can be
    asked for that the machine then does not have.
    """
    told = {} if build is None else {BUILD: build}
    row = BACKENDS.get(gpu)
    if row is None:
        return Pretence(release, told)
    release = release or row.release
    fitting = row.build if release is not None and release.startswith("1.") else "default"
    usual = {GPU: row.machine, BUILD: fitting}
    return Pretence(
        release, {name: text for name, text in usual.items() if name not in environ} | told
    )


def system_of(environ: Mapping[str, str]) -> str:
    """The system, as in `sys.platform`, of the machine that the fake pretends to run on."""
    return "darwin" if environ.get(GPU) == "apple" else "linux"
