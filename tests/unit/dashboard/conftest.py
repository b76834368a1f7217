"""A desk with a run, its frames and two support sets; work of the pages is done at once."""

import pytest
from bokeh.document import Document
from panel.io.state import set_curdoc

from dashboard.page import Desk
from dashboard.work import background
from dashboard.work.opened_run import PastFrames
from dashboard.work.previews import OpenDraft, OpenDrafts
from dashboard.work.runs import RunShelf
from dashboard.work.state import RunState
from dashboard.work.workbench import Workbench
from pychip_stream import config as configuration
from pychip_stream.archive.support_sets import SupportFolder, support_to_bytes
from pychip_stream.errors import PychipError
from pychip_stream.operation.edited_rules import EditedRules
from tests.support.archive_samples import support
from tests.support.live_frames import live, shot
from tests.support.page_walk import DOORS
from tests.support.run_samples import add_ramp, add_second_scoring, make_run


@pytest.fixture
def desk(tmp_path, monkeypatch):
    def at_once(self, work, done, *, failed=None, slot="", pool=None):
        try:
            done(work())
        except PychipError as error:
            (failed or self._on_trouble)(str(error))
        return True

    monkeypatch.setattr(background.Background, "do", at_once)
    monkeypatch.setattr(OpenDraft, "ask", lambda _self, _key: None)
    add_ramp(make_run(tmp_path / "runs", tmp_path / "acquisition", 6))
    add_second_scoring(tmp_path / "runs" / "run.h5", 6)
    config = configuration.parse({"watch": {"root": "acquisition"}}, "test", tmp_path)
    for number in (1, 2):
        made = support(seed=number)
        SupportFolder(config.support.folder).add(made.version, support_to_bytes(made))
    run, bench = RunState(), Workbench(config)
    for number in range(3):
        message = live(f"frame_{number:03d}.tif", time=number + 1.0)
        picture = shot(message).picture
        run.course.record(message, picture)
    run.show(shot(message))
    with set_curdoc(Document()):
        past = PastFrames(config, run.course, bench)
        drafts = OpenDrafts(config, bench, past.sample)
        shelf = RunShelf([config.archive.folder], config.watch.root)
        yield Desk(config, run, bench, past, drafts, shelf, EditedRules(config))
    bench.close()


@pytest.fixture
def caused(monkeypatch):
    found = []

    def watch(owner, name):
        def door(*args, **_options):
            found.append(name)
            if name in ("attempt_set", "finish", "request"):
                raise PychipError("behind a door")
            return support(seed=1)

        monkeypatch.setattr(owner, name, door)

    for owner, name in DOORS:
        watch(owner, name)
    return found
