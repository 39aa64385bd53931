"""Fetches a URL into a directory and prints how far it is; or has a model there.

``fetcher.py url URL DIRECTORY`` prints the number of bytes at each step.
``fetcher.py hub REPOSITORY FILE DIRECTORY`` fetches from Hugging Face, and prints an error's code.
``fetcher.py ensure MODEL SOURCE DIRECTORY JOURNAL`` copies the file SOURCE if the model is missing,
and adds a line to JOURNAL when it does. It begins when a line arrives on its input.
``fetcher.py die MODEL DIRECTORY`` is gone, with status 9, in the middle of downloading.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from pytest_shimmy import ShimmyError
from pytest_shimmy.models.downloads import from_hub, from_url
from pytest_shimmy.models.registry import ModelRegistry


def url(address: str, directory: str) -> None:
    download = from_url(address, progress=lambda seen: print(seen.done, flush=True))
    download("any", Path(directory))


def hub(repository: str, name: str, directory: str) -> None:
    try:
        from_hub(repository, name)("any", Path(directory))
    except ShimmyError as error:
        print(error.code)


def ensure(model: str, source: str, directory: str, journal: str) -> None:
    def download(_model_id: str, target: Path) -> None:
        with open(journal, "a") as out:
            out.write("called\n")
        shutil.copy(source, target)

    registry = ModelRegistry(models_dir=directory)
    print("waiting", flush=True)
    sys.stdin.readline()
    print(registry.ensure_default(model, download).path)


def die(model: str, directory: str) -> None:
    def download(model_id: str, target: Path) -> None:
        (target / f"{model_id}.gguf").write_bytes(b"GG")
        (target / "sub").mkdir()
        (target / "sub" / "other.gguf").touch()
        os._exit(9)

    ModelRegistry(models_dir=directory).ensure_default(model, download)


def main() -> None:
    {"url": url, "hub": hub, "ensure": ensure, "die": die}[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    main()
