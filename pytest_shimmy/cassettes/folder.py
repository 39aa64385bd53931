"""The cassettes of a suite: a folder with a file per test, and one that tells of the server."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from .cassette import Cassette, read_cassette, read_document, write_document
from .rules import Rules, invalid, read_rules

SERVER = "server"
"""The name of the file that tells of the server, without its ending."""

_UNUSUAL = re.compile(r"[^\w.,=@+\-\[\] ]+")
LONGEST_NAME = 120


class Folder:
    """A folder of cassettes. Names of cassettes are paths in it, without ``.json``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rules: Rules = read_rules(path)

    def file(self, name: str) -> Path:
        """Where a cassette is, or would be."""
        return self.path.joinpath(*PurePosixPath(name).parts).with_name(
            f"{PurePosixPath(name).name}.json"
        )

    def read(self, name: str) -> Cassette | None:
        """A cassette; None where there is none. Raises `ShimmyError` (``CASSETTE_INVALID``)."""
        return read_cassette(self.file(name))

    def write(self, name: str, cassette: Cassette) -> None:
        """Write a cassette, whole or not at all. Raises `ShimmyError` (``CASSETTE_INVALID``)."""
        write_document(self.file(name), cassette.document())

    def remove(self, name: str) -> None:
        """Remove a cassette, and its folder if that is empty then. Raises `ShimmyError`."""
        path = self.file(name)
        try:
            path.unlink(missing_ok=True)
            while path.parent != self.path and not any(path.parent.iterdir()):
                path = path.parent
                path.rmdir()
        except OSError as error:
            raise invalid(path, f"it cannot be removed: {error.strerror}") from None

    def names(self) -> Iterator[str]:
        """The cassettes that there are, sorted."""
        for path in sorted(self.path.rglob("*.json")):
            name = path.relative_to(self.path).with_suffix("").as_posix()
            if name != SERVER and not path.name.startswith("."):
                yield name

    def server(self) -> Mapping[str, Any] | None:
        """What was recorded of the server. Raises `ShimmyError` (``CASSETTE_INVALID``)."""
        return read_document(self.file(SERVER))

    def write_server(self, document: Mapping[str, Any]) -> None:
        """Keep what is known of the server, if it is news."""
        if self.server() != document:
            write_document(self.file(SERVER), document)


def test_name(node_id: str) -> str:
    """The cassette of a test: ``tests/test_a.py::TestB::test_c[1]`` is
    ``tests/test_a/TestB.test_c[1]``."""
    module, _, rest = node_id.partition("::")
    return str(PurePosixPath(_folder(module), _file_name(rest.replace("::", "."))))


def fixture_name(base_id: str, fixture: str) -> str:
    """The cassette of a fixture that is shared by tests, next to those of its module."""
    module = base_id.partition("::")[0]
    return str(PurePosixPath(_folder(module), _file_name(f"fixture-{fixture}")))


def marker_name(name: str) -> str:
    """A name that a user chose. Raises `ValueError`."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or _UNUSUAL.search(path.name):
        raise ValueError(f"{name!r} is not a name for a cassette, such as 'greetings' or 'a/b'")
    return str(path.with_name(path.name.removesuffix(".json")))


def _folder(module: str) -> str:
    # A test outside of pytest's root directory has a node id that leads out of it.
    return module.removesuffix(".py").replace("..", "_").lstrip("/")


def _file_name(text: str) -> str:
    name = _UNUSUAL.sub("-", text)
    if name == text and len(text) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{name[:LONGEST_NAME]}-{digest}"
