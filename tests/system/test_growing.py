"""Stacks that grow, files and folders that are renamed, stacks that are cut: each frame once."""

import time

import mrcfile
import numpy as np
import pytest
import tifffile

from pychip_stream.archive.run import open_run
from pychip_stream.formats.reading import read_frame
from tests.support.stack import call_json

pytestmark = [pytest.mark.system, pytest.mark.slow]


KILLED = {1: "services.archiver", 2: "services.watcher", 5: "services.inference"}
"""Who ends with which section."""


@pytest.fixture
def material(tmp_path):
    """Frames of a simulated series, as pixels, and a support set of one."""
    call_json("simulate", tmp_path / "some", "--frames", 6, "--size", "128", "--format", "tiff")
    paths = sorted((tmp_path / "some").rglob("*.tif*"))
    picks = ("--pick", "a=0,0;1,1;2,0", "--pick", "b=3,3;2,2;0,3")
    support = tmp_path / "s.h5"
    call_json("support", "make", paths[0], "--chip-size", 32, *picks, "-o", support)
    return [read_frame(path).pixels for path in paths], support


def rows(run):
    with open_run(run.config.run_path) as archive:
        table = archive.frames.sort_values(["path", "index"])
        found = [tuple(row) for row in table[["path", "index", "status"]].itertuples(index=False)]
        return found, archive.archived, table["time"].tolist()


def test_each_section_of_a_stack_that_grows_is_analysed_once_whoever_is_killed(stack, material):
    pixels, support = material
    run = stack(support).start()
    seen = []
    for number, page in enumerate(pixels):
        if number == 3:  # it grows while nothing runs
            run.stop()
        tifffile.imwrite(run.root / "a.tif", page, append=number > 0)
        seen.append((run.root / "a.tif").stat().st_mtime)
        if number in KILLED:
            run.service(KILLED[number]).kill()
        if number == 4:
            run.start()
        if number != 3:
            run.wait_archived(number + 1)
    run.stop()
    found, archived, times = rows(run)
    assert found == [("a.tif", index, "ok") for index in range(6)]
    assert archived == 6  # and no revision beside them
    seen[3] = seen[4]  # came with the one after it
    assert times == pytest.approx(seen, abs=1e-3)


def test_a_renamed_folder_and_file_count_once(stack, material):
    pixels, support = material
    run = stack(support).start()
    (run.root / "day").mkdir()
    for number, page in enumerate(pixels[:4]):
        tifffile.imwrite(run.root / "day" / f"{number}.tif", page)
    tifffile.imwrite(run.root / "damaged.tif", pixels[0])
    data = (run.root / "damaged.tif").read_bytes()
    (run.root / "damaged.tif").write_bytes(b"nothing" + data)
    run.wait_archived(5)
    (run.root / "day").rename(run.root / "night")
    (run.root / "night" / "3.tif").rename(run.root / "night" / "three.tif")
    (run.root / "damaged.tif").rename(run.root / "bad.tif")
    wanted = [
        ("bad.tif", 0, "failed"),
        *((f"night/{name}.tif", 0, "ok") for name in (0, 1, 2, "three")),
    ]
    run.listen_for(lambda: rows(run)[0] == wanted, "they have their new names")
    run.stop()
    assert rows(run)[0] == wanted
    (run.root / "night").rename(run.root / "day")  # while nothing runs
    tifffile.imwrite(run.root / "copy.tif", pixels[0])
    wanted = [(path.replace("night", "day"), *rest) for path, *rest in wanted]
    wanted.insert(1, ("copy.tif", 0, "ok"))
    run.start()
    run.listen_for(lambda: rows(run)[0] == wanted, "and their old ones again")
    run.stop()
    assert rows(run)[0] == wanted


def test_of_a_stack_that_was_cut_the_missing_are_failed_rows(stack, material):
    pixels, support = material
    run = stack(support, watch={"incomplete_s": 3.0}).start()
    with mrcfile.new(run.root / "part.mrc") as file:
        file.set_data(np.stack(pixels))
    whole = (run.root / "part.mrc").read_bytes()
    (run.root / "part.mrc").unlink()
    (run.root / "a.mrc").write_bytes(whole[: -pixels[0].nbytes - 1])
    begun = time.monotonic()
    run.wait_archived(6)
    assert time.monotonic() - begun > 2.0  # it might have grown
    found, _, _ = rows(run)
    assert [row[:2] for row in found if row[0] == "a.mrc"] == [("a.mrc", n) for n in range(6)]
    assert [row[1] for row in found if row[2] == "failed"] == [4, 5]
    (run.root / "a.mrc").write_bytes(whole)
    run.listen_for(lambda: all(row[2] == "ok" for row in rows(run)[0]), "they have come")
    run.stop()
    _, archived, _ = rows(run)
    assert archived == 8  # what was whole is not done again
