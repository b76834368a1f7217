"""`rescore`, `verify` and `export` as people call them, on closed and on live runs."""

import json
import shutil

import numpy as np
import pytest
import tifffile

from tests.support.stack import call, call_json

pytestmark = [pytest.mark.system, pytest.mark.slow]

COUNT = 4


def pixels(number):
    """Left part stripes, right part speckle; the border wanders."""
    rng = np.random.default_rng(number)
    x = np.arange(128)
    stripes = np.tile(2000 + 800 * np.sin(x * 2 * np.pi / 8), (128, 1))
    speckle = 2000 + 800 * rng.standard_normal((128, 128))
    image = np.where(x < 32 * (1 + number % 3), stripes, speckle)
    return (image + rng.normal(0, 50, image.shape)).clip(0, 65535).astype(np.uint16)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Frames, two support sets with other names, and a closed run under the first."""
    folder = tmp_path_factory.mktemp("lab")
    frames = folder / "frames"
    frames.mkdir()
    for n in range(COUNT):
        tifffile.imwrite(frames / f"{n}.tif", pixels(n))
    for name, left, right in (("one", "stripes", "speckle"), ("two", "lines", "noise")):
        call_json(
            "support", "make", frames / "0.tif", "--chip-size", 32,
            "--pick", f"{left}=0,0;1,0;3,0", "--pick", f"{right}=0,3;2,2;3,3",
            "-o", folder / f"{name}.h5",
        )  # fmt: skip
    call_json("classify", frames, "--support", folder / "one.h5", "--out", folder / "run.h5")
    return folder


def test_rescore_export_and_verify(lab, tmp_path):
    run = shutil.copy(lab / "run.h5", tmp_path)
    document = call_json("rescore", run, "--support", lab / "two.h5")
    assert (document["frames"], document["left_out"], document["notes"]) == (COUNT, {}, [])
    name = document["scoring"]

    shown = call_json("export", run)
    assert (shown["scoring"], shown["scorings"]) == (name, ["acquired", name])
    assert [c["name"] for c in shown["classes"]] == ["lines", "noise", "unknown"]
    before = call_json("export", run, "--scoring", "acquired")
    assert len(before["fractions"]) == COUNT
    for new, old in zip(shown["fractions"], before["fractions"], strict=True):
        # The same examples under other names.
        assert new["lines"] == pytest.approx(old["stripes"], abs=1e-6)
        assert new["path"] == old["path"]
        assert new["lines_low"] <= new["lines"] <= new["lines_high"]

    for scoring in (name[:8], "acquired"):
        verified = call_json("verify", run, "--frames", lab / "frames", "--scoring", scoring)
        assert (verified["compared"], verified["changed"]) == (COUNT, [])
        assert verified["agreement"] >= 0.999

    call_json("rescore", run, "--support", lab / "two.h5", "--merge")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.h5"]
    assert call_json("export", run)["scoring"] == name


def test_every_file_that_can_be_exported(lab, tmp_path):
    files = {
        "csv": "f.csv", "chips-csv": "c.csv", "pychip-csv": "p.csv", "png": "maps", "svg": "f.svg",
        "mp4": "f.mp4", "gif": "f.gif",
    }  # fmt: skip
    words = [w for kind, name in files.items() for w in (f"--{kind}", tmp_path / name)]
    document = call_json("export", lab / "run.h5", *words)
    assert "fractions" not in document
    for kind, name in files.items():
        assert document[kind.replace("-", "_")] == str(tmp_path / name)
        assert (tmp_path / name).exists()
    assert len(list((tmp_path / "maps").glob("*_overlay.png"))) == COUNT


def test_verify_fails_where_frames_are_others(lab, tmp_path):
    frames = tmp_path / "frames"
    shutil.copytree(lab / "frames", frames)
    tifffile.imwrite(frames / "1.tif", pixels(7))
    code, out, err = call("verify", lab / "run.h5", "--frames", frames, "--json")
    assert code == 1
    assert json.loads(out)["changed"] == ["1.tif"]
    assert "1 of the frames are not the files that were analysed" in err
    code, _, err = call("verify", lab / "run.h5", "--frames", tmp_path / "nowhere")
    assert code == 2
    assert "--frames ROOT" in err


def test_a_support_set_of_another_chip_size_is_refused(lab, tmp_path):
    call_json(
        "support", "make", lab / "frames" / "0.tif", "--chip-size", 16,
        "--pick", "a=0,0", "--pick", "b=7,7", "-o", tmp_path / "small.h5",
    )  # fmt: skip
    code, out, err = call("rescore", lab / "run.h5", "--support", tmp_path / "small.h5")
    assert (code, out) == (2, "")
    assert "chips of 32x32 pixels, the support set of 16x16" in err


def test_a_live_run_is_labelled_again_and_the_future_follows(lab, stack):
    run = stack(lab / "one.h5").start()
    run.listen_for(lambda: run.monitor.state("worker-1") == "running", "the worker is ready")
    for n in range(2):
        shutil.copy(lab / "frames" / f"{n}.tif", run.root)
    run.wait_archived(2)
    document = call_json("rescore", run.config.run_path, "--support", lab / "two.h5")
    assert document["published"]
    assert document["frames"] == 2
    name = document["scoring"]
    for n in range(2, COUNT):
        shutil.copy(lab / "frames" / f"{n}.tif", run.root)
    run.wait_archived(COUNT)
    assert run.stop()[0] == 0
    with run.run() as archive:
        assert (archive.scoring, archive.names) == (name, ("lines", "noise"))
        assert archive.covered.tolist() == list(range(COUNT))
        versions = archive.frames["support_version"].tolist()
        assert sorted(v == name for v in versions) == [False, False, True, True]
        assert set(archive.columns("device")["device"]) != {b""}
