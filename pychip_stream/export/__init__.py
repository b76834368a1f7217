"""Exports: what a run holds, as tables, curves, pictures and films.

A new kind is an `ExportKind` in a module here, listed below, or an entry point of the group
`pychip_stream.exports` in another package; the command line and the page offer what is listed.
They raise `ArchiveError` where there is nothing to show, the run cannot be read, or a file cannot
be written.
"""

from pychip_stream.export import curves, film, pictures, tables
from pychip_stream.export.kinds import ExportKind
from pychip_stream.plugins import Registry

EXPORTS = Registry[ExportKind](
    "pychip_stream.exports",
    (
        tables.FRACTIONS, tables.CHIPS, tables.PYCHIP,
        pictures.ALL, pictures.SHOWN, pictures.ZIPPED,
        curves.SVG, film.MP4, film.GIF,
        tables.SUMMARY, tables.QUANTITIES,
    ),
)  # fmt: skip
"""In the order in which they are offered."""
