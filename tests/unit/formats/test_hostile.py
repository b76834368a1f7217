"""Files that were made to do harm: each costs itself, a little time and a little memory."""

import io
import os
import struct
import sys
import tracemalloc

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image

from pychip_stream.errors import FrameError, FrameIncompleteError, FrameLostError
from pychip_stream.formats import raster, source, tiff_map
from pychip_stream.formats.guarded import GuardedReader
from pychip_stream.formats.reading import frame_count, read_checked, read_frame
from tests.support.material import hostile_file


def berkeley(path, frames=2, edge=8, **options):
    """An EMD file; `options` make its data set."""
    with h5py.File(path, "w") as file:
        group = file.create_group("data/img")
        group.attrs["emd_group_type"] = 1
        if not options:
            options = {"data": np.arange(frames * edge * edge, dtype="u1").reshape(-1, edge, edge)}
        group.create_dataset("data", **options)
        for number in range(1, 4):
            axis = group.create_dataset(f"dim{number}", data=np.arange(3.0))
            axis.attrs["units"] = "[n_m]"
    return path


@pytest.fixture(scope="module")
def reader():
    with GuardedReader(patience_s=5.0) as one:
        yield one


def test_a_file_that_hangs_its_reader_costs_itself(tmp_path, reader):
    with pytest.raises(FrameLostError, match="took more than 5 s while it was read"):
        reader.read_frame(hostile_file("hang.emd", tmp_path))
    assert reader.read_frame(berkeley(tmp_path / "good.emd"), 1).pixels[0, 0] == 64


@pytest.mark.skipif(sys.platform == "win32", reason="signals are named on POSIX")
def test_a_file_that_crashes_its_reader_costs_itself(tmp_path, reader):
    with pytest.raises(FrameLostError, match="crashed its reader"):
        reader.read_frame(hostile_file("crash.emd", tmp_path))
    good = reader.read_frame(berkeley(tmp_path / "good.emd"))
    assert (good.pixel_size, good.unit) == (1.0, "nm")


def test_more_frames_than_anybody_would_keep_in_a_file_are_refused(tmp_path):
    options = {"shape": (10**12, 8, 8), "dtype": "u1", "chunks": (1, 8, 8)}
    many = berkeley(tmp_path / "many.emd", **options)
    sparse = tmp_path / "sparse.mrc"
    header = np.zeros(256, "<i4")
    header[:4] = 8, 8, 10**7, 0
    sparse.write_bytes(header.tobytes())
    os.truncate(sparse, 1024 + 64 * 10**7)
    for path in (many, sparse):
        with pytest.raises(FrameError, match=r"announces 1[0,]* frames, the limit is 1,000,000"):
            frame_count(path)


def test_memory_for_the_notes_on_chunks_is_counted(tmp_path):
    options = {"shape": (1 << 21, 3), "dtype": "<i4", "chunks": (3, 3)}
    path = berkeley(tmp_path / "mem.emd", **options)
    with pytest.raises(FrameError, match="would need 2,755 MiB of memory"):
        read_frame(path, max_bytes=256 << 20)


def external(path, secret):
    berkeley(path, shape=(8, 8), dtype="u1", external=[(str(secret), 0, 64)])


def virtual(path, secret):
    with h5py.File(secret.with_suffix(".h5"), "w") as other:
        other["x"] = np.ones((8, 8), "u1")
    layout = h5py.VirtualLayout((8, 8), "u1")
    layout[:] = h5py.VirtualSource(secret.with_suffix(".h5"), "x", (8, 8))
    berkeley(path)
    with h5py.File(path, "a") as file:
        del file["data/img/data"]
        file["data/img"].create_virtual_dataset("data", layout)


def linked(link):
    def make(path, secret):
        berkeley(secret.with_suffix(".emd"))
        berkeley(path)
        with h5py.File(path, "a") as file:
            file["spare"] = np.ones((8, 8), "u1")
            del file["data/img/data"]
            file["data/img/data"] = link(secret.with_suffix(".emd"))

    return make


def velox(link):
    def make(path, secret):
        berkeley(secret.with_suffix(".emd"))
        with h5py.File(path, "w") as file:
            file.create_group("Data/Image")
            file["Data/Image/1"] = link(secret.with_suffix(".emd"))

    return make


@pytest.mark.parametrize(
    "make",
    [
        external,
        virtual,
        linked(lambda other: h5py.ExternalLink(other, "/data/img/data")),
        linked(lambda _other: h5py.SoftLink("/spare")),
        velox(lambda other: h5py.ExternalLink(other, "/data/img")),
        velox(lambda _other: h5py.SoftLink("/Data")),
    ],
    ids=["external", "virtual", "link", "soft-link", "velox-link", "velox-soft-link"],
)
def test_files_that_lead_to_other_files_are_refused_with_the_reason(tmp_path, make):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(range(64)))
    path = tmp_path / "leads.emd"
    make(path, secret)
    with pytest.raises(FrameError, match=r"is not stored in the file|is a link elsewhere"):
        read_frame(path)


def test_axes_that_lead_to_other_files_cost_the_pixel_size_alone(tmp_path):
    path = berkeley(tmp_path / "a.emd")
    with h5py.File(path, "a") as file:
        del file["data/img/dim3"]
        file["data/img/dim3"] = h5py.ExternalLink(berkeley(tmp_path / "b.emd"), "data/img/dim3")
    frame = read_frame(path)
    assert (frame.shape, frame.pixel_size) == ((8, 8), None)


def tiff(path, pages, tags, tail):
    """A TIFF of pages with the same tags (code, type, count, value), the tail behind them."""
    entry = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    size = len(entry) + 4
    with path.open("wb") as file:
        file.write(b"II*\0" + struct.pack("<I", 8))
        for number in range(pages):
            following = 8 + (number + 1) * size if number + 1 < pages else 0
            file.write(entry + struct.pack("<I", following))
        file.write(tail)
    return path


def test_pages_that_share_a_long_description_keep_one(tmp_path):
    pages, text = 500, b"x" * (1 << 20)
    at = 8 + pages * (2 + 12 * 7 + 4)
    tags = [(256, 3, 1, 8), (257, 3, 1, 8), (258, 3, 1, 8), (270, 2, len(text), at),
            (273, 4, 1, at), (278, 3, 1, 8), (279, 4, 1, 64)]  # fmt: skip
    path = tiff(tmp_path / "shared.tif", pages, tags, text)
    tracemalloc.start()
    assert frame_count(path) == pages
    assert tracemalloc.get_traced_memory()[1] < 40 << 20
    tracemalloc.stop()


def test_pages_that_share_tables_larger_than_the_file_are_refused(tmp_path):
    pages, strips = 300, 100_000
    at = 8 + pages * (2 + 12 * 6 + 4)
    table = np.full(strips, at, "<u4").tobytes() + np.ones(strips, "<u4").tobytes()
    tags = [(256, 3, 1, 1), (257, 4, 1, strips), (258, 3, 1, 8), (273, 4, strips, at),
            (278, 3, 1, 1), (279, 4, strips, at + 4 * strips)]  # fmt: skip
    path = tiff(tmp_path / "tables.tif", pages, tags, table)
    tracemalloc.start()
    with pytest.raises(FrameError, match="its pages need more notes than"):
        frame_count(path)
    assert tracemalloc.get_traced_memory()[1] < 60 << 20
    tracemalloc.stop()


def test_fill_bytes_of_a_jpeg_are_passed_over_in_one_go(tmp_path):
    image = io.BytesIO()
    Image.fromarray(np.arange(64, dtype="u1").reshape(8, 8)).save(image, "JPEG")
    whole = image.getvalue()
    path = tmp_path / "fill.jpg"
    path.write_bytes(whole[:2] + b"\xff" * (200 << 20) + whole[2:])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raster, "_MOST_PARTS", 100)
        assert frame_count(path) == 1
    for count in (1, 2, (1 << 16) - 1, 1 << 16, (1 << 16) + 1):
        path.write_bytes(whole[:2] + b"\xff" * count + whole[2:])
        assert (read_frame(path).pixels == np.asarray(Image.open(image))).all()
    path.write_bytes(whole[:2] + b"\xff" * 100)
    with pytest.raises(FrameIncompleteError):
        frame_count(path)


def test_a_file_of_nothing_but_parts_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(raster, "_MOST_PARTS", 1000)
    jpeg, png = tmp_path / "a.jpg", tmp_path / "b.png"
    jpeg.write_bytes(b"\xff\xd8" + b"\xff\xd0" * 2000)
    header = b"\0\0\0\rIHDR" + struct.pack(">II5x4x", 8, 8)
    png.write_bytes(b"\x89PNG\r\n\x1a\n" + header + (b"\0\0\0\0tEXt" + bytes(4)) * 2000)
    for path in (jpeg, png):
        with pytest.raises(FrameError, match="more than 1,000"):
            frame_count(path)


def test_an_ome_description_of_a_million_planes_many_times_over_costs_little(tmp_path):
    image = '<Image><Pixels SizeT="999999" SizeX="1" SizeY="1"/></Image>'
    path = tmp_path / "a.tif"
    text = f"<OME>{image * 40}</OME>"
    tifffile.imwrite(path, np.zeros((8, 8), "u1"), description=text, metadata=None)
    tracemalloc.start()
    assert frame_count(path) == 1
    assert tracemalloc.get_traced_memory()[1] < 200 << 20
    tracemalloc.stop()


def test_a_stack_is_walked_and_hashed_once_and_not_once_for_each_frame(tmp_path, monkeypatch):
    path, walks, hashes = tmp_path / "stack.tif", [], []
    walk, digest = tiff_map.TiffMap.__init__, source.Source.digest
    monkeypatch.setattr(
        tiff_map.TiffMap, "__init__", lambda one, of: walks.append(of.name) or walk(one, of)
    )

    def hash_of(one, extents=((0, None),)):
        hashes.append(extents)
        return digest(one) if extents[0][1] is None else digest(one, extents)

    monkeypatch.setattr(source.Source, "digest", hash_of)
    for life in range(2):
        pixels = np.arange(320, dtype="u1").reshape(5, 8, 8) + life
        tifffile.imwrite(path, pixels, photometric="minisblack")
        os.utime(path, ns=(life, life))
        stat = path.stat()
        read = [read_checked(path, i, stat.st_size, stat.st_mtime_ns) for i in (4, 0, 1, 2, 3, 4)]
        assert [int(frame.pixels[0, 1]) for frame, _ in read] == [
            int(pixels[i, 0, 1]) for i in (4, 0, 1, 2, 3, 4)
        ]
        assert len({told for _, told in read}) == 1
    assert len(walks) == 2
    whole = [extents for extents in hashes if extents[0][1] is None]
    frames = [extents for extents in hashes if extents not in whole]
    assert len(whole) == 2
    assert len(frames) == 12  # of 64 bytes each, one for each that was read
    assert all(count == 64 for ((_, count),) in frames)


def test_a_stack_too_large_for_memory_is_walked_and_hashed_once_too(tmp_path, monkeypatch):
    monkeypatch.setattr("pychip_stream.formats.reading.IN_MEMORY", 100)
    test_a_stack_is_walked_and_hashed_once_and_not_once_for_each_frame(tmp_path, monkeypatch)
