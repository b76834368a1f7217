"""Quantities: the numbers that a run measures, each declared once, here or by a plug-in.

From the declaration alone a quantity of frames is measured by the worker, told on the wire, kept
in the archive, plotted, exported and watched by alert rules.
"""

import logging
import math
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy  # its parts load when they are used

from pychip_stream.domain.caveats import DOUBTS
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.pixel_size import pixel_size
from pychip_stream.domain.records import FrameResult
from pychip_stream.plugins import Registry

logger = logging.getLogger(__name__)

Measured = float | Mapping[str, float] | None
Measure = Callable[[Frame, FrameResult], Measured]

_SAMPLE = 65536

MOST = 4000
"""Of one frame: sixteen for each of the classes that a run may have."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A measured number.

    Attributes
    ----------
    name
        In archives, tables and messages; letters, digits and underscores, with the unit last
        where it has one ("exposure_s").
    unit
        As NeXus spells it ("s", "count", "degC"); empty for a plain number.
    meaning
        In a few words, for people.
    plotted
        Whether pages offer it as a curve.
    watched
        Whether alert rules may watch it.
    smoothed
        Alert rules look at the median of so many frames.
    measure
        Gives the value for a frame and what it was classified as, None or NaN where it has
        none; None for what is not measured on frames.
    optional
        Whether tables and pages leave it out where no frame has it.
    per_class
        Whether `measure` gives a value for each class, by its name; each then goes under
        "CLASS.NAME" in archives, tables and messages.
    """

    name: str
    unit: str
    meaning: str
    plotted: bool = True
    watched: bool = True
    smoothed: int = 1
    measure: Measure | None = None
    per_class: bool = False
    optional: bool = False

    def of_class(self, name: str) -> "Quantity":
        """Return the quantity of one class, under its full name."""
        meaning = f"{self.meaning}, {name}"
        return replace(self, name=f"{name}.{self.name}", meaning=meaning, per_class=False)

    @property
    def label(self) -> str:
        """Name and unit, as an axis tells them."""
        return self.name + f" ({self.unit})" * bool(self.unit)

    def tell(self, value: float) -> str:
        """Write a value with its unit."""
        return f"{value:.4g} {self.unit}".rstrip()


@lru_cache(maxsize=1)
def intensity(frame: Frame) -> tuple[float, float, float]:
    """Mean, 1st and 99th percentile of a sample of the finite pixels, in counts."""
    step = max(int(np.sqrt(frame.pixels.size / _SAMPLE)), 1)
    sample: npt.NDArray[np.float64] = frame.pixels[::step, ::step].astype(np.float64)
    sample = sample[np.isfinite(sample)]
    if sample.size == 0:
        return (0.0, 0.0, 0.0)
    low, high = np.percentile(sample, (1, 99))
    return (float(sample.mean()), float(low), float(high))


def _domains(_frame: Frame, result: FrameResult) -> dict[str, float]:
    """Count the connected areas of each class; chips that touch at a corner are two."""
    maps = {name: result.label_map == code for code, name in enumerate(result.names)}
    return {name: float(scipy.ndimage.label(where)[1]) for name, where in maps.items()}


def _of_file(name: str, unit: str, meaning: str) -> Quantity:
    """Quantity that is found in the files, under its own name in the metadata of frames."""

    def told(frame: Frame, _result: FrameResult) -> float | None:
        value = frame.metadata.get(name)
        return value if isinstance(value, float) else None

    return Quantity(name, unit, meaning, measure=told, optional=True)


def _counted(_frame: Frame, result: FrameResult) -> dict[str, float]:
    """Count the labels of each class, as shares of the chips."""
    return dict(zip(result.names, result.counted.tolist(), strict=False))


def _areas(frame: Frame, result: FrameResult) -> dict[str, float]:
    """Tell how much of the specimen each class covers; NaN without pixel sizes in nm."""
    edge, unit = pixel_size(frame.pixel_size, frame.unit)
    if edge is None or unit != "nm" or result.chip_size is None:
        return dict.fromkeys(result.names, math.nan)
    chip = result.chip_size.width * result.chip_size.height
    analysed = result.label_map.size * chip * edge**2 * frame.pixel_ratio
    return {
        n: float(share) * analysed
        for n, share in zip(result.names, result.intervals[:, 0], strict=False)
    }


def _doubted(name: str) -> Measure:
    """Make the measure of a part of the widest interval."""
    return lambda _, result: 2 * result.doubts.get(name, math.nan)


def _width(_frame: Frame, result: FrameResult) -> float:
    """Tell how wide the widest interval is."""
    return float((result.intervals[:, 2] - result.intervals[:, 1]).max())


OF_FRAMES = Registry[Quantity](
    "pychip_stream.quantities",
    (
        Quantity(
            "intensity_mean", "count", "mean of the frame",
            measure=lambda frame, _: intensity(frame)[0],
        ),
        Quantity(
            "intensity_p1", "count", "1st percentile of the frame", plotted=False,
            measure=lambda frame, _: intensity(frame)[1],
        ),
        Quantity(
            "intensity_p99", "count", "99th percentile of the frame", plotted=False,
            measure=lambda frame, _: intensity(frame)[2],
        ),
        Quantity(
            "blank", "", "1 for a frame that shows nothing (no beam), which is left out",
            plotted=False, measure=lambda _, result: result.blank,
        ),
        Quantity(
            "drift", "", "how far the chips moved from the examples; 1 is a class's border",
            smoothed=8, measure=lambda _, result: result.drift,
        ),
        Quantity(
            "exposure_s", "s", "exposure time of the frame",
            measure=lambda frame, _: frame.exposure_s,
        ),
        Quantity(
            "strange", "", "chips stranger than nine in ten of the support frame's; see caveats",
            smoothed=8, measure=lambda _, result: result.strange,
        ),
        Quantity(
            "interval_width", "", "width of the widest interval", smoothed=8, measure=_width
        ),
        *(
            Quantity(
                f"interval_{doubt}", "", f"width of it that {doubt} alone would give",
                plotted=False, watched=False, smoothed=8,
                measure=_doubted(doubt),
            )
            for doubt in DOUBTS
        ),
        Quantity(
            "counted", "", "share of the chips named so, where the fraction is an estimate",
            measure=_counted, per_class=True,
        ),
        Quantity(
            "domains", "", "connected areas of chips", measure=_domains, per_class=True,
        ),
        Quantity(
            "area_nm2", "nm^2", "area of the specimen, of the chips together",
            measure=_areas, per_class=True, optional=True,
        ),
        Quantity(
            "pixel_size_ratio", "", "pixel size over that of the examples, if chips were matched",
            plotted=False, measure=lambda _, result: result.pixel_size_ratio, optional=True,
        ),
        _of_file("stage_temperature_C", "degC", "temperature of stage or holder"),
        _of_file("stage_alpha_deg", "deg", "tilt of the stage about the holder's axis"),
        _of_file("stage_beta_deg", "deg", "tilt of the stage about the other axis"),
        _of_file("stage_x_um", "um", "position of the stage along x"),
        _of_file("stage_y_um", "um", "position of the stage along y"),
        _of_file("stage_z_um", "um", "height of the stage"),
        _of_file("high_voltage_kV", "kV", "acceleration voltage"),
        _of_file("magnification", "", "as the instrument tells it"),
        _of_file("camera_length_mm", "mm", "camera length"),
        _of_file("dwell_us", "us", "time of the beam on a pixel"),
        _of_file("dose_rate_e_A2_s", "1/(angstrom^2 s)", "electrons on an area in a second"),
    ),
)  # fmt: skip
"""Quantities of one frame, or of each class in it, in the order in which tables hold them."""

_STIMULI: dict[str, Quantity] = {}
_MOST_STIMULI = 1000


def declare_stimulus(name: str, unit: str, meaning: str) -> None:
    """Make known a quantity that readings of a holder, a furnace, … are joined to frames as.

    What is done to a specimen is known only once somebody tells it; a declared name stays.
    """
    if name not in OF_FRAMES and len(_STIMULI) < _MOST_STIMULI:
        _STIMULI.setdefault(name, Quantity(name, unit, meaning, optional=True))


OF_RUNS = (
    Quantity("backlog", "", "frames seen and not archived"),
    Quantity("latency", "s", "from the sight of the newest frame to its result"),
    Quantity("silence", "s", "since the last new frame"),
    Quantity("failed", "", "frames that could not be analysed"),
    Quantity("missing", "", "frames missing in in-situ series"),
    Quantity("stimulus_silence", "s", "since the source that is silent for longest told something"),
    Quantity("change_points", "", "change points of curves told in the last minute"),
    Quantity("troubled", "", "services that are not well"),
)
"""Quantities of a run as it goes on."""

FRACTIONS = ("fraction", "unknown")
"""Shares of the newest frame that rules watch; a fraction is that of a named class."""


def measure(frame: Frame, result: FrameResult) -> dict[str, float]:
    """Measure every quantity of a frame that has a value.

    A measure of another package that fails costs its value, not the frame, and is said once.
    """
    found: dict[str, float | None] = {}
    for quantity in OF_FRAMES:
        if quantity.measure is None:
            continue
        try:
            value = quantity.measure(frame, result)
            if quantity.per_class:
                assert isinstance(value, Mapping)
                found |= {f"{name}.{quantity.name}": value[name] for name in result.names}
            else:
                assert not isinstance(value, Mapping)
                found[quantity.name] = value
        except Exception as error:
            _say_once(quantity.name, f"{type(error).__name__}: {error}")
    return {n: float(v) for n, v in found.items() if v is not None and np.isfinite(v)}


@lru_cache(maxsize=100)
def _say_once(name: str, error: str) -> None:
    logger.error("quantity %s cannot be measured (%s)", name, error)


def find(name: str) -> Quantity | None:
    """Return the quantity of frames, or of a class in them, that stands under a name."""
    if name in _STIMULI:
        return _STIMULI[name]
    last, of = split(name)
    if last not in OF_FRAMES or OF_FRAMES[last].per_class != bool(of):
        return None
    return OF_FRAMES[last].of_class(of) if of else OF_FRAMES[last]


def split(name: str) -> tuple[str, str]:
    """Take a full name apart: quantity and class, which is empty where it has none."""
    of, _, last = name.rpartition(".")
    return last, of


def of_frames(classes: Iterable[str] = (), optional: Container[str] = ()) -> tuple[Quantity, ...]:
    """Return every quantity that frames with these classes have, under its full name.

    Parameters
    ----------
    optional
        Which of those that need not be there are.
    """
    names = tuple(classes)
    return tuple(
        one
        for quantity in (*OF_FRAMES, *_STIMULI.values())
        if not quantity.optional or quantity.name in optional
        for one in (map(quantity.of_class, names) if quantity.per_class else (quantity,))
    )


def needs_class(name: str) -> bool:
    """Whether a rule that watches this needs the name of a class."""
    return name == "fraction" or (name in OF_FRAMES and OF_FRAMES[name].per_class)


def watched() -> tuple[str, ...]:
    """Names of everything that alert rules can watch."""
    frames = tuple(q.name for q in OF_FRAMES if q.watched)
    return (*FRACTIONS, *frames, *(q.name for q in OF_RUNS))


def tell(name: str, value: float) -> str:
    """Write a value of what rules watch, with its unit."""
    if name in FRACTIONS:
        return f"{value:.1%}"
    known = (*OF_FRAMES, *_STIMULI.values(), *OF_RUNS)
    quantity = next((q for q in known if q.name == name), Quantity(name, "", name))
    return quantity.tell(value)
