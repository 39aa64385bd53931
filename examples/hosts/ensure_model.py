"""A model that is downloaded if it is missing, and served.

    python ensure_model.py tiny https://host/tiny.gguf --models DIRECTORY --shimmy shimmy

Without --shimmy, the bundled fake serves it.
"""

from __future__ import annotations

import argparse
import sys

from pytest_shimmy import ModelRegistry, ShimmyError, ShimmyProcessManager, ShimmyProcessOptions
from pytest_shimmy.models.downloads import from_url


def main() -> None:
    parser = argparse.ArgumentParser(description="Have a model there, and serve it.")
    parser.add_argument("model", help="what shimmy will call it: the file's name in lower case")
    parser.add_argument("url", help="where to get it")
    parser.add_argument("--sha256", metavar="DIGEST", help="what its file must be")
    parser.add_argument("--shimmy", metavar="PATH", help="the executable (default: the fake)")
    parser.add_argument("--models", metavar="DIRECTORY", default="models", help="where models are")
    chosen = parser.parse_args()
    registry = ModelRegistry(chosen.shimmy, chosen.models)
    options = ShimmyProcessOptions(shimmy_path=chosen.shimmy, models_dir=chosen.models)
    download = from_url(chosen.url, sha256=chosen.sha256, progress=True)

    with ShimmyProcessManager() as manager:
        manager.on("starting", lambda _: print("starting", flush=True))
        manager.on("ready", lambda _: print("ready", flush=True))
        manager.on("restarting", lambda _: print("restarting", flush=True))
        manager.start(options)
        try:
            # With `manager`, it does not matter whether the server has found no model at all, or
            # runs with others: in the end it offers this one.
            model = registry.ensure_default(chosen.model, download, manager=manager)
        except ShimmyError as error:
            sys.exit(str(error))
        print(f"{model.id} is served at {manager.url}/v1. Enter ends it.", flush=True)
        sys.stdin.readline()


if __name__ == "__main__":
    main()
