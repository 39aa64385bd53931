"""Random request bodies that are nearly right, for comparing two servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

CHAT, COMPLETIONS, MESSAGES = "/v1/chat/completions", "/v1/completions", "/v1/messages"
GENERATE, TOOL, WORKFLOW = "/api/generate", "/api/tools/x/execute", "/api/workflows/execute"
FIELDS = {
    CHAT: "model messages stream temperature max_tokens top_p stop frequency_penalty "
    "presence_penalty",
    COMPLETIONS: "model prompt temperature max_tokens top_p stream",
    MESSAGES: "model max_tokens messages system temperature top_p top_k stream",
    GENERATE: "model prompt messages system temperature top_p top_k max_tokens stream",
    TOOL: "a b",
    WORKFLOW: "a b",
}
"""The fields of each route's request, in the order of declaration."""

CONVERSATIONS = [
    '[{"role":"user","content":"Hi"}]',
    '[{"role":"system","content":"S"},{"role":"user","content":"u1"},'
    '{"role":"assistant","content":"a1"},{"role":"user","content":"u2"}]',
    '[["user","Hi"]]',
    '[{"role":"assistant","content":"a"}]',
    '[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image","x":1}]}]',
    '[{"role":"user","content":[{"type":"image","source":["a","b","c"]}]}]',
    '[{"role":"user","content":null}]',
    '[{"role":"user"}]',
    '[{"role":"user","content":"x","role":"y"}]',
    '[{"role":"user","content":[["text","x"]]},["user",[["text","x",null]]]]',
    '[["user"]]',
    '[["user","x",1]]',
    "[1]",
    "[]",
]
RIGHT = {
    "model": ['"tiny"', '"tiny"', '"nope"', '"base-7b.q4-0"'],
    "messages": CONVERSATIONS[:4],
    "prompt": ['"Hi there"', '"a\\nb"', '" "'],
    "stream": ["false", "false", "null"],
    "max_tokens": ["1", "2", "40"],
    "system": ['"S"', "null"],
    "stop": ['"x"', '["a"]'],
}
WRONG = [
    *CONVERSATIONS,
    *("null", "true", "0", "-1", "2.5", "-0", "-0.0", "1e2", "1e999", "1E-999", "01", "1.", "-"),
    *("18446744073709551615", "18446744073709551616", "-9223372036854775809", "2147483648"),
    *("-2147483649", "131072", "131073", '""', '" "', '"x"', '"a\\u0000b"', '"\\u2028\\r\\n\\t"'),
    *('"\\ud800"', '"\\ud83d\\ude00"', '"é\u3000x"', '"\x1c"', '"\x01"', '"\\x"', '"\\u12"', '"a'),
    *("{}", "[1]", '["a"]', "[null]", '{"a":1}', "[[]]", "nul", "[1,]", '{"a"}', "{,}", "[1 2]"),
]
PIECES = ['"', "\\", "{", "}", "[", "]", ",", ":", "\n", "null", "-", "0", ".5", "1e5", "\x01", " "]


def body(random: Random, path: str) -> bytes:
    """A body for ``path``: an object or a sequence, with some fields wrong, some letters lost."""
    names = FIELDS[path].split()
    wrongness = random.choice([0, 0.1, 0.3])

    def value(name: str) -> str:
        if random.random() < wrongness:
            return random.choice(WRONG)
        return random.choice(RIGHT.get(name, ["0.5", "1", "null"]))

    if random.random() < 0.12:
        chosen = [*names, "more"][: random.randint(0, len(names) + 1)]
        text = "[" + ",".join(map(value, chosen)) + "]"
    else:
        chosen = [name for name in names if name in RIGHT or random.random() < 0.5]
        if random.random() < 0.3:
            chosen.append(random.choice([*names, "extra", "", "mo\\u0064el"]))
        if chosen and random.random() < 0.3:
            chosen.remove(random.choice(chosen))
        random.shuffle(chosen)
        comma, colon = random.choice([",", ", ", " ,\n"]), random.choice([":", " : "])
        text = "{" + comma.join(f'"{name}"{colon}{value(name)}' for name in chosen) + "}"
    if random.random() < 0.25:
        at = random.randrange(len(text) + 1)
        text = text[:at] + random.choice(["", *PIECES]) + text[at + random.choice((0, 0, 1, 3)) :]
    raw = text.encode()
    if random.random() < 0.03:
        at = random.randrange(len(raw) + 1)
        raw = raw[:at] + b"\xff" + raw[at:]
    return raw
