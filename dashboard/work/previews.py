"""Previews: what a draft makes of the frame that is shown, kept fresh while it changes."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pychip_stream.analysis.drafting import Trial
from pychip_stream.analysis.run_sample import SampledFrame
from pychip_stream.config import Config
from pychip_stream.domain.support import SupportSet
from pychip_stream.errors import PychipError
from pychip_stream.model.quality import Quality, assess
from pychip_stream.model.suggestion import Suggestion, suggest

from .background import Cancellable, Latest
from .drafts import Draft, DraftState
from .frame_pictures import Key
from .workbench import Workbench

logger = logging.getLogger(__name__)

_FEW = "choose chips of at least two classes"
_HINTS, _HINTS_OF_RUN = 5, 8
"""Chips of one frame, and of several, that are suggested."""

Sampling = Callable[[SupportSet], Sequence[SampledFrame]]
"""Gives frames of the run that can be compared with the examples of a set; off the page's loop."""


@dataclass(frozen=True)
class Hint:
    """A chip that is worth choosing next.

    Attributes
    ----------
    key
        Of its frame.
    number, time
        Of its frame in the run, from 0, and in seconds since 1970; None of the frame that is shown.
    """

    key: Key
    chip: Suggestion
    number: int | None = None
    time: float | None = None

    @property
    def place(self) -> tuple[str, int, int, int]:
        """Where it is, as of a `Pick`."""
        return *self.key, self.chip.row, self.chip.column


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
    suggestions: tuple[Hint, ...] = ()


class OpenDraft:
    """What a user works on: a draft, and what it makes of the frame that is shown.

    Parameters
    ----------
    sampling
        Other frames that chips are suggested of; None: of the one that is shown alone.

    Attributes
    ----------
    draft
        Of the user.
    preview
        The newest one; None before the first.
    """

    def __init__(self, draft: Draft, bench: Workbench, sampling: Sampling | None = None) -> None:
        self._bench = bench
        self._sampling = sampling
        self._fits = Latest(bench.fits, self._work)
        self._asked: tuple[int, Key] | None = None
        self._asked_at = 0.0
        self._progress = Cancellable()
        self._embeds: object = None
        self.draft = draft
        self.preview: Preview | None = None

    def ask(self, key: Key) -> None:
        """Ask for the preview of the draft on a frame; asking again for the same costs nothing."""
        number, state = self.draft.number, self.draft.state
        if self._asked == (number, key):
            return
        self._asked, self._asked_at = (number, key), time.monotonic()
        if self._embeds != (key, state.chip_size):  # what another one wants is of no use now
            self._progress.cancel()
            self._embeds, self._progress = (key, state.chip_size), Cancellable()
        self._fits.ask((number, state, key, self._progress))

    @property
    def waiting_s(self) -> float:
        """Seconds for which the labels that were asked for last have been worked on; 0: there."""
        preview = self.preview
        done = None if preview is None else (preview.number, preview.key)
        return 0.0 if self._asked in (None, done) else time.monotonic() - self._asked_at

    @property
    def share(self) -> float | None:
        """How much of the frame has been looked at for them, 0…1; None where that is not known."""
        return self._progress.share

    def _work(self, wanted: tuple[int, DraftState, Key, Cancellable]) -> None:
        number, state, key, progress = wanted
        preview = self._make(number, state, key, progress)
        if progress.cancelled:
            return
        self.preview = preview
        progress.done = progress.total = 0
        if preview.trial is not None and not self._fits.waiting:
            self.preview = self._judged(preview, state)
        elif preview.trouble == _FEW:
            self._prepare(state, key, progress)

    def _prepare(self, state: DraftState, key: Key, progress: Cancellable) -> None:
        """Embed the frame while examples are still being chosen."""
        try:
            self._bench.prepare(state, key, progress)
        except PychipError as error:
            logger.info("%s is not prepared: %s", key[0], error)

    def _judged(self, preview: Preview, state: DraftState) -> Preview:
        """Add what takes longer than the labels."""
        trial = preview.trial
        assert trial is not None
        try:
            return replace(
                preview,
                quality=assess(trial.support, trial.classifier),
                suggestions=self._hints(trial, state, preview.key),
            )
        except PychipError as error:
            return replace(preview, trouble=str(error))
        except Exception as error:
            logger.exception("the quality of a draft could not be judged")
            return replace(preview, trouble=f"the examples could not be judged: {error}")

    def _hints(self, trial: Trial, state: DraftState, key: Key) -> tuple[Hint, ...]:
        """Suggest chips of the frame that is shown and of others of the run."""
        sampled = self._sampling(trial.support) if self._sampling else ()
        others = [f for f in sampled if f.key != key]
        keys = [key, *(f.key for f in others)]
        taken = [
            (keys.index((p.path, p.index)), p.row, p.column)
            for p in state.picks
            if (p.path, p.index) in keys
        ]
        found = suggest(
            [trial.embeddings, *(f.embeddings for f in others)],
            trial.classifier,
            taken=taken,
            count=_HINTS_OF_RUN if others else _HINTS,
        )
        return tuple(
            Hint(key, one)
            if one.frame == 0
            else Hint(
                keys[one.frame], one, others[one.frame - 1].number, others[one.frame - 1].time
            )
            for one in found
        )

    def _make(self, number: int, state: DraftState, key: Key, progress: Cancellable) -> Preview:
        filled = [name for name, count in state.counts.items() if count]
        if len(filled) < 2:
            return Preview(number, key, trouble=_FEW)
        try:
            support = self._bench.build(state, key)
            return Preview(number, key, self._bench.attempt_set(support, key, progress))
        except PychipError as error:
            return Preview(number, key, trouble=str(error))
        except Exception as error:
            logger.exception("the preview failed")
            return Preview(number, key, trouble=f"the preview failed: {error}")


class OpenDrafts:
    """The drafts of all users; the tabs of one user share theirs."""

    def __init__(self, config: Config, bench: Workbench, sampling: Sampling | None = None) -> None:
        self._folder = config.support.folder
        self._bench = bench
        self._sampling = sampling
        self._open: dict[str, OpenDraft] = {}

    def of(self, user: str, start: SupportSet | None) -> OpenDraft:
        """Draft of a user; a new one goes on with what was kept, or begins from `start`."""
        found = self._open.get(user)
        if found is None:
            state = DraftState() if start is None else DraftState.of(start)
            draft = Draft.open(draft_path(self._folder, user), state, self._bench.frames.submit)
            found = self._open[user] = OpenDraft(draft, self._bench, self._sampling)
        return found


def draft_path(folder: Path, user: str) -> Path:
    """File that keeps the draft of a user."""
    return folder / "drafts" / f"{folder_name(user)}.json"


def folder_name(user: str) -> str:
    """Name of a user among files."""
    return "".join(c if c.isalnum() else f"-{ord(c):x}-" for c in user) or "everybody"
