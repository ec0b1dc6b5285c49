"""One process at a time asks and tells a study: which one is noted in the study, with a sign of life.

Runs of one search spread over machines by where they run, not by several searches side by side. Whether the process
that is noted is alive, its machine knows; of another machine's, the sign of life tells, which is looked at twice, so
that no two clocks have to agree.
"""

import os
import secrets
import socket
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import psutil

from polyak.errors import TrainingError, UsageError

if TYPE_CHECKING:
    from optuna import Study

NOTE = "driver"
"""The study's attribute that says who asks and tells."""
BEAT_SECONDS = 10.0
"""Between two signs of life."""
WATCHED_SECONDS = 25.0
"""How long another machine's sign of life is waited for."""
APART = 1.0
"""Seconds by which two readings of one process's start may differ."""


def myself() -> dict[str, Any]:
    """This process, as trials and studies note it."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": psutil.Process().create_time()}


class Owner:
    """This process as the one that asks and tells; `take` it, `beat` often, `release` it at the end."""

    def __init__(self, study: "Study") -> None:
        self._study, self._token = study, secrets.token_hex(8)
        self._beats, self._last = 0, 0.0

    def take(self) -> None:
        """Become it.

        Raises:
            UsageError: another process is, and lives.
        """
        noted = self._noted()
        if noted and _is_alive_here(noted):
            raise UsageError(_busy(noted, "it is running here"))
        if noted and noted.get("host") != socket.gethostname() and self._beats_elsewhere(noted):
            raise UsageError(_busy(noted, "it has just given a sign of life"))
        self._say()

    def beat(self) -> None:
        """Give a sign of life, if one is due.

        Raises:
            TrainingError: another process has taken the study.
        """
        if time.monotonic() - self._last < BEAT_SECONDS:
            return
        noted = self._noted()
        if noted.get("token") != self._token:
            raise TrainingError(
                f"process {noted.get('pid')} on {noted.get('host')} has taken the study: the runs here are saved, and "
                "its driver goes on without them"
            )
        self._say()

    def release(self) -> None:
        """Be it no longer."""
        if self._noted().get("token") == self._token:
            self._study.set_user_attr(NOTE, None)

    def _say(self) -> None:
        self._beats, self._last = self._beats + 1, time.monotonic()
        self._study.set_user_attr(NOTE, {**myself(), "token": self._token, "beats": self._beats})

    def _noted(self) -> Mapping[str, Any]:
        found: Any = self._study.user_attrs.get(NOTE)
        return cast(Mapping[str, Any], found) if isinstance(found, dict) else {}

    def _beats_elsewhere(self, noted: Mapping[str, Any]) -> bool:
        until = time.monotonic() + WATCHED_SECONDS
        while time.monotonic() < until:
            if self._noted() != noted:
                return bool(self._noted())
            time.sleep(min(1.0, WATCHED_SECONDS / 10))
        return False


def _is_alive_here(noted: Mapping[str, Any]) -> bool:
    """Whether it is a process of this machine that lives: the very one, since numbers are given again."""
    if noted.get("host") != socket.gethostname():
        return False
    try:
        return abs(psutil.Process(int(noted["pid"])).create_time() - float(noted["started"])) < APART
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False


def _busy(noted: Mapping[str, Any], sign: str) -> str:
    return (
        f"the study is asked and told by process {noted.get('pid')} on {noted.get('host')}, and {sign}: one process at "
        "a time does; wait for it or end it, or name another --study"
    )
