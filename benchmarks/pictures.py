"""Pictures of the pages, each after a step of the demo, to be looked at and for the documentation.

    python -m benchmarks.pictures OUT         the pages step by step, in two themes and three sizes
    python -m benchmarks.pictures OUT --docs     and those of docs/images anew

Needs Chromium. It starts `pychip-stream demo`, does what a newcomer does, and ends it.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import ViewportSize, expect, sync_playwright

from tests.support.chromium import CHROMIUM, FLAGS
from tests.support.looks import Chips, wait_data, wait_shown
from tests.support.session import demo_at

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
DOCS = {
    "live": ("live.png", "live-dark.png"),
    "examples": ("examples.png", "examples-dark.png"),
    "review": ("review-light.png", "review-dark.png"),
    "health": ("health-light.png", "health-dark.png"),
    "upload": ("upload-light.png", "upload-dark.png"),
}
PLAIN: ViewportSize = {"width": 1280, "height": 800}
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
SIZES = ((1280, 800), (1920, 1080), (3840, 2160))
_SECONDS = 25
"""How long the run goes on before the first picture."""


def live(page: Any, _folder: Path) -> None:
    """Watch the curves grow."""
    wait_shown(page, 3)
    page.wait_for_timeout(1000 * _SECONDS)


def examples(page: Any, _folder: Path) -> None:
    """Open the examples of the run."""
    page.get_by_role("tab", name="Examples").click()
    wait_data(page, "labels", "Number(v || 0) > 0", timeout=120_000)
    page.wait_for_timeout(4000)


def review(page: Any, _folder: Path) -> None:
    """Open the run that goes on."""
    page.get_by_role("tab", name="Review").click()
    page.locator(".card").first.click()
    page.locator(".scrubber[data-count]").wait_for()
    page.wait_for_timeout(3000)


def health(page: Any, _folder: Path) -> None:
    """Look after the services."""
    page.get_by_role("tab", name="Health").click()
    page.wait_for_timeout(4000)


def upload(page: Any, folder: Path) -> None:
    """Classify one frame alone, up to its result."""
    page.get_by_role("tab", name="Upload").click()
    frame = sorted((folder / "acquisition").rglob("*.dm4"))[0]
    page.locator('input[type="file"]').set_input_files(frame)
    page.get_by_role("button", name="Use this grid size").click(timeout=60_000)
    wait_data(page, "picked", "v !== undefined")
    page.wait_for_timeout(3000)
    chips = Chips(page, (512, 512), (32, 32))
    chips.click((1, 1), (2, 3))
    page.keyboard.press("2")
    chips.click((12, 12), (13, 10))
    page.wait_for_timeout(5000)


STEPS: tuple[Callable[[Any, Path], None], ...] = (live, examples, review, health, upload)


def walk(out: Path, *, docs: bool) -> None:
    """Do every step in both themes, with a picture after each."""
    out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="pychip-pictures-")) / "demo"
    with demo_at(folder) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for number, theme in enumerate(THEMES):
            page = browser.new_page(viewport=PLAIN, color_scheme=theme)
            page.set_default_timeout(60_000)
            page.goto(address)
            expect(page.locator(".badge")).to_be_visible(timeout=60_000)
            for step in STEPS:
                step(page, folder)
                if docs:
                    page.screenshot(path=IMAGES / DOCS[step.__name__][number])
                for width, height in SIZES:
                    page.set_viewport_size({"width": width, "height": height})
                    page.wait_for_timeout(1000)  # plots follow their room a moment later
                    path = out / f"{step.__name__}-{theme}-{width}.png"
                    page.screenshot(path=path)
                    print(path, flush=True)
                page.set_viewport_size(PLAIN)
            page.close()
        browser.close()


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--docs", action="store_true", help="renew docs/images")
    chosen = parser.parse_args()
    walk(chosen.out, docs=chosen.docs)


if __name__ == "__main__":
    main()
