"""Pixels of DM files, read by ncempy."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from ncempy.io.dm import fileDM

from pychip_stream.ingest.dm import DmImage
from pychip_stream.ingest.source import Source


class FileDM(fileDM):  # type: ignore[misc]
    """ncempy's reader over a source, told where the image is.

    Its own walk believes every length in the file, and its memory map dies with the process
    when somebody truncates the file; both are replaced.
    """

    def __init__(self, source: Source, image: DmImage) -> None:
        self._source = source
        self._position = 0
        self._image = image
        super().__init__(io.BytesIO())

    def tell(self) -> int:
        """Position in the source."""
        return self._position

    def seek(self, fid: Any, offset: int, from_what: int = 0) -> None:  # noqa: ARG002
        """Go to a position."""
        self._position = int(offset) + (self._position if from_what == 1 else 0)

    def fromfile(
        self,
        fid: Any,  # noqa: ARG002
        dtype: npt.DTypeLike,
        count: int,
    ) -> npt.NDArray[Any]:
        """Take values from the source without copying them."""
        size = np.dtype(dtype).itemsize * int(count)
        view = self._source.view_at(self._position, size)
        self._position += size
        return np.frombuffer(view, dtype=dtype, count=int(count))

    def parseHeader(self) -> None:  # noqa: N802  (ncempy's name)
        """Say where the image is instead of looking for it."""
        width, height, frames = self._image.shape
        self.numObjects = 1
        self.xSize, self.ySize, self.zSize, self.zSize2 = [width], [height], [frames], [1]
        self.dataShape = [3 if frames > 1 else 2]
        self.dataType = [self._image.kind]
        self.dataOffset = [self._image.block.offset]
        self.dataSize = [self._image.block.size]
