"""How the archive and the support set of tests/data were made; they are never made again.

`python -m tests.support.stored FOLDER` shows what this version would write.
"""

import sys
from pathlib import Path

from pychip_stream import Frame, SupportSet, save_support
from pychip_stream.archive.alert_journal import AlertRow
from pychip_stream.archive.joining import merge_scorings
from pychip_stream.archive.support_sets import support_to_bytes
from pychip_stream.archive.writer import RunWriter
from pychip_stream.model.classifier import Classifier
from pychip_stream.model.encoders import load_encoder
from tests.support import simple_runs
from tests.support.archive_samples import failed, fill, record, result, support
from tests.support.run_samples import add_second_scoring

COUNT = 5
ALERTS = tuple(
    AlertRow(
        id=f"a-{n}", rule="beta appears", level="warning", state=state, quantity="fraction of beta",
        value=0.06, limit=0.05, reason=f"fraction of beta 6.0% is {word} 5.0%", time=1.7e9 + n,
        path=record(n).frame.path, dry_run=False,
    )
    for n, (state, word) in enumerate([("on", "above"), ("off", "below")])
)  # fmt: skip
PICKS = {"stripes": [(0, 0), (1, 0), (2, 0)], "speckle": [(0, 4), (1, 4), (2, 4)]}
CHIP = 32


def store_run(folder, name="run", *, close=True):
    """A run of COUNT frames and one that failed, with alerts and two scorings if closed."""
    made = support()
    metadata = {"config": "watch: {root: frames}", "root": "frames"}
    writer = RunWriter(folder, name, segment_frames=64, metadata=metadata)
    writer.add_support(support_to_bytes(made), made.version)
    for one in ALERTS:
        writer.add_alert(one)
    frames = [record(n, result=result(n, version=made.version)) for n in range(COUNT)]
    fill(writer, [*frames, failed(COUNT)])
    path = folder / f"{name}.h5"
    if close:
        path = writer.close()
    else:
        writer.release()
    add_second_scoring(path, COUNT)
    return merge_scorings(path) if close else path


def store_support(path):
    """A support set as `support make` writes it; returns it."""
    frame = Frame(simple_runs.pixels(0), pixel_size=0.1, unit="nm", source="0.tif")
    picked = SupportSet.from_picks(frame, CHIP, PICKS, author="somebody", note="stored")
    # In one precision: else the machine's choice, by timing, decides over the last digits.
    classifier = Classifier.fit(picked, load_encoder("bundled", device="cpu/bfloat16"))
    save_support(classifier.support, path, classifier.derived())
    return classifier.support


def main():
    folder = Path(sys.argv[1])
    store_run(folder, "archive-two-scorings")
    store_support(folder / "support-set.h5")


if __name__ == "__main__":
    main()
