"""Where exchanges are written that a server does not tell itself."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from struct import pack

from . import answers
from .answers import Writes
from .parts import HEAD, NUMBERS, Part, exchanges_of, session_name


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
        writes = Writes([at for at, _ in sent], [len(data) for _, data in sent])
        answer = answers.read(data, writes, status)
        moments = answers.token_moments(answer)
        asked = {**self._about, "method": method, "path": path, "headers": headers}
        name = sha256(repr(asked).encode("utf-8", "surrogatepass")).hexdigest()[:12]
        head = b"" if name in self._told else self._part.line(HEAD, name=name, **asked)
        self._told.add(name)
        numbers = pack(
            f"{NUMBERS}{len(sent)}f{len(sent)}I{len(moments)}f",
            time,
            duration,
            status or 0,
            len(moments) or _stated_tokens(answer.text),
            len(body),
            len(body),
            len(data),
            len(data),
            len(sent),
            len(moments),
            *writes.moments,
            *writes.sizes,
            *moments,
        )
        line = b"%b %b %b" % (name.encode(), ended.encode(), b2a_base64(numbers))
        self._part.append(b"".join((head, line, body, data, b"\n")))


def _stated_tokens(text: str) -> int:
    from fake_shimmy.script.timed_answer import stated_tokens  # few runs need it

    return stated_tokens(text)
