"""What an operator feels of the dashboard, measured in a real browser.

    python -m benchmarks.dashboard [--cycles 200] [--seconds 20] [--viewers 10] [--frames 100000]
    python -m benchmarks.dashboard labels     first labels of a frame of 4096²
    python -m benchmarks.dashboard latency    from a file in the folder to its picture
    python -m benchmarks.dashboard opening    from opening the page to its first frame
    python -m benchmarks.dashboard badge      "behind" or "stalled" while neither is so
    python -m benchmarks.dashboard clicks     from a click on a chip to its highlight

Chromium without a window. The first four look at the installed `pychip-stream run`, fed with files;
the others at a real hub and dashboard with results that are made up here (no worker). Prints one
row per quality: what it is, what was measured, what is wanted, whether it holds.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import psutil
from playwright.sync_api import sync_playwright

from benchmarks.dashboard_run import (
    FED,
    FED_FIGURES,
    LARGE,
    PICKS,
    RATE,
    WATCH,
    Publisher,
    installed,
    measure_labels,
    new_page,
    quantile,
    row,
)  # fmt: skip
from tests.support.chromium import CHROMIUM, FLAGS
from tests.support.looks import CURVE_POINTS, FIND, wait_data, wait_shown
from tests.support.rehearsal import Rehearsal

EDGE, CHIP = 2048, 34

CLICKS = f"""async (count) => {{
  const canvas = ({FIND})('.chipwrap canvas');
  const box = canvas.getBoundingClientRect();
  const edge = Math.min(box.width, box.height);
  const times = [];
  for (let i = 0; i < count; i++) {{
    const place = {{
      bubbles: true, button: 0, pointerId: 1,
      clientX: box.left + box.width / 2 + (Math.random() - 0.5) * 0.9 * edge,
      clientY: box.top + box.height / 2 + (Math.random() - 0.5) * 0.9 * edge,
    }};
    const start = performance.now();
    canvas.dispatchEvent(new PointerEvent("pointerdown", place));
    window.dispatchEvent(new PointerEvent("pointerup", place));
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
    times.push(performance.now() - start);
    await new Promise((done) => setTimeout(done, 60));
  }}
  return times;
}}"""


def measure_clicks(browser, run, count):
    run.frame()
    page = new_page(browser, run)
    page.get_by_role("tab", name="Examples").click()
    wait_data(page, "picked", "v !== undefined")
    slider = page.locator(".MuiSlider-root input").first
    slider.fill(str(CHIP))
    wait_data(page, "grid", "v === arg", f"{EDGE // CHIP}x{EDGE // CHIP}")
    times = page.evaluate(CLICKS, count)
    chips = (EDGE // CHIP) ** 2
    text = f"p50 {quantile(times, 0.5):.0f} ms, p95 {quantile(times, 0.95):.0f} ms"
    holds = quantile(times, 0.95) <= 100
    row(f"click to highlight, {chips} chips, {EDGE}²", text, "p95 ≤ 100 ms", holds)
    page.close()


def measure_frames(browser, run, viewers, seconds):
    pages, received = [], []
    run.frame()
    for _ in range(viewers):
        page = new_page(browser, run)
        wait_shown(page, 1)
        page.evaluate(WATCH)
        pages.append(page)
    session = pages[0].context.new_cdp_session(pages[0])
    session.send("Network.enable")
    session.on(
        "Network.webSocketFrameReceived",
        lambda event: received.append(len(event["response"]["payloadData"])),
    )
    before = run.sent
    started = time.monotonic()
    with Publisher(run, RATE):
        pages[0].wait_for_timeout(seconds * 1000)
    took = time.monotonic() - started
    sent = run.sent - before
    pages[0].wait_for_timeout(2000)
    painted = [page.evaluate("() => window.painted") for page in pages]
    rates = [len(p) / took for p in painted]
    last = [page.locator(".caption").inner_text() for page in pages]
    newest = sum(f"frame_{run.sent - 1:05d}" in text for text in last)
    row(
        f"frames painted, {viewers} viewer(s), {sent / took:.1f}/s sent",
        f"{statistics.median(rates):.1f}/s, newest at the end: {newest} of {viewers}",
        f"{RATE:g}/s, all",
        newest == viewers,
    )
    # Binary payloads are told in base64, four characters for three bytes.
    total = 0.75 * sum(received) / max(len(painted[0]), 1)
    row(
        "bytes per frame to a browser, all messages",
        f"{total / 1e6:.2f} MB",
        "≤ 0.5 MB",
        total <= 5e5,
    )
    for page in pages:
        page.close()


def measure_memory(browser, run, cycles):
    process = psutil.Process(run.processes["dashboard.app"].pid)
    sizes = []
    for number in range(cycles):
        page = new_page(browser, run)
        wait_shown(page, 1)
        page.close()
        if number in (cycles // 4, cycles - 1):
            time.sleep(5)
            sizes.append(process.memory_info().rss / 2**20)
    per_cycle = (sizes[1] - sizes[0]) / max(cycles - cycles // 4, 1)
    row(
        f"memory of the server, {cycles} open/close cycles",
        f"{sizes[0]:.0f} → {sizes[1]:.0f} MiB ({per_cycle:+.2f} per cycle)",
        "≤ 0.1 MiB",
        per_cycle <= 0.1,
    )


def measure_curve(browser, run, frames):
    page = new_page(browser, run)
    page.wait_for_function(f"() => ({CURVE_POINTS})() > 500")
    page.get_by_role("button", name="2 min").click()
    page.wait_for_function(f"() => ({CURVE_POINTS})() < 500")
    start = time.monotonic()
    page.get_by_role("button", name="whole run").click()
    page.wait_for_function(f"() => ({CURVE_POINTS})() > 500")
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)))")
    took = time.monotonic() - start
    row(f"curve of {frames} frames drawn", f"{took:.2f} s", "≤ 1 s", took <= 1)
    page.close()


def measure_scrub(browser, run):
    for _ in range(12):
        run.frame(after=60)
    page = new_page(browser, run)
    wait_shown(page, 1)
    page.wait_for_function(f"() => ({CURVE_POINTS})() > 10")
    page.wait_for_timeout(2000)
    page.evaluate(WATCH)
    box = page.locator(".bk-Figure:visible").bounding_box()
    times = []
    for share in np.linspace(0.2, 0.9, 12):
        count = page.evaluate("() => window.painted.length")
        start = time.monotonic()
        page.mouse.click(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
        page.wait_for_function("n => window.painted.length > n", arg=count)
        times.append(1000 * (time.monotonic() - start))
        page.wait_for_timeout(600)  # a second tap within that time would be a double tap
    text = f"p50 {quantile(times, 0.5):.0f} ms, p95 {quantile(times, 0.95):.0f} ms"
    holds = quantile(times, 0.95) <= 200
    row(f"click on the curve to that frame, {EDGE}²", text, "p95 ≤ 200 ms", holds)
    page.close()


def serve(config_path, frames):
    """Serve a dashboard that has a long run in its memory already."""
    from dashboard.app import Dashboard
    from pychip_stream import config as configuration
    from pychip_stream import process as lifecycle

    board = Dashboard(configuration.load(Path(config_path)))
    now = time.time()
    times = now - np.arange(frames, 0, -1, dtype=float)
    wave = 0.5 + 0.3 * np.sin(np.arange(frames) / 500)
    columns = {
        name: np.stack([v, v - 0.03, v + 0.03], axis=1)
        for name, v in (("alpha", wave), ("beta", 1 - wave), ("unknown", 0 * wave))
    }
    keys = [(f"old_{i}.tif", 0) for i in range(frames)]
    stamps = np.repeat(times[:, None], 3, axis=1)
    board.run.course.recall(keys, times, columns, {}, ["0" * 32] * frames, stamps)
    return lifecycle.run(lambda: board, lifecycle.stop_event())


class LongRun(Rehearsal):
    """A rehearsal whose dashboard knows a long run."""

    def __init__(self, folder, frames):
        super().__init__(folder, size=256)
        self.frames = frames

    def command(self, name):
        """Start this file instead of the dashboard."""
        if name != "dashboard.app":
            return super().command(name)
        words = ["-m", "benchmarks.dashboard", "--serve", str(self.config_path), str(self.frames)]
        return [sys.executable, *words]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parts = ("all", "labels", *FED_FIGURES, "clicks")
    parser.add_argument("part", nargs="?", choices=parts, default="all")
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--viewers", type=int, default=10)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=RATE, help="of latency, opening, badge")
    parser.add_argument("--clicks", type=int, default=60)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.serve[0], int(options.serve[1]))
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"{datetime.now():%Y-%m-%d}, {os.cpu_count()} cores, load {load:.1f} before the start")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        if options.part in ("all", "labels"):
            with installed(Path(folder) / "labels", LARGE) as (run, camera):
                measure_labels(browser, run, camera)
        fed = [m for name, m in FED_FIGURES.items() if options.part in ("all", name)]
        if fed:
            with installed(Path(folder) / "fed", FED, PICKS) as (run, camera):
                for measure in fed:
                    measure(browser, run, camera, options.rate)
        if options.part not in ("all", "clicks"):
            browser.close()
            return 0
        run = Rehearsal(Path(folder) / "run", size=EDGE, chip=CHIP).start()
        try:
            measure_clicks(browser, run, options.clicks)
            if options.part == "clicks":
                return 0
            measure_frames(browser, run, 1, options.seconds)
            measure_frames(browser, run, options.viewers, options.seconds)
            measure_scrub(browser, run)
            measure_memory(browser, run, options.cycles)
        finally:
            run.stop()
        long = LongRun(Path(folder) / "long", options.frames).start()
        try:
            measure_curve(browser, long, options.frames)
        finally:
            long.stop()
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
