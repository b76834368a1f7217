"""File formats: from a file of any accepted format to frames.

One module each; a new one is a module with a `FORMAT`, listed here, or an entry point of the group
`pychip_stream.formats` in another package. `reading` is what others call.
"""

from pychip_stream.formats.source import Format
from pychip_stream.plugins import Registry


def _own() -> tuple[Format, ...]:
    from pychip_stream.formats import dm, emd, mrc, raster, ser, tiff  # they load HDF5

    # MRC has no unmistakable beginning and so comes last.
    return (tiff.FORMAT, dm.FORMAT, raster.PNG, raster.JPEG, ser.FORMAT, emd.FORMAT, mrc.FORMAT)


FORMATS = Registry[Format]("pychip_stream.formats", _own)
"""In the order in which a file is tried."""
