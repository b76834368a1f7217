"""As an operator does it: real micrographs, real services, a support set clicked together."""

import csv
import re
import shutil

import pytest
from helpers import call
from looks import Chips, wait_data
from playwright.sync_api import expect

from pychip_stream.archive.supports import load_support


def authors_picks(folder):
    """Places of the authors' chips of each class; their names count from 1."""
    found = {}
    for part in sorted(p for p in folder.iterdir() if p.is_dir()):
        numbers = [re.search(r"_(\d+)_(\d+)\.\w+$", f.name) for f in sorted(part.iterdir())]
        found[part.name] = [(int(m[1]) - 1, int(m[2]) - 1) for m in numbers if m]
    return found


def set_size(page, width, height):
    page.get_by_label("square").uncheck()
    sliders = page.locator(".MuiSlider-root input")
    sliders.nth(0).fill(str(width))
    sliders.nth(1).fill(str(height))


@pytest.fixture(scope="module")
def run(stack):
    one = stack(None, watch={"quiet_s": 0.2, "reconcile_s": 1.0}).start()
    one.listen_for(lambda: one.monitor.state("dashboard") == "running", "the dashboard is up")
    one.address = f"http://127.0.0.1:{one.resolved.dashboard.port}/"
    return one


def test_lao_from_clicks_to_the_exported_csv(run, visit, shared_data, tmp_path):
    source = shared_data / "pychip_fig2bc"
    picks = authors_picks(source / "LaO_support")
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
    support = load_support(next(run.config.support.folder.glob("*.h5")))
    assert support.counts == {name: len(places) for name, places in picks.items()}
    code, document = run.stop()
    assert code == 0
    target = tmp_path / "fractions.csv"
    code, _, err = call("export", document["run"], "--csv", target)
    assert code == 0, err
    with target.open(newline="", encoding="utf-8") as file:
        (line,) = csv.DictReader(file)
    assert line["path"] == "LaO.png"
    assert 100 * float(line["diamonds"]) == pytest.approx(shown, abs=0.06)
