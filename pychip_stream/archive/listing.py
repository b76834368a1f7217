"""Listing: which runs lie in a folder."""

from pathlib import Path

from pychip_stream.archive import hdf
from pychip_stream.archive.files import RunPlaces

_LIVE = ".live.h5"
_SEGMENTS = ".segments"


def run_stamps(place: Path) -> dict[Path, str]:
    """Archive of every run in a folder, or of one run, with a text that changes when it does."""
    whole = place.is_dir() and not place.name.endswith(_SEGMENTS)
    only = None if whole else RunPlaces.of(place).closed
    folder = place if only is None else only.parent
    stamps: dict[Path, str] = {}
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return {}
    for path in entries:
        suffix = next((s for s in (_LIVE, ".h5", _SEGMENTS) if path.name.endswith(s)), None)
        if path == only:
            run = path  # whatever it is called
        elif suffix is None or suffix == _LIVE or path.name == suffix:
            continue
        else:
            run = folder / f"{path.name[: -len(suffix)]}.h5"
        if only not in (None, run):
            continue
        try:
            stat = path.stat()
        except OSError:
            continue
        stamps[run] = stamps.get(run, "") + f"{suffix} {stat.st_mtime_ns} {stat.st_size};"
    return stamps


def is_support_set(path: Path) -> bool:
    """Whether a file says that it is one; not, where it cannot be read."""
    try:
        with hdf.reading(path) as file:
            return hdf.attribute_text(file, hdf.KIND) == "support set"
    except (OSError, hdf.UnusableFileError):
        return False
