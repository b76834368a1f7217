"""Figures of the dashboard beside the installed services, fed with files; see `dashboard`."""

import contextlib
import threading
import time
from collections import Counter

import numpy as np
import tifffile

from tests.support.looks import FIND, Chips, data, wait_data, wait_shown
from tests.support.rehearsal import two_textures
from tests.support.stack import Stack, call_installed

LARGE = 4096
FED, FED_CHIP = 1024, 64
"""Pixels of the frames, and of their chips, that the installed services are fed with."""
PICKS = ("fine=1,1;4,3;9,5;13,2", "coarse=1,14;4,12;9,10;13,13")
RATE = 5.0

WATCH = f"""() => {{
  const wrap = ({FIND})('.chipwrap');
  const caption = wrap.querySelector('.caption');
  window.painted = [];
  new MutationObserver(() => {{
    const number = Number(/frame_(\\d+)/.exec(caption.title)?.[1] ?? -1);
    requestAnimationFrame(() => setTimeout(() => window.painted.push([number, Date.now()]), 0));
  }}).observe(wrap, {{ attributes: true, attributeFilter: ["data-seq"] }});
}}"""


VERDICTS = {True: "holds", False: "MISSED", None: "not measured"}


def row(what, value, wanted, holds):
    print(f"{what:<46} {value:<46} {wanted:<14} {VERDICTS[holds]}", flush=True)


def quantile(values, share):
    return float(np.quantile(values, share)) if len(values) else float("nan")


class Publisher:
    """Publishes frames at a rate from a thread."""

    def __init__(self, run, rate):
        self.run, self.pause = run, 1.0 / rate
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._work)

    def _work(self):
        due = time.monotonic()
        while not self.stop.is_set():
            self.run.frame(0.3 + 0.4 * (self.run.sent % 50) / 50)
            due += self.pause
            self.stop.wait(max(due - time.monotonic(), 0.0))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


class Camera:
    """Writes frames into a folder, each whole under its name at once and unlike the last."""

    def __init__(self, root, size):
        self.root = root
        self.pixels = two_textures(size, 0.5, np.random.default_rng(0))
        self.moments = []

    @property
    def sent(self):
        """Frames written so far."""
        return len(self.moments)

    def frame(self, _share=0.5):
        """Write the next; returns its name."""
        path = self.root / f"frame_{self.sent:05d}.tif"
        hidden = path.with_name(f".{path.name}")
        tifffile.imwrite(hidden, np.roll(self.pixels, 8 * self.sent, axis=0))
        now = time.time()
        hidden.rename(path)
        self.moments.append(now)
        return path.name


@contextlib.contextmanager
def installed(folder, size, picks=()):
    """Run the installed services; yields them, with the page's address, and what feeds them."""
    folder.mkdir()
    support = folder / "support.h5" if picks else None
    if picks:
        source = folder / "source.tif"
        tifffile.imwrite(source, two_textures(size, 0.5, np.random.default_rng(1)))
        words = [word for pick in picks for word in ("--pick", pick)]
        code, _, err = call_installed(
            "support", "make", source, "--chip-size", FED_CHIP, *words, "-o", support
        )
        assert code == 0, err
    run = Stack(folder, support, dashboard={"enabled": True})
    try:
        run.start()
        run.listen_for(lambda: run.monitor.state("dashboard") == "running", "the dashboard is up")
        camera = Camera(run.root, size)
        camera.frame()
        if picks:
            run.wait_archived(1)
        yield run, camera
        run.stop()
    finally:
        run.kill_all()


def new_page(browser, run):
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(120_000)
    page.goto(f"http://127.0.0.1:{run.resolved.dashboard.port}/")
    return page


LABELLED = f"() => !['–', ''].includes(({FIND})('.legend .number')?.textContent ?? '')"
WAITING = f"""() => {{
  const labelled = {LABELLED};
  const waited = window.waited = {{ gap: 0, labelled: null }};
  let last = performance.now();
  const step = (now) => {{
    waited.gap = Math.max(waited.gap, now - last);
    last = now;
    if (labelled()) waited.labelled = Date.now();
    else requestAnimationFrame(step);
  }};
  requestAnimationFrame(step);
}}"""


def measure_labels(browser, run, camera):
    """From the click that completes a second class to labels, on frames as large as cameras'."""
    for rest, what in ((0, "at once"), (10, "after 10 s"), (10, "on the next frame")):
        page = new_page(browser, run)
        page.get_by_role("tab", name="Examples").click()
        wait_data(page, "picked", "v !== undefined")
        number = page.get_by_label("px: N or W×H")
        number.fill("64")
        number.press("Enter")
        wait_data(page, "grid", "v === '64x64'")
        page.locator(".chipwrap canvas").focus()
        while data(page, "picked") != "0":
            page.keyboard.press("u")
            page.wait_for_timeout(300)
        if what == "on the next frame":
            name = camera.frame()
            caption = page.locator(".caption:visible", has_text=name)
            while caption.count() == 0:  # until the run has heard of it
                page.get_by_role("button", name="Take the newest frame").click()
                page.wait_for_timeout(1000)
        page.wait_for_timeout(1000 * rest)
        chips = Chips(page, (LARGE, LARGE), (64, 64))
        page.keyboard.press("1")
        chips.click((3, 3), (9, 9))
        page.wait_for_function(f"() => !({LABELLED})()")
        page.keyboard.press("2")
        page.evaluate(WAITING)
        start = time.time()
        chips.click((20, 60))
        told, zooms = use_meanwhile(page, start)
        waited = page.evaluate("() => window.waited")
        took = waited["labelled"] / 1000 - start
        row(f"first labels, {LARGE}², clicked {what}", f"{took:.2f} s", "≤ 3 s", took <= 3)
        answered = f"zoomed {len(zooms)} times within {max(zooms, default=0):.0f} ms"
        text = f"{answered}, longest pause {waited['gap']:.0f} ms"
        slowest = max([*zooms, waited["gap"]])
        row("  the picture meanwhile", text, "≤ 500 ms", slowest <= 500)
        text = "none" if told is None else f"told after {told:.2f} s"
        row("  progress of what takes over 2 s", text, "told", told is not None or took <= 2)
        page.close()


def use_meanwhile(page, start):
    """Zoom in and out until labels are there; seconds to the first progress, ms of each zoom."""
    told, zooms = None, []
    progress = page.locator(".line", has_text="labelling the")
    while page.evaluate("() => window.waited.labelled") is None:
        if told is None and progress.count():
            told = time.time() - start
        zoom, begun = data(page, "zoom"), time.monotonic()
        page.keyboard.press("-" if len(zooms) % 2 else "+")
        wait_data(page, "zoom", "v !== arg", zoom)
        zooms.append(1000 * (time.monotonic() - begun))
        page.wait_for_timeout(200)
    return told, zooms


def measure_latency(browser, run, camera, rate, count=75):
    page = new_page(browser, run)
    wait_shown(page, 1)
    page.evaluate(WATCH)
    first = camera.sent + 10  # the page has settled by then
    with Publisher(camera, rate):
        while camera.sent < first + count:
            page.wait_for_timeout(100)
    page.wait_for_function("n => window.painted.some(([m]) => m >= n)", arg=first + count - 1)
    painted = page.evaluate("() => window.painted")
    # A frame that was skipped because a newer one had come counts until that one stood there.
    times = [
        min(moment for number, moment in painted if number >= n) / 1000 - camera.moments[n]
        for n in range(first, first + count)
    ]
    own = len({number for number, _ in painted if first <= number < first + count})
    p50, p95 = quantile(times, 0.5), quantile(times, 0.95)
    text = f"p50 {p50:.2f} s, p95 {p95:.2f} s; {own} of {count} painted"
    row(f"file to painted, {FED}² at {rate:g}/s", text, "p95 ≤ 1 s", p95 <= 1)
    print(f"  what the page says of it: {page.locator('.steps').get_attribute('aria-label')}")
    page.close()


STEPS = """() => {
  const [page] = performance.getEntriesByType("navigation");
  return [page.responseEnd, page.domContentLoadedEventEnd, performance.now()].map((t) => t / 1000);
}"""


def measure_opening(browser, run, camera, rate, count=10):
    """With nothing in the browser's cache, while frames arrive."""
    times, steps = [], []
    with Publisher(camera, rate):
        for _ in range(count):
            start = time.monotonic()
            page = new_page(browser, run)
            wait_shown(page, 1)
            times.append(time.monotonic() - start)
            steps.append(page.evaluate(STEPS))
            page.close()
    p50, most = quantile(times, 0.5), max(times)
    text = f"first {times[0]:.2f} s, p50 {p50:.2f} s, longest {most:.2f} s"
    row(f"page to first frame, at {rate:g}/s, {count} times", text, "≤ 2 s", most <= 2)
    received, loaded, shown = np.median(steps, axis=0)
    print(f"  p50 of: received {received:.2f} s, scripts {loaded:.2f} s, frame {shown:.2f} s")


SAID = f"() => ({FIND})('.badge').dataset.light"


def measure_badge(browser, run, camera, rate, count=200):
    """Compare what the badge says with how many of the files have not been classified."""
    page = new_page(browser, run)
    wait_shown(page, 1)
    said, false, kept, most = Counter(), 0, 0, 0
    # A frame may be on its way for a second, what the services say of themselves is as old, and
    # one is being written, one being read.
    late = 2 * rate + 2
    with Publisher(camera, rate):
        page.wait_for_timeout(5000)
        for _ in range(count):
            run.monitor.listen(0.05)
            light = page.evaluate(SAID)
            done = run.monitor.counter("archived") + run.monitor.counter("pending", "archiver")
            waiting = camera.sent - done
            said[light] += 1
            kept += waiting <= late
            false += light in ("behind", "stalled") and waiting <= late
            most = max(most, waiting)
            page.wait_for_timeout(200)
    lights = ", ".join(f"{light} {n}" for light, n in said.most_common())
    text = f"{false} of {kept} ({lights}; most waiting: {most:.0f})"
    holds = false == 0 if kept == count or false else None  # where the worker did not keep up
    row(f'false "behind" or "stalled" at {rate:g}/s', text, f"0 of {count}", holds)
    page.close()


FED_FIGURES = {"latency": measure_latency, "opening": measure_opening, "badge": measure_badge}
