"""The command line of shimmy as data: options, commands and their help texts.

Strategy: nothing here decides anything; ``clap`` reads these tables the way clap reads
shimmy's. The order of options is the order of declaration, which help, usage and suggestions all
follow. The tables are those of the newest release; an older one is what is left of them without the
options that it does not have (seen on 2.5.0 and 1.8.1).
"""

from __future__ import annotations

FLAG, TEXT, USIZE, U32, HELP, VERSION = "flag", "text", "usize", "u32", "help", "version"


class Option:
    """A named option. ``value`` is the placeholder's name, nothing for a flag."""

    __slots__ = ("choices", "default", "help", "kind", "long", "required", "short", "value")

    def __init__(
        self,
        long: str,
        help: str = "",
        value: str | None = None,
        kind: str = TEXT,
        default: str | None = None,
        short: str | None = None,
        choices: tuple[str, ...] = (),
        required: bool = False,
    ) -> None:
        self.long = long
        self.help = help
        self.value = value
        self.kind = kind if value is not None or kind in (HELP, VERSION) else FLAG
        self.default = default
        self.short = short
        self.choices = choices
        self.required = required

    def __str__(self) -> str:
        return f"--{self.long}" if self.value is None else f"--{self.long} <{self.value}>"


class Command:
    """A command. ``positional`` is the name of its one required positional, if it has one."""

    __slots__ = ("about", "commands", "name", "options", "positional")

    def __init__(
        self,
        name: str,
        about: str,
        options: tuple[Option, ...] = (),
        positional: str | None = None,
        commands: tuple[Command, ...] = (),
    ) -> None:
        self.name = name
        self.about = about
        self.options = options
        self.positional = positional
        self.commands = commands


_HELP = Option("help", "Print help", kind=HELP, short="h")
_VERSION = Option("version", "Print version", kind=VERSION, short="V")

GLOBAL_OPTIONS = (
    Option(
        "model-dirs",
        "Additional model directories to search "
        r"(e.g., --model-dirs 'D:\models;E:\ollama\models')",
        "MODEL_DIRS",
    ),
    Option("gpu-backend", "GPU backend: auto, cpu, cuda, vulkan, opencl", "GPU_BACKEND"),
    Option(
        "cpu-moe",
        "Offload ALL MoE expert tensors to CPU (saves VRAM for large MoE models)",
    ),
    Option("n-cpu-moe", "Offload first N MoE layers' expert tensors to CPU", "N", USIZE),
    Option("legacy", "Use legacy CPU adapter instead of Airframe GPU"),
    Option(
        "kv-quant",
        "KV cache precision: f32 (default) or int4 (TurboShimmy — ~60% less VRAM)",
        "MODE",
        default="f32",
        choices=("f32", "int4"),
    ),
    Option(
        "prefill-chunk",
        "Prefill chunk size for long-context stability on Windows (default: 64). "
        "If you see GPU TDR crashes on long prompts, set this to 8 or 16",
        "N",
        U32,
    ),
    Option(
        "ctx",
        "Override maximum context length (tokens). Default: model's native context from GGUF",
        "N",
        U32,
    ),
)
"""Accepted before and after the subcommand, once per level."""

CONFLICTS = (("cpu-moe", "n-cpu-moe"),)
"""Options that exclude each other on one level."""


def _command(
    name: str, about: str, options: tuple[Option, ...] = (), positional: str | None = None
) -> Command:
    return Command(name, about, (*options, *GLOBAL_OPTIONS, _HELP), positional)


_MAX_TOKENS = Option("max-tokens", "", "MAX_TOKENS", USIZE, default="64")

_COMMANDS = (
    _command(
        "serve",
        "Run the HTTP server",
        (
            Option("bind", "", "BIND", default="auto"),
            Option(
                "model-path",
                "Direct path to a specific model file (bypasses auto-discovery)",
                "MODEL_PATH",
            ),
        ),
    ),
    _command(
        "list",
        "List registered and auto-discovered models",
        (Option("short", "Output short list format (model names only)", short="s"),),
    ),
    _command(
        "discover",
        "Refresh auto-discovery and list all available models",
        (
            Option(
                "llm-only",
                "Show only LLM models (filter out text-to-image, video, clip models, etc.)",
            ),
        ),
    ),
    _command("probe", "Load a model once (verifies base + optional LoRA)", positional="NAME"),
    _command("bench", "Simple throughput benchmark", (_MAX_TOKENS,), "NAME"),
    _command(
        "generate",
        "One-off generation (non-streaming) for quick manual testing",
        (
            Option("prompt", "", "PROMPT", required=True),
            _MAX_TOKENS,
            Option(
                "grammar-mode",
                'Grammar mode: "none" or "developer"',
                "GRAMMAR_MODE",
                default="none",
            ),
            Option("fse-reject", "FSE reject patterns (comma-separated)", "FSE_REJECT", default=""),
            Option("math-bypass", "Enable math bypass detection"),
            Option("trace-path", "Path for step-level trace output", "TRACE_PATH", default=""),
            Option("session-id", "Session ID for rolling window", "SESSION_ID", default=""),
            Option("raw", "Force raw completion (bypass chat template)"),
        ),
        "NAME",
    ),
    _command("gpu-info", "Show GPU backend information and capabilities"),
    _command(
        "init",
        "Initialize integration templates for deployment platforms",
        (
            Option(
                "template",
                "Template type: docker, kubernetes, railway, fly, fastapi, express",
                "TEMPLATE",
                short="t",
                required=True,
            ),
            Option(
                "output",
                "Output directory for generated files",
                "OUTPUT",
                default=".",
                short="o",
            ),
            Option("name", "Project name for template customization", "NAME", short="n"),
        ),
    ),
    Command("help", "Print this message or the help of the given subcommand(s)"),
)

_ROOT = Command(
    "shimmy",
    "Shimmy: single-binary GGUF + LoRA server",
    (*GLOBAL_OPTIONS, _HELP, _VERSION),
    commands=_COMMANDS,
)


def root(missing_options: frozenset[str]) -> Command:
    """The whole command line of a release."""
    return _without(_ROOT, missing_options) if missing_options else _ROOT


def _without(command: Command, missing: frozenset[str]) -> Command:
    return Command(
        command.name,
        command.about,
        tuple(option for option in command.options if option.long not in missing),
        command.positional,
        tuple(_without(sub, missing) for sub in command.commands),
    )
