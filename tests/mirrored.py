"""A process that trains with a mirror and is killed while it sends: `python mirrored.py MIRROR FOLDER POINTS`.

For each point a child is forked, which trains with the mirror MIRROR/NUMBER in FOLDER/NUMBER. It dies as it is about to
do its write or removal of that number there, or, where the number is negative, once half of that file is there.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tiny_cli import PATIENCE, TINY, process_environment, untrained_run

OPTIONS: dict[str, Any] = {"backend": "torch", "checkpoint_every": 10}


def killed_at(points: Sequence[int], mirror: str, folder: Path, **environment: str) -> None:
    """Train once for each point, each killed there."""
    command = [sys.executable, __file__, mirror, str(folder), *map(str, points)]
    done = subprocess.run(
        command,
        env={**process_environment(), **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(-signal.SIGKILL)] * len(points), done.stdout + done.stderr


def dying_at(point: int) -> None:
    """Let this process die in its write or removal of this number."""
    from polyak.run import start
    from polyak.run.mirror.sending import mirrored
    from polyak.system.stores import folder
    from polyak.system.stores.remote import Remote

    count = 0
    halved = folder.write_atomically

    def counted(usual: Any) -> Any:
        def act(self: Any, *given: Any) -> Any:
            nonlocal count
            count += 1
            if count == abs(point):
                if point < 0:
                    folder.write_atomically = half
                else:
                    os.kill(os.getpid(), signal.SIGKILL)
            return usual(self, *given)

        return act

    def half(path: Path, content: bytes) -> None:
        path.with_name(f".{path.name}.{os.getpid()}.tmp").write_bytes(content[: len(content) // 2])
        os.kill(os.getpid(), signal.SIGKILL)

    assert halved is not half
    for kind in (folder.Folder, Remote):
        for name in ("write", "remove") if kind is folder.Folder else ("send", "write", "remove"):
            setattr(kind, name, counted(getattr(kind, name)))
    start.mirrored = lambda *given, **options: mirrored(*given, **{**options, "waits": True})  # each checkpoint is sent


def main() -> None:
    mirror, folder, *points = sys.argv[1:]
    untrained_run(Path(folder) / "first", TINY, backend="torch")  # so that no child has to import anything
    for number, point in enumerate(points):
        child = os.fork()
        if child == 0:
            dying_at(int(point))
            untrained_run(Path(folder) / str(number), TINY, mirror=f"{mirror}/{number}", **OPTIONS)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
