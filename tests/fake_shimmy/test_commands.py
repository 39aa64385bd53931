"""``bench``, ``generate``, ``init``, and how commands end badly. Expected text: real 2.5.0."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import tomllib

import pytest

from fake_shimmy.models import tiny_gguf
from tests.support.fake_process import TOY_MODEL

SOFTWARE = "llvmpipe (LLVM 15.0.6, 256 bits) (Cpu, backend=Vulkan)"
GGUF_REFUSED = (
    "GGUF models require the Airframe GPU engine. Use shimmy_server_gpu or build with "
    "--features airframe. See https://github.com/Michael-A-Kuykendall/shimmy for setup."
)
MAIN_FRAMES = (
    "shimmy::main::{{closure}}",
    "shimmy::main",
    "std::sys::backtrace::__rust_begin_short_backtrace",
    "main",
)


@pytest.fixture
def models(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "tiny.safetensors").write_bytes(TOY_MODEL)
    (folder / "big.gguf").write_bytes(tiny_gguf.contents())
    return folder


def toy_answer(name: str, prompt: str) -> str:
    return (
        f"SafeTensors model '{name}' loaded successfully with 32 layers and vocab size 32000 using "
        f"in-memory loading. Input prompt: '{prompt}' (length: {len(prompt.encode())}). This "
        "demonstrates native SafeTensors support in Rust with optimized memory handling. "
        "Full transformer inference coming soon!"
    )


def backtrace(*frames: str) -> str:
    numbered = [f"{number:4}: {frame}\n" for number, frame in enumerate((*frames, *MAIN_FRAMES))]
    return "\nStack backtrace:\n" + "".join(numbered)


@pytest.mark.usefixtures("models")
def test_generate_answers_the_raw_prompt(shimmy):
    answer = toy_answer("tiny", "a  é\nb")
    assert shimmy.run("generate", "tiny", "--prompt", "a  é\nb") == (0, answer + "\n", "")


@pytest.mark.slow
@pytest.mark.usefixtures("models")
@pytest.mark.parametrize(("limit", "words"), [("0", 0), ("5", 5), ("99", 99)])
def test_generate_counts_words(shimmy, limit, words):
    out = shimmy.run("generate", "tiny", "--prompt", "x", "--max-tokens", limit)[1]
    assert out == " ".join(toy_answer("tiny", "x").split()[:words]) + "\n"


@pytest.mark.usefixtures("models")
def test_generate_takes_the_options_that_only_a_gpu_engine_heeds(shimmy):
    line = "generate tiny --prompt x --grammar-mode developer --fse-reject a,b --math-bypass"
    more = "--trace-path t.jsonl --session-id s --legacy --kv-quant int4 --prefill-chunk 8 --ctx 1"
    status, out, err = shimmy.run(*line.split(), *more.split())
    assert (status, out, err) == (0, toy_answer("tiny", "x") + "\n", "")
    assert not (shimmy.cwd / "t.jsonl").exists()


@pytest.mark.usefixtures("models")
def test_bench_shows_the_beginning_and_the_time(shimmy):
    status, out, err = shimmy.run("bench", "tiny")
    assert (status, err) == (0, "")
    shown, elapsed, end = out.split("\n")
    assert shown == "bench output (truncated): " + toy_answer("tiny", "Say hi.")[:120]
    assert re.fullmatch(r"elapsed: [1-9]\d*(\.\d*[1-9])?(ns|µs|ms|s)", elapsed)
    assert end == ""


def test_bench_panics_where_its_cut_is_inside_a_character(shimmy, models):
    name = "é" * 60
    (models / f"{name}.safetensors").write_bytes(TOY_MODEL)
    status, out, err = shimmy.run("bench", name)
    assert (status, out) == (101, "")
    shown = toy_answer(name, "Say hi.").encode()[:256].decode()
    assert err.partition("\n")[2].partition("\n")[2] == (
        "end byte index 120 is not a char boundary; it is inside 'é' (bytes 119..121) of "
        f"`{shown}`[...]\n"
        "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n"
    )


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize("line", ["bench {}", "generate {} --prompt x", "probe {}"])
def test_an_unknown_name_is_an_error(shimmy, line):
    assert shimmy.run(*line.format("nope").split()) == (1, "", "Error: no model nope\n")


@pytest.mark.slow
@pytest.mark.usefixtures("models")
@pytest.mark.parametrize("line", ["bench big", "generate big --prompt x"])
def test_a_model_that_does_not_load_is_an_error(shimmy, make_shimmy, line):
    assert shimmy.run(*line.split()) == (1, "", f"Error: {GGUF_REFUSED}\n")
    default = make_shimmy("default")
    assert default.run(*line.split(), FAKE_SHIMMY_GPU="none") == (
        1,
        "",
        "Error: Airframe GPU load failed: No GPU adapter found\n",
    )
    assert default.run(*line.split(), FAKE_SHIMMY_GPU="llvmpipe") == (
        1,
        "",
        "[GpuRuntime] Selected adapter: llvmpipe (LLVM 15.0.6, 256 bits) (Cpu, backend=Gl)\n"
        "Error: Airframe GPU load failed: GPU storage buffer binding limit (128 MB) is too small "
        "for the bindless chunk size (1907 MB). Update your GPU drivers.\n",
    )


@pytest.mark.slow
@pytest.mark.usefixtures("models")
def test_a_working_gpu_is_pretended_with_the_default_reply(make_shimmy):
    line = ["generate", "big", "--prompt", "Hello there"]
    status, out, err = make_shimmy("default").run(*line)
    assert (status, err.splitlines()[0]) == (0, f"[GpuRuntime] Selected adapter: {SOFTWARE}")
    assert re.fullmatch(r"Reply [0-9a-f]{8} to: Hello there", out.splitlines()[-1])
    assert make_shimmy("default").run(*line, "--max-tokens=1")[1].endswith("\nReply\n")


@pytest.mark.slow
@pytest.mark.usefixtures("models")
@pytest.mark.parametrize(
    ("variable", "value"),
    [("RUST_BACKTRACE", "1"), ("RUST_BACKTRACE", ""), ("RUST_LIB_BACKTRACE", "full")],
)
def test_an_error_carries_a_backtrace_where_it_is_wanted(shimmy, variable, value):
    _, _, err = shimmy.run("bench", "nope", **{variable: value})
    frames = ("anyhow::error::<impl anyhow::Error>::msg", "anyhow::__private::format_err")
    assert err.startswith("Error: no model nope\n" + backtrace(*frames))
    _, _, err = shimmy.run("bench", "big", **{variable: value})
    adapter = (
        "<shimmy::engine::adapter::InferenceEngineAdapter as shimmy::engine::InferenceEngine>"
        "::load::{{closure}}"
    )
    assert err.startswith(f"Error: {GGUF_REFUSED}\n" + backtrace(frames[0], adapter))


def test_the_library_variable_decides_about_backtraces_of_errors(shimmy):
    line = ["probe", "nope"]
    assert shimmy.run(*line, RUST_BACKTRACE="1", RUST_LIB_BACKTRACE="0")[2] == (
        "Error: no model nope\n"
    )


@pytest.mark.parametrize(
    ("tensor", "shape", "position", "length", "index"),
    [
        ("lm_head.weight", [], "374:13", 0, 0),
        ("embed_tokens.weight", [], "376:13", 0, 0),
        ("embed_tokens.weight", [1], "383:13", 1, 1),
    ],
)
def test_a_shape_with_too_few_numbers_is_a_panic(
    shimmy, models, tensor, shape, position, length, index
):
    header = {tensor: {"dtype": "F32", "shape": shape, "data_offsets": [0, 4]}}
    text = json.dumps(header).encode()
    (models / "flat.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"0000")
    status, out, err = shimmy.run("probe", "flat")
    assert (status, out) == (101, "")
    assert re.sub(r"\(\d+\)", "(N)", err) == (
        "\nthread 'main' (N) panicked at "
        f"shimmy-2.5.0/src/engine/safetensors_native.rs:{position}:\n"
        f"index out of bounds: the len is {length} but the index is {index}\n"
        "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n"
    )


@pytest.mark.slow
def test_very_many_models_are_a_panic(shimmy, models):
    for number in range(9_998):
        (models / f"m{number}.gguf").touch()
    (models / "last.gguf").touch()
    status, out, err = shimmy.run("list", RUST_BACKTRACE="1")
    assert (status, out) == (101, "")
    assert "INVARIANT VIOLATION: Model discovery must return reasonable count [discovery]\n" in err
    assert err.endswith(
        "   6: shimmy::main\nnote: Some details are omitted, run with `RUST_BACKTRACE=full` for a "
        "verbose backtrace.\n"
    )
    (models / "last.gguf").unlink()
    (models / "big.gguf").unlink()
    assert shimmy.run("list")[1].endswith("\n✅ Total available models: 9999\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("0", "cannot be set to 0"),
        ("x", "must be usize, error: invalid digit found in string, value: x"),
        ("", "must be usize, error: cannot parse integer from empty string, value: "),
        ("\udcff", 'must be valid unicode, error: "\\xFF"'),
    ],
)
def test_a_wrong_number_of_threads_is_a_panic_before_anything_else(shimmy, value, reason):
    status, out, err = shimmy.run("--version", TOKIO_WORKER_THREADS=value)
    assert (status, out) == (101, "")
    assert f'\n"TOKIO_WORKER_THREADS" {reason}\n' in err
    assert shimmy.run("--version", TOKIO_WORKER_THREADS="+2")[0] == 0


def run_with(shimmy, descriptors: str, *line: str) -> tuple[int, bytes]:
    """Exit status and stderr with the shell's redirections ``descriptors``."""
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {descriptors}', "sh", *shimmy.command, *line],
        cwd=shimmy.cwd,
        env=shimmy.environ({}),
        capture_output=True,
        check=False,
    )
    return done.returncode, done.stderr


def test_a_stdout_that_takes_nothing_is_a_panic(shimmy):
    status, err = run_with(shimmy, ">/dev/full", "gpu-info")
    assert status == 101
    assert b"failed printing to stdout: No space left on device (os error 28)\n" in err


@pytest.mark.slow
def test_help_and_usage_errors_do_not_care_whether_they_are_read(shimmy):
    assert run_with(shimmy, ">/dev/full", "--help") == (0, b"")
    assert run_with(shimmy, "2>/dev/full", "lst")[0] == 2


@pytest.mark.slow
def test_closed_descriptors_swallow_what_is_written(shimmy):
    assert run_with(shimmy, ">&-", "gpu-info") == (0, b"")
    assert run_with(shimmy, "<&- >&- 2>&-", "gpu-info") == (0, b"")


INIT = {
    "docker": ("Docker", [".dockerignore", "Dockerfile", "docker-compose.yml", "nginx.conf"]),
    "KuberNetes": ("Kubernetes", ["configmap.yaml", "deployment.yaml", "service.yaml"]),
    "k8s": ("Kubernetes", ["configmap.yaml", "deployment.yaml", "service.yaml"]),
    "railway": ("Railway", ["Dockerfile", "railway.toml"]),
    "fly": ("Fly.io", ["Dockerfile", "fly.toml"]),
    "fastapi": ("FastAPI", ["main.py", "requirements.txt"]),
    "express": ("Express.js", ["app.js", "package.json"]),
}


@pytest.mark.parametrize("template", INIT)
def test_init_makes_the_files_of_a_template(shimmy, template):
    title, files = INIT[template]
    report = f"✅ {title} template generated in new/folder\n"
    assert shimmy.run("init", "-t", template, "-o", "new/folder") == (0, report, "")
    assert sorted(path.name for path in (shimmy.cwd / "new/folder").iterdir()) == files


@pytest.mark.slow
def test_the_files_of_init_are_well_formed(shimmy):
    for template in ("railway", "fly", "fastapi", "express"):
        assert shimmy.run("init", "-t", template)[0] == 0
    for name in ("railway.toml", "fly.toml"):
        assert tomllib.loads((shimmy.cwd / name).read_text())
    assert json.loads((shimmy.cwd / "package.json").read_text())["main"] == "app.js"
    compile((shimmy.cwd / "main.py").read_text(), "main.py", "exec")


NAMED = {
    "docker": [("docker-compose.yml", "container_name: {}", "shimmy-ai", "mine-shimmy")],
    "fly": [("fly.toml", 'app = "{}"', "shimmy-ai", "mine-ai")],
    "express": [
        ("package.json", '"name": "{}"', "shimmy-express-integration", "mine-shimmy-integration")
    ],
    "kubernetes": [
        ("deployment.yaml", "name: {}\n", "shimmy-deployment", "mine-deployment"),
        ("deployment.yaml", "app: {}\n", "shimmy", "mine"),
        ("service.yaml", "name: {}\n", "shimmy-service", "mine-service"),
        ("service.yaml", "name: {}\n", "shimmy-loadbalancer", "mine-loadbalancer"),
        ("configmap.yaml", "name: {}\n", "shimmy-config", "mine-config"),
        ("configmap.yaml", "name: {}\n", "shimmy-models-pvc", "mine-models-pvc"),
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("template", NAMED)
def test_init_puts_the_name_where_the_real_one_puts_it(shimmy, template):
    assert shimmy.run("init", "-t", template)[0] == 0
    before = {file: (shimmy.cwd / file).read_text() for file, *_ in NAMED[template]}
    assert shimmy.run("init", "-t", template, "-n", "mine")[0] == 0
    for file, line, plain, named in NAMED[template]:
        assert line.format(plain) in before[file]
        after = (shimmy.cwd / file).read_text()
        assert line.format(named) in after
        assert line.format(plain) not in after


@pytest.mark.parametrize(
    ("template", "folder", "reason"),
    [
        (
            "Nope",
            ".",
            "Unknown template type: Nope. Available: docker, kubernetes, railway, fly, fastapi, "
            "express",
        ),
        ("docker", "file", "File exists (os error 17)"),
        ("docker", "file/below", "Not a directory (os error 20)"),
        ("docker", "taken", "Is a directory (os error 21)"),
    ],
)
def test_init_says_why_it_failed(shimmy, template, folder, reason):
    (shimmy.cwd / "file").touch()
    (shimmy.cwd / "taken" / "Dockerfile").mkdir(parents=True)
    assert shimmy.run("init", "-t", template, "-o", folder) == (
        1,
        "",
        f"❌ Template generation failed: {reason}\n",
    )
