"""The page that `pychip-stream review` serves."""

import csv
import subprocess
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect

from pychip_stream.archive.run import open_run
from pychip_stream.archive.support_sets import load_support, save_support
from tests.support.looks import CURVE_POINTS
from tests.support.run_samples import make_run
from tests.support.simple_runs import COUNT, archive, picked
from tests.support.stack import COMMAND


@contextmanager
def reviewed(folder, *words):
    """Address of the page of the command."""
    process = subprocess.Popen(
        [COMMAND, "review", *words], cwd=folder, stderr=subprocess.PIPE, text=True
    )
    yield next(line.strip() for line in process.stderr if line.startswith("http"))
    process.terminate()
    assert process.wait(30) == 0
    process.stderr.close()


@pytest.fixture
def address(tmp_path):
    make_run(tmp_path / "a/runs", tmp_path / "frames-a", 3)
    single = make_run(tmp_path / "b", tmp_path / "frames-b", 2)
    make_run(tmp_path / "b", tmp_path / "frames-c", 2, "not-asked-for")
    with reviewed(tmp_path, "a", str(single)) as found:
        yield found


@pytest.fixture
def scored(tmp_path):
    run, better = archive(tmp_path), tmp_path / "better.h5"
    save_support(picked(2, seed=5, names=("lines", "noise")), better)
    with reviewed(tmp_path, str(run)) as found:
        yield found, run, better


def test_runs_of_all_places_are_listed_and_opened_and_one_image_can_be_uploaded(address, visit):
    page = visit(address)
    expect(page.get_by_role("tab")).to_have_text(["Review", "Upload"])
    cards = page.locator(".card")
    expect(cards).to_have_count(2)
    expect(page.locator(".note").first).to_contain_text("2 runs in")
    page.locator(".card", has_text="3 frames").click()
    expect(page.locator(".scrubber[data-count]")).to_have_attribute("data-count", "3")
    page.get_by_role("tab", name="Upload").click()
    expect(page.get_by_text("1 File")).to_be_visible()


def test_a_run_is_scored_again_compared_and_exported(scored, visit, tmp_path):
    """A file is dropped, the scoring made of it, shown beside the old one, and its table had."""
    address, run, better = scored
    page = visit(address)
    page.locator(".card").click()
    drawn = CURVE_POINTS.replace("phase", "review")
    page.wait_for_function(f"count => ({drawn})() >= count", arg=COUNT)  # all is there
    page.get_by_role("button", name="Re-score", exact=True).click()
    page.get_by_label("support set file").set_input_files(better)
    expect(page.locator(".zone .text")).to_contain_text(" · ")
    name = page.locator(".zone .text").inner_text()
    expect(page.get_by_role("combobox", name="support set", exact=True)).to_have_text(name)
    page.get_by_role("button", name="Re-score", exact=True).last.click()
    expect(page.get_by_text(f"{COUNT} frames have labels under {name}")).to_be_visible()
    assert open_run(run).scoring == "acquired"

    page.get_by_role("button", name="Compare", exact=True).click()
    page.get_by_label("compare with").click()
    page.locator("li", has_text=f"scoring {name}").click()
    expect(page.get_by_text("% of the chips")).to_be_visible()

    page.get_by_role("combobox", name="scoring", exact=True).click()
    page.locator("li", has_text=name).click()
    expect(page.locator(".legend .row", has_text="lines")).to_be_visible()
    page.get_by_role("button", name="Export", exact=True).click()
    with page.expect_download() as started:
        page.locator("button[data-kind=csv]").click()
    started.value.save_as(tmp_path / "exported.csv")
    with (tmp_path / "exported.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    shown = open_run(run).with_scoring(load_support(better).version)
    assert [float(row["lines"]) for row in rows] == pytest.approx(
        shown.fractions["lines"].tolist(), abs=1e-8
    )
