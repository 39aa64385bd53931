"""Cases: servers from their start to their end."""

from __future__ import annotations

from collections.abc import Iterator

from ..case import Case, Life

_BIND = ("--bind", "127.0.0.1:{port}")


def cases() -> Iterator[Case]:
    """Every case of this table."""
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGALRM"):
        yield Case("signals", name, Life(_BIND, signal=name))
    for name, arguments in {
        "nothing else": (),
        "GPU backend": ("--gpu-backend", "cpu"),
        "nonsense as GPU backend": ("--gpu-backend", "nonsense"),
        "experts on the CPU": ("--cpu-moe",),
        "some experts on the CPU": ("--n-cpu-moe", "3"),
        "model path": ("--model-path", "models/tiny.safetensors"),
        "model path, a folder": ("--model-path", "models"),
        "model path, upper case": ("--model-path", "models/Llama-3-Toy-7B.safetensors"),
        "model path that is not there": ("--model-path", "models/nope.gguf"),
        "model folders": ("--model-dirs", "models/sub"),
    }.items():
        yield Case("banner", name, Life((*_BIND, *arguments)))
    for name, arguments in {
        "legacy": ("--legacy",),
        "int4": ("--kv-quant", "int4"),
        "f32": ("--kv-quant", "f32"),
        "legacy and int4": ("--legacy", "--kv-quant", "int4"),
        "chunk and context": ("--prefill-chunk", "64", "--ctx", "4096"),
    }.items():
        yield Case("banner", name, Life((*_BIND, *arguments)), since=(2, 1))
    for world in ("empty", "registered", "tree", "ollama"):
        yield Case("banner", f"world {world}", Life(_BIND, world))
    for name, env in {
        "info": {"RUST_LOG": "info"},
        "shimmy=debug": {"RUST_LOG": "shimmy=debug"},
        "off": {"RUST_LOG": "off"},
        "invalid": {"RUST_LOG": "=bogus="},
    }.items():
        yield Case("logging", f"RUST_LOG={name}", Life(_BIND, env=env))
    yield from _addresses()


def _addresses() -> Iterator[Case]:
    yield Case("address", "taken", Life(_BIND, port_is_taken=True))
    for where in (
        *("localhost:1", "127.0.0.1", ":8080", "8080", "127.0.0.1:65536", "127.0.0.1:-1", ""),
        *("127.0.0.01:1", "[::1]", "::1:80", "0:80", "256.0.0.1:80", "auto ", "AUTO"),
    ):
        yield Case("address", where or "(empty)", Life(("--bind", where)))
    yield Case("address", "not of this machine", Life(("--bind", "192.0.2.1:1")))
    yield Case(
        "address",
        "from the environment",
        Life((), env={"SHIMMY_BIND_ADDRESS": "nonsense"}),
    )
    yield Case(
        "address",
        "the flag comes before the environment",
        Life(_BIND, env={"SHIMMY_BIND_ADDRESS": "nonsense"}),
    )
    yield Case(
        "address",
        "names that the documentation has",
        Life(_BIND, env={"SHIMMY_PORT": "1", "SHIMMY_HOST": "0.0.0.0"}),
    )
    yield Case("address", "empty in the environment", Life((), env={"SHIMMY_BIND_ADDRESS": ""}))
