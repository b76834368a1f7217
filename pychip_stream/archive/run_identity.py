"""Identity of a run: made at its first start, and kept beside the segments until it is closed.

What people and programs tell of a run names it, also before its first frame, which is the first
file that does; so another start of the archiver must find the same.
"""

import logging
import uuid
from pathlib import Path
from typing import Annotated

import msgspec

from pychip_stream.archive.disk import Disk
from pychip_stream.archive.files import IDENTITY, RunPlaces
from pychip_stream.plain_files import NoFileError, read_small

logger = logging.getLogger(__name__)

_NAME = "run.json"


class _Kept(msgspec.Struct, frozen=True):
    run: Annotated[str, msgspec.Meta(pattern=IDENTITY)]


def kept_identity(places: RunPlaces) -> str:
    """Identity that is kept beside the segments of a run; empty where there is none.

    Raises
    ------
    OSError
        If the system cannot read it.
    """
    try:
        return msgspec.json.decode(read_small(_file(places)), type=_Kept).run
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (NoFileError, msgspec.MsgspecError, UnicodeError) as error:
        logger.error("%s: names no run (%s); ignored", _file(places), error)
        return ""


def forget_identity(places: RunPlaces, disk: Disk) -> None:
    """Remove what the closed archive says now."""
    disk.remove(_file(places))


def _file(places: RunPlaces) -> Path:
    return places.segments / _NAME


class Identity:
    """Identity of the run that an archiver writes.

    Attributes
    ----------
    run_id
        The same over restarts; empty until it is settled.
    """

    def __init__(self, places: RunPlaces, disk: Disk) -> None:
        self._places, self._disk = places, disk
        self.run_id = ""

    def settle(self, told: str) -> None:
        """Choose what the files of the run say, else what is known or kept, else a new one.

        A disk that refuses it now is asked again by `keep`.
        """
        self.run_id = told or self.run_id or kept_identity(self._places) or uuid.uuid4().hex
        try:
            self.keep()
        except OSError as error:
            logger.debug("%s: cannot be kept yet (%s)", _file(self._places), error)

    def keep(self) -> None:
        """Make sure that it lies on disk; raises OSError where it cannot."""
        if kept_identity(self._places) != self.run_id:
            data = msgspec.json.encode(_Kept(self.run_id))
            self._disk.save(_file(self._places), data)
