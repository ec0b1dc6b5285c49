"""Animated GIFs: one palette of 256 colours, chosen by all frames, a size that can be sent, a rate that is shown."""

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from polyak.policies.recording.pictures import Frame
from polyak.policies.recording.video import fitted, placed, video, writing

GIF = ".gif"
LONGEST = 480
"""Pixels of the longer side at most, of one run."""
FASTEST = 50
"""Frames a second at most: a GIF counts in hundredths of a second, and browsers slow down what is below two."""


@contextmanager
def gif(path: Path, fps: Fraction | float, longest: int = LONGEST) -> Generator[Callable[[Frame], None]]:
    """Write a GIF that plays for ever: a context that gives a function to add a frame.

    Frames whose longer side has more than `longest` pixels are shrunk; of more than `FASTEST` frames a second, every
    second, third, ... is kept. The palette is of all frames, which are kept on the disk meanwhile.

    Raises:
        UsageError: a frame of another size than those before, or a file that cannot be written.
    """
    kept = math.ceil(Fraction(fps) / FASTEST)
    count = 0
    with placed(path) as temporary, TemporaryDirectory() as folder:
        frames = Path(folder) / "frames.mkv"
        with video(frames, Fraction(fps) / kept) as add_to_video:

            def add_frame(frame: Frame) -> None:
                nonlocal count
                if count % kept == 0:
                    add_to_video(fitted(frame, longest))
                count += 1

            yield add_frame
        with writing(path):
            _convert(frames, temporary, Fraction(fps) / kept)


def _convert(source: Path, target: Path, rate: Fraction) -> None:
    import av
    from av.filter import Graph

    palette = _palette(source)
    with av.open(str(source)) as frames, av.open(str(target), "w", format="gif") as container:
        video_stream = frames.streams.video[0]
        graph: Any = Graph()
        pictures, colours = graph.add_buffer(template=video_stream), _buffer_of(graph, palette)
        # an ordered pattern stays where it is from frame to frame, which packs well and does not flicker
        use = graph.add("paletteuse", "dither=bayer:bayer_scale=4:diff_mode=rectangle")
        end = graph.add("buffersink")
        pictures.link_to(use, 0, 0)
        colours.link_to(use, 0, 1)
        use.link_to(end)
        graph.configure()
        colours.push(palette)
        colours.push(None)
        stream: Any = container.add_stream("gif", rate=rate.limit_denominator(1001))
        stream.height, stream.width, stream.pix_fmt = video_stream.height, video_stream.width, "pal8"
        for number, frame in enumerate(_through(pictures, end, frames.decode(video_stream))):
            frame.pts, frame.time_base = number, 1 / rate.limit_denominator(1001)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _palette(source: Path) -> Any:
    """A picture of the 256 colours, 16 x 16."""
    import av
    from av.filter import Graph

    with av.open(str(source)) as frames:
        graph: Any = Graph()
        begin = graph.add_buffer(template=frames.streams.video[0])
        choose = graph.add("palettegen", "stats_mode=full:reserve_transparent=1")
        end = graph.add("buffersink")
        begin.link_to(choose)
        choose.link_to(end)
        graph.configure()
        (palette,) = _through(begin, end, frames.decode(video=0))
    return palette


def _buffer_of(graph: Any, frame: Any) -> Any:
    size: dict[str, Any] = {"width": frame.width, "height": frame.height, "format": frame.format.name}
    return graph.add_buffer(**size, time_base=Fraction(1, 100))


def _through(begin: Any, end: Any, frames: Any) -> Generator[Any]:
    """What comes out of a graph of filters, for what goes in."""
    from av import error

    for frame in chain(frames, (None,)):  # None says that there are no more
        begin.push(frame)
        while True:
            try:
                yield end.pull()
            except (error.BlockingIOError, error.EOFError):
                break
