"""One image from this machine: what is refused, what one begins with, what goes to the run."""

import re

import pytest
from playwright.sync_api import expect

from pychip_stream.archive.support_sets import SupportFolder, load_support, support_to_bytes
from pychip_stream.domain.chips import ChipSize
from tests.support.archive_samples import support
from tests.support.looks import wait_data
from tests.support.rehearsal import Rehearsal


@pytest.fixture
def run(tmp_path):
    one = Rehearsal(tmp_path / "e").start()
    yield one
    one.stop()


def test_a_set_of_ones_own_is_loaded_and_handed_to_the_run(run, visit, tmp_path):
    page = visit(run.address)
    page.get_by_role("tab", name="Upload").click()
    expect(page.locator(".kinds").last).to_contain_text(".dm4")  # M18: what may be dropped
    expect(page.locator(".chipwrap").last).to_be_hidden()  # and no black square before
    drop = page.get_by_label("image file")
    torn = tmp_path / "torn.png"
    torn.write_bytes(b"no image")
    drop.set_input_files(torn)
    refused = page.get_by_text("No appropriate file was selected")
    expect(refused).to_have_count(1)
    expect(refused).to_contain_text("torn.png")
    expect(refused).not_to_contain_text("/")

    mine = tmp_path / "mine.h5"
    mine.write_bytes(support_to_bytes(support(chip_size=ChipSize(32, 32))))
    drop.set_input_files(mine)
    expect(page.get_by_text("examples of alpha, beta, chips of 32 px")).to_be_visible()
    expect(refused).to_have_count(0)
    frame = run.frame(0.5)
    drop.set_input_files(run.root / frame.path)
    page.get_by_role("button", name="Use this grid size").click()
    expect(page.locator(".class .thumb img")).to_have_count(6)
    wait_data(page, "picking", "v === 'yes'")
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_text(re.compile("of 64 chips")).first).to_be_visible(timeout=90_000)
    page.get_by_role("button", name="Publish to the run").last.click()
    expect(page.get_by_text(re.compile("published [0-9a-f]{8}"))).to_be_visible()
    folder = SupportFolder(run.config.support.folder)
    assert load_support(folder.path(folder.current_version())).counts == {"alpha": 3, "beta": 3}
