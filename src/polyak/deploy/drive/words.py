"""What is said of a control loop before it begins, and where it fails."""

from polyak.deploy.drive.asked import Asked
from polyak.deploy.drive.report import Drive
from polyak.errors import NonFiniteError, TrainingError


def failed(error: Exception, report: Drive) -> Exception:
    """The error of a loop that has ended, as it is raised: a number that is not finite is no wrong call here."""
    if not isinstance(error, NonFiniteError):
        return error
    made = TrainingError(f"{error}, after {report.steps:,} steps: the loop has ended")
    made.__cause__ = error
    return made


LATE = {
    "repeat": "the last action once more",
    "middle": "the middle of the action box",
    "stop": "the end",
}
"""What a late policy is answered with, in words."""


def facts(asked: Asked) -> dict[str, str]:
    """What is worth knowing before the loop begins."""
    said = {
        "rate": f"{asked.rate:g} steps a second, {1000 / asked.rate:g} ms each, by the clock: not bit for bit",
        "late policy": LATE[asked.when_late],
    }
    if asked.action_rate_limit is not None:
        said["actions"] = f"change by at most {asked.action_rate_limit:g} a second, in their own units"
    return said
