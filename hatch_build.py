"""The README as an index shows it: links into the repository lead there, or are plain text.

``PROJECT_URL`` is set where a release is built, by the repository's own address, so nothing here
says where the project lives.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

_RELATIVE_LINK = re.compile(r"\[([^\]]+)\]\((?!\w+:|#)([^)\s]+)\)")


def readme(text: str, url: str, version: str) -> str:
    """`text` without relative links."""
    to = rf"[\1]({url}/blob/v{version}/\2)" if url else r"\1"
    return _RELATIVE_LINK.sub(to, text)


class ReadmeHook(MetadataHookInterface):
    def update(self, metadata: dict[str, object]) -> None:
        url = os.environ.get("PROJECT_URL", "").rstrip("/")
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": readme(text, url, str(metadata["version"])),
        }
        if url:
            metadata["urls"] = {
                "Source": url,
                "Documentation": f"{url}/tree/v{metadata['version']}/docs",
                "Changelog": f"{url}/blob/v{metadata['version']}/CHANGELOG.md",
                "Issues": f"{url}/issues",
            }
