"""Fitting: the page's own encoder, and what it makes of frames under a support set."""

from pychip_stream.analysis.drafting import RememberingEncoder, Trial, attempt
from pychip_stream.config import Config
from pychip_stream.domain.chips import ChipSize
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.normalization import Normalization
from pychip_stream.domain.progress import Progress, no_progress
from pychip_stream.domain.support import SupportSet


class Fitting:
    """Embeds and fits, for one thread at a time; the encoder is loaded when it is needed first.

    Attributes
    ----------
    worker_device
        Where the worker's encoder runs and in which precision; empty while that is not known.
        Here the same precision is taken: labels of chips at borders depend on it.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._encoder: RememberingEncoder | None = None
        self._worker_was = ""
        self.worker_device = ""

    def load(self) -> None:
        """Load the encoder, before it is needed."""
        self._ready(no_progress)

    def prepare(
        self, frame: Frame, size: ChipSize, scale: Normalization, progress: Progress
    ) -> None:
        """Embed a frame, for whoever chooses examples on it next."""
        self._ready(progress).embed_cells(frame, size, scale)

    def attempt(self, support: SupportSet, frame: Frame, progress: Progress) -> Trial:
        """Fit a support set and classify a frame with it, as the worker will."""
        return attempt(support, frame, self._ready(progress), self._config.classify)

    @property
    def precision(self) -> str | None:
        """That of the encoder; None while it has not been needed."""
        return self._encoder.device.partition("/")[2] if self._encoder else None

    def _ready(self, progress: Progress) -> RememberingEncoder:
        if self._encoder is None or self._worker_was != self.worker_device:
            self._worker_was = self.worker_device
            self._encoder = self._load()
        self._encoder.on_window = progress
        return self._encoder

    def _load(self) -> RememberingEncoder:
        # The network's library takes seconds to load, which no start of a run should wait for.
        from pychip_stream.model.encoders import open_encoder

        place, _, precision = self._worker_was.partition("/")
        known = self._encoder
        if known is not None and (not precision or known.device == self._worker_was):
            return known
        encoder = open_encoder(self._config.encoder)
        if encoder.device.partition("/")[0] == place and encoder.device != self._worker_was:
            encoder = open_encoder(self._config.encoder, precision)
        return RememberingEncoder(encoder)
