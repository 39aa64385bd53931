"""Script files: what they mean, and the line of what is wrong with one."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_shimmy.script import files
from fake_shimmy.script.files import ScriptFileError

Load = Callable[[str, str | bytes], object]

TOML = """\
seed = 3

[[rules]]
when = { user = "a", json = { "temperature" = 0 } }
reply = ["x", ""]

[[rules]]
answers = [
  { reply = "first" },
  { fail = 502 },
]
"""
SAME = """\
{"seed": 3, "rules": [
  {"when": {"user": "a", "json": {"temperature": 0}}, "reply": ["x", ""]},
  {"answers": [{"reply": "first"}, {"fail": 502}]}
]}
"""


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(name: str, content: str | bytes) -> object:
        raw = content if isinstance(content, bytes) else content.encode()
        (tmp_path / name).write_bytes(raw)
        return files.document(str(tmp_path / name))

    return load


def test_json_and_toml_say_the_same(load: Load) -> None:
    assert load("a.toml", TOML) == load("a.json", SAME)


def test_a_mark_at_the_beginning_is_no_part_of_the_text(load: Load) -> None:
    assert load("a.json", b"\xef\xbb\xbf{}") == {}


MISTAKES = [
    ("a.json", '{\n "rules": [\n  {"reply": 3}]}', "line 3: rules[0].reply: 3 is not a string or"),
    ("a.json", '{"rules": [{},\n{"when":\n{"usr":\n"x"}}]}', "line 4: rules[1].when.usr: there is"),
    ("a.json", '{"seed": 1,\n"seed": 2}', "line 2: the name 'seed' is given twice"),
    ("a.json", '{"latency":\n{"jitter": NaN}}', "line 2: NaN is not a number"),
    ("a.json", '{"seed": 1\n"strict": true}', "line 2: Expecting ',' delimiter"),
    ("a.json", "", "line 1: Expecting value"),
    ("a.json", '{"seed":\n-Infinity}', "line 2: -Infinity is not a number"),
    ("a.json", '{"seed": ' + "9" * 5000 + "}", "Exceeds the limit"),
    ("a.json", '{"rules": [{\n"reply": "\\ud800"}]}', "line 2: rules[0].reply: '\\ud800' has half"),
    ("a.json", "[]", "line 1: [] is not an object"),
    ("a.json", b'{"seed": 1,\n"strict": "\xff"}', "line 2: it is not UTF-8"),
    ("a.json", "[" * 100_000, "it is nested too deeply"),
    ("a.toml", "[[rules]]\nreply = 3\n", "line 2: rules[0].reply: 3 is not a string or a list"),
    ("a.toml", "[[rules]]\n[[rules]]\n[rules.when]\nuser = 3", "line 4: rules[1].when.user: 3 is"),
    ("a.toml", "[[rules]]\nwhen.user = 3", "line 2: rules[0].when.user: 3 is not"),
    ("a.toml", "[[rules]]\nwhen = {user = 3}", "line 2: rules[0].when.user: 3 is not"),
    ("a.toml", "[[rules]]\n[[rules.answers]]\n[[rules.answers]]\nfail=0", "line 4: rules[0].ans"),
    ("a.toml", "rules = [\n  {},\n  { reply = 3 },\n]", "line 3: rules[1].reply: 3 is not"),
    ("a.toml", '[[rules]]\nname = """\nreply = 1\n"""\nreply = 3', "line 5: rules[0].reply: 3"),
    ("a.toml", "[[rules]]\nreply = [\n'#]', # ]\n\n3]", "line 5: rules[0].reply[1]: 3 is not"),
    ("a.toml", "[[rules]]\nname = '\\'\nreply = \"\\\"\"\nfail = 0", "line 4: rules[0].fail: 0"),
    ("a.toml", "[[rules]]\n[rules.when.json]\n'a.b'.'=' = {}", "line 3: rules[0].when.json.a.b.=:"),
    ("a.toml", "[life]\nexit.status = 1", "line 2: life.exit: exit says one of"),
    ("a.toml", '["life"] # here\n"deaf" = 1', "line 2: life.deaf: 1 is not true or false"),
    ("a.toml", "seed = 1\nseed = 2", "line 2: Cannot overwrite a value"),
    ("a.toml", "seed = \n", "line 1: Invalid value"),
    ("a.toml", "[", "line 1:"),
    ("a.yaml", "", "a script is a .json or a .toml file"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "text"), MISTAKES, ids=[text for *_, text in MISTAKES])
def test_a_mistake_is_told_with_file_and_line(
    load: Load, name: str, content: str, text: str
) -> None:
    with pytest.raises(ScriptFileError) as caught:
        load(name, content)
    file, _, rest = str(caught.value).partition(name)
    assert file
    assert rest.lstrip(",: ").startswith(text)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ScriptFileError, match="it cannot be read: No such file"):
        files.load(str(tmp_path / "none.json"))


EXAMPLES = re.findall(
    r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```",
    (Path(__file__).parents[2] / "docs" / "reference" / "scripts.md").read_text(),
    re.DOTALL | re.MULTILINE,
)


@pytest.mark.parametrize("name", ["script.toml", "script.json"])
def test_the_examples_of_the_documentation_are_scripts(load: Load, name: str) -> None:
    assert load(name, dict(EXAMPLES)[name])


@given(st.text(), st.sampled_from(["a.json", "a.toml"]))
def test_any_text_is_a_script_or_refused(
    tmp_path_factory: pytest.TempPathFactory, text: str, name: str
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    with suppress(ScriptFileError):
        assert files.load(str(path)).rules is not None
