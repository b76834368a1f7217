"""Logging in, and what a viewer's browser can do when it is told to do more than it shows."""

import json

import pytest
from playwright.sync_api import expect

from tests.support.looks import wait_shown
from tests.support.rehearsal import Rehearsal

ENABLE = """(label) => {
  const models = [...window.Bokeh.documents[0]._all_models.values()];
  const button = models.find((m) => m.data?.label === label);
  button.data.disabled = false;
}"""

NO_CLIPBOARD = "() => { navigator.clipboard.writeText = async () => { throw new Error(); }; }"


PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "e"
    folder.mkdir()
    (folder / "users.json").write_text(json.dumps({"ann": "apple", "bob": "banana"}))
    one = Rehearsal(folder, users="users.json", operators=["ann"]).start()
    yield one
    one.stop()


def enter(page, name, password):
    page.get_by_label("name").fill(name)
    page.get_by_label("password").fill(password)
    page.get_by_role("button", name="Log in").click()


def test_a_wrong_password_is_told_and_the_right_one_opens_the_page(run, visit):
    page = visit(run.address)
    enter(page, "ann", "wrong")
    expect(page.get_by_role("alert")).to_contain_text("Invalid username or password")
    assert [text for text in visit.complaints if "403" in text]
    visit.complaints.clear()
    enter(page, "ann", "apple")
    run.frame(0.5)
    wait_shown(page, 1)
    page.get_by_role("tab", name="Examples").click()
    expect(page.get_by_role("button", name="Save version")).to_be_enabled()
    page.set_viewport_size({"width": 820, "height": 1180})  # M20, and in sight on a tablet
    page.get_by_role("tab", name="Live").click()
    expect(page.get_by_role("button", name="copy read-only link")).to_be_visible()
    page.set_viewport_size(PHONE)
    expect(page.get_by_role("button", name="copy read-only link")).to_be_in_viewport(ratio=1)
    page.get_by_role("link", name="log out ann").click()
    expect(page.get_by_label("password")).to_be_visible()


def test_a_viewer_who_enables_a_button_is_told_no(run, visit):
    """B15: the buttons of a viewer were disabled in his browser alone."""
    page = visit(run.address)
    enter(page, "bob", "banana")
    run.frame(0.5)
    wait_shown(page, 1)
    page.get_by_role("tab", name="Examples").click()
    button = page.get_by_role("button", name="Save version")
    expect(button).to_be_disabled()
    page.evaluate(ENABLE, "Save version")
    expect(button).to_be_enabled()
    button.click()
    expect(page.get_by_text("this login may look and download").first).to_be_visible()
    assert not list(run.config.support.folder.glob("*.h5"))
    page.get_by_role("tab", name="Upload").click()
    expect(page.get_by_text("this login may look and download").last).to_be_visible()
    page.set_viewport_size(PHONE)
    for there in (
        page.locator(".state"), page.locator(".looks"), page.get_by_role("link", name="log out bob")
    ):  # fmt: skip
        expect(there).to_be_in_viewport(ratio=1)


def test_a_colleague_without_an_account_sees_what_the_operator_shared(run, visit):
    page = visit(f"{run.address}?page=live&from=5&to=6")
    enter(page, "ann", "apple")
    run.frame(0.5)
    wait_shown(page, 1)
    assert "from=5&to=6" in page.url  # as it was asked for before the login
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.default_value), dialog.dismiss()))
    page.evaluate(NO_CLIPBOARD)
    with page.expect_event("dialog"):
        page.get_by_role("button", name="copy read-only link").click()
    link = asked[0]
    guest = visit(link)
    wait_shown(guest, 1)
    assert guest.url == link[: link.index("&link=")]
    assert "from=5.000&to=6.000" in guest.url
    assert not guest.get_by_role("button", name="copy read-only link").is_visible()
    guest.get_by_role("tab", name="Examples").click()
    expect(guest.get_by_role("button", name="Save version")).to_be_disabled()
