"""Exports: what a run holds, as tables, curves, pictures and films.

A new kind is an `ExportKind` in a module here, or an entry point of the group
`pychip_stream.exports` in another package; the command line and the page offer it from there.
They raise `ArchiveError` where there is nothing to show, the run cannot be read, or a file cannot
be written.
"""

from pychip_stream.export.kinds import ExportKind
from pychip_stream.plugins import Registry, members_of

EXPORTS = Registry[ExportKind]("pychip_stream.exports", members_of(__name__, ExportKind))
"""In the order in which they are offered."""
