"""What a control loop is asked for: each option once, with its kind and its limits."""

import importlib
from dataclasses import dataclass
from typing import Annotated, Any, cast

from polyak.deploy.drive.pilot import WhenLate
from polyak.deploy.drive.steered import StopOn
from polyak.errors import UsageError
from polyak.settings.kinds import ABOVE_0, Count, Limit, Seed, check_fields, require
from polyak.settings.options import IN_TIME
from polyak.system.foreign import foreign, not_imported

FASTEST = 10_000.0
RATE = Limit(f"above 0 and at most {FASTEST:,.0f}", lambda rate: 0 < rate <= FASTEST)


class Stopping:
    """The kind of `stop_on`: a function, or a text `module:function`."""

    @staticmethod
    def of(name: str, value: Any) -> StopOn:
        """The function; the module of one that is named is imported.

        Raises:
            UsageError: there is none.
        """
        if not isinstance(value, str):
            require(name, value, callable(value) and not isinstance(value, type), "a function, or module:function")
            return cast(StopOn, value)
        module, _, function = value.partition(":")
        words = [*module.split("."), function]
        require(name, value, all(each.isidentifier() for each in words), "a function, or module:function")
        with foreign(lambda error: not_imported(f"{name} is {value!r}", module, error)):
            found = getattr(importlib.import_module(module), function, None)
        if not callable(found):
            raise UsageError(f"{name} is {value!r}, but {module!r} has no function {function!r}")
        return cast(StopOn, found)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What `drive` takes besides run and environment; each is checked, and kept as plain Python."""

    rate: Annotated[float, RATE]
    steps: Count | None = None
    episodes: Count | None = None
    when_late: WhenLate = "repeat"
    action_rate_limit: Annotated[float | None, ABOVE_0] = None
    stop_on: Stopping | None = None
    seed: Seed = 0
    deterministic: bool = True
    step_timeout: Annotated[float | None, IN_TIME] = 600.0
    learn: bool = False
    queue_size: Count = 1_000

    def __post_init__(self) -> None:
        check_fields(self, Asked)

    @property
    def asks(self) -> StopOn | None:
        """`stop_on`, as it is called."""
        return cast(Any, self.stop_on)
