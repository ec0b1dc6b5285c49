"""Where a video goes, and by its ending what it is."""

import os
from pathlib import Path

from polyak.errors import UsageError
from polyak.policies.recording.gif import GIF
from polyak.policies.recording.video import FORMS
from polyak.settings.kinds import checked
from polyak.system.files import require_folder


def path_asked(output: str | os.PathLike[str] | None, usual: Path, *, gif: bool) -> Path:
    """Where a video is to be: `output`, or `usual` with the ending of what it is.

    Raises:
        UsageError: its folder is missing, it ends as no video does, or in something else than .gif where that is asked.
    """
    path: Path | None = checked("output", output, Path | None)
    if checked("gif", gif, bool) and path is not None and path.suffix.lower() != GIF:
        raise UsageError(f"output is {path}, but must end in {GIF} with gif (--gif), which is what it asks for")
    if path is not None:
        require_folder(path)
        require_ending(path)
    ending = GIF if gif else ".mp4"
    return (path or usual.with_name(usual.name + ending)).absolute()


def require_ending(path: Path) -> None:
    """Check that a path ends in what is written.

    Raises:
        UsageError: it does not.
    """
    if path.suffix.lower() not in (*FORMS, GIF):
        raise UsageError(f"output is {path}, but must end in .mp4 or .gif, which are what is written")
