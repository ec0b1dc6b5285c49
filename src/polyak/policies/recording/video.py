"""Video files, written frame by frame: H.264 that plays in a browser, and FFV1 that loses nothing."""

import math
import os
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np

from polyak.errors import UsageError
from polyak.policies.recording.pictures import Frame
from polyak.system.files import prepare_to_write

USUAL_RATE = 30
"""Frames per second where the environment does not say."""
HIGHEST_RATE = 100_000


@dataclass(frozen=True)
class Form:
    """How frames are kept in a file."""

    container: str
    codec: str
    pixels: str
    options: dict[str, str] = field(default_factory=dict[str, str])
    container_options: dict[str, str] = field(default_factory=dict[str, str])
    even: bool = False
    """Whether it takes even sizes only."""


SHARED = Form("mp4", "h264", "yuv420p", {"crf": "20"}, {"movflags": "faststart"}, even=True)  # what browsers play
LOSSLESS = Form("matroska", "ffv1", "bgr0")
FORMS = {".mp4": SHARED, ".mkv": LOSSLESS}


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
    """Write a video in the form of the path's ending: a context that gives a function to add a frame.

    Raises:
        UsageError: a frame of another size than those before, or a file that cannot be written.
    """
    import av

    form = FORMS[path.suffix.lower()]
    stream: Any = None
    with ExitStack() as stack:
        temporary = stack.enter_context(placed(path))
        stack.enter_context(writing(path))
        opened: Any = av.open(str(temporary), "w", format=form.container, options=form.container_options)
        with opened as container:

            def add_frame(frame: Frame) -> None:
                nonlocal stream
                frame = _even(frame) if form.even else frame
                if stream is None:
                    stream = container.add_stream(form.codec, rate=Fraction(fps).limit_denominator(1001))
                    stream.height, stream.width = frame.shape[:2]
                    stream.pix_fmt, stream.options = form.pixels, dict(form.options)
                if frame.shape[:2] != (stream.height, stream.width):
                    raise UsageError(
                        f"the environment cannot be recorded: its render() gives a frame of {frame.shape[:2]} after "
                        f"some of {(stream.height, stream.width)} (height, width), but a video has one size"
                    )
                with writing(path):
                    for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                        container.mux(packet)

            yield add_frame
            if stream is None:
                raise UsageError("the environment cannot be recorded: its render() gave no frame in any step")
            for packet in stream.encode():
                container.mux(packet)


def frames_in(path: Path) -> Generator[Frame]:
    """The frames of a video file, one after another."""
    import av

    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield cast(Frame, frame.to_ndarray(format="rgb24"))


@contextmanager
def placed(path: Path) -> Generator[Path]:
    """Where to write what is to be at a path once it is whole. A failure leaves no file, and an older one as it is."""
    prepare_to_write(path)
    # absolute: PyAV takes what begins with s3: or pipe: for no file
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp").absolute()
    temporary.unlink(missing_ok=True)  # never through a link that somebody left there
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Generator[None]:
    """Say of which file it is that it cannot be written, so that no environment is blamed for a full disk."""
    from av.error import FFmpegError

    try:
        yield
    except FFmpegError as error:
        raise UsageError(f"cannot write the video {path}: {error}") from error


def fitted(frame: Frame, longest: int) -> Frame:
    """A frame whose longer side is at most `longest` pixels, its proportions kept; a smaller one is as it is."""
    import av

    height, width = frame.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return frame
    size: dict[str, Any] = {"height": max(1, round(height * scale)), "width": max(1, round(width * scale))}
    shrunk = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(**size, interpolation="AREA")
    return cast(Frame, shrunk.to_ndarray(format="rgb24"))


def _even(frame: Frame) -> Frame:
    """H.264 with yuv420p takes even sizes only: drop an odd last row or column, or double the only one."""
    height, width = frame.shape[:2]
    frame = np.repeat(frame, 2 if height == 1 else 1, axis=0)
    frame = np.repeat(frame, 2 if width == 1 else 1, axis=1)
    height, width = frame.shape[:2]
    return np.ascontiguousarray(frame[: height - height % 2, : width - width % 2])
