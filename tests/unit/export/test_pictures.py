"""Pictures for the screen, and the pixels behind them."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from pychip_stream.archive.run import open_run
from pychip_stream.archive.support_sets import support_to_bytes
from pychip_stream.archive.writer import RunWriter
from pychip_stream.domain.normalization import Normalization
from pychip_stream.export.kinds import pixel_reader
from pychip_stream.export.pictures import to_jpeg
from tests.support.archive_samples import fill, record, support


def test_pictures_keep_the_range_of_the_run_and_fit_the_view():
    pixels = np.full((2048, 1024), 500, np.uint16)
    jpeg = to_jpeg(pixels, Normalization("range", 0, 1000))
    picture = np.asarray(Image.open(io.BytesIO(jpeg)))
    assert picture.shape == (1024, 512)
    assert abs(int(picture.mean()) - 128) <= 2


@pytest.mark.parametrize("edge", [16, 48, 400])
@pytest.mark.parametrize("shape", [(1, 3000), (3000, 1), (5, 2000), (64, 64), (35, 34)])
def test_pictures_of_any_shape_fit_an_edge(shape, edge):
    picture = Image.open(io.BytesIO(to_jpeg(np.zeros(shape, np.uint16), None, edge)))
    assert max(picture.size) <= edge
    assert min(picture.size) >= 1


def run_of(folder, config, root):
    """A run of one frame that lies in `root`."""
    made = support()
    writer = RunWriter(folder, "run", segment_frames=4, metadata={"config": config, **root})
    writer.add_support(support_to_bytes(made), made.version)
    fill(writer, [record(0, path="a.tif")])
    return open_run(writer.close())


@pytest.mark.parametrize(
    ("config", "there"),
    [
        ("watch: {}", True),
        ("watch: {max_frame_mb: 1}", True),
        ("watch: {max_frame_mb: 0.001}", False),
        ("watch: {max_frame_mb: .nan}", True),
        ("watch: {max_frame_mb: [1]}", True),
        ("watch: 7", True),
        ("{", True),
    ],
)
def test_frames_that_the_run_would_refuse_are_not_read(tmp_path, config, there):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((50, 70), np.uint16))
    read = pixel_reader(run_of(tmp_path / "runs", config, {"root": str(tmp_path)}))
    assert (read("a.tif", 0) is not None) == there
    assert read("b.tif", 0) is None
    assert read("../a.tif", 0) is None


def test_frames_are_read_where_they_are_now(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    for number, folder in enumerate((old, new)):
        folder.mkdir()
        tifffile.imwrite(folder / "a.tif", np.full((50, 70), number, np.uint16))
    run = run_of(tmp_path / "runs", "watch: {}", {"root": str(old)})
    assert pixel_reader(run, new)("a.tif", 0).max() == 0
    assert pixel_reader(run, new, moved=True)("a.tif", 0).max() == 1
    unknown = run_of(tmp_path / "more", "watch: {}", {})
    assert pixel_reader(unknown)("a.tif", 0) is None
    assert pixel_reader(unknown, new)("a.tif", 0).max() == 1
