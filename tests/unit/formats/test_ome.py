"""OME-TIFF: which page is which plane, and what is told of each of them."""

import numpy as np
import pytest
import tifffile

from pychip_stream.errors import FrameError
from pychip_stream.formats.reading import contents, frame_count, own_time, read_frame

RAMP = np.arange(8 * 12, dtype=np.uint16).reshape(8, 12)
OWN = "urn:uuid:1234"
START = 1_772_366_400.0  # 2026-03-01T12:00:00Z
DATE = "<AcquisitionDate>2026-03-01T12:00:00Z</AcquisitionDate>"
TAKEN = "2026:03:02 12:00:0"
NAMED = '<Channel Name="SE"/><Channel Name="BSE"/>'


def written(path, images, pages):
    """Write pages, the first of which describes `images`."""
    head = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
    text = f'<?xml version="1.0"?>{head} UUID="{OWN}">{images}</OME>'
    with tifffile.TiffWriter(path) as file:
        for number, page in enumerate(pages):
            description = None if number else text.encode()
            file.write(page, description=description, metadata=None, datetime=f"{TAKEN}{number}")
    return path


def image(inner, *, c=1, t=1, before="", **more):
    attributes = {"DimensionOrder": "XYCZT", "SizeC": c, "SizeZ": 1, "SizeT": t, **more}
    told = " ".join(f'{name}="{value}"' for name, value in attributes.items())
    return f'<Image ID="a">{before}<Pixels ID="b" Type="uint16" {told}>{inner}</Pixels></Image>'


def plane(page, c, t, uuid=None):
    file = f'<UUID FileName="as it was called.ome.tif">{uuid}</UUID>' if uuid else ""
    place = f'IFD="{page}" FirstC="{c}" FirstT="{t}" PlaneCount="1"'
    return f"<TiffData {place}>{file}</TiffData>"


def levels(path, **options):
    """Smallest counts of the frames: 100 for each channel and 1 for each step in time."""
    count = frame_count(path, **options)
    return [int(read_frame(path, index, **options).pixels.min()) for index in range(count)]


@pytest.mark.parametrize("uuid", [None, OWN, "urn:uuid:another"])
@pytest.mark.parametrize("channels_first", [True, False])
def test_pages_are_the_planes_that_are_listed(tmp_path, uuid, channels_first):
    places = [(c, t) for t in range(3) for c in range(2)]
    places = places if channels_first else sorted(places)
    listed = "".join(plane(page, *place, uuid) for page, place in enumerate(places))
    pages = [RAMP + 100 * c + t for c, t in places]
    told = image(NAMED + listed, c=2, t=3, TimeIncrement=2)
    path = written(tmp_path / "a.ome.tif", told, [page.astype(np.uint16) for page in pages])
    assert levels(path) == [0, 1, 2]
    assert levels(path, detector="bse") == [100, 101, 102]
    frames = [read_frame(path, index) for index in range(3)]
    assert [frame.before_last_s for frame in frames] == [4, 2, 0]
    assert frames[0].notes == ("2 channels: SE is analysed, BSE left out",)


def test_of_planes_in_several_files_those_of_this_one_count(tmp_path):
    other = "".join(plane(t, 0, t, "urn:uuid:other") for t in range(2))
    own = "".join(plane(t - 2, 0, t, OWN) for t in range(2, 5))
    told = image(other + own, t=5, TimeIncrement=2, before=DATE)
    path = written(tmp_path / "b.ome.tif", told, [RAMP + t for t in (2, 3, 4)])
    assert levels(path) == [2, 3, 4]
    assert [read_frame(path, n).time - START for n in range(3)] == [4, 6, 8]
    assert own_time(path) - START == 4


def test_pages_that_are_no_planes_are_no_frames(tmp_path):
    told = image('<TiffData IFD="1" PlaneCount="2"/>', t=4)
    path = written(tmp_path / "a.ome.tif", told, [RAMP + 7, RAMP, RAMP + 1])
    assert levels(path) == [0, 1]


def test_times_count_from_when_the_image_was_begun(tmp_path):
    planes = "".join(f'<Plane TheT="{t}" DeltaT="{10 + 3 * t}"/>' for t in range(2))
    path = written(tmp_path / "a.ome.tif", image(planes, t=2, before=DATE), [RAMP, RAMP])
    assert [read_frame(path, n).time - START for n in range(2)] == [10, 13]


def test_without_a_date_times_count_from_the_first_page(tmp_path):
    path = written(tmp_path / "a.ome.tif", image("", t=2, TimeIncrement=0.5), [RAMP, RAMP])
    first, second = (read_frame(path, n).time for n in range(2))
    assert second - first == 0.5  # not from the second page's own DateTime


def test_each_plane_has_its_exposure_and_its_place(tmp_path):
    planes = "".join(
        f'<Plane TheC="{c}" TheT="{t}" ExposureTime="{100 * (c + 1) + t}" ExposureTimeUnit="ms" '
        f'PositionX="{10 * t}" PositionXUnit="nm"/>'
        for t in range(2)
        for c in range(2)
    )
    path = written(tmp_path / "a.ome.tif", image(NAMED + planes, c=2, t=2), [RAMP] * 4)
    frame = read_frame(path, 1, detector="BSE")
    assert frame.exposure_s == pytest.approx(0.201)
    assert frame.metadata["stage_x_um"] == pytest.approx(0.01)


def test_images_in_one_file_have_their_own_sizes_and_times(tmp_path):
    images = "".join(
        image(
            f'<TiffData IFD="{n}"/>',
            PhysicalSizeX=5 + n, PhysicalSizeXUnit="nm", PhysicalSizeY=0.01,
            before=DATE.replace("12:00", f"12:0{n}"),
        )
        for n in range(2)
    )  # fmt: skip
    path = written(tmp_path / "a.ome.tif", images, [RAMP, RAMP + 1])
    frames = [read_frame(path, n) for n in range(2)]
    assert [(f.pixel_size, f.unit) for f in frames] == [(5, "nm"), (6, "nm")]
    # Height in the unit that is meant where none is given, µm.
    assert [f.pixel_ratio for f in frames] == pytest.approx([10 / 5, 10 / 6])
    assert [f.time - START for f in frames] == [0, 60]


def test_images_of_one_detector_each_are_channels(tmp_path):
    images = "".join(image(f'<Channel Name="{n}"/>') for n in ("SE", "BSE"))
    path = written(tmp_path / "a.ome.tif", images, [RAMP, RAMP + 100])
    assert levels(path) == [0]
    assert levels(path, detector="BSE") == [100]
    alone = written(tmp_path / "b.ome.tif", image('<Channel Name="BSE"/>'), [RAMP])
    with pytest.raises(FrameError, match="no image of 'SE'"):
        read_frame(alone, detector="SE")


@pytest.mark.parametrize(
    "listed",
    ['<TiffData IFD="-1"/>', '<TiffData IFD="1e3"/>', '<TiffData FirstT="9"/>',
     '<TiffData IFD="999999999"/>', '<TiffData IFD="0" PlaneCount="-2"/>',
     '<TiffData PlaneCount="600000"/>' * 2],
)  # fmt: skip
def test_planes_that_cannot_be_say_nothing(tmp_path, listed):
    path = written(tmp_path / "a.ome.tif", image(listed, t=700_000 if "6" in listed else 3), [RAMP])
    assert contents(path).frames == 1


def test_more_channels_than_there_can_be_say_nothing(tmp_path):
    told = image('<TiffData IFD="0"/>', c=10**12)
    assert contents(written(tmp_path / "a.ome.tif", told, [RAMP])).frames == 1


@pytest.mark.parametrize("delta", ["nan", "inf", "1e300"])
def test_times_that_cannot_be_are_none(tmp_path, delta):
    planes = f'<Plane TheT="0" DeltaT="0"/><Plane TheT="1" DeltaT="{delta}"/>'
    told = image(planes, t=2, TimeIncrement=2, before=DATE)
    path = written(tmp_path / "a.ome.tif", told, [RAMP, RAMP])
    assert [read_frame(path, n).time - START for n in range(2)] == [0, 2]
