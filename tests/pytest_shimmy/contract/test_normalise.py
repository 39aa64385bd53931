"""What is taken out of an observation, and what stays in."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_shimmy.contract import normalise

OWN = {"/tmp/x1": "{world}", "2.5.0": "{version}", "127.0.0.1:4711": "127.0.0.1:{port}"}
HEAD = "HTTP/1.1 200 OK\r\ncontent-length: 20\r\ndate: Sun, 22 Nov 2026 21:00:00 GMT\r\n\r\n"


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        ("v2.5.0 at 127.0.0.1:4711 in /tmp/x1/a", "v{version} at 127.0.0.1:{port} in {world}/a"),
        ("\r\ndate: Sun, 22 Nov 2026 21:00:00 GMT\r\n", "\r\ndate: {date}\r\n"),
        ("chatcmpl-0123456789ab4def8123456789abcdef", "chatcmpl-{id}"),
        ("cmpl-0123456789ab4def8123456789abcdef", "cmpl-{id}"),
        ("msg_01234567-89ab-4def-8123-456789abcdef", "msg_{id}"),
        ('"created":1795362613,', '"created":{now},'),
        ('"timestamp":"2026-11-22T15:44:39.855671992+00:00"', '"timestamp":"{now}"'),
        ('"timestamp":"2026-11-22T15:44:39+00:00"', '"timestamp":"{now}"'),
        ("2026-11-22T16:05:15.004088Z ERROR a: b", "{now} ERROR a: b"),
        ("elapsed: 11.685µs", "elapsed: {time}"),
        (
            "\nthread 'main' (77) panicked at src/a.rs:1:2:",
            "\nthread 'main' panicked at src/a.rs:1:2:",
        ),
        (
            "panicked at /rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/std/src/x.rs:1:9:",
            "panicked at library/std/src/x.rs:",
        ),
    ],
)
def test_what_varies_is_replaced(observed: str, expected: str) -> None:
    assert normalise.neutral(observed, OWN) == expected


@pytest.mark.parametrize(
    "observed",
    [
        "\r\ndate: Sun, 22 Nov 2026 21:00:00 UTC\r\n",
        "\r\nDate: Sun, 22 Nov 2026 21:00:00 GMT\r\n",
        "chatcmpl-0123456789ab5def8123456789abcdef",
        "chatcmpl-0123456789AB4DEF8123456789ABCDEF",
        "msg_0123456789ab4def8123456789abcdef",
        '"created":0',
        '"created":"1795362613"',
        '"timestamp":"2026-11-22T15:44:39.85567199+00:00"',
        '"timestamp":"2026-11-22T15:44:39Z"',
        "2026-11-22T16:05:15.004Z ERROR a: b",
        "elapsed: 11.685 seconds",
        '"models":{"discovered":8}',
    ],
)
def test_what_has_another_shape_stays_visible(observed: str) -> None:
    assert normalise.neutral(observed, OWN) == observed


@given(st.text())
def test_what_is_neutral_stays_as_it_is(observed: str) -> None:
    once = normalise.neutral(observed, OWN)
    assert normalise.neutral(once, OWN) == once


def test_a_length_counts_unless_it_depends_on_what_varies() -> None:
    fixed = normalise.neutral_answer(HEAD + '{"object":"list"}', OWN, "fixed")
    assert "content-length: 20" in fixed
    varying = HEAD + '{"timestamp":"2026-11-22T15:44:39+00:00"}'
    assert "content-length: {length}" in normalise.neutral_answer(varying, OWN, "fixed")


@pytest.mark.slow
@given(
    st.lists(st.sampled_from(["  a", "  b\n    Base: x", "  c\n    Base\n    LoRA"])), st.randoms()
)
def test_rows_of_text_come_in_one_order(rows: list[str], chance: random.Random) -> None:
    mixed = rows[:]
    chance.shuffle(mixed)
    first = normalise.sorted_lines("\n".join(["Found:", *rows, "", "end\n"]))
    assert first == normalise.sorted_lines("\n".join(["Found:", *mixed, "", "end\n"]))
    assert sorted(first.splitlines()) == sorted(
        "\n".join(["Found:", *rows, "", "end"]).splitlines()
    )


def test_rows_of_json_come_in_one_order() -> None:
    rows = ['{"name":"b","n":null}', '{"name":"a","n":1}']
    answers = {
        normalise.neutral_answer(
            f'HTTP/1.1 200 OK\r\n\r\n{{"models":[{",".join(order)}]}}', {}, "rows"
        )
        for order in (rows, rows[::-1])
    }
    assert answers == {
        'HTTP/1.1 200 OK\r\n\r\n{"models":[{"name":"a","n":1},{"name":"b","n":null}]}'
    }


def stream(*tokens: str) -> str:
    chunks = "".join(f'20\r\ndata: {{"delta":{{"content":"{token}"}}}}\n\n\r\n' for token in tokens)
    return f"head\r\n\r\n{chunks}E\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


def test_without_its_words_a_stream_is_any_other() -> None:
    assert normalise.speechless(stream("a", "b")) == normalise.speechless(stream("c"))
    assert normalise.speechless(stream("a")) != normalise.speechless(
        stream("a").replace("[DONE]", "")
    )
    broken = stream("a").replace("data: {", "data {")
    assert normalise.speechless(stream("a")) != normalise.speechless(broken)


def test_without_its_words_an_answer_is_any_other() -> None:
    one, other = '{"content":"a \\"b\\"","stop":"x"}', '{"content":"","stop":"x"}'
    assert normalise.speechless([one]) == normalise.speechless([other])
    assert normalise.speechless([one]) != normalise.speechless([one.replace("stop", "end")])


def test_only_llama_cpps_own_lines_are_noise() -> None:
    noise = "llama_model_loader: x\n.....\nprint_info: y\nload_tensors: z\n"
    kept = "Error: no model x\nprobe failed: load: y\n"
    assert normalise.without_llama_cpp(noise + kept + noise) == kept
