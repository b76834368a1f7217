"""What microscopes write beside the pixels of a TIFF file: pixel size, exposure, time."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tifffile

from pychip_stream.domain.frames import Stamp
from pychip_stream.formats import units

_GATAN_UNIT, _GATAN_SCALE = 65003, 65009
_DATETIME = 306
_TVIPS = 37706
_MAX_XML = 1 << 20
# Resolutions of printers and screens are no calibration; micrographs have pixels below this.
_LARGEST_PIXEL_NM = 5000.0


@dataclass(frozen=True, slots=True)
class Meta:
    """Pixel size with unit, acquisition time, exposure; None where unknown."""

    pixel_size: float | None = None
    unit: str | None = None
    time: Stamp | None = None
    exposure_s: float | None = None


def describe(file: tifffile.TiffFile, page: tifffile.TiffPage, description: str) -> Meta:
    """Find what a page says about itself; what cannot be understood counts as unknown."""
    for source in (_ome, _jeol, _imagej):
        meta = _try(source, page, description)
        if meta is not None:
            return _with_time(meta, page)
    for vendor in (_gatan, _fei, _zeiss, _tvips, _olympus, _resolution):
        meta = _try(vendor, file, page)
        if meta is not None:
            return _with_time(meta, page)
    return _with_time(Meta(), page)


def ome_planes(description: str) -> int:
    """Planes that an OME description puts into this one file; 1 if it does not say."""
    root = _xml(description) if "<OME" in description[:2000] else None
    if root is None or root.find(".//{*}UUID[@FileName]") is not None:
        return 1  # spread over several files: nobody can tell from one of them
    total = 0
    for pixels in root.findall(".//{*}Pixels"):
        sizes = [pixels.get(f"Size{axis}", "1") for axis in "ZCT"]
        if not all(re.fullmatch(r"\d{1,7}", size) for size in sizes):
            return 1
        samples = max(
            (int(c.get("SamplesPerPixel", "1")) for c in pixels.findall("{*}Channel")), default=1
        )
        z, c, t = (int(size) for size in sizes)
        total += z * t * max(1, c // max(1, samples))
    return max(1, total)


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
    return Meta(meta.pixel_size, meta.unit, stamp, meta.exposure_s)


def _xml(text: str) -> ET.Element | None:
    """Parse XML unless it is large or declares entities (which can be made to explode)."""
    if len(text) > _MAX_XML or "<!ENTITY" in text or "<!DOCTYPE" in text:
        return None
    try:
        return ET.fromstring(text.strip())  # noqa: S314
    except ET.ParseError:
        return None


def _ome(_page: tifffile.TiffPage, description: str) -> Meta | None:
    root = _xml(description) if "<OME" in description[:2000] else None
    pixels = root.find(".//{*}Pixels") if root is not None else None
    if root is None or pixels is None:
        return None
    size, unit = units.pixel_size(
        pixels.get("PhysicalSizeX"), pixels.get("PhysicalSizeXUnit", "µm")
    )
    plane, date = pixels.find("{*}Plane"), root.find(".//{*}AcquisitionDate")
    exposure = units.seconds(plane.get("ExposureTime")) if plane is not None else None
    if plane is not None and exposure is not None and plane.get("ExposureTimeUnit") == "ms":
        exposure /= 1000
    time = units.from_text((date.text or "").replace("Z", "+00:00")) if date is not None else None
    return Meta(size, unit, time, exposure)


def _jeol(page: tifffile.TiffPage, description: str) -> Meta | None:
    if "<TemReporter" not in description[:2000]:
        return None
    root = _xml(description)
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
    per_unit = _ratio(page.tags.valueof(282))
    if imaging is None or not per_unit or not imaging.findtext("ModeString", "").endswith("MAG"):
        return None, None
    magnification = float(imaging.findtext("SelectorValue", "0"))
    nm = 1e7 if page.tags.valueof(296) == 3 else 2.54e7
    return units.pixel_size(nm / per_unit / magnification if magnification else None, "nm")


def _imagej(page: tifffile.TiffPage, description: str) -> Meta | None:
    if not description.startswith("ImageJ="):
        return None
    match = re.search(r"^unit=(.+)$", description, re.M)
    unit = match[1].strip().replace("\\u00B5", "µ") if match else ""
    per_unit = _ratio(page.tags.valueof(282))
    return Meta(*units.pixel_size(1 / per_unit if per_unit else None, unit))


def _gatan(_file: tifffile.TiffFile, page: tifffile.TiffPage) -> Meta | None:
    scale, unit = page.tags.valueof(_GATAN_SCALE), page.tags.valueof(_GATAN_UNIT)
    if scale is None:
        return None
    if isinstance(unit, bytes):
        unit = unit.decode("utf-8", "replace")
    return Meta(*units.pixel_size(scale, unit))


def _fei(file: tifffile.TiffFile, _page: tifffile.TiffPage) -> Meta | None:
    found = file.fei_metadata
    if not found:
        return None
    scan: Mapping[str, Any] = found.get("Scan", {}) or {}
    width = scan.get("PixelWidth", (found.get("EScan", {}) or {}).get("PixelWidth"))
    user: Mapping[str, Any] = found.get("User", {}) or {}
    time = units.from_date_and_clock(user.get("Date"), user.get("Time"))
    return Meta(*units.pixel_size(width, "m"), time, units.seconds(scan.get("FrameTime")))


def _zeiss(file: tifffile.TiffFile, _page: tifffile.TiffPage) -> Meta | None:
    found = file.sem_metadata
    if not found:
        return None
    for key in ("ap_image_pixel_size", "ap_pixel_size"):
        value = found.get(key)
        if isinstance(value, tuple) and len(value) >= 3:
            size, unit = units.pixel_size(value[1], value[2])
            if size is not None:
                return Meta(size, unit)
    return Meta(*units.pixel_size(found.get("", [0, 0, 0, None])[3], "m"))


def _tvips(file: tifffile.TiffFile, _page: tifffile.TiffPage) -> Meta | None:
    found = file.tvips_metadata
    if not found:
        return None
    exposure = units.seconds(found.get("ExposureTime"))
    return Meta(
        *units.pixel_size(found.get("PixelSizeX"), "nm"),
        None,
        exposure / 1000 if exposure else None,
    )


def _olympus(file: tifffile.TiffFile, _page: tifffile.TiffPage) -> Meta | None:
    found = file.sis_metadata
    if not found:
        return None
    return Meta(*units.pixel_size(found.get("pixelsizex"), "m"))


def _resolution(_file: object, page: tifffile.TiffPage) -> Meta | None:
    """Resolution per inch or centimetre, if it is one that only a microscope can have."""
    nm = {2: 2.54e7, 3: 1e7}.get(int(page.tags.valueof(296, 2) or 2))
    per_unit = _ratio(page.tags.valueof(282))
    if nm is None or not per_unit:
        return None
    size, unit = units.pixel_size(nm / per_unit, "nm")
    if size is None or size > _LARGEST_PIXEL_NM:
        return None
    return Meta(size, unit)


def _ratio(value: Any) -> float:
    if isinstance(value, tuple) and len(value) >= 2 and value[1]:
        return float(value[0]) / float(value[1])
    return float(value) if isinstance(value, int | float) else 0.0
