"""The type of what the fixture `make_shimmy_server` yields. Needs no pytest."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, Unpack

from ..setting_types import SettingChanges

if TYPE_CHECKING:
    from ..server import ShimmyServer


class MakeShimmyServer(Protocol):
    """Starts a server for the running test alone: ``make_shimmy_server(max_restarts=0)``.

    The settings by name are those of `Settings`. For the fake also `script`, a mapping or a file's
    path, and `faults`, what goes wrong in its life: ``make_shimmy_server(faults={"start_delay":
    1})``. The server is stopped at the end of the test.

    Raises `ShimmyError` for a server that does not start, `ShimmyUsageError` for an invalid
    script or faults, `ValueError` for a setting's value, `TypeError` for an unknown setting.
    """

    def __call__(
        self,
        *,
        script: Mapping[str, Any] | str | os.PathLike[str] | None = None,
        faults: Mapping[str, Any] | None = None,
        **settings: Unpack[SettingChanges],
    ) -> ShimmyServer: ...
