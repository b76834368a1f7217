"""Extended headers of MRC: what Thermo Fisher (FEI1, FEI2, the old block) and SerialEM write.

Each section of a file has a block. Places and bits of FEI1 and FEI2 as in the dtypes of mrcfile;
those of SerialEM as its and IMOD's documentation give them.
"""

import struct
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from pychip_stream.domain.frames import Stamp
from pychip_stream.domain.pixel_size import pixel_size
from pychip_stream.formats import units
from pychip_stream.formats.metadata import Metadata, collect
from pychip_stream.formats.source import Source

Order = Literal["<", ">"]
_HEADER = 1024
_FEI = 768
_OLD = 128

# (where, as what, where the bits are that say whether it is known, which of them), name, unit
_FEI_FIELDS: Final = (
    ((84, "d", 8, 5), "high_voltage_kV", "V"),
    ((100, "d", 8, 7), "stage_alpha_deg", "deg"),
    ((108, "d", 8, 8), "stage_beta_deg", "deg"),
    ((116, "d", 8, 9), "stage_x_um", "m"),
    ((124, "d", 8, 10), "stage_y_um", "m"),
    ((132, "d", 8, 11), "stage_z_um", "m"),
    ((289, "d", 8, 31), "magnification", ""),
    ((301, "d", 297, 0), "camera_length_mm", "m"),
    ((571, "d", 490, 14), "dwell_us", "s"),
    ((20, "16s", 8, 1), "microscope", ""),
    ((519, "16s", 490, 6), "detector", ""),
    ((435, "16s", 297, 19), "detector", ""),
)
_TIME, _DOSE = (12, "d", 8, 0), (92, "d", 8, 6)
_WIDTH, _HEIGHT = (156, "d", 8, 14), (164, "d", 8, 15)
_EXPOSURES = ((419, "d", 297, 16), (579, "d", 490, 15))
_OLD_FIELDS: Final = (
    (0, "stage_alpha_deg", "deg"),
    (1, "stage_beta_deg", "deg"),
    (2, "stage_x_um", "m"),
    (3, "stage_y_um", "m"),
    (4, "stage_z_um", "m"),
    (12, "magnification", ""),
    (13, "high_voltage_kV", "V"),
)
# Bit, numbers of 16 bits, and what the numbers are: name, unit, divided by.
_SERIAL_EM: Final[tuple[tuple[int, int, tuple[tuple[str, str, float], ...]], ...]] = (
    (1, 1, (("stage_alpha_deg", "deg", 100),)),
    (2, 3, ()),
    (4, 2, (("stage_x_um", "um", 25), ("stage_y_um", "um", 25))),
    (8, 1, (("magnification", "", 0.01),)),
    (16, 1, ()),
    (32, 2, ()),
)


@dataclass(frozen=True, slots=True)
class Told:
    """What is said of a section; `pixel_size` is None where nothing is.

    Attributes
    ----------
    pixel_size, pixel_ratio
        Width in nm; height over width.
    """

    pixel_size: float | None = None
    pixel_ratio: float = 1.0
    exposure_s: float | None = None
    time: Stamp | None = None
    metadata: Metadata = field(default_factory=dict)


def section(source: Source, head: bytes, order: Order, index: int) -> Told:
    """Read what the extended header says of a section; of kinds that are not known nothing."""
    kind, extended = head[104:108], int(np.frombuffer(head[92:96], f"{order}i4")[0])
    if kind in (b"FEI1", b"FEI2") and extended >= _FEI:
        size = int.from_bytes(source.bytes_at(_HEADER, 4), "little" if order == "<" else "big")
        own = size >= _FEI and (index + 1) * size <= extended
        block = source.bytes_at(_HEADER + (index * size if own else 0), _FEI)
        return _fei(block, order, own=own or index == 0)
    if kind == b"SERI":
        return _serial_em(source, head, order, index)
    if kind.strip(b"\0 ") == b"" and extended >= _OLD and extended % _OLD == 0:
        at = index * _OLD if (index + 1) * _OLD <= extended else 0
        numbers = np.frombuffer(source.bytes_at(_HEADER + at, 56), f"{order}f4").astype(float)
        return _old(numbers, own=at > 0 or index == 0)
    return Told()


def _fei(block: bytes, order: Order, *, own: bool) -> Told:
    """Read a block; one of another section tells no more than pixel size and exposure."""

    def find(place: tuple[int, str, int, int]) -> Any:
        at, code, mask_at, bit = place
        known = struct.unpack_from(f"{order}I", block, mask_at)[0] >> bit & 1
        value = struct.unpack_from(order + code, block, at)[0] if known else None
        return value.split(b"\0")[0].decode("latin-1") if isinstance(value, bytes) else value

    width, height = (_plausible_nm(find(place)) for place in (_WIDTH, _HEIGHT))
    exposure = next(filter(None, (units.seconds(find(place)) for place in _EXPOSURES)), None)
    told = Told(width, height / width if width and height else 1.0, exposure)
    if not own:
        return told
    fields = {str(place): place for place, _, _ in _FEI_FIELDS}
    table = [(str(place), name, unit) for place, name, unit in _FEI_FIELDS]
    metadata = collect(lambda place: find(fields[place]), table)
    if (dose := find(_DOSE)) is not None and exposure:
        metadata |= collect(lambda _: dose / exposure, [("", "dose_rate_e_A2_s", "e/m2/s")])
    return Told(width, told.pixel_ratio, exposure, units.from_days(find(_TIME)), metadata)


def _old(numbers: npt.NDArray[np.float64], *, own: bool) -> Told:
    """Read tilts, positions, exposure, pixel size (m), magnification where they can be that."""
    exposure, magnification = numbers[8], numbers[12]
    size = _plausible_nm(numbers[11])
    if size is None or not (
        np.isfinite(numbers[:13]).all()
        and (np.abs(numbers[:2]) <= 180).all()
        and (np.abs(numbers[2:7]) < 1).all()  # metres
        and (exposure == 0 or 1e-6 < exposure < 1e5)
        and (magnification == 0 or 1 <= magnification < 1e8)
    ):
        return Told()
    table = [(str(place), name, unit) for place, name, unit in _OLD_FIELDS]
    metadata = collect(lambda place: numbers[int(place)], table) if own else {}
    return Told(size, 1.0, units.seconds(exposure), None, metadata)


def _serial_em(source: Source, head: bytes, order: Order, index: int) -> Told:
    size, flags = (int(n) for n in np.frombuffer(head[128:132], f"{order}i2"))
    parts = [part for part in _SERIAL_EM if flags & part[0]]
    known = 2 * sum(count for _, count, _ in parts)
    extended = int(np.frombuffer(head[92:96], f"{order}i4")[0])
    if known == 0 or size != known or (index + 1) * size > extended:
        return Told()
    numbers = np.frombuffer(source.bytes_at(_HEADER + index * size, size), f"{order}i2")
    metadata: Metadata = {}
    for _, count, fields in parts:
        values = {name: numbers[i] / divisor for i, (name, _, divisor) in enumerate(fields)}
        metadata |= collect(values.get, [(name, name, unit) for name, unit, _ in fields])
        numbers = numbers[count:]
    return Told(metadata=metadata)


def _plausible_nm(metres: Any) -> float | None:
    size, _ = pixel_size(metres, "m")
    return size if size is not None and 1e-4 < size < 1e5 else None
