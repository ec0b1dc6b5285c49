"""What a package index shows of README.md: there is no repository beside it, so that its links would lead nowhere."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
"""A picture or a link of Markdown's, whose text may be broken over lines."""
ASIDE = re.compile(
    r"\s*\(\[[^\]]*\]\((?![a-z]+:)[^)\s]+\)\)|<!-- pictures -->.*?<!-- end of pictures -->\n*", re.DOTALL
)
"""What stands there for the sake of a link within the repository, or of its pictures."""


class Readme(MetadataHookInterface):
    """`readme` is README.md, its links made absolute."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add it to the project's metadata."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        address = metadata.get("urls", {}).get("Repository")
        metadata["readme"] = {"content-type": "text/markdown", "text": shown(text, address, metadata["version"])}


def shown(text: str, repository: str | None, version: str) -> str:
    """Markdown with links and pictures of this version in the repository; without an address, with their text alone."""

    def absolute(found: re.Match[str]) -> str:
        picture, label, target = found.groups()
        if re.match(r"[a-z]+:", target):
            return found[0]
        if repository is None:
            return "" if picture else label
        return f"{picture}[{label}]({repository}/{'raw' if picture else 'blob'}/v{version}/{target})"

    return LINK.sub(absolute, text if repository else ASIDE.sub("", text))
