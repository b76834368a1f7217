"""What microscopes write beside the pixels of a TIFF file: pixel size, exposure, time."""

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import tifffile

from pychip_stream.domain.frames import Stamp
from pychip_stream.domain.pixel_size import pixel_size
from pychip_stream.formats import units
from pychip_stream.formats.metadata import Metadata, collect, xml

_GATAN_UNITS, _GATAN_SCALES = (65003, 65004), (65009, 65010)
_DATETIME = 306
_OLYMPUS = 33560
_TVIPS_DIFFRACTION = 3
# Resolutions of printers and screens are no calibration; micrographs have pixels below this.
_LARGEST_PIXEL_NM = 5000.0


@dataclass(frozen=True, slots=True)
class Meta:
    """Pixel size with unit, acquisition time, exposure, None where unknown; height over width.

    `metadata` is that of `domain.frames.Frame`.
    """

    pixel_size: float | None = None
    unit: str | None = None
    time: Stamp | None = None
    exposure_s: float | None = None
    pixel_ratio: float = 1.0
    metadata: Metadata = field(default_factory=dict)


def is_ome(description: str) -> bool:
    """Tell OME by a description, which then speaks of the whole file."""
    return "<OME" in description[:2000]


def is_imagej(description: str) -> bool:
    """Tell ImageJ by a description; all planes may lie behind its page."""
    return description.startswith("ImageJ=")


def is_of_file(description: str) -> bool:
    """Whether the description of the first page speaks of all pages."""
    return is_ome(description) or is_imagej(description)


def describe(
    file: tifffile.TiffFile,
    page: tifffile.TiffPage,
    description: str,
    image: int = 0,
    plane: ET.Element | None = None,
) -> Meta:
    """Find what a page says about itself; what cannot be understood counts as unknown.

    Parameters
    ----------
    description
        Of the page; that of the first page where it speaks of the whole file (`is_of_file`).
    image, plane
        Number of the image in OME's description to which the page belongs; what stands there of
        the plane.
    """
    meta = _try(_ome, description, image, plane)
    if meta is not None:
        return meta
    for source in (_jeol, _imagej):
        meta = _try(source, page, description)
        if meta is not None:
            return _with_time(meta, page)
    for vendor in (_gatan, _fei, _zeiss, _tvips, _olympus, _resolution):
        meta = _try(vendor, file, page)
        if meta is not None:
            return _with_time(meta, page)
    return _with_time(Meta(), page)


def _meta(
    x: Any,
    unit: Any,
    y: Any = None,
    unit_y: Any = None,
    *,
    time: Stamp | None = None,
    exposure: float | None = None,
    metadata: Metadata | None = None,
) -> Meta:
    """Put together what was found; None of y where pixels are square or it has the unit of x."""
    size, name = pixel_size(x, unit)
    height, name_y = pixel_size(y, unit_y or unit)
    ratio = height / size if height and size and name_y == name else 1.0
    return Meta(size, name, time, exposure, ratio, metadata or {})


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


def _ome(description: str, number: int, plane: ET.Element | None) -> Meta | None:
    root = xml(description) if is_ome(description) else None
    images = [] if root is None else root.findall("{*}Image")
    image = images[number] if number < len(images) else None
    pixels = None if image is None else image.find("{*}Pixels")
    if root is None or image is None or pixels is None:
        return None
    metadata, exposure = dict[str, float | str](), None
    if plane is not None:
        exposure = units.interval(plane.get("ExposureTime"), plane.get("ExposureTimeUnit", "s"))
        metadata = collect(lambda place: _in_xml(plane, place), _OME_PLANE)
    metadata = collect(lambda place: _in_xml(image, place), _OME_IMAGE) | metadata
    return _meta(
        pixels.get("PhysicalSizeX"),
        pixels.get("PhysicalSizeXUnit", "µm"),
        pixels.get("PhysicalSizeY"),
        pixels.get("PhysicalSizeYUnit", "µm"),
        exposure=exposure,
        metadata=collect(lambda place: _in_xml(root, place), _OME) | metadata,
    )


def _in_xml(root: ET.Element, place: str) -> str | None:
    """Text or, behind an @, attribute at a place; another @ names the one that tells its unit."""
    path, *attributes = place.split("@")
    item = root.find(path) if path else root
    if item is None or not attributes:
        return None if item is None else item.text
    return " ".join(filter(None, (item.get(name) for name in attributes)))


_OME = (
    ("{*}Instrument/{*}Microscope@Model", "microscope", ""),
    ("{*}Instrument/{*}Detector@Model", "detector", ""),
    ("{*}Instrument/{*}Objective@NominalMagnification", "magnification", ""),
)
_OME_IMAGE = (
    ("{*}ImagingEnvironment@Temperature@TemperatureUnit", "stage_temperature_C", "°C"),
    *((f"{{*}}StageLabel@{axis}@{axis}Unit", f"stage_{axis.lower()}_um", "") for axis in "XYZ"),
)
_OME_PLANE = tuple((f"@Position{a}@Position{a}Unit", f"stage_{a.lower()}_um", "") for a in "XYZ")
_JEOL = (
    ("Instruments", "microscope", ""),
    ("Scan/Modelname", "detector", ""),
    ("ImageSourceDetector", "detector", ""),
    ("GonioStage/HolderInformation/Name", "holder", ""),
    ("ElectronGun/AccelerationVoltage", "high_voltage_kV", "V"),
    ("GonioStage/StagePosition/TX", "stage_alpha_deg", "deg"),
    ("GonioStage/StagePosition/TY", "stage_beta_deg", "deg"),
    ("GonioStage/StagePosition/MX", "stage_x_um", "nm"),
    ("GonioStage/StagePosition/MY", "stage_y_um", "nm"),
    ("GonioStage/StagePosition/MZ", "stage_z_um", "nm"),
)
_FEI = (
    ("Beam.HV", "high_voltage_kV", "V"),
    ("Stage.StageX", "stage_x_um", "m"),
    ("Stage.StageY", "stage_y_um", "m"),
    ("Stage.StageZ", "stage_z_um", "m"),
    ("Stage.StageT", "stage_alpha_deg", "rad"),
    ("Stage.StageTb", "stage_beta_deg", "rad"),
    ("Scan.Dwelltime", "dwell_us", "s"),
    ("EScan.Dwell", "dwell_us", "s"),
    ("System.SystemType", "microscope", ""),
    ("Detectors.Name", "detector", ""),
)
_ZEISS = (
    ("ap_actualkv", "high_voltage_kV", ""),
    ("ap_mag", "magnification", ""),
    ("ap_stage_at_x", "stage_x_um", ""),
    ("ap_stage_at_y", "stage_y_um", ""),
    ("ap_stage_at_z", "stage_z_um", ""),
    ("ap_stage_at_t", "stage_alpha_deg", ""),
    ("dp_dwell_time", "dwell_us", ""),
    ("sv_serial_number", "microscope", ""),
    ("dp_detector_type", "detector", ""),
    ("dp_detector_channel", "detector", ""),
    ("dp_sample_holder", "holder", ""),
)
_TVIPS = (
    ("TemHighTension", "high_voltage_kV", "V"),
    ("TemMagnification", "magnification", ""),
    ("TemStagePosition.0", "stage_x_um", "m"),
    ("TemStagePosition.1", "stage_y_um", "m"),
    ("TemStagePosition.2", "stage_z_um", "m"),
    ("TemStagePosition.3", "stage_alpha_deg", "deg"),
    ("TemStagePosition.4", "stage_beta_deg", "deg"),
    ("TemType", "microscope", ""),
    ("CameraType", "detector", ""),
)
_OLYMPUS_BLOCK = (("magnification", "magnification", ""), ("cameraname", "detector", ""))


def _jeol(page: tifffile.TiffPage, description: str) -> Meta | None:
    if "<TemReporter" not in description[:2000]:
        return None
    root = xml(description)
    if root is None:
        return None
    mode, length = _jeol_optics(root)
    metadata = collect(root.findtext, _JEOL)
    metadata |= collect(lambda _: length, [("", mode, "mm" if "mm" in mode else "")])
    return Meta(
        *_jeol_scale(page, metadata),
        units.from_text(root.findtext("DateTime")),
        units.seconds(root.findtext("Scan/ExposureTimeValue")),
        metadata=metadata,
    )


def _jeol_optics(root: ET.Element) -> tuple[str, str | None]:
    """Magnification or camera length of the image on the camera: which it is, and how much."""
    imaging = root.find("ImageFormingSystem")
    if imaging is None:
        return "magnification", None
    scans = root.findtext("Eos/EosMode", "eosTEM") != "eosTEM"
    mode, length = imaging.findtext("ModeString", ""), imaging.findtext("SelectorValue")
    if mode == "DIFF" and not scans:
        return "camera_length_mm", f"{length} {imaging.findtext('SelectorUnitString', 'mm')}"
    # While the beam scans, the magnification is that of the scan (SM) or of no image.
    shown = mode.endswith("MAG") and mode.startswith("SM") == scans
    return "magnification", length if shown else None


def _jeol_scale(page: tifffile.TiffPage, told: Metadata) -> tuple[float | None, str | None]:
    """JEOL's resolution is that of a print at the magnification: 512 pixels are 200 mm wide."""
    per_unit, _ = _per_unit(page)
    if not per_unit:
        return None, None
    print_nm = (1e7 if page.tags.valueof(296) == 3 else 2.54e7) / per_unit
    if magnification := told.get("magnification"):
        return pixel_size(print_nm / float(magnification), "nm")
    length_mm, voltage_kv = told.get("camera_length_mm"), told.get("high_voltage_kV")
    if not length_mm or not voltage_kv:
        return None, None
    angle = print_nm * 1e-6 / float(length_mm)
    return pixel_size(angle / _wavelength_nm(float(voltage_kv)), "1/nm")


def _wavelength_nm(voltage_kv: float) -> float:
    """Wavelength of electrons, with relativity: h / sqrt(2 m e V (1 + e V / 2 m c²))."""
    kinetic = 1.602176634e-16 * voltage_kv
    mass, light, planck = 9.1093837015e-31, 299792458.0, 6.62607015e-34
    return 1e9 * planck / math.sqrt(2 * mass * kinetic * (1 + kinetic / (2 * mass * light**2)))


def _imagej(page: tifffile.TiffPage, description: str) -> Meta | None:
    if not is_imagej(description):
        return None
    told = dict(re.findall(r"^([yu]\w+)=(.+)$", description, re.M))
    (across, down), unit_y = _per_unit(page), told.get("yunit")
    edges = [1 / edge if edge else None for edge in (across, down)]
    return _meta(edges[0], told.get("unit"), edges[1], unit_y)


def _gatan(_file: tifffile.TiffFile, page: tifffile.TiffPage) -> Meta | None:
    x, y = map(page.tags.valueof, _GATAN_SCALES)
    if x is None:
        return None
    unit, unit_y = (
        found.decode("utf-8", "replace") if isinstance(found, bytes) else found
        for found in map(page.tags.valueof, _GATAN_UNITS)
    )
    return _meta(x, unit, y, unit_y)


def _fei(file: tifffile.TiffFile, _page: tifffile.TiffPage) -> Meta | None:
    found = file.fei_metadata
    if not found:
        return None
    user: Mapping[str, Any] = found.get("User", {}) or {}
    scans = [found.get(name, {}) or {} for name in ("Scan", "EScan")]
    scan = next((part for part in scans if "PixelWidth" in part), scans[0])
    width, height = scan.get("PixelWidth"), scan.get("PixelHeight")
    if width is None:  # cameras tell the field of view alone
        beam = found.get(str(_in_ini(found, "Beam.Beam")), {})
        image = found.get("Image", {})
        width, height = (
            _quotient(beam.get(f"{side}FW"), image.get(f"Resolution{axis}"))
            for side, axis in ("HX", "VY")
        )
    return _meta(
        width,
        "m",
        height,
        time=units.from_date_and_clock(user.get("Date"), user.get("Time")),
        exposure=units.seconds(scans[0].get("FrameTime")),
        metadata=collect(lambda place: _in_ini(found, place), _FEI),
    )


def _quotient(value: Any, parts: Any) -> float | None:
    known = isinstance(value, int | float) and isinstance(parts, int | float) and parts
    return float(value / parts) if known else None


def _in_ini(found: Mapping[str, Any], place: str) -> Any:
    section, _, key = place.partition(".")
    part = found.get(section)
    return part.get(key) if isinstance(part, dict) else None


def _zeiss(file: tifffile.TiffFile, page: tifffile.TiffPage) -> Meta | None:
    """Zeiss: what is called a pixel size may be that of the raster before it was stored smaller."""
    found = file.sem_metadata
    if not found:
        return None
    date, clock = (found.get(key, ("", None))[1] for key in ("ap_date", "ap_time"))
    time = units.from_date_and_clock(date, clock)

    def find(key: str) -> str | None:
        """Value with its unit, behind what it is called."""
        value = found.get(key)
        return " ".join(map(str, value[1:3])) if isinstance(value, tuple) else None

    metadata = collect(find, _ZEISS)
    for key, parts in (
        ("ap_image_pixel_size", 1),
        ("ap_width", page.imagewidth),
        ("ap_pixel_size", 1),
    ):
        value = found.get(key)
        if isinstance(value, tuple) and len(value) >= 3:
            meta = _meta(float(value[1]) / parts, value[2], time=time, metadata=metadata)
            if meta.pixel_size is not None:
                return meta
    return _meta(found.get("", [0, 0, 0, None])[3], "m", time=time, metadata=metadata)


def _tvips(file: tifffile.TiffFile, _page: tifffile.TiffPage) -> Meta | None:
    found = file.tvips_metadata
    if not found:
        return None
    exposure = units.interval(found.get("ExposureTime"), "ms")
    diffraction = found.get("TemMode") == _TVIPS_DIFFRACTION

    def find(place: str) -> Any:
        key, _, number = place.partition(".")
        if diffraction and key == "TemMagnification":
            return None  # a camera length then, in a unit that is not told
        value = found.get(key)
        return dict(enumerate(value or ())).get(int(number)) if number else value

    metadata = collect(find, _TVIPS)
    across, down = found.get("PixelSizeX"), found.get("PixelSizeY")
    return _meta(across, "nm", down, exposure=exposure, metadata=metadata)


def _olympus(_file: tifffile.TiffFile, page: tifffile.TiffPage) -> Meta | None:
    found = page.tags.valueof(_OLYMPUS)
    if not isinstance(found, dict) or not found:
        return None
    metadata = collect(found.get, _OLYMPUS_BLOCK)
    return _meta(found.get("pixelsizex"), "m", found.get("pixelsizey"), metadata=metadata)


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
