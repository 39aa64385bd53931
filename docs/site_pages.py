"""What the site has beside the folder of pages: the README as its front page, changelog and more.

A hook of mkdocs. These files stay where a repository has them, so each text exists once; on the
site they are pages, and links between them and the folder lead from page to page. A link to a file
that is no page leads into the repository.
"""

from __future__ import annotations

import posixpath
import re
import tomllib
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/README.md": "benchmarks.md",
}
"""Files of the repository, and the pages that they become."""
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
VERSION = _PROJECT["project"]["version"]
REPOSITORY = _PROJECT["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"]
_TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
_HEAD = re.compile(r"<th\b[^>]*>(.*?)</th>", re.DOTALL)
_ROW = re.compile(r"<tr>.*?</tr>", re.DOTALL)
_CODE = re.compile(r"(?<!</span><code>)(?<=<code>)(?:[^<]{30,}|[^<]*-[^<]*)(?=</code>)")
_WORD = r"<code><span>[^ <]+</span></code>"
_PUNCTUATED = re.compile(rf"\({_WORD}[.,;:)]*|{_WORD}[.,;:)]+")
_OPENED = re.compile(r"\(<code>(?=<span>[^ <]+</span> )")
_LINK = re.compile(r"(?<=\]\()[^)\s:#]+(?=[)#])")


def on_files(files: Files, config: Any) -> Files:
    for path, page in PAGES.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        if page == "index.md":
            text = text.replace("\n\n", f"\n\n{about()}\n\n", 1)
        content = linked(text, path, page)
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    if page.file.src_uri in PAGES.values():
        return markdown
    return linked(markdown, f"docs/{page.file.src_uri}", page.file.src_uri)


def on_page_content(html: str, **_: object) -> str:
    return by_words(_TABLE.sub(lambda table: for_phones(table[0]), html))


def by_words(html: str) -> str:
    """`html` with each word of long code, or of code with a hyphen, as an element: lines break
    between them. A word stays with the punctuation around it."""

    def marked(code: re.Match[str]) -> str:
        return " ".join(f"<span>{word}</span>" for word in code[0].split(" "))

    html = _PUNCTUATED.sub(r'<span class="whole">\g<0></span>', _CODE.sub(marked, html))
    return _OPENED.sub('(<code class="opened">', html)


def for_phones(table: str) -> str:
    """A table whose cells say which column they are of, for where the columns are put below each
    other."""
    heads = [re.sub(r"<[^>]+>", "", head) for head in _HEAD.findall(table)]

    def labelled(row: re.Match[str]) -> str:
        columns = iter(heads)
        return re.sub("<td", lambda _: f'<td data-column="{next(columns)}"', row[0])

    return _ROW.sub(labelled, table)


def about() -> str:
    return f"Version {VERSION} · [Repository]({REPOSITORY}) · [Changelog](CHANGELOG.md)"


def linked(markdown: str, path: str, page: str) -> str:
    """The text of the file `path`, with the links of the page `page`."""

    def lead(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), link[0]))
        there = PAGES.get(target) or target.removeprefix("docs/")
        if there == target:
            # What looks like a link in code leads nowhere.
            return f"{REPOSITORY}/blob/v{VERSION}/{target}" if (ROOT / target).exists() else link[0]
        return posixpath.relpath(there, posixpath.dirname(page) or ".")

    return _LINK.sub(lead, markdown)
