"""The live page beside the real services and the practice microscope."""

import re
import subprocess

import pytest
from helpers import COMMAND
from playwright.sync_api import expect

from pychip_stream.cli.demo import prepare

CURVE_POINTS = """() => {
  const source = Bokeh.documents[0].get_model_by_name("phase");
  return source ? source.get_column("t").length : 0;
}"""
TRUE_POINTS = CURVE_POINTS.replace('"phase"', '"phase-true"')


@pytest.fixture(scope="module")
def run(stack, tmp_path_factory):
    prepared = tmp_path_factory.mktemp("prepared")
    prepare(prepared, 100, 0)
    one = stack(prepared / "demo-support.h5").start()
    one.listen_for(lambda: one.monitor.state("dashboard") == "running", "the dashboard is up")
    one.listen_for(lambda: one.monitor.state("worker-1") == "running", "the worker is ready")
    microscope = subprocess.Popen(
        [COMMAND, "simulate", str(one.root), "--frames", "100", "--rate", "0.5"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    one.address = f"http://127.0.0.1:{one.resolved.dashboard.port}/"
    yield one
    microscope.kill()
    microscope.wait()
    one.stop()


def shown(page):
    return int(page.locator(".chipwrap").get_attribute("data-seq") or 0)


def wait_shown(page, number):
    page.wait_for_function(
        """number => {
          const find = (root) => {
            for (const node of root.querySelectorAll("*")) {
              if (node.classList.contains("chipwrap")) return node;
              const inner = node.shadowRoot && find(node.shadowRoot);
              if (inner) return inner;
            }
            return null;
          };
          return Number(find(document)?.dataset.seq || 0) >= number;
        }""",
        arg=number,
    )


def painted_colours(page):
    """How many different colours the canvas shows."""
    return page.locator(".chipwrap canvas").evaluate(
        """canvas => {
          const { width, height } = canvas;
          const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
          const seen = new Set();
          for (let i = 0; i < data.length; i += 40) seen.add(data.slice(i, i + 3).join());
          return seen.size;
        }"""
    )


def test_frame_and_curves_advance_with_the_truth_beside_them(run, visit):
    page = visit(run.address)
    expect(page.locator(".badge")).to_have_text(re.compile("live|behind"), timeout=60_000)
    wait_shown(page, 1)
    first = shown(page)
    points = page.evaluate(CURVE_POINTS)
    wait_shown(page, first + 2)
    page.wait_for_function(f"before => ({CURVE_POINTS})() > before", arg=points)
    page.wait_for_function(f"() => ({TRUE_POINTS})() > 1")
    assert painted_colours(page) > 100
    expect(page.locator(".legend .row")).to_have_count(5)
    expect(page.locator(".legend .row").first).to_contain_text("alpha")
    expect(page.locator(".step").last).to_contain_text("in all")
