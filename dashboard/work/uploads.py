"""Upload: one image on its way from the viewer's machine to a result; no watched folder.

What is worked on lies in a temporary folder that goes when the viewer goes; what was classified is
kept for its user. No Panel here.
"""

import shutil
import time
from pathlib import Path

from pychip_stream.analysis.analyst import Analyst
from pychip_stream.analysis.classification import Batch, classify
from pychip_stream.archive.support_sets import load_support, save_support
from pychip_stream.archive.writer import RunWriter
from pychip_stream.config import Config
from pychip_stream.domain.pixel_size import by_hand
from pychip_stream.domain.support import SupportSet
from pychip_stream.errors import PychipError
from pychip_stream.formats.reading import suffixes
from pychip_stream.model.encoders import open_encoder
from pychip_stream.model.grid_advice import GridAdvice, recommend_grid

from . import scratch
from .arrival import Arrival, plain_name, safe_name
from .drafts import Draft, DraftState
from .frame_pictures import FramePicture, Key
from .kept_uploads import Kept, KeptUploads
from .opened_run import OpenedRun
from .previews import OpenDraft, folder_name
from .words import published
from .workbench import Workbench

NO_FILE = "No appropriate file was selected"
SUPPORT_SUFFIX = ".h5"
_NAME = "result"
_SUPPORT = "support-set.h5"


class UploadBench:
    """The work on one uploaded image; methods that read or classify belong on a thread.

    Attributes
    ----------
    uploaded
        The image; None while there is none.
    advice
        Recommended grid size; None where there is none.
    start
        Support set to begin with, of the viewer's own; None: an empty draft.
    """

    def __init__(self, config: Config, user: str = "") -> None:
        self._kept: KeptUploads | None = None
        if config.support.folder.is_dir():  # pages on archives of others write nothing
            self._kept = KeptUploads(config.support.folder / "uploads" / folder_name(user))
        self._folder = scratch.folder("upload")
        self._root = self._folder / "images"
        self._root.mkdir()
        self._config = config.model_copy(
            update={
                "watch": config.watch.model_copy(update={"root": self._root, "pixel_size": ""}),
                "support": config.support.model_copy(
                    update={"folder": self._folder / "support", "initial": None}
                ),
            }
        )
        self.bench = Workbench(self._config)
        self._results = 0
        self._arrival = Arrival(NO_FILE, config.watch.max_frame_bytes)
        self._name = self._pixel_size = ""
        self.uploaded: FramePicture | None = None
        self.advice: GridAdvice | None = None
        self.start: SupportSet | None = None
        self._begin_draft(DraftState())

    def _begin_draft(self, state: DraftState) -> None:
        self.open = OpenDraft(Draft(self._folder / "draft.json", state), self.bench)

    # -- the file

    def begin(self, name: str, size: int) -> None:
        """Expect a file."""
        safe = safe_name(name)
        ending = Path(safe).suffix.lower()
        if ending not in (*suffixes(), SUPPORT_SUFFIX) or not Path(safe).stem:
            kinds = "jpg, png, tiff, dm4 and others that the command `classify` reads"
            raise PychipError(f"{NO_FILE}: {plain_name(name) or 'it'} is none of {kinds}")
        if ending != SUPPORT_SUFFIX:
            self._abandon()
            self.measure("")
        # A folder for each, so that nothing remembered of one file is taken for another.
        self._name = f"{time.time_ns():x}/{safe}"
        self._arrival.begin(self._root / self._name, size)

    def add(self, data: bytes) -> None:
        """Take the next piece."""
        self._arrival.add(data)

    def finish(self) -> FramePicture | None:
        """Read the file that has arrived, an image or a support set; a new draft begins.

        Returns
        -------
        The image; None where there is none yet.
        """
        self._arrival.finish()
        try:
            if self._name.lower().endswith(SUPPORT_SUFFIX):
                self.start = self._known(self._root / self._name)
            else:
                self._take_image((self._name, 0))
        except PychipError as error:
            # Where it lies here is nothing to the viewer.
            text = str(error).replace(str(self._root / self._name), self._name)
            raise PychipError(f"{NO_FILE}: {text.replace(self._name, self._plain)}") from error
        if self.start is not None:
            self._begin_draft(DraftState.of(self.start))
        elif self.advice is not None:
            self._begin_draft(DraftState().resize(self.advice.size))
        return self.uploaded

    @property
    def _plain(self) -> str:
        return self._name.partition("/")[2]

    def _take_image(self, key: Key) -> None:
        picture = self.bench.picture(key, title=self._plain)
        try:
            self.advice = recommend_grid(self.bench.frame(key))
        except PychipError:
            self.advice = None
        self._begin_draft(DraftState())
        self.uploaded = picture

    def measure(self, pixel_size: str) -> FramePicture | None:
        """Give the image a pixel size by hand, empty: its file's; return it, where there is one."""
        try:
            self._pixel_size = pixel_size and str(by_hand(pixel_size))
        except ValueError as error:
            raise PychipError(str(error)) from error
        self.bench.measure(self._pixel_size)
        if self.uploaded is not None:
            self.uploaded = self.bench.picture(self.uploaded.key, title=self.uploaded.title)
        return self.uploaded

    def _known(self, path: Path) -> SupportSet:
        """Load a support set, and let drafts find its chips."""
        self.bench.readers.check(path)
        support = load_support(path)
        self.bench.sets.folder.add(support.version, path.read_bytes())
        return support

    def _abandon(self) -> None:
        """Forget the image, and what was on its way."""
        self._arrival.drop()
        self.uploaded = None
        for folder in self._root.iterdir():
            shutil.rmtree(folder, ignore_errors=True)

    # -- the result

    def classify(self, state: DraftState, author: str) -> OpenedRun:
        """Classify the image, every frame of it where it is a stack, into an archive of its own."""
        uploaded = self.uploaded
        if uploaded is None:
            raise PychipError(NO_FILE)
        empty = [name for name, count in state.counts.items() if not count]
        if empty:
            raise PychipError(f"{empty[0]!r} has no chip; pick 2-10 examples or remove it")
        support = self.bench.build(state, uploaded.key, author)
        encoder = open_encoder(self._config.encoder, self.bench.fitting.precision)
        analyst = Analyst.of(support, encoder, self._config.classify)
        self._results += 1
        image = self._root / uploaded.key[0]
        folder = self._folder / f"{_NAME}-{self._results}"
        save_support(analyst.classifier.support, folder / _SUPPORT, analyst.classifier.derived())
        writer = RunWriter(
            folder, image.stem, segment_frames=64, segment_s=5.0,
            embeddings=True, metadata={"root": str(image.parent)},
        )  # fmt: skip
        path = classify(Batch.of([image], pixel_size=self._pixel_size), analyst, writer)
        opened = OpenedRun(path, image.parent, readers=self.bench.readers)
        if not opened.count:
            reasons = opened.run.failed["reason"].tolist()
            raise PychipError(str(reasons[0]) if reasons else "nothing could be classified")
        if self._kept is not None:
            about = f"{', '.join(support.names)}, chips of {support.chip_size} px"
            self._kept.keep(image, self.support_file(), self._pixel_size, about)
        return opened

    def kept(self) -> list[Kept]:
        """List what this user has classified before, the newest first."""
        return [] if self._kept is None else self._kept.list()

    def recall(self, folder: str) -> FramePicture | None:
        """Go on with an image, its parameters and its examples.

        Raises
        ------
        PychipError
            If it is not there any more, or cannot be read.
        """
        kept = self._kept
        one = next((one for one in self.kept() if one.folder == folder), None)
        if kept is None or one is None:
            raise PychipError("that image is not kept any more; upload it again")
        self._abandon()
        self._name = f"{one.folder}/{Path(one.name).name}"
        image = self._root / self._name
        image.parent.mkdir()
        try:
            shutil.copyfile(kept.image(one), image)
        except OSError as error:
            raise PychipError(f"{one.name}: cannot be copied ({error.strerror})") from error
        support = self._known(kept.support(one))
        self.measure(one.pixel_size)
        self._take_image((self._name, 0))
        self._begin_draft(DraftState.of(support))
        return self.uploaded

    def support_file(self) -> Path:
        """Support set file of the newest result."""
        return self._folder / f"{_NAME}-{self._results}" / _SUPPORT

    def hand_over(self, bench: Workbench, author: str) -> str:
        """Make the support set of the newest result the current one of a run; says so."""
        version = bench.sets.take(self.support_file())
        bench.sets.publish(version, author)
        return published(version)

    def close(self) -> None:
        """Remove everything."""
        self.bench.close()
        self._arrival.drop()
        shutil.rmtree(self._folder, ignore_errors=True)
