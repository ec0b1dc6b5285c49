"""When gradient steps are due, and in which pieces they are computed."""

from polyak.algorithms.settings import Settings


class UpdateSchedule:
    """How many updates are due after environment steps, by the ratio per environment step, whatever N is."""

    def __init__(self, config: Settings) -> None:
        self._config = config
        self.owed = 0.0
        """The fraction of an update that is carried over."""

    def due(self, before: int, after: int) -> int:
        """Updates due when the run's steps go from `before` to `after`.

        At every multiple of `update_every` from `update_after` on, `update_every * updates_per_step` more are due; a
        fraction is carried over.
        """
        every = self._config.update_every
        bursts = after // every - max(before, self._config.update_after - 1) // every
        if after < self._config.update_after or bursts < 1:
            return 0
        self.owed += bursts * every * self._config.updates_per_step
        due = int(self.owed + 1e-9)
        self.owed -= due
        return due


def pieces(due: int) -> list[int]:
    """A number of updates as a sum of powers of four, the largest first: 27 is 16 + 4 + 4 + 1 + 1 + 1.

    Each length of a burst is a program to be compiled. Cut like this, bursts of all lengths up to 16 take three.
    """
    found, power = list[int](), 4 ** (max(due, 1).bit_length() // 2)
    while due:
        found += [power] * (due // power)
        due, power = due % power, power // 4
    return found
