"""Ctrl-C in the middle of `classify`, and going on in the same way or in another."""

import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import tifffile

from pychip_stream.archive.run import open_run
from tests.support.stack import COMMAND, call, call_json
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT"),
]

SMALL, LARGE = 64, 24  # a segment of small frames, then those that give the time to interrupt
COUNT = SMALL + LARGE


@pytest.fixture
def lab(tmp_path):
    """Frames, and two support sets with the same class names."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 4000, (256, 256)).astype(np.uint16)
    pixels[:, :128] //= 8
    (tmp_path / "frames").mkdir()
    tifffile.imwrite(tmp_path / "frames" / "000.tif", pixels)
    tifffile.imwrite(tmp_path / "large.tif", np.tile(pixels, (4, 4)))
    for n in range(1, COUNT):
        source = tmp_path / "frames" / "000.tif" if n < SMALL else tmp_path / "large.tif"
        shutil.copy(source, tmp_path / "frames" / f"{n:03}.tif")
    for name, row in (("old", 0), ("new", 3)):
        call_json(
            "support", "make", tmp_path / "frames" / "000.tif", "--chip-size", 32,
            "--pick", f"dark={row},0;{row},1", "--pick", f"bright={row},6;{row},7",
            "-o", tmp_path / f"{name}.h5",
        )  # fmt: skip
    return tmp_path


def test_classify_goes_on_after_ctrl_c_but_never_mixes_two_sets(lab):
    words = ("classify", "frames", "--out", "run.h5", "--support")
    process = subprocess.Popen([COMMAND, *words, "old.h5"], cwd=lab, stderr=subprocess.PIPE)
    segments = lab / "run.segments"
    wait_for(lambda: list(segments.glob("seg-*.h5")), "the first frames are archived")
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    kept = len(open_run(lab / "run.h5"))
    assert 0 < kept < COUNT
    assert told.decode().splitlines()[-1:] == [  # after where it ran, and what it said of frames
        f"interrupted: run.h5: {kept} frames are kept; the same command goes on with the rest"
    ]

    for other in (["new.h5"], ["old.h5", "--sensitivity", "2"]):
        code, out, err = call(*words, *other, cwd=lab)
        assert (code, out) == (2, "")
        assert "`rescore`" in err
        assert "another --out" in err
    code, out, err = call(*words, "old.h5", cwd=lab)
    assert code == 0, err
    assert f"run.h5: resuming, {kept} of {COUNT} done" in err
    with open_run(lab / "run.h5") as run:
        assert (len(run), run.live) == (COUNT, False)
        assert len(set(run.frames["path"])) == COUNT
        assert run.frames["support_version"].nunique() == 1
