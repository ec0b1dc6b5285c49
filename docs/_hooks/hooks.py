"""What MkDocs calls while it builds: `<!-- polyak: KIND WORDS -->` in a page becomes what the code says today."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import algorithm_pages
import command_reference
import measured_tables
import names_table
import scale
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
MARKER = re.compile(r"^<!-- polyak: (\w+)(.*) -->$", re.MULTILINE)


def readme() -> str:
    """What README.md says between its title and its first section, its links as the site has them."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.match(r"# polyak\n(.*?)^## Install$", text, re.DOTALL | re.MULTILINE)
    if found is None:
        raise PluginError("README.md no longer begins with '# polyak' and goes on with '## Install'")
    return found[1].strip().replace("](docs/", "](")


KINDS: dict[str, Callable[..., str]] = {
    "commands": command_reference.commands,
    "deviations": algorithm_pages.deviations,
    "function": algorithm_pages.function,
    "measured": algorithm_pages.measured,
    "names": names_table.names,
    "options": algorithm_pages.options,
    "peers": measured_tables.peers,
    "peers_against": measured_tables.peers_against,
    "products": measured_tables.products,
    "peers_apart": measured_tables.peers_apart,
    "peers_setting": measured_tables.peers_setting,
    "readme": readme,
    "settings": algorithm_pages.settings,
    "a_step": measured_tables.a_step,
    "a_step_setting": measured_tables.a_step_setting,
    "speeds": measured_tables.speeds,
    "speeds_setting": measured_tables.setting,
    "scale_most": scale.most,
    "scale_projected": scale.projected,
    "collectors": measured_tables.collectors,
    "drive": measured_tables.drive,
    "collectors_setting": measured_tables.collectors_setting,
}
"""What a marker may ask for; the words behind it are the arguments."""


def on_files(files: Files, config: Any) -> Files:
    """Add the changelog, which stands beside the README."""
    content = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "changelog.md", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put in what the page's markers ask for."""

    def made(marker: re.Match[str]) -> str:
        try:
            return KINDS[marker[1]](*marker[2].split())
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise PluginError(f"{page.file.src_uri}: {marker[0]}: {type(error).__name__}: {error}") from error

    return MARKER.sub(made, markdown)
