"""Kill the services of a run at random moments while frames arrive, and count what is lost.

`python -m benchmarks.faults --kills 2000` takes about two hours on two cores. Every service is
killed about as often; the supervisor, with everything under it, once in a hundred kills.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.support import chaos
from tests.support.stack import Stack

WEIGHTS = {
    "services.hub": 1.0,
    "services.archiver": 1.0,
    "services.watcher": 1.0,
    "services.inference": 0.5,  # there are two
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--rate", type=float, default=1.5, help="frames per second")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pychip-faults-"))
    run = Stack(folder / "run", chaos.make_support(folder), **chaos.SECTIONS)
    try:
        outcome = chaos.rage(
            run, options.kills, WEIGHTS, options.rate, options.seed,
            supervisors=options.kills // 100, say=lambda text: print(text, flush=True),
        )  # fmt: skip
    except BaseException:
        (folder / "log.txt").write_text("\n".join(run.log))
        print(f"failed; everything is left in {folder}", file=sys.stderr)
        raise
    finally:
        run.kill_all()
    shutil.rmtree(folder)
    print(f"seed {options.seed}, {time.strftime('%Y-%m-%d')}\n{outcome.table()}")
    return 0 if outcome.clean else 1


if __name__ == "__main__":
    sys.exit(main())
