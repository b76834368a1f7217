"""An archiver under load that is there to be killed; run in a process of its own."""

import random
import time

from pychip_stream.archive.writer import RunWriter
from tests.support.archive_samples import fill, record


def archive(folder, seed, started):
    """Archive frames without end; now and then close the run and go on with it."""
    rng = random.Random(seed)
    with (folder / "acknowledged").open("a") as acknowledged:
        started.set()
        while True:
            writer = RunWriter(folder, "run", segment_frames=4)
            for _ in range(rng.randint(2, 40)):
                first = len(writer.keys)
                for key in fill(writer, [record(n) for n in range(first, first + 4)]):
                    acknowledged.write(f"{key.path}\n")
                acknowledged.flush()
            if rng.random() < 0.5:
                writer.close()
            else:
                writer.release()
            time.sleep(0)
