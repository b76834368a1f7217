"""As an operator does it: real micrographs, real services, a support set clicked together."""

import csv
import re
import shutil

import pytest
from playwright.sync_api import expect

from pychip_stream.archive.support_sets import load_support
from tests.support.looks import Chips, wait_data
from tests.support.micrographs import LAO
from tests.support.stack import call


def exported(run, folder, *options):
    target = folder / "fractions.csv"
    code, _, err = call("export", run, "--csv", target, *options)
    assert code == 0, err
    with target.open(newline="", encoding="utf-8") as file:
        (line,) = csv.DictReader(file)
    return line


def set_size(page, width, height):
    page.get_by_label("square").uncheck()
    sliders = page.locator(".MuiSlider-root input")
    sliders.nth(0).fill(str(width))
    sliders.nth(1).fill(str(height))


def label_the_past_again(page):
    """Under another name for a class; the run keeps what it was acquired with besides."""
    box = page.get_by_label("name of the class").first
    box.fill("rhombi")
    box.press("Tab")
    expect(page.locator(".pill").first).to_contain_text("rhombi")
    page.get_by_role("button", name="Save version").click()
    expect(page.get_by_text(re.compile("saved as [0-9a-f]{8}"))).to_be_visible(timeout=120_000)
    page.wait_for_timeout(2500)  # the list of versions follows
    page.get_by_role("button", name="Re-label the past").click()
    expect(page.get_by_text(re.compile("1 frames have labels under"))).to_be_visible(
        timeout=120_000
    )


@pytest.fixture(scope="module")
def run(stack):
    one = stack(None, watch={"quiet_s": 0.2, "reconcile_s": 1.0}).start()
    one.listen_for(lambda: one.monitor.state("dashboard") == "running", "the dashboard is up")
    one.address = f"http://127.0.0.1:{one.resolved.dashboard.port}/"
    return one


def test_lao_from_clicks_to_the_exported_csv(run, visit, shared_data, tmp_path):
    source = shared_data / "pychip_fig2bc"
    picks = LAO.picks(source)
    shutil.copy(source / "LaO.png", run.root / "LaO.png")
    page = visit(run.address)
    page.get_by_role("tab", name="Examples").click()
    wait_data(page, "picked", "v !== undefined", timeout=120_000)
    set_size(page, 34, 35)
    wait_data(page, "grid", "v === '22x23'")
    wait_data(page, "labels", "v !== undefined")
    chips = Chips(page, (790, 787), (34, 35))
    for number, (name, places) in enumerate(picks.items(), start=1):
        page.keyboard.press("Escape")
        page.locator(".chipwrap canvas").focus()
        page.keyboard.press(str(number))
        chips.click(*places)
        wait_data(page, "staged", f"v === 'feature {number}'")
        box = page.get_by_label("name of the class").nth(number - 1)
        expect(page.locator(".class").nth(number - 1).locator(".thumb")).to_have_count(len(places))
        box.fill(name)
        box.press("Tab")
        expect(page.locator(".pill").nth(number - 1)).to_contain_text(name)
    expect(page.locator(".line").first).to_contain_text("accuracy", timeout=120_000)
    page.get_by_role("button", name="Publish to the run").click()
    expect(page.get_by_text(re.compile("published [0-9a-f]{8}"))).to_be_visible(timeout=120_000)

    page.get_by_role("tab", name="Live").click()
    row = page.locator(".legend .row").first
    expect(row).to_contain_text("diamonds", timeout=120_000)
    run.wait_archived(1, timeout_s=120)
    shown = float(re.search(r"([\d.]+) %", row.inner_text())[1])
    page.get_by_role("tab", name="Examples").click()
    label_the_past_again(page)
    folder = run.config.support.folder
    support = load_support(folder / f"{(folder / 'current').read_text().strip()}.h5")
    assert support.counts == {name: len(places) for name, places in picks.items()}
    code, document = run.stop()
    assert code == 0
    acquired = exported(document["run"], tmp_path, "--scoring", "acquired")
    assert acquired["path"] == "LaO.png"
    assert 100 * float(acquired["diamonds"]) == pytest.approx(shown, abs=0.06)
    again = exported(document["run"], tmp_path)
    assert again["rhombi"] == acquired["diamonds"]
