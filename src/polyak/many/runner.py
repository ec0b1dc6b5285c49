"""What runs on a node of a cluster: the process of one run, whose folder is sent to who asked for it.

An actor of Ray. It works in a folder of its own on the node, which goes with it; what is wanted is fetched by `look`.
"""

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import polyak
from polyak.errors import UsageError
from polyak.many.cluster import installed
from polyak.many.local import Process
from polyak.many.parcels import Inbox, Outbox, Parcel, within
from polyak.many.places import Job
from polyak.run.checkpoints.manifest import MANIFEST_NAME
from polyak.run.folder import Run
from polyak.run.mirror.copy import place
from polyak.system.locking import in_use, locked

LOOK_SECONDS, POLL_SECONDS = 2.0, 0.1
"""How long a look waits for news, and how often it looks."""
GOES_ON_WITHIN = 3600.0
"""Seconds that the running episodes of a run may take to be enacted again: it goes on bit for bit, without a person."""
UNWANTED = ("PYTHONBREAKPOINT", "PYTHONUNBUFFERED")
"""What Ray puts into the environment of its workers, and a person's shell does not have."""


class Runner:
    """One attempt at a run."""

    def __init__(self, attempt: int, version: str, *, gpu: bool) -> None:
        if version != polyak.__version__:
            raise RuntimeError(f"it has polyak {polyak.__version__}, this is {version}: use the same on all machines")
        self._attempt = attempt
        self._process: Process | None = None
        self._outbox: Outbox | None = None
        self._said = 0
        self._scratch = ExitStack()
        self._place = _own_folder(self._scratch)
        for name in UNWANTED:
            os.environ.pop(name, None)
        if not gpu:  # whatever this Ray leaves visible to who asked for none
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        threading.Thread(target=self._end_with_node, args=(os.getppid(),), daemon=True).start()

    def start(self, job: Job, folder: str, luggage: Sequence[Any]) -> Parcel:
        """Start its process: anew, or in a folder of which what is needed comes along, as objects of Ray."""
        words = job.words(self._place)
        if folder:
            here = self._place / within(folder)
            here.mkdir(parents=True)
            inbox = Inbox(here)
            for parcel in luggage:
                for piece in installed().get(parcel):
                    inbox.take(piece)
            inbox.close()
            where = _at_mirror(Run(here)) or str(here)
            limit = str(GOES_ON_WITHIN)
            words = ("resume", where, "--run-dir", str(self._place), "--plain", "--replay-seconds", limit)
        self._process = Process(words, self._place)
        return Parcel(self._attempt, node=installed().get_runtime_context().get_node_id())

    def look(self) -> Parcel:
        """What is new, as soon as there is something, or nothing after a while."""
        until = time.monotonic() + LOOK_SECONDS
        while True:
            parcel = self._parcel()
            if parcel.pieces or parcel.said or parcel.exit_code is not None or time.monotonic() > until:
                return parcel
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Ask it to save and end."""
        if self._process is not None:
            self._process.stop()

    def close(self) -> None:
        """Leave nothing on the node."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._scratch.close()

    def _end_with_node(self, raylet: int) -> None:
        """Ray's worker outlives its node's raylet, though nobody reaches it any more: end the run, and this process."""
        while os.getppid() == raylet:
            time.sleep(1.0)
        if self._process is not None:
            self._process.stop()
            self._process.wait()
        self._scratch.close()
        os._exit(1)

    def _parcel(self) -> Parcel:
        process = self._process
        if process is None:
            return Parcel(self._attempt)
        code = process.exit_code()  # before the rest is read, so that nothing written at the end is missed
        folder = process.folder()
        if folder is not None and self._outbox is None:
            self._outbox = Outbox(folder)
        pieces = self._outbox.take() if self._outbox else []
        rest = self._outbox is not None and (self._outbox.is_sending or bool(pieces))
        name = "" if folder is None else folder.relative_to(self._place).as_posix()
        return Parcel(self._attempt, name, tuple(pieces), self._newly_said(process), None if rest else code)

    def _newly_said(self, process: Process) -> bytes:
        with suppress(OSError), process.log.open("rb") as file:
            file.seek(self._said)
            said = file.read()
            self._said += len(said)
            return said
        return b""


def _at_mirror(run: Run) -> str:
    """Where a run lies at its mirror, if it does: what was sent there may have come further than what arrived here."""
    settings = run.settings_if_whole or {}
    if not settings.get("mirror"):
        return ""
    with suppress(UsageError):  # it does not answer; who goes on says so, if that matters
        store = place(settings["mirror"], settings)
        if any(MANIFEST_NAME.fullmatch(name.rpartition("/")[2]) for name in store.files()):
            return store.shown
    return ""


def _own_folder(stack: ExitStack) -> Path:
    """A folder that is there as long as the stack is open; those of workers that were killed are removed."""
    above = Path(tempfile.gettempdir()) / f"polyak-runs-{os.getuid()}"
    above.mkdir(mode=0o700, exist_ok=True)
    if above.stat().st_uid != os.getuid():
        raise PermissionError(f"{above} is somebody else's")
    for each in above.glob("run-*"):
        with suppress(UsageError):
            if not in_use(each):
                shutil.rmtree(each, ignore_errors=True)
    new = Path(tempfile.mkdtemp(prefix="new-", dir=above))
    stack.enter_context(locked(new))
    folder = new.rename(above / new.name.replace("new-", "run-"))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder
