"""Cases: command lines that run to their end."""

from __future__ import annotations

from collections.abc import Iterator

from ...executable.dialect import Engine
from ..case import Case, Command

_NAMES = (
    *("serve", "list", "discover", "probe", "bench", "generate", "gpu-info", "init"),
    "help",
)
_USAGE = (
    "",
    "serv",
    "lst",
    "x",
    "help x",
    "help serve x",
    "help help serve",
    "--gpu auto serve",
    "serve --gpu auto",
    "serve --port 8080",
    "--bind 127.0.0.1:1 serve",
    "serve --bind",
    "serve --bind=a --bind=b",
    "serve extra",
    "list extra",
    "list --help=1",
    "list --short=1",
    "list -sx",
    "list -S",
    "list -- -s",
    "-- list",
    "--version list",
    "list -V",
    "serve --version",
    "--n-cpu-moe x list",
    "--n-cpu-moe -1 list",
    "--n-cpu-moe 99999999999999999999 list",
    "--cpu-moe --n-cpu-moe 3 list",
    "list --n-cpu-moe 3 --cpu-moe",
    "--cpu-moe list --n-cpu-moe 2",
    "--model-dirs",
    "--model-dirs=",
    "probe",
    "probe a b",
    "probe --xyz",
    "probe -5",
    "bench m --max-tokens -3",
    "bench m --max-tokens 1.5",
    "bench m --max-tokens",
    "generate m",
    "generate --prompt x",
    "generate m --prompt x --prompt y",
    "init",
    "init -t",
    "init --template=x --output",
    "gpu-info x",
    "--legac list",
    "--kv list",
    "--hel",
    "-x",
    "-hV",
    "-Vh",
)
_USAGE_2 = (
    "serve --kv-quant q8",
    "--kv-quant list",
    "--kv-quant= list",
    "--kv-quant=int list",
    "--ctx 99999999999 list",
    "--ctx -1 list",
    "--ctx= list",
    "--prefill-chunk x list",
    "list --legacy --legacy",
    "--legacy=1 list",
    "generate m --prompt x --math-bypass=1",
    "generate m --prompt x --grammar-mode",
)
_TEMPLATES = (
    *("docker", "kubernetes", "k8s", "railway", "fly", "fastapi", "express"),
    *("Docker", "nope", ""),
)
_LOADS: tuple[Engine, ...] = ("adapter", "airframe")


def cases() -> Iterator[Case]:
    """Every case of this table."""
    for name in ("--help", "-h", "help", "--version", "-V", "help help"):
        yield Case("help", name, Command(tuple(name.split())))
    for name in _NAMES[:-1]:
        yield Case("help", f"help {name}", Command(("help", name)))
        yield Case("help", f"{name} --help", Command((name, "--help")))
        yield Case("help", f"{name} -h", Command((name, "-h")))
    for line in _USAGE:
        yield Case("usage", line or "(nothing)", Command(tuple(line.split())))
    for line in _USAGE_2:
        yield Case("usage", line, Command(tuple(line.split())), since=(2, 3))
    yield Case("usage", "empty argument", Command(("",)))
    yield Case("usage", "not UTF-8", Command(("list", "\udcff")))
    yield from _listings()
    yield from _environments()
    yield from _loads()
    for name in ("gpu-info", "list --gpu-backend nonsense", "gpu-info --cpu-moe"):
        yield Case("machine", name, Command(tuple(name.split())))
    yield from _scaffolds()


def _listings() -> Iterator[Case]:
    for world in ("empty", "toys", "tree", "ollama", "listed", "registered"):
        for line in ("list", "list --short", "discover", "discover --llm-only"):
            order = "fixed" if line == "list --short" else "lines"
            act = Command(tuple(line.split()), world, order=order)  # type: ignore[arg-type]
            yield Case("listing", f"{line}, {world}", act)


def _environments() -> Iterator[Case]:
    for name, env in {
        "base model": {"SHIMMY_BASE_GGUF": "models/tiny.safetensors"},
        "base model that is not there": {"SHIMMY_BASE_GGUF": "nowhere/x.gguf"},
        "base model without a folder": {"SHIMMY_BASE_GGUF": "a.gguf"},
        "empty base model": {"SHIMMY_BASE_GGUF": ""},
        "base model that is not UTF-8": {"SHIMMY_BASE_GGUF": "m\udcff.gguf"},
        "search paths": {"SHIMMY_MODEL_PATHS": "models/sub;gone;;models"},
        "search path with colons": {"SHIMMY_MODEL_PATHS": "models/sub:models"},
        "empty search path": {"SHIMMY_MODEL_PATHS": ""},
        "Ollama's variable": {"OLLAMA_MODELS": "models/sub"},
        "no home": {"HOME": ""},
        "a Windows profile": {"USERPROFILE": "."},
        "names that the documentation has": {
            "SHIMMY_MODELS_DIR": "models/sub",
            "SHIMMY_MODEL_DIRS": "models/sub",
            "LIBSHIMMY_MODEL_PATH": "models/sub",
            "SHIMMY_LOG_LEVEL": "debug",
        },
        "log level": {"RUST_LOG": "info"},
        "bad log level": {"RUST_LOG": "=bogus="},
    }.items():
        for line in ("list", "discover"):
            act = Command((line,), "toys", env, order="lines")
            yield Case("environment", f"{line}, {name}", act)
    flag = Command(("list", "--model-dirs", "models/sub"), "toys", order="lines")
    yield Case("environment", "--model-dirs after", flag)
    flag = Command(
        ("--model-dirs", "gone;models/sub", "discover"),
        "empty",
        {"SHIMMY_MODEL_PATHS": "elsewhere"},
        order="lines",
    )
    yield Case("environment", "--model-dirs before, over the variable", flag)
    yield Case("output", "closed stdout", Command(("list",), "toys", closed_stdout=True))
    yield Case("output", "closed stdout at help", Command(("--help",), closed_stdout=True))


def _loads() -> Iterator[Case]:
    models = (
        *("tiny", "broken", "hollow", "base-7b.q4-0", "ggml-model", "qwen-toy-q8-0"),
        *("toy.f16", "nope", "Tiny", ""),
    )
    for name in models:
        for flags in ((), ("--legacy",)):
            shown = " ".join(("probe", name or "(empty)", *flags))
            since = (2,) if flags else ()
            yield Case("load", shown, Command(("probe", name, *flags), "toys"), since=since)
    for name in ("tiny", "broken", "base-7b.q4-0", "nope"):
        yield Case("load", f"bench {name}", Command(("bench", name), "toys"))
        yield Case(
            "load", f"generate {name}", Command(("generate", name, "--prompt", "Hi"), "toys")
        )
    for name, arguments in {
        "few tokens": ("--prompt", "one two", "--max-tokens", "3"),
        "no tokens": ("--prompt", "one", "--max-tokens", "0"),
        "long": ("--prompt", "many words\nover\ttwo lines, ünï→✓ 🎉", "--max-tokens", "1000"),
        "empty prompt": ("--prompt", ""),
        "prompt in one": ("--prompt=-x",),
    }.items():
        for flags in ((), ("--legacy",)):
            act = Command(("generate", "tiny", *arguments, *flags), "toys")
            shown = " ".join(("generate:", name, *flags))
            yield Case("load", shown, act, _LOADS, since=(2,) if flags else ())
    for name, arguments in {
        "few tokens": ("--max-tokens", "5"),
        "no tokens": ("--max-tokens=0",),
        "many": ("--max-tokens", "100000"),
    }.items():
        act = Command(("bench", "tiny", *arguments, "--legacy"), "toys")
        yield Case("load", f"bench: {name}", act, _LOADS, since=(2,))


def _scaffolds() -> Iterator[Case]:
    for number, template in enumerate(_TEMPLATES):
        out = f"out-{number}"
        act = Command(("init", "--template", template, "--output", out), leaves=out)
        yield Case("init", template or "(empty)", act)
    act = Command(("init", "-t", "docker", "-o", "models/tiny.safetensors/out"), "toys")
    yield Case("init", "below a file", act)
    named = Command(("init", "-tfly", "-oa/b/c", "-nmy-app"), leaves="a")
    yield Case("init", "with a name, deep down", named)
