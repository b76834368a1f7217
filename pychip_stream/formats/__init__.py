"""File formats: from a file of any accepted format to frames.

A new one is a module here with a `Format`, or an entry point of the group
`pychip_stream.formats` in another package. `reading` is what others call.
"""

from pychip_stream.formats.source import Format
from pychip_stream.plugins import Registry, members_of

FORMATS = Registry[Format]("pychip_stream.formats", members_of(__name__, Format))
"""In the order in which a file is tried."""
