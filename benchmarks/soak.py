"""Run many small frames through all services; memory, handles and cost per frame must stay flat.

`python -m benchmarks.soak --frames 20000` takes about half an hour on two cores.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.support import chaos
from tests.support.soak import SECTIONS, soak
from tests.support.stack import Stack

STEP = 1000
LIMIT = 1.1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=20000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Stack(Path(folder) / "run", chaos.make_support(Path(folder)), **SECTIONS)
        try:
            run.start()
            report = soak(run, options.frames, lambda text: print(text, flush=True))
            code, document = run.stop(timeout_s=600)
        finally:
            run.kill_all()
    print(f"{time.strftime('%Y-%m-%d')}\n{report.table(STEP)}")
    ratio = report.cost_ms(options.frames - STEP, options.frames) / report.cost_ms(STEP, 2 * STEP)
    return 0 if code == 0 and document["frames"] == options.frames and ratio <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
