"""Live phase fractions from electron-microscope frames.

The names below are the Python interface; they are imported when first used, so that a
microscope PC without torch can still watch a folder and read archives.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pychip_stream.archive.run import Run, open_run
    from pychip_stream.archive.support_sets import load_support, save_support
    from pychip_stream.domain.chips import ChipSize
    from pychip_stream.domain.frames import Frame
    from pychip_stream.domain.normalization import Normalization
    from pychip_stream.domain.records import FrameResult
    from pychip_stream.domain.support import SupportSet
    from pychip_stream.formats.reading import read_frame
    from pychip_stream.model.classifier import Classifier
    from pychip_stream.model.encoders import load_encoder

_HOMES = {
    "ChipSize": "domain.chips",
    "Classifier": "model.classifier",
    "Frame": "domain.frames",
    "FrameResult": "domain.records",
    "Normalization": "domain.normalization",
    "Run": "archive.run",
    "SupportSet": "domain.support",
    "load_encoder": "model.encoders",
    "load_support": "archive.support_sets",
    "open_run": "archive.run",
    "read_frame": "formats.reading",
    "save_support": "archive.support_sets",
}

__version__ = "0.1.0"

__all__ = [
    "ChipSize",
    "Classifier",
    "Frame",
    "FrameResult",
    "Normalization",
    "Run",
    "SupportSet",
    "load_encoder",
    "load_support",
    "open_run",
    "read_frame",
    "save_support",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
