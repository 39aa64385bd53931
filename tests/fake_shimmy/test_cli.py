"""The command line: what is printed where, and the exit status. Expected text: real 2.5.0."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fake_shimmy.releases import RELEASES

TRY = "\nFor more information, try '--help'.\n"
TOP = "\nUsage: shimmy [OPTIONS] <COMMAND>\n" + TRY

USAGE_ERRORS = {
    "--gpu auto serve": (
        "error: unexpected argument '--gpu' found\n\n"
        "  tip: a similar argument exists: '--gpu-backend'\n\n"
        "Usage: shimmy --gpu-backend <GPU_BACKEND> <COMMAND>\n" + TRY
    ),
    "serve --gpu auto": (
        "error: unexpected argument '--gpu' found\n\n"
        "  tip: a similar argument exists: '--gpu-backend'\n\n"
        "Usage: shimmy serve --gpu-backend <GPU_BACKEND>\n" + TRY
    ),
    "serve --port 8080": (
        "error: unexpected argument '--port' found\n\nUsage: shimmy serve [OPTIONS]\n" + TRY
    ),
    "--bind X serve": (
        "error: unexpected argument '--bind' found\n\n  tip: 'serve --bind' exists\n" + TOP
    ),
    "serve --bind": (
        "error: a value is required for '--bind <BIND>' but none was supplied\n" + TRY
    ),
    "serve --kv-quant q8": (
        "error: invalid value 'q8' for '--kv-quant <MODE>'\n  [possible values: f32, int4]\n" + TRY
    ),
    "--kv-quant f3 list": (
        "error: invalid value 'f3' for '--kv-quant <MODE>'\n"
        "  [possible values: f32, int4]\n\n  tip: a similar value exists: 'f32'\n" + TRY
    ),
    "--kv-quant= list": (
        "error: a value is required for '--kv-quant <MODE>' but none was supplied\n"
        "  [possible values: f32, int4]\n" + TRY
    ),
    "--n-cpu-moe x list": (
        "error: invalid value 'x' for '--n-cpu-moe <N>': invalid digit found in string\n" + TRY
    ),
    "--ctx= list": (
        "error: invalid value '' for '--ctx <N>': cannot parse integer from empty string\n" + TRY
    ),
    "--ctx 99999999999 list": (
        "error: invalid value '99999999999' for '--ctx <N>': "
        "99999999999 is not in 0..=4294967295\n" + TRY
    ),
    "--ctx 99999999999999999999 list": (
        "error: invalid value '99999999999999999999' for '--ctx <N>': "
        "number too large to fit in target type\n" + TRY
    ),
    "--cpu-moe --n-cpu-moe 3 list": (
        "error: the argument '--cpu-moe' cannot be used with '--n-cpu-moe <N>'\n\n"
        "Usage: shimmy --cpu-moe <COMMAND>\n" + TRY
    ),
    "list --n-cpu-moe 3 --cpu-moe": (
        "error: the argument '--n-cpu-moe <N>' cannot be used with '--cpu-moe'\n\n"
        "Usage: shimmy list --n-cpu-moe <N>\n" + TRY
    ),
    "list --legacy --legacy": (
        "error: the argument '--legacy' cannot be used multiple times\n\n"
        "Usage: shimmy list [OPTIONS]\n" + TRY
    ),
    "--legacy --cpu-moe=x list": (
        "error: unexpected value 'x' for '--cpu-moe' found; no more were expected\n\n"
        "Usage: shimmy <--model-dirs <MODEL_DIRS>|--gpu-backend <GPU_BACKEND>|--cpu-moe|"
        "--n-cpu-moe <N>|--legacy|--kv-quant <MODE>|--prefill-chunk <N>|--ctx <N>> <COMMAND>\n"
        + TRY
    ),
    "serv": (
        "error: unrecognized subcommand 'serv'\n\n"
        "  tip: a similar subcommand exists: 'serve'\n" + TOP
    ),
    "-- list": (
        "error: unexpected argument 'list' found\n\n"
        "  tip: subcommand 'list' exists; to use it, remove the '--' before it\n" + TOP
    ),
    "--legacy": (
        "error: 'shimmy' requires a subcommand but one was not provided\n  [subcommands: serve, "
        "list, discover, probe, bench, generate, gpu-info, init, help]\n" + TOP
    ),
    "probe": (
        "error: the following required arguments were not provided:\n  <NAME>\n\n"
        "Usage: shimmy probe <NAME>\n" + TRY
    ),
    "generate --max-tokens 3": (
        "error: the following required arguments were not provided:\n"
        "  --prompt <PROMPT>\n  <NAME>\n\n"
        "Usage: shimmy generate --prompt <PROMPT> --max-tokens <MAX_TOKENS> <NAME>\n" + TRY
    ),
    "list extra": (
        "error: unexpected argument 'extra' found\n\nUsage: shimmy list [OPTIONS]\n" + TRY
    ),
    "bench m --max-tokens -3": (
        "error: unexpected argument '-3' found\n\n"
        "  tip: to pass '-3' as a value, use '-- -3'\n\n"
        "Usage: shimmy bench [OPTIONS] <NAME>\n" + TRY
    ),
    "help help serve": (
        "error: unrecognized subcommand 'serve'\n\nUsage: shimmy help [COMMAND]...\n"
    ),
}


@pytest.mark.parametrize("line", USAGE_ERRORS)
def test_a_usage_error_is_worded_on_stderr_and_exits_with_2(shimmy, line):
    assert shimmy.run(*line.split(" ")) == (2, "", USAGE_ERRORS[line])


def test_version_is_printed_whatever_follows(shimmy):
    assert shimmy.run("--version") == (0, "shimmy 2.5.0\n", "")
    assert shimmy.run("-V", "list") == (0, "shimmy 2.5.0\n", "")


def test_version_belongs_to_the_top_level_only(shimmy):
    status, out, err = shimmy.run("list", "-V")
    assert (status, out) == (2, "")
    assert err.startswith("error: unexpected argument '-V' found\n")


def test_without_a_command_the_help_goes_to_stderr(shimmy):
    status, out, err = shimmy.run()
    assert (status, out) == (2, "")
    assert shimmy.run("--help") == (0, err, "")
    assert err.startswith(
        "Shimmy: single-binary GGUF + LoRA server\n\nUsage: shimmy [OPTIONS] <COMMAND>\n\n"
        "Commands:\n  serve     Run the HTTP server\n"
    )
    assert err.endswith(
        "  -h, --help                       Print help\n"
        "  -V, --version                    Print version\n"
    )


@pytest.mark.parametrize("form", [["serve", "-h"], ["serve", "--help"], ["help", "serve"]])
def test_a_commands_help_reads_alike_in_every_form(shimmy, form):
    status, out, err = shimmy.run(*form)
    assert (status, err) == (0, "")
    assert out.startswith(
        "Run the HTTP server\n\nUsage: shimmy serve [OPTIONS]\n\nOptions:\n"
        "      --bind <BIND>                [default: auto]\n"
        "      --model-path <MODEL_PATH>    Direct path to a specific model file "
        "(bypasses auto-discovery)\n"
    )


def test_help_shows_an_empty_default_in_quotes(shimmy):
    out = shimmy.run("generate", "--help")[1]
    assert (
        '      --session-id <SESSION_ID>      Session ID for rolling window [default: ""]\n' in out
    )


def test_usage_lines_take_the_name_from_the_program(tmp_path, make_shimmy):
    script = tmp_path / "fake-shimmy"
    script.write_text(f"#!{sys.executable}\nfrom fake_shimmy.__main__ import main\nmain()\n")
    script.chmod(0o755)
    status, _, err = make_shimmy(command=[str(script)]).run("lst")
    assert status == 2
    assert "Usage: fake-shimmy [OPTIONS] <COMMAND>\n" in err


def test_the_version_line_keeps_the_product_name(tmp_path, make_shimmy):
    script = tmp_path / "other"
    script.write_text(f"#!{sys.executable}\nfrom fake_shimmy.__main__ import main\nmain()\n")
    script.chmod(0o755)
    assert make_shimmy(command=[str(script)]).run("-V") == (0, "shimmy 2.5.0\n", "")


def test_text_that_is_not_utf8_is_refused(shimmy):
    status, _, err = shimmy.run("probe", b"\xff")
    assert status == 2
    assert err.startswith("error: invalid UTF-8 was detected in one or more arguments\n")


def test_gpu_info_of_a_cpu_only_build(shimmy):
    assert shimmy.run("gpu-info") == (
        0,
        "🖥️  GPU Backend Information\n\n"
        "⚡ Airframe Engine: Disabled (this build uses the huggingface engine)\n"
        "   For GPU acceleration, download a release binary from GitHub Releases.\n\n"
        "💡 GPU acceleration: download a release binary from GitHub Releases.\n"
        "   https://github.com/Michael-A-Kuykendall/shimmy/releases/latest\n",
        "",
    )


def test_gpu_info_of_a_default_build(make_shimmy):
    out = make_shimmy("default").run("gpu-info")[1]
    assert "⚡ Airframe Engine: ✅ Enabled (WebGPU via wgpu)\n" in out


def test_probe_tells_load_failure_and_unknown_name_apart(shimmy):
    models = shimmy.cwd / "models"
    models.mkdir()
    (models / "tiny.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    (models / "empty.safetensors").write_bytes(b"")
    (models / "big.gguf").write_bytes(b"GGUF")
    assert shimmy.run("probe", "tiny") == (0, "ok: loaded tiny\n", "")
    assert shimmy.run("probe", "nope") == (1, "", "Error: no model nope\n")
    assert shimmy.run("probe", "empty") == (2, "", "probe failed: HeaderTooSmall\n")
    assert shimmy.run("probe", "big") == (
        2,
        "",
        "probe failed: GGUF models require the Airframe GPU engine. Use shimmy_server_gpu or "
        "build with --features airframe. See https://github.com/Michael-A-Kuykendall/shimmy "
        "for setup.\n",
    )


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (b"\xff" * 20, "HeaderTooLarge"),
        (b"\x32" + b"\0" * 7 + b"{}", "InvalidHeaderLength"),
        (b"\x02" + b"\0" * 7 + b"\xff\xfe", "InvalidHeader"),
        (b"\x02" + b"\0" * 7 + b"[]", "InvalidHeaderDeserialization"),
        (b"\x02" + b"\0" * 7 + b"{}x", "MetadataIncompleteBuffer"),
    ],
)
def test_probe_words_what_is_wrong_with_a_safetensors_file(shimmy, file, reason):
    (shimmy.cwd / "models").mkdir()
    (shimmy.cwd / "models" / "m.safetensors").write_bytes(file)
    assert shimmy.run("probe", "m") == (2, "", f"probe failed: {reason}\n")


def test_probe_words_what_is_wrong_with_the_files_beside_it(shimmy):
    (shimmy.cwd / "models").mkdir()
    (shimmy.cwd / "models" / "m.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    (shimmy.cwd / "models" / "config.json").write_text('{"a":1}x')
    expected = "probe failed: trailing characters at line 1 column 8\n"
    assert shimmy.run("probe", "m") == (2, "", expected)


@pytest.mark.parametrize(
    ("variable", "allowed"),
    [
        ("FAKE_SHIMMY_BUILD", "default, cpu-only"),
        ("FAKE_SHIMMY_RELEASE", ", ".join(RELEASES)),
        ("FAKE_SHIMMY_GPU", "none, llvmpipe, nvidia, nvidia-hidden, amd, intel, apple"),
    ],
)
def test_a_setting_with_an_unknown_value_is_refused(shimmy, variable, allowed):
    assert shimmy.run("--version", **{variable: "x"}) == (
        2,
        "",
        f'fake-shimmy: {variable} is "x"; allowed values: {allowed}\n',
    )


def test_output_is_utf8_in_the_c_locale(shimmy):
    status, out, _ = shimmy.run("list", LC_ALL="C")
    assert status == 0
    assert out == "❌ No models found. Set SHIMMY_BASE_GGUF or place .gguf files in ./models/\n"


def test_it_runs_without_site_packages_on_the_path(shimmy):
    code = (
        f"import sys; sys.path[:0] = [{str(sys.path[0])!r}, {shimmy.environ({})['PYTHONPATH']!r}]"
    )
    code += "; from fake_shimmy.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, "lst"],
        cwd=shimmy.cwd,
        env=shimmy.environ({}),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    assert b"Usage: shimmy [OPTIONS] <COMMAND>\n" in done.stderr
