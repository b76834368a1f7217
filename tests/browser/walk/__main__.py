"""Take the walk."""

import argparse
import sys
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

from tests.browser import walk as about
from tests.browser.walk import archives, demo, doors, made_up, own_run
from tests.browser.walk.walker import Walk
from tests.support.chromium import CHROMIUM, FLAGS
from tests.support.visits import Visits

SCENES = {
    scene.name: scene
    for scene in (own_run.SCENE, demo.SCENE, made_up.SCENE, archives.SCENE, doors.SCENE)
}


def main() -> int:
    """Walk through the scenes; 1 where something was not as expected."""
    parser = argparse.ArgumentParser("python -m tests.browser.walk", description=about.__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("scene", nargs="*", choices=[[], *SCENES], default=[])
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=30_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        visits = Visits(browser)
        walk = Walk(chosen.out, visits)
        for name in chosen.scene or SCENES:
            SCENES[name].play(walk)
            visits.close()
        browser.close()
    (chosen.out / "walk.md").write_text(walk.table(), encoding="utf-8")
    heard = sorted({*visits.foreign, *visits.complaints})
    for said in heard:
        sys.stderr.write(f"a page said or asked for: {said}\n")
    return 1 if walk.failed or heard else 0


if __name__ == "__main__":
    sys.exit(main())
