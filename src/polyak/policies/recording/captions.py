"""Text in a frame's upper left corner, in the font that pygame brings along."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyak.policies.recording.pictures import Frame

DARKENED = 0.35
"""What is left of the picture behind the text."""
LINES = 22
"""Of text in the height of a picture."""
SMALLEST = 12
"""Pixels of a line at least."""
LONGEST = 60
"""Letters of a line that are drawn."""


def captioned(frame: Frame, lines: Sequence[str]) -> Frame:
    """A copy of a frame with white text on a darkened corner; what does not fit is cut off."""
    if not lines:
        return frame
    size = max(SMALLEST, min(frame.shape[:2]) // LINES)
    written = [_written(line, size) for line in lines]
    margin = max(2, size // 3)
    width = max(each.shape[1] for each in written)
    text = np.concatenate([np.pad(each, ((0, 0), (0, width - each.shape[1]))) for each in written])
    text = np.pad(text, margin)[: frame.shape[0], : frame.shape[1], None]
    frame = frame.copy()
    corner = frame[: text.shape[0], : text.shape[1]]
    corner[:] = np.rint(corner * DARKENED * (1 - text) + 255 * text)
    return frame


@lru_cache(maxsize=64)
def _written(line: str, size: int) -> NDArray[np.float32]:
    """[height, width]: how much of each pixel a line covers, from 0 to 1.

    A font is opened for each: an environment that quits pygame would take away one that was kept.
    """
    import pygame

    pygame.font.init()
    shown = "".join(letter if " " <= letter <= "~" else "?" for letter in line[:LONGEST])  # what the font has
    surface: Any = pygame.font.Font(None, size).render(shown, True, (255, 255, 255))
    pixels = np.frombuffer(pygame.image.tobytes(surface, "RGBA"), np.uint8)
    width, height = surface.get_size()
    return pixels.reshape(height, width, 4)[:, :, 3].astype(np.float32) / np.float32(255)
