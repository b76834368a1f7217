"""Guidance on the grid: how large a chip should be, judged from one frame.

Where a lattice shows as a peak in the power spectrum, a chip wants about 2.75 of its periods
(the published chips of pyChip's two lattice images hold 2.69 and 2.85); elsewhere about the
length over which the image resembles itself (1/e of its autocorrelation).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy  # its parts load when they are used

from pychip_stream.domain.chips import CELLS, ChipSize
from pychip_stream.domain.frames import Frame

SMALLEST = 32
"""Edge in pixels below which a chip holds too little for an encoder."""
PERIODS = (2.0, 2.75, 4.0)
"""Fewest, best and most lattice periods in a chip."""
_STRONG = 100.0
"""Power of a lattice peak over the median at its frequency; noise alone reaches about 20."""
_SHORTEST = 3.0
"""Periods below this, in pixels, are scan noise more often than lattices."""
_ACROSS = 8
"""A lattice repeats at least this often across the part that is looked at."""
_OVERTONE = 0.01
_SAMPLES = 4.0
"""Pixels per period that a reduced image must keep; 2 is Nyquist's limit."""
_TILE = 768
_OVERVIEW = 1024
_FEWEST_CHIPS = 5

Float = npt.NDArray[np.float64]


@dataclass(frozen=True)
class GridAdvice:
    """A recommended chip size and what it was judged from; lengths in pixels.

    Attributes
    ----------
    chip_size
        Recommended edge.
    smallest, largest
        Sizes that are reasonable as well.
    kind
        What decided: a "lattice" or the "texture".
    period, strength
        Of the strongest lattice peak and its power over the median at that frequency; None
        where there is no lattice.
    correlation
        Distance at which the autocorrelation has fallen to 1/e.
    downsampling
        Whole factor by which frames can be reduced with nothing lost for these chips.
    largest_downsampling
        Largest whole factor that does not alias the finest lattice fringes; None without a
        lattice.
    reason
        Why, in one line.
    warnings
        What speaks against it, one line each.
    """

    chip_size: int
    smallest: int
    largest: int
    kind: Literal["lattice", "texture"]
    period: float | None
    strength: float | None
    correlation: float
    downsampling: int
    largest_downsampling: int | None
    reason: str
    warnings: tuple[str, ...] = ()

    @property
    def size(self) -> ChipSize:
        """The recommendation as a chip size."""
        return ChipSize(self.chip_size, self.chip_size)


@dataclass(frozen=True)
class Lattice:
    """The strongest periodic structure: its period, its finest strong one, its strength."""

    period: float
    finest: float
    strength: float


def recommend_grid(image: Frame | npt.NDArray[np.generic]) -> GridAdvice:
    """Recommend a chip size for a frame or (H, W) counts; what is not finite is ignored."""
    frame = image if isinstance(image, Frame) else Frame(image)
    pixels = _finite(frame.pixels)
    correlation = correlation_length(pixels)
    lattice = find_lattice(pixels)
    room = max(min(pixels.shape) // _FEWEST_CHIPS, CELLS)
    if lattice is None:
        return _from_texture(correlation, room)
    return _from_lattice(lattice, correlation, room)


def find_lattice(pixels: Float) -> Lattice | None:
    """Look for a lattice in the power spectrum of the (H, W) pixels, all of them finite."""
    edge = min(*pixels.shape, _TILE)
    if edge < _ACROSS * _SHORTEST:
        return None
    found = [_strongest(tile) for tile in _tiles(pixels, edge)]
    return max((one for one in found if one), key=lambda one: one.strength, default=None)


def correlation_length(pixels: Float) -> float:
    """Distance in pixels at which the autocorrelation, averaged over directions, is 1/e.

    The (H, W) pixels are all finite; a plane is subtracted. Without any contrast the answer is 0.
    """
    step = -(-max(pixels.shape) // _OVERVIEW)
    height, width = (n // step * step for n in pixels.shape)
    blocks = pixels[:height, :width].reshape(height // step, step, width // step, step)
    small = _flattened(blocks.mean(axis=(1, 3)))
    shape = tuple(scipy.fft.next_fast_len(2 * n, real=True) for n in small.shape)
    power = np.abs(scipy.fft.rfft2(small, shape)) ** 2
    lags = scipy.fft.irfft2(power, shape)
    if not lags[0, 0] > 1e-9 * max(float(np.square(pixels).sum()), 1e-300):
        return 0.0
    reach = max(min(small.shape) // 2, 2)
    y, x = np.mgrid[-reach + 1 : reach, :reach]
    ring = np.rint(np.hypot(y, x)).astype(np.intp)
    profile = scipy.ndimage.mean(lags[y, x] / lags[0, 0], ring, np.arange(reach))
    below = np.flatnonzero(profile < np.exp(-1))
    if not len(below):
        return float(reach * step)
    lag = int(below[0])
    before, after = profile[lag - 1], profile[lag]
    return float(step * (lag - 1 + (before - np.exp(-1)) / (before - after)))


def _from_lattice(lattice: Lattice, correlation: float, room: int) -> GridAdvice:
    fewest, best, most = (factor * lattice.period for factor in PERIODS)
    wanted = min(max(best, SMALLEST), most)
    size = _even(min(wanted, room))
    safe = max(int(lattice.finest / _SAMPLES), 1)
    warnings = []
    if size < SMALLEST:
        warnings.append(_too_small(size))
    if size < fewest:
        warnings.append(f"the frame is too small for chips of {fewest:.0f} px, two periods")
    if lattice.finest < _SAMPLES:
        warnings.append(
            f"fringes of {lattice.finest:.1f} px are close to aliasing; magnify more or bin less"
        )
    return GridAdvice(
        chip_size=size,
        smallest=_even(min(fewest, room)),
        largest=_even(min(most, room)),
        kind="lattice",
        period=lattice.period,
        strength=lattice.strength,
        correlation=correlation,
        downsampling=max(min(safe, size // SMALLEST), 1),
        largest_downsampling=safe,
        reason=(
            f"a lattice repeats every {lattice.period:.1f} px: {size} px hold "
            f"{size / lattice.period:.1f} periods"
        ),
        warnings=tuple(warnings),
    )


def _from_texture(correlation: float, room: int) -> GridAdvice:
    size = _even(min(max(correlation, SMALLEST), room))
    warnings = [_too_small(size)] if size < SMALLEST else []
    if correlation > room:
        warnings.append(
            f"structures reach over {correlation:.0f} px, but the frame has room for chips of "
            f"{size} px; magnify less"
        )
    if correlation <= 0:
        warnings.append("the frame has no contrast; choose another frame")
    found = f"its structures are about {correlation:.0f} px large"
    return GridAdvice(
        chip_size=size,
        smallest=_even(min(SMALLEST, room)),
        largest=_even(min(max(2 * correlation, 2 * SMALLEST), room)),
        kind="texture",
        period=None,
        strength=None,
        correlation=correlation,
        downsampling=max(size // SMALLEST, 1),
        largest_downsampling=None,
        reason=f"no lattice; {found}"
        + (f", less than the {SMALLEST} px that a chip needs" if correlation < SMALLEST else ""),
        warnings=tuple(warnings),
    )


def _strongest(tile: Float) -> Lattice | None:
    """Find the peak that stands out most in one square part."""
    edge = len(tile)
    window = np.hanning(edge)
    power = np.abs(scipy.fft.rfft2(_flattened(tile) * window[:, None] * window)) ** 2
    radius = np.hypot(scipy.fft.fftfreq(edge)[:, None], scipy.fft.rfftfreq(edge)) * edge
    ring = np.rint(radius).astype(np.intp)
    floor = scipy.ndimage.median(power, ring, np.arange(ring.max() + 1))
    # Rounding errors of an image without high frequencies must not look like a lattice.
    floor = np.maximum(floor, 1e-9 * float(power.max(initial=0.0)))
    lattice_like = (radius >= _ACROSS) & (radius <= edge / _SHORTEST)
    with np.errstate(divide="ignore", invalid="ignore"):
        over = np.where(lattice_like & (floor[ring] > 0), power / floor[ring], 0.0)
    best = float(over.max())
    if best < _STRONG:
        return None
    # Around a peak the median falls, so the largest ratio may sit on its flank.
    peak = np.unravel_index(int(np.where(over >= 0.25 * best, power, 0.0).argmax()), over.shape)
    fine = (over >= _STRONG) & (power >= _OVERTONE * power[peak])
    fine[peak] = True  # though it may stand out less than the largest ratio
    return Lattice(float(edge / radius[peak]), float(edge / radius[fine].max()), float(over[peak]))


def _tiles(pixels: Float, edge: int) -> list[Float]:
    """Square parts: the middle one, and the corners where the frame is much larger."""
    room = [n - edge for n in pixels.shape]
    places = [(room[0] // 2, room[1] // 2)]
    if max(room) > edge // 4:
        places += [(y, x) for y in {0, room[0]} for x in {0, room[1]}]
    return [pixels[y : y + edge, x : x + edge] for y, x in places]


def _flattened(pixels: Float) -> Float:
    """Subtract the plane that fits best (the illumination)."""
    y, x = (np.linspace(-1.0, 1.0, n) if n > 1 else np.zeros(1) for n in pixels.shape)
    centred = pixels - pixels.mean()
    down = float(centred.mean(axis=1) @ y) / max(float(y @ y), 1e-12)
    right = float(centred.mean(axis=0) @ x) / max(float(x @ x), 1e-12)
    return np.asarray(centred - down * y[:, None] - right * x)


def _finite(pixels: npt.NDArray[np.generic]) -> Float:
    """Pixels as float64 about their middle, within ±2; what is not finite takes the median."""
    values = pixels.astype(np.float64)
    known = np.isfinite(values)
    scale = float(np.abs(values[known]).max(initial=0.0))
    if not scale > np.finfo(np.float32).tiny:
        return np.zeros(values.shape)
    values /= scale
    middle = float(np.median(values[known]))
    return np.asarray(np.where(known, values, middle) - middle)


def _even(length: float) -> int:
    return max(2 * round(length / 2), CELLS)


def _too_small(size: int) -> str:
    return (
        f"chips of {size} px are smaller than the {SMALLEST} px that an encoder can tell apart "
        "well; magnify more if you can"
    )
