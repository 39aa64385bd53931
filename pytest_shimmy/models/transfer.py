"""One file over HTTP: asked for again until it is whole, from where the last answer broke off.

Strategy: bytes go to ``NAME.part``, and what identifies the file on the server (URL, validator) to
``NAME.part.json``, so that any later call, in any process, can go on from there. A range is asked
for with ``If-Range`` and its answer is believed only as far as it says so itself: a server may
ignore the range, answer another one, or have another file by now. Only a file that has the
promised length and digest gets its name, by renaming.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import threading
from http import HTTPStatus
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from ..errors import ShimmyError, ShimmyErrorCode
from .http_headers import (
    ADVICE,
    LATER,
    length_of,
    place_of,
    range_of,
    retry_after,
    status_of,
    validator_of,
)
from .progress import Display, Progress, human

if TYPE_CHECKING:
    import requests

CHUNK = 64 * 1024

BACKOFF = 0.5
"""Seconds before the first repetition; doubles with each further one that gains nothing."""
BACKOFF_MAX = 30.0
PATIENCE = 120.0
"""Seconds that ``Retry-After`` may ask for; a caller is told of more instead of waiting."""


class _TryAgainError(Exception):
    """This attempt failed, but the next may not."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class _Remote(NamedTuple):
    """What is known of the file on the server, kept beside the partial download."""

    url: str
    validator: str | None
    """A strong ETag, or the date of the last change, for ``If-Range``."""
    total: int | None


class Transfer:
    """The download of `url` to `destination`. One process at a time: hold the lock."""

    def __init__(
        self,
        url: str,
        destination: Path,
        *,
        sha256: str | None,
        retries: int,
        timeout: float,
        display: Display,
        cancel: threading.Event,
    ) -> None:
        self._url = url
        self._destination = destination
        self._part = destination.with_name(f"{destination.name}.part")
        self._note = destination.with_name(f"{destination.name}.part.json")
        self._sha256 = sha256
        self._retries = retries
        self._timeout = timeout
        self._display = display
        self._cancel = cancel

    def run(self) -> None:
        """Fetch the file. Raises `ShimmyError` (``DOWNLOAD_FAILED``).

        When it was interrupted, or the server gave up, the partial download stays for the next
        call; a note on the exception says so.
        """
        try:
            try:
                self._fetch()
            except OSError as error:
                raise self._failed(f"{self._part} cannot be written: {error}", "") from error
        except BaseException as error:
            kept, _ = self._resume_point()
            if kept:
                words = f"{human(kept)} are kept in {self._part}; the next call goes on from there."
                error.add_note(words)
                self._display.say(f"{self._destination.name}: stopped; {words}")
            else:
                self._drop()
            if isinstance(error, ShimmyError):
                error.details["resumable"] = kept
            raise

    def _fetch(self) -> None:
        import requests

        if self._sha256 is not None and self._kept() and _digest(self._part) == self._sha256:
            self._finish()  # killed between the last byte and the renaming
            return
        best = attempts = failures = 0
        with requests.Session() as session:
            while True:
                try:
                    self._attempt(session)
                    return
                except _TryAgainError as error:
                    kept = self._kept()
                    attempts += 1
                    failures = 1 if kept > best else failures + 1
                    best = max(best, kept)
                    if failures > self._retries:
                        raise self._failed(
                            f"{error} (attempts: {attempts})",
                            "Check the network, and try again later.",
                        ) from error.__cause__
                    pause = min(BACKOFF * 2 ** (failures - 1), BACKOFF_MAX)
                    if error.wait is not None:
                        pause = error.wait
                    self._display.say(f"{self._destination.name}: {error}; again in {pause:g} s")
                    self._cancel.wait(pause)

    def _attempt(self, session: requests.Session) -> None:
        """Ask once, for what is missing. Raises `_TryAgainError` or `ShimmyError`."""
        import requests

        self._obey()
        offset, remote = self._resume_point()
        headers = {"Accept-Encoding": "identity"}  # ranges count the bytes of the file itself
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if remote.validator is not None:
                headers["If-Range"] = remote.validator
        try:
            with session.get(
                self._url, headers=headers, stream=True, timeout=self._timeout
            ) as answer:
                offset, remote = self._understand(answer, offset, remote.validator)
                if offset == 0:  # the note must never be of another file than the bytes
                    self._drop()
                self._note.write_text(json.dumps(remote._asdict()))
                self._receive(answer, offset, remote)
        except requests.exceptions.SSLError as error:
            raise self._failed(
                f"no secure connection: {self._words(error)}",
                "If a proxy or server of your own signs its certificates: REQUESTS_CA_BUNDLE=FILE.",
            ) from error
        except (
            requests.exceptions.InvalidURL,
            requests.exceptions.InvalidSchema,
            requests.exceptions.MissingSchema,
            requests.exceptions.InvalidProxyURL,
            requests.exceptions.TooManyRedirects,
        ) as error:
            raise self._failed(self._words(error), "Check the address.") from error
        except requests.RequestException as error:
            raise _TryAgainError(self._words(error)) from error
        self._check(resumed=offset > 0, total=remote.total)
        self._finish()

    def _resume_point(self) -> tuple[int, _Remote]:
        """How much need not be asked for again, and what is known of the file that it is from."""
        fresh = _Remote(place_of(self._url), None, None)
        try:
            remote = _Remote(**json.loads(self._note.read_text()))
        except (OSError, ValueError, TypeError):
            remote = fresh
        # Without a validator only the digest can tell whether the pieces belong together.
        certain = remote.validator is not None or self._sha256 is not None
        if remote.url == fresh.url and certain:
            return self._kept(), remote
        return 0, fresh

    def _understand(
        self, answer: requests.Response, offset: int, known: str | None
    ) -> tuple[int, _Remote]:
        """Where the body of `answer` belongs, and what it is a part of.

        `known` is the validator of the file of which `offset` bytes are here.
        """
        status = answer.status_code
        if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and offset:
            self._drop()
            raise _TryAgainError("the server has no such range, so the file is another", 0)
        if status in LATER:
            raise _TryAgainError(f"the server answered {status_of(answer)}", self._wait(answer))
        if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            raise self._failed(f"the server answered {status_of(answer)}", ADVICE.get(status, ""))
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind == "text/html":
            raise self._failed(
                "the server sent a web page instead of a file",
                "Is it a login or an overview? Open it in a browser to see the file's own address.",
            )
        coding = answer.headers.get("Content-Encoding", "identity").lower()
        if coding != "identity":
            raise self._failed(
                f"the server sent it in the coding {coding!r}, unasked",
                "Use an address that serves the file as it is.",
            )
        total = length_of(answer)
        validator = validator_of(answer)
        # Some servers take the range and ignore the condition.
        other_file = None not in (validator, known) and validator != known
        if status == HTTPStatus.PARTIAL_CONTENT:
            first, total = range_of(answer)
            if first != offset or other_file:
                self._drop()
                raise _TryAgainError("the server sent a piece of another file or place", 0)
            validator = validator or known
        else:
            offset = 0
        return offset, _Remote(place_of(self._url), validator, total)

    def _receive(self, answer: requests.Response, offset: int, remote: _Remote) -> None:
        """Write the body of `answer` at `offset`. Raises `_TryAgainError` where it is short."""
        with open(self._part, "r+b" if offset else "wb") as file:
            file.truncate(offset)
            file.seek(offset)
            self._check_room(None if remote.total is None else remote.total - offset)
            done = offset
            self._display.update(Progress(self._destination.name, done, remote.total))
            for chunk in answer.iter_content(CHUNK):
                self._obey()
                file.write(chunk)
                done += len(chunk)
                self._display.update(Progress(self._destination.name, done, remote.total))
            _flush(file)
        if remote.total is not None and done < remote.total:
            raise _TryAgainError(f"the connection ended {human(remote.total - done)} too early")

    def _obey(self) -> None:
        if self._cancel.is_set():
            raise self._failed("it was cancelled", "", cancelled=True)

    def _check_room(self, needed: int | None) -> None:
        free = shutil.disk_usage(self._part.parent).free
        if needed is not None and needed > free:
            raise self._failed(
                f"the file needs {human(needed)}, and {self._part.parent} has {human(free)} free",
                "Free some space, or choose another directory.",
            )

    def _check(self, *, resumed: bool, total: int | None) -> None:
        """Whether what has arrived is what was promised."""
        size = self._kept()
        if size == 0:
            self._drop()
            raise self._failed("the server sent an empty file", "Check the address.")
        if total is not None and size != total:
            self._drop()
            raise _TryAgainError(f"the server sent {size} bytes and promised {total}")
        if self._sha256 is None or (found := _digest(self._part)) == self._sha256:
            return
        self._drop()
        if resumed:  # the pieces may be of two files; from one piece the next answer is
            raise _TryAgainError("the pieces that arrived do not fit together", 0)
        raise self._failed(
            f"the file that arrived is another: {human(size)}, SHA-256\n  {found}\n"
            f"and not\n  {self._sha256}",
            "Was it replaced on the server, or is the digest of another file?",
            found=found,
        )

    def _finish(self) -> None:
        self._part.replace(self._destination)
        self._note.unlink(missing_ok=True)

    def _kept(self) -> int:
        try:
            return self._part.stat().st_size
        except OSError:
            return 0

    def _drop(self) -> None:
        for path in (self._part, self._note):
            path.unlink(missing_ok=True)

    def _wait(self, answer: requests.Response) -> float | None:
        """What the server asks for with ``Retry-After``, in seconds."""
        wait = retry_after(answer.headers.get("Retry-After", ""))
        if wait is not None and wait > PATIENCE:
            raise self._failed(
                f"the server answered {status_of(answer)} and asks to wait {wait:.0f} s",
                "Try again after that time.",
            )
        return wait

    def _words(self, error: requests.RequestException) -> str:
        """What went wrong, without what is secret in the address."""
        import requests

        text = str(error) or type(error).__name__
        if isinstance(error, requests.Timeout) or "Read timed out" in text:
            return f"nothing came for {self._timeout:g} s"
        if isinstance(error, requests.exceptions.ChunkedEncodingError):
            return "the connection broke off"
        parts = urlsplit(self._url)
        for secret in (parts.query, parts.password):
            if secret:
                text = text.replace(secret, "…")
        return text

    def _failed(self, what: str, advice: str, **details: Any) -> ShimmyError:
        return ShimmyError(
            ShimmyErrorCode.DOWNLOAD_FAILED,
            f"{self._destination.name} could not be fetched from {place_of(self._url)}: {what}.\n"
            f"{advice}".rstrip(),
            {"url": place_of(self._url), "path": str(self._destination), **details},
        )


def has_digest(path: Path, sha256: str) -> bool:
    """Whether the file at `path` is the one with that SHA-256."""
    return _digest(path) == sha256


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(file: IO[bytes]) -> None:
    """To the disk itself: the renaming must not be there before the bytes after a power cut."""
    file.flush()
    with contextlib.suppress(OSError):  # some network file systems cannot
        os.fsync(file.fileno())
