"""Taking out of an observation what may vary from run to run: ids, times, sizes, places, order.

Strategy: replace, never remove, by something of the same shape that no server says; each rule
demands the exact shape it replaces, so an id in the wrong form stays visible.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from itertools import groupby

from .case import Order

_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.MULTILINE), replacement)
    for pattern, replacement in (
        (r"\r\ndate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT(?=\r\n)", "\r\ndate: {date}"),
        # UUIDs of version 4, with and without dashes.
        (r"\b(chatcmpl|cmpl)-[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}\b", r"\1-{id}"),
        (r"\bmsg_[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", "msg_{id}"),
        (r'"(created|uptime_seconds)":\d{10}\b', r'"\1":{now}'),
        # chrono leaves out groups of three zeros, and so the length changes, too.
        (
            r'"timestamp":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}|\.\d{6}|\.\d{9})?\+00:00"',
            '"timestamp":"{now}"',
        ),
        (r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z(?= )", "{now}"),
        (r'"(cores|mem_total_mb|memory_\w+_mb)":\d+', r'"\1":{machine}'),
        (r"^thread '(main|tokio-\w+-worker|<unnamed>)' \(\d+\) panicked", r"thread '\1' panicked"),
        # Which shard of a model comes first is the file system's affair (seen on 1.8.1).
        (r"-\d{5}-of-(\d{5}\.\w+ \(\+\d+ more files\))", r"-{n}-of-\1"),
        # Where the sources were is the builder's affair.
        (r"(panicked at )/\S+/registry/src/[^/]+/", r"\1"),
        # Where the standard library is, and which line of it, is the compiler's affair.
        (r"(panicked at )(/rustc/[0-9a-f]{40}/)?(library/[\w/]+\.rs):\d+:\d+:$", r"\1\3:"),
        (r"^elapsed: \d+(\.\d+)?(ns|µs|ms|s)$", "elapsed: {time}"),
    )
)
_LLAMA_CPP = re.compile(
    r"^((llama_|gguf_|ggml_|~llama|create_|graph_|print_info|load|init_tokenizer|set_abort)\w*: .*"
    r"|\.+)\n",
    re.MULTILINE,
)
"""What llama.cpp writes to stderr at every load, with this machine's memory and cores in it."""
_AIRFRAME = re.compile(
    r"^(\[(GpuRuntime|KVCache|ISF-\w+|BindlessLoader|Preflight|OutputHead(-CPU)?)\] "
    r"|  (Layers|Max seq len|KV heads|Head dim|Buffer size per layer|Total VRAM allocated): "
    r"|error: XDG_RUNTIME_DIR ).*\n",
    re.MULTILINE,
)
"""What Airframe and its drivers write of themselves while they load and generate."""
_METADATA = re.compile(
    r"^(\[Metadata\] Scanning .*\n(?:\[Metadata\] (?!Scanning ).*\n)*)", re.MULTILINE
)
"""Airframe's account of a model file: some twenty lines each time that it opens one."""
_NOTE = "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n"
"""Only the first panic of a process says so."""
# Chunks of event streams, and frames of a WebSocket, that carry one token.
_TOKEN_CHUNKS = re.compile(
    r'([0-9A-F]+\r\n(data: (?!\[DONE\])(?![^\n]*"finish_reason":"stop")'
    r'(?![^\n]*"role":"assistant").*?\n\n)\r\n)+',
    re.DOTALL,
)
_TOKEN_FRAMES = re.compile("(\r\n\r\n)?\udc81.*(?=\udc81\r{)", re.DOTALL)
_SAID = re.compile(
    r'"(content|text|response|output_tokens|completion_tokens|total_tokens)":'
    r'("(?:[^"\\]|\\.)*"|\d+)'
)
_ASKED = re.compile(r'"(prompt_tokens|input_tokens)":\d+')
_CORS = (
    "\r\naccess-control-allow-origin: *"
    "\r\naccess-control-allow-methods: GET, POST, OPTIONS"
    "\r\naccess-control-allow-headers: Content-Type, Authorization"
    "\r\naccess-control-max-age: 86400\r\n"
)
"""In nearly every answer; written down as one line, where it is exactly this."""
_VARIABLE_LENGTH = re.compile(r'\{now\}"|\{machine\}')
_LENGTH = re.compile(r"\r\ncontent-length: \d+(?=\r\n)")


def text(raw: bytes) -> str:
    """`raw` as text that a recording can hold; what is not UTF-8 shows as ``\\udcXX``."""
    return raw.decode("utf-8", "surrogateescape")


def neutral(observed: str, own: dict[str, str]) -> str:
    """`observed` without what varies. `own` gives what is this run's own (the world's folder, the
    version, the port) and what to write in its place."""
    for value, name in own.items():
        observed = observed.replace(value, name)
    for pattern, replacement in _RULES:
        observed = pattern.sub(replacement, observed)
    return observed


def neutral_answer(observed: str, own: dict[str, str], order: Order) -> str:
    """The same for an HTTP answer, whose length is left out where it depends on what varies."""
    observed = neutral(observed, own).replace(_CORS, "\r\n{the four CORS headers}\r\n")
    if _VARIABLE_LENGTH.search(observed):
        observed = _LENGTH.sub("\r\ncontent-length: {length}", observed, count=1)
    if order == "rows":
        head, blank, body = observed.partition("\r\n\r\n")
        observed = head + blank + _sorted_rows(body)
    return observed


def without_llama_cpp(observed: str) -> str:
    """Stderr without the noise of llama.cpp."""
    return _LLAMA_CPP.sub("", observed)


def without_airframe(observed: str) -> str:
    """What a process wrote without the noise of Airframe; what it tells of a model file, which is
    the same each time, is cut to its size and a digest."""
    return _METADATA.sub(_digested, _AIRFRAME.sub("", observed))


def _digested(block: re.Match[str]) -> str:
    digest = hashlib.sha256(block[1].encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"[Metadata] {{{block[1].count(chr(10))} lines, {digest}}}\n"


def without_note(observed: str) -> str:
    """The output of a server in which a panic is not known to be its first."""
    return observed.replace(_NOTE, "")


def speechless(observed: object, *, without_counts: bool = False) -> object:
    """An observation without what a model said in it, or how many tokens it was asked; how that was
    framed stays."""
    if isinstance(observed, dict):
        return {
            name: speechless(part, without_counts=without_counts) for name, part in observed.items()
        }
    if isinstance(observed, list):
        return [speechless(part, without_counts=without_counts) for part in observed]
    if not isinstance(observed, str):
        return observed
    observed = _TOKEN_CHUNKS.sub("{tokens}", observed)
    observed = _TOKEN_FRAMES.sub("{tokens}", observed)
    said = _SAID.sub(r'"\1":{said}', observed)
    if without_counts:
        said = _ASKED.sub(r'"\1":{asked}', said)
    return _LENGTH.sub("\r\ncontent-length: {length}", said) if said != observed else observed


def sorted_lines(observed: str) -> str:
    """Lines that are indented by two, with the deeper ones below each, in order of the alphabet."""
    blocks: list[str] = []
    for line in observed.splitlines(keepends=True):
        if line.startswith("    ") and blocks:
            blocks[-1] += line
        else:
            blocks.append(line)
    is_row: Callable[[str], bool] = lambda block: block.startswith("  ")  # noqa: E731
    return "".join(
        block
        for rows, group in groupby(blocks, is_row)
        for block in (sorted(group) if rows else group)
    )


def _sorted_rows(body: str) -> str:
    """The rows of ``{"models":[…]}`` in order; anything else as it is."""
    opening, _, rest = body.partition('"models":[')
    rows, closing, tail = rest.rpartition("]")
    try:
        json.loads(f"[{rows}]")
    except ValueError:
        return body
    if not closing:
        return body
    parts = sorted(re.split(r"(?<=\}),(?=\{)", rows))
    return f'{opening}"models":[{",".join(parts)}]{tail}'
