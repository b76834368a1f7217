"""Support sets: the few examples that say what the classes are."""

import getpass
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pychip_stream.domain.chips import ChipSize, Grid
from pychip_stream.domain.colors import color_of
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.normalization import Normalization
from pychip_stream.errors import PychipError, SupportUsageError

UNKNOWN = "unknown"
"""Name of the class of chips that are too far from every prototype."""
MAX_CLASSES = 250
"""Of a set, and of a run: labels are one byte, and some values of it mean something else."""


@dataclass(frozen=True, slots=True)
class SupportClass:
    """A named, coloured feature or phase."""

    name: str
    color: str


@dataclass(frozen=True, slots=True)
class ChipSource:
    """Where an example chip came from.

    Attributes
    ----------
    path, index
        File and position in it; an empty path where the frame had none.
    row, column
        Place on the grid, from 0; None for chips imported as pictures.
    pixel_size, unit
        Of the frame, where known.
    user, time
        Who picked it and when (seconds since 1970).
    """

    path: str = ""
    index: int = 0
    row: int | None = None
    column: int | None = None
    pixel_size: float | None = None
    unit: str | None = None
    user: str = ""
    time: float = 0.0


@dataclass(frozen=True, eq=False, slots=True)
class SupportChip:
    """One example: the chip with a margin of its surroundings, as the detector saw it.

    Attributes
    ----------
    label
        Name of its class.
    pixels
        (H + 2·margin[0], W + 2·margin[1]) counts before normalisation; where the support set
        equalises adaptively (CLAHE), which works on whole frames only, float32 values after it.
    source
        Where it came from.
    """

    label: str
    pixels: npt.NDArray[np.generic] = field(repr=False)
    source: ChipSource = ChipSource()


@dataclass(frozen=True, eq=False, slots=True)
class SupportEmbedding:
    """What an encoder made of the chips of a support set.

    Attributes
    ----------
    encoder_name, encoder_hash
        Which encoder, and the hash of its weights.
    cells
        (chips, CELLS², D) float32, not standardised.
    background
        (m, D) float32 embeddings of up to 1024 chips of the frame(s) the examples were
        picked from, not standardised: what is usual there.
    """

    encoder_name: str
    encoder_hash: str
    cells: npt.NDArray[np.float32] = field(repr=False)
    background: npt.NDArray[np.float32] = field(repr=False)

    @property
    def mean(self) -> npt.NDArray[np.float32]:
        """(D,) mean embedding of the support frame."""
        return np.asarray(self.background.mean(axis=0, dtype=np.float64), dtype=np.float32)

    @property
    def deviation(self) -> npt.NDArray[np.float32]:
        """(D,) standard deviation of the support frame's embeddings, never zero."""
        deviation = self.background.std(axis=0, dtype=np.float64)
        floor = 1e-3 * max(float(deviation.max(initial=0.0)), 1e-6)
        return np.asarray(np.maximum(deviation, floor), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class SupportSet:
    """Classes with their example chips; immutable, identified by the hash of its content.

    Attributes
    ----------
    classes, chips
        In the order the operator made them.
    chip_size, normalization
        Fixed for every frame that is classified with this set.
    margin
        Pixels of surroundings kept above/below and left/right of each chip.
    embedding
        Present once an encoder has seen the chips.
    parent
        Version this one was changed from, or None.
    author, note, created
        Who, why, and when (seconds since 1970).
    reference
        The frame the chips were picked from while it is at hand; not part of the identity
        and not stored.

    Raises
    ------
    SupportUsageError
        For what is impossible: fewer than two classes, a class without chips, two classes
        of one name, chips of different sizes, non-finite chips.
    """

    classes: tuple[SupportClass, ...]
    chips: tuple[SupportChip, ...]
    chip_size: ChipSize
    normalization: Normalization
    margin: tuple[int, int] = (0, 0)
    embedding: SupportEmbedding | None = None
    parent: str | None = None
    author: str = ""
    note: str = ""
    created: float = 0.0
    reference: Frame | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        _check_classes(self.names, {chip.label for chip in self.chips})
        expected = (
            self.chip_size.height + 2 * self.margin[0],
            self.chip_size.width + 2 * self.margin[1],
        )
        for number, chip in enumerate(self.chips):
            if chip.pixels.shape != expected:
                raise SupportUsageError(
                    f"chip {number} of class {chip.label!r} is {chip.pixels.shape[1]}x"
                    f"{chip.pixels.shape[0]} pixels where {expected[1]}x{expected[0]} are "
                    "expected; all chips of a support set have one size"
                )
            if not np.isfinite(chip.pixels).any():
                raise SupportUsageError(
                    f"chip {number} of class {chip.label!r} has no finite pixel; pick another"
                )

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in order, without "unknown"."""
        return tuple(c.name for c in self.classes)

    @property
    def called(self) -> str:
        """What people call it: its note, or else its classes."""
        return self.note[:40] or ", ".join(self.names)[:40]

    @property
    def label_indices(self) -> npt.NDArray[np.intp]:
        """(chips,) index of each chip's class in `names`."""
        order = {name: i for i, name in enumerate(self.names)}
        return np.array([order[chip.label] for chip in self.chips], dtype=np.intp)

    @property
    def counts(self) -> dict[str, int]:
        """Number of example chips of each class."""
        found = Counter(chip.label for chip in self.chips)
        return {name: found[name] for name in self.names}

    @property
    def chip_normalization(self) -> Normalization:
        """How the stored chips (not frames) become the encoder's input."""
        return Normalization("range", 0.0, 1.0) if self.normalization.clahe else self.normalization

    @cached_property
    def version(self) -> str:
        """Hash of what was chosen (32 hexadecimal digits).

        What an encoder made of it stays out; results name both.
        """
        return _content_hash(self)

    @staticmethod
    def from_picks(
        frame: Frame,
        chip_size: ChipSize | int | str | tuple[int, int],
        picks: Mapping[str, Sequence[tuple[int, int]]],
        *,
        normalization: Normalization | None = None,
        colors: Mapping[str, str] | None = None,
        author: str | None = None,
        note: str = "",
        parent: str | None = None,
    ) -> "SupportSet":
        """Make a support set from chips picked on one frame.

        Parameters
        ----------
        picks
            (row, column) pairs, from 0, for each class name.
        normalization
            Default: the 0.1 and 99.9 percentiles of `frame`, for the whole run.

        Raises
        ------
        UsageError
            If a pick lies outside the grid.
        SupportUsageError
            If the set is impossible (see the class), or shows one chip under two names.
        """
        return compose(
            ChipSize.parse(chip_size),
            make_classes(list(picks), colors),
            [Choice(n, frame, int(r), int(c)) for n, places in picks.items() for r, c in places],
            normalization,
            parent=parent,
            author=current_user() if author is None else author,
            note=note,
        )

    def checked(self) -> "SupportSet":
        """Return the set if it may be used from now on; older ones that may not still load."""
        for name in self.names:
            check_name(name)
        seen: dict[object, str] = {}
        for chip in self.chips:
            s = chip.source
            place = () if s.row is None else (s.path, s.index, s.row, s.column)
            label = seen.setdefault((place, chip.pixels.tobytes()), chip.label)
            if label != chip.label:
                where = f"{s.row},{s.column}" if place else s.path
                raise SupportUsageError(
                    f"chip {where} is an example of {label!r} and of {chip.label!r}; "
                    "take it out of one of them"
                )
        return self

    def with_embedding(self, embedding: SupportEmbedding) -> "SupportSet":
        """Return the same set as another encoder sees it."""
        return replace(self, embedding=embedding)


def check_name(name: str) -> None:
    """Refuse a class that people would take for unknown, in any case (SupportUsageError)."""
    if name.strip().casefold() == UNKNOWN:
        raise SupportUsageError(
            f"class {name!r}: {UNKNOWN!r} is the name of rejected chips; choose another"
        )


def _check_classes(names: Sequence[str], labels: Set[str]) -> None:
    """Refuse too few or too many classes, impossible names, and classes without chips."""
    if len(names) < 2:
        raise SupportUsageError(
            f"a support set needs at least two classes, this one has {len(names)}"
            + (f" ({names[0]!r})" if names else "")
            + "; add examples of a second feature"
        )
    if len(names) > MAX_CLASSES:
        raise SupportUsageError(f"{len(names)} classes; at most {MAX_CLASSES} are possible")
    for name in names:
        if not name.strip() or not name.isprintable():
            raise SupportUsageError(f"class name {name!r} is empty or not printable")
        if name == UNKNOWN:
            raise SupportUsageError(f"{UNKNOWN!r} is the name of rejected chips; choose another")
    doubled = [name for name, n in Counter(names).items() if n > 1]
    if doubled:
        raise SupportUsageError(f"two classes are called {doubled[0]!r}; rename or merge them")
    empty = [name for name in names if name not in labels]
    if empty:
        raise SupportUsageError(f"class {empty[0]!r} has no chip; pick 2-10 examples or remove it")
    stray = labels - set(names)
    if stray:
        raise SupportUsageError(f"chips of an undeclared class {sorted(stray)[0]!r}")


@dataclass(frozen=True, eq=False, slots=True)
class Choice:
    """A chip that was chosen: a place on a frame, or a chip that there is already.

    Attributes
    ----------
    frame, row, column
        Where it is cut from; not used where `chip` is given.
    """

    label: str
    frame: Frame | None = field(default=None, repr=False)
    row: int = 0
    column: int = 0
    chip: SupportChip | None = field(default=None, repr=False)


def compose(
    chip_size: ChipSize,
    classes: Sequence[SupportClass],
    choices: Sequence[Choice],
    normalization: Normalization | None = None,
    *,
    shown: Frame | None = None,
    parent: str | None = None,
    author: str = "",
    note: str = "",
) -> SupportSet:
    """Make a support set of chips from any number of frames, earlier sets and pictures.

    Parameters
    ----------
    normalization
        None: the percentiles of the first frame that a chip is cut from.
    shown
        Tells what is usual where no chip is cut from a frame.
    """
    frames = [c.frame for c in choices if c.chip is None and c.frame is not None]
    if normalization is None and frames:
        normalization = Normalization.from_percentiles(frames[0].pixels)
    scale = normalization or Normalization()
    saved = next((c.chip for c in choices if c.chip is not None), None)
    margin = (chip_size.height, chip_size.width)
    if saved is not None and not frames:
        height, width = saved.pixels.shape
        margin = ((height - chip_size.height) // 2, (width - chip_size.width) // 2)
    now = time.time()
    # Adaptive equalisation needs the whole frame.
    pixels = {
        id(f): scale.apply(f.pixels) if scale.clahe else f.pixels
        for f in {id(f): f for f in frames}.values()
    }
    chips = []
    for choice in choices:
        chip, frame = choice.chip, choice.frame
        if chip is not None:
            chips.append(_with_margin(chip, choice.label, chip_size, margin))
        elif frame is not None:
            patch = Grid.of(frame.shape, chip_size).patch(
                pixels[id(frame)], choice.row, choice.column, margin
            )
            source = ChipSource(
                frame.source, frame.index, choice.row, choice.column, frame.pixel_size, frame.unit,
                author, now,
            )  # fmt: skip
            chips.append(SupportChip(choice.label, patch, source))
    return SupportSet(
        classes=tuple(classes),
        chips=tuple(chips),
        chip_size=chip_size,
        normalization=scale,
        margin=margin,
        parent=parent,
        author=author,
        note=note,
        created=now,
        reference=frames[0] if frames else shown,
    ).checked()


def _with_margin(
    chip: SupportChip, label: str, size: ChipSize, margin: tuple[int, int]
) -> SupportChip:
    """Give a chip the margin of the others, mirrored where it has less."""
    pixels = chip.pixels
    for axis, (wanted, edge) in enumerate(zip(margin, (size.height, size.width), strict=True)):
        have = (pixels.shape[axis] - edge) // 2
        if have > wanted:
            pixels = np.take(pixels, range(have - wanted, have + edge + wanted), axis=axis)
        else:
            pad = [(0, 0), (0, 0)]
            pad[axis] = (wanted - have, wanted - have)
            pixels = np.pad(pixels, pad, mode="symmetric")
    return replace(chip, label=label, pixels=pixels)


def make_classes(
    names: Sequence[str], colors: Mapping[str, str] | None = None
) -> tuple[SupportClass, ...]:
    """Give each name its colour, from `colors` or the palette."""
    colors = colors or {}
    return tuple(SupportClass(name, colors.get(name, color_of(i))) for i, name in enumerate(names))


def _content_hash(support: SupportSet) -> str:
    digest = hashlib.blake2b(digest_size=16)

    def add(*values: object) -> None:
        for value in values:
            encoded = repr(value).encode()
            digest.update(len(encoded).to_bytes(8, "little") + encoded)

    norm = support.normalization
    add("support set 1", support.chip_size.width, support.chip_size.height, support.margin)
    add(norm.mode, float(norm.low), float(norm.high), norm.clahe)
    add(support.parent, support.author, support.note, float(support.created))
    for cls in support.classes:
        add(cls.name, cls.color)
    for chip in support.chips:
        s = chip.source
        add(chip.label, s.path, s.index, s.row, s.column, s.pixel_size, s.unit, s.user, s.time)
        add(chip.pixels.dtype.newbyteorder("<").str, chip.pixels.shape)
        digest.update(chip.pixels.astype(chip.pixels.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def current_user() -> str:
    """Return the account name, or an empty string where there is none (services, containers)."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""


def scale_of(find: Callable[[str], SupportSet], version: str) -> Normalization | None:
    """Intensity range of a version; None where `find` does not get it."""
    try:
        return find(version).normalization
    except PychipError:
        return None
