"""Previews: what a draft makes of the frame that is shown, kept fresh while it changes."""

import logging
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

from pychip_stream.analysis.drafting import Trial
from pychip_stream.config import Config
from pychip_stream.domain.support import SupportSet
from pychip_stream.errors import PychipError
from pychip_stream.model.quality import Quality, assess
from pychip_stream.model.suggestion import Suggestion, suggest

from .drafts import Draft, DraftState
from .workbench import Key, Studio

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Preview:
    """What a draft makes of the frame that is shown.

    Attributes
    ----------
    number
        Of the draft's state.
    key
        Of the frame.
    trial
        None where there are not two classes with chips yet.
    trouble
        Why there is no trial.
    quality, suggestions
        Follow a moment after the labels.
    """

    number: int
    key: Key
    trial: Trial | None = field(default=None, repr=False)
    trouble: str = ""
    quality: Quality | None = None
    suggestions: tuple[Suggestion, ...] = ()


class Previewer:
    """Keeps the preview of one draft fresh: one fit at a time, the newest state next."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._lock = threading.Lock()
        self._wanted: tuple[int, DraftState, Key] | None = None
        self._busy = False
        self.preview: Preview | None = None

    @property
    def busy(self) -> bool:
        """Whether a newer preview is being made."""
        return self._busy

    def ask(self, number: int, state: DraftState, key: Key) -> None:
        """Ask for the preview of a state on a frame; asking again for the same costs nothing."""
        with self._lock:
            have = self.preview
            if (
                self._wanted is None
                and have is not None
                and (have.number, have.key) == (number, key)
            ):
                return
            self._wanted = (number, state, key)
            if not self._busy:
                self._busy = True
                self._studio.fits.submit(self._work)

    def _work(self) -> None:
        while True:
            with self._lock:
                if self._wanted is None:
                    self._busy = False
                    return
                number, state, key = self._wanted
                self._wanted = None
            preview = self.preview = self._make(number, state, key)
            if self._wanted is None and preview.trial is not None:
                self.preview = self._judged(preview, state)

    def _judged(self, preview: Preview, state: DraftState) -> Preview:
        """Add what takes longer than the labels."""
        trial = preview.trial
        assert trial is not None
        taken = [(p.row, p.column) for p in state.picks if (p.path, p.index) == preview.key]
        try:
            return replace(
                preview,
                quality=assess(trial.support, trial.classifier),
                suggestions=suggest(trial.embeddings, trial.classifier, taken=taken),
            )
        except PychipError as error:
            return replace(preview, trouble=str(error))
        except Exception as error:
            logger.exception("the quality of a draft could not be judged")
            return replace(preview, trouble=f"the examples could not be judged: {error}")

    def _make(self, number: int, state: DraftState, key: Key) -> Preview:
        filled = [name for name, count in state.counts.items() if count]
        if len(filled) < 2:
            return Preview(number, key, trouble="choose chips of at least two classes")
        try:
            return Preview(number, key, self._studio.attempt(state, key))
        except PychipError as error:
            return Preview(number, key, trouble=str(error))
        except Exception as error:
            logger.exception("the preview failed")
            return Preview(number, key, trouble=f"the preview failed: {error}")


@dataclass(frozen=True, eq=False)
class Bench:
    """What a user works on."""

    draft: Draft
    previewer: Previewer


class Benches:
    """The benches of all users; the tabs of one user share theirs."""

    def __init__(self, config: Config, studio: Studio) -> None:
        self._folder = config.support.folder
        self._studio = studio
        self._benches: dict[str, Bench] = {}

    def of(self, user: str, start: SupportSet | None) -> Bench:
        """Bench of a user; a new one goes on with the kept draft, or begins from `start`."""
        bench = self._benches.get(user)
        if bench is None:
            state = DraftState() if start is None else DraftState.of(start)
            draft = Draft.open(draft_path(self._folder, user), state, self._studio.frames.submit)
            bench = self._benches[user] = Bench(draft, Previewer(self._studio))
        return bench


def draft_path(folder: Path, user: str) -> Path:
    """File that keeps the draft of a user."""
    safe = "".join(c if c.isalnum() else f"-{ord(c):x}-" for c in user)
    return folder / "drafts" / f"{safe or 'everybody'}.json"
