"""Live phase fractions from electron-microscope frames.

The names below are the Python interface; they are imported when first used, so that a
microscope PC without torch can still watch a folder and read archives.
"""

import sys

if getattr(sys, "argv", [])[:1] == ["-m"] and not sys.flags.safe_path:
    # `python -m pychip_stream…` looks for modules first in the folder where it is typed, which
    # may be one where microscopes and strangers write.
    del sys.path[0]

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pychip_stream.archive.run import Run as Run
    from pychip_stream.archive.run import open_run as open_run
    from pychip_stream.archive.support_sets import load_support as load_support
    from pychip_stream.archive.support_sets import save_support as save_support
    from pychip_stream.domain.chips import ChipSize as ChipSize
    from pychip_stream.domain.frames import Frame as Frame
    from pychip_stream.domain.normalization import Normalization as Normalization
    from pychip_stream.domain.records import FrameResult as FrameResult
    from pychip_stream.domain.support import SupportSet as SupportSet
    from pychip_stream.formats.reading import read_frame as read_frame
    from pychip_stream.model.classifier import Classifier as Classifier
    from pychip_stream.model.encoders import load_encoder as load_encoder

__version__ = "0.1.0"

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
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
