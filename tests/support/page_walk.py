"""Does on the pages whatever a browser can, allowed or not."""

import time

from dashboard.parts import clock_panel
from dashboard.parts.components import _Part
from dashboard.work import opened_run, workbench
from dashboard.work.drafts import Draft
from dashboard.work.rescorer import Rescorer
from dashboard.work.saved_sets import SavedSets
from dashboard.work.uploads import UploadBench
from dashboard.work.workbench import Workbench
from pychip_stream.operation.edited_rules import EditedRules

FIRST = "feature 1"
MESSAGES = {
    "ready": [{}],
    "painted": [{"seq": 1}],
    "crop": [{"seq": 1, "rect": [0, 0, 30, 30]}],
    "contrast": [{"mode": "full"}, {"mode": "hand", "low": 5, "high": 900}],
    "pick": [{"label": FIRST, "chips": [[0, 0]], "add": True, "click": 1}],
    "undo": [{"click": 2}],
    "add": [{}],
    "rename": [{"old": FIRST, "name": "other"}],
    "recolor": [{"name": FIRST, "color": "#123456"}],
    "merge": [{"source": FIRST, "target": "feature 2"}],
    "remove": [{"name": FIRST}],
    "drop": [{"number": 0}],
    "look": [{"line": "frame 1"}],
    "open": [{"name": "run"}],
    "seek": [{"number": 2}],
    "start": [{"kind": "csv"}],
    "more": [{}],
    "saved": [{}],
    "cancel": [{}],
    "nothing": [{}],
    "toggle": [{"name": FIRST}],
    "acknowledge": [{"name": "disk"}, {"name": "worker-1"}],
    "share": [{}],
    "opened": [{}],
    "mark": [{"text": "gas on"}],
    "limit": [{"name": "high", "value": 0.25}],
    "rule": [{"subject": "alpha", "side": "above"}],
    "begin": [{"name": "a.tif", "size": 4}, {"name": "a.h5", "size": 4}],
    "piece": [{"data": b"abcd", "last": True}],
}
"""What each kind of message of our browser parts carries."""
DOORS = {
    (Workbench, "save"), (SavedSets, "publish"), (SavedSets, "relabel"), (Workbench, "attempt_set"),
    (Draft, "change"), (Draft, "undo"),
    (UploadBench, "begin"), (UploadBench, "add"), (UploadBench, "finish"),
    (workbench, "request"), (opened_run, "exclude"),
    (Rescorer, "rescore"), (Rescorer, "expect"),
    (EditedRules, "put"), (EditedRules, "remove"), (clock_panel, "set_offset"),
}  # fmt: skip
"""What only an operator may cause."""


def everything(page):
    """All parts and widgets of a page, those that wait for its first picture too."""
    shown = page.panel()
    page.pull(time.monotonic() + 60.0)
    return list(shown.select(lambda _one: True))


def walk(page):
    """Press, move and say whatever a browser can, whether it is disabled or not."""
    page.panel()
    for now in range(2):
        speak(page)
        for one in everything(page):
            operate(one)
            page.pull(1000.0 * (now + 1))
    page.close()


def speak(page):
    """Send every kind of message to every part."""
    for kind, contents in MESSAGES.items():
        for content in contents:
            for part in everything(page):
                if isinstance(part, _Part):
                    part._handle_msg({"type": kind, **content})
            page.pull(0.0)


def operate(one):
    """Press or move one widget."""
    if "disabled" in one.param and "value" in one.param:
        one.disabled = False
    if "clicks" in one.param:
        one.clicks += 1
    options = getattr(one, "options", None)
    if isinstance(options, (list, dict)) and "value" in one.param:
        for value in options if isinstance(options, list) else options.values():
            one.value = [value] if isinstance(one.value, list) else value
    elif "value" in one.param and isinstance(one.value, bool):
        one.value = not one.value
    elif "value" in one.param and isinstance(one.value, (int, float)):
        one.value += 1


def run_of(folder):
    """Every file below a folder, and when it was written."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file()
    }
