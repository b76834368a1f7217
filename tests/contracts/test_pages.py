"""What every page of the dashboard keeps to, also those that other packages bring."""

import time
from importlib.metadata import EntryPoint

import panel as pn
import pytest
from bokeh.document import Document
from panel.io.state import set_curdoc

from dashboard.accounts import Viewer
from dashboard.page import Desk
from dashboard.pages import PAGES
from dashboard.work.opened_run import PastFrames
from dashboard.work.previews import OpenDrafts
from dashboard.work.runs import RunShelf
from dashboard.work.state import RunState
from dashboard.work.workbench import Workbench
from pychip_stream import config as configuration
from pychip_stream import plugins
from pychip_stream.operation.edited_rules import EditedRules
from pychip_stream.plugins import Registry


class GreetingPage:
    """A page from outside; this and the entry point are all that it takes."""

    name, title = "greeting", "Greeting"

    def __init__(self, desk, viewer):
        self.frames = len(desk.run.course)
        self.user = viewer.user
        self.pulled = 0

    def panel(self):
        return pn.pane.Str(f"{self.user} sees {self.frames} frames")

    def pull(self, now):
        self.pulled += 1

    def close(self):
        self.frames = 0


@pytest.fixture
def desk(tmp_path):
    (tmp_path / "acquisition").mkdir()
    config = configuration.parse({"watch": {"root": "acquisition"}}, "test", tmp_path)
    run, bench = RunState(), Workbench(config)
    with set_curdoc(Document()):
        past = PastFrames(config, run.course, bench)
        drafts = OpenDrafts(config, bench, past.sample)
        shelf = RunShelf([config.archive.folder], config.watch.root)
        yield Desk(config, run, bench, past, drafts, shelf, EditedRules(config))
    bench.close()


@pytest.fixture(params=[*PAGES, GreetingPage], ids=lambda kind: kind.name)
def kind(request):
    return request.param


class TestPage:
    """The contract of `dashboard.page.View`."""

    def test_it_has_a_name_a_title_and_a_meaning(self, kind):
        assert kind.name.isidentifier()
        assert kind.name == kind.name.lower()
        assert kind.title
        assert kind.__doc__

    @pytest.mark.parametrize("operator", [True, False], ids=["operator", "viewer"])
    def test_it_is_built_pulled_and_closed_without_a_run(self, kind, desk, operator):
        page = kind(desk, Viewer("ann", operator=operator))
        assert isinstance(page.panel(), pn.viewable.Viewable)
        for _ in range(3):
            page.pull(time.monotonic())
        page.close()

    def test_a_pull_does_not_wait(self, kind, desk):
        page = kind(desk, Viewer())
        page.panel()
        with desk.bench._read._lock:  # as if another session read a frame
            page.pull(time.monotonic())
        page.close()


def test_pages_have_names_of_their_own():
    assert len({kind.title for kind in PAGES}) == len(PAGES.names) == 5


def test_a_page_comes_from_outside(desk, monkeypatch):
    point = EntryPoint("greeting", f"{__name__}:GreetingPage", PAGES.group)
    monkeypatch.setattr(EntryPoint, "load", lambda _self: GreetingPage)
    monkeypatch.setattr(plugins, "entry_points", lambda **_group: [point])
    pages = Registry(PAGES.group, [*PAGES])
    assert pages["greeting"] is GreetingPage
    assert "ann sees 0 frames" in pages["greeting"](desk, Viewer("ann")).panel().object
