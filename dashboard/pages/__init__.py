"""The pages of the dashboard, one file each.

A page is a class as `dashboard.page.View` describes it, in a file of its own and in `PAGES`; other
packages add theirs by entry points of the group `pychip_stream.pages`.
"""

from pychip_stream.plugins import Registry

from ..page import View
from .examples_page import ExamplesPage
from .health_page import HealthPage
from .live_page import LivePage
from .review_page import ReviewPage
from .upload_page import UploadPage

PAGES = Registry[type[View]](
    "pychip_stream.pages", (LivePage, ExamplesPage, ReviewPage, HealthPage, UploadPage)
)
"""The tabs in their order."""
