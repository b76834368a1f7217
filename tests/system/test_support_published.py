"""The support set over ZeroMQ: a running worker switches, a late one gets it at once."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from pychip_stream.archive.support_sets import load_support, save_support
from pychip_stream.errors import PychipError
from pychip_stream.wire.codec import bytes_array
from pychip_stream.wire.endpoints import request
from pychip_stream.wire.messages import PublishSupport
from tests.support.stack import call, call_json

pytestmark = [pytest.mark.system, pytest.mark.slow]


@pytest.fixture
def image(tmp_path):
    """Left half stripes, right half speckle, in 32-pixel chips."""
    rng = np.random.default_rng(0)
    x = np.arange(128)
    stripes = np.tile(2000 + 800 * np.sin(x * 2 * np.pi / 8), (128, 1))
    speckle = 2000 + 800 * rng.standard_normal((128, 128))
    pixels = np.where(x < 64, stripes, speckle).clip(0, 65535).astype(np.uint16)
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, pixels)
    return path


def make(image, out, left, right):
    words = ("--pick", f"{left}=0,0;1,1;3,0", "--pick", f"{right}=0,3;2,2;3,3")
    return call_json("support", "make", image, "--chip-size", 32, *words, "-o", out)["version"]


def test_refuse_publish_switch_and_late_join(image, tmp_path, stack):
    first, second = tmp_path / "first.h5", tmp_path / "second.h5"
    one, two = make(image, first, "stripes", "speckle"), make(image, second, "lines", "noise")
    run = stack().start()  # no support set: the worker waits, and says for what
    run.listen_for(lambda: run.monitor.state("worker-1") == "waiting", "the worker waits")
    what_is_no_support_set_is_refused(run, first, tmp_path)
    shutil.copy(image, run.root / "a.tif")
    run.listen_for(lambda: run.monitor.counter("behind") == 1, "the frame waits")

    assert call_json("support", "publish", first, "--config", run.config_path)["version"] == one
    run.wait_archived(1)
    assert call_json("support", "publish", second, "--config", run.config_path)["version"] == two
    run.listen_for(
        lambda: any(two[:8] in line and "inference" in line for line in run.log), "switch"
    )
    shutil.copy(image, run.root / "b.tif")
    run.wait_archived(2)

    late = run.service("services.inference")
    late.kill()
    shutil.copy(image, run.root / "c.tif")  # the new worker gets the set without anybody's doing
    run.wait_archived(3)
    code, document = run.stop()
    assert code == 0
    assert document["frames"] == 3
    with run.run() as archive:
        table = archive.frames
        versions = dict(zip(table["path"], table["support_version"], strict=True))
    assert versions == {"a.tif": one, "b.tif": two, "c.tif": two}
    assert len(list((run.folder / "support").glob("*.h5"))) == 2


def test_a_restarted_run_keeps_its_support_set(image, tmp_path, stack):
    made = make(image, tmp_path / "set.h5", "stripes", "speckle")
    run = stack(tmp_path / "set.h5").start()
    shutil.copy(image, run.root / "a.tif")
    run.wait_archived(1)
    assert run.stop()[0] == 0
    (tmp_path / "set.h5").unlink()
    text = run.config_path.read_text().replace(str(tmp_path / "set.h5"), "null")
    run.config_path.write_text(text)
    run.start()
    shutil.copy(image, run.root / "b.tif")
    run.wait_archived(2)
    code, document = run.stop()
    assert (code, document["frames"]) == (0, 2)  # and the first was not done twice
    with run.run() as archive:
        assert set(archive.frames["support_version"]) == {made}


def what_is_no_support_set_is_refused(run, good, tmp_path):
    bad = tmp_path / "bad.h5"
    bad.write_bytes(b"no support set")
    code, out, err = call("support", "publish", bad, "--config", run.config_path)
    assert (code, out) == (2, "")
    assert "bad.h5" in err
    assert len(err.strip().splitlines()) == 1

    support = load_support(good)
    chips = (*support.chips, replace(support.chips[0], label="speckle"))
    save_support(replace(support, chips=chips, embedding=None), tmp_path / "old.h5")
    code, _, err = call("support", "publish", tmp_path / "old.h5", "--config", run.config_path)
    assert code == 2
    assert "chip 0,0 is an example of 'stripes' and of 'speckle'" in err
    data = bytes_array((tmp_path / "old.h5").read_bytes())  # nor does the hub take it from others
    with pytest.raises(PychipError, match="example of 'stripes' and of"):
        request(run.resolved.wire, PublishSupport(author="x"), data)
