"""Framing of event streams: events of ``data:`` lines, in HTTP chunks where the version has them.

Strategy: an event leaves as one chunk, as hyper sends it, so that a stream can be compared byte
for byte. Seen on 2.5.0 CPU-only.
"""

from __future__ import annotations


def frame(event: bytes, chunked: bool) -> bytes:
    """``event`` as it goes over the wire."""
    return b"%X\r\n%b\r\n" % (len(event), event) if chunked else event


def event(data: str) -> bytes:
    """An event with ``data``, which must not contain a carriage return."""
    lines = data.encode().split(b"\n")
    return b"data: " + b"\ndata: ".join(lines) + b"\n\n"


def end(chunked: bool) -> bytes:
    """The end marker and the end of the body."""
    return frame(b"data: [DONE]\n\n", chunked) + (b"0\r\n\r\n" if chunked else b"")
