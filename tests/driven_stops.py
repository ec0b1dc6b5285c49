"""What the tests of the control loop name on a command line: functions for --stop-on, an environment with a Ctrl-C."""

import signal
from typing import Any

import gymnasium

from tiny_cli import Tiny


def never(observation: Any, action: Any, reward: float, info: Any) -> bool:
    return False


class Interrupting(Tiny):
    """Somebody presses Ctrl-C in its third step."""

    def step(self, action: Any) -> Any:
        if self.taken == 2:
            signal.raise_signal(signal.SIGINT)
        return super().step(action)


gymnasium.register("Interrupting-v0", entry_point=Interrupting)
