"""An experiment of one's own: real micrographs, real services, examples clicked together."""

import re
import shutil
import signal
import tempfile
import urllib.request
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.walk.walker import Scene, Setting
from tests.conftest import SHARED
from tests.support.looks import CURVE_POINTS, Chips, data, wait_data, wait_shown
from tests.support.micrographs import LAO
from tests.support.stack import Stack
from tests.support.waiting import wait_for

_FIGURES = SHARED / "pychip_fig2bc"
_YELLOW = re.compile(r"watching .*: no frame is there yet")


def _setting(walk):
    folder = Path(tempfile.mkdtemp(prefix="pychip-walk-"))
    run = Stack(folder, dashboard={"enabled": True}, watch={"quiet_s": 0.2})
    try:
        run.start()
        yield Setting(things={"run": run, "picks": LAO.picks(_FIGURES)})
    finally:
        run.kill_all()


SCENE = Scene("own run", _setting)


def tab(page, name):
    page.get_by_role("tab", name=name).click()


def name_class(page, number, name):
    box = page.get_by_label("name of the class").nth(number)
    box.fill(name)
    box.press("Enter")


@SCENE("S15", "B3")
def the_first_minutes(walk, on):
    """Start a run without a support set, open the printed address, let a frame come."""
    run = on.things["run"]
    address = wait_for(
        lambda: next((m[0] for m in map(_address, run.log) if m), None), "the printed address"
    )
    with urllib.request.urlopen(address, timeout=5) as answer:
        assert answer.status == 200
    page = on.page = walk.visits(address)
    expect(page.get_by_text(_YELLOW)).to_be_visible()
    walk.see("S15", page, "answered at once; it says which folder it watches")
    shutil.copy(_FIGURES / LAO.name, run.root / LAO.name)
    expect(page.locator(".badge")).to_contain_text("frames arrive, no examples yet")
    wait_shown(page, 1)
    expect(page.get_by_role("button", name="Choose examples on this frame")).to_be_visible()
    walk.see("B3", page, page.locator(".badge").inner_text())


def _address(line):
    return re.search(r"http://127\.0\.0\.1:\d+/?", line)


@SCENE("S16", "M3", "M11", "M9", "M10", "S20")
def the_examples_before_the_first_click(walk, on):
    """Press the button, give pixel and chip size, point at chips, zoom and move."""
    page = on.page
    page.get_by_role("button", name="Choose examples on this frame").click()
    wait_data(page, "labels", "v !== undefined")
    page.get_by_label("pixel size").first.fill("0.5 nm")
    page.get_by_label("pixel size").first.press("Enter")
    wait_data(page, "scale", "/ nm/.test(v || '')")
    walk.see("S16", page, f"scale bar of {data(page, 'scale')}")
    number = page.get_by_label("px: N or W×H")
    number.fill(f"{LAO.chip[0]}x{LAO.chip[1]}")
    number.press("Enter")
    wait_data(page, "grid", "v === '22x23'")
    walk.see("M3", page, f"{number.input_value()} typed, {data(page, 'grid')} chips")
    expect(page.get_by_label("grid")).to_be_checked()
    walk.see("M11", page, "the grid is checked before a click")
    walk.see("M9", page, "for the eye: every label of a field")
    chips = on.things["chips"] = Chips(page, LAO.shape, LAO.chip)
    page.locator(".chipwrap canvas").hover(position=chips.place(4, 5))
    expect(page.locator(".readout")).to_contain_text("row 4, column 5")
    walk.see("M10", page, page.locator(".readout").inner_text())
    picked = data(page, "picked")
    page.mouse.wheel(0, -900)
    wait_data(page, "zoom", "Number(v) > 2")
    box = page.locator(".chipwrap canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down(button="right")
    page.mouse.move(x - 120, y - 80, steps=4)
    page.mouse.up(button="right")
    assert data(page, "picked") == picked
    walk.see("S20", page, page.locator(".hands").inner_text())
    page.get_by_role("button", name="show the whole frame").click()


@SCENE("S1", "S13", "M22", "S12", "M2", "M5", "M4", "M12")
def the_classes(walk, on):
    """Choose chips, name and add classes, make slips, and what is refused."""
    page, chips, picks = on.page, on.things["chips"], on.things["picks"]
    (first, some), (second, others), *_ = picks.items()
    chips.click(*some)
    page.keyboard.press("2")
    chips.click(others[0])
    name_class(page, 1, "brigth")
    expect(page.locator(".pill").nth(1)).to_contain_text("brigth")
    chips.click(*others[1:])
    expect(page.locator(".class").nth(1).locator(".thumb")).to_have_count(len(others))
    walk.see("S1", page, f"{len(others)} chips in the class that was named meanwhile")
    name_class(page, 1, second)
    name_class(page, 0, first)
    expect(page.locator(".pill").nth(1)).to_contain_text(second)
    walk.see("S13", page, f"brigth → {second}")
    before = page.locator(".chipwrap canvas").bounding_box()
    page.get_by_role("button", name="+ add a class").click()
    expect(page.locator(".pill")).to_have_count(3)
    assert page.locator(".chipwrap canvas").bounding_box() == before
    walk.see("M22", page, f"frame at {before}, before and after")
    page.locator(".class").nth(2).get_by_role("button", name="remove").click()
    expect(page.locator(".class")).to_have_count(2)
    name_class(page, 0, "")
    refused = page.locator(".line[data-level=error]")
    expect(refused).to_be_visible()
    walk.see("S12", page, refused.inner_text())
    whole = "nodes => nodes.every(n => n.complete && n.naturalWidth > 0)"
    assert page.locator(".class .thumb img").evaluate_all(whole)
    walk.see("M2", page, f"all {page.locator('.class .thumb img').count()} thumbnails whole")
    page.get_by_label("name of the class").first.press("Escape")
    name_class(page, 0, first)
    other = page.locator(".colour").nth(1).input_value()
    page.locator(".colour").first.evaluate(
        "(node, value) => { node.value = value; node.dispatchEvent(new Event('change')); }", other
    )
    expect(refused).to_contain_text("has that colour already")
    walk.see("M5", page, refused.inner_text())
    number = page.get_by_label("px: N or W×H")
    number.fill("200")
    number.press("Enter")
    said = page.locator(".line", has_text="fewer examples at 200 px")
    expect(said).to_be_visible()
    walk.see("M4", page, said.inner_text())
    page.locator(".chipwrap canvas").focus()
    page.keyboard.press("u")
    wait_data(page, "grid", "v === '22x23'")
    expect(page.locator(".line").first).to_contain_text("accuracy", timeout=120_000)
    wait_data(page, "highlights", "Number(v) > 0")
    walk.see("M12", page, f"{data(page, 'highlights')} hints; {_lines(page)}")


def _lines(page):
    return " / ".join(page.locator(".line:visible").all_inner_texts())


@SCENE("M21", "M6", "M1")
def published(walk, on):
    """Publish, and look at Live."""
    page = on.page
    numbers = page.locator(".legend:visible .number")
    preview = numbers.first.inner_text()
    page.get_by_label("note").fill("first chips")
    page.get_by_role("button", name="Publish to the run").click()
    expect(page.get_by_text(re.compile("published [0-9a-f]{8}"))).to_be_visible(timeout=120_000)
    tab(page, "Live")
    expect(page.locator(".legend .row").first).to_contain_text("diamonds", timeout=120_000)
    live = numbers.first.inner_text()
    assert live == preview, (live, preview)
    walk.see("M21", page, f"{preview} before, {live} from the worker")
    page.wait_for_function(f"() => ({CURVE_POINTS})() === 1")
    page.wait_for_timeout(1000)  # for the eye: the plot settles
    steps = " · ".join(page.locator(".step").all_inner_texts()).replace("\n", " ")
    walk.see("M6", page, f"one frame in the curve; {steps}")
    for text in numbers.all_inner_texts():
        value, low, high = map(float, re.match(r"([\d.]+) % \(([\d.]+)–([\d.]+)\)", text).groups())
        assert low <= value <= high, text
    walk.see("M1", page, "; ".join(numbers.all_inner_texts()))


@SCENE("B1", "B2", "S3")
def other_files(walk, on):
    """Let some frames come, then copy a tiff of 2021 and a 16-bit dm4 into the folder."""
    page, run = on.page, on.things["run"]
    for number in range(2, 8):
        shutil.copy(_FIGURES / LAO.name, run.root / f"LaO_{number}.png")
        expect(page.locator(".caption:visible")).to_contain_text(f"LaO_{number}", timeout=60_000)
    page.wait_for_timeout(10_000)  # the file of 2021 comes after a while
    shutil.copy(_FIGURES / "MoO3.tiff", run.root / "MoO3.tiff")
    expect(page.locator(".caption:visible")).to_contain_text("MoO3.tiff", timeout=60_000)
    said = page.locator(".alert.info", has_text="2021")
    expect(said.first).to_be_visible()
    walk.see("B1", page, said.first.inner_text())
    shutil.copy(SHARED / "dm" / "MoO3_u16.dm4", run.root / "MoO3_u16.dm4")
    expect(page.locator(".caption:visible")).to_contain_text("MoO3_u16.dm4", timeout=60_000)
    walk.see("B2", page, f"MoO3_u16.dm4 under {page.locator('.badge').inner_text()!r}")
    misfit = page.locator(".misfit").first
    expect(misfit).to_contain_text("another exposure or bit depth")
    walk.see("S3", page, misfit.inner_text())


@SCENE("S11", "M24", "S10")
def files_in_trouble(walk, on):
    """Copy damaged files, look at Health, and kill the worker."""
    page, run = on.page, on.things["run"]
    for name in ("badmagic", "trunc50", "empty"):
        shutil.copy(SHARED / "dm_corrupt" / f"made_dm4_{name}.dm4", run.root)
    tab(page, "Health")
    row = page.locator(".tables tr", has_text="made_dm4_badmagic.dm4")
    expect(row).to_be_visible(timeout=60_000)
    expect(row.locator("td").last).not_to_be_empty()
    walk.see("S11", page, row.inner_text().replace("\t", " · "))
    walk.see("M24", page, "for the eye: rates and the processor")
    worker = run.service("services.inference")
    worker.kill()
    alarm = page.locator(".alarm")
    expect(alarm).to_contain_text("worker-1", timeout=60_000)
    walk.see("S10", page, alarm.inner_text())
    expect(alarm).to_be_empty(timeout=120_000)


@SCENE("M8", "M7", "S4")
def the_past_again(walk, on):
    """Name a class anew, save that version with a note, label the past under it."""
    page = on.page
    tab(page, "Examples")
    frame = page.get_by_label("frame of the run")
    expect(frame).not_to_have_value("")
    shown = frame.input_value()
    frame.fill("99999")
    frame.press("Enter")
    refused = page.locator(".line[data-level=error]")
    expect(refused).to_contain_text("has the frames 1 to")
    walk.see("M8", page, f"frame {shown} is shown; {refused.inner_text()}")
    name_class(page, 0, "rhombi")
    expect(page.locator(".pill").first).to_contain_text("rhombi")
    page.get_by_label("note").fill("rhombi are the diamonds")
    page.get_by_role("button", name="Save version").click()
    expect(page.get_by_text(re.compile("saved as [0-9a-f]{8}"))).to_be_visible(timeout=120_000)
    page.get_by_role("combobox", name="version").click()
    choice = page.locator("li", has_text="rhombi are the diamonds")
    expect(choice.first).to_be_visible()
    walk.see("M7", page, choice.first.inner_text())
    choice.first.click()
    page.get_by_role("button", name="Re-label the past").click()
    expect(page.get_by_text(re.compile("have labels under"))).to_be_visible(timeout=120_000)
    tab(page, "Live")
    curve = page.locator(".facts", has_text="labelled again under rhombi are the diamonds")
    expect(curve).to_be_visible()
    expect(page.locator(".names .item", has_text="rhombi")).to_be_visible()
    expect(page.locator(".names .item", has_text="as acquired")).to_be_visible()
    walk.see("S4", page, curve.inner_text().replace("\n", " "))


@SCENE("S8", "M15", "S7", "M19")
def an_end_and_a_restart(walk, on):
    """Stop the run with the page open, start it again, stop it again."""
    page, run = on.page, on.things["run"]
    shown = page.locator(".caption:visible").inner_text()
    code, _ = run.stop()
    expect(page.get_by_text("The run has ended. Everything is in")).to_be_visible()
    expect(page.locator(".alarm")).to_be_empty()
    walk.see("S7", page, page.get_by_text("The run has ended.").inner_text())
    killed = [line for line in run.log if "killing" in line]
    assert (code, killed) == (0, []), (code, killed, run.log[-3:])
    walk.see("M19", page, "exit code 0, nobody was killed, one page open")
    page.close()
    refused = "ERR_CONNECTION_REFUSED"  # what it has asked for in vain since
    walk.visits.complaints = [one for one in walk.visits.complaints if refused not in one]
    run.start()
    run.listen_for(lambda: run.monitor.state("dashboard") == "running", "the dashboard is up")
    page = on.page = walk.visits(f"http://127.0.0.1:{run.resolved.dashboard.port}/")
    wait_shown(page, 1)
    walk.see("S8", page, f"{shown} before, {page.locator('.caption:visible').inner_text()} after")
    page.wait_for_timeout(1500)  # for the eye: the plot settles
    walk.see("M15", page, "for the eye: the marks on the curve after a restart")
    run.stop(signal.SIGINT)
