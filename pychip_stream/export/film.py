"""Time-lapse: the overlay beside the curve as a film, mp4 or gif."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from pychip_stream.archive.disk import writing
from pychip_stream.domain.progress import Progress, no_progress
from pychip_stream.errors import ArchiveError
from pychip_stream.export.curves import Panel, curve_of, curve_panel
from pychip_stream.export.kinds import (
    ExportKind,
    ExportSource,
    PixelReader,
)
from pychip_stream.export.pictures import Legend, Rgb, Studio, with_legend

if TYPE_CHECKING:
    from pychip_stream.archive.run import Run

MP4_FRAMES = 750
GIF_FRAMES = 150
_MP4_EDGE = 640
_GIF_EDGE = 360
_MIN_EDGE = 320
_GAP = 12
_FADED = 0.2
"""How much of the curve's future is left on the picture."""


def export_mp4(
    run: Run,
    path: str | Path,
    read_pixels: PixelReader,
    *,
    fps: float = 25.0,
    max_frames: int = MP4_FRAMES,
    progress: Progress = no_progress,
) -> int:
    """Write a film (H.264 in mp4) of the overlay beside the curve.

    Parameters
    ----------
    read_pixels
        (path, index) → (H, W) counts, or None where they are gone; then the label map alone is
        shown.
    fps
        Pictures per second of the film.
    max_frames
        Longer runs are shown in evenly spaced frames.

    Returns
    -------
    Number of pictures.
    """
    film = _Film(run, read_pixels, _MP4_EDGE, max_frames, progress)
    with writing(Path(path)) as temporary:
        _encode(temporary, film.pictures(), fps)
    return len(film.chosen)


def export_gif(
    run: Run,
    path: str | Path,
    read_pixels: PixelReader,
    *,
    fps: float = 10.0,
    max_frames: int = GIF_FRAMES,
    progress: Progress = no_progress,
) -> int:
    """Write the same film as an endless gif, smaller; see `export_mp4`."""
    film = _Film(run, read_pixels, _GIF_EDGE, max_frames, progress)
    pictures = (
        Image.fromarray(p).quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        for p in film.pictures()
    )
    with writing(Path(path)) as temporary:
        first = next(pictures)
        # Hundredths of a second are the unit of the format; viewers slow down below two.
        duration = max(round(100 / fps), 2) * 10
        first.save(
            temporary, format="GIF", save_all=True, append_images=pictures, duration=duration,
            loop=0,
        )  # fmt: skip
    return len(film.chosen)


def chosen_frames(run: Run, limit: int) -> list[int]:
    """Pick evenly spaced frames that the scoring covers, the first and the last among them."""
    covered = run.covered
    if not len(covered):
        raise ArchiveError(f"{run.path}: has no classified frame to draw")
    count = min(max(limit, 1), len(covered))
    places = np.unique(np.linspace(0, len(covered) - 1, count).round().astype(int))
    return [int(n) for n in covered[places]]


class _Film:
    """Pictures of one size: frame and scale bar on the left, the curve so far on the right."""

    def __init__(
        self, run: Run, read_pixels: PixelReader, edge: int, most: int, progress: Progress
    ) -> None:
        self.chosen = chosen_frames(run, most)
        self._progress = progress
        self._run = run
        self._studio = Studio(run, read_pixels)
        self._edge = edge
        self._time = run.columns("time")["time"] - run.start

    def pictures(self) -> Iterator[Rgb]:
        """(H, W, 3) uint8 each, with even H and W."""
        box: tuple[int, int] | None = None
        panel: Panel | None = None
        for done, number in enumerate(self.chosen):
            left = self._left(number, box)
            if panel is None:
                box = (left.width, left.height)
                panel = curve_panel(curve_of(self._run), left.height)
            curve = _until(panel, self._time[number])
            gap = np.full((left.height, _GAP, 3), 255, np.uint8)
            yield _even(np.hstack([np.asarray(left), gap, curve]))
            self._progress(done + 1, len(self.chosen))

    def _left(self, number: int, box: tuple[int, int] | None) -> Image.Image:
        """Frame with title and scale bar, fitted into a box of width and height."""
        view = self._studio.view(number)
        picture, factor = _scaled(view.best, self._edge)
        size, unit = self._studio.pixel_size(view)
        legend = Legend((), None if size is None else size / factor, unit, self._studio.title(view))
        made = with_legend(np.asarray(picture), legend)
        if box is None or made.size == box:
            return made
        made.thumbnail(box)
        canvas = Image.new("RGB", box, "white")
        canvas.paste(made, (0, 0))
        return canvas


def _scaled(picture: Rgb, edge: int) -> tuple[Image.Image, float]:
    """Picture whose longer edge has at most `edge` pixels (and not few), and the factor."""
    image = Image.fromarray(picture)
    longer = max(image.size)
    if longer > edge:
        factor = edge / longer
        size = (max(round(image.width * factor), 1), max(round(image.height * factor), 1))
        return image.resize(size, Image.Resampling.BOX, reducing_gap=2.0), factor
    times = max(_MIN_EDGE // longer, 1)
    size = (image.width * times, image.height * times)
    return image.resize(size, Image.Resampling.NEAREST), float(times)


def _until(panel: Panel, time: float) -> Rgb:
    """Curve with the time after `time` faded, and a line there."""
    out = panel.picture.copy()
    top, bottom, left, right = panel.area
    x = int(np.clip(round(panel.start + panel.pixels_per_s * time), left, right))
    future = out[top:bottom, x:right].astype(np.float32)
    out[top:bottom, x:right] = (255 - (255 - future) * _FADED).astype(np.uint8)
    out[top:bottom, max(x - 1, 0) : x + 1] = 60
    return out


def _even(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Pad to an even height and width, which H.264 asks for."""
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), constant_values=255)


def _encode(path: Path, pictures: Iterator[Rgb], fps: float) -> None:
    import av  # a large library that nothing else needs

    first = next(pictures)
    try:
        with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
            stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
            stream.height, stream.width = first.shape[:2]
            stream.pix_fmt = "yuv420p"
            stream.options = {"crf": "20", "preset": "veryfast"}
            for picture in chain([first], pictures):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
    except av.FFmpegError as error:
        raise OSError(error.errno or 0, error.strerror or str(error)) from error


def _export(write: Callable[..., int], source: ExportSource, path: Path, told: Progress) -> None:
    options = {"fps": source.fps, "max_frames": source.max_frames}
    chosen = {name: value for name, value in options.items() if value is not None}
    write(source.run, path, source.read_pixels, progress=told, **chosen)


MP4 = ExportKind(
    "mp4", "overlay beside the curve", ".mp4", "video/mp4", partial(_export, export_mp4),
    label="mp4", pixels=True, film=True, strict=True, place=7,
)  # fmt: skip
GIF = ExportKind(
    "gif", "the same, smaller", ".gif", "image/gif", partial(_export, export_gif),
    label="gif", pixels=True, film=True, strict=True, place=8,
)  # fmt: skip
