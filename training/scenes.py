"""Whole procedural micrographs: phases laid out, joined, and seen by an instrument."""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from pychip_stream.domain.normalization import Normalization
from pychip_stream.model.encoders.dense import axis_filter, window
from training.phases import sample_phases
from training.textures import (
    Component,
    Image,
    Rng,
    Texture,
    drift,
    render,
    sample_component,
    sample_texture,
    smooth_noise,
)

CELL = 16
CHIP = 4
"""Cells per chip edge."""
Labels = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Specimen:
    """What two scenes of one episode have in common.

    Attributes
    ----------
    phases
        Textures; several may belong to one class.
    classes
        Class of each phase.
    layout
        "blobs", "layers" or "patches".
    scale
        Size of the regions in pixels.
    softness
        Width of the interfaces in pixels.
    rim
        Brightness of the interfaces (edge effect), may be negative.
    rim_width
        Its reach in pixels.
    common
        What all phases have (pores, scratches, polishing marks) and that tells nothing.
    drift
        How much a phase differs from place to place; 1 is a little.
    """

    phases: tuple[Texture, ...]
    classes: tuple[int, ...]
    layout: str
    scale: float
    softness: float
    rim: float
    rim_width: float
    common: tuple[Component, ...]
    drift: float


@dataclass(frozen=True)
class Scene:
    """Normalised image (S, S) and the share of each class in every cell (K, S/16, S/16)."""

    image: Image
    shares: Image


@dataclass(frozen=True)
class Instrument:
    """How the specimen is seen.

    `zoom` is the enlargement of chips smaller than 64 px, `contrast` a factor on what stands out
    from the mean grey value, negative where bright and dark have changed places.
    """

    gamma: float
    blur: float
    dose: float
    readout: float
    grain: float
    gradient: float
    lines: float
    scratches: int
    zoom: float
    contrast: float = 1.0


def sample_specimen(rng: Rng) -> Specimen:
    """Draw a specimen of two to four classes, some of which may be several phases."""
    count = int(rng.choice((2, 3, 4), p=(0.6, 0.28, 0.12)))
    phases = list(sample_phases(count, rng))
    classes = list(range(count))
    while len(phases) < count + 3 and rng.uniform() < 0.4:
        phases.append(sample_texture(rng))
        classes.append(int(rng.integers(count)))
    order = rng.permutation(len(phases))
    return Specimen(
        phases=tuple(phases[i] for i in order),
        classes=tuple(classes[i] for i in order),
        layout=str(rng.choice(("blobs", "layers", "patches"), p=(0.45, 0.25, 0.3))),
        scale=float(np.exp(rng.uniform(np.log(50), np.log(160)))),
        softness=float(rng.uniform(0.3, 4)),
        rim=float(rng.normal(0, 0.12)) if rng.uniform() < 0.5 else 0.0,
        rim_width=float(rng.uniform(1, 8)),
        common=(sample_component(rng),) if rng.uniform() < 0.35 else (),
        drift=float(rng.exponential(1.5)),
    )


def sample_instrument(rng: Rng) -> Instrument:
    """Draw an instrument."""
    return Instrument(
        gamma=float(np.exp(rng.normal(0, 0.2))),
        blur=float(max(rng.normal(0.3, 0.6), 0)),
        dose=float(np.exp(rng.uniform(np.log(50), np.log(20000)))),
        readout=float(np.exp(rng.uniform(np.log(0.001), np.log(0.05)))),
        grain=float(rng.choice((0.0, 0.6, 1.2), p=(0.5, 0.3, 0.2))),
        gradient=float(rng.uniform(0, 0.15)) if rng.uniform() < 0.6 else 0.0,
        lines=float(rng.exponential(0.006)) if rng.uniform() < 0.3 else 0.0,
        scratches=int(rng.poisson(1.5)) if rng.uniform() < 0.3 else 0,
        zoom=float(rng.choice((1.0, 1.5, 2.0), p=(0.6, 0.15, 0.25))),
    )


def vary(instrument: Instrument, rng: Rng) -> Instrument:
    """Return the same instrument in another session; two in five are quite another one."""
    if rng.uniform() < 0.4:
        turned = rng.uniform() < 0.15
        return replace(
            instrument,
            gamma=instrument.gamma * float(np.exp(rng.normal(0, 0.25))),
            blur=max(instrument.blur + float(rng.normal(0.2, 0.7)), 0.0),
            dose=instrument.dose * float(np.exp(rng.normal(0, 0.8))),
            readout=instrument.readout * float(np.exp(rng.normal(0, 0.6))),
            grain=sample_instrument(rng).grain if rng.uniform() < 0.3 else instrument.grain,
            gradient=float(rng.uniform(0, 0.15)),
            zoom=instrument.zoom * float(np.exp(rng.normal(0, 0.05))),
            contrast=float(np.exp(rng.normal(0, 0.3))) * (-1 if turned else 1),
        )
    return replace(
        instrument,
        gamma=instrument.gamma * float(np.exp(rng.normal(0, 0.08))),
        blur=max(instrument.blur + float(rng.normal(0, 0.2)), 0.0),
        dose=instrument.dose * float(np.exp(rng.normal(0, 0.3))),
        readout=instrument.readout * float(np.exp(rng.normal(0, 0.2))),
        gradient=instrument.gradient * float(rng.uniform(0.3, 1.5)),
    )


def lay_out(specimen: Specimen, size: int, rng: Rng) -> npt.NDArray[np.intp]:
    """Phase of every pixel (size, size)."""
    count = len(specimen.phases)
    if specimen.layout == "patches":
        seeds = max(int((size / specimen.scale) ** 2), 2 * count)
        owners = np.concatenate([rng.permutation(count), rng.integers(0, count, seeds)])
        places = rng.uniform(0, size, (len(owners), 2)).astype(np.float32)
        warp = [smooth_noise(size, rng, specimen.scale / 3) * specimen.scale / 8 for _ in range(2)]
        y, x = np.mgrid[:size, :size].astype(np.float32)
        best = np.full((size, size), np.inf, np.float32)
        out = np.zeros((size, size), np.intp)
        for (py, px), owner in zip(places, owners, strict=True):
            distance = (y + warp[0] - py) ** 2 + (x + warp[1] - px) ** 2
            nearer = distance < best
            best[nearer], out[nearer] = distance[nearer], owner
        return out
    if specimen.layout == "layers":
        angle = rng.normal(math.pi / 2, 0.15) if rng.uniform() < 0.6 else rng.uniform(0, math.pi)
        y, x = np.mgrid[:size, :size].astype(np.float32)
        field = x * math.cos(angle) + y * math.sin(angle)
        field += smooth_noise(size, rng, specimen.scale) * specimen.scale / 6
        field += smooth_noise(size, rng, 12) * rng.uniform(0, 6)
    else:
        field = smooth_noise(size, rng, specimen.scale)
    shares = rng.dirichlet(np.full(count, 6.0))
    levels = np.quantile(field, np.cumsum(shares)[:-1])
    return np.digitize(field, levels)


def make_scene(specimen: Specimen, instrument: Instrument, size: int, rng: Rng) -> Image:
    """Return (K + 1, size, size): the raw image, then the share of each class per pixel."""
    phase = lay_out(specimen, size, rng)
    classes = np.asarray(specimen.classes)
    image = np.zeros((size, size), np.float32)
    edge = np.zeros((size, size), np.float32)
    for number, texture in enumerate(specimen.phases):
        mask = (phase == number).astype(np.float32)
        soft = ndimage.gaussian_filter(mask, specimen.softness)
        image += soft * render(drift(texture, rng, specimen.drift), size, rng)
        if specimen.rim:
            wide = ndimage.gaussian_filter(mask, specimen.rim_width)
            edge += 4 * wide * (1 - wide)
    image += specimen.rim * edge
    for component in specimen.common:
        image += render(Texture(0.0, (component,)), size, rng)
    labels = classes[phase]
    shares = np.stack([labels == k for k in range(classes.max() + 1)]).astype(np.float32)
    return np.concatenate([observe(image, instrument, rng)[None], shares])


def observe(specimen: Image, instrument: Instrument, rng: Rng) -> Image:
    """Image a specimen: shading, blur, dose, readout noise, scan lines, scratches, zoom."""
    full = specimen.shape[0]
    size = min(round(full / instrument.zoom), full)
    if instrument.contrast != 1:
        mean = specimen.mean()
        specimen = mean + instrument.contrast * (specimen - mean)
    if size != full:
        specimen = resized(specimen, size)
    image = np.clip(specimen, 0, None) ** instrument.gamma
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j].astype(np.float32)
    if instrument.gradient:
        a, b, c = rng.normal(0, 1, 3) * instrument.gradient
        image = image * (1 + 0.5 * c * (x**2 + y**2)) + a * x + b * y
    for _ in range(instrument.scratches):
        angle, offset = rng.uniform(0, math.pi), rng.uniform(-1, 1)
        distance = np.abs(x * math.cos(angle) + y * math.sin(angle) - offset) * size / 2
        image = image + rng.normal(0, 0.15) * np.exp(-((distance / rng.uniform(0.7, 2)) ** 2))
    if instrument.blur > 0.2:
        image = ndimage.gaussian_filter(image, instrument.blur)
    noise = rng.standard_normal((size, size), dtype=np.float32)
    if instrument.grain:
        noise = ndimage.gaussian_filter(noise, instrument.grain)
        noise /= noise.std()
    deviation = np.sqrt(np.clip(image, 0, None) / instrument.dose + instrument.readout**2)
    image = image + noise * deviation
    if instrument.lines:
        image = image + rng.normal(0, instrument.lines, (size, 1)).astype(np.float32)
    return resized(np.asarray(image, dtype=np.float32), full)


def resized(image: Image, size: int) -> Image:
    """Resample a square image as the encoder does."""
    if image.shape[0] == size:
        return image
    axis = axis_filter(image.shape[0], image.shape[0], size, 0, size)
    return np.asarray(window(torch.from_numpy(image), axis, axis).numpy())


def make_pair(size: int, rng: Rng) -> tuple[Scene, Scene] | None:
    """Draw two scenes of one specimen; None if a class got too little room for chips."""
    specimen, instrument = sample_specimen(rng), sample_instrument(rng)
    later = vary(instrument, rng)
    first = make_scene(specimen, instrument, size, rng)
    second = make_scene(specimen, later, size, rng)
    own = Normalization.from_percentiles(first[0])
    if rng.uniform() < 0.6:
        other = Normalization.from_percentiles(second[0])
    else:  # one range for a run, with a little drift of gain and offset
        span = own.high - own.low
        shift = float(rng.normal(0, 0.02)) * span
        other = Normalization("range", own.low + shift, own.high + shift * float(rng.normal(1, 1)))
    scenes = tuple(
        Scene(_digitised(norm.apply(raw[0]), rng), _cell_shares(raw[1:]))
        for norm, raw in ((own, first), (other, second))
    )
    if all((room(s) >= 8).all() for s in scenes[:1]):
        return scenes[0], scenes[1]
    return None


def room(scene: Scene) -> npt.NDArray[np.intp]:
    """Chip positions (cell steps) that each class covers to 80 %."""
    return np.asarray((chip_shares(scene.shares) >= 0.8).sum((1, 2)))


def chip_shares(shares: Image) -> Image:
    """Share of each class in every 4 × 4-cell chip: (K, n - 3, n - 3)."""
    windows = np.lib.stride_tricks.sliding_window_view(shares, (CHIP, CHIP), axis=(1, 2))
    return np.asarray(windows.mean((-1, -2)), dtype=np.float32)


def _cell_shares(shares: Image) -> Image:
    k, size, _ = shares.shape
    cells = shares.reshape(k, size // CELL, CELL, size // CELL, CELL)
    return np.asarray(cells.mean((2, 4)), dtype=np.float32)


def _digitised(image: Image, rng: Rng) -> Image:
    """Eight bits, as many detectors and every exported picture have."""
    return np.rint(image * 255) / np.float32(255) if rng.uniform() < 0.6 else image
