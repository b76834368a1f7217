"""The pages of the dashboard, one file each.

A page is a subclass of `dashboard.page.View` in a file of its own here; other packages add theirs
by entry points of the group `pychip_stream.pages`.
"""

from pychip_stream.plugins import Registry, members_of

from ..page import View

PAGES = Registry[type[View]]("pychip_stream.pages", members_of(__name__, View))
"""The tabs in their order."""
