"""H.264 files that play in a browser, written frame by frame."""

import math
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from polyak.errors import UsageError
from polyak.policies.recording.pictures import Frame
from polyak.system.files import prepare_to_write

USUAL_RATE = 30
"""Frames per second where the environment does not say."""
HIGHEST_RATE = 100_000


def rate_of(metadata: Any) -> Fraction:
    """Frames per second as an environment's metadata say them, as a fraction: 29.97 is 2997/100."""
    try:
        asked = float(metadata.get("render_fps") or USUAL_RATE)
    except (TypeError, ValueError):
        asked = math.nan
    rate = Fraction(asked).limit_denominator(1001) if 0 < asked <= HIGHEST_RATE else Fraction(0)
    return rate or Fraction(USUAL_RATE)


@contextmanager
def video(path: Path, fps: Fraction | float) -> Generator[Callable[[Frame], None]]:
    """Write an H.264 mp4: a context that gives a function to add a frame. A failure leaves no file.

    Raises:
        UsageError: a frame of another size than those before, or a file that cannot be written.
    """
    import av

    prepare_to_write(path)
    # absolute: PyAV takes what begins with s3: or pipe: for no file
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp").absolute()
    temporary.unlink(missing_ok=True)  # never through a link that somebody left there
    stream: Any = None
    try:
        with _writing(path), av.open(str(temporary), "w", format="mp4", options={"movflags": "faststart"}) as container:

            def add_frame(frame: Frame) -> None:
                nonlocal stream
                frame = _even(frame)
                if stream is None:
                    stream = container.add_stream("h264", rate=Fraction(fps).limit_denominator(1001))
                    stream.height, stream.width = frame.shape[:2]
                    stream.pix_fmt = "yuv420p"  # what browsers play
                    stream.options = {"crf": "20"}
                if frame.shape[:2] != (stream.height, stream.width):
                    raise UsageError(
                        f"the environment cannot be recorded: its render() gives a frame of {frame.shape[:2]} after "
                        f"some of {(stream.height, stream.width)} (height, width), but a video has one size"
                    )
                with _writing(path):
                    for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                        container.mux(packet)

            yield add_frame
            if stream is None:
                raise UsageError("the environment cannot be recorded: its render() gave no frame in any step")
            for packet in stream.encode():
                container.mux(packet)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _writing(path: Path) -> Generator[None]:
    """Say of which file it is that it cannot be written, so that no environment is blamed for a full disk."""
    from av.error import FFmpegError

    try:
        yield
    except FFmpegError as error:
        raise UsageError(f"cannot write the video {path}: {error}") from error


def _even(frame: Frame) -> Frame:
    """H.264 with yuv420p takes even sizes only: drop an odd last row or column, or double the only one."""
    height, width = frame.shape[:2]
    frame = np.repeat(frame, 2 if height == 1 else 1, axis=0)
    frame = np.repeat(frame, 2 if width == 1 else 1, axis=1)
    height, width = frame.shape[:2]
    return np.ascontiguousarray(frame[: height - height % 2, : width - width % 2])
