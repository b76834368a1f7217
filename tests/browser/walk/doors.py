"""A run with accounts: an operator, a viewer, and a colleague with a read-only link."""

import json
import tempfile
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.walk.own_run import tab
from tests.browser.walk.walker import Scene, Setting
from tests.support.looks import wait_shown
from tests.support.rehearsal import Rehearsal

_NO_CLIPBOARD = "() => { navigator.clipboard.writeText = async () => { throw new Error(); }; }"


def _setting(walk):
    folder = Path(tempfile.mkdtemp(prefix="pychip-walk-")) / "e"
    folder.mkdir()
    (folder / "users.json").write_text(json.dumps({"ann": "apple", "bob": "banana"}))
    run = Rehearsal(folder, users="users.json", operators=["ann"]).start()
    try:
        yield Setting(None, {"run": run})
    finally:
        run.stop()


SCENE = Scene("accounts", _setting)


def _enter(page, name, password):
    page.get_by_label("name").fill(name)
    page.get_by_label("password").fill(password)
    page.get_by_role("button", name="Log in").click()


@SCENE("M20")
def a_viewer(walk, on):
    """Log in as somebody who may look and download."""
    run = on.things["run"]
    page = on.page = walk.visits(run.address)
    page.screenshot(path=walk.out / "login.png")
    _enter(page, "bob", "banana")
    run.frame(0.5)
    wait_shown(page, 1)
    tab(page, "Examples")
    said = page.get_by_text("this login may look and download").first
    expect(said).to_be_visible()
    expect(page.get_by_role("link", name="log out")).to_contain_text("bob")
    expect(page.locator(".caption:visible")).to_contain_text("frame_0")
    walk.see("M20", page, said.inner_text())


@SCENE("W15")
def a_colleague(walk, on):
    """Log in as the operator, on a narrow screen, and share a read-only link."""
    run = on.things["run"]
    page = on.page = walk.visits(run.address, viewport={"width": 820, "height": 1180})
    _enter(page, "ann", "apple")
    run.frame(0.5)
    wait_shown(page, 1)
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.default_value), dialog.dismiss()))
    page.evaluate(_NO_CLIPBOARD)
    with page.expect_event("dialog"):
        page.get_by_role("button", name="copy read-only link").click()
    page.screenshot(path=walk.out / "narrow-operator.png")
    guest = walk.visits(asked[0])
    wait_shown(guest, 1)
    expect(guest.locator(".badge")).not_to_have_text("connecting")
    walk.see("W15", guest, "the colleague sees Live without an account")
