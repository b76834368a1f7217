"""Workbench: frames, support sets and fits for all pages, on threads of its own."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from pychip_stream.analysis.drafting import Trial
from pychip_stream.archive.support_sets import save_support
from pychip_stream.config import Config
from pychip_stream.domain.chips import ChipSize, Grid
from pychip_stream.domain.frames import Frame, inside
from pychip_stream.domain.normalization import Normalization
from pychip_stream.domain.pixel_size import by_hand
from pychip_stream.domain.progress import Progress, no_progress
from pychip_stream.domain.support import Choice, SupportSet, compose
from pychip_stream.errors import PychipError
from pychip_stream.export.pictures import Rect, reduced, to_jpeg
from pychip_stream.wire.endpoints import request
from pychip_stream.wire.messages import SetPixelSize

from . import display
from .drafts import DraftState, Pick
from .fitting import Fitting
from .frame_pictures import FramePicture, Key
from .readers import Readers
from .recent import Recent
from .saved_sets import SavedSets

_FRAMES_KEPT = 4
_THUMB_PX = 48
_THUMBS_KEPT = 512


class Workbench:
    """Reads frames, fits drafts and makes versions of them (`sets`); every method may take long.

    `frames` reads and encodes pictures; `fits` uses the encoder, one thing after another; `long`
    is for what takes minutes.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self.frames = ThreadPoolExecutor(2, thread_name_prefix="frames")
        self.fits = ThreadPoolExecutor(1, thread_name_prefix="fits")
        self.long = ThreadPoolExecutor(1, thread_name_prefix="long")
        self.readers = Readers(config)
        self.sets = SavedSets(config, self.readers)
        self.fitting = Fitting(config)
        self._read = Recent[Key, Frame](_FRAMES_KEPT)
        self._thumbs = Recent[object, bytes](_THUMBS_KEPT)

    def close(self) -> None:
        """Begin nothing more."""
        for pool in (self.frames, self.fits, self.long):
            pool.shutdown(wait=False, cancel_futures=True)
        self.readers.close()

    def read(self, key: Key) -> Frame:
        """Read a frame of the acquisition folder.

        Raises
        ------
        FrameError
            If it cannot be read.
        """
        found = self.readers.frames.read_frame(inside(self._config.watch.root, key[0]), key[1])
        # Relative names keep support sets free of this machine's folders.
        return replace(found, source=key[0], index=key[1])

    def frame(self, key: Key) -> Frame:
        """Read a frame as `read` does; the last few are remembered."""
        return self._read.get(key) or self._read.put(key, self.read(key))

    def measure(self, pixel_size: str) -> None:
        """Give frames a pixel size by hand from now on; empty: as configuration and files say."""
        self.readers.frames.pixel_size = pixel_size or self._config.watch.pixel_size
        self._read.clear()

    def picture(self, key: Key, version: str = "", title: str = "") -> FramePicture:
        """Picture of a frame without labels, in the range of a saved version; raises as `read`."""
        frame = self.frame(key)
        picture = FramePicture(
            key=key, shape=frame.shape, pixel_size=frame.pixel_size, unit=frame.unit,
            version=version, title=title, by_hand=frame.metadata.get("pixel_size_from") == "hand",
        )  # fmt: skip
        return display.with_pixels(picture, frame.pixels, self.sets.scale_of(version))

    def repaint(self, picture: FramePicture, contrast: display.Contrast) -> FramePicture:
        """Return a picture in another contrast; raises as `read`."""
        pixels, scale = self.frame(picture.key).pixels, self.sets.scale_of(picture.version)
        return display.with_pixels(picture, pixels, scale, contrast)

    def crop(self, picture: FramePicture, rect: Rect) -> bytes:
        """JPEG of a part of a frame as it was recorded; raises as `read`."""
        scale = self.sets.scale_of(picture.version)
        return display.crop(picture, self.frame(picture.key).pixels, scale, rect)

    def build(self, state: DraftState, key: Key, author: str = "", note: str = "") -> SupportSet:
        """Make the support set of a draft; classes without chips are left out.

        Parameters
        ----------
        key
            Frame that is shown.
        """
        if state.parent is not None and not note:
            saved = self.sets.support(state.parent)
            if state == DraftState.of(saved):
                return saved
        counts = state.counts
        classes = [c for c in state.classes if counts[c.name]]
        choices = [self._choice(pick, state.chip_size) for pick in state.picks]
        return compose(
            state.chip_size,
            classes,
            choices,
            self._range_for(choices, self.sets.scale_of(state.parent or "")),
            shown=self.frame(key),
            parent=state.parent,
            author=author,
            note=note,
        )

    @staticmethod
    def _range_for(choices: list[Choice], scale: Normalization | None) -> Normalization | None:
        """Range of the version before, unless all chips come from frames that it does not fit."""
        frames = [c.frame for c in choices if c.chip is None and c.frame is not None]
        if scale is None or not frames or len(frames) < len(choices):
            return scale
        lost = not any(display.fits(f.pixels, scale) for f in {id(f): f for f in frames}.values())
        return None if lost else scale

    def prepare(self, state: DraftState, key: Key, progress: Progress) -> None:
        """Embed a frame as a draft's first labels on it will want it; only on the thread `fits`."""
        frame, scale = self.frame(key), self.sets.scale_of(state.parent or "")
        if scale is None or (not state.picks and not display.fits(frame.pixels, scale)):
            picked = [(p.path, p.index) for p in state.picks if p.path and not p.version]
            first = self.frame(picked[0]) if picked else frame
            scale = Normalization.from_percentiles(first.pixels)
        self.fitting.prepare(frame, state.chip_size, scale, progress)

    def warm_up(self) -> None:
        """Begin to load the encoder, before anybody waits for it."""
        self.fits.submit(self.fitting.load)

    def attempt_set(self, support: SupportSet, key: Key, progress: Progress = no_progress) -> Trial:
        """Fit a support set and classify a frame with it; only on the thread `fits`."""
        return self.fitting.attempt(support, self.frame(key), progress)

    def save(self, state: DraftState, key: Key, author: str, note: str) -> SupportSet:
        """Keep a draft as a version, with its classifier's numbers; it is not published."""
        empty = [name for name, count in state.counts.items() if not count]
        if empty:
            raise PychipError(f"{empty[0]!r} has no chip; pick 2-10 examples or remove it")
        trial = self.attempt_set(self.build(state, key, author, note), key)
        save_support(
            trial.support, self.sets.folder.path(trial.support.version), trial.classifier.derived()
        )
        self.sets.know(trial.support)
        return trial.support

    def set_pixel_size(self, text: str, author: str) -> str:
        """Give the frames of the run a pixel size from now on; returns it as it is written."""
        try:
            size = text and str(by_hand(text))
        except ValueError as error:
            raise PychipError(str(error)) from error
        return request(self._config.wire, SetPixelSize(size=size, author=author)).detail

    def known_thumbnail(self, pick: Pick, size: ChipSize, version: str) -> bytes | None:
        """Small JPEG of a chip, if it was cut a short while ago; see `thumbnail`."""
        return self._thumbs.get((pick.place, pick.version, pick.number, size, version))

    def thumbnail(self, pick: Pick, size: ChipSize, version: str) -> bytes:
        """Small JPEG of a chip in the range of a saved version, empty where its frame is gone."""
        known = self.known_thumbnail(pick, size, version)
        if known is not None:
            return known
        key = (pick.place, pick.version, pick.number, size, version)
        return self._thumbs.put(key, self._cut_thumbnail(pick, size, self.sets.scale_of(version)))

    def _cut_thumbnail(self, pick: Pick, size: ChipSize, scale: Normalization | None) -> bytes:
        try:
            choice = self._choice(pick, size)
        except PychipError:
            return b""
        if choice.chip is not None:
            height, width = choice.chip.pixels.shape
            top, left = (height - size.height) // 2, (width - size.width) // 2
            pixels = choice.chip.pixels[top : top + size.height, left : left + size.width]
        else:
            assert choice.frame is not None
            grid = Grid.of(choice.frame.shape, size)
            pixels = grid.patch(choice.frame.pixels, pick.row, pick.column, (0, 0))
            scale = display.display_range(reduced(choice.frame.pixels), scale)
        return to_jpeg(pixels, scale, _THUMB_PX)

    def _choice(self, pick: Pick, size: ChipSize) -> Choice:
        """Where a pick comes from: its frame, or the version it was loaded from."""
        if pick.version:
            support = self.sets.support(pick.version)
            if support.chip_size == size and 0 <= pick.number < len(support.chips):
                return Choice(pick.label, chip=support.chips[pick.number])
        frame = self.frame((pick.path, pick.index))
        return Choice(pick.label, frame, pick.row, pick.column)
