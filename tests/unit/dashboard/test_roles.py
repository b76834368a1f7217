"""A viewer sees and downloads; every handler that does more asks for the operator on the server."""

import re

import panel as pn
import pytest
from bokeh.document import Document
from panel.io.state import set_curdoc

from dashboard.accounts import Viewer
from dashboard.page import Desk
from dashboard.pages import PAGES
from dashboard.parts.components import FILES, _Part
from dashboard.work import background, workbench
from dashboard.work.drafts import Draft
from dashboard.work.opened_run import PastFrames
from dashboard.work.previews import OpenDraft, OpenDrafts
from dashboard.work.runs import RunShelf
from dashboard.work.state import RunState
from dashboard.work.uploads import UploadBench
from dashboard.work.workbench import Workbench
from pychip_stream import config as configuration
from pychip_stream.archive.support_sets import SupportFolder, support_to_bytes
from pychip_stream.errors import PychipError
from tests.support.archive_samples import support
from tests.support.live_frames import live, shot
from tests.support.run_samples import add_second_scoring, make_run

FIRST = "feature 1"
MESSAGES = {
    "ready": [{}],
    "painted": [{"seq": 1}],
    "crop": [{"seq": 1, "rect": [0, 0, 30, 30]}],
    "pick": [{"label": FIRST, "chips": [[0, 0]], "add": True, "click": 1}],
    "undo": [{"click": 2}],
    "add": [{}],
    "rename": [{"old": FIRST, "name": "other"}],
    "recolor": [{"name": FIRST, "color": "#123456"}],
    "merge": [{"source": FIRST, "target": "feature 2"}],
    "remove": [{"name": FIRST}],
    "drop": [{"number": 0}],
    "open": [{"name": "run"}],
    "seek": [{"number": 2}],
    "start": [{"kind": "csv"}],
    "more": [{}],
    "saved": [{}],
    "cancel": [{}],
    "nothing": [{}],
    "begin": [{"name": "a.tif", "size": 4}],
    "piece": [{"data": b"abcd", "last": True}],
}
"""What each kind of message of our browser parts carries."""
DOORS = {
    (Workbench, "save"), (Workbench, "publish"), (Workbench, "relabel"), (Workbench, "attempt_set"),
    (Draft, "change"), (Draft, "undo"),
    (UploadBench, "begin"), (UploadBench, "add"), (UploadBench, "finish"),
    (workbench, "request"),
}  # fmt: skip
"""What only an operator may cause."""


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
    make_run(tmp_path / "runs", tmp_path / "acquisition", 6)
    add_second_scoring(tmp_path / "runs" / "run.h5", 6)
    config = configuration.parse({"watch": {"root": "acquisition"}}, "test", tmp_path)
    for number in (1, 2):
        made = support(seed=number)
        SupportFolder(config.support.folder).add(made.version, support_to_bytes(made))
    run, bench = RunState(), Workbench(config)
    for number in range(3):
        message = live(f"frame_{number:03d}.tif", time=number + 1.0)
        picture = shot(message).picture
        run.record(message, picture)
    run.show(shot(message))
    with set_curdoc(Document()):
        past, drafts = PastFrames(config, run, bench), OpenDrafts(config, bench)
        shelf = RunShelf([config.archive.folder], config.watch.root)
        yield Desk(config, run, bench, past, drafts, shelf)
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


def everything(page):
    return list(page.panel().select(lambda _one: True))


def walk(page):
    """Press, move and say whatever a browser can, whether it is disabled or not."""
    page.panel()
    for now in range(3):
        speak(page)
        for one in everything(page):
            operate(one)
            page.pull(1000.0 * (now + 1))
    page.close()


def speak(page):
    for kind, contents in MESSAGES.items():
        for content in contents:
            for part in everything(page):
                if isinstance(part, _Part):
                    part._handle_msg({"type": kind, **content})
            page.pull(0.0)


def operate(one):
    if "disabled" in one.param and "value" in one.param:
        one.disabled = False
    if "clicks" in one.param:
        one.clicks += 1
    options = getattr(one, "options", None)
    if isinstance(options, (list, dict)) and "value" in one.param:
        for value in options if isinstance(options, list) else options.values():
            one.value = value
    elif "value" in one.param and isinstance(one.value, bool):
        one.value = not one.value
    elif "value" in one.param and isinstance(one.value, int):
        one.value += 1


def test_every_message_that_a_browser_sends_is_walked():
    sent = {
        kind
        for name, path in FILES.items()
        if name.endswith(".js")
        for kind in re.findall(r'send_msg\(\{\s*type: "(\w+)"', path.read_text(encoding="utf-8"))
    }
    assert sent == set(MESSAGES)


def run_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("kind", [*PAGES], ids=lambda kind: kind.name)
def test_a_viewer_causes_nothing_whatever_his_browser_sends(kind, desk, caused, tmp_path):
    """B15: buttons that were only disabled in the browser published a support set."""
    before = run_of(tmp_path)
    walk(kind(desk, Viewer("bob", operator=False)))
    assert caused == []
    assert run_of(tmp_path) == before


def test_an_operator_reaches_all_of_it_by_the_same_walk(desk, caused):
    for kind in PAGES:
        walk(kind(desk, Viewer("ann", operator=True)))
    assert set(caused) == {name for _, name in DOORS} - {"request"}


def test_the_walk_presses_every_button_of_the_pages(desk, caused):
    pressed = set()
    for kind in PAGES:
        page = kind(desk, Viewer("ann", operator=True))
        page.panel()
        speak(page)
        pressed |= {one.label for one in everything(page) if "clicks" in one.param}
        page.close()
    assert pressed >= {
        "Save version", "Publish to the run", "Load", "Compare", "Re-label the past", "Cancel",
        "Take the newest frame", "Use the recommended size", "Back to live", "← all runs",
        "Use this grid size", "Classify",
    }  # fmt: skip


def test_a_viewer_is_told_what_his_login_may(desk):
    page = PAGES["upload"](desk, Viewer("bob", operator=False))
    page.panel()
    sent = []
    page._drop._send_msg = sent.append
    page._drop._handle_msg({"type": "ready"})
    assert {"type": "say", "text": "this login may look and download; an operator does the rest",
            "level": "error"} in sent  # fmt: skip
    page.close()


def test_a_version_that_is_not_on_offer_is_not_taken(desk, tmp_path):
    page = PAGES["examples"](desk, Viewer("ann"))
    page.pull(1000.0)
    panel = page._versions
    panel._version.value = "../../acquisition/secret"
    panel._do_load()
    assert "loading" not in panel._state.object
    with pytest.raises(PychipError, match="not the version"):
        desk.bench.support("../support/" + "0" * 32)
    assert isinstance(panel.panel(), pn.viewable.Viewable)
    page.close()
