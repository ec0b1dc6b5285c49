"""The code of the documentation's pages, to be run."""

import re
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def blocks(page: str, language: str) -> dict[str, str]:
    """The blocks of code of a page's source in a language: title, or number where there is none -> content."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.findall(rf'^``` {language}(?: title="([^"\n]*)")?\n(.*?)^```$', text, re.DOTALL | re.MULTILINE)
    return {title or str(number): code for number, (title, code) in enumerate(found)}
