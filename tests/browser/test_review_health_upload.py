"""Looking back, looking after the services, and one image alone: the other three pages."""

import csv
import re
import time

import pytest
from playwright.sync_api import expect

from pychip_stream.archive.support_sets import load_support
from pychip_stream.archive.writer import RunWriter
from pychip_stream.domain.frames import FrameRef
from pychip_stream.wire.messages import Live, Status, TroubledFile
from tests.support.archive_samples import failed, record, result
from tests.support.looks import BELOW, CURVE_POINTS, Chips, wait_data
from tests.support.micrographs import LAO, MOO3
from tests.support.rehearsal import Rehearsal
from tests.support.run_samples import add_second_scoring, make_run

FRAMES = 6
MARKUP = "torn <img src=x onerror=alert(1)>"
TOGETHER = """async ([first, second]) => {
  first.click();
  await new Promise((done) => setTimeout(done, 20));
  second.click();
}"""
"""The second reaches the server while the first is still to be answered."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    one = Rehearsal(tmp_path_factory.mktemp("run") / "e")
    runs = one.config.archive.folder
    heating = make_run(runs, one.folder / "old", FRAMES, "heating", extra=[failed(90, MARKUP)])
    add_second_scoring(heating, FRAMES)
    make_run(runs, one.folder / "new", 2, "growing", close=False)
    one.start()
    yield one
    one.stop()


def open_tab(have, run, name):
    page = have(run.address)
    page.get_by_role("tab", name=name).click()
    return page


def download(page, kind, folder):
    with page.expect_download() as started:
        page.locator(f"button[data-kind={kind}]").click()
    path = folder / started.value.suggested_filename
    started.value.save_as(path)
    expect(page.locator(".downloads .text")).to_contain_text("saved")
    return path


def shown_percent(page, name):
    text = page.locator(".legend .row", has_text=name).locator(".number").inner_text()
    return float(re.match(r"([\d.]+) %", text)[1])


def test_a_run_is_opened_scrubbed_compared_and_exported(run, borrow, visit, tmp_path):
    page = open_tab(borrow, run, "Review")
    card = page.locator(".card[data-name=heating]")
    expect(card).to_contain_text(f"{FRAMES} frames, 1 failed")
    expect(page.locator(".card[data-name=growing] .state")).to_have_text("live")
    card.click()
    scrubber = page.locator(".scrubber[data-count]")
    expect(scrubber).to_have_attribute("data-count", str(FRAMES))
    page.get_by_label("frame of the run").fill("4")
    expect(scrubber).to_have_attribute("data-at", "4")
    expect(page.locator(".caption")).to_have_text("frame_004.tif")
    page.get_by_label("one frame back").click()
    expect(scrubber).to_have_attribute("data-at", "3")

    there = "?page=review&run=heating&frame=frame_003.tif%230"
    expect(page.locator(".statusbar")).to_have_attribute("data-link", there)
    colleague = visit(
        run.address + there + "&from=1000&to=1e400&frame=nonsense&frame=frame_003.tif%230"
    )
    expect(colleague.locator(".scrubber[data-count]")).to_have_attribute("data-at", "3")
    colleague.context.close()

    page.wait_for_function(f"n => ({CURVE_POINTS.replace('phase', 'review')})() === n", arg=FRAMES)
    expect(page.locator(".bk-Figure:visible")).to_have_count(2)  # the curve and the histogram
    assert page.locator(".bk-Figure:visible").first.bounding_box()["height"] > 200

    page.get_by_role("combobox", name="below").last.click()
    page.locator("li", has_text="intensity_mean").click()
    drawn = BELOW.replace("NAME", "review")
    page.wait_for_function(f"() => ({drawn})()?.length === {FRAMES + 1}")
    assert page.evaluate(drawn) == ["intensity_mean (count)", *[2000.0] * FRAMES]

    shown = page.get_by_role("button", name="show alpha in the curves")
    both = [page.get_by_role("button", name="Failed"), shown]
    page.evaluate(TOGETHER, [one.element_handle() for one in both])
    expect(page.get_by_text(MARKUP)).to_be_visible()
    expect(page.locator(".bk-Figure:visible")).to_have_count(2)  # the curve and what is below it
    expect(shown).to_have_attribute("aria-pressed", "false")
    shown.click()
    page.get_by_role("button", name="Provenance").click()
    expect(page.get_by_text("e" * 32)).to_be_visible()

    page.get_by_role("button", name="Compare").click()
    page.get_by_label("compare with").click()
    page.locator("li", has_text="scoring set 9 · ").click()
    share = (result(3).label_map == result(503).label_map).mean()
    expect(page.get_by_text(f"{100 * share:.1f} % of the chips")).to_be_visible()

    page.get_by_role("button", name="Export").click()
    table = download(page, "csv", tmp_path)
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [f"frame_{n:03d}.tif" for n in range(FRAMES)]
    for name in ("alpha", "beta", "unknown"):
        assert 100 * float(rows[3][name]) == pytest.approx(shown_percent(page, name), abs=0.051)
    assert download(page, "picture", tmp_path).read_bytes().startswith(b"\x89PNG")

    page.get_by_role("button", name="all runs").click()
    expect(page.locator(".card")).to_have_count(2)


def test_a_live_run_is_followed(run, borrow):
    page = open_tab(borrow, run, "Review")
    page.locator(".card[data-name=growing]").click()
    scrubber = page.locator(".scrubber[data-count]")
    expect(scrubber).to_have_attribute("data-count", "2")
    page.get_by_label("last frame").click()
    expect(scrubber).to_have_attribute("data-at", "1")
    writer = RunWriter(run.config.archive.folder, "growing")
    writer.append(record(2))
    writer.publish()
    writer.release()
    expect(scrubber).to_have_attribute("data-count", "3")
    expect(scrubber).to_have_attribute("data-at", "2")
    expect(page.locator(".caption")).to_contain_text("labels alone")


def test_health_says_in_words_how_the_services_are(run, borrow):
    folder = run.config.archive.folder
    log = folder / f"{run.config.archive.name}.log"
    log.write_text("watcher    12:00:00 INFO <b>looking</b>\n")
    page = open_tab(borrow, run, "Health")
    torn = TroubledFile("deep/torn.dm4", "incomplete", "its end is missing")
    counters = {"seen": 5.0, "archived": 2.0, "behind": 3.0}
    run.channel.send(
        Status(
            service="watcher", instance="watcher", state="running", time=time.time(),
            counters=counters, files=(torn,),
        )
    )  # fmt: skip
    run.channel.send(
        Live(
            frame=FrameRef(path="bad.tif", seen=1.0), names=(), colors=(), support_version="",
            chip_size=(0, 0), shape=(0, 0), status="failed", reason="not an image <b>",
        )
    )  # fmt: skip
    for name, words in (("torn.dm4", "its end is missing"), ("bad.tif", "not an image <b>")):
        trouble = page.locator(".tables tr", has_text=name)
        expect(trouble).to_contain_text(words)  # S11: a number, and the reason in the log
        expect(trouble.locator("td").last).not_to_be_empty()
    first = page.locator(".tables h2").first
    expect(first).to_have_text("Services")
    row = page.locator(".tables tr", has_text="watcher")
    expect(row.locator(".state")).to_have_text(re.compile("● running"))
    expect(page.locator(".tables tr", has_text="frames behind")).to_contain_text("3")
    expect(page.locator("pre", has_text="<b>looking</b>")).to_be_visible()
    expect(page.locator(".tables tr", has_text="disk of the archive")).to_contain_text("free of")
    expect(row.locator(".state")).to_have_text(re.compile("silent"))  # it has said nothing since


@pytest.mark.parametrize("image", [LAO, MOO3], ids=lambda image: image.name)
def test_an_image_goes_from_file_to_exported_result(image, run, visit, shared_data, tmp_path):
    source, chip, grid = shared_data / "pychip_fig2bc", image.chip, image.grid
    picks = image.picks(source)
    page = open_tab(visit, run, "Upload")
    page.get_by_role("button", name="2 Grid").click()
    expect(page.get_by_text("No appropriate file was selected")).to_be_visible()
    page.get_by_label("image file").set_input_files(source / image.name)
    expect(page.get_by_text(re.compile("rows × "))).to_be_visible()
    page.get_by_label("square").uncheck()
    sliders = page.locator(".MuiSlider-root input")
    sliders.nth(0).fill(str(chip[0]))
    sliders.nth(1).fill(str(chip[1]))
    wait_data(page, "grid", f"v === '{grid[0]}x{grid[1]}'")
    page.get_by_role("button", name="Use this grid size").click()
    wait_data(page, "picked", "v === '0'")
    # A click counts at once: the first class is active though there was none before the grid.
    expect(page.locator(".pill").first).to_have_attribute("aria-checked", "true")
    chips = Chips(page, image.shape, chip)
    for number, places in enumerate(picks.values(), start=1):
        if number > 2:
            page.get_by_role("button", name="add a class").click()
            expect(page.locator(".pill")).to_have_count(number)
        expect(page.locator(".legend .row")).to_have_count(max(number, 2) + 1)
        page.locator(".chipwrap canvas").focus()
        page.keyboard.press(str(number))
        chips.click(*places)
        expect(page.locator(".class").nth(number - 1).locator(".thumb")).to_have_count(len(places))
    page.get_by_role("button", name="Classify").click()
    result_text = page.get_by_text(re.compile("95 % interval")).first
    expect(result_text).to_be_visible(timeout=90_000)
    table = download(page, "csv", tmp_path)
    with table.open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["path"] == image.name
    for number in range(1, len(picks) + 1):
        value = 100 * float(row[f"feature {number}"])
        assert value == pytest.approx(shown_percent(page, f"feature {number}"), abs=0.051)
    assert sum(float(row[f"feature {n + 1}"]) for n in range(len(picks))) > 0.5
    assert b"time (s)" not in download(page, "svg", tmp_path).read_bytes()
    assert download(page, "chart", tmp_path).read_bytes().startswith(b"\x89PNG")
    expect(page.get_by_text(re.compile(f" of {grid[0] * grid[1]} chips")).first).to_be_visible()
    support = load_support(download(page, "support", tmp_path))
    assert list(support.counts.values()) == [len(places) for places in picks.values()]
