"""What differs between imitated releases and builds, as tables.

Strategy: a release is a row, a build is a row inside it; code asks the row and never the version.
A trait is data or the name of one of two ways of doing a thing, and the way itself lives where it
is used. The module imports nothing but a name, so that it can be read anywhere at no cost.
"""

from __future__ import annotations

from fake_shimmy import NEWEST as NEWEST

AIRFRAME, ADAPTER, LLAMA = "airframe", "adapter", "llama"
"""The engines: the GPU engine, the toy SafeTensors engine, llama.cpp."""


class Build:
    """One way in which a release is compiled."""

    __slots__ = (
        "backends",
        "engine",
        "features",
        "gpu_info",
        "has_mlx",
        "name",
        "runtime_frames",
    )

    def __init__(
        self,
        name: str,
        engine: str,
        features: str,
        gpu_info: tuple[str, ...] = (),
        runtime_frames: tuple[str, ...] = (),
        backends: tuple[str, ...] = (),
        has_mlx: bool = False,
    ) -> None:
        self.name = name
        self.engine = engine
        self.features = features
        """Members of the ``features`` that ``/metrics`` tells."""
        self.gpu_info = gpu_info
        """What ``gpu-info`` prints below its headline, where that is always the same."""
        self.runtime_frames = runtime_frames
        """Frames between the runtime's check of its threads and main, in a backtrace: the compiler
        put some functions into their callers."""
        self.backends = backends
        """Of 1.x: the GPU backends whose features were compiled in, the preferred first."""
        self.has_mlx = has_mlx
        """Of 1.x: whether the feature for Apple's MLX was compiled in."""


class Airframe:
    """The GPU engine as one release has it."""

    __slots__ = (
        "fact_budget",
        "gpu_line",
        "least_binding",
        "merged_frames",
        "metadata_line",
        "opens_at_lookup",
        "spec_line",
        "takes_any_array",
        "tells_ends",
        "version",
    )

    def __init__(
        self,
        version: str,
        least_binding: int,
        opens_at_lookup: bool,
        tells_ends: bool,
        takes_any_array: bool,
        metadata_line: int,
        spec_line: int,
        gpu_line: int,
        fact_budget: int,
        merged_frames: tuple[str, ...],
    ) -> None:
        self.version = version
        """Of the crate."""
        self.least_binding = least_binding
        """MiB that a GPU must take in one storage buffer, or 0; where any amount will do, a model
        is split."""
        self.opens_at_lookup = opens_at_lookup
        """Whether each lookup of a model reads its header, to see whether it has a template."""
        self.tells_ends = tells_ends
        """Whether it tells why an answer ended and how long it was. Where it does not, a prompt
        longer than the context is answered with nothing, and one token is the least; where it
        does, such a prompt is an error, and no token may be asked for."""
        self.takes_any_array = takes_any_array
        """Whether a vocabulary's reader passes over arrays that it does not need."""
        self.metadata_line = metadata_line
        """Where its reader of headers reads a number; other places are counted from there."""
        self.spec_line = spec_line
        """Where it misses the first number that it needs of a model."""
        self.gpu_line = gpu_line
        """Where it misses the embedding."""
        self.merged_frames = merged_frames
        """Functions of its reader of headers that the compiler put into their callers: no backtrace
        shows them."""
        self.fact_budget = fact_budget
        """How much one generation may be, whatever the model's context: each token of the prompt is
        one, each different one another, each token of the answer two. 0: not known."""

    def but(self, version: str) -> Airframe:
        """The engine of another version that is the same in all else."""
        engine = Airframe.__new__(Airframe)
        for name in Airframe.__slots__:
            setattr(engine, name, getattr(self, name))
        engine.version = version
        return engine


class Release:
    """One release of shimmy."""

    __slots__ = (
        "airframe",
        "base_model",
        "base_path",
        "bench_cut_at",
        "builds",
        "chat",
        "chat_streams",
        "context_length",
        "cors",
        "counts_registered",
        "default_build",
        "exponent",
        "families",
        "gguf_type",
        "has_limits",
        "head_ends",
        "invariant_at",
        "key_variables",
        "layers",
        "llama3_words",
        "missing_folders",
        "missing_options",
        "missing_routes",
        "prompts",
        "reads_context_length",
        "refuses_media",
        "safetensors_only",
        "shards",
        "tells_outcomes",
        "tells_stream_errors",
        "tokio",
        "version",
        "worker_thread",
    )

    def __init__(
        self,
        version: str,
        builds: tuple[Build, ...],
        missing_options: frozenset[str],
        missing_folders: frozenset[str],
        missing_routes: frozenset[bytes],
        base_model: str,
        base_path: str | None,
        context_length: int,
        reads_context_length: bool,
        counts_registered: bool,
        gguf_type: str | None,
        shards: str,
        llama3_words: tuple[str, ...],
        chat: str,
        has_limits: bool,
        tells_stream_errors: bool,
        exponent: str,
        tokio: tuple[str, str, str, str],
        worker_thread: str,
        invariant_at: str,
        bench_cut_at: str,
        layers: tuple[str, ...],
        cors: bytes,
        airframe: Airframe | None = None,
        key_variables: bool = False,
        safetensors_only: bool = False,
        prompts: str = "by route",
        families: tuple[tuple[str, str], ...] = (),
        chat_streams: bool = True,
        refuses_media: bool = False,
        tells_outcomes: bool = False,
        head_ends: tuple[bytes, ...] = (b"\r\n\r\n", b"\n\n"),
    ) -> None:
        self.version = version
        self.builds = {build.name: build for build in builds}
        self.default_build = builds[0].name
        self.missing_options = missing_options
        """Long names of options of the newest command line that this one does not have."""
        self.missing_folders = missing_folders
        """Folders below a home folder that this one does not search, unlike the newest."""
        self.missing_routes = missing_routes
        """Paths of the newest release that this one does not have."""
        self.base_model = base_model
        """The name that ``SHIMMY_BASE_GGUF`` registers, whatever the file."""
        self.base_path = base_path
        """What is registered without that variable; empty for none."""
        self.context_length = context_length
        """In tokens, unless ``SHIMMY_MAX_CTX`` is read and tells another."""
        self.reads_context_length = reads_context_length
        self.counts_registered = counts_registered
        """Whether the banner's first count is one; else it is always 0."""
        self.gguf_type = gguf_type
        """The type of each model file that ends in ``.gguf``; nothing where its name tells it."""
        self.shards = shards
        """What a group of shards is called after: its ``"file"`` or its ``"folder"``."""
        self.llama3_words = llama3_words
        """A discovered model with one of these in its name gets the Llama 3 template."""
        self.chat = chat
        """What a chat message may hold: ``"text"``, or ``"parts"`` as well."""
        self.has_limits = has_limits
        """Whether chat completions refuse an empty conversation and an odd ``max_tokens``."""
        self.tells_stream_errors = tells_stream_errors
        """Whether the native streams tell of a generation that failed."""
        self.exponent = exponent
        """What precedes a positive exponent where serde_json shows a float."""
        self.tokio = tokio
        """The runtime's version, and where it refuses a number of threads that is not Unicode, no
        number, or zero."""
        self.worker_thread = worker_thread
        """The name of the threads that serve."""
        self.invariant_at = invariant_at
        """Where in its source file a broken invariant panics; the same for the next."""
        self.bench_cut_at = bench_cut_at
        self.layers = layers
        """What is done with every request before a route is looked for, outermost first: names of
        ``api.layers``."""
        self.cors = cors
        """Header lines of every answer, unless a layer says others."""
        self.airframe = airframe
        """The GPU engine of the builds that have it."""
        self.key_variables = key_variables
        """Whether ``SHIMMY_API_KEY`` and ``SHIMMY_ALLOWED_ORIGINS`` are read, so whether requests
        are let through by key and origin, and open addresses are refused without a key."""
        self.safetensors_only = safetensors_only
        """Whether the toy engine gets whatever no other engine takes; else it knows by the name
        what it refuses."""
        self.families = families
        """Which words in a requested name mean which family of templates, where the model has none;
        the first that is in it counts."""
        self.chat_streams = chat_streams
        """Whether chat completions are streams unless they are asked to be none."""
        self.refuses_media = refuses_media
        """Whether messages may hold nothing but text."""
        self.tells_outcomes = tells_outcomes
        """Whether usage, the reason of an end, and failures of chat streams are told as the engine
        knows them."""
        self.prompts = prompts
        """How a prompt is made: ``"by route"``, or in ``"one way"`` for all routes."""
        self.head_ends = head_ends
        """What its hyper takes for the end of a request's head that comes in parts."""

    def but(self, version: str, **changed: object) -> Release:
        """The row of another release, in which only ``changed`` is different."""
        row = Release.__new__(Release)
        for name in Release.__slots__:
            setattr(row, name, changed.get(name, getattr(self, name)))
        row.version = version
        return row


_ANY_ORIGIN = (
    b"access-control-allow-origin: *\r\n"
    b"access-control-allow-methods: GET, POST, OPTIONS\r\n"
    b"access-control-allow-headers: Content-Type, Authorization\r\n"
    b"access-control-max-age: 86400\r\n"
)

_GPU_RELEASES = (
    "",
    "💡 GPU acceleration: download a release binary from GitHub Releases.",
    "   https://github.com/Michael-A-Kuykendall/shimmy/releases/latest",
)

_GPU_BUILD = (
    "⚡ Airframe Engine: ✅ Enabled (WebGPU via wgpu)",
    "   Adapter is selected automatically at runtime.",
    "   Run `shimmy serve` to see which GPU adapter is chosen.",
    "   Supported: NVIDIA, AMD, Intel, Apple Silicon (Metal), integrated GPUs.",
    *_GPU_RELEASES,
)
_CPU_BUILD = (
    "⚡ Airframe Engine: Disabled (this build uses the huggingface engine)",
    "   For GPU acceleration, download a release binary from GitHub Releases.",
    *_GPU_RELEASES,
)
_BUILT_APART = ("tokio::runtime::builder::Builder::build",)

_V2_6_5 = Release(
    "2.6.5",
    builds=(
        Build("default", AIRFRAME, '"airframe":true', _GPU_BUILD),
        Build("cpu-only", ADAPTER, '"airframe":false', _CPU_BUILD, _BUILT_APART),
    ),
    missing_options=frozenset(),
    missing_folders=frozenset(),
    missing_routes=frozenset(),
    base_model="tinyllama-1.1b",
    base_path=None,
    context_length=2048,
    reads_context_length=True,
    counts_registered=True,
    gguf_type=None,
    shards="file",
    llama3_words=("llama-3", "llama3"),
    chat="options",
    has_limits=True,
    tells_stream_errors=True,
    exponent="e+",
    tokio=("1.53.1", "102:17", "93:21", "95:17"),
    worker_thread="tokio-rt-worker",
    invariant_at="31:9",
    bench_cut_at="484:58",
    layers=("guard",),
    cors=b"",
    airframe=Airframe(
        "0.4.4",
        least_binding=0,
        opens_at_lookup=True,
        tells_ends=True,
        takes_any_array=True,
        metadata_line=692,
        spec_line=333,
        gpu_line=326,
        fact_budget=499,
        merged_frames=("BindlessMetadata::new", "read_gguf_value"),
    ),
    key_variables=True,
    safetensors_only=True,
    prompts="one way",
    families=(
        ("llama-3", "llama3"),
        ("llama3", "llama3"),
        ("qwen", "chatml"),
        ("chatglm", "chatml"),
        ("phi", "chatml"),
        ("gemma", "gemma"),
    ),
    chat_streams=False,
    refuses_media=True,
    tells_outcomes=True,
    head_ends=(b"\r\n\r\n", b"\n\n", b"\n\r\n"),
)

_OLDER_FAMILIES = (("qwen", "chatml"), ("chatglm", "chatml"), ("llama", "llama3"))

_V2_5_0 = Release(
    "2.5.0",
    builds=(
        Build("default", AIRFRAME, '"huggingface":true', _GPU_BUILD),
        Build("cpu-only", ADAPTER, '"huggingface":true', _CPU_BUILD, _BUILT_APART),
    ),
    missing_options=frozenset({"raw"}),
    missing_folders=frozenset(),
    missing_routes=frozenset({b"/docs", b"/openapi.json"}),
    base_model="tinyllama-1.1b",
    base_path=None,
    context_length=2048,
    reads_context_length=True,
    counts_registered=True,
    gguf_type=None,
    shards="file",
    llama3_words=("llama-3", "llama3"),
    chat="parts",
    has_limits=True,
    tells_stream_errors=True,
    exponent="e+",
    tokio=("1.53.1", "102:17", "93:21", "95:17"),
    worker_thread="tokio-rt-worker",
    invariant_at="31:9",
    bench_cut_at="484:58",
    airframe=Airframe(
        "0.3.0",
        least_binding=1907,
        opens_at_lookup=False,
        tells_ends=False,
        takes_any_array=False,
        metadata_line=662,
        spec_line=323,
        gpu_line=328,
        fact_budget=0,
        merged_frames=(
            "read_string",
            "skip_value",
            "alloc::raw_vec::handle_error",
            "alloc::vec::from_elem",
        ),
    ),
    layers=("options",),
    cors=_ANY_ORIGIN,
    families=_OLDER_FAMILIES,
)


def _llama_build(name: str, *backends: str, has_mlx: bool = False) -> Build:
    """A build with llama.cpp and the features ``llama-…`` of ``backends``."""
    features = '"huggingface":true,"llama":true'
    return Build(name, LLAMA, features, backends=backends, has_mlx=has_mlx)


_V1_8_1 = Release(
    "1.8.1",
    builds=(
        _llama_build("default"),
        _llama_build("cuda", "cuda"),
        _llama_build("vulkan", "vulkan"),
        _llama_build("opencl", "opencl"),
        _llama_build("gpu", "cuda", "vulkan", "opencl"),
        _llama_build("mlx", has_mlx=True),
    ),
    missing_options=frozenset(
        {
            *("legacy", "kv-quant", "prefill-chunk", "ctx", "raw"),
            *("grammar-mode", "fse-reject", "math-bypass", "trace-path", "session-id"),
        }
    ),
    missing_folders=frozenset(
        {
            ".cache/lm-studio/models",
            ".cache\\lm-studio\\models",
            "AppData\\Roaming\\LM Studio\\models",
        }
    ),
    missing_routes=frozenset({b"/v1/completions", b"/api/tags", b"/docs", b"/openapi.json"}),
    base_model="phi3-lora",
    base_path="./models/phi3-mini.gguf",
    context_length=4096,
    reads_context_length=False,
    counts_registered=False,
    gguf_type="Llama",
    shards="folder",
    llama3_words=("llama",),
    chat="text",
    has_limits=False,
    tells_stream_errors=False,
    exponent="e",
    tokio=("1.48.0", "101:17", "92:21", "94:17"),
    worker_thread="tokio-runtime-worker",
    invariant_at="29:9",
    bench_cut_at="486:58",
    layers=("options",),
    cors=_ANY_ORIGIN,
    families=_OLDER_FAMILIES,
)

RELEASES = {release.version: release for release in (_V2_6_5, _V2_5_0, _V1_8_1)}
"""The imitated releases by version, the newest first."""
