"""What every page owes its viewers: a theme for a dark room, and access for all."""

import re
from itertools import pairwise

import pytest
from playwright.sync_api import expect

from tests.support.looks import CURVE_POINTS, SPY
from tests.support.rehearsal import Rehearsal
from tests.support.run_samples import make_run
from tests.support.visits import PLAIN
from tests.support.waiting import wait_for

TABS = ("Live", "Examples", "Review", "Health", "Upload")
DARK = "() => document.documentElement.dataset.theme === 'dark'"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    one = Rehearsal(tmp_path_factory.mktemp("looks") / "e", size=512, chip=64)
    make_run(one.config.archive.folder, one.folder / "old", 3, "heating")
    one.start()
    one.frame(0.5)
    yield one
    one.stop()


def lightness(page, css="header.MuiAppBar-root"):
    """Relative luminance of the background of an element."""
    parts = page.locator(css).first.evaluate(
        "node => getComputedStyle(node).backgroundColor.match(/[\\d.]+/g).map(Number)"
    )
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
              for c in (p / 255 for p in parts[:3])]  # fmt: skip
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_dark_room_stays_dark(run, visit):
    """S18: the system's wish was ignored, the choice forgotten, the title bar bright cyan."""
    page = visit(run.address, color_scheme="dark")
    expect(page.locator(".chipwrap")).to_be_visible()
    page.wait_for_function(DARK)
    expect(page.locator("main").first).not_to_have_css("background-color", "rgb(255, 255, 255)")
    assert lightness(page) < 0.1  # white on it has more than 7 : 1
    page.get_by_role("button", name="theme").click()
    page.wait_for_function(DARK.replace("dark", "light"))
    page.reload()
    expect(page.locator(".chipwrap")).to_be_visible()
    expect(page.locator("main").first).to_have_css("background-color", "rgb(255, 255, 255)")

    bright = visit(run.address, color_scheme="light")
    expect(bright.locator(".chipwrap")).to_be_visible()
    expect(bright.locator("main").first).to_have_css("background-color", "rgb(255, 255, 255)")


def open_tab(page, name):
    """Open a tab; in Review a run, and there also what one can do with it."""
    page.get_by_role("tab", name="Review" if name == "Re-score" else name).click()
    if name in ("Review", "Re-score"):
        card = page.locator(".card[data-name=heating]")
        scrubber = page.locator(".scrubber[data-count]")
        expect(card.or_(scrubber).first).to_be_visible()
        if card.is_visible():
            card.click()
        expect(scrubber).to_be_visible()
    if name == "Re-score":
        page.get_by_role("button", name=name, exact=True).click()
        expect(page.get_by_label("encoder")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_rule_of_accessibility_is_broken(run, borrow, scheme):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe is missing"
    ).Axe()
    page = borrow(run.address)
    page.get_by_role("tab", name="Live").click()
    if scheme == "dark":  # all but the colours is the same
        page.get_by_role("button", name="theme").click()
    page.wait_for_function(DARK.replace("dark", scheme))
    rules = {"runOnly": ["color-contrast"]} if scheme == "dark" else {}
    found = {}
    for name in (*TABS, "Re-score"):
        open_tab(page, name)
        page.wait_for_timeout(1500)
        for broken in axe.run(page, options=rules).response["violations"]:
            nodes = [node["html"][:160] for node in broken["nodes"]]
            found[name, broken["id"]] = [broken["impact"], len(nodes), nodes[:3]]
    assert found == {}
    if scheme == "dark":
        page.get_by_role("button", name="theme").click()
        page.wait_for_function(DARK.replace("dark", "light"))


BEYOND = """() => {
  const found = [];
  const walk = (root) => {
    for (const node of root.children || []) {
      const box = node.getBoundingClientRect();
      if (box.width > 0 && box.right > innerWidth + 1) found.push(node.tagName + node.className);
      if (node.matches(".bk-Figure")) continue; // what is in it lies where its canvas says
      walk(node);
      if (node.shadowRoot) walk(node.shadowRoot);
    }
  };
  walk(document.body);
  return found;
}"""


@pytest.mark.parametrize("width", [390, 820, 1280])
def test_nothing_is_cut_at_the_right(run, borrow, width):
    """S23: the numbers are what was missing on a phone."""
    page = borrow(run.address)
    page.set_viewport_size({"width": width, "height": 900})
    page.get_by_role("tab", name="Live").click()
    expect(page.locator(".chipwrap[data-seq]")).to_be_visible()
    run.frame(0.5)
    expect(page.locator(".step").first).to_be_visible()
    for name in (*TABS, "Re-score"):
        open_tab(page, name)
        page.wait_for_timeout(1500)
        assert page.evaluate(BEYOND) == [], name
        if name == "Health" and width < 600:  # M28: the services were cut in the middle of a row
            box = page.locator(".scroll", has=page.get_by_role("table", name="Services"))
            expect(box).to_have_css("max-height", "none")


def test_what_stands_below_each_other_on_examples_begins_at_one_edge(run, borrow):
    page = borrow(run.address)
    open_tab(page, "Examples")
    named = [
        page.get_by_role("button", name=name)
        for name in ("Take the newest frame", "Save version", "+ add a class")
    ]
    fields = page.locator("fieldset:visible", has_text=re.compile("^(pixel size|note|version)$"))
    expect(fields).to_have_count(3)
    edges = [one.bounding_box()["x"] for one in (*named, *fields.all())]
    assert len(set(edges)) == 1, edges


def test_the_controls_of_live_leave_the_room_to_the_curve(run, borrow):
    """Three rows with wide margins; the curve began in the middle of the page."""
    page = borrow(run.address)
    page.set_viewport_size(PLAIN)
    page.get_by_role("tab", name="Live").click()
    first = page.get_by_role("button", name="whole run")
    expect(page.locator(".bk-Figure:visible")).to_have_count(1)
    expect(page.get_by_label("mark")).to_be_visible()
    plot = page.locator(".bk-Figure:visible")
    run.frame(0.5, names=("amorphous", "vacuum"))
    run.frame(0.5, names=("gold", "beta"))
    names, add = page.locator(".names .item"), page.get_by_label("new limit")
    expect(names).to_have_count(6)
    wait_for(
        lambda: abs(add.bounding_box()["y"] - names.last.bounding_box()["y"]) < 6,
        lambda: f"{add.bounding_box()} {names.last.bounding_box()}",
    )
    wait_for(  # what is shown last moves what is below it
        lambda: 0 < plot.bounding_box()["y"] - first.bounding_box()["y"] < 120,
        lambda: f"{first.bounding_box()} {plot.bounding_box()}",
    )


CUT = """() => {
  const found = [];
  const walk = (root) => {
    for (const node of root.children || []) {
      const text = node.matches("label, .what, .badge, button") && node.clientWidth > 0;
      if (text && node.scrollWidth > node.clientWidth + 1) found.push(node.textContent);
      walk(node);
      if (node.shadowRoot) walk(node.shadowRoot);
    }
  };
  walk(document.body);
  return found;
}"""


@pytest.mark.parametrize("width", [1280, 3840])
def test_no_name_of_a_field_is_cut(run, borrow, width):
    """M9, M26: texts grow with the screen, and fields with them."""
    page = borrow(run.address)
    page.set_viewport_size({"width": width, "height": 2 * width // 3})
    for name in (*TABS, "Re-score"):
        open_tab(page, name)
        page.wait_for_timeout(1500)
        assert page.evaluate(CUT) == [], name
    page.set_viewport_size(PLAIN)


LAST_PART = """(span) => {
  const drawn = (m) => m.renderers.some((r) => r.data_source?.name === "phase");
  const all = [...window.Bokeh.documents[0]._all_models.values()];
  const { x_range } = all.filter((m) => m.type === "Figure" && drawn(m)).at(-1);
  x_range.setv({ start: x_range.end - span, end: x_range.end });
}"""


def axis_texts(page, act, pattern):
    """Size, left and right end of the texts beside the axes of the curve, as `act` draws them."""
    page.evaluate("window.drawn = []")
    act()
    page.wait_for_function(
        "pattern => window.drawn.some((one) => new RegExp(pattern).test(one.text))", arg=pattern
    )
    page.wait_for_timeout(500)
    found = {}
    for one in page.evaluate("window.drawn"):
        if re.match(pattern, one["text"]):
            left = one["x"] - {"center": one["width"] / 2, "right": one["width"]}.get(
                one["align"], 0
            )
            size = float(re.search(r"([\d.]+)px", one["font"])[1])
            found[one["text"]] = (size, left, left + one["width"])
    return found


def test_the_axes_can_be_read(run, borrow):
    """M26: 12 px on any screen; moments within a second overlapped."""
    page = borrow(run.address)
    page.set_viewport_size(PLAIN)
    page.get_by_role("tab", name="Live").click()
    page.evaluate(SPY)
    for _ in range(3):
        run.frame(0.5, after=0.04)
    page.wait_for_function(f"() => ({CURVE_POINTS})() >= 3")
    page.wait_for_timeout(1000)

    def zoom():
        page.evaluate(LAST_PART, 780)  # seven moments or eight, of 71 px each in 510

    def enlarge():
        page.set_viewport_size({"width": 3840, "height": 2160})

    def shrink():
        page.set_viewport_size(PLAIN)

    places = sorted(
        axis_texts(page, zoom, r"^\d\d:\d\d:\d\d\.\d{3}$").values(), key=lambda at: at[1]
    )
    assert len(places) > 2
    for (_, _, right), (_, left, _) in pairwise(places):
        assert left > right
    for act, expected in ((enlarge, 18.5), (shrink, 12)):
        (size,) = {size for size, _, _ in axis_texts(page, act, "^100 %$").values()}
        assert size == pytest.approx(expected, abs=0.6)
    page.get_by_role("button", name="whole run").click()


MARK_FIELD = """async (script) => {
  const { render } = await import(script);
  const model = { sent: [], on: () => {}, send_msg: (message) => model.sent.push(message) };
  const host = document.createElement("div"), other = document.createElement("div");
  host.attachShadow({ mode: "open" }).append(render({ model }));
  other.attachShadow({ mode: "open" }).append(document.createElement("textarea"));
  document.body.replaceChildren(host, other);
  window.sent = () => model.sent.splice(0).map((one) => one.text ?? one.type);
  window.hide = (hidden) => { host.style.display = hidden ? "none" : ""; };
}"""


def test_m_opens_a_mark_where_nothing_is_typed(run, visit):
    script = run.address.rstrip("/") + "/parts/mark_field.js"
    page = visit(script)
    page.evaluate(MARK_FIELD, script)
    sent, field = lambda: page.evaluate("window.sent()"), page.get_by_label("mark")
    assert sent() == ["ready"]
    page.keyboard.press("m")
    page.keyboard.type("gas m")
    page.keyboard.press("Enter")
    assert sent() == ["opened", "gas m"]
    expect(field).to_be_empty()
    page.keyboard.press("M")
    page.keyboard.type("no")
    page.keyboard.press("Escape")
    assert sent() == ["opened"]
    expect(field).not_to_be_focused()
    page.keyboard.press("Control+m")
    page.locator("textarea").press("m")
    expect(page.locator("textarea")).to_have_value("m")
    page.locator("textarea").blur()
    page.evaluate("window.hide(true)")
    page.keyboard.press("m")
    assert sent() == []
    page.evaluate("window.hide(false)")
    page.keyboard.press("m")
    assert sent() == ["opened"]


SCRUBBER = """async (script) => {
  const { render } = await import(script);
  const model = { sent: [], on: (_kind, act) => (model.hear ||= act) };
  model.send_msg = (message) => model.sent.push(message);
  document.body.append(render({ model }));
  window.answer = (at) => model.hear({ type: "at", count: 1000, at, text: `${at}` });
  window.answer(0);
}"""


def test_space_plays_and_a_slower_pace_is_said(run, visit):
    """M16: frames that came at 1/s were played at "5/s", unsaid."""
    script = run.address.rstrip("/") + "/parts/scrubber.js"
    page = visit(script)
    page.clock.install(time=0)
    page.clock.pause_at(1000)  # else time goes on by itself, too
    page.evaluate(SCRUBBER, script)
    scrubber, pace = page.locator(".scrubber"), page.locator(".pace")
    page.get_by_label("frame of the run").press("Space")
    expect(scrubber).to_have_attribute("data-playing", "1")
    for at in range(1, 6):
        page.clock.run_for(1000)
        page.evaluate("at => window.answer(at)", at)
    expect(pace).to_have_text("plays only 1.0/s")
    page.get_by_label("frame of the run").press("Space")
    expect(scrubber).to_have_attribute("data-playing", "0")
    expect(pace).to_be_empty()
