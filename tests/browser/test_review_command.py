"""The page that `pychip-stream review` serves."""

import subprocess

import pytest
from playwright.sync_api import expect

from tests.support.run_samples import make_run
from tests.support.stack import COMMAND


@pytest.fixture
def address(tmp_path):
    make_run(tmp_path / "a/runs", tmp_path / "frames-a", 3)
    single = make_run(tmp_path / "b", tmp_path / "frames-b", 2)
    make_run(tmp_path / "b", tmp_path / "frames-c", 2, "not-asked-for")
    process = subprocess.Popen(
        [COMMAND, "review", "a", str(single)], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    yield next(line.strip() for line in process.stderr if line.startswith("http"))
    process.terminate()
    assert process.wait(30) == 0
    process.stderr.close()


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
