"""Fetches a URL into a directory and prints how far it is; or has a model there.

``fetcher.py url URL DIRECTORY`` prints the number of bytes at each step.
``fetcher.py hub REPOSITORY FILE DIRECTORY`` fetches from Hugging Face, and prints an error's code.
``fetcher.py ensure MODEL DIRECTORY`` has the model there, and fails if it had to be downloaded. It
prints whether it was there, each time that it looks.
``fetcher.py die MODEL DIRECTORY`` is gone, with status 9, in the middle of downloading.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pytest_shimmy import ShimmyError
from pytest_shimmy.models.downloads import from_hub, from_url
from pytest_shimmy.models.registry import ModelRegistry
from pytest_shimmy.models.summary import ShimmyModelSummary


def url(address: str, directory: str) -> None:
    download = from_url(address, progress=lambda seen: print(seen.done, flush=True))
    download("any", Path(directory))


def hub(repository: str, name: str, directory: str) -> None:
    try:
        from_hub(repository, name)("any", Path(directory))
    except ShimmyError as error:
        print(error.code)


class Telling(ModelRegistry):
    def find(self, model_id: str) -> ShimmyModelSummary | None:
        found = super().find(model_id)
        print(found is not None, flush=True)
        return found


def ensure(model: str, directory: str) -> None:
    def download(_model_id: str, _target: Path) -> None:
        sys.exit("called")

    Telling(models_dir=directory).ensure_default(model, download)


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
