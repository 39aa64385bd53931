"""The types of the settings as a test writes them. The values are read by `settings`."""

# No annotations as text: every keeper loads this, see CONTRIBUTING.

import os
from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias, TypedDict, TypeVar

GpuMode: TypeAlias = Literal["auto", "cpu", "cuda", "vulkan", "opencl", "metal", "mlx"]
"""What a user can ask for."""
StrPath: TypeAlias = str | os.PathLike[str]
T = TypeVar("T")
OneOrMany: TypeAlias = T | Iterable[T]


class SettingChanges(TypedDict, total=False):
    """The settings that `Settings.but` and ``make_shimmy_server`` take by name, as `Settings` has
    them. None: the default again."""

    path: StrPath | None
    fake: bool | None
    fake_version: OneOrMany[str] | None
    fake_build: str | None
    fake_script: StrPath | None
    strict_fidelity: bool | None
    seed: int | None
    url: str | None
    record: StrPath | None
    record_mode: Literal["all", "missing", "failed"] | None
    replay: StrPath | None
    replay_speed: float | None
    replay_as_real: bool | None
    api_key: str | None
    model: StrPath | None
    tiny_model: bool | None
    warm_up: bool | None
    models_dir: OneOrMany[StrPath] | None
    gpu: OneOrMany[GpuMode] | None
    require: OneOrMany[Literal["real", "gpu"]] | None
    scope: Literal["run", "worker"] | None
    port: int | None
    start_timeout: float | None
    max_restarts: int | None
    args: Iterable[str] | None
    env: Mapping[str, str] | Iterable[tuple[str, str]] | None
    log_dir: StrPath | None
    report: StrPath | None
