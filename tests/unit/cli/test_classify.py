"""`classify`: where the encoder runs, and in which precision, is chosen and told."""

import shutil

import mrcfile
import numpy as np
import pytest
import torch
from PIL import Image

from pychip_stream.analysis import classification
from pychip_stream.archive.known_frames import KnownFrames
from pychip_stream.archive.marks import events_of
from pychip_stream.archive.run import open_run
from pychip_stream.cli import classify
from pychip_stream.model.encoders import device as placing
from pychip_stream.model.encoders import int8
from tests.support.command import call_here

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a frame and a support set."""
    folder = tmp_path_factory.mktemp("made")
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    pixels[:32] //= 8
    Image.fromarray(pixels).save(folder / "frame.png")
    called = call_here(
        "support", "make", folder / "frame.png", "--chip-size", "16",
        "--pick", "dark=0,0;0,1;1,2",
        "--pick", "bright=2,0;3,1;3,3", "-o", folder / "set.h5",
    )  # fmt: skip
    assert called.code == 0, called.err
    return folder


@pytest.fixture
def batch(made, tmp_path):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return "classify", tmp_path / "frame.png", "--support", tmp_path / "set.h5", "--out"


DEVICES = ["cpu/float32", "cpu/bfloat16", *(["cpu/int8"] if int8.available() else [])]


@pytest.mark.parametrize("device", DEVICES)
def test_device_and_precision_can_be_chosen(batch, tmp_path, device):
    called = call_here(*batch, tmp_path / "run.h5", "--device", device, "--json")
    assert called.document["device"] == device
    with open_run(tmp_path / "run.h5") as run:
        assert run.columns("device")["device"].tolist() == [device.encode()]
        assert run.config["encoder"]["device"] == device
    assert f"classifying on {device}\n" in called.err


def test_what_was_measured_is_told_with_what_it_means(batch, tmp_path):
    called = call_here(*batch, tmp_path / "run.h5", "--json")
    said = " ".join(called.err.split())
    assert f"classifying on {called.document['device']}, the fastest now" in said
    assert "--device" in said


def test_what_goes_on_keeps_the_precision_that_it_began_with(batch, tmp_path, monkeypatch):
    frames = tmp_path / "frames"
    frames.mkdir()
    for n in range(3):
        shutil.copy(tmp_path / "frame.png", frames / f"{n}.png")
    words = ("classify", frames, "--support", tmp_path / "set.h5", "--out", tmp_path / "run.h5")
    real, fastest = classification.analysed, torch.bfloat16
    monkeypatch.setattr(placing, "_measure", lambda _net, where: placing.Placement(where, fastest))

    def interrupted(analyst, root, ref, read):
        if ref.path == "1.png":
            raise KeyboardInterrupt
        return real(analyst, root, ref, read)

    with monkeypatch.context() as patch:
        patch.setattr(classification, "analysed", interrupted)
        assert call_here(*words).code == 130
    fastest = torch.float32  # as on a machine that is busy with something else now
    called = call_here(*words, "--json")
    assert called.code == 0, called.err
    with open_run(tmp_path / "run.h5") as run:
        assert set(run.columns("device")["device"].tolist()) == {b"cpu/bfloat16"}
    assert "classifying on cpu/bfloat16, as the frames that are done" in called.err


def test_frames_that_are_on_disk_are_counted_wherever_ctrl_c_comes(batch, tmp_path, monkeypatch):
    def interrupt(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(KnownFrames, "archived", interrupt)  # a segment has just been written
    called = call_here(*batch, tmp_path / "run.h5")
    assert (called.code, called.out) == (130, "")
    assert ": 1 frames are kept" in called.err.splitlines()[-1]


def test_another_precision_than_it_began_with_is_said():
    said = classify._where("cpu/float32", "cuda/float16", "cpu/float32")
    assert said == (
        "; the frames that are done, on cuda/float16: labels of chips at borders may differ"
    )


def test_a_device_that_is_not_here_is_one_line(batch, tmp_path):
    called = call_here(*batch, tmp_path / "run.h5", "--device", "nonsense")
    assert called.code in (1, 2)
    assert "nonsense" in called.err.splitlines()[-1]
    assert not (tmp_path / "run.h5").exists()


def test_of_a_stack_that_was_cut_off_the_whole_frames_are_classified_and_verified(batch, tmp_path):
    (tmp_path / "stack").mkdir()
    stack = np.stack([np.asarray(Image.open(tmp_path / "frame.png"))] * 4)
    with mrcfile.new(tmp_path / "stack" / "a.mrc") as file:
        file.set_data(stack)
    data = (tmp_path / "stack" / "a.mrc").read_bytes()
    (tmp_path / "stack" / "a.mrc").write_bytes(data[:-1])
    command, _, *options = batch
    called = call_here(command, tmp_path / "stack", *options, tmp_path / "run.h5", "--json")
    assert called.code == 0, called.err
    assert [row["index"] for row in called.document["fractions"]] == [0, 1, 2]
    (failed,) = called.document["failed"]
    assert "3 of 4 frames" in failed["reason"]
    checked = call_here("verify", tmp_path / "run.h5", "--frames", tmp_path / "stack", "--json")
    assert (checked.code, checked.document["compared"]) == (0, 3)


def test_a_pixel_size_by_hand_is_taken_or_refused(batch, tmp_path):
    called = call_here(
        *batch, tmp_path / "run.h5", "--pixel-size", "0,5nm", "--device", "cpu/float32"
    )
    assert called.code == 0, called.err
    with open_run(tmp_path / "run.h5") as run:
        assert run.frames[["pixel_size", "unit", "pixel_size_from"]].iloc[0].tolist() == [
            0.5, "nm", "hand",
        ]  # fmt: skip
    refused = call_here(*batch, tmp_path / "other.h5", "--pixel-size", "5")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "--pixel-size: pixel size '5': write a number and a length" in refused.err


def test_a_log_gives_its_frames_values_and_one_of_another_day_is_told(batch, tmp_path):
    moment = (tmp_path / "frame.png").stat().st_mtime
    log = tmp_path / "oven.csv"
    log.write_text(f"time,T (K),note\n{moment - 1:.3f},300,hot\n{moment + 1:.3f},400,\n")
    document = call_here(*batch, tmp_path / "run.h5", "--stimulus", log, "--json").document
    assert document["stimulus"][0]["quantities"] == {"t_K": "K"}
    with open_run(tmp_path / "run.h5") as run:
        assert run.columns("t_K")["t_K"].tolist() == pytest.approx([350.0], abs=1.0)
        assert [(one.text, one.who) for one in events_of(run)] == [("hot", "oven")]
    log.write_text("time,T (K)\n2020-01-01T00:00:00Z,300\n")
    called = call_here(*batch, tmp_path / "other.h5", "--stimulus", log)
    assert "0 of 1 frames have values: its readings are of 2020-01-01" in called.out
    called = call_here(*batch, tmp_path / "third.h5", "--stimulus", tmp_path / "none.csv")
    assert (called.code, called.err.count("\n")) == (2, 1)
