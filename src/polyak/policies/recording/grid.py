"""Several recordings side by side in one video: a grid, in which each keeps its own rate and waits for the others."""

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from polyak.policies.recording import Recording
from polyak.policies.recording.gif import GIF, gif
from polyak.policies.recording.pictures import Frame
from polyak.policies.recording.video import fitted, frames_in, video

MOST = 16
"""Recordings at most: 4 x 4."""
ROW = 3
"""So many are in one row; more are in about as many rows as columns."""
LONGEST = 1920
"""Pixels of the longer side of a video of a grid at most."""
LONGEST_GIF = 960
GAP = 4
"""Pixels between two, and around all where one is smaller than its place."""
BETWEEN = 24
"""The grey of what is no picture, of 255."""


def write_grid(path: Path, recordings: Sequence[Recording]) -> None:
    """Write a video, or a GIF, with lossless recordings side by side, in rows, in their order.

    Episodes begin together: where one ends earlier, its last frame stays until all have ended. The rate is the highest
    of theirs. Pictures keep their proportions; they are shrunk where the whole would be too large, and a smaller one is
    in the middle of its place.

    Raises:
        UsageError: the file cannot be written.
    """
    columns, rows = layout(len(recordings))
    longest = LONGEST_GIF if path.suffix.lower() == GIF else LONGEST
    write: Any = partial(gif, longest=longest) if path.suffix.lower() == GIF else video
    rate = max(recording.rate for recording in recordings)
    cells = [_Cell(recording, rate, (longest - GAP * columns) // max(columns, rows)) for recording in recordings]
    with write(path, rate) as add_frame:
        for episode in range(max(len(recording.begins) for recording in recordings)):
            for number in range(max(cell.length(episode) for cell in cells)):
                add_frame(_composed([cell.at(episode, number) for cell in cells], columns, rows))


def layout(count: int) -> tuple[int, int]:
    """Columns and rows of so many."""
    columns = count if count <= ROW else math.ceil(math.sqrt(count))
    return columns, math.ceil(count / columns)


class _Cell:
    """One recording, of which frames are asked for in their order."""

    def __init__(self, recording: Recording, rate: Fraction, longest: int) -> None:
        self._slower = recording.rate / rate
        self._bounds = (*recording.begins, recording.frames)
        self._frames = enumerate(frames_in(recording.path))
        self._longest = longest
        self._number, self._frame = next(self._frames)

    def length(self, episode: int) -> int:
        """Frames of an episode at the grid's rate; none where there is no such."""
        if episode + 1 >= len(self._bounds):
            return 0
        return math.ceil((self._bounds[episode + 1] - self._bounds[episode]) / self._slower)

    def at(self, episode: int, number: int) -> Frame:
        """What is to be seen in this frame of the grid's episode: after the end, the last of all."""
        last = self._bounds[min(episode + 1, len(self._bounds) - 1)] - 1
        wanted = last if episode + 1 >= len(self._bounds) else self._bounds[episode] + math.floor(number * self._slower)
        while self._number < min(wanted, last):
            self._number, frame = next(self._frames)
            self._frame = frame
        return fitted(self._frame, self._longest)


def _composed(frames: Sequence[Frame], columns: int, rows: int) -> Frame:
    """One picture of several."""
    height, width = (max(frame.shape[axis] for frame in frames) for axis in (0, 1))
    whole = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), BETWEEN, np.uint8)
    for index, frame in enumerate(frames):
        row, column = divmod(index, columns)
        top = row * (height + GAP) + (height - frame.shape[0]) // 2
        left = column * (width + GAP) + (width - frame.shape[1]) // 2
        whole[top : top + frame.shape[0], left : left + frame.shape[1]] = frame
    return whole
