"""Bad input for the fake, made from good input.

Strategy: valid conversations, documents, files and command lines as seeds, and one way to spoil
them: edits that replace a few bytes by a piece which means something to a parser. Whoever chooses
the edits (a seeded random generator, hypothesis) decides what comes out, so every case can be
repeated.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    Edit: TypeAlias = tuple[int, int, bytes]
    """Where (modulo the length), how many bytes go, and what comes in their place."""

CHAT = b'{"model":"tiny","messages":[{"role":"user","content":"Hi"}],"stream":false,"max_tokens":3}'
BODIES: dict[bytes, tuple[bytes, ...]] = {
    b"/v1/chat/completions": (
        CHAT,
        CHAT.replace(b"false", b"true"),
        b'{"model":"tiny","messages":[{"role":"system","content":[{"type":"text","text":"\\u00e9"},'
        b'{"type":"image","url":[1,2.5,{"a":null}]}]}],"stop":["a"],"temperature":0.5,'
        b'"x":[true,-1,2e3,"\\ud83d\\ude00"],"max_tokens":2}',
        b'["tiny",[["user","Hi"]],false,0.1,3,null,"x",1,2]',
    ),
    b"/v1/completions": (b'{"model":"tiny","prompt":"a b","max_tokens":2,"top_p":1}',),
    b"/v1/messages": (
        b'{"model":"tiny","max_tokens":9,"messages":[{"role":"user","content":[{"type":"image",'
        b'"source":{"type":"b","media_type":"c","data":"d"}},{"type":"text","text":"x"}]}]}',
    ),
    b"/api/generate": (
        b'{"model":"tiny","prompt":"p","stream":false}',
        b'{"model":"tiny","messages":[{"role":"user","content":"q"}],"system":"s","top_k":1,'
        b'"max_tokens":2}',
    ),
    b"/api/tools/x/execute": (b'{"a":[1,{}]}',),
    b"/api/workflows/execute": (b"[]",),
}
GETS = (
    *(b"/health", b"/metrics", b"/diag", b"/v1/models", b"/api/tags", b"/api/models"),
    *(b"/api/tools", b"/api/models/a%2Fb/status", b"/nope", b"/ws/generate"),
)
PIECES = (
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"null", b"tru", b"-", b"0", b".5", b"1e5"),
    *(b"1e999", b"-0", b"18446744073709551616", b"\\ud800", b"\\u0000", b"\xff", b"\x01", b"\xc3"),
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\n\n", b" ", b"\t", b"\0", b"%", b"%ff", b"#", b"?"),
    *(b"0\r\n\r\n", b"5;x=y\r\n", b"ffffffffffffffff\r\n", b"1ffffffffffffffff\r\n", b"-1"),
    *(b"transfer-encoding: chunked\r\n", b"content-length: 3\r\n", b"content-length: 99999\r\n"),
    *(b"content-length: 18446744073709551615\r\n", b"connection: close\r\n", b"HTTP/1.0"),
    *(b"expect: 100-continue\r\n", b"connection: keep-alive\r\n", b"PRI * HTTP/2.0\r\n\r\n"),
    *(b"GET ", b"HEAD ", b"OPTIONS ", b"POST ", b"http://h/", b"*", b'; a="b"', b"+json"),
    *(b"\x81", b"\x89\x80", b"\xff" * 9, b"\x00\x80\0\0\0\0", b"a" * 300, b"{}", b"[]" * 70),
)


def post(path: bytes, body: bytes, *headers: bytes) -> bytes:
    """A request with a body of known length."""
    lines = (b"POST %b HTTP/1.1" % path, b"content-type: application/json", *headers)
    return b"\r\n".join(lines) + b"\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def chunked(path: bytes, body: bytes) -> bytes:
    """The same in chunks, with an extension and a trailer."""
    lines = b"POST %b HTTP/1.1\r\ncontent-type: application/json\r\nconnection: close\r\n" % path
    half = len(body) // 2
    return (
        lines
        + b"transfer-encoding: chunked\r\n\r\n%x;x=y\r\n%b\r\n%x\r\n%b\r\n0\r\nt: u\r\n\r\n"
        % (
            *(half, body[:half]),
            *(len(body) - half, body[half:]),
        )
    )


UPGRADE = (
    b"GET /ws/generate HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def frame(first: int, payload: bytes, mask: bytes = b"\0\0\0\0") -> bytes:
    """A client's frame; ``first`` is its first byte."""
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((first, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0xFF)) + size.to_bytes(8, "big")
    key = (mask * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return head + mask + masked.to_bytes(size, "big")


_ASK = BODIES[b"/api/generate"][1]
FRAMES = (
    frame(0x81, _ASK, b"abcd"),
    frame(0x01, _ASK[:9]) + frame(0x00, b"", b"\xff\0\xff\0") + frame(0x80, _ASK[9:]),
    frame(0x82, b"\xff{}"),
    frame(0x89, b"ping"),
    frame(0x88, b"\x03\xe8bye"),
    frame(0x81, _ASK.ljust(300)),
    b"\x81\xff" + b"\xff" * 8 + b"\0" * 4,
)
DOCUMENTS = tuple(body for bodies in BODIES.values() for body in bodies)
REQUESTS = (
    *(b"GET %b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n" % path for path in GETS),
    *(post(path, body, b"connection: close") for path in BODIES for body in BODIES[path]),
    *(chunked(path, BODIES[path][-1]) for path in BODIES),
    chunked(b"/v1/completions", b"x" * 900),
    b"GET /health HTTP/1.0\r\nconnection: keep-alive\r\n\r\n" * 2,
    b"\r\nOPTIONS * HTTP/1.1\n\n" + post(b"/api/models/discover", b"") + post(b"/nope", b"zz"),
    *(
        post(b"/v1/completions", b'{"model":"%b","prompt":"p"}' % name, b"connection: close")
        for name in (b"bad", b"panics")
    ),
    post(b"/v1/completions", b"{}", b"expect: 100-continue", b"connection: close"),
    *(UPGRADE + frames for frames in FRAMES),
)

HEADER = (
    b'{"__metadata__":{"a":"b"},"layers.3.x":{"dtype":"F16","shape":[2,1],"data_offsets":[0,4]},'
    b'"lm_head.weight":["U8",[3],[4,7]],"embed_tokens.weight":{"dtype":"U8","shape":[1,1],'
    b'"data_offsets":[7,8]}}'
)
TOYS = tuple(
    struct.pack("<Q", len(header)) + header + data
    for header, data in ((b"{}", b""), (HEADER, b"\0" * 8))
)
GGUFS = (
    b"GGUF" + struct.pack("<IQQ", 3, 0, 0),
    b"GGUF"
    + struct.pack("<IQQ", 3, 1, 3)
    + struct.pack("<Q20sIQ5s", 20, b"general.architecture", 8, 5, b"llama")
    + struct.pack("<Q1sIIQQ1sQ2s", 1, b"t", 9, 8, 2, 1, b"a", 2, b"bc")
    + struct.pack("<Q17sII", 17, b"general.alignment", 4, 32)
    + struct.pack("<Q1sIQQIQ", 1, b"w", 2, 32, 2, 8, 0)
    + b"\0" * 200,
)
PANICS = b'{"lm_head.weight":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}'
"""A header that the real one panics over."""
MANIFEST = (
    b'{"schemaVersion":2,"mediaType":"m","config":{"mediaType":"c","digest":"sha256:c","size":1},'
    b'"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:d","size":5}]}'
)
NAMES = (
    *(b"a", b"b", b"models", b"manifests", b"blobs", b"sha256-d", b"latest", b"x-7B.gguf"),
    *(b"x-lora.gguf", b"tiny.safetensors", b"m-00001-of-00002.bin", b"m-00002-of-00002.bin"),
    *(b"config.json", b"tokenizer.json", b"\xff\xfe.gguf", b"\xed\xa0\x80.safetensors", b".gguf"),
    *(b"new\nline.gguf", b'q"\\.gguf', b"huggingface", b".cache", b".ollama", b"tmp", b"clip"),
    *("\u0130-\u1e9e.GGUF".encode(), b"..gguf", b"." * 200 + b".bin", b"llama.bin"),
)
WORDS = (
    *(b"list", b"discover", b"probe", b"bench", b"generate", b"gpu-info", b"init", b"help"),
    *(b"--model-dirs", b"--gpu-backend", b"--cpu-moe", b"--n-cpu-moe", b"--legacy", b"--kv-quant"),
    *(b"--prefill-chunk", b"--ctx", b"-h", b"--help", b"-V", b"--version", b"-s", b"--short"),
    *(b"--llm-only", b"--max-tokens", b"--prompt", b"--template", b"-t", b"-n", b"tiny", b"3"),
    *(b"f32", b"docker", b"--", b"-", b"-x", b"--gpu", b"--ctx=5", b"--legacy=1", b"-sx", b""),
    *(b"\xff", b"--\xff", b"-\xff", b"--prompt=\xff", b"--ctx=\xc2\xb2", b"9" * 5000, b"\xf0\x9f"),
    *(b"--bind=x", b"--bind", b"--trace-path", b"--session-id=", b"-" * 300, b"\n", b"\x1b[31m"),
)
"""``serve`` is left out, because only a signal ends it."""
VARIABLES = (
    *(b"RUST_LOG", b"SHIMMY_MODEL_PATHS", b"SHIMMY_BASE_GGUF", b"SHIMMY_LORA_GGUF", b"HOME"),
    *(b"SHIMMY_MAX_CTX", b"SHIMMY_BIND_ADDRESS", b"OLLAMA_MODELS", b"USERPROFILE", b"NO_COLOR"),
    *(b"TERM", b"TOKIO_WORKER_THREADS", b"RUST_BACKTRACE", b"LC_ALL", b"LANG", b"TZ", b"COLUMNS"),
    *(b"FAKE_SHIMMY_RELEASE", b"FAKE_SHIMMY_BUILD", b"FAKE_SHIMMY_GPU", b"CLICOLOR_FORCE"),
)
VALUES = (
    *(
        b"",
        b"\xff\xfe",
        b"/",
        b".",
        b"..",
        b"models",
        b";;models;\xff;",
        b"nope",
        b"0",
        b"1",
        b"+7",
    ),
    *(b"full", b"C", b"de_DE.UTF-8", b"99999999999999999999", b"a" * 4000, b"\n", b"\xc2\xb2"),
    *(b"trace", b"=", b",,=info,a[b{c=d}]=3", b"a[{b=[[a]]}]=info", b"x=\xe2\x98\x83", b"[{a=(}]"),
    *(b"a[{b=" + b"(" * 1500 + b")" * 1500 + b"}]", b"[::1%1]:0", b"1.2.3.4:\xd9\xa1"),
)
CONTENT_TYPES = (
    *(b"application/json", b"application/x+json; charset=utf-8", b'application/json; a="b"; c=d'),
    b'application/x+json; a="b";a="b"',
)


def put_models(folder: Path) -> None:
    """The models that the requests name: one that loads, one that does not, one that panics."""
    (folder / "models").mkdir()
    toy = struct.pack("<Q", len(PANICS)) + PANICS + b"\0"
    for name, content in (("tiny", TOYS[0]), ("bad", b"{}"), ("panics", toy)):
        (folder / "models" / f"{name}.safetensors").write_bytes(content)


def edited(data: bytes, edits: list[Edit]) -> bytes:
    """``data`` with the ``edits`` made one after the other."""
    for where, cut, piece in edits:
        at = where % (len(data) + 1)
        data = data[:at] + piece + data[at + cut :]
    return data


def spoiled(choice: Random, seeds: tuple[bytes, ...]) -> bytes:
    """One of ``seeds`` with a few things wrong with it, or nearly none."""
    data = choice.choice(seeds)
    if choice.random() < 0.2:
        data += choice.choice(seeds)
    edits: list[Edit] = []
    for _ in range(choice.choice((0, 1, 1, 2, 3, 8))):
        where, cut = choice.randrange(4096), choice.choice((0, 0, 1, 1, 3, 40))
        kind = choice.randrange(4)
        if kind == 0:
            piece = choice.randbytes(choice.randint(1, 6))
        elif kind == 1:
            source = choice.choice(seeds)
            begin = choice.randrange(len(source) + 1)
            piece = source[begin : begin + choice.randint(1, 60)]
        else:
            piece = choice.choice(PIECES) * choice.choice((1, 1, 1, 2, 40))
        edits.append((where, cut, piece))
    return edited(data, edits)


def pieces(choice: Random, data: bytes) -> list[bytes]:
    """``data`` in pieces, in one of several ways."""
    step = choice.choice((1, 7, 100, len(data) or 1))
    if choice.random() < 0.3:
        marks = sorted(choice.randrange(len(data) + 1) for _ in range(3))
        return [data[a:b] for a, b in zip([0, *marks], [*marks, len(data)], strict=True)]
    return [data[at : at + step] for at in range(0, len(data), step)]


def command_line(choice: Random) -> list[bytes]:
    """Arguments that mean something, or nothing; never with a NUL, which no system passes on."""
    words = [choice.choice(WORDS) for _ in range(choice.randint(0, 6))]
    if words and choice.random() < 0.3:
        words[-1] = spoiled(choice, WORDS).replace(b"\0", b"")
    # What would serve could not end.
    return [word for word in words if word != b"serve"]


def environment(choice: Random) -> dict[bytes, bytes]:
    """Variables that the fake reads, with any bytes in them."""
    chosen = {}
    for _ in range(choice.randint(0, 4)):
        value = choice.choice(VALUES) if choice.random() < 0.7 else spoiled(choice, VALUES)
        chosen[choice.choice(VARIABLES)] = value.replace(b"\0", b"")
    return chosen


def grow_tree(choice: Random, folder: bytes, depth: int = 0) -> None:
    """Fill ``folder`` with whatever a disk may hold that can be made without privileges."""
    for name in choice.sample(NAMES, choice.randint(1, 4)):
        path = os.path.join(folder, name)  # noqa: PTH118 - bytes
        kind = choice.randrange(10)
        if kind < 4 and depth < 6:
            os.mkdir(path)  # noqa: PTH102 - bytes
            grow_tree(choice, path, depth + 1)
            if choice.random() < 0.1:
                os.chmod(path, 0)  # noqa: PTH101 - bytes
        elif kind == 4 and depth < 2:
            # Only one way up, or the walk would double with every level, on both sides.
            is_first = not any(os.path.islink(p) for p in _inside(folder))  # noqa: PTH114 - bytes
            os.symlink(choice.choice((b".", name, b"nope")) if is_first else b"nope", path)  # noqa: PTH211 - bytes
        else:
            with open(path, "wb") as file:
                file.write(spoiled(choice, (MANIFEST, MANIFEST, *TOYS, b"GGUF")))


def _inside(folder: bytes) -> list[bytes]:
    return [os.path.join(folder, name) for name in os.listdir(folder)]  # noqa: PTH118, PTH208 - bytes
