"""Where exchanges are written that a server does not tell itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from . import answers
from .parts import HEAD, Part, exchanges_of, session_name


class ExchangePart:
    """The exchanges of the process `worker` with the server at `url`; `source` says who tells
    them."""

    def __init__(self, directory: str, source: str, worker: str, url: str, api_key: str) -> None:
        path = Path(exchanges_of(directory, f"{source}-{worker}"))
        self._part = Part(str(path.parent), path.stem)
        self._about = {"server": url, "session": session_name(api_key)}
        self._told: set[str] = set()
        """Names of heads that are written."""

    def write(
        self,
        headers: str,
        body: bytes,
        sent: Sequence[tuple[float, bytes]],
        *,
        time: float,
        duration: float,
        method: str,
        path: str,
        status: int | None,
        ended: str,
    ) -> None:
        """Append an exchange whose answer was `sent`, each piece so many seconds after the request.
        No script had a part in it, and its tokens are read from the answer."""
        data = b"".join(data for _, data in sent)
        pieces = [each for at, data in sent for each in (int(at * 1e6), len(data))]
        answer = answers.read(data, pieces, status)
        moments = answers.token_moments(answer)
        tokens = len(moments) or _stated_tokens(answer.text)
        asked = {**self._about, "method": method, "path": path, "headers": headers}
        name = sha256(repr(asked).encode("utf-8", "surrogatepass")).hexdigest()[:12]
        head = b"" if name in self._told else self._part.line(HEAD, name=name, **asked)
        self._told.add(name)
        sizes = len(body), len(body), len(data)
        told = name, time, int(duration * 1e6), ended, status, tokens, *sizes, pieces, moments
        line = json.dumps(told, separators=(",", ":")).encode()
        self._part.append(b"".join((head, line, b"\n", body, data, b"\n")))


def _stated_tokens(text: str) -> int:
    from fake_shimmy.script.timed_answer import stated_tokens  # few runs need it

    return stated_tokens(text)
