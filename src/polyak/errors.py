"""What polyak raises on purpose; the command line turns each into one clear line and an exit code."""


class UsageError(ValueError):
    """The caller asked for what cannot be: the message names the value, the limit and the remedy (exit code 2)."""


class UnreadableError(UsageError):
    """A file is missing or damaged."""


class UnavailableError(UsageError):
    """A file cannot be read just now, for want of memory, say; nothing says that it is damaged."""


class NonFiniteError(UsageError):
    """A policy was shown a number that is not finite, or computed one: a robot's loop catches this and stops safely."""


class NewerFormatError(UsageError):
    """A file of a format that a later polyak wrote: upgrade polyak."""


class TrainingError(RuntimeError):
    """Training or an environment went wrong while running; everything up to then has been saved (exit code 1)."""


class SavingError(TrainingError):
    """A file of the run could not be written, for example on a full disk; the last checkpoint is whole."""


class ReplacedError(TrainingError):
    """Another attempt has taken this run over where its copy lies; this one is saved here, and writes no more there."""


class BehindError(TrainingError):
    """A run is saved here as it ended, but its mirror does not have all of it."""


class Interrupted(KeyboardInterrupt):
    """A signal ended the run after everything was saved (exit code 128 + the signal's number: 130 for Ctrl-C)."""

    def __init__(self, signal_number: int, folder: str) -> None:
        super().__init__(f"interrupted; everything is saved, and this goes on: polyak resume {folder}")
        self.signal_number = signal_number
