"""Kept uploads: images that a user has classified, with parameters and examples, for recall."""

import json
import logging
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from pychip_stream.archive.disk import Disk

logger = logging.getLogger(__name__)

_MOST, _MOST_BYTES = 20, 2 << 30
_ABOUT, _SUPPORT = "upload.json", "support-set.h5"


@dataclass(frozen=True)
class Kept:
    """One of them.

    Attributes
    ----------
    folder
        Names it.
    name
        Of the image's file.
    time
        When it was classified last, in seconds since 1970.
    pixel_size
        Given by hand; empty: the file's.
    about
        Classes and chip size, for people.
    """

    folder: str
    name: str
    time: float
    pixel_size: str
    about: str


class KeptUploads:
    """The newest of one user; the oldest make room.

    Parameters
    ----------
    folder
        Of this user; it is made with the first one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, image: Path, support: Path, pixel_size: str, about: str) -> None:
        """Keep an image, under the name of its folder, with its support set.

        A disk that is full or forbidden costs this alone.
        """
        target = self._folder / image.parent.name
        one = Kept(image.parent.name, image.name, time.time(), pixel_size, about)
        try:
            target.mkdir(parents=True, exist_ok=True)
            for source, name in ((image, image.name), (support, _SUPPORT)):
                with Disk().atomic(target / name, sync=False) as temporary:
                    shutil.copyfile(source, temporary)
            Disk().save(target / _ABOUT, json.dumps(asdict(one)).encode())
            self._make_room()
        except OSError as error:
            logger.warning("%s: the upload is not kept (%s)", target, error)

    def list(self) -> list[Kept]:
        """All, the newest first; what is damaged or half there is left out."""
        found = []
        for path in self._folder.glob(f"*/{_ABOUT}"):
            try:
                one = Kept(**json.loads(path.read_text(encoding="utf-8")))
                if one.folder == path.parent.name and self.image(one).is_file():
                    found.append((float(one.time), one))
            except (OSError, ValueError, TypeError) as error:
                logger.warning("%s: cannot be recalled (%s)", path, error)
        return [one for _, one in sorted(found, key=lambda pair: pair[0], reverse=True)]

    def image(self, one: Kept) -> Path:
        """File of its image."""
        return self._folder / one.folder / Path(one.name).name

    def support(self, one: Kept) -> Path:
        """File of its support set."""
        return self._folder / one.folder / _SUPPORT

    def forget(self, one: Kept) -> None:
        """Remove it."""
        shutil.rmtree(self._folder / one.folder, ignore_errors=True)

    def _make_room(self) -> None:
        size = 0
        for number, one in enumerate(self.list()):
            size += self.image(one).stat().st_size
            if number and (number >= _MOST or size > _MOST_BYTES):
                self.forget(one)
