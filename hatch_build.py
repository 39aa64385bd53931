"""The README and the links of the project as a package index shows them: all of them absolute.

``repository`` in ``pyproject.toml`` is the only place that says where the project lives.
"""

from __future__ import annotations

import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

_RELATIVE_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)\s]+)\)")


def readme(text: str, repository: str, version: str) -> str:
    """`text`, its relative links leading to that version of the file in the repository."""

    def absolute(link: re.Match[str]) -> str:
        # An index shows a picture from where its bytes are, not from the page about it.
        view = "raw" if link[1] else "blob"
        return f"{link[1]}[{link[2]}]({repository}/{view}/v{version}/{link[3]})"

    return _RELATIVE_LINK.sub(absolute, text)


def urls(repository: str, version: str) -> dict[str, str]:
    return {
        "Documentation": f"{repository}/tree/v{version}/docs",
        "Source": repository,
        "Changelog": f"{repository}/blob/v{version}/CHANGELOG.md",
        "Issues": f"{repository}/issues",
    }


class ReadmeHook(MetadataHookInterface):
    def update(self, metadata: dict[str, object]) -> None:
        repository, version = str(self.config["repository"]), str(metadata["version"])
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": readme(text, repository, version),
        }
        metadata["urls"] = urls(repository, version)
