"""Where the time went, and what would change it."""

from collections.abc import Iterable, Mapping

from polyak.run.metrics import Record
from polyak.system.stopwatch import PARTS

WAITING = "collectors/waiting"
LEADS = (
    (
        "learner",
        0.5,
        "more environments will not help; a smaller network or batch, fewer updates per step, or a GPU would",
    ),
    (
        "environment",
        0.4,
        "--envs with --vectorization async steps several at once, up to one for each core",
    ),
    ("evaluation", 0.3, "fewer evaluation_episodes or a larger steps_per_epoch would leave more of it for training"),
    ("acting", 0.3, "more environments (--envs) act in one batch, which costs little more than one action"),
    ("replay", 0.3, "it copies whole observations: smaller ones, or a smaller batch, would make it cheaper"),
    (
        "callbacks",
        0.2,
        "they are called in the run's own process, which waits for them: let them do less, or less often",
    ),
    ("saving", 0.1, "a larger --checkpoint-every or steps_per_epoch, or a faster disk, would save most of it"),
)
"""Each part, the share from which on it is worth a word, and the word."""


def time_spent(records: Iterable[Iterable[Record]]) -> dict[str, float]:
    """Seconds in each part, summed over the runs; empty where they were not measured."""
    total = dict.fromkeys(PARTS, 0.0)
    for record in (record for run in records for record in run):
        for part in PARTS:
            total[part] += record.get(f"time/{part}", 0.0)
    return total if sum(total.values()) > 0 else {}


COLLECTORS = {
    "environment": "the learner waits for its collectors: more of them, or fewer envs in each, would deliver sooner",
    "learner": "the collectors wait for it: fewer would do; a smaller network or batch, fewer updates per step, or a "
    "GPU would let them deliver more",
}
"""The words for runs whose environments are stepped by collectors."""


def collectors_waited(records: Iterable[Iterable[Record]]) -> float | None:
    """The share of their time in which collectors had no order, over all records; None where there were none."""
    shares = [record[WAITING] for run in records for record in run if WAITING in record]
    return sum(shares) / len(shares) if shares else None


def advice(spent: Mapping[str, float], waited: float | None = None) -> str:
    """One sentence about what to change first, or that nothing stands out.

    `waited` is the share of their time in which collectors waited, if the runs had any.
    """
    whole = sum(spent.values())
    words = {} if waited is None else COLLECTORS
    for part, enough, remedy in LEADS:
        share = spent.get(part, 0.0) / whole
        if share >= enough and part in words:
            theirs = f", and the collectors wait {100 * (waited or 0.0):.0f} % of theirs"
            return f"{100 * share:.0f} % of the time is {_named(part)}{theirs}: {words[part]}."
        if share >= enough:
            return f"{100 * share:.0f} % of the time is {_named(part)}: {remedy}."
    return "No part stands out: nothing that takes a minute to change would save much time."


def _named(part: str) -> str:
    return {"learner": "the learner", "environment": "the environment"}.get(part, part)
