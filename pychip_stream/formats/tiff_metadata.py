"""What microscopes write beside the pixels of a TIFF file: pixel size, exposure, time."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import tifffile

from pychip_stream.domain.frames import Stamp
from pychip_stream.domain.pixel_size import pixel_size
from pychip_stream.formats import units

_GATAN_UNIT, _GATAN_SCALE = 65003, 65009
_DATETIME = 306
_OLYMPUS = 33560
_MAX_XML = 1 << 20
# Resolutions of printers and screens are no calibration; micrographs have pixels below this.
_LARGEST_PIXEL_NM = 5000.0


@dataclass(frozen=True, slots=True)
class Meta:
    """Pixel size with unit, acquisition time, exposure, None where unknown; height over width."""

    pixel_size: float | None = None
    unit: str | None = None
    time: Stamp | None = None
    exposure_s: float | None = None
    pixel_ratio: float = 1.0


def is_ome(description: str) -> bool:
    """Tell OME by a description, which then speaks of the whole file."""
    return "<OME" in description[:2000]


def is_imagej(description: str) -> bool:
    """Tell ImageJ by a description; all planes may lie behind its page."""
    return description.startswith("ImageJ=")


def describe(file: tifffile.TiffFile, page: tifffile.TiffPage, description: str) -> Meta:
    """Find what a page says about itself; what cannot be understood counts as unknown.

    Parameters
    ----------
    description
        Of the page; that of the first page where it speaks of the whole file, as OME's does.
    """
    for source in (_ome, _jeol, _imagej):
        meta = _try(source, page, description)
        if meta is not None:
            return _with_time(meta, page)
    for vendor in (_gatan, _fei, _zeiss, _tvips, _olympus, _resolution):
        meta = _try(vendor, file, page)
        if meta is not None:
            return _with_time(meta, page)
    return _with_time(Meta(), page)


def _meta(
    x: Any, unit: Any, y: Any = None, *, time: Stamp | None = None, exposure: float | None = None
) -> Meta:
    """Put together what was found; y in the unit of x, None where pixels are square."""
    size, name = pixel_size(x, unit)
    height, _ = pixel_size(y, unit)
    return Meta(size, name, time, exposure, height / size if height and size else 1.0)


def _try(source: Any, *arguments: Any) -> Meta | None:
    """Metadata is a courtesy: whatever a vendor block contains, it must not cost the frame."""
    try:
        found: Meta | None = source(*arguments)
    except Exception:
        return None
    return found


def _with_time(meta: Meta, page: tifffile.TiffPage) -> Meta:
    if meta.time is not None:
        return meta
    try:
        stamp = units.from_text(page.tags.valueof(_DATETIME))
    except Exception:
        stamp = None
    return replace(meta, time=stamp)


@lru_cache(maxsize=2)
def xml(text: str) -> ET.Element | None:
    """Parse XML unless it is large or declares entities (which can be made to explode)."""
    if len(text) > _MAX_XML or "<!ENTITY" in text or "<!DOCTYPE" in text:
        return None
    try:
        return ET.fromstring(text.strip())  # noqa: S314
    except ET.ParseError:
        return None


def _ome(_page: tifffile.TiffPage, description: str) -> Meta | None:
    root = xml(description) if is_ome(description) else None
    pixels = root.find(".//{*}Pixels") if root is not None else None
    if root is None or pixels is None:
        return None
    plane, date = pixels.find("{*}Plane"), root.find(".//{*}AcquisitionDate")
    exposure = None
    if plane is not None:
        exposure = units.interval(plane.get("ExposureTime"), plane.get("ExposureTimeUnit", "s"))
    time = units.from_text((date.text or "").replace("Z", "+00:00")) if date is not None else None
    unit = pixels.get("PhysicalSizeXUnit", "µm")
    same = pixels.get("PhysicalSizeYUnit", "µm") == unit
    return _meta(
        pixels.get("PhysicalSizeX"),
        unit,
        pixels.get("PhysicalSizeY") if same else None,
        time=time,
        exposure=exposure,
    )


def _jeol(page: tifffile.TiffPage, description: str) -> Meta | None:
    if "<TemReporter" not in description[:2000]:
        return None
    root = xml(description)
    if root is None:
        return None
    return Meta(
        *_jeol_scale(page, root),
        units.from_text(root.findtext("DateTime")),
        units.seconds(root.findtext("Scan/ExposureTimeValue")),
    )


def _jeol_scale(page: tifffile.TiffPage, root: ET.Element) -> tuple[float | None, str | None]:
    """JEOL's resolution is that of a print at the magnification: 512 pixels are 200 mm wide."""
    imaging = root.find("ImageFormingSystem")
    per_unit, _ = _per_unit(page)
    if imaging is None or not per_unit or not imaging.findtext("ModeString", "").endswith("MAG"):
        return None, None
    magnification = float(imaging.findtext("SelectorValue", "0"))
    nm = 1e7 if page.tags.valueof(296) == 3 else 2.54e7
    return pixel_size(nm / per_unit / magnification if magnification else None, "nm")


def _imagej(page: tifffile.TiffPage, description: str) -> Meta | None:
    if not is_imagej(description):
        return None
    match = re.search(r"^unit=(.+)$", description, re.M)
    across, down = _per_unit(page)
    return _meta(1 / across if across else None, match and match[1], 1 / down if down else None)


def _gatan(_file: tifffile.TiffFile, page: tifffile.TiffPage) -> Meta | None:
    scale, unit = page.tags.valueof(_GATAN_SCALE), page.tags.valueof(_GATAN_UNIT)
    if scale is None:
        return None
    if isinstance(unit, bytes):
        unit = unit.decode("utf-8", "replace")
    return _meta(scale, unit)


def _fei(file: tifffile.TiffFile, _page: tifffile.TiffPage) -> Meta | None:
    found = file.fei_metadata
    if not found:
        return None
    user: Mapping[str, Any] = found.get("User", {}) or {}
    scans = [found.get(name, {}) or {} for name in ("Scan", "EScan")]
    scan = next((part for part in scans if "PixelWidth" in part), scans[0])
    return _meta(
        scan.get("PixelWidth"),
        "m",
        scan.get("PixelHeight"),
        time=units.from_date_and_clock(user.get("Date"), user.get("Time")),
        exposure=units.seconds(scans[0].get("FrameTime")),
    )


def _zeiss(file: tifffile.TiffFile, page: tifffile.TiffPage) -> Meta | None:
    """Zeiss: what is called a pixel size may be that of the raster before it was stored smaller."""
    found = file.sem_metadata
    if not found:
        return None
    date, clock = (found.get(key, ("", None))[1] for key in ("ap_date", "ap_time"))
    time = units.from_date_and_clock(date, clock)
    for key, parts in (
        ("ap_image_pixel_size", 1),
        ("ap_width", page.imagewidth),
        ("ap_pixel_size", 1),
    ):
        value = found.get(key)
        if isinstance(value, tuple) and len(value) >= 3:
            meta = _meta(float(value[1]) / parts, value[2], time=time)
            if meta.pixel_size is not None:
                return meta
    return _meta(found.get("", [0, 0, 0, None])[3], "m", time=time)


def _tvips(file: tifffile.TiffFile, _page: tifffile.TiffPage) -> Meta | None:
    found = file.tvips_metadata
    if not found:
        return None
    exposure = units.interval(found.get("ExposureTime"), "ms")
    return _meta(found.get("PixelSizeX"), "nm", found.get("PixelSizeY"), exposure=exposure)


def _olympus(_file: tifffile.TiffFile, page: tifffile.TiffPage) -> Meta | None:
    found = page.tags.valueof(_OLYMPUS)
    if not isinstance(found, dict) or not found:
        return None
    return _meta(found.get("pixelsizex"), "m", found.get("pixelsizey"))


def _resolution(_file: object, page: tifffile.TiffPage) -> Meta | None:
    """Resolution per inch or centimetre, if it is one that only a microscope can have."""
    nm = {2: 2.54e7, 3: 1e7}.get(int(page.tags.valueof(296, 2) or 2))
    across, down = _per_unit(page)
    if nm is None or not across:
        return None
    meta = _meta(nm / across, "nm", nm / down if down else None)
    return None if meta.pixel_size is None or meta.pixel_size > _LARGEST_PIXEL_NM else meta


def _per_unit(page: tifffile.TiffPage) -> tuple[float, float]:
    """Pixels per unit of resolution across and down; 0 where the page does not say."""
    return _ratio(page.tags.valueof(282)), _ratio(page.tags.valueof(283))


def _ratio(value: Any) -> float:
    if isinstance(value, tuple) and len(value) >= 2 and value[1]:
        return float(value[0]) / float(value[1])
    return float(value) if isinstance(value, int | float) else 0.0
