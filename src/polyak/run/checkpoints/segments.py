"""Replay on disk: immutable segments, so that a checkpoint costs the transitions that are new."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polyak.errors import UsageError
from polyak.experience.links import NO_EPISODE
from polyak.experience.replay import Replay
from polyak.run.checkpoints.manifest import File, Segment
from polyak.system.arrayfiles import Form, arrays_in, content_of, version_in
from polyak.types import Arrays, Float

FORM = Form("polyak-replay", 2, "replay segment", ("F32", "I32"))
"""`records` [n, 2 O + A + 3] as replay has them, and `episodes` [n]. Of version 1 are `records` [n, 2 O + A + 2] alone,
which say neither whether an episode was cut off nor which it was."""
SMALL, LARGE = 1_000_000, 64_000_000
"""Bytes: the last segment is written anew, together with what is new, while it is smaller than the one; no segment is
larger than the other. The one bounds how many files there are, the other how much memory is taken to write and read."""
HEADER = 1_000
"""Bytes that a segment's header takes at most."""


def append(replay: Replay, segments: Sequence[Segment], write: Callable[[int, bytes], File]) -> tuple[Segment, ...]:
    """Write what is new in replay; `segments` are those of the last checkpoint.

    Args:
        replay: all of it.
        segments: what is on disk already, oldest first.
        write: makes a file of a segment's first number and content.

    Returns:
        The segments that hold the replay as it is now: new ones, and those of the old that the ring has not passed.
    """
    oldest, row = replay.oldest, replay.row_bytes
    kept = [segment for segment in segments if segment.end > oldest]
    if kept and kept[-1].count * row < SMALL and kept[-1].end < replay.added:
        kept.pop()
    first = max(kept[-1].end if kept else oldest, oldest)
    step = max(LARGE // row, 1)
    for start in range(first, replay.added, step):
        end = min(start + step, replay.added)
        arrays = {"records": replay.records(start, end), "episodes": replay.episodes(start, end)}
        content = content_of(FORM, arrays, {"first": str(start)})
        kept.append(Segment(write(start, content), start, end - start))
    return tuple(kept)


def load(
    replay: Replay, added: int, segments: Sequence[Segment], read: Callable[[File, int], bytes], folder: Path
) -> None:
    """Fill an empty replay from segments, of which `read` gives the checked content, of so many bytes at most.

    Raises:
        UsageError: a segment is missing or damaged, or transitions are missing between them.
    """
    oldest = max(0, added - replay.capacity)
    ends = [segment.end for segment in segments]
    adjoining = all(one.end == other.first for one, other in pairwise(segments))
    if not adjoining or (ends[-1:] or [0]) != [added] or (segments and segments[0].first > oldest):
        raise UsageError(f"a checkpoint in {folder} does not hold all transitions from {oldest:,} to {added:,}")
    for segment in segments:
        replay.restore(segment.first, *_records(replay, segment, read, folder))


def _records(
    replay: Replay, segment: Segment, read: Callable[[File, int], bytes], folder: Path
) -> tuple[Float, NDArray[np.int32]]:
    """A segment's records [n, 2 O + A + 3] and episodes [n]."""
    path, count, width = folder / segment.file.name, segment.count, replay.layout.width
    if count > max(LARGE // ((width - 1) * 4), 1):  # the rows of format 1
        raise UsageError(f"{path} is said to hold {count:,} transitions, more than a segment has")
    content = read(segment.file, count * replay.row_bytes + HEADER)
    earlier = version_in(content, path) == "1"
    expected: Arrays = {"records": np.broadcast_to(np.float32(0), (count, width - earlier))}  # shapes without memory
    if not earlier:
        expected["episodes"] = np.broadcast_to(np.int32(0), count)
    arrays, metadata = arrays_in(content, path, FORM, expected)
    if metadata.get("first") != str(segment.first):
        raise UsageError(f"{path} begins with transition {metadata.get('first')}, not with {segment.first}")
    if earlier:
        return np.pad(arrays["records"], [(0, 0), (0, 1)]), np.full(count, NO_EPISODE, np.int32)
    return arrays["records"], arrays["episodes"]
