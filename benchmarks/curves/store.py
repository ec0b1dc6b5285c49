"""The results: a file a training, whole or not there."""

import json
import os
import sys
from pathlib import Path
from typing import Any

Result = dict[str, Any]
NEEDED = ("command", "versions", "curve")


class Store:
    """A folder of results, `GROUP/NAME.json` each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """Of a training's result."""
        return self.folder / f"{name}.json"

    def read(self, name: str) -> Result | None:
        """A training's result; None where there is none, or none that is whole, which is said and run again."""
        path = self.path(name)
        if not path.exists():
            return None
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            missing = [key for key in NEEDED if not found[key]]
        except (ValueError, KeyError, TypeError) as error:
            print(f"{path} is no whole result ({error!r}): it counts as not there", file=sys.stderr)
            return None
        return None if missing else found

    def write(self, name: str, result: Result) -> None:
        """Keep a result: a reader finds all of it or nothing, whenever this is ended."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        curve = "[\n  " + ",\n  ".join(json.dumps(point) for point in result["curve"]) + "\n ]"
        text = json.dumps({**result, "curve": "CURVE"}, indent=1).replace('"CURVE"', curve)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(path)
