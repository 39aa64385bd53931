"""The pages are a site that builds without a warning, and hold together on GitHub, too."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from docs import site_pages
from tests.support.browser import chromium
from tests.support.pages import DOCS, PAGES, ROOT, title

OTHER_PAGES = [ROOT / f"{name}.md" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY")]
"""For people who work on the project: what is fenced in them are no snippets."""
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """As GitHub makes them from headings."""
    headings = HEADING.findall(FENCED.sub("", page.read_text()))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, *OTHER_PAGES], ids=title)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(FENCED.sub("", page.read_text())):
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_is_short_and_ci_runs_its_test_command() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) <= 112
    assert "`python3 dev.py test`" in readme
    assert "\npython3 dev.py test\n" in (ROOT / ".ci" / "run").read_text()


class Fetched(HTMLParser):
    """What a browser fetches for a page."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "img", "iframe"):
            self.urls.append(given.get("src") or "")
        if tag == "link":
            self.urls.append(given.get("href") or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a warning is an error."""
    site = tmp_path_factory.mktemp("docs") / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=ROOT,
        # A notice about the tool's own future is none about the pages.
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    return site


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_stands_alone(site: Path) -> None:
    # Strict: a page that is not in the navigation would have been a warning.
    pages = [page.relative_to(DOCS) for page in DOCS.rglob("*.md")]
    for page in [*pages, *map(Path, site_pages.PAGES.values())]:
        built = site / page.with_suffix(".html")
        assert built.exists()
        fetched = Fetched()
        fetched.feed(built.read_text())
        assert not [url for url in fetched.urls if re.match("(https?:)?//", url)]
    assert "shimmy_fake" in (site / "search" / "search_index.json").read_text()
    assert not list(site.rglob("*.py"))
    front = (site / "index.html").read_text()
    assert f"Version {site_pages.VERSION}" in front
    assert f'href="{site_pages.REPOSITORY}"' in front


MEASURED = """() => {
    const page = document.documentElement, found = [];
    if (page.scrollWidth > page.clientWidth) found.push("wider than the screen");
    const footer = document.querySelector(".md-footer").getBoundingClientRect();
    if (footer.bottom + scrollY < page.scrollHeight - 1) found.push("something below the footer");
    for (const each of document.querySelectorAll(".md-typeset__scrollwrap, pre > code"))
        if (page.clientWidth > 1000 && each.scrollWidth > each.clientWidth)
            found.push("must be scrolled: " + each.textContent.trim().slice(0, 40));
    return found;
}"""


@pytest.mark.slow
def test_pages_fit_a_desktop_and_a_phone_also_when_read_from_a_folder(site: Path) -> None:
    wrong = {}
    with chromium() as browser:
        screen = browser.new_page()
        for page in site.rglob("*.html"):
            if page.name == "404.html":
                continue
            screen.goto(page.as_uri())
            for width in (1280, 390):
                screen.set_viewport_size({"width": width, "height": 900})
                if found := screen.evaluate(MEASURED):
                    wrong[page.name, width] = found
    assert not wrong


def test_the_cells_of_a_table_say_their_column() -> None:
    head = "<thead><tr><th>a <code>b</code></th><th>c</th></tr></thead>"
    assert site_pages.for_phones(f"<table>{head}<tr><td>1</td><td>2</td></tr></table>") == (
        f'<table>{head}<tr><td data-column="a b">1</td><td data-column="c">2</td></tr></table>'
    )


def test_long_code_and_code_with_hyphens_break_between_words() -> None:
    block = "<pre><span></span><code>pytest -n 2</code></pre>"
    words = "<code><span>--shimmy-path=shimmy</span> <span>-v</span></code>"
    assert site_pages.by_words(
        f"<code>short one</code> <code>--shimmy-path=shimmy -v</code> {block}"
    ) == (f"<code>short one</code> {words} {block}")
    word = "<code><span>--shimmy-fake</span></code>"
    assert site_pages.by_words("(<code>--shimmy-fake</code>), <code>--shimmy-fake</code> on") == (
        f'<span class="whole">({word}),</span> {word} on'
    )
    assert site_pages.by_words("(<code>pytest --shimmy-fake</code>)") == (
        '(<code class="opened"><span>pytest</span> <span>--shimmy-fake</span></code>)'
    )


def test_links_lead_from_page_to_page_or_into_the_repository() -> None:
    to_code = f"{site_pages.REPOSITORY}/blob/v{site_pages.VERSION}/hatch_build.py"
    assert site_pages.linked(
        "[a](docs/how-to/ci.md#x) [b](https://c.d/e)", "README.md", "index.md"
    ) == ("[a](how-to/ci.md#x) [b](https://c.d/e)")
    page = "docs/how-to/ci.md", "how-to/ci.md"
    assert site_pages.linked("[a](../../CHANGELOG.md) [b](gpu.md)", *page) == (
        "[a](../changelog.md) [b](gpu.md)"
    )
    assert (
        site_pages.linked("[a](../../hatch_build.py) x[0](y)", *page) == f"[a]({to_code}) x[0](y)"
    )
