"""Programs of ours: a module in a Python interpreter of its own."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from ..errors import ShimmyError, ShimmyErrorCode


def python_command(module: str, *packages: str) -> tuple[str, ...]:
    """A command that runs ``main()`` of a module of ours in a bare interpreter.

    Isolated and without ``site``: start-up hooks and variables of the user's environment
    (coverage, PYTHONPATH, a slow ``.pth`` file) neither change nor slow it. `packages` are what
    it imports beyond the standard library; their directories are handed over, and come after that:
    they may hold a module that is called like one of its own.

    No garbage is collected while it loads: modules make thousands of objects, and hardly any
    garbage. What it has loaded is never looked at again.
    """
    roots = dict.fromkeys(_root(package) for package in packages)
    boot = (
        f"import gc, sys; gc.disable(); sys.path += {list(roots)!r}; from {module} import main; "
        "gc.freeze(); gc.enable(); sys.exit(main())"
    )
    return (sys.executable, "-I", "-S", "-c", boot)


def _root(package: str) -> str:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ShimmyError(
            ShimmyErrorCode.BINARY_NOT_FOUND,
            f"the Python package {package!r}, which pytest-shimmy needs, is not installed for "
            f"{sys.executable}.\nInstall pytest-shimmy again: pip install --force-reinstall "
            "pytest-shimmy",
            {"package": package},
        )
    return str(Path(next(iter(spec.submodule_search_locations))).absolute().parent)
