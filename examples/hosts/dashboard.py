"""The models on this machine, as rows.

    python dashboard.py --models DIRECTORY --shimmy shimmy

Without --shimmy, the bundled fake says what it finds.
"""

from __future__ import annotations

import argparse
import sys

from pytest_shimmy import ModelRegistry, ShimmyError, ShimmyModelSummary


def row(model: ShimmyModelSummary) -> str:
    mark = "*" if model.is_default else " "
    size = "missing" if model.size_bytes is None else f"{model.size_bytes / 1e6:.1f} MB"
    traits = " ".join(filter(None, (model.parameters, model.quantization)))
    return f"{mark} {model.id:<30} {size:>12}  {traits:<12} {model.path}"


def main() -> None:
    parser = argparse.ArgumentParser(description="List the models on this machine.")
    parser.add_argument("--shimmy", metavar="PATH", help="the executable (default: the fake)")
    parser.add_argument("--models", metavar="DIRECTORY", default="models", help="where models are")
    chosen = parser.parse_args()
    registry = ModelRegistry(chosen.shimmy, chosen.models)

    try:
        for model in registry.list_local():
            print(row(model))
        default = registry.default()
    except ShimmyError as error:
        sys.exit(str(error))
    print(f"* {default.reason}" if default else "There is no model.")


if __name__ == "__main__":
    main()
